#!/usr/bin/env bats
# Images and workloads that attack what makes their processes: the past holes of runc and its kind (docs/security.md).
# Here all of it would happen in the VM; the agent is to be out of the workload's reach all the same.
# In single quotes are jq's variables and other shells'.
# shellcheck disable=SC2016

load helpers

# up [COMMAND...]: a created container, whose root can be written to; it sleeps once it is started.
up() {
	config '.root.readonly = false'
	command_is /bin/sh -c 'trap exit TERM; sleep 1000 & wait'
	bulkhead create -b "$BUNDLE" "$@" "$ID" </dev/null >"$WORK/out" 2>&1
}

inside() {
	bulkhead exec "$ID" /bin/sh -c "$1" </dev/null
}

# as_admin SCRIPT: with the right to mount, and none to trace.
as_admin() {
	bulkhead exec -c CAP_SYS_ADMIN -c CAP_MKNOD "$ID" /bin/sh -c "$1" </dev/null
}

# refuses_exec TEXT ARGUMENT...: exec fails at once, by a line with TEXT, and nothing was run.
refuses_exec() {
	local text=$1 code=0
	shift
	LIMIT=20 plain exec "$@" </dev/null >"$WORK/exec-out" 2>"$WORK/exec-err" || code=$?
	if [ "$code" = 255 ] && [ ! -s "$WORK/exec-out" ] && grep -q -e "$text" "$WORK/exec-err"; then
		return
	fi
	echo "exec $*: exit code $code, wanted are 255 and: $text" >&2
	cat "$WORK/exec-out" "$WORK/exec-err" >&2
	return 1
}

@test "a process that is being made shows nothing of the agent, and leaves nothing of it to the workload" {
	local fd
	up
	# Process 0 waits for start, and still is a copy of the agent with the workload's own rights: all that root of
	# the container could look at or change is closed. (CVE-2016-9962)
	inside 'for file in exe cwd root ns/mnt fd/0 fd/3 fd/4 fd/5; do readlink /proc/1/$file && echo "$file is open"; done
		for file in mem maps environ auxv io stack syscall; do cat /proc/1/$file >/dev/null && echo "$file is open"; done
		true >>/proc/1/mem && echo "memory can be written"
		cat /proc/1/comm; echo done' >"$WORK/seen" 2>/dev/null
	printf 'init\ndone\n' | diff - "$WORK/seen"
	bulkhead start "$ID"

	# A working directory that one of the agent's descriptors names. (CVE-2024-21626)
	for fd in 3 4 5 6 7 8 9 10 11 12 13 14; do
		refuses_exec 'chdir to cwd' --cwd "/proc/self/fd/$fd" "$ID" cat ../../init
		refuses_exec 'chdir to cwd' --cwd "/proc/self/fd/$fd/../../.." "$ID" cat init
	done

	# The program that runs the command is not run for it, nor written to. (CVE-2019-5736)
	inside 'ln -s /proc/self/exe /bin/self; printf "#!/proc/self/exe\n" >/bin/script; chmod 755 /bin/script'
	for fd in /proc/self/exe /bin/self /bin/script; do
		refuses_exec 'permission denied\|Permission denied' "$ID" "$fd"
	done

	# What is replaced under the same name is what is run, or refused; nothing waits for it.
	inside 'mv /bin/id /bin/old; printf "#!/bin/sh\necho another\n" >/bin/id; chmod 755 /bin/id'
	[ "$(bulkhead exec "$ID" id)" = another ]
	inside 'rm /bin/id; mkfifo -m 755 /bin/id'
	refuses_exec 'exec /bin/id' "$ID" id
	inside 'rm /bin/id; mkdir /bin/id'
	refuses_exec 'is a directory' "$ID" /bin/id
	inside 'rm -r /bin/id; ln -s /bin/id /bin/id'
	refuses_exec 'too many levels' "$ID" /bin/id
	inside 'rm /bin/id; : >/bin/id; chmod 755 /bin/id'
	refuses_exec 'exec format error' "$ID" id
	inside 'rm /bin/id; mv /bin/old /bin/id'

	# Files that exec itself looks into: a FIFO does not hold it, a device is not read.
	inside 'mv /etc/passwd /etc/kept; mkfifo /etc/passwd'
	[ "$(bulkhead exec "$ID" /bin/sh -c 'echo "$HOME"')" = / ]
	inside 'rm /etc/passwd; mv /etc/kept /etc/passwd'

	# Below /proc and /dev/pts there is something else by now: nothing that is meant for the kernel is written there,
	# and no terminal is taken from it. (CVE-2019-16884, CVE-2025-52565, CVE-2025-52881)
	as_admin 'mount -t tmpfs tmpfs /dev/pts && mkfifo /dev/pts/ptmx'
	terminal_open build/bulkhead --root "$WORK/state" exec -t "$ID" /bin/true
	terminal_ends 255
	grep -q 'ptmx' "$WORK/screen"
	as_admin 'rm /dev/pts/ptmx; mknod /dev/pts/ptmx c 5 2'
	terminal_open build/bulkhead --root "$WORK/state" exec -t "$ID" /bin/true
	terminal_ends 255
	as_admin 'mount -t tmpfs tmpfs /proc; mkdir -p /proc/self/fd /proc/self/attr; mkfifo /proc/self/attr/exec
		for i in 0 1 2 3 4 5 6 7 8 9; do echo kept >/proc/self/fd/$i; done
		for file in oom_score_adj setgroups; do echo kept >/proc/self/$file; done'
	process=$(jq '.process | .args = ["/bin/sh", "-c",
		"cat /proc/self/oom_score_adj /proc/self/setgroups /proc/self/fd/* | uniq -c; umount /proc; cat /proc/self/oom_score_adj"]
		| .oomScoreAdj = 77 | (.capabilities | .bounding, .effective, .permitted) += ["CAP_SYS_ADMIN"]' "$BUNDLE/config.json")
	printf '%s' "$process" >"$WORK/process.json"
	[ "$(bulkhead exec --process "$WORK/process.json" "$ID" | xargs)" = '12 kept 77' ]
	bulkhead delete --force "$ID"
}

