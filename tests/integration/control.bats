#!/usr/bin/env bats
# What can be done to a running container: look at it, stop it for a while, change its limits, follow its events.
# In single quotes are jq's variables and other shells'.
# shellcheck disable=SC2016

load helpers

up() {
	bulkhead create -b "$BUNDLE" --pid-file "$WORK/pid" "$ID" </dev/null >"$WORK/out" 2>&1
	bulkhead start "$ID"
	eventually grep -q up "$WORK/out"
}

inside() {
	bulkhead exec "$ID" "$@" </dev/null
}

@test "ps, pause, resume, kill --all, state and list of a paused container" {
	local pid before
	for command in ps pause resume update events stats; do
		refuses 'container does not exist' $command "$ID"
	done
	command_is /bin/sh -c 'sleep 1001 & i=0; trap "exit 5" TERM; echo up
		while :; do i=$((i + 1)); echo $i >/dev/shm/new; mv /dev/shm/new /dev/shm/count; sleep 0.02; done'
	up
	pid=$(cat "$WORK/pid")

	# The guest's processes, as ps shows them; the host's pids for engines.
	bulkhead exec -d --pid-file "$WORK/exec-pid" -u 7 "$ID" sleep 1002 </dev/null >/dev/null 2>&1
	plain ps "$ID" >"$WORK/ps"
	head -n 1 "$WORK/ps" | grep -qE '^ *UID +PID +PPID +C +STIME +TTY +TIME +CMD$'
	grep -qE '^root +1 +0 .* sh -c sleep 1001' "$WORK/ps" || grep -qE '^root +1 +0 .* /bin/sh -c sleep 1001' "$WORK/ps"
	grep -qE '^root +[0-9]+ +1 .* sleep 1001$' "$WORK/ps"
	grep -qE '^7 +[0-9]+ +0 .* sleep 1002$' "$WORK/ps"
	[ "$(plain ps "$ID" -o pid,comm=NAME | head -n 2)" = $'    PID NAME\n      1 sh' ]
	plain ps "$ID" aux | head -n 1 | grep -qE '^USER +PID +%CPU +%MEM +VSZ +RSS +TTY +STAT +START +TIME +COMMAND$'
	plain ps "$ID" -e -x | head -n 1 | grep -qE '^ +PID +TTY +STAT +TIME +COMMAND$'
	[ "$(plain ps --format json "$ID")" = "[$pid,$(cat "$WORK/exec-pid")]" ]
	refuses 'unknown column' ps "$ID" -o pid,nonsense
	refuses 'unknown option --forest' ps "$ID" --forest

	# Paused: nothing in it goes on, everything else does.
	plain pause "$ID"
	[ "$(status_of "$ID")" = paused ]
	plain list | grep -qE "^$ID +$pid +paused "
	refuses 'container not running' pause "$ID"
	run -255 plain exec "$ID" true
	[[ $output = *'cannot exec in a paused container'* ]]
	refuses 'cannot delete container' delete "$ID"
	refuses 'cannot start a container in the paused state' start "$ID"
	plain events --stats "$ID" >"$WORK/stats.1"
	bulkhead exec --ignore-paused "$ID" cat /dev/shm/count </dev/null >"$WORK/count" &
	plain events --stats "$ID" >"$WORK/stats.2"
	[ ! -s "$WORK/count" ]
	plain ps "$ID" >/dev/null
	plain resume "$ID"
	[ "$(status_of "$ID")" = running ]
	wait $!
	before=$(cat "$WORK/count")
	[ "$before" -gt 0 ]
	further() { [ "$(inside cat /dev/shm/count)" -gt "$before" ]; }
	eventually further
	refuses 'container not paused' resume "$ID"
	# No CPU time was used by it in between.
	jq -se '.[1].data.cpu.usage.total - .[0].data.cpu.usage.total < 1000000' "$WORK/stats.1" "$WORK/stats.2"

	# The VMM's own counters: what the guest has done to its disk and its streams, by packed rings.
	plain stats "$ID" >"$WORK/table"
	grep -qE '^QUEUE +RING +REQUESTS ' "$WORK/table"
	grep -qE '^disk0\.0 +packed +[1-9]' "$WORK/table"
	plain stats --format json "$ID" | jq -e --arg id "$ID" '.id == $id and .vcpus[0].exits.mmio > 0 and
		([.queues[] | select(.device == "vsock" and .queue == 1)][0] |
			.requests > 0 and .errors == 0 and .requests <= ([.batches[]] | add) * 256 and .kicks > 0)'
	plain stats --format prometheus "$ID" |
		grep -qE "^bulkhead_queue_requests_total\{id=\"$ID\",device=\"disk0\",queue=\"0\"\} [1-9]"
	refuses 'not table, json or prometheus' stats --format xml "$ID"

	# A signal to a paused container waits; SIGKILL does not.
	plain pause "$ID"
	plain kill "$ID" TERM
	[ "$(status_of "$ID")" = paused ]
	plain kill --all "$ID" KILL
	eventually has_status "$ID" stopped
	plain kill --all "$ID" KILL
	for command in pause resume update stats; do
		refuses 'not ' $command "$ID"
	done
	plain delete "$ID"
}

