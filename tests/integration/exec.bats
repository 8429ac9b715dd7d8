#!/usr/bin/env bats
# exec: more processes in a running container, attached and detached, with and without terminals.
# In single quotes are jq's variables and other shells'.
# shellcheck disable=SC2016

load helpers

# up: a container that runs until it is told to end. Its streams are files.
up() {
	command_is /bin/sh -c 'trap "exit 7" TERM; echo up; while :; do sleep 1000 & wait; done'
	bulkhead create -b "$BUNDLE" --pid-file "$WORK/pid" "$ID" </dev/null >"$WORK/out" 2>&1
	bulkhead start "$ID"
	eventually grep -q up "$WORK/out"
}

# inside COMMAND...: in the container.
inside() {
	bulkhead exec "$ID" "$@" </dev/null
}

# is_there COMMAND: whether the container has a process with this command line.
is_there() {
	plain ps "$ID" -o args | grep -qx -e "$1"
}

is_gone() {
	! is_there "$1"
}

# process_file FILTER: the container's process, changed, in $WORK/process.json.
process_file() {
	jq ".process | $1" "$BUNDLE/config.json" >"$WORK/process.json"
}

# how COMMAND...: "code signal", as the parent sees the end.
how() {
	perl -e 'system(@ARGV); printf "%d %d\n", $? >> 8, $? & 127' -- "$@"
}

# engine ARGUMENT...: a subreaper as conmon and the shim are: exec --detach with the given arguments; then prints how
# the process of the pid file ended. The environment's SIGNAL is sent to it once $WORK/exec-out has something.
engine() {
	timeout 60 perl -e '
		my ($work, @command) = @ARGV;
		syscall(157, 36, 1, 0, 0, 0) == 0 or die "PR_SET_CHILD_SUBREAPER: $!";
		my $child = fork;
		if (!$child) {
			open(STDIN, "<", "/dev/null"); open(STDOUT, ">", "$work/exec-out"); open(STDERR, ">&STDOUT");
			exec(@command);
		}
		waitpid($child, 0); $? == 0 or die "exec failed: " . ($? >> 8);
		open(my $file, "<", "$work/exec-pid") or die; my $pid = <$file>;
		open(my $stat, "<", "/proc/$pid/stat") or die; my @stat = split / /, <$stat>;
		$stat[3] == $$ or die "its parent is $stat[3], not $$";
		if ($ENV{SIGNAL}) {
			select(undef, undef, undef, 0.05) until -s "$work/exec-out";
			kill $ENV{SIGNAL}, $pid;
		}
		waitpid($pid, 0) == $pid or die "it is no child";
		printf "%d %d\n", $? >> 8, $? & 127;
		' "$WORK" build/bulkhead --log "$WORK/log" --root "$WORK/state" exec --detach --pid-file "$WORK/exec-pid" "$@"
}

