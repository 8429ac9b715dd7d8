#!/usr/bin/env bats
# A workload that takes from its VM all that it can get: the agent stays, and answers.
# In single quotes are jq's variables and other shells'.
# shellcheck disable=SC2016

load helpers

# hog WHAT [COUNT]: as an ordinary user, until it says what it has got or ends; $SAID is that.
hog() {
	build/bulkhead --root "$WORK/state" exec -u 1000:1000 "$ID" /exhaust "$@" </dev/null >"$WORK/hog" 2>&1 &
	HOG=$!
	eventually hog_is_done "$1"
	SAID=$(cat "$WORK/hog")
}

hog_is_done() {
	grep -q "^$1:" "$WORK/hog" || ! kill -0 "$HOG" 2>/dev/null
}

# The VM's memory, processes and files are as they were.
hog_ends() {
	LIMIT=30 plain exec -c CAP_SYS_ADMIN "$ID" killall -9 exhaust </dev/null
	wait "$HOG" || true
	eventually is_quiet
}

is_quiet() {
	[ "$(LIMIT=30 plain ps "$ID" -o args | grep -c exhaust)" = 0 ]
}

# The agent answers, and makes processes.
agent_lives() {
	[ "$(LIMIT=30 plain exec "$ID" echo alive </dev/null)" = alive ]
	LIMIT=30 plain ps "$ID" >/dev/null
}

@test "processes, files, memory, connections and children without end" {
	cp build/tests/exhaust "$BUNDLE/rootfs/exhaust"
	# Without a pid namespace orphans come to the agent. One process may have all files.
	config 'del(.linux.namespaces[] | select(.type == "pid")) | .annotations = {"io.bulkhead.memory": "128"}
		| .linux.sysctl = {"fs.file-max": "3000"}'
	command_is /bin/sh -c 'echo up; sleep 1000'
	bulkhead run -b "$BUNDLE" "$ID" </dev/null >"$WORK/out" 2>&1 &
	local run=$!
	eventually grep -q up "$WORK/out"

	# (The specification of this has a million; the rest is patience.)
	hog orphans "${ORPHANS:-1000}"
	[ "$SAID" = "orphans: ${ORPHANS:-1000}" ]
	agent_lives
	[ "$(bulkhead exec "$ID" grep -l 'State:.*zombie' /proc/*/status 2>/dev/null | wc -l)" = 0 ]

	hog trace
	[ "$SAID" = 'trace: 0' ]
	agent_lives

	# Nobody in the VM but the agent is connected to.
	hog vsock 3000
	[ "$SAID" = 'vsock: 0' ]
	agent_lives

	hog files
	[[ $SAID = 'files: '*'Too many open files in system' ]]
	# Another process of the container's finds none either; the agent, and whom the limit does not hold, go on.
	run -255 plain exec "$ID" echo alive </dev/null
	[[ $output = *'Too many open files in system'* ]]
	[ "$(LIMIT=30 plain exec -c CAP_SYS_ADMIN "$ID" echo alive </dev/null)" = alive ]
	hog_ends
	agent_lives

	hog memory
	ends_with 137 "$HOG"
	agent_lives

	# A fork bomb: what is there is not enough for another process, but to end it.
	hog forks
	[[ $SAID = 'forks: '[0-9]*' then '* || $SAID = '' ]]
	LIMIT=60 plain ps "$ID" >/dev/null
	[ "$(status_of "$ID")" = running ]
	plain kill "$ID" KILL
	ends_with 137 $run
}
