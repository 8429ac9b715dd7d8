#!/usr/bin/env bats
# podman of an ordinary user who may open /dev/kvm, with overlayfs in its user namespace and slirp4netns for its networks.
# In single quotes are other shells' variables.
# shellcheck disable=SC2016

load helpers

ID=1500          # of the user, and of the group
FIRST=200000     # of the ids that newuidmap gives the user
PLACE=/run/ordinary

setup_file() {
	local program
	[ -n "${LAB:-}" ] || skip "an account is made, in the lab alone"
	for program in podman slirp4netns newuidmap setpriv mkfs.ext4; do
		command -v $program >/dev/null || skip "$program is not installed"
	done
	echo "ordinary:x:$ID:$ID::$PLACE/home:/bin/sh" >>/etc/passwd
	echo "ordinary:x:$ID:" >>/etc/group
	echo "ordinary:$FIRST:65536" | tee -a /etc/subuid >>/etc/subgid
	# As udev and systemd have them.
	chmod 660 /dev/kvm
	chmod 666 /dev/net/tun
	mount --make-rshared /
	mkdir -p $PLACE/home $PLACE/run
	# A user's overlay needs user.* attributes, which this kernel's tmpfs does not have.
	truncate -s 2G $PLACE/disk
	mkfs.ext4 -q $PLACE/disk
	mount -o loop $PLACE/disk $PLACE/home
	"$TREE/tests/engines/make-image" $PLACE/image.tar
	cat >$PLACE/containers.conf <<-EOF2
		[engine]
		cgroup_manager = "cgroupfs"
		events_logger = "file"
		runtime = "bulkhead"
		runtime_supports_json = ["bulkhead"]
		network_cmd_options = ["port_handler=slirp4netns"]
		[engine.runtimes]
		bulkhead = ["$RUNTIME"]
	EOF2
	chown -R $ID:$ID $PLACE
	podman load -qi $PLACE/image.tar
	[ "$(podman info --format '{{.Host.Security.Rootless}} {{.Store.GraphDriverName}}')" = 'true overlay' ]
}

teardown_file() {
	[ -n "${LAB:-}" ] || return 0
	podman system migrate
	umount --lazy $PLACE/home
}

teardown() {
	[ -n "$BATS_TEST_COMPLETED" ] || podman logs a >&3 2>&1 || true
	podman rm -fat 0 >/dev/null
}

as_user() {
	timeout --foreground -k 5 "${LIMIT:-120}" setpriv --reuid $ID --regid $ID --groups "$(stat -c %g /dev/kvm)" \
		env -i PATH="$PATH" HOME=$PLACE/home XDG_RUNTIME_DIR=$PLACE/run CONTAINERS_CONF=$PLACE/containers.conf STORAGE_DRIVER=overlay "$@"
}

podman() {
	as_user podman "$@"
}

podman_says() {
	podman logs a 2>/dev/null | grep -q "^$1"
}

# What the user's containers have on the host: processes, states, and what was not finished.
footprint() {
	as_user "$RUNTIME" template wait
	pgrep -u "$ID,$FIRST-$((FIRST + 65535))" -l . | awk '{print $2}' | grep -E 'bulkhead|virtiofsd|slirp|conmon' | sort
	find $PLACE/run/bulkhead -mindepth 1 2>/dev/null
	find $PLACE/home/.local/share/bulkhead \( -name '.new-*' -o -name '.disk-*' \)
}

leaves_nothing() {
	eventually has_no_footprint
}

has_no_footprint() {
	[ -z "$(footprint)" ]
}

@test "rootless podman: run's streams and exit code, and what the process is" {
	run -7 --separate-stderr podman run --rm -i --network none -e A=one -w /tmp -u 1000:1000 --hostname box --read-only --tmpfs /scratch \
		--cap-drop ALL --ulimit nofile=64:128 --cpus 1 -m 128m "$IMAGE" sh -c '
			echo "$A $PWD $(id -u):$(id -g) $(hostname) $(cat)"
			touch /x 2>/dev/null || echo read-only
			touch /scratch/x && echo writable
			ulimit -n
			ls /sys/class/net
			cat /proc/sys/kernel/osrelease
			exit 7' <<<input
	echo "$output" "$stderr"
	diff - <(sed "s/^6\.12\..*/the guest's kernel/" <<<"$output") <<-'EOF2'
		one /tmp 1000:1000 box input
		read-only
		writable
		64
		lo
		the guest's kernel
	EOF2
	leaves_nothing
}

