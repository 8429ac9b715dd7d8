#!/usr/bin/env bats
# What a workload sees of its config.json. The measure is runc: where both can do it, the same script runs under runc
# and under bulkhead with the same bundle, and has to say the same, letter by letter.
# In single quotes are jq's variables and other shells'.
# shellcheck disable=SC2016

load helpers

# prepare: stdin is the script that the container runs, as /test.
prepare() {
	cat >"$BUNDLE/rootfs/test"
	command_is /bin/sh /test "$@"
}

# inside: runs the script of stdin in the container. $code, $WORK/out, $WORK/err are what came.
inside() {
	prepare
	run_prepared
}

run_prepared() {
	code=0
	bulkhead run -b "$BUNDLE" "$ID" </dev/null >"$WORK/out" 2>"$WORK/err" || code=$?
}

# both [ARGUMENT...]: the same, under runc too, with the same result.
both() {
	prepare "$@"
	run_both
}

# The copy is because runc writes to the image.
run_both() {
	local runc_code=0
	cp -a "$BUNDLE" "$WORK/runc"
	timeout -k 5 60 runc --root "$WORK/runc-state" run -b "$WORK/runc" "$ID" \
		</dev/null >"$WORK/runc-out" 2>"$WORK/runc-err" || runc_code=$?
	rm -rf "$WORK/runc"
	run_prepared
	echo "exit code $runc_code" >>"$WORK/runc-err"
	echo "exit code $code" >"$WORK/exit-code"
	diff -u --label 'runc, stdout' --label 'bulkhead, stdout' "$WORK/runc-out" "$WORK/out" >"$WORK/diff" || true
	cat "$WORK/err" "$WORK/exit-code" |
		diff -u --label 'runc, stderr' --label 'bulkhead, stderr' "$WORK/runc-err" - >>"$WORK/diff" || true
	[ -s "$WORK/diff" ] || return 0
	cut -c1-200 "$WORK/diff" >&2
	return 1
}

# says LINE...: each is a line of the output.
says() {
	local line
	for line in "$@"; do
		grep -qxF -e "$line" "$WORK/out" && continue
		echo "no such line: $line" >&2
		cat "$WORK/out" "$WORK/err" >&2
		return 1
	done
}

# capabilities_are KIND NAME...: the set of that kind has just these, without CAP_.
capabilities_are() {
	local kind=$1
	shift
	config '.process.capabilities[$kind] = ($names | split(" ") | map("CAP_" + .))' \
		--arg kind "$kind" --arg names "$*"
}

@test "user, groups, umask, and streams that the user can open again" {
	chmod 1777 "$BUNDLE/rootfs/tmp"
	config '.process.user = {uid: 1000, gid: 1001, additionalGids: [5, 10, 4242], umask: 23}
		| .mounts += [{destination: "/tmp", type: "tmpfs", source: "tmpfs", options: ["size=1m"]}]'
	both <<-'END'
		grep -e ^Uid -e ^Gid -e ^Groups -e ^Umask /proc/self/status
		id
		umask
		echo "home $HOME"
		echo x >/tmp/file; mkdir /tmp/dir
		stat -c '%n %u %g %a' /tmp/file /tmp/dir
		stat -L -c '%n %u %a' /dev/stdout /dev/stderr
		echo out >/dev/stdout
		echo err >/dev/stderr
		echo x >/etc/new
		cat /proc/self/uid_map /proc/self/setgroups
	END
	[ "$code" = 0 ]
	says 'uid=1000(user) gid=1001 groups=5,10,4242' '0027' 'home /tmp' '/tmp/file 1000 1001 640' out
	grep -qx err "$WORK/err"
}

@test "capabilities: five sets, for root" {
	capabilities_are bounding CHOWN KILL NET_BIND_SERVICE SYS_CHROOT AUDIT_WRITE CHECKPOINT_RESTORE
	capabilities_are permitted CHOWN KILL NET_BIND_SERVICE
	capabilities_are effective CHOWN
	capabilities_are inheritable KILL NET_BIND_SERVICE
	capabilities_are ambient KILL
	config '.mounts += [{destination: "/tmp", type: "tmpfs", source: "tmpfs"}]'
	both <<-'END'
		grep ^Cap /proc/self/status
		touch /tmp/file
		chown 1:1 /tmp/file && echo chown
		mknod /tmp/node c 1 3
		mount -t tmpfs tmpfs /tmp
		hostname other
		setpriv -d
	END
	# Bits 0, 5, 10, 18, 29 and 40. By its exec root gets the permitted set as effective, and because of
	# noNewPrivileges no more.
	says $'CapBnd:\t0000010020040421' $'CapPrm:\t0000000000000421' $'CapEff:\t0000000000000421' \
		$'CapInh:\t0000000000000420' $'CapAmb:\t0000000000000020' chown
}

