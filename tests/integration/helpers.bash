# What the bats files share. Every test has a bundle, a state root and a log of its own, and leaves nothing behind.
bats_require_minimum_version 1.5.0

setup() {
	cd "$BATS_TEST_DIRNAME/../.." || return
	WORK=$BATS_TEST_TMPDIR
	BUNDLE=$WORK/bundle
	ID=test-$BATS_SUITE_TEST_NUMBER
	# Made once and copied: that is quicker.
	[ -e "$BATS_SUITE_TMPDIR/bundle/config.json" ] || tests/make-bundle "$BATS_SUITE_TMPDIR/bundle" /bin/true
	cp -a "$BATS_SUITE_TMPDIR/bundle" "$BUNDLE"
}

# What the end of a test does first: no container stays, and on failure the log with the guests' consoles says what went on.
delete_all() {
	local id
	for id in $(build/bulkhead --root "$WORK/state" list -q 2>/dev/null); do
		build/bulkhead --root "$WORK/state" delete --force "$id" || true
	done
	if [ -z "$BATS_TEST_COMPLETED" ] && [ -s "$WORK/log" ]; then
		tail -n 40 "$WORK/log" | sed 's/^/# /' >&3
	fi
}

teardown() {
	delete_all
}

# bulkhead ARGUMENT...: the program under test, with a hard time limit. Its log, with each guest's console, goes to
# $WORK/log, and as with runc its errors to stderr as well.
bulkhead() {
	timeout --foreground -k 5 "${LIMIT:-90}" \
		build/bulkhead --debug --log "$WORK/log" --root "$WORK/state" "$@"
}

# config FILTER [JQ-ARGUMENT...]: changes the bundle's config.json by a jq filter.
config() {
	local filter=$1
	shift
	jq "$@" "$filter" "$BUNDLE/config.json" >"$BUNDLE/config.json.new"
	mv "$BUNDLE/config.json.new" "$BUNDLE/config.json"
}

# command_is WORD...: what the container runs.
command_is() {
	local words
	# shellcheck disable=SC2016
	words=$(jq -nc '$ARGS.positional' --args -- "$@")
	# shellcheck disable=SC2016
	config '.process.args = $words' --argjson words "$words"
}

# in_container SCRIPT: runs a shell script in the bundle's container.
in_container() {
	command_is /bin/sh -c "$1"
	bulkhead run -b "$BUNDLE" "$ID" </dev/null
}

# status_of ID: what `state` says.
status_of() {
	bulkhead state "$1" | jq -r .status
}

# eventually COMMAND...: waits, at most WAIT seconds (a minute), until the command succeeds.
eventually() {
	local end=$((SECONDS + ${WAIT:-60}))
	until "$@"; do
		[ $SECONDS -lt $end ] || { echo "never came true: $*" >&2; return 1; }
		sleep 0.05
	done
}

# plain ARGUMENT...: the program without a log file: what a user sees.
plain() {
	timeout --foreground -k 5 "${LIMIT:-90}" build/bulkhead --root "$WORK/state" "$@"
}