@test "rootless podman: -d, logs, exec, stop, start, rm; the VMM has an id of its own" {
	local pid uid
	podman run -d --name a --network none "$IMAGE" sh -c 'trap "echo term; exit 3" TERM; echo up; while :; do sleep 1000 & wait; done'
	eventually podman_says up
	pid=$(podman inspect --format '{{.State.Pid}}' a)
	[[ $(readlink "/proc/$pid/exe") = */bulkhead-vmm ]]
	uid=$(awk '$1 == "Uid:" {print $2}' "/proc/$pid/status")
	echo "uid $uid"
	[ "$uid" -gt $((FIRST + 60000)) ]
	[ "$uid" -lt $((FIRST + 65536)) ]
	run -9 podman exec -i -w /tmp -u 1000:1000 a sh -c 'echo "$PWD $(id -u) $(cat)"; exit 9' <<<input
	[ "$output" = '/tmp 1000 input' ]
	[ "$(as_user "$RUNTIME" list -q)" = "$(podman inspect --format '{{.Id}}' a)" ]
	podman stop -t 20 a
	podman_says term
	[ "$(podman inspect --format '{{.State.Status}} {{.State.ExitCode}}' a)" = 'exited 3' ]
	podman start a
	eventually podman exec a true
	podman rm -ft 0 a
	leaves_nothing
}

@test "rootless podman: slirp4netns: the guest has its address, its DNS and the host, and answers at a published port" {
	local listener
	socat TCP-LISTEN:18001,bind=127.0.0.1,fork,reuseaddr EXEC:/bin/cat 3>&- &
	listener=$!
	podman run -d --name a --network slirp4netns:allow_host_loopback=true -p 127.0.0.1:18000:7000 "$IMAGE" sh -c '
		echo up; exec nc -ll -p 7000 -e /bin/cat' >/dev/null
	eventually podman_says up
	podman exec a sh -c 'ip -o addr show tap0; grep nameserver /etc/resolv.conf; ping -c 1 -w 30 10.0.2.2' >"$BATS_TEST_TMPDIR/out"
	cat "$BATS_TEST_TMPDIR/out"
	grep -q 'inet 10.0.2.100/24' "$BATS_TEST_TMPDIR/out"
	grep -q '^nameserver 10.0.2.3' "$BATS_TEST_TMPDIR/out"
	[ "$(podman exec a sh -c 'echo out | nc -w 20 10.0.2.2 18001')" = out ]
	[ "$(echo in | socat -t 20 - TCP:127.0.0.1:18000)" = in ]
	kill $listener
	podman rm -ft 0 a
	leaves_nothing
}

@test "rootless podman: volumes, whose files have the owners that the user namespace gives them" {
	as_user sh -c "mkdir $PLACE/home/volume && echo host >$PLACE/home/volume/host"
	run -0 podman run --rm --network none -v $PLACE/home/volume:/v -v $PLACE/home/volume:/ro:ro -v named:/n "$IMAGE" sh -c '
		cat /v/host; echo guest >/v/guest; chown 5:6 /v/guest; ls -ln /v | tail -n +2 | cut -c1-40
		echo >/ro/x || echo read-only; echo kept >/n/kept' </dev/null
	echo "$output"
	[[ ${lines[0]} = host ]]
	[[ $output = *read-only* ]]
	[ "$(cat $PLACE/home/volume/guest)" = guest ]
	[ "$(stat -c %u:%g $PLACE/home/volume/guest)" = $((FIRST + 4)):$((FIRST + 5)) ]
	[ "$(stat -c %u:%g $PLACE/home/volume/host)" = $ID:$ID ]
	[ "$(podman run --rm --network none -v named:/n "$IMAGE" cat /n/kept </dev/null)" = kept ]
	leaves_nothing
}