@test "exec: streams, exit codes, signals, users, environment, and what it refuses" {
	local pid code
	refuses_exec() {
		local text=$1
		shift
		run -255 plain exec "$@" </dev/null
		[[ $output = *"$text"* ]] || { echo "$output"; false; }
	}
	refuses_exec 'exec failed: container does not exist' "$ID" true
	up

	# It is in the VM, in the container's namespaces, and not the first process there.
	[ "$(inside sh -c 'readlink /proc/self/ns/pid; cat /proc/1/comm')" = "$(inside sh -c 'readlink /proc/1/ns/pid; echo sh')" ]
	[ "$(inside uname -r)" != "$(uname -r)" ]

	# Streams: bytes both ways, ends of files, stderr apart.
	head -c 3000000 /dev/urandom >"$WORK/in"
	bulkhead exec "$ID" sh -c 'cat; echo err >&2' <"$WORK/in" >"$WORK/exec-out" 2>"$WORK/exec-err"
	cmp "$WORK/in" "$WORK/exec-out"
	[ "$(cat "$WORK/exec-err")" = err ]
	run -0 bash -c '"$@" | head -n 1; echo "${PIPESTATUS[0]}"' bash build/bulkhead --root "$WORK/state" exec "$ID" \
		sh -c 'yes; echo "status $?" >&2'
	[ "$output" = $'y\nstatus 141\n0' ]
	# What it leaves behind holds the pipe, but not exec.
	code=0
	bulkhead exec "$ID" sh -c 'sleep 1000 </dev/null & echo out; exit 4' </dev/null >"$WORK/exec-out" 2>&1 || code=$?
	[ "$code" = 4 ]
	[ "$(cat "$WORK/exec-out")" = out ]

	# Ends: codes and signals as they are.
	[ "$(how build/bulkhead --root "$WORK/state" exec "$ID" sh -c 'exit 200')" = '200 0' ]
	[ "$(how build/bulkhead --root "$WORK/state" exec "$ID" sh -c 'kill -SEGV $$')" = '0 11' ]
	# A signal to who stands for it reaches it.
	build/bulkhead --root "$WORK/state" exec "$ID" sh -c 'trap "echo got; exit 3" USR1; echo ready; while :; do sleep 0.1; done' \
		</dev/null >"$WORK/exec-out" &
	pid=$!
	eventually grep -q ready "$WORK/exec-out"
	kill -USR1 $pid
	ends_with 3 $pid
	[ "$(cat "$WORK/exec-out")" = $'ready\ngot' ]
	# And what kills it kills the process.
	build/bulkhead --root "$WORK/state" exec "$ID" sh -c 'echo ready; exec sleep 4321' </dev/null >"$WORK/exec-out" &
	pid=$!
	eventually grep -q ready "$WORK/exec-out"
	is_there 'sleep 4321'
	kill -KILL $pid
	ends_with 137 $pid
	eventually is_gone 'sleep 4321'

	# What it runs as.
	[ "$(bulkhead exec -u 1000:1000 -g 5 -g 6 --cwd /tmp -e A=1 -e B=2 -e PATH=/bin "$ID" \
		sh -c 'id; pwd; echo $A $B $PATH')" = $'uid=1000(user) gid=1000(user) groups=5,6\n/tmp\n1 2 /bin' ]
	[ "$(bulkhead exec --no-new-privs "$ID" grep NoNewPrivs /proc/self/status)" = $'NoNewPrivs:\t1' ]
	[ "$(bulkhead exec "$ID" grep CapEff /proc/self/status)" = $'CapEff:\t0000000020000420' ]
	[ "$(bulkhead exec -c CAP_NET_ADMIN "$ID" grep CapEff /proc/self/status)" = $'CapEff:\t0000000020001420' ]
	[ "$(bulkhead exec -u 1000 -c CAP_NET_ADMIN "$ID" grep CapEff /proc/self/status)" = $'CapEff:\t0000000000001000' ]
	process_file '.args = ["sh", "-c", "echo $X; id -u; pwd"] | .env = ["X=y", "PATH=/bin"] | .user = {uid: 7, gid: 8} | .cwd = "/var"'
	[ "$(bulkhead exec --process "$WORK/process.json" "$ID")" = $'y\n7\n/var' ]

	# A terminal whose caller has none.
	[ "$(bulkhead exec -t "$ID" sh -c 'tty; exit 3' </dev/null || echo $?)" = $'/dev/pts/0\r\n3' ]

	# Refusals in one line, 255, nothing left.
	refuses_exec 'executable file not found in $PATH' "$ID" no-such-command
	refuses_exec 'no such file or directory' "$ID" /no/such/command
	refuses_exec 'permission denied' "$ID" /etc/passwd
	refuses_exec '/nowhere' --cwd /nowhere "$ID" true
	refuses_exec 'must be UID' --user root "$ID" true
	refuses_exec 'without setting console socket' -t -d "$ID" true
	refuses_exec 'cannot use console socket' --console-socket /x "$ID" true
	process_file '.args = []'
	refuses_exec 'process.args: must not be empty' --process "$WORK/process.json" "$ID"
	process_file '.args = [1]'
	refuses_exec 'process.args[0]: must be a string' --process "$WORK/process.json" "$ID"
	refuses 'the command is missing' exec "$ID"
	refuses 'open files cannot be handed' exec --preserve-fds 2 "$ID" true

	# Many at a time, and many in a row.
	for i in {1..20}; do inside sh -c "echo $i" >"$WORK/many.$i" & done
	wait
	[ "$(sort -n "$WORK"/many.*)" = "$(seq 20)" ]
	[ "$(inside sh -c 'ls /proc/self/fd')" = $'0\n1\n2\n3' ]

	bulkhead kill "$ID"
	eventually has_status "$ID" stopped
	refuses_exec 'cannot exec in a stopped container' "$ID" true
	bulkhead delete "$ID"
}

