#!/usr/bin/env bats
# Bad input and bad luck: one clear line, an exit code that is not 0, and nothing half-made.
# In single quotes are jq's variables and other shells'.
# shellcheck disable=SC2016

load helpers

# At the beginning and at the end of a test: no state, process, mount, cgroup or image is left behind.
note_host() {
	HOST_BEFORE=$(host_footprint)
}

nothing_left() {
	[ "$(host_footprint)" = "$HOST_BEFORE" ] || {
		echo "left: $(host_footprint), before: $HOST_BEFORE" >&2
		find "$WORK/state" /var/lib/bulkhead >&2
		return 1
	}
}

# fails_with_console TEXT PATTERN ARGUMENT...: as refuses, but after the line comes the tail of the guest's console,
# which matches PATTERN.
fails_with_console() {
	local text=$1 pattern=$2 code=0
	shift 2
	plain "$@" >"$WORK/stdout" 2>"$WORK/stderr" </dev/null || code=$?
	if [ "$code" != 0 ] && [ ! -s "$WORK/stdout" ] && head -n 1 "$WORK/stderr" | grep -qF -e "$text" &&
		tail -n +2 "$WORK/stderr" | grep -qE -e "$pattern" &&
		[ "$(grep -c 'level=error' "$WORK/stderr")" = 1 ] && [ "$(wc -l <"$WORK/stderr")" -le 22 ]; then
		return
	fi
	echo "bulkhead $*: exit code $code, wanted: $text, and on the console: $pattern" >&2
	cat "$WORK/stdout" "$WORK/stderr" >&2
	return 1
}

# elsewhere SCRIPT: runs it in a mount namespace of its own; its arguments are the state folder, the bundle and the id.
elsewhere() {
	unshare -m bash -euc "$1" bash "$WORK/state" "$BUNDLE" "$ID"
}

# elsewhere_refuses TEXT SCRIPT: as refuses.
elsewhere_refuses() {
	local code=0
	elsewhere "$2" >"$WORK/stdout" 2>"$WORK/stderr" </dev/null || code=$?
	if [ "$code" = 1 ] && [ ! -s "$WORK/stdout" ] && [ "$(wc -l <"$WORK/stderr")" = 1 ] &&
		grep -qF -e "$1" "$WORK/stderr"; then
		return
	fi
	echo "exit code $code, wanted is 1 and one line with: $1" >&2
	cat "$WORK/stdout" "$WORK/stderr" >&2
	return 1
}

# make_initramfs SCRIPT: $WORK/initramfs.cpio, whose /init it is.
make_initramfs() {
	rm -rf "$WORK/initramfs"
	mkdir -p "$WORK/initramfs/bin"
	cp "$(command -v busybox)" "$WORK/initramfs/bin/busybox"
	printf '#!/bin/busybox sh\n%s\n' "$1" >"$WORK/initramfs/init"
	chmod 755 "$WORK/initramfs/init"
	(cd "$WORK/initramfs" && find . | cpio --quiet -o -H newc) >"$WORK/initramfs.cpio"
}

@test "no KVM" {
	note_host
	local no_kvm='
		mkdir "$1.dev"
		cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /dev/ptmx "$1.dev"
		ln -s /proc/self/fd "$1.dev"
		mount --bind "$1.dev" /dev'
	elsewhere_refuses '/dev/kvm is not there: load kvm_intel or kvm_amd' "$no_kvm"'
		build/bulkhead --root "$1" run -b "$2" "$3"'
	rm -r "$WORK/state.dev"
	run -1 elsewhere "$no_kvm"'
		build/bulkhead check >"$1.check"'
	grep -q '^kvm *MISSING: .*/dev/kvm is not there' "$WORK/state.check"

	# Another user, who may do all else.
	chmod 711 "$BATS_RUN_TMPDIR" "$WORK/.." "$WORK"
	elsewhere_refuses 'no permission to use /dev/kvm: run as root or join the group that owns it' '
		mount -t tmpfs -o mode=1777 tmpfs /var/lib/bulkhead
		setpriv --reuid 1000 --regid 1000 --clear-groups build/bulkhead --root /var/lib/bulkhead/state \
			run -b "$2" "$3"'
	elsewhere_refuses 'the folder of states (--root, or XDG_RUNTIME_DIR): mkdir /run/user' '
		mknod -m 666 "$1.kvm" c 10 232 && mount --bind "$1.kvm" /dev/kvm
		setpriv --reuid 65533 --regid 65533 --clear-groups env -u XDG_RUNTIME_DIR \
			build/bulkhead run -b "$2" "$3"'
	nothing_left
}