@test "an image whose links lead mounts, masks, devices and the console elsewhere" {
	local root=$BUNDLE/rootfs
	# Links out of the root, of every kind; the agent's own root has /run, /sys and what it serves below them.
	ln -s ../../../../../../.. "$root/up"
	ln -s /proc/1/root "$root/magic"
	ln -s /run "$root/absolute"
	mkdir -p "$root/run/bulkhead" "$root/srv" "$root/dev/pts"
	echo image >"$root/srv/masked"
	ln -s /srv/masked "$root/srv/alias"
	ln -s /up/srv/readonly "$root/srv/later"
	mkdir "$root/srv/readonly"
	# What a mask is made of, and where a console goes, if the image had a say. (CVE-2025-31133, CVE-2025-52565)
	rm -f "$root/dev/null" "$root/dev/console"
	ln -s /proc/sys/kernel/core_pattern "$root/dev/null"
	ln -s /proc/sys/kernel/core_pattern "$root/dev/console"
	ln -s /proc/sys/kernel/core_pattern "$root/dev/zero"
	config 'def tmpfs(to): {destination: to, type: "tmpfs", source: "tmpfs", options: ["size=1m"]};
		.root.readonly = false | .process.terminal = true | .process.cwd = "/up/srv"
		| .mounts |= map(select(.destination != "/dev" and .destination != "/dev/shm" and .destination != "/dev/mqueue"))
		| .mounts += [tmpfs("/up/run/bulkhead/a"), tmpfs("/absolute/bulkhead/b"), tmpfs("/srv/../../../run/bulkhead/c"),
			tmpfs("/up/sys/fs"), {destination: "/up/etc/file", type: "bind", source: $file, options: ["bind", "ro"]}]
		| .linux.maskedPaths += ["/srv/alias", "/up/etc/passwd"] | .linux.readonlyPaths += ["/srv/later"]
		| .linux.sysctl = {"kernel.shmmax": "12345"}' --arg file "$BUNDLE/config.json"
	command_is /bin/sh -c 'echo up; sleep 1000'
	terminal_open build/bulkhead --log "$WORK/log" --root "$WORK/state" run -b "$BUNDLE" "$ID"
	terminal_ends 1
	grep -q 'mount console: /dev/console is a symbolic link' "$WORK/screen"
	rm "$root/dev/console"
	terminal_open build/bulkhead --log "$WORK/log" --root "$WORK/state" run -b "$BUNDLE" "$ID"
	terminal_shows up
	inside '
		cut -d" " -f5 /proc/self/mountinfo | grep -e ^/run -e ^/etc -e ^/srv -e ^/sys/fs | sort | xargs
		cat /proc/keys /srv/masked /srv/alias /etc/passwd | wc -c
		stat -c "%t:%T" /proc/keys /srv/masked /etc/passwd | xargs
		for file in /proc/sys/kernel/core_pattern /dev/null /dev/zero; do
			(echo "|/bin/sh" >$file) 2>/dev/null && echo "$file can be written"
		done
		touch /srv/readonly/x /etc/file 2>&1 | grep -c Read-only
		cat /proc/sys/kernel/shmmax; pwd' >"$WORK/seen"
	diff - "$WORK/seen" <<-END
		/etc/file /etc/passwd /run/bulkhead/a /run/bulkhead/b /run/bulkhead/c /srv/masked /srv/readonly /sys/fs /sys/fs/cgroup
		0
		1:3 1:3 1:3
		2
		12345
		/srv
	END
	bulkhead kill "$ID" KILL
	terminal_ends 137
}

@test "an image whose /proc or /sys is a link" {
	local dir
	for dir in proc sys; do
		rmdir "$BUNDLE/rootfs/$dir"
		ln -s /srv "$BUNDLE/rootfs/$dir"
		refuses "must be mounted on an ordinary directory, and /$dir is a symbolic link" run -b "$BUNDLE" "$ID"
		rm "$BUNDLE/rootfs/$dir"
		mkdir "$BUNDLE/rootfs/$dir"
	done
}

@test "a container that shares the VM's processes: a working directory or a command in the agent's own root" {
	config 'del(.linux.namespaces[] | select(.type == "pid"))'
	up
	bulkhead start "$ID"
	refuses_exec 'chdir to cwd' --cwd /proc/1/root "$ID" /bin/sh -c 'ls run'
	refuses_exec 'chdir to cwd' --cwd /proc/1/cwd "$ID" /bin/sh -c 'ls run'
	refuses_exec 'denied' "$ID" /proc/1/exe
	refuses_exec 'denied' "$ID" /proc/1/root/init
	# Nor is there a way into it by ptrace and its kin, or by signals that would end the VM.
	inside 'kill -KILL 1; kill -STOP 1; kill -SEGV 1; kill -TERM 1
		for file in exe cwd root fd/3 ns/mnt; do readlink /proc/1/$file && echo "$file is open"; done
		for file in mem maps environ; do cat /proc/1/$file >/dev/null && echo "$file is open"; done
		true >>/proc/1/mem && echo "memory can be written"
		echo done' >"$WORK/seen" 2>/dev/null
	[ "$(cat "$WORK/seen")" = done ]
	bulkhead delete --force "$ID"
}