@test "exec joins process 0 where the workload has moved it to a cgroup below" {
	config '(.mounts[] | select(.type == "cgroup") | .options) |= map(if . == "ro" then "rw" else . end)'
	up
	inside sh -ec 'cd /sys/fs/cgroup && mkdir below && echo 1 >below/cgroup.procs && echo 0 >below/cgroup.procs
		for pid in $(cat cgroup.procs); do echo $pid >below/cgroup.procs; done
		echo +pids >cgroup.subtree_control'
	[ "$(inside cat /proc/self/cgroup)" = 0::/below ]

	# And where it is told to.
	inside mkdir /sys/fs/cgroup/other
	[ "$(bulkhead exec --cgroup other "$ID" cat /proc/self/cgroup </dev/null)" = 0::/other ]
	run -255 bulkhead exec --cgroup missing "$ID" true </dev/null
	bulkhead delete --force "$ID"
}

@test "exec --detach: the process of the pid file ends as the process in the VM does" {
	local before reader
	up
	before=$(ls "/proc/$(cat "$WORK/pid")/fd" | wc -l)
	process_file '.args = ["sh", "-c", "echo hello; exit 42"]'
	[ "$(engine --process "$WORK/process.json" "$ID")" = '42 0' ]
	[ "$(cat "$WORK/exec-out")" = hello ]
	[ "$(engine "$ID" sh -c 'kill -TERM $$')" = '0 15' ]
	# Signals to it: one that is handled, one that kills it at once.
	[ "$(SIGNAL=TERM engine "$ID" sh -c 'trap "exit 9" TERM; echo up; while :; do sleep 0.1; done')" = '9 0' ]
	[ "$(SIGNAL=KILL engine "$ID" sh -c 'echo up; exec sleep 5432')" = '0 9' ]
	eventually is_gone 'sleep 5432'
	# Nobody but the workload holds the caller's pipe.
	mkfifo "$WORK/pipe"
	cat "$WORK/pipe" >"$WORK/piped" &
	reader=$!
	bulkhead exec --detach "$ID" sh -c 'echo one; exec >&- 2>&-; exec sleep 6543' </dev/null >"$WORK/pipe" 2>&1
	ends_with 0 $reader
	[ "$(cat "$WORK/piped")" = one ]
	# Failures are the caller's.
	run -255 plain exec --detach --pid-file "$WORK/none" "$ID" no-such-command
	[[ $output = *'executable file not found in $PATH'* ]]
	[ ! -e "$WORK/none" ]
	inside kill "$(plain ps "$ID" -o pid,args | awk '/ sleep 6543$/ {print $1}')"
	eventually is_gone 'sleep 6543'
	# The VMM holds no descriptor of what has ended.
	fds_back() { [ "$(ls "/proc/$(cat "$WORK/pid")/fd" | wc -l)" = "$before" ]; }
	eventually fds_back

	# The end of the container ends all of them, however it comes.
	bulkhead exec --detach --pid-file "$WORK/exec-pid" "$ID" sleep 1000 </dev/null >/dev/null 2>&1
	kill -0 "$(cat "$WORK/exec-pid")"
	run -137 how_ends
	bulkhead delete --force "$ID"
	gone() { ! kill -0 "$(cat "$WORK/exec-pid")" 2>/dev/null; }
	eventually gone
}

