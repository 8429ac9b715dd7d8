#!/usr/bin/env bats
# The workload's streams and its end: bytes, ends of files, exit codes, signals, terminals.
# In single quotes are jq's variables and other shells'.
# shellcheck disable=SC2016

load helpers

# script_is: stdin is the script that the container runs, as /test.
script_is() {
	cat >"$BUNDLE/rootfs/test"
	command_is /bin/sh /test
}

# Without a pid namespace of its own the workload is nobody's init, and signals do to it what they do to anybody.
no_init() {
	config '.linux.namespaces |= map(select(.type != "pid"))'
}

# how COMMAND...: runs it, and prints how it ended as its parent sees it: "code signal".
how() {
	perl -e 'system(@ARGV); printf "%d %d\n", $? >> 8, $? & 127' -- "$@"
}

# run_plainly: the program without the shell function around it, for who looks at how it ends.
run_plainly() {
	how build/bulkhead --debug --log "$WORK/log" --root "$WORK/state" run -b "${1:-$BUNDLE}" "${2:-$ID}" </dev/null
}

@test "16 MiB go in and come out twice unchanged, on streams of their own" {
	head -c 16777216 /dev/urandom >"$WORK/in"
	script_is <<-'END'
		echo first >&2
		tee /dev/stderr
		echo last >&2
	END
	bulkhead run -b "$BUNDLE" "$ID" <"$WORK/in" >"$WORK/out" 2>"$WORK/err"
	cmp "$WORK/in" "$WORK/out"
	{ echo first; cat "$WORK/in"; echo last; } | cmp - "$WORK/err"
}

@test "every byte value, output without an end of line, and nothing else" {
	printf '%b' "$(printf '\\%03o' $(seq 0 255))" >"$WORK/in"
	[ "$(wc -c <"$WORK/in")" = 256 ]
	script_is <<-'END'
		cat
		printf err >&2
		printf out
	END
	bulkhead run -b "$BUNDLE" "$ID" <"$WORK/in" >"$WORK/out" 2>"$WORK/err"
	{ cat "$WORK/in"; printf out; } | cmp - "$WORK/out"
	printf err | cmp - "$WORK/err"
}

@test "ends of files reach both sides, each stream for itself" {
	local reader
	script_is <<-'END'
		# The writer is still there and says nothing: this must not wait.
		head -n 1
		echo 'stdout ends' >&2
		exec >&-
		# stdin goes on all the same, until its end.
		cat >&2
		echo 'stdin ended' >&2
	END
	mkfifo "$WORK/stdin" "$WORK/stdout"
	cat "$WORK/stdout" >"$WORK/out" &
	reader=$!
	# Not by our helper: its timeout would have the streams too.
	build/bulkhead --root "$WORK/state" run -b "$BUNDLE" "$ID" <"$WORK/stdin" >"$WORK/stdout" 2>"$WORK/err" &
	exec {writer}>"$WORK/stdin"
	echo one >&$writer
	# The reader of stdout sees its end while the container runs.
	wait $reader
	[ "$(cat "$WORK/out")" = one ]
	[ "$(status_of "$ID")" = running ]
	echo two >&$writer
	eventually grep -q two "$WORK/err"
	exec {writer}>&-
	wait $!
	[ "$(cat "$WORK/err")" = $'stdout ends\ntwo\nstdin ended' ]
}

@test "the end of the workload ends the run, though its stdin stays open and children hold its stdout" {
	script_is <<-'END'
		sleep 1000 &
		(trap '' TERM HUP INT; while :; do sleep 100; done) &
		head -c 2000000 /dev/zero
		exit 3
	END
	mkfifo "$WORK/stdin"
	exec {writer}<>"$WORK/stdin"
	run -3 --separate-stderr bash -c 'LIMIT=60; "$@" | wc -c; exit "${PIPESTATUS[0]}"' bash \
		build/bulkhead --root "$WORK/state" run -b "$BUNDLE" "$ID" <&$writer
	exec {writer}>&-
	[ "$output" = 2000000 ]
}