@test "capabilities: five sets, for another user" {
	config '.process.user = {uid: 1000, gid: 1000}'
	capabilities_are bounding CHOWN KILL NET_BIND_SERVICE SYS_CHROOT AUDIT_WRITE
	capabilities_are permitted CHOWN KILL NET_BIND_SERVICE
	capabilities_are effective KILL
	capabilities_are inheritable KILL NET_BIND_SERVICE AUDIT_WRITE
	capabilities_are ambient NET_BIND_SERVICE
	both <<-'END'
		grep ^Cap /proc/self/status
		chown 0:0 /proc/self/fd/1
		chroot / /bin/true
	END
	says $'CapBnd:\t0000000020040421' $'CapPrm:\t0000000000000400' $'CapEff:\t0000000000000400' \
		$'CapInh:\t0000000020000420' $'CapAmb:\t0000000000000400'
}

@test "no capabilities, and all of them" {
	config 'del(.process.capabilities) | .process.noNewPrivileges = false'
	both <<<'grep -e ^Cap -e ^NoNewPrivs /proc/self/status; chroot / /bin/true; ls -ln /proc/self/fd | wc -l'
	says $'CapEff:\t0000000000000000' $'CapBnd:\t0000000000000000' $'NoNewPrivs:\t0'

	config '.process.capabilities = ({} | .[("bounding", "permitted", "effective", "inheritable", "ambient")] =
		$all)' --argjson all "$(all_capabilities)"
	both <<<'grep ^Cap /proc/self/status; mount -t tmpfs -o size=1m none /tmp && mknod /tmp/x c 1 3 && echo mounted'
	says $'CapEff:\t000001ffffffffff' $'CapAmb:\t000001ffffffffff' mounted
}

all_capabilities() {
	jq -nc '"CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
		NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO
		SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME
		SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG
		WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
		| [splits("\\s+")] | map("CAP_" + .)'
}

@test "every rlimit" {
	# jq's numbers are doubles: 2^64 - 1 is put in as text.
	config '.process.rlimits = [
		["AS", 4000000000, 5000000000], ["CORE", 0, 4096], ["CPU", 100, 200], ["DATA", 3000000000, 3000000001],
		["FSIZE", 1000000, 2000000], ["LOCKS", 11, 12], ["MEMLOCK", 65536, 131072], ["MSGQUEUE", 1000, 2000],
		["NICE", 3, 4], ["NOFILE", 100, 200], ["NPROC", 333, 444], ["RSS", 5000000, 6000000], ["RTPRIO", 5, 6],
		["RTTIME", 7000, 8000], ["SIGPENDING", 77, 88], ["STACK", 4194304, "unlimited"]
		] | .process.rlimits |= map({type: ("RLIMIT_" + .[0]), soft: .[1], hard: .[2]})'
	prepare <<<'cat /proc/self/limits; ulimit -a'
	sed -i 's/"unlimited"/18446744073709551615/' "$BUNDLE/config.json"
	run_both
	says 'Max open files            100                  200                  files     ' \
		'Max stack size            4194304              unlimited            bytes     '
}

@test "arguments, environment and working directory" {
	config '.process.env = ["A=1", "EMPTY=", "LONG=\("x" * 50)", "SPACE= a  b ", "ü=ö", "A=2", "NL=a\nb",
			"PATH=/bin"]
		| .process.cwd = "/made/for/it"'
	both 'a b' '' '*' '$HOME' $'two\nlines' 'ü' '"quoted"' <<-'END'
		tr '\0' '|' </proc/1/environ; echo
		for argument; do printf '[%s]' "$argument"; done; echo
		tr '\0' '|' </proc/1/cmdline; echo
		pwd; readlink /proc/1/cwd
		stat -c '%n %u %g %a' /made /made/for /made/for/it
	END
	says $'[a b][][*][$HOME][two' '/made/for/it' '/made 0 0 755'

	# A name without a slash is looked up in the container's PATH, not in the agent's.
	cat >"$BUNDLE/rootfs/usr/bin/only-here" <<<$'#!/bin/sh\necho "here: $0 $*"'
	chmod 755 "$BUNDLE/rootfs/usr/bin/only-here"
	config '.process.env = ["PATH=/nowhere:/etc/passwd:/usr/bin"] | .process.cwd = "/usr"'
	command_is only-here 1 2
	run_both
	says 'here: /usr/bin/only-here 1 2'
}