# An attached exec whose VMM is killed under it.
how_ends() {
	bulkhead exec "$ID" sh -c 'echo ready; exec sleep 1000' </dev/null >"$WORK/exec-out" &
	eventually grep -q ready "$WORK/exec-out"
	kill -KILL "$(cat "$WORK/pid")"
	wait $!
}

@test "exec with a terminal: size and its changes, keys, Ctrl-C, job control; and by a console socket" {
	local code
	up
	terminal_open build/bulkhead --root "$WORK/state" exec -t "$ID" sh -c '
		stty size; tty; trap "stty size" WINCH; trap "echo got INT" INT; echo up
		read -r line; echo "line [$line]"; read -r line; cat; exit 7'
	terminal_shows '33 111'
	terminal_shows '/dev/pts/0'
	terminal_shows up
	terminal_type 'one\r'
	terminal_shows 'line \[one\]'
	terminal_type '\003'
	terminal_shows '.*got INT'
	terminal_type 'two\r'
	terminal_shows two
	terminal_type '\004'
	# Not by run: its shell has other children, and this one may have ended already.
	code=0
	terminal_close || code=$?
	[ "$code" = 7 ]

	# An engine's console socket: the master comes over it; a size set there reaches the guest, for exec and create.
	cat >"$WORK/console" <<-'END'
		use Socket; use IO::Handle;
		my ($path, @command) = @ARGV;
		socket(my $listen, AF_UNIX, SOCK_STREAM, 0) or die; bind($listen, pack_sockaddr_un($path)) or die; listen($listen, 1);
		system(@command) == 0 or die "failed: $?";
		accept(my $client, $listen) or die;
		# recvmsg with SCM_RIGHTS, by hand.
		my $bytes = "\0" x 64; my $iov = pack("P Q", $bytes, 64); my $control = "\0" x 64;
		my $message = pack("P L x4 P Q P Q i x4", 0, 0, $iov, 1, $control, 64, 0);
		syscall(47, fileno($client), $message, 0) > 0 or die "recvmsg: $!";
		my $fd = unpack("i", substr($control, 16, 4));
		open(my $master, "+<&=", $fd) or die; $master->autoflush(1);
		my $seen = "";
		my $until = sub {
			while ($seen !~ /$_[0]/) { sysread($master, my $more, 4096) or return 0; $seen .= $more }
			1;
		};
		my $size = sub { ioctl($master, 0x5414, pack("S4", @_, 0, 0)) or die "TIOCSWINSZ: $!" };
		$until->("up") or die "not up: $seen";
		$size->(44, 132);
		$until->("44 132") or die "no size: $seen";
		$size->(45, 133);
		$until->("45 133") or die "no size: $seen";
		syswrite($master, "bye\r");
		$until->("read bye") or die "no answer: $seen";
		1 while sysread($master, my $rest, 4096);
		print "fine\n";
	END
	process_file '.terminal = true | .args = ["sh", "-c", "trap \"stty size\" WINCH; echo up; while :; do read -r x && break; done; echo read $x"]'
	run -0 timeout 60 perl "$WORK/console" "$WORK/sock" build/bulkhead --root "$WORK/state" exec --detach \
		--pid-file "$WORK/exec-pid" --process "$WORK/process.json" --console-socket "$WORK/sock" "$ID"
	[ "$output" = fine ]
	bulkhead delete --force "$ID"

	config '.process.terminal = true'
	command_is sh -c 'trap "stty size" WINCH; echo up; while :; do read -r x && break; done; echo read $x'
	run -0 timeout 60 perl "$WORK/console" "$WORK/sock2" build/bulkhead --root "$WORK/state" run --detach \
		-b "$BUNDLE" --console-socket "$WORK/sock2" "$ID"
	[ "$output" = fine ]
}