@test "a reader that closes ends the writer" {
	local runtime statuses
	# As the first process yes gets an error, and below a shell the signal: under runc as here.
	script_is <<<$'yes; echo "status $?" >&2; exec yes'
	for runtime in runc build/bulkhead; do
		"$runtime" --root "$WORK/state" run -b "$BUNDLE" "$ID" </dev/null 2>"$WORK/err.${runtime##*/}" |
			head -n 1 >"$WORK/out"
		statuses=("${PIPESTATUS[@]}")
		[ "$(cat "$WORK/out")" = y ]
		[ "${statuses[0]}" = 1 ]
		# Some builds of busybox name the error "(null)".
		grep -qx 'status 141' "$WORK/err.${runtime##*/}"
		grep -qx 'yes: .*' "$WORK/err.${runtime##*/}"
	done
	diff "$WORK/err.runc" "$WORK/err.bulkhead"
}

@test "a workload that closes its stdin ends who writes to it" {
	script_is <<<$'head -n 1; exec </dev/null; while [ ! -s /dev/shm/x ]; do sleep 0.1; echo x >/dev/shm/x; done'
	run -0 bash -c 'yes | "$@"; echo "${PIPESTATUS[0]} ${PIPESTATUS[1]}"' bash \
		build/bulkhead --log "$WORK/log" --root "$WORK/state" run -b "$BUNDLE" "$ID"
	[ "$output" = $'y\n141 0' ]
}

@test "streams that are closed or are no pipes" {
	local code=0
	script_is <<-'END'
		read -r line; echo "read $? [$line]"
		echo out && echo 'wrote' >&2
		exit 5
	END
	# Not by bats' run, which does not come back without a stdin.
	plain run -b "$BUNDLE" "$ID" <&- >"$WORK/out" 2>&1 || code=$?
	[ "$code" = 5 ]
	[ "$(cat "$WORK/out")" = $'read 1 []\nout\nwrote' ]
	bulkhead run -b "$BUNDLE" "$ID" <"$BUNDLE/rootfs/test" >/dev/full 2>"$WORK/err" || code=$?
	[ "$code" = 5 ]

	# A file is read from where it is, and appended to.
	echo before >"$WORK/out"
	{ read -r _; bulkhead run -b "$BUNDLE" "$ID" >>"$WORK/out" 2>&1 || code=$?; } < <(printf 'skipped\nthis\n')
	[ "$(cat "$WORK/out")" = $'before\nread 0 [this]\nout\nwrote' ]
}