@test "host name, domain name, OOM score, sysctl" {
	config '.hostname = "inside.example" | .process.oomScoreAdj = 321 | .linux.sysctl = {
		"net.ipv4.ip_forward": "1", "net.ipv4.ping_group_range": "0 2147483647", "net.core.somaxconn": "77",
		"net.ipv4.conf.lo.rp_filter": "2", "kernel.shmmax": "12345678", "kernel.msgmax": "4321",
		"kernel.sem": "250 32000 100 200", "fs.mqueue.queues_max": "17", "kernel.shm_rmid_forced": "1"}'
	both <<-'END'
		hostname
		cat /proc/sys/kernel/hostname /proc/self/oom_score_adj /proc/1/oom_score_adj
		cd /proc/sys && head net/ipv4/ip_forward net/ipv4/ping_group_range net/core/somaxconn \
			net/ipv4/conf/lo/rp_filter kernel/shmmax kernel/msgmax kernel/sem fs/mqueue/queues_max \
			kernel/shm_rmid_forced
		ip addr show lo
	END
	says inside.example 321 77 12345678 17

	# This runc knows no domain name. Names with slashes are in use too.
	config '.domainname = "nis.example" | .linux.sysctl = {"net/ipv4/ip_local_port_range": "40000 50000"}
		| .process.oomScoreAdj = -500'
	inside <<-'END'
		cat /proc/sys/kernel/domainname /proc/self/oom_score_adj /proc/sys/net/ipv4/ip_local_port_range
	END
	says nis.example -500 $'40000\t50000'
}

# A profile that names every way a rule can say no.
seccomp_rules='{defaultAction: "SCMP_ACT_ALLOW", architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], syscalls: [
	{names: ["mkdir", "mkdirat", "no_such_call"], action: "SCMP_ACT_ERRNO"},
	{names: ["symlink", "symlinkat"], action: "SCMP_ACT_ERRNO", errnoRet: 28},
	{names: ["sethostname"], action: "SCMP_ACT_KILL_PROCESS"},
	{names: ["sync"], action: "SCMP_ACT_TRAP"},
	{names: ["kill"], action: "SCMP_ACT_ERRNO", errnoRet: 95,
		args: [{index: 1, value: 10, op: "SCMP_CMP_EQ"}]},
	{names: ["nice", "setpriority"], action: "SCMP_ACT_ERRNO", errnoRet: 16,
		args: [{index: 2, value: 4294967295, valueTwo: 7, op: "SCMP_CMP_MASKED_EQ"}]}]}'

seccomp_script='
	grep -e ^NoNewPrivs -e ^Seccomp: /proc/self/status
	mkdir /tmp/dir
	ln -s a /tmp/link
	hostname other; echo "killed: $?"
	sync; echo "trapped: $?"
	trap "echo usr2" USR2
	kill -USR1 $$; kill -USR2 $$
	renice -n 7 -p $$; renice -n 8 -p $$ && echo niced
	echo x >/tmp/file && cat /tmp/file'