@test "a KVM that cannot boot Linux" {
	note_host
	export BULKHEAD_VMM=$PWD/build/tests/vmm-gives-up
	refuses 'cannot boot Linux; use a host with hardware virtualization' run -b "$BUNDLE" "$ID"
	run -1 plain check
	grep -q '^kvm *MISSING: .*cannot boot Linux; use a host' <<<"$output"
	nothing_left
}

@test "kernel, initramfs or VMM missing or wrong" {
	note_host
	local file
	echo 'not what it should be' >"$WORK/garbage"
	: >"$WORK/empty"
	head -c 300 build/guest/vmlinux >"$WORK/cut-off"
	for file in none garbage empty cut-off; do
		BULKHEAD_KERNEL=$WORK/$file refuses "$WORK/$file" run -b "$BUNDLE" "$ID"
		[ "$file" = cut-off ] || BULKHEAD_INITRAMFS=$WORK/$file refuses "$WORK/$file" run -b "$BUNDLE" "$ID"
	done
	BULKHEAD_VMM=$WORK/none refuses "BULKHEAD_VMM=$WORK/none: No such file" run -b "$BUNDLE" "$ID"
	BULKHEAD_VMM=$WORK/garbage refuses "start $WORK/garbage: Permission denied" run -b "$BUNDLE" "$ID"
	BULKHEAD_VMM=/bin/false refuses 'bulkhead-vmm ended with exit code 1' run -b "$BUNDLE" "$ID"
	# As after a build that did not get far.
	mkdir "$WORK/bin"
	cp build/bulkhead "$WORK/bin"
	run -1 "$WORK/bin/bulkhead" --root "$WORK/state" run -b "$BUNDLE" "$ID"
	[[ $output = *'bulkhead-vmm is missing: run make, or set BULKHEAD_VMM'* ]]
	nothing_left
}