@test "exit codes are passed unchanged" {
	# A VM each, two at a time; the ones with a meaning of their own, the ends of the range and some between.
	local codes=(0 1 2 42 100 125 126 127 128 129 130 137 141 143 159 200 254 255) half i
	script_is <<<'exit "$(cat /code)"'
	for half in 0 1; do
		cp -a "$BUNDLE" "$WORK/half.$half"
		for ((i = half; i < ${#codes[@]}; i += 2)); do
			echo "${codes[i]}" >"$WORK/half.$half/rootfs/code"
			run_plainly "$WORK/half.$half" "$ID-$half"
		done >"$WORK/codes.$half" 2>&1 &
	done
	wait
	for half in 0 1; do
		for ((i = half; i < ${#codes[@]}; i += 2)); do
			echo "${codes[i]} 0"
		done | diff - "$WORK/codes.$half"
	done
}

@test "a workload that is killed by a signal: so is run" {
	local signal
	ulimit -c unlimited
	no_init
	for signal in TERM KILL SEGV ABRT; do
		command_is /bin/sh -c "kill -$signal \$\$; echo not reached"
		run_plainly
	done >"$WORK/out" 2>&1
	[ "$(cat "$WORK/out")" = $'0 15\n0 9\n0 11\n0 6' ]
	# It dumps no core, neither the VMM.
	[ -z "$(find "$WORK" . -maxdepth 1 -name 'core*')" ]
}

@test "the first process is killed by what is forced on it alone" {
	# seccomp's SIGSYS comes through, a signal without a handler does not: as everywhere with an init.
	config '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW",
		syscalls: [{names: ["sethostname"], action: "SCMP_ACT_KILL_PROCESS"}]}'
	script_is <<<$'kill -SEGV $$; kill -TERM $$; kill -KILL $$; echo here; exec hostname x'
	[ "$(run_plainly)" = $'here\n0 31' ]
}

@test "signals sent to run reach the workload" {
	local signal runtime
	script_is <<-'END'
		for signal in HUP INT QUIT USR1 USR2 TERM WINCH CONT ALRM 35; do
			trap "echo got $signal" $signal
		done
		trap 'echo bye; exit 9' TERM
		echo up
		while :; do sleep 0.1; done
	END
	build/bulkhead --log "$WORK/log" --root "$WORK/state" run -b "$BUNDLE" "$ID" </dev/null >"$WORK/out" 2>&1 &
	runtime=$!
	eventually grep -q up "$WORK/out"
	for signal in HUP INT QUIT USR1 USR2 WINCH CONT ALRM 35; do
		kill -s $signal $runtime
		eventually grep -qx "got $signal" "$WORK/out"
	done
	kill -TERM $runtime
	ends_with 9 $runtime
	[ "$(grep -c got "$WORK/out")" = 9 ]
	[ "$(tail -n 1 "$WORK/out")" = bye ]
}

@test "a terminal whose caller has none: streams are passed on, to the last byte" {
	config '.process.terminal = true'
	command_is /bin/sh -c 'tty; read -r line; echo "got [$line]"; seq 20000; exit 4'
	code=0
	echo one | bulkhead run -b "$BUNDLE" "$ID" >"$WORK/out" || code=$?
	[ $code = 4 ]
	# The terminal's echo of what was typed early may come before all else.
	[ "$(tr -d '\r' <"$WORK/out" | head -n 3 | sort)" = $'/dev/pts/0\ngot [one]\none' ]
	[ "$(tr -d '\r' <"$WORK/out" | tail -n +4)" = "$(seq 20000)" ]
	command_is /bin/echo nobody types
	[ "$(bulkhead run -b "$BUNDLE" "$ID" </dev/null)" = $'nobody types\r' ]
}

@test "a terminal: size, keys, Ctrl-C, its end" {
	local runtime
	config '.process.terminal = true'
	script_is <<-'END'
		tty; tty </dev/console; stty size; test -t 0 && test -t 1 && test -t 2 && echo 'all three'
		stty -a | head -n 4; readlink /proc/self/fd/0
		ls -l /dev/console | cut -c1-30; stat -c '%u %g %a %t' /dev/pts/0
		trap 'echo got INT' INT; trap 'stty size' WINCH
		echo up
		read -r line; echo "line [$line]"
		read -r line; echo "line [$line]"
		printf 'a\nb\n' >/dev/tty
		cat
		exit 7
	END
	for runtime in runc build/bulkhead; do
		terminal_open "$runtime" --root "$WORK/state" run -b "$BUNDLE" "$ID"
		terminal_shows up
		terminal_type 'one\r'
		terminal_shows 'line \[one\]'
		terminal_type '\003'
		terminal_shows '.*got INT'
		terminal_type 'two\r'
		terminal_shows b
		terminal_type 'typed\r'
		terminal_shows typed
		terminal_type '\004'
		terminal_ends 7
		# Without script's own first and last lines.
		sed '1d;$d' "$WORK/screen" | tr -d '\r' >"$WORK/screen.${runtime##*/}"
	done
	diff -u "$WORK/screen.runc" "$WORK/screen.bulkhead"
	grep -qx '33 111' "$WORK/screen.bulkhead"
	grep -qx /dev/pts/0 "$WORK/screen.bulkhead"
	grep -qx 'all three' "$WORK/screen.bulkhead"
}
