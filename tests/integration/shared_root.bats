#!/usr/bin/env bats
# The root mode "shared": the upper directory of a container is that of an overlay on the host. What engines make of it is
# in tests/engines/root.bats; here is which mode it is, what is left behind, and what a hostile guest gets hold of.
# In single quotes are jq's variables and other shells'.
# shellcheck disable=SC2016

load helpers

# overlay_root: $WORK/engine as podman has it for a container: diff, work, merged, and files that say what to mount.
overlay_root() {
	E=$WORK/engine
	mkdir -p "$E"/{diff,work,merged}
	echo 'l/ABC' >"$E/lower"
	echo 'ABC' >"$E/link"
	mount -t overlay overlay -o "lowerdir=$BUNDLE/rootfs,upperdir=$E/diff,workdir=$E/work" "$E/merged"
	config '.root = {path: $path, readonly: false}' --arg path "$E/merged"
}

# sleeps STATUS: the process has not run for three of its spans.
sleeps() {
	local before
	before=$(grep ctxt "$1")
	sleep 3
	[ "$before" = "$(grep ctxt "$1")" ]
}

overlay_gone() {
	umount "$E/merged"
}

@test "the mode: by default, by annotation, refused, and what stays on the host" {
	overlay_root
	in_container 'echo kept >/etc/written; rm /etc/passwd; mkdir /bin2 && mv /bin/true /bin2/'
	[ "$(cat "$E/diff/etc/written")" = kept ]
	[ "$(stat -c '%F %t %T' "$E/diff/etc/passwd")" = 'character special file 0 0' ]
	[ ! -e "$E/bulkhead" ]
	# Started again it goes on; with scratch it sees that too, and leaves it as it is.
	[ "$(in_container 'cat /etc/written; test -e /etc/passwd || echo gone')" = $'kept\ngone' ]
	config '.annotations["io.bulkhead.root"] = "scratch"'
	[ "$(in_container 'cat /etc/written; echo other >/etc/written; cat /etc/written')" = $'kept\nother' ]
	[ "$(cat "$E/diff/etc/written")" = kept ]
	grep -q 'root=shared has them see it' "$WORK/log"
	config '.annotations["io.bulkhead.root"] = "shared"'
	BULKHEAD_VIRTIOFSD=/no/such refuses 'virtiofsd is missing' create -b "$BUNDLE" "$ID"
	chmod 0777 "$E"
	refuses 'others may write to the folder' create -b "$BUNDLE" "$ID"
	chmod 0700 "$E"
	# One VM at a time, and a killed one loses nothing that was written.
	command_is /bin/sh -c 'echo before >/etc/before; sleep 1000'
	bulkhead create -b "$BUNDLE" --pid-file "$WORK/pid" "$ID" </dev/null >/dev/null 2>&1
	refuses 'another VM has this root' create -b "$BUNDLE" "$ID-2"
	bulkhead start "$ID"
	eventually grep -qs before "$E/diff/etc/before"
	# Nobody does anything: what keeps the two views together sleeps.
	[ "$(pgrep -cx bulkhead-root)" = 1 ]
	eventually sleeps "/proc/$(pgrep -x bulkhead-root)/status"
	# Who enters its mount namespace finds the container's files; the VMM itself has an empty root.
	# (308 is setns: nothing can be executed there.)
	[ "$(perl -e 'open N, "<$ARGV[0]" or die; syscall(308, fileno N, 0) == 0 or die "setns: $!"; open F, "</etc/before" or die; print <F>' \
		"/proc/$(cat "$WORK/pid")/ns/mnt")" = before ]
	[ -z "$(ls -A "/proc/$(cat "$WORK/pid")/root/")" ]
	bulkhead delete --force "$ID"
	[ ! -e "$E/bulkhead" ]
	run ! pgrep -x bulkhead-root
	# All that is beside a VMM ends with it, however that ends, and not only by delete.
	bulkhead create -b "$BUNDLE" --pid-file "$WORK/pid" "$ID" </dev/null >/dev/null 2>&1
	[ "$(pgrep -cx bulkhead-root)" = 1 ]
	kill -KILL "$(cat "$WORK/pid")"
	eventually none_runs bulkhead-root
	eventually none_runs virtiofsd
	bulkhead delete --force "$ID"
	[ ! -e "$E/bulkhead" ]
	overlay_gone
	config '.root.path = $path' --arg path "$BUNDLE/rootfs"
	refuses 'root.path is no writable overlay, as engines mount them; root=scratch works' create -b "$BUNDLE" "$ID"
}

@test "who takes virtiofsd over gets at the upper directory, and at nothing beside it" {
	overlay_root
	echo secret >"$WORK/secret"
	# In its place, with more rights than it has left when it serves.
	cat >"$WORK/daemon" <<-END
		#!/bin/sh
		SECRET=$WORK/secret
	END
	cat >>"$WORK/daemon" <<-'END'
		exec 1>&2
		cd /run/0
		touch diff/upper && mv diff/upper bulkhead/work && mv bulkhead/work diff/upper && echo it works
		no() { "$@" 2>&- && echo "it could: $*"; }
		no sh -c 'echo x >lower'
		no sh -c 'echo x >>link'
		no sh -c 'echo x >new'
		no cat lower
		no rm lower
		no mv lower diff/lower
		no mv link lower
		no ln link diff/link
		no chmod 777 lower
		no chown 1 link
		no touch -d @0 merged
		no mkdir dir
		no mknod node c 1 3
		no ln -s / soft
		no mv diff gone
		no mv diff/upper upper
		no rmdir bulkhead
		no touch work/x
		no touch work/work/x
		no umount lower
		no mount --bind / diff
		ln -s ../lower diff/soft
		no sh -c 'echo x >diff/soft'
		no cat "$SECRET"
		no sh -c "echo x >$SECRET"
		no touch /tmp/x
		no sh -c 'echo x >/proc/sys/kernel/hostname'
		echo it ends
	END
	chmod +x "$WORK/daemon"
	! BULKHEAD_VIRTIOFSD=$WORK/daemon bulkhead create -b "$BUNDLE" "$ID" </dev/null 2>"$WORK/err" || false
	grep -o 'virtiofsd: it [^"]*' "$WORK/log" >"$WORK/out"
	diff "$WORK/out" - <<-'END'
		virtiofsd: it works
		virtiofsd: it ends
	END
	[ "$(cat "$E/lower" "$E/link" "$WORK/secret")" = $'l/ABC\nABC\nsecret' ]
	[ "$(ls "$E" | tr '\n' ' ')" = 'diff link lower merged work ' ]
	[ "$(stat -c '%a %u' "$E/lower" "$E/link" "$E/merged" | tr '\n' ' ')" = '644 0 644 0 755 0 ' ]
	overlay_gone
}
