#!/usr/bin/env bats
# podman --runtime bulkhead: its commands with a VM around each container. docs/engines.md is made from these.
# In single quotes are other shells' variables.
# shellcheck disable=SC2016

load helpers

setup_file() { podman_up; }

teardown_file() { podman_down; }

# pod ARGUMENT...: podman run without a network, which has tests of its own.
pod() {
	podman run --network none "$@"
}

@test "podman run: streams, exit code, and every option that says what the process is" {
	local before
	before=$(host_footprint)
	command -v docker-init || skip "docker-init is not installed"
	run pod --rm -i -e A=one -w /tmp -u 1000:1000 --hostname box --read-only --tmpfs /scratch \
		--cap-drop ALL --cap-add CHOWN --ulimit nofile=64:128 -m 128m --cpus 1 --pids-limit 40 --init --init-path "$(command -v docker-init)" \
		--entrypoint '["/bin/sh", "-c"]' --annotation io.bulkhead.vcpus=1 "$IMAGE" '
			echo "$A $PWD $(id -u):$(id -g) $(hostname) $(cat)"
			touch /x 2>/dev/null || echo read-only
			touch /scratch/x && echo writable
			grep CapBnd /proc/self/status
			ulimit -n; ulimit -Hn
			cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max /sys/fs/cgroup/cpu.max
			cat /proc/1/comm
			cat /proc/sys/kernel/osrelease
			echo error >&2
			exit 7' <<<input
	echo "$output"
	[ "$status" = 7 ]
	diff - <(printf '%s\n' "${lines[@]}" | sed "s/^6\.12\..*/the guest's kernel/") <<-'EOF2'
		one /tmp 1000:1000 box input
		read-only
		writable
		CapBnd:	0000000000000001
		64
		128
		134217728
		40
		100000 100000
		podman-init
		the guest's kernel
		error
	EOF2
	same_footprint "$before"
}

@test "podman run: what does not exist ends with 127, what cannot be run with 126" {
	run -127 pod --rm "$IMAGE" nowhere
	[[ $output = *'executable file not found'* ]]
	run -126 pod --rm "$IMAGE" /etc/passwd
	[[ $output = *'ermission denied'* ]]
}

