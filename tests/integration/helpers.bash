# What the bats files share. Every test has a bundle, a state root and a log of its own, and leaves nothing behind.
bats_require_minimum_version 1.5.0

setup() {
	cd "$BATS_TEST_DIRNAME/../.." || return
	WORK=$BATS_TEST_TMPDIR
	BUNDLE=$WORK/bundle
	ID=test-$BATS_SUITE_TEST_NUMBER
	tests/make-bundle "$BUNDLE" /bin/true
}

# On failure the log with the guests' consoles says what went on.
teardown() {
	local id
	for id in $(build/bulkhead --root "$WORK/state" list -q 2>/dev/null); do
		build/bulkhead --root "$WORK/state" delete --force "$id" || true
	done
	if [ -z "$BATS_TEST_COMPLETED" ] && [ -s "$WORK/log" ]; then
		tail -n 40 "$WORK/log" | sed 's/^/# /' >&3
	fi
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
	# shellcheck disable=SC2016
	config '.process.args = $ARGS.positional' --args "$@"
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

# eventually COMMAND...: waits, at most 20 s, until the command succeeds.
eventually() {
	local end=$((SECONDS + 20))
	until "$@"; do
		[ $SECONDS -lt $end ] || { echo "never came true: $*" >&2; return 1; }
		sleep 0.05
	done
}

# All that a container may leave on the host, to compare before and after.
host_footprint() {
	{
		pgrep -c bulkhead-vmm || true
		grep -c . /proc/self/mountinfo
		find /sys/fs/cgroup -type d 2>/dev/null | wc -l
		find "$WORK/state" /var/lib/bulkhead -mindepth 1 2>/dev/null | wc -l
	} | tr '\n' ' '
}
