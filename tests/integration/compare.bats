#!/usr/bin/env bats
# compare: the same bundle in a VM and in namespaces.
# In single quotes are jq's variables and other shells'.
# shellcheck disable=SC2016

load helpers

@test "compare: figures of a VM and of crun and runc, as JSON and as a table, and nothing left behind" {
	local before
	before=$(host_footprint)
	# `runc spec` asks for a terminal, and there is none here.
	config '.process.terminal = true'
	command_is sleep 1000
	bulkhead compare --json -n 2 "$BUNDLE" >"$WORK/json"
	jq -e '.runs == 2 and ([.subjects[].name] == ["bulkhead", "crun", "runc"])' "$WORK/json"
	jq -e --arg host "$(uname -r)" '.subjects[0] | .vm and .kernel != $host and .kernel != ""
		and .startup_ms.median > 0 and .startup_ms.p95 >= .startup_ms.median and (.startup_ms.runs | length) == 2
		and (.phases_ms | .vm_created < .kernel_entered and .kernel_entered < .agent_ready
			and .agent_ready <= .created and .created < .started)
		and (.memory | .workload_running and .host_pss_bytes > 1048576 and .host_processes >= 1
			and .guest_used_bytes > 0 and .guest_used_bytes < .guest_total_bytes)
		and .shared_with_host == {kernel: false, namespaces: [], users: false}
		and .host_syscalls.open > 10 and .host_syscalls.open < 100' "$WORK/json"
	# Both of them, or the reason why one cannot run here.
	jq -e --arg host "$(uname -r)" '.subjects[1:][] | select(has("failure") | not) | (.vm | not) and .kernel == $host
		and .startup_ms.median > 0 and .memory.workload_running and .memory.host_pss_bytes > 0
		and .shared_with_host.kernel and .shared_with_host.users
		and (.shared_with_host.namespaces | index("user")) != null and (.shared_with_host.namespaces | index("pid")) == null
		and .host_syscalls.open > 300 and .host_syscalls.open == .host_syscalls.of' "$WORK/json"
	[ "$(jq '[.subjects[1:][] | select(has("failure") | not)] | length' "$WORK/json")" -ge 1 ]
	[ "$(host_footprint)" = "$before" ]
	[ -z "$(find /run -maxdepth 1 -name 'bulkhead-compare.*')" ]

	# The table, of a workload that is over at once, with a progress bar on a terminal.
	command_is /bin/true
	terminal_open build/bulkhead compare -n 1 "$BUNDLE"
	terminal_shows 'start-up, median ms .*'
	terminal_shows 'kernel seen .* '"$(uname -r)"'.*'
	terminal_shows 'shares the host.s kernel  .*no .*yes.*'
	terminal_close
	grep -q '\[#* *\] 1/6 crun' "$WORK/screen"
	refuses 'the bundle is missing' compare
	refuses '--runs 0: must be 1' compare -n 0 "$BUNDLE"
	refuses 'No such file or directory' compare "$WORK/nowhere"
}