@test "podman run -d, ps, logs, inspect, stats, kill, stop, start, wait, restart, rm" {
	local pid id stats
	id=$(pod -d --name life "$IMAGE" sh -c 'trap "echo usr1" USR1; trap "echo term; exit 3" TERM; echo up
		while :; do sleep 1000 & wait; done')
	eventually podman_logs_have life up
	pid=$(podman inspect --format '{{.State.Pid}} {{.State.Status}} {{.OCIRuntime}}' life)
	[[ $pid = *' running bulkhead' ]]
	pid=${pid%% *}
	[[ $(readlink "/proc/$pid/exe") = */bulkhead-vmm ]]
	grep -q "$id" "/proc/$pid/cgroup"
	[ "$(podman ps --format '{{.Names}}')" = life ]
	# What stats shows is what the VM uses on the host.
	stats=$(podman stats --no-stream --format '{{.Name}} {{.MemUsage}} {{.PIDs}}' life)
	echo "$stats"
	[[ $stats =~ ^life\ [1-9][0-9.]*[kM]B\ /\ [0-9.]+GB\ [1-9] ]]
	podman kill -s USR1 life
	eventually podman_logs_have life usr1
	podman stop -t 20 life
	podman_logs_have life term
	[ "$(podman inspect --format '{{.State.Status}} {{.State.ExitCode}}' life)" = 'exited 3' ]
	run ! kill -0 "$pid"
	podman start life
	eventually podman_logs_count life up 2
	podman restart -t 20 life
	eventually podman_logs_count life up 3
	podman kill life
	[ "$(podman wait life)" = 137 ]
	podman rm life
	[ -z "$(podman ps -aq)" ]
}

podman_logs_have() {
	podman logs "$1" 2>&1 | grep -qx "$2"
}

podman_logs_count() {
	[ "$(podman logs "$1" 2>&1 | grep -cx "$2")" = "$3" ]
}

@test "podman run -m: the workload is ended inside the guest, and podman sees 137" {
	run -137 pod --name large -m 64m "$IMAGE" dd if=/dev/zero of=/dev/null bs=80M count=1
	[ "$(podman inspect --format '{{.State.Status}} {{.State.ExitCode}}' large)" = 'exited 137' ]
	podman rm large
	# What it writes is no memory of its own, wherever the host keeps it: here on tmpfs.
	pod --rm -m 64m "$IMAGE" sh -c 'dd if=/dev/zero of=/dev/null bs=50M count=1 && dd if=/dev/zero of=/file bs=1M count=110'
}

@test "podman run -it: a terminal with its size, and its end" {
	run -5 in_terminal podman run --network none --rm -it "$IMAGE" sh -c \
		'until [ "$(stty size 2>/dev/null)" = "33 111" ]; do sleep 0.1; done; stty size
		tty; read -r line; echo "got $line"; exit 5' <<<word
	echo "$output"
	[[ $output = *'33 111'* ]]
	[[ $output = */dev/pts/* ]]
	[[ $output = *'got word'* ]]
}

@test "podman run --privileged: everything inside the VM, nothing of the host" {
	local before
	before=$(grep -c . /proc/self/mountinfo)
	pod --rm --privileged "$IMAGE" sh -c 'grep CapEff /proc/self/status; mount -t tmpfs none /mnt 2>/dev/null ||
		mkdir /mnt && mount -t tmpfs none /mnt && echo mounted; head -c 1 /dev/kvm 2>/dev/null || echo no kvm; hostname inside; hostname' \
		>"$BATS_TEST_TMPDIR/out"
	grep -q 'CapEff:.000001ffffffffff' "$BATS_TEST_TMPDIR/out"
	grep -qx mounted "$BATS_TEST_TMPDIR/out"
	grep -qx 'no kvm' "$BATS_TEST_TMPDIR/out"
	grep -qx inside "$BATS_TEST_TMPDIR/out"
	[ "$(grep -c . /proc/self/mountinfo)" = "$before" ]
	[ "$(hostname)" != inside ]
}

@test "podman exec, top, pause, unpause, update, healthcheck, stop after its timeout" {
	local group
	pod -d --name inside -m 128m --health-cmd 'CMD-SHELL test -e /tmp/healthy' --health-interval disable "$IMAGE" \
		sh -c 'echo up; sleep 1000'
	eventually podman_logs_have inside up
	run -9 podman exec -i -e A=one -w /tmp -u 1000:1000 inside sh -c \
		'echo "$A $PWD $(id -u) $(cat)"; cat /proc/sys/kernel/osrelease; echo error >&2; exit 9' <<<input
	echo "$output"
	[[ $output = *'one /tmp 1000 input'* ]]
	[[ $output = *6.12.* ]]
	[[ $output = *error* ]]
	run -127 podman exec inside nowhere
	run -4 in_terminal podman exec -it inside sh -c \
		'until [ "$(stty size 2>/dev/null)" = "33 111" ]; do sleep 0.1; done; tty; exit 4' </dev/null
	[[ $output = */dev/pts/* ]]
	podman exec -d inside touch /tmp/healthy
	eventually podman exec inside test -e /tmp/healthy
	podman healthcheck run inside
	run -1 podman exec inside rm /tmp/none
	podman exec inside rm /tmp/healthy
	run -1 podman healthcheck run inside
	# ps in the container. For its own columns podman looks for /proc in the mount namespace of the VMM.
	podman top inside -o pid,args >"$BATS_TEST_TMPDIR/top"
	grep -q 'sleep 1000' "$BATS_TEST_TMPDIR/top"
	run podman top inside
	[[ $output != *sleep* ]]
	group=/sys/fs/cgroup$(sed 's/^0:://' "/proc/$(podman inspect --format '{{.State.Pid}}' inside)/cgroup")
	podman update --cpus 0.5 --memory 96m inside
	[ "$(podman exec inside sh -c 'cd /sys/fs/cgroup; cat cpu.max memory.max')" = $'50000 100000\n100663296' ]
	[ "$(cat "$group/cpu.max")" = '50000 100000' ]
	podman pause inside
	[ "$(podman inspect --format '{{.State.Status}}' inside)" = paused ]
	podman unpause inside
	podman exec inside true
	# A shell that is process 1 does not hear SIGTERM.
	podman stop -t 1 inside
	[ "$(podman inspect --format '{{.State.Status}} {{.State.ExitCode}}' inside)" = 'exited 137' ]
	podman start inside
	podman rm -f -t 0 inside
}

@test "podman run -v: a folder and a file of the host, written from both sides" {
	mkdir "$BATS_TEST_TMPDIR/volume"
	echo outside >"$BATS_TEST_TMPDIR/volume/from-host"
	pod --rm -v "$BATS_TEST_TMPDIR/volume:/data" "$IMAGE" sh -c 'cat /data/from-host; echo inside >/data/from-guest' \
		>"$BATS_TEST_TMPDIR/out"
	grep -qx outside "$BATS_TEST_TMPDIR/out"
	grep -qx inside "$BATS_TEST_TMPDIR/volume/from-guest"
}

@test "podman run --device: a block device of the host is a disk of the VM" {
	block_devices_are_disks
}

@test "podman run, update --device-read-bps and the like: the VM's disk and the control group have them at once" {
	local group loop
	truncate -s 1M "$BATS_TEST_TMPDIR/file"
	loop=$(losetup --find --show "$BATS_TEST_TMPDIR/file")
	pod -d --name slow --device "$loop" --device-read-bps "$loop:1mb" --device-write-iops "$loop:50" "$IMAGE" sleep 1000
	[ "$(rates "$(podman inspect --format '{{.Id}}' slow)" /run/bulkhead)" = '[1048576,0,0,50]' ]
	group=$(group_of "$(podman inspect --format '{{.State.Pid}}' slow)")
	grep -q ' rbps=1048576 wbps=max riops=max wiops=50' "$group/io.max"
	podman update --device-read-bps "$loop:2mb" --device-write-bps "$loop:3mb" slow
	[ "$(rates "$(podman inspect --format '{{.Id}}' slow)" /run/bulkhead)" = '[2097152,0,3145728,50]' ]
	grep -q ' rbps=2097152 wbps=3145728 riops=max wiops=50' "$group/io.max"
	podman rm -ft 0 slow
	losetup -d "$loop"
}
