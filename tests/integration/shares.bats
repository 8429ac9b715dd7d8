#!/usr/bin/env bats
# Bind mounts: what of the host's files gets into the VM, how, and what comes back.
# In single quotes are jq's variables and other shells'.
# shellcheck disable=SC2016

load helpers

# mount_add SOURCE DESTINATION OPTION...: one more bind mount in the config.
mount_add() {
	local source=$1 destination=$2
	shift 2
	config '.mounts += [{destination: $to, type: "bind", source: $from, options: ($options | split(" "))}]' \
		--arg from "$source" --arg to "$destination" --arg options "$*"
}

@test "an engine's small files, /dev/shm and devices come without a share" {
	local top=$PWD
	mkdir "$WORK/engine"
	cd "$WORK/engine" || return
	printf 'nameserver 192.0.2.1\n' >resolv.conf
	printf '127.0.0.1 localhost\n' >hosts
	head -c 3000 /dev/urandom >secret
	: >containerenv
	chmod 0444 secret
	chown 1000:1001 secret
	touch -d @1000000000 secret
	mkdir shm
	mount -t tmpfs -o size=1m,mode=1777 tmpfs shm
	cd "$top" || return
	config '.mounts |= map(select(.destination != "/dev/shm"))'
	mount_add "$WORK/engine/resolv.conf" /etc/resolv.conf bind rprivate
	mount_add "$WORK/engine/hosts" /etc/hosts bind rprivate ro
	mount_add "$WORK/engine/secret" /run/secrets/key bind rprivate ro noexec
	mount_add "$WORK/engine/containerenv" /run/.containerenv bind rprivate
	mount_add "$WORK/engine/shm" /dev/shm bind rprivate nosuid noexec nodev
	mount_add /dev/null /etc/masked rbind rprivate ro
	config '.mounts += [{destination: "/host-sys", type: "none", source: "/sys", options: ["rbind", "nosuid", "noexec", "nodev", "ro"]}]'
	in_container '
		cat /etc/resolv.conf /etc/hosts
		echo more >>/etc/resolv.conf && tail -n 1 /etc/resolv.conf
		echo more >>/etc/hosts || echo refused
		stat -c "%a %u %g %Y %s" /run/secrets/key
		stat -c "%s %F" /run/.containerenv
		sha256sum </run/secrets/key
		stat -c "%a" /dev/shm
		df -k /dev/shm | awk "NR == 2 { print \$2 }"
		grep -o " /dev/shm [^ ]* - tmpfs" /proc/self/mountinfo
		grep -c " /run/secrets/key ro,[^ ]*noexec" /proc/self/mountinfo
		cat /etc/masked && stat -c "%t:%T" /etc/masked
		ls /host-sys/kernel/boot_params >/dev/null && grep -c " /host-sys ro.* - sysfs " /proc/self/mountinfo
	' >"$WORK/out" 2>"$WORK/err"
	umount "$WORK/engine/shm"
	diff - "$WORK/out" <<-END
		nameserver 192.0.2.1
		127.0.0.1 localhost
		more
		refused
		444 1000 1001 1000000000 3000
		0 regular empty file
		$(sha256sum <"$WORK/engine/secret")
		1777
		1024
		 /dev/shm rw,nosuid,nodev,noexec,relatime - tmpfs
		1
		1:3
		1
	END
	# What was written there is gone with the container.
	[ "$(cat "$WORK/engine/resolv.conf")" = 'nameserver 192.0.2.1' ]
}

@test "a source that cannot be in a VM is refused by one line" {
	mkfifo "$WORK/fifo"
	# Its own, as socat and the like may be missing.
	perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Local => $ARGV[0], Listen => 1) or die' "$WORK/socket"
	refuses_configs \
		'.mounts += [{destination: "/x", type: "bind"}]' 'mounts[7].source: is missing' \
		'.mounts += [{destination: "/x", type: "bind", source: "/no/such"}]' \
		'mounts[7].source: /no/such: No such file or directory' \
		".mounts += [{destination: \"/x\", source: \"$WORK/fifo\", options: [\"bind\"]}]" \
		"mounts[7]: bind mount of $WORK/fifo on /x: a named pipe of the host cannot be reached from a VM" \
		".mounts += [{destination: \"/x\", source: \"$WORK/socket\", options: [\"rbind\"]}]" \
		'a socket of the host cannot be reached from a VM' \
		'.mounts += [{destination: "/x", source: "/dev/kmsg", options: ["bind"]}]' \
		'a character device of the host cannot be in a VM' \
		'.mounts += [{destination: "/x", source: "/proc/meminfo", options: ["bind"]}]' \
		'kernel file systems cannot be in a VM'
}