@test "seccomp: calls refused and calls that kill, with and without noNewPrivileges" {
	config '.mounts += [{destination: "/tmp", type: "tmpfs", source: "tmpfs"}] | .linux.seccomp = '"$seccomp_rules"
	both <<<"$seccomp_script"
	says $'NoNewPrivs:\t1' $'Seccomp:\t2' 'killed: 159' 'trapped: 159' usr2 niced x
	grep -q 'mkdir.*Operation not permitted' "$WORK/err"
	grep -q 'ln.*No space left on device' "$WORK/err"

	# It is there for startContainer's hooks too.
	config '.hooks.startContainer = [{path: "/bin/mkdir", args: ["mkdir", "/tmp/dir"]}]'
	run -1 bulkhead run -b "$BUNDLE" "$ID"
	[[ $output = *'mkdir: '*'Operation not permitted'* ]]
	config 'del(.hooks)'

	# Installed before the capabilities go, then; and no architectures means the machine's own.
	config '.process.noNewPrivileges = false | .process.user = {uid: 1000, gid: 1000}
		| del(.linux.seccomp.architectures) | .mounts[-1].options = ["size=1m"]'
	chmod 1777 "$BUNDLE/rootfs/tmp"
	both <<<"$seccomp_script"
	says $'NoNewPrivs:\t0' $'Seccomp:\t2' 'killed: 159' 'trapped: 159' x

	# What is newer than the profile does not exist; what it leaves out is forbidden.
	cp build/tests/call "$BUNDLE/rootfs/call"
	config '.process.noNewPrivileges = true | .linux.seccomp = {defaultAction: "SCMP_ACT_ERRNO", architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
		syscalls: [{action: "SCMP_ACT_ALLOW", names: ["acct", "openat2"]},
			{action: "SCMP_ACT_ERRNO", errnoRet: 11, names: ["getpid"]},
			{action: "SCMP_ACT_ALLOW", names: ["execve", "write", "exit_group", "brk", "arch_prctl",
				"set_tid_address", "set_robust_list", "rseq", "prlimit64", "readlinkat", "getrandom", "mprotect",
				"newfstatat", "fstat", "mmap", "munmap", "readlink", "ioctl", "close", "futex", "exit",
				"rt_sigreturn", "rt_sigprocmask", "rt_sigaction", "sigaltstack", "gettid", "tgkill", "getppid",
				"openat", "fcntl", "epoll_ctl", "epoll_pwait", "nanosleep", "sched_yield", "madvise", "read",
				"clone", "clone3", "fstatfs", "getdents64", "close_range", "prctl", "pipe2", "wait4", "dup3"]}]}'
	command_is /call 39 103 437 438 1000
	run_both
	says '39: 11' '103: 1' '437: 7' '438: 38' '1000: 38'

	# A process 0 that is killed by its filter: status and all.
	config '.linux.seccomp = '"$seccomp_rules"' | .linux.seccomp.syscalls[2].names = ["sethostname", "uname"]'
	command_is /bin/uname
	run -159 bulkhead run -b "$BUNDLE" "$ID"
	[ -z "$output" ]
}