@test "update and events: limits hold at once, statistics in runc's form, OOM is seen" {
	local events
	config '.linux.resources = {memory: {limit: 100663296}, pids: {limit: 50}, cpu: {shares: 512}}'
	command_is /bin/sh -c 'echo up; while :; do sleep 1000; done'
	up
	limit() { inside cat "/sys/fs/cgroup/$1"; }
	[ "$(limit pids.max)" = 50 ]

	# The flags, and a file as engines send it.
	plain update --pids-limit 30 --memory 64m --memory-swap 80M --cpu-quota 50000 --cpu-period 100000 --cpu-share 1024 \
		--blkio-weight 500 "$ID"
	[ "$(inside sh -c 'cd /sys/fs/cgroup; cat pids.max memory.max cpu.max cpu.weight')" = \
		$'30\n67108864\n50000 100000\n39' ]
	# Of quota and period the one that is not given stays, inside and on the host.
	echo '{"cpu": {"period": 200000}}' >"$WORK/resources"
	plain update --resources "$WORK/resources" "$ID"
	[ "$(cat "/sys/fs/cgroup/$ID/cpu.max")" = '50000 200000' ]
	[ "$(limit cpu.max)" = '50000 200000' ]
	echo '{"memory": {"limit": 50331648}, "pids": {"limit": -1}, "cpu": {"quota": -1}}' | plain update --resources - "$ID"
	[ "$(inside sh -c 'cd /sys/fs/cgroup; cat pids.max memory.max cpu.max')" = $'max\n50331648\nmax 200000' ]
	[ "$(cat "/sys/fs/cgroup/$ID/cpu.max")" = 'max 200000' ]
	refuses 'the VM has' update --memory 100g "$ID"
	refuses 'is not a number' update --memory 1x "$ID"
	refuses 'not supported' update --cpu-rt-period 1 "$ID"
	echo '[]' >"$WORK/resources"
	refuses 'must be an object' update --resources "$WORK/resources" "$ID"
	echo '{"cpu": {"shares": "x"}}' >"$WORK/resources"
	refuses 'linux.resources.cpu.shares: must be' update --resources "$WORK/resources" "$ID"
	[ "$(limit memory.max)" = 50331648 ]

	# Statistics.
	plain events --stats "$ID" | jq -e --arg id "$ID" '.type == "stats" and .id == $id and
		(.data | .cpu.usage.total > 0 and .cpu.usage.total >= .cpu.usage.user and
		.memory.usage.limit == 50331648 and .memory.usage.usage > 0 and .memory.usage.max >= .memory.usage.usage and
		.memory.raw.anon > 0 and .pids.current >= 2 and (.blkio.ioServiceBytesRecursive | type) == "array")'

	# Events: at an interval, and when memory ran out; they end with the container.
	plain events --interval 200ms "$ID" >"$WORK/events" &
	events=$!
	twice() { [ "$(grep -c '"type": *"stats"\|"type":"stats"' "$WORK/events")" -ge 2 ]; }
	eventually twice
	run -137 bulkhead exec "$ID" dd if=/dev/zero of=/dev/null bs=60M count=1 </dev/null
	eventually grep -q '"type":"oom"' "$WORK/events"
	jq -e '.oom == true' <<<"$(plain state "$ID")"
	[ "$(status_of "$ID")" = running ]
	refuses 'must be a time' events --interval soon "$ID"
	plain kill "$ID" KILL
	ends_with 0 $events
	eventually has_status "$ID" stopped
	plain delete "$ID"

	# The workload itself: its end says so, and the state still does afterwards.
	command_is dd if=/dev/zero of=/dev/null bs=110M count=1
	run -137 bulkhead run --keep -b "$BUNDLE" "$ID" </dev/null
	jq -e '.status == "stopped" and .oom == true' <<<"$(plain state "$ID")"
	plain delete "$ID"
}