@test "config.json that is missing, no JSON, or not what the specification says" {
	note_host
	local file=$BUNDLE/config.json
	cp "$file" "$WORK/good.json"
	rm "$file"
	refuses "JSON specification file $file not found" run -b "$BUNDLE" "$ID"
	refuses "bundle $WORK/none: No such file or directory" run -b "$WORK/none" "$ID"
	printf '{\n  "ociVersion": "1.0.2",\n  "root": }\n' >"$file"
	refuses "$file: line 3, column 11: " run -b "$BUNDLE" "$ID"
	: >"$file"
	refuses "$file: line 1, column 0: " run -b "$BUNDLE" "$ID"
	printf '[]' >"$file"
	refuses "$file: must be an object, is an array" run -b "$BUNDLE" "$ID"
	head -c 5000 /dev/urandom >"$file"
	refuses "$file: line " run -b "$BUNDLE" "$ID"
	rm "$file"
	mkdir "$file"
	refuses "read $file: Is a directory" run -b "$BUNDLE" "$ID"
	rmdir "$file"

	cp "$WORK/good.json" "$file"
	refuses_configs \
		'del(.ociVersion)' 'ociVersion: is missing' \
		'.ociVersion = "2.0.0"' 'ociVersion: 2.0.0 is not supported, only 1.x is' \
		'.ociVersion = "new"' 'ociVersion: \"new\" is not a version' \
		'.ociVersion = 1' 'ociVersion: must be a string, is an integer' \
		'del(.root)' 'root: is missing' \
		'del(.root.path)' 'root.path: is missing' \
		'.root.path = "nowhere"' "root.path: open $BUNDLE/nowhere: No such file or directory" \
		'.root.path = "config.json"' "root.path: open $file: Not a directory" \
		'.root.readonly = "yes"' 'root.readonly: must be true or false, is a string' \
		'del(.process)' 'process: is missing' \
		'.process.args = "sh"' 'process.args: must be an array, is a string' \
		'.process.args = []' 'process.args: must not be empty' \
		'.process.args = ["sh", 1]' 'process.args[1]: must be a string, is an integer' \
		'del(.process.cwd)' 'process.cwd: is missing' \
		'.process.cwd = "here"' 'process.cwd: \"here\" is not an absolute path' \
		'.process.env = {}' 'process.env: must be an array, is an object' \
		'.process.user.uid = -1' 'process.user.uid: must be an integer that is not negative, is an integer' \
		'.process.terminal = true' 'process.terminal: a container that is not in the foreground needs' \
		'.mounts[1].destination = "dev"' 'mounts[1].destination: \"dev\" is not an absolute path' \
		'del(.mounts[0].destination)' 'mounts[0].destination: is missing' \
		'.mounts[2].options = "ro"' 'mounts[2].options: must be an array, is a string' \
		'.linux.namespaces[0].type = 5' 'linux.namespaces[0].type: must be a string, is an integer' \
		'.linux.namespaces[0].path = "/proc/1/ns/pid"' 'linux.namespaces[0].path: a container in a VM cannot' \
		'.hooks.prestart = [{"path": "true"}]' 'hooks.prestart[0].path: must be an absolute path' \
		'.hooks.poststop = [{"path": "/x", "timeout": 0}]' 'hooks.poststop[0].timeout: must be greater than zero' \
		'.hooks.late = []' 'hooks.late: there is no such kind of hook' \
		'.linux.cgroupsPath = "/"' 'linux.cgroupsPath: \"/\" is the root of the hierarchy' \
		'.linux.namespaces[1].path = "/proc/self/ns/uts"' '/proc/self/ns/uts is not a network namespace' \
		'.linux.resources.cpu.cpus = "0-"' 'linux.resources.cpu.cpus: \"0-\" is not a list of CPUs' \
		'.linux.seccomp = {"defaultAction": "SCMP_ACT_WISH"}' 'SCMP_ACT_WISH' \
		'.annotations = {"x": 1}' 'annotations.x: must be a string, is an integer'
	nothing_left
}

@test "ids that are taken, wrong or unknown" {
	note_host
	local id
	for id in a/b /a ../x .. . 'a b' 'a%' $'a\nb' ''; do
		refuses ontainer create -b "$BUNDLE" "$id"
		refuses ontainer state "$id"
		refuses ontainer delete --force "$id"
	done
	refuses 'invalid container ID format: \"a/b\"' create -b "$BUNDLE" a/b
	refuses 'invalid container ID format: \"..\"' run -b "$BUNDLE" ..
	refuses 'container id cannot be empty' run -b "$BUNDLE" ''
	refuses 'container id is longer than 255 bytes' run -b "$BUNDLE" "$(printf '%0300d' 0)"
	mkdir -p "$WORK/state/taken"
	refuses 'container with given ID already exists: taken' run -b "$BUNDLE" taken
	refuses 'container does not exist' state taken
	plain delete --force taken
	[ -z "$(ls -A "$WORK/state")" ]
	echo '{' >"$WORK/state/file"
	refuses 'open the state of container file: Not a directory' state file
	mkdir "$WORK/state/broken"
	echo '{' >"$WORK/state/broken/state.json"
	refuses 'state.json of container broken is damaged: delete --force removes it' state broken
	plain delete --force broken
	refuses "$BUNDLE/config.json: Not a directory" --root "$BUNDLE/config.json" run -b "$BUNDLE" "$ID"
	rm "$WORK/state/file"
	nothing_left
}

@test "a command that cannot be executed" {
	note_host
	echo data >"$BUNDLE/rootfs/etc/data"
	command_is nowhere
	refuses 'exec: \"nowhere\": executable file not found in $PATH' run -b "$BUNDLE" "$ID"
	command_is /bin/nowhere
	refuses 'exec: \"/bin/nowhere\": stat /bin/nowhere: no such file or directory' run -b "$BUNDLE" "$ID"
	command_is /etc/data
	refuses 'exec: \"/etc/data\": permission denied' create -b "$BUNDLE" "$ID"
	nothing_left
}