@test "seccomp: the profile that engines use" {
	local profile=/usr/share/containers/seccomp.json
	[ -e $profile ] || skip 'golang-github-containers-common, which has the profile, is not installed'
	# As containers/common makes it for amd64 and no capability.
	config '.linux.seccomp = ($profile[0] | {defaultAction, defaultErrnoRet,
		architectures: [.archMap[] | select(.architecture == "SCMP_ARCH_X86_64") |
			.architecture, .subArchitectures[]],
		syscalls: [.syscalls[] | select((.includes.arches // ["amd64"] | index("amd64")) and
			(.includes.caps | not) and (.excludes.arches // [] | index("amd64") | not)) |
			{names, action, errnoRet, args: (.args // [] | map({index, value, valueTwo, op}))} |
			if .errnoRet then . else del(.errnoRet) end]})' --slurpfile profile $profile
	config 'del(.linux.seccomp.defaultErrnoRet | nulls) | .process.noNewPrivileges = false
		| .process.user = {uid: 1000, gid: 1000}'
	both <<-'END'
		grep -e ^NoNewPrivs -e ^Seccomp: /proc/self/status
		unshare -m true; unshare -U true; mount -t tmpfs x /tmp; dmesg; hostname x; reboot -f
		swapon /x; chroot / true
		echo "$(id -u) $(seq 5 | sort -r | tr '\n' ' ')"
	END
	says $'Seccomp:\t2' '1000 5 4 3 2 1 '
}

@test "masked and read-only paths" {
	mkdir -p "$BUNDLE/rootfs/srv/secrets/below" "$BUNDLE/rootfs/srv/ro"
	echo xyzzy | tee "$BUNDLE/rootfs/etc/key" "$BUNDLE/rootfs/srv/secrets/file" >/dev/null
	echo shown >"$BUNDLE/rootfs/etc/other"
	echo shown >"$BUNDLE/rootfs/srv/ro/file"
	config '.root.readonly = false |
		.linux.maskedPaths += ["/etc/key", "/srv/secrets", "/not/there"] |
		.linux.readonlyPaths += ["/srv/ro", "/etc/other", "/not/there"]'
	both <<-'END'
		cat /etc/key; echo >/etc/key && echo 'as null'
		stat -c '%n %F %t %T' /etc/key /proc/keys /proc/timer_list
		ls -a /srv/secrets /sys/firmware; touch /srv/secrets/x; mkdir /srv/secrets/x
		stat -c '%n %F %a %u' /srv/secrets /sys/firmware
		cat /srv/ro/file /etc/other; touch /srv/ro/x; echo x >/srv/ro/file; rm /srv/ro/file; echo x >>/etc/other
		touch /srv/x && echo 'else writable'
		echo 1 >/proc/sys/kernel/shmmax; echo 1 >/proc/fs/x; touch /sys/x
		umount /srv/secrets; umount /etc/key; mount -o remount,rw /srv/ro
		# The null device under a masked file is the agent's own, whose other flags differ.
		cut -d' ' -f5,6 /proc/self/mountinfo | sed '/key/s/,.*//' | grep -e /srv -e /etc -e ' /proc/[sbfi]'
	END
	says 'as null' '/etc/key character special file 1 3' 'else writable' '/srv/secrets directory 1777 0'
	run ! grep xyzzy "$WORK/out"
}

@test "a read-only root, and what is writable all the same" {
	config '.mounts += [{destination: "/tmp", type: "tmpfs", source: "tmpfs"},
		{destination: "/made/point", type: "tmpfs"}]'
	both <<-'END'
		touch /x; mkdir /x; rm /etc/passwd; echo x >/etc/passwd
		chmod 777 /etc; mv /etc /e; ln /etc/passwd /etc/p
		touch /made/x
		for dir in /tmp /dev /dev/shm /made/point; do echo x >$dir/file && cat $dir/file && rm $dir/file; done
		awk '$5 == "/" { print $6 }' /proc/self/mountinfo
		mount -o remount,rw /; touch /x
	END
	[ "$(grep -c 'Read-only file system' "$WORK/err")" -ge 8 ]
	says ro,relatime
	[ "$(grep -cx x "$WORK/out")" = 4 ]
}

@test "a writable root does all that a file system does, and leaves the image alone" {
	local before
	mkdir -p "$BUNDLE/rootfs/image/dir/below"
	for file in delete rename truncate mode owner link append dir/1 dir/below/2; do
		echo "of the image" >"$BUNDLE/rootfs/image/$file"
	done
	config '.root.readonly = false'
	capabilities_are bounding CHOWN FOWNER DAC_OVERRIDE MKNOD FSETID
	capabilities_are permitted CHOWN FOWNER DAC_OVERRIDE MKNOD FSETID
	capabilities_are effective CHOWN FOWNER DAC_OVERRIDE MKNOD FSETID
	prepare <<-'END'
		cd /image
		rm delete; cat delete
		mv rename renamed; cat rename renamed
		: >truncate; wc -c truncate
		chmod 4711 mode; stat -c '%n %a' mode
		chown 12:34 owner; stat -c '%n %u %g' owner
		ln link hard; stat -c '%n %h' link hard; echo more >>hard; cat link
		echo 'of mine' >>append; cat append
		mv dir moved && find moved | sort; cat moved/below/2
		rm -r moved && mkdir dir && find dir
		ln -s nowhere symbolic; readlink symbolic
		mkfifo fifo; mknod null c 1 3; echo x >null; stat -c '%n %F' fifo null
		mkdir -m 2775 set; touch set/x; stat -c '%n %a' set
		mkdir -p a/b/c/d && rmdir -p a/b/c/d && ls -d a
		touch -d '2001-02-03 04:05:06' old; stat -c '%n %Y' old
		dd if=/dev/zero of=sparse bs=1 count=1 seek=1000000000 2>/dev/null
		stat -c '%n %s' sparse; du -k sparse | cut -f1
		seq 100000 >numbers; md5sum numbers; sort -rn numbers | head -n 1
		i=0; while [ $i -lt 300 ]; do echo $i >"many.$i"; i=$((i + 1)); done
		ls | grep -c many; rm many.*; ls | grep -c many
		sync; ls
	END
	# mke2fs's own tree of the image: what runc writes goes to its copy.
	before=$(cd "$BUNDLE" && tar -c rootfs | sha256sum)
	run_both
	[ "$(cd "$BUNDLE" && tar -c rootfs | sha256sum)" = "$before" ]
	says 'renamed' 'mode 4711' 'link 2'
}

@test "a file larger than the VM's memory" {
	config '.root.readonly = false | .annotations = {"io.bulkhead.memory": "64"}'
	inside <<-'END'
		awk '/MemTotal/ { print ($2 < 100000) ? "small" : "large: " $2 }' /proc/meminfo
		dd if=/dev/zero of=/big bs=1M count=110 2>&1 | grep -c out
		stat -c %s /big; tail -c 5 /big | hexdump -C | head -n 1; rm /big
	END
	[ "$code" = 0 ]
	says small 115343360 '00000000  00 00 00 00 00                                    |.....|'
}

@test "mounts: sizes, modes, owners, flags, mount points that are not there" {
	mkdir -p "$BUNDLE/rootfs/copied/dir"
	echo kept >"$BUNDLE/rootfs/copied/file"
	chmod 640 "$BUNDLE/rootfs/copied/file"
	chown 7:8 "$BUNDLE/rootfs/copied/file"
	config 'def tmpfs(to; options): {destination: to, type: "tmpfs", source: "tmpfs", options: options};
		.mounts += [
		tmpfs("/m/size"; ["size=2m", "mode=0750", "uid=5", "gid=6", "nr_inodes=7"]),
		tmpfs("/m/ro"; ["ro"]), tmpfs("/m/noexec"; ["noexec"]), tmpfs("/m/nosuid"; ["nosuid"]),
		tmpfs("/m/nodev"; ["nodev"]),
		tmpfs("/m/all"; ["nosuid", "nodev", "noexec", "noatime", "nodiratime", "size=4m"]),
		tmpfs("/m/strict"; ["strictatime"]),
		tmpfs("/m/undone"; ["ro", "rw", "noexec", "exec", "sync", "dirsync"]),
		tmpfs("/m/private"; ["private"]), tmpfs("/m/shared"; ["rshared"]), tmpfs("/m/slave"; ["rslave"]),
		tmpfs("/m/all/nested/deeper"; []), tmpfs("/m/ro/nested"; ["ro"]),
		tmpfs("/copied"; ["tmpcopyup"]),
		{destination: "/m/proc", type: "proc", source: "proc", options: ["ro", "nosuid"]},
		{destination: "/m/pts", type: "devpts", source: "devpts",
			options: ["newinstance", "ptmxmode=0600", "mode=0600"]}]'
	capabilities_are bounding MKNOD CHOWN DAC_OVERRIDE
	capabilities_are permitted MKNOD CHOWN DAC_OVERRIDE
	capabilities_are effective MKNOD CHOWN DAC_OVERRIDE
	both <<-'END'
		# Without numbers: point, options, tags, type, options of the file system but for what only the
		# lab's kernel says.
		sed 's/^[0-9]* [0-9]* [0-9]*:[0-9]* [^ ]* //; s/\(shared\|master\):[0-9]*/\1/; s/,inode64//' \
			/proc/self/mountinfo | grep ^/m | sort
		stat -c '%n %u %g %a' /m/size /m/ro /m/all/nested /m/all/nested/deeper /copied /copied/* /m/pts/ptmx
		dd if=/dev/zero of=/m/size/file bs=1M count=3 2>&1 | grep -v copied; stat -c '%n %s' /m/size/file
		for i in 1 2 3 4 5 6 7; do touch /m/size/$i; done
		touch /m/ro/x /m/undone/x
		cp /bin/busybox /m/noexec/true; /m/noexec/true; cp /bin/busybox /m/nosuid/true; /m/nosuid/true; echo $?
		mknod /m/nodev/null c 1 3; echo x >/m/nodev/null
		cat /copied/file
		ls /m/proc/1 >/dev/null && echo 'a proc of its own'
	END
	says 'a proc of its own' '/m/size 5 6 750' kept '/m/size/file 2097152' '/copied/file 7 8 640'
	for word in ro noexec nosuid nodev; do
		grep -q "^/m/$word [a-z,]*$word" "$WORK/out"
	done
}

@test "device nodes: the default ones and the config's" {
	config '.linux.devices = [
		{type: "c", path: "/dev/fuse", major: 10, minor: 229, fileMode: 432, uid: 1000, gid: 5},
		{type: "u", path: "/dev/sub/zero", major: 1, minor: 5},
		{type: "b", path: "/dev/block", major: 7, minor: 3, fileMode: 384},
		{type: "p", path: "/dev/pipe", fileMode: 416, gid: 4},
		{type: "c", path: "/dev/full", major: 1, minor: 7, fileMode: 384}]
		| .linux.resources.devices += [5, 7 | {allow: true, type: "c", major: 1, minor: ., access: "rwm"}]'
	both <<-'END'
		# Without times and the sizes of directories.
		cd /dev && ls -lan . sub shm | awk '/^[bc]/ { print $1, $3, $4, $5, $6, $10 }
			/^[-dlps]/ { print $1, $3, $4, $9, $10, $11 }'
		echo x >null; head -c 4 zero | hexdump -C; head -c 3 sub/zero | hexdump -C
		head -c 8 random | wc -c; head -c 8 urandom | wc -c
		echo x >full; cat tty
		for link in ptmx fd stdin stdout stderr core; do readlink $link; done
		(: <>/dev/ptmx) && echo 'a terminal'
		[ "$(head -c 16 urandom | md5sum)" != "$(head -c 16 urandom | md5sum)" ] && echo differ
		echo through >pipe & cat pipe
		mknod /dev/mine c 1 3
	END
	says 'a terminal' differ through 'crw-rw---- 1000 5 10, 229 fuse' pts/ptmx
	grep -q 'full.*No space left on device\|write error: No space left on device' "$WORK/err"
}

@test "the process is the first of its namespaces and sees no other" {
	both <<-'END'
		echo "I am $$"
		ls /proc 2>/dev/null | grep '^[0-9]' | grep -vx -e 1 -e $! | wc -w
		cat /proc/1/cmdline | tr '\0' ' '; echo
		grep -e ^NSpid -e ^NSsid -e ^PPid -e ^Tgid -e ^TracerPid -e ^Sig[BIC] -e ^ShdPnd /proc/1/status
		cut -d' ' -f4-8 /proc/1/stat
		cat /proc/self/cgroup
		hostname; ls /dev/mqueue /dev/shm; ls -A /proc/sysvipc; cat /proc/sysvipc/shm
		ls -l /proc/self/fd | grep -c pipe:
		# Not by a pipe, whose ends the shell itself has for a while.
		ls -la /proc/1/fd >/dev/shm/fds; awk '{ print $9 }' /dev/shm/fds | sort | tr '\n' ' '; echo
		readlink /proc/1/root /proc/1/cwd /proc/1/exe
	END
	says 'I am 1' '0::/' $'NSpid:\t1'

	# Each namespace is another one than the guest's first, but for the network and those of time and user.
	inside <<-'END'
		for ns in cgroup ipc mnt pid uts; do readlink /proc/self/ns/$ns; done | grep -c -v '402653183[0-9]'
		# pid 1 of this namespace is ours, and nothing of the agent's shows.
		ps -o pid,args | grep -v -e ps -e PID | wc -l
		grep -l agent /proc/[0-9]*/comm
		grep -c . /proc/self/mountinfo
		cut -d' ' -f5 /proc/self/mountinfo | sort | tr '\n' ' '; echo
		find / -xdev -name '*bulkhead*' -o -xdev -name 'lower0' -o -xdev -name scratch
		kill -9 -1; echo 'still here'
	END
	says 5 'still here' '/ /dev /dev/mqueue /dev/pts /dev/shm /proc /proc/bus /proc/fs /proc/irq /proc/keys '"$(
		)"'/proc/sys /proc/timer_list /sys /sys/firmware /sys/fs/cgroup '
	run ! grep -e agent -e bulkhead -e scratch "$WORK/out"
}

@test "a user namespace: ids, cgroups of its own, and none of the guest's" {
	config '.linux.namespaces += [{type: "user"}]
		| .linux.uidMappings = [{containerID: 0, hostID: 100000, size: 65536}]
		| .linux.gidMappings = [{containerID: 0, hostID: 200000, size: 1000}]'
	# runc enters the root as the mapped user.
	chmod a+x "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR/test" "$BATS_TEST_TMPDIR" "$WORK"
	both <<-'END'
		cat /proc/self/uid_map /proc/self/gid_map; id -u; id -g
		cat /proc/self/cgroup; cat /sys/fs/cgroup/cgroup.procs | grep -x 1
		grep ' /sys/fs/cgroup ' /proc/self/mountinfo | tail -n 1 | cut -d' ' -f4,5
		touch /etc/file; ls -dln / | awk '{ print $3, $4 }'
	END
	says '0::/' '/ /sys/fs/cgroup' '65534 65534'

	config 'del(.mounts[] | select(.type == "cgroup"))'
	inside <<-'END'
		ls /sys/class >/dev/null && ls -A /sys/fs/cgroup | wc -l
	END
	says 0
}

@test "limits of the cgroup hold" {
	config '.linux.resources += {pids: {limit: 20}, cpu: {quota: 50000, period: 100000, shares: 512},
		memory: {limit: 134217728, reservation: 67108864}}'
	both <<-'END'
		cd /sys/fs/cgroup && cat pids.max memory.max memory.low cpu.max cpu.weight
		cat /proc/self/cgroup
		i=0; while [ $i -lt 30 ]; do sleep 1000 & i=$((i + 1)); done
		echo unreached
	END
	says 20 134217728 67108864 '50000 100000' '0::/'
	run ! grep unreached "$WORK/out"
	grep -q "can't fork" "$WORK/err"

	# A process that takes more than all: it is killed, and the first one goes on. The kill is in the events.
	config '.linux.resources = {memory: {limit: 134217728}}'
	inside <<-'END'
		tail /dev/zero
		echo "status $?"
		grep '^oom_kill ' /sys/fs/cgroup/memory.events
	END
	says 'status 137' 'oom_kill 1'
}