# daemons_are COUNT: so many processes of virtiofsd serve this test's VMs; each is two processes.
daemons_are() {
	[ "$(pgrep -fc 'virtiofsd --fd')" = "$1" ] || { pgrep -fa virtiofsd >&2; return 1; }
}

@test "a volume: both sides see what the other writes, with owners, modes, links and times" {
	mkdir -p "$WORK/volume/sub" "$WORK/ro" "$WORK/nested" "$WORK/below"
	mount -t tmpfs -o size=1m tmpfs "$WORK/nested"
	mkdir "$WORK/nested/mounted"
	mount -t tmpfs -o size=1m tmpfs "$WORK/nested/mounted"
	echo deep >"$WORK/nested/mounted/file"
	echo 'from the host' >"$WORK/volume/host"
	echo content >"$WORK/ro/file"
	echo one >"$WORK/single"
	echo two >"$WORK/single-ro"
	chown 12:34 "$WORK/volume/host"
	chmod 0604 "$WORK/volume/host"
	cp build/tests/inotify "$BUNDLE/rootfs/bin/inotify"
	mount_add "$WORK/volume" /data rw rprivate rbind
	mount_add "$WORK/ro" /ro ro rprivate rbind
	mount_add "$WORK/single" /etc/single bind rprivate
	mount_add "$WORK/single-ro" /etc/single-ro bind ro nosuid noexec nodev
	mount_add "$WORK/nested" /all rbind rslave
	mount_add "$WORK/nested" /top bind
	in_container '
		cat /data/host /ro/file /etc/single /etc/single-ro
		stat -c "%u %g %a" /data/host
		echo from the guest >/data/sub/guest && chmod 0751 /data/sub/guest
		mkdir /data/dir && touch -d @1234567890 /data/dir/old && ln -s ../host /data/dir/link && ln /data/dir/old /data/hard
		mkfifo /data/fifo
		dd if=/dev/zero of=/data/big bs=64k count=32 conv=fsync 2>/dev/null && mv /data/big /data/large
		echo no >/ro/new || echo refused
		echo no >/ro/file || echo refused
		rm /ro/file || echo refused
		echo more >>/etc/single
		echo more >>/etc/single-ro || echo refused
		cat /all/mounted/file
		ls /top/mounted
		[ "$(stat -c %d /all)" != "$(stat -c %d /all/mounted)" ] && echo two file systems
		grep -c " /etc/single-ro ro,nosuid,nodev,noexec" /proc/self/mountinfo
		mkdir /data/watched
		until [ -e /data/go ]; do sleep 0.1; done
		cat /data/go
		inotify /data/watched
		i=0; while [ $i -lt 300 ]; do echo $i >/data/dir/n$i; i=$((i + 1)); done
		ls /data/dir | wc -l
		sync
	' >"$WORK/out" 2>"$WORK/err" &
	local job=$!
	eventually test -d "$WORK/volume/watched"
	daemons_are 2
	echo 'while it runs' >"$WORK/go.new" && mv "$WORK/go.new" "$WORK/volume/go"
	ends_with 0 $job
	umount "$WORK/nested/mounted" "$WORK/nested"
	diff - "$WORK/out" <<-END
		from the host
		content
		one
		two
		12 34 604
		refused
		refused
		refused
		refused
		deep
		two file systems
		1
		while it runs
		created made
		302
	END
	cd "$WORK/volume"
	[ "$(cat sub/guest)" = 'from the guest' ]
	[ "$(stat -c '%u %g %a' sub/guest)" = '0 0 751' ]
	[ "$(stat -c %Y dir/old)" = 1234567890 ]
	[ "$(readlink dir/link)" = ../host ]
	[ hard -ef dir/old ]
	[ -p fifo ]
	[ "$(stat -c %s large)" = 2097152 ]
	[ "$(cat dir/n299)" = 299 ]
	[ "$(cat "$WORK/single")" = "$(printf 'one\nmore')" ]
	[ "$(cat "$WORK/single-ro")" = two ]
	[ "$(cat "$WORK/ro/file")" = content ]
	daemons_are 0
}