# refuses TEXT ARGUMENT...: the command fails with nothing but one line, which has TEXT in it. No process is started
# for the comparison: in the lab each takes a while.
refuses() {
	local text=$1 code=0 said=() printed=()
	shift
	plain "$@" >"$WORK/stdout" 2>"$WORK/stderr" </dev/null || code=$?
	mapfile -t said <"$WORK/stderr"
	mapfile -t printed <"$WORK/stdout"
	if [ "$code" = 1 ] && [ ${#printed[@]} = 0 ] && [ ${#said[@]} = 1 ] && [[ ${said[0]} = *"$text"* ]]; then
		return
	fi
	echo "bulkhead $*: exit code $code, wanted is 1 and one line with: $text" >&2
	cat "$WORK/stdout" "$WORK/stderr" >&2
	return 1
}

# refuses_configs [FILTER TEXT]...: what each jq filter makes of the bundle's config is refused by a line with TEXT.
refuses_configs() {
	local all='' texts=() variants=() i
	while [ $# -gt 0 ]; do
		all+="${all:+, }($1)"
		texts+=("$2")
		shift 2
	done
	mapfile -t variants < <(jq -c "$all" "$BUNDLE/config.json")
	[ ${#variants[@]} = ${#texts[@]} ] || { echo "a filter is wrong: $all" >&2; return 1; }
	for i in "${!texts[@]}"; do
		printf '%s\n' "${variants[i]}" >"$BUNDLE/config.json"
		refuses "${texts[i]}" create -b "$BUNDLE" "$ID"
	done
}

# has_status ID STATUS: for eventually.
has_status() {
	[ "$(status_of "$1")" = "$2" ]
}

# ends_with CODE PID: waits for a background job. (bats' own run has other children.)
ends_with() {
	local code=0
	wait "$2" || code=$?
	[ "$code" = "$1" ] || { echo "exit code $code, wanted is $1" >&2; return 1; }
}

# All that a container may leave on the host, to compare before and after.
host_footprint() {
	# Templates and layers are kept on purpose, nothing half-made is.
	build/bulkhead template wait
	{
		pgrep -c bulkhead-vmm || true
		grep -c . /proc/self/mountinfo
		find /sys/fs/cgroup -type d 2>/dev/null | wc -l
		find "$WORK/state" -mindepth 1 2>/dev/null | wc -l
		find /var/lib/bulkhead -mindepth 1 \( -name '.new-*' -o -name '.disk-*' \) 2>/dev/null | wc -l
	} | tr '\n' ' '
}

# terminal_open COMMAND...: runs it in the background in a terminal with 33 rows and 111 columns. What it shows goes
# to $WORK/screen.
terminal_open() {
	printf 'stty rows 33 cols 111; exec %s' "$(printf '%q ' "$@")" >"$WORK/terminal-command"
	rm -f "$WORK/keys" "$WORK/screen"
	mkfifo "$WORK/keys"
	LC_ALL=C timeout -k 5 "${LIMIT:-90}" script -qefc "bash '$WORK/terminal-command'" "$WORK/screen" \
		<"$WORK/keys" >/dev/null &
	TERMINAL_PID=$!
	exec {TERMINAL_KEYS}>"$WORK/keys"
}

# terminal_type KEYS: as printf writes them; Enter is \r.
terminal_type() {
	printf '%b' "$1" >&"$TERMINAL_KEYS"
}

# terminal_shows REGEXP: waits for a whole line that matches.
terminal_shows() {
	eventually terminal_has "$1" || { cat -v "$WORK/screen" >&2; return 1; }
}

# Without what a shell says to the terminal itself: where is the cursor, bracket what is pasted.
terminal_has() {
	sed 's/\r//g; s/\x1b\[[0-9;?]*[a-zA-Z]//g' "$WORK/screen" | grep -qx -e "$1"
}

# terminal_close: waits for the end; the status is the command's.
terminal_close() {
	local code=0
	wait "$TERMINAL_PID" || code=$?
	exec {TERMINAL_KEYS}>&-
	cat -v "$WORK/screen"
	return "$code"
}

# terminal_ends CODE. (bats' own run has other children.)
terminal_ends() {
	local code=0
	terminal_close || code=$?
	[ "$code" = "$1" ] || { echo "exit code $code, wanted is $1" >&2; return 1; }
}

none_runs() {
	! pgrep -x "$1" >/dev/null
}

# timers_fired_after MS: stdin is what `clocks timers` (tests/tools) says. Each of its timers fired then, or within three
# seconds after it (a busy lab), and the periodic one as often as it had to.
timers_fired_after() {
	awk -v ms="$1" '
		/^(monotonic|boottime|alarm|sleep) / { kinds++; if ($2 < ms || $2 > ms + 3000) wrong = wrong " " $0 }
		/^ticks / { kinds++; if ($2 < $3 - 1 || $2 > $3) wrong = wrong " " $0 }
		END { if (wrong || kinds != 5) { print kinds " kinds, wrong:" wrong; exit 1 } }'
}

# into_root PROGRAM...: a program of the host's with its libraries.
into_root() {
	local program file
	for program; do
		program=$(command -v "$program")
		for file in "$program" $(ldd "$program" | grep -o '/[^ ]*'); do
			mkdir -p "$BUNDLE/rootfs$(dirname "$file")"
			cp -L "$file" "$BUNDLE/rootfs$file"
		done
	done
}
