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