@test "disk full while the images are made, and tools that are missing" {
	note_host
	elsewhere_refuses 'make an image in /var/lib/bulkhead/layers: mkfs.erofs: ' '
		mount -t tmpfs -o size=100k tmpfs /var/lib/bulkhead
		build/bulkhead --root "$1" run -b "$2" "$3"'
	grep -q 'No space left on device' "$WORK/stderr"
	# The root fits now, the scratch disk does not.
	mkdir "$BUNDLE/empty"
	config '.root = {path: "empty", readonly: false}'
	elsewhere_refuses 'scratch disk: /var/lib/bulkhead/scratch: mkfs.ext4: ' '
		mount -t tmpfs -o size=64k tmpfs /var/lib/bulkhead
		build/bulkhead --root "$1" run -b "$2" "$3"'
	elsewhere_refuses 'mkfs.erofs is missing: install erofs-utils' '
		mount --bind /dev/null "$(readlink -f "$(command -v mkfs.erofs)")"
		build/bulkhead --root "$1" run -b "$2" "$3"'
	# The state is on a disk too.
	elsewhere_refuses 'No space left on device' '
		mkdir "$1.full"
		mount -t tmpfs -o size=4k,nr_inodes=3 tmpfs "$1.full"
		build/bulkhead --root "$1.full" run -b "$2" "$3"'
	config '.root = {path: "rootfs", readonly: true}'
	refuses "write /nonexistent/pid: No such file or directory" \
		create -b "$BUNDLE" --pid-file /nonexistent/pid "$ID"
	nothing_left
}

@test "memory that is too little or too much" {
	note_host
	local host
	host=$(($(getconf _PHYS_PAGES) * $(getconf PAGESIZE) / 1048576))
	refuses_configs \
		'.annotations = {"io.bulkhead.memory": "63"}' 'is not a number from 64 to 1048576' \
		'.annotations = {"io.bulkhead.memory": "1048576"}' "this host has only $host MiB"
	# The least that is allowed is enough to boot, and a limit above the host's memory is the host's.
	config '.annotations = {"io.bulkhead.memory": "64"}'
	plain run -b "$BUNDLE" "$ID" </dev/null
	config 'del(.annotations) | .linux.resources.memory.limit = 10995116277760'
	plain run -b "$BUNDLE" "$ID" </dev/null
	nothing_left
}

@test "a kernel that panics shows the end of its console" {
	note_host
	BULKHEAD_CMDLINE=rdinit=/nonexistent \
		fails_with_console "the guest's kernel has panicked" 'Kernel panic - not syncing' run -b "$BUNDLE" "$ID"
	make_initramfs 'echo this is the wrong init; exit 5'
	BULKHEAD_INITRAMFS=$WORK/initramfs.cpio fails_with_console "the guest's kernel has panicked" \
		'Attempted to kill init.*500' create -b "$BUNDLE" "$ID"
	grep -q 'this is the wrong init' "$WORK/stderr"
	[ "$(bulkhead list -q)" = '' ]
	nothing_left
}

@test "a kernel that panics under a running workload" {
	note_host
	config '.annotations = {"io.bulkhead.kernel-cmdline": "sysctl.vm.panic_on_oom=2", "io.bulkhead.memory": "96"} |
		del(.linux.resources)'
	command_is /bin/sh -c 'x=x; while :; do x=$x$x; done'
	fails_with_console "the guest's kernel has panicked" 'Out of memory' run -b "$BUNDLE" "$ID"
	# Without a client that waits, the log has it.
	bulkhead run -d -b "$BUNDLE" --pid-file "$WORK/pid" "$ID" </dev/null >"$WORK/out" 2>&1
	eventually has_status "$ID" stopped
	eventually grep -q "level=error msg=\"$ID: the guest's kernel has panicked.*Out of memory" "$WORK/log"
	plain delete "$ID"
	nothing_left
}