@test "the kernel is not the host's, and nothing of the host is there" {
	inside <<-'END'
		uname -r
		cat /proc/sys/kernel/random/boot_id
		ls /sys/class/net; nproc; cat /proc/cmdline
		cat /proc/uptime | cut -d. -f1
		dmesg | wc -l
		ls -l /proc/1/exe
	END
	[ "$code" = 0 ]
	[ "$(sed -n 1p "$WORK/out")" != "$(uname -r)" ]
	[ "$(sed -n 2p "$WORK/out")" != "$(cat /proc/sys/kernel/random/boot_id)" ]
	says lo
	[ "$(sed -n 2p "$WORK/out" | wc -c)" = 37 ]
}

@test "all that runc's default container sees of itself, but for a few exceptions" {
	config '.process.user.additionalGids = [3, 4] | .process.env += ["X=y"]'
	both <<-'END'
		# Exceptions: numbers of processes, use and size of memory and CPUs, and lines that a newer kernel has.
		grep -v -E '^(Tgid|Pid|NStgid|NSpid|Vm|Rss|Hugetlb|SigQ|Cpus|Mems|.*ctxt|Kthread|untag|Spec)' \
			/proc/self/status
		# Exception: what the kernel derives from the size of the memory.
		grep -v -E '^Max (processes|pending)' /proc/self/limits
		# Exceptions: the root is a disk of our own; paths that the guest's kernel does not have are not masked;
		# the null device below a masked file is the agent's; the options of the kernel's own file systems.
		awk '{ for (i = 7; $i != "-"; i++) tags = tags " " $i
			print $5, ($4 == "/null" ? "null" : $6 " " ($5 == "/" ? "" : $(i + 1))) tags; tags = "" }' \
			/proc/self/mountinfo |
			grep -v -E '^/proc/(acpi|asound|kcore|latency_stats|sysrq-trigger|scsi|timer)'
		echo "# files"
		ls -lanR /dev | awk '/^[bc]/ { print $1, $3, $4, $5, $6, $10 }
			/^[-dlps]/ { print $1, $3, $4, $9, $10, $11 }'
		ls -lan / | awk '{ print $1, $3, $4, $9 }'
		ls /proc/self/fd | wc -l; readlink /proc/self/fd/1 | tr -d 0-9; ls /proc/self/ns
		echo "# process"
		tr '\0' '\n' </proc/1/environ; tr '\0' ' ' </proc/1/cmdline; echo
		cut -d' ' -f4-8,18-20,40,41 /proc/1/stat
		cd /proc/self
		head cgroup uid_map gid_map setgroups oom_score_adj personality coredump_filter timerslack_ns
		cd; pwd; id; umask; hostname; nice; ulimit -c
		echo "# network"
		ip addr; ip route; cat /proc/net/unix | wc -l
		echo "# settings"
		cd /proc/sys
		for file in net/ipv4/ip_forward net/ipv4/ping_group_range net/ipv4/ip_unprivileged_port_start \
			net/ipv4/ip_local_port_range net/ipv4/ip_default_ttl net/ipv4/tcp_congestion_control \
			net/ipv4/tcp_keepalive_time net/ipv6/conf/all/disable_ipv6 net/core/somaxconn kernel/shmmax \
			kernel/shmmni kernel/msgmax kernel/msgmnb kernel/sem kernel/domainname kernel/ngroups_max \
			kernel/cap_last_cap kernel/pid_max kernel/randomize_va_space kernel/overflowuid \
			fs/mqueue/queues_max fs/nr_open fs/pipe-max-size fs/protected_symlinks fs/protected_hardlinks \
			vm/overcommit_memory vm/max_map_count vm/swappiness; do
			echo "$file: $(cat $file)"
		done
	END
	[ "$code" = 0 ]
	[ "$(wc -l <"$WORK/out")" -gt 120 ]
}