@test "a daemon that is killed: errors, no hang, and nothing stays" {
	local before pid job
	mkdir "$WORK/volume"
	mount_add "$WORK/volume" /data rbind
	before=$(host_footprint)
	in_container '
		exec 3>/data/open
		touch /data/ready
		until read -r line </data/go 2>/dev/null; [ "$line" ] || ! [ -e /data/ready ]; do sleep 0.1; done
		cat /data/ready || echo error
		echo x >&3 || echo error
		ls /data || echo error
		echo still here >/dev/shm/x && cat /dev/shm/x
	' >"$WORK/out" 2>"$WORK/err" &
	job=$!
	eventually test -e "$WORK/volume/ready"
	pgrep -f "virtiofsd --fd" | xargs kill -9
	ends_with 0 $job
	diff - "$WORK/out" <<-END
		error
		error
		error
		still here
	END
	grep -q 'the file system daemon has ended' "$WORK/log"
	[ "$(host_footprint)" = "$before" ]

	# The other way round: nobody outlives a VMM that is killed.
	in_container 'touch /data/again; sleep 100' &
	job=$!
	eventually test -e "$WORK/volume/again"
	daemons_are 2
	pid=$(bulkhead state "$ID" | jq .pid)
	kill -9 "$pid"
	ends_with 137 $job
	eventually daemons_are 0
	[ "$(host_footprint)" = "$before" ]

	BULKHEAD_VIRTIOFSD=/no/such refuses 'virtiofsd is missing: /no/such' create -b "$BUNDLE" "$ID"
	! BULKHEAD_VIRTIOFSD=/bin/false plain create -b "$BUNDLE" "$ID" 2>"$WORK/stderr" || false
	grep -q "virtiofsd, which serves the host's files, has ended" "$WORK/stderr"
}

@test "no way out of a share: symlinks, .., renames, open handles, a remount" {
	mkdir -p "$WORK/volume/dir/sub" "$WORK/outside" "$WORK/ro"
	echo secret | tee "$WORK/secret" "$WORK/outside/secret" >"$WORK/volume/host-file"
	mount_add "$WORK/volume" /data rbind
	mount_add "$WORK/ro" /ro rbind ro
	config '.process.capabilities |= map_values(. + ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_MKNOD"])'
	SECRET=$WORK/secret
	in_container '
		ln -s '"$SECRET"' /data/link && cat /data/link || echo 1
		ln -s ../../../../../../../..'"$SECRET"' /data/up && cat /data/up || echo 2
		cat /data/../'"$SECRET"' || echo 3
		mv /data/host-file /data/../etc/ || echo 4
		mount -o remount,rw,bind /ro && echo remounted
		echo x >/ro/file || echo 5
		cd /data/dir/sub && exec 4<. && touch /data/ready
		until [ -e /data/moved ]; do sleep 0.1; done
		cat ../secret || echo 6
		cat /proc/self/fd/4/../secret || echo 7
		cat /data/taken || echo 8
		cat /data/replaced/secret || echo 9
		mknod /data/disk b 7 0; dd if=/data/disk of=/dev/null count=1 || echo 10
	' >"$WORK/out" 2>"$WORK/err" &
	local job=$!
	eventually test -e "$WORK/volume/ready"
	mv "$WORK/volume/dir/sub" "$WORK/outside/sub"
	ln -s "$WORK/secret" "$WORK/volume/taken"
	ln -s "$WORK/outside" "$WORK/volume/replaced"
	touch "$WORK/volume/moved"
	ends_with 0 $job
	diff - "$WORK/out" <<-END
		1
		2
		3
		4
		remounted
		5
		6
		7
		8
		9
		10
	END
	[ ! -e "$WORK/ro/file" ]
	[ "$(cat "$WORK/secret")" = secret ]
}

@test "two containers on one volume, a file system exerciser, and fsync before a kill" {
	local first second pid
	mkdir "$WORK/volume"
	cp build/tests/fsx "$BUNDLE/rootfs/bin/fsx"
	mount_add "$WORK/volume" /data rbind
	command_is /bin/sh -c '
		until [ -e /data/two ]; do sleep 0.1; done
		cat /data/two
		echo from one >/data/one.new && mv /data/one.new /data/one
		fsx /data/fsx 1 2000 && echo exercised
		dd if=/dev/zero bs=1k count=100 2>/dev/null | tr "\\0" x >/data/kept && sync /data/kept && echo synced >/data/synced
		sleep 100'
	bulkhead run -b "$BUNDLE" "$ID-1" </dev/null >"$WORK/first" 2>"$WORK/err" &
	first=$!
	command_is /bin/sh -c '
		echo from two >/data/two.new && mv /data/two.new /data/two
		until [ -e /data/one ]; do sleep 0.1; done
		cat /data/one
		fsx /dev/shm/fsx 2 100 && echo exercised'
	bulkhead run -b "$BUNDLE" "$ID-2" </dev/null >"$WORK/second" &
	second=$!
	ends_with 0 $second
	eventually test -s "$WORK/volume/synced"
	pid=$(bulkhead state "$ID-1" | jq .pid)
	kill -9 "$pid"
	ends_with 137 $first
	diff - "$WORK/second" <<<$'from one\nexercised'
	diff - "$WORK/first" <<<$'from two\nexercised'
	[ "$(tr -d x <"$WORK/volume/kept" | wc -c) $(stat -c %s "$WORK/volume/kept")" = '0 102400' ]
	eventually daemons_are 0
}