@test "an agent that never answers" {
	note_host
	local begin=$SECONDS
	make_initramfs 'echo this init says nothing; exec /bin/busybox sleep 1000'
	config '.annotations = {"io.bulkhead.agent-timeout": "4000"}'
	BULKHEAD_INITRAMFS=$WORK/initramfs.cpio fails_with_console \
		"the guest's agent did not report within 4000 ms" 'this init says nothing' create -b "$BUNDLE" "$ID"
	[ $((SECONDS - begin)) -lt 20 ]
	make_initramfs 'echo this init powers off; exec /bin/busybox poweroff -f'
	BULKHEAD_INITRAMFS=$WORK/initramfs.cpio fails_with_console \
		'the guest has powered off before the container was made' 'this init powers off' \
		create -b "$BUNDLE" "$ID"
	make_initramfs 'echo this init reboots; exec /bin/busybox reboot -f'
	BULKHEAD_INITRAMFS=$WORK/initramfs.cpio fails_with_console \
		"the guest's kernel has reset the machine" 'this init reboots' create -b "$BUNDLE" "$ID"
	nothing_left
}

# vmm_of: the VMM's pid as the state has it, or nothing.
vmm_of() {
	jq -r '.pid // empty' "$WORK/state/$ID/state.json" 2>/dev/null
}

@test "a VMM that is killed at any moment leaves what can be deleted" {
	note_host
	local delay creator code pid
	command_is /bin/sleep 1000
	config '.root.readonly = false'
	for delay in 0 0.1 0.2 0.4 0.6 0.8 1.0 1.3 1.6 2.0 2.5; do
		plain create -b "$BUNDLE" "$ID" </dev/null >"$WORK/out" 2>&1 &
		creator=$!
		eventually vmm_of >/dev/null
		until pid=$(vmm_of) && [ -n "$pid" ]; do sleep 0.02; done
		sleep "$delay"
		kill -KILL "$pid"
		code=0
		wait "$creator" || code=$?
		if [ $code = 0 ]; then
			eventually has_status "$ID" stopped
			refuses 'cannot start a container that has stopped' start "$ID"
			refuses 'container not running' kill "$ID"
			plain delete "$ID"
		else
			[ $code = 1 ]
			[ "$(wc -l <"$WORK/out")" = 1 ]
			grep -q 'bulkhead-vmm was ended by signal 9' "$WORK/out"
		fi
		[ -z "$(ls -A "$WORK/state")" ]
	done

	# During start, and while it runs.
	for delay in 0 0.05 0.5; do
		plain create -b "$BUNDLE" "$ID" </dev/null >"$WORK/out" 2>&1
		pid=$(vmm_of)
		plain start "$ID" 2>"$WORK/err" &
		sleep "$delay"
		kill -KILL "$pid"
		wait $! || [ "$(wc -l <"$WORK/err")" = 1 ]
		eventually has_status "$ID" stopped
		refuses 'cannot start a container that has stopped' start "$ID"
		plain delete "$ID"
		[ -z "$(ls -A "$WORK/state")" ]
	done

	# Under a run in the foreground, which ends in the same way.
	plain run -b "$BUNDLE" "$ID" </dev/null >"$WORK/out" 2>&1 &
	creator=$!
	eventually has_status "$ID" running
	kill -KILL "$(vmm_of)"
	ends_with 137 "$creator"
	[ -z "$(ls -A "$WORK/state")" ]
	nothing_left
}

@test "a runtime that is killed at any moment takes its VMM with it and leaves what can be deleted" {
	note_host
	local delay pid
	command_is /bin/sleep 1000
	for delay in 0.02 0.1 0.2 0.3 0.5 0.8 1.2; do
		build/bulkhead --root "$WORK/state" create -b "$BUNDLE" "$ID" </dev/null >"$WORK/out" 2>&1 &
		pid=$!
		sleep "$delay"
		kill -KILL "$pid" 2>/dev/null || true
		# It may have done all its work before: then the container is there to stay.
		! wait "$pid" || plain delete --force "$ID"
		eventually run ! pgrep -f "^$PWD/build/bulkhead-vmm --id $ID "
		if [ "$(status_of "$ID" 2>/dev/null)" != '' ]; then
			eventually has_status "$ID" stopped
			plain delete "$ID"
		fi
		plain delete --force "$ID"
		[ -z "$(ls -A "$WORK/state")" ]
	done
	eventually run ! pgrep 'mkfs|bulkhead'
	nothing_left
}
