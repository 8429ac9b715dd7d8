#!/usr/bin/env bats
# The container's process on the host: the control groups and the network namespace the VMM is in, its limits, and hooks.
# In single quotes are jq's variables and other shells'.
# shellcheck disable=SC2016

load helpers

CGROUPS=/sys/fs/cgroup

# create: with the streams in files, so that the VMM does not hold bats' own.
create() {
	bulkhead "$@" create -b "$BUNDLE" --pid-file "$WORK/pid" "$ID" </dev/null >"$WORK/out" 2>"$WORK/err"
}

netns_of() {
	readlink "/proc/$1/ns/net"
}

# A network namespace with a name, as engines make them.
named_netns() {
	touch "$WORK/netns"
	unshare --net="$WORK/netns" true
}

@test "the VMM is in linux.cgroupsPath with the VM's limits, in the namespace named, with its OOM score" {
	local pid before cpus group=$CGROUPS/engine/$ID
	mkdir "$CGROUPS/engine"
	before=$(host_footprint)
	named_netns
	config '.linux.cgroupsPath = $path | .process.oomScoreAdj = 321
		| (.linux.namespaces[] | select(.type == "network")).path = $netns
		| .linux.resources += {memory: {limit: (100 * 1048576), swap: (300 * 1048576)},
			cpu: {quota: 150000, period: 100000, shares: 512, cpus: $cpus}, pids: {limit: 50},
			unified: {"memory.high": "102760448", "cpu.max.burst": "1000"}}
		| .process.ioPriority = {class: "IOPRIO_CLASS_BE", priority: 6}
		| .process.scheduler = {policy: "SCHED_BATCH", nice: 7} | .linux.personality = {domain: "LINUX32"}' \
		--arg path "/engine/$ID" --arg netns "$WORK/netns" --arg cpus "0-$(($(nproc) - 1))"
	command_is /bin/sh -c 'cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max
		cat /sys/fs/cgroup/memory.high; ionice -p $$; cut -d " " -f 19 /proc/self/stat; uname -m; grep -c processor /proc/cpuinfo
		dd if=/dev/zero of=/dev/null bs=90M count=1 2>/dev/null && echo fits; sh -c "
		exec dd if=/dev/zero of=/dev/null bs=110M count=1 2>/dev/null"; echo $?; exit 5'
	create
	pid=$(cat "$WORK/pid")
	grep -qx "0::/engine/$ID" "/proc/$pid/cgroup"
	grep -qx "$pid" "$group/cgroup.procs"
	[ "$(cat "/proc/$pid/oom_score_adj")" = 321 ]
	nsenter --net="$WORK/netns" readlink /proc/self/ns/net >"$WORK/named"
	[ "$(netns_of "$pid")" = "$(cat "$WORK/named")" ]
	[ "$(netns_of "$pid")" != "$(netns_of self)" ]
	[ "$(cat "$group/cpu.max")" = '150000 100000' ]
	[ "$(cat "$group/cpu.weight")" = 20 ]
	[ "$(cat "$group/cpu.max.burst")" = 1000 ]
	[ "$(nproc --all)" = 1 ] || [ "$(cat "$group/cpuset.cpus")" = "0-$(($(nproc) - 1))" ]
	[ "$(cat "$group/memory.swap.max")" = $((200 * 1048576)) ]
	# The whole VM: the workload's 100 MiB, its kernel and the VMM.
	[ "$(cat "$group/memory.max")" -gt $((200 * 1048576)) ]
	[ "$(cat "$group/memory.max")" -lt $((260 * 1048576)) ]
	# Engines read the use from here.
	[ "$(cat "$group/memory.current")" -gt $((10 * 1048576)) ]

	plain start "$ID"
	eventually has_status "$ID" stopped
	# As many CPUs as the quota gives, rounded up, if the host has them. Being out of memory ends the shell or not.
	cpus=$(($(nproc) < 2 ? $(nproc) : 2))
	cat "$WORK/out"
	[[ $(cat "$WORK/out") =~ ^104857600$'\n'50$'\n'102760448$'\n'best-effort:\ prio\ 6$'\n'7$'\n'i686$'\n'$cpus$'\n'fits$'\n'137($'\n'5)?$ ]]
	grep -qx 'oom_kill 0' "$group/memory.events"
	plain delete "$ID"
	[ ! -e "$group" ]
	[ -d "$CGROUPS/engine" ]
	umount "$WORK/netns"
	[ "$(host_footprint)" = "$before" ]
	rmdir "$CGROUPS/engine"
}

@test "what the bundle does not say: a group by the id, the runtime's network without an entry, a new one without a path" {
	local pid
	config '.linux.namespaces |= map(select(.type != "network"))'
	create
	pid=$(cat "$WORK/pid")
	grep -qx "0::/$ID" "/proc/$pid/cgroup"
	[ "$(netns_of "$pid")" = "$(netns_of self)" ]
	[ "$(cat "$CGROUPS/$ID/memory.max")" = max ]
	# Another one is refused a group in use, which is left alone.
	config '.linux.cgroupsPath = $path' --arg path "/$ID"
	refuses "linux.cgroupsPath: the control group $CGROUPS/$ID has processes in it" create -b "$BUNDLE" other
	grep -qx "$pid" "$CGROUPS/$ID/cgroup.procs"
	# Whatever else came to live in it goes with it.
	sleep 1000 3>&- &
	mkdir "$CGROUPS/$ID/below"
	echo $! >"$CGROUPS/$ID/below/cgroup.procs"
	plain delete --force "$ID"
	[ ! -e "$CGROUPS/$ID" ]
	ends_with 137 $!

	config 'del(.linux.cgroupsPath) | .linux.namespaces += [{type: "network"}]'
	create --cgroup-manager disabled
	pid=$(cat "$WORK/pid")
	[ "$(cat "/proc/$pid/cgroup")" = "$(cat /proc/self/cgroup)" ]
	[ "$(netns_of "$pid")" != "$(netns_of self)" ]
	[ ! -e "$CGROUPS/$ID" ]
	plain delete --force "$ID"
	refuses 'connect to the system bus' --systemd-cgroup create -b "$BUNDLE" "$ID"
	[ -z "$(ls "$WORK/state")" ]
}

# The hook writes down what it was, where, and what it read.
make_hook() {
	cat >"$WORK/hook" <<-EOF
		#!/bin/bash
		state=\$(cat)
		printf '%s %s %s %s %s\n' "\$1" "\$(jq -r '[.status, .id, .annotations.mark] | join(" ")' <<<"\$state")" \
			"\$(readlink /proc/self/ns/net)" "\$PWD" "\$MARK" >>"$WORK/hooks"
		jq -r '.pid' <<<"\$state" >>"$WORK/pids"
		echo "something to say"
		[ "\$1" != "\$FAIL" ]
	EOF
	chmod 755 "$WORK/hook"
	: >"$WORK/hooks"
	: >"$WORK/pids"
}

hooks_filter='def hook($kind): {path: $hook, args: ["hook", $kind],
		env: ["MARK=m", "PATH=/usr/bin:/bin", "FAIL=\($fail)"], timeout: 20};
	.annotations.mark = "note" | .hooks = (["prestart", "createRuntime", "createContainer", "poststart", "poststop"]
		| map({key: ., value: [hook(.)]}) | from_entries)'

@test "hooks of every kind at their moments, with the state, in their namespace" {
	local here line there
	make_hook
	# shellcheck disable=SC2016
	cat >"$BUNDLE/rootfs/bin/inside" <<-'EOF'
		#!/bin/sh
		echo "startContainer $1 $MARK $(hostname) $(tr , '\n' | grep -e '"status"' -e '"id"' | tr '\n{}' '   ')"
	EOF
	chmod 755 "$BUNDLE/rootfs/bin/inside"
	config "$hooks_filter"' | .hooks.startContainer = [{path: "/bin/inside", args: ["inside", "arg"],
		env: ["MARK=in", "PATH=/bin"]}] | .hostname = "guest"' --arg hook "$WORK/hook" --arg fail none
	command_is /bin/echo workload
	create
	here=$(netns_of self)
	there=$(netns_of "$(cat "$WORK/pid")")
	printf '%s\n' "prestart creating $ID note $here $BUNDLE m" "createRuntime creating $ID note $here $BUNDLE m" \
		"createContainer creating $ID note $there $BUNDLE m" | diff - "$WORK/hooks"
	[ "$(sort -u "$WORK/pids")" = "$(cat "$WORK/pid")" ]
	[ ! -s "$WORK/out" ]
	plain start "$ID"
	eventually has_status "$ID" stopped
	[ "$(tail -n +4 "$WORK/hooks")" = "poststart running $ID note $here $BUNDLE m" ]
	read -r line <"$WORK/out"
	[[ $line = "startContainer arg in guest "*"\"id\":\"$ID\""*'"status":"created"'* ]]
	[ "$(tail -n 1 "$WORK/out")" = workload ]
	plain delete "$ID"
	[ "$(tail -n +5 "$WORK/hooks")" = "poststop stopped $ID note $here $BUNDLE m" ]
	[ "$(tail -n 1 "$WORK/pids")" = null ]
}

@test "hooks that fail: create ends and cleans up, start fails, what comes after is a warning" {
	local before
	make_hook
	before=$(host_footprint)
	config "$hooks_filter" --arg hook "$WORK/hook" --arg fail createRuntime
	refuses "hooks.createRuntime[0] ($WORK/hook): exit status 1: something to say" create -b "$BUNDLE" "$ID"
	[ "$(cut -d ' ' -f 1,2 "$WORK/hooks")" = $'prestart creating\ncreateRuntime creating\npoststop stopped' ]
	config '.hooks = {prestart: [{path: "/bin/sleep", args: ["sleep", "1000"], timeout: 1}]}'
	refuses 'hooks.prestart[0] (/bin/sleep): not done after 1 s' create -b "$BUNDLE" "$ID"
	config '.hooks = {prestart: [{path: "/nowhere"}]}'
	refuses 'hooks.prestart[0] (/nowhere): cannot be run: No such file or directory' create -b "$BUNDLE" "$ID"
	run ! pgrep sleep
	[ "$(host_footprint)" = "$before" ]

	config '.hooks = {startContainer: [{path: "/bin/false"}]}'
	command_is /bin/echo never
	refuses 'config.hooks.startContainer (/bin/false): exit status 1' run -b "$BUNDLE" "$ID"

	config "$hooks_filter"' | .hooks.poststart |= [{path: "/bin/false"}] + .' --arg hook "$WORK/hook" --arg fail poststop
	: >"$WORK/hooks"
	[ "$(bulkhead run -b "$BUNDLE" "$ID" </dev/null)" = never ]
	grep -q 'level=warning msg="hooks.poststart\[0\] (/bin/false): exit status 1"' "$WORK/log"
	grep -q 'level=warning msg="hooks.poststop\[0\] .*: exit status 1: something to say"' "$WORK/log"
	grep -q '^poststart running' "$WORK/hooks"
	[ "$(host_footprint)" = "$before" ]
}

# io_threads ANNOTATIONS: of a container with two disks and a NIC, which writes and reads, and ends well.
io_threads() {
	local pid
	config ".root.readonly = false | .annotations = {\"io.bulkhead.nics\": \"1\"} + $1"
	command_is /bin/sh -c 'echo written >/file && sync && echo 3 >/proc/sys/vm/drop_caches; cat /file'
	create || return
	pid=$(cat "$WORK/pid")
	cat "/proc/$pid/task/"*/comm | grep -xE 'io|disk.|net.' | sort | xargs
	bulkhead start "$ID" || return
	eventually grep -qx written "$WORK/out" || return
	bulkhead delete --force "$ID"
}

@test "io.bulkhead.io-threads: one for all disks and NICs, or one each; what is neither is an error" {
	[ "$(io_threads '{}')" = io ]
	[ "$(io_threads '{"io.bulkhead.io-threads": "shared"}')" = io ]
	[ "$(io_threads '{"io.bulkhead.io-threads": "own"}')" = 'disk0 disk1 net0' ]
	config '.annotations["io.bulkhead.io-threads"] = "2"'
	refuses 'is not shared or own' create -b "$BUNDLE" "$ID"
	run -2 build/bulkhead-vmm --io-threads both </dev/null
	[[ $output = *'--io-threads: "both" is neither own nor shared' ]]
}

@test "io.bulkhead.pin: a vCPU has its CPU, also after update; one that the host has not is an error" {
	local pid task
	config '.annotations["io.bulkhead.pin"] = "0" | .linux.resources.cpu.cpus = "0"'
	create
	pid=$(cat "$WORK/pid")
	task=$(grep -lx vcpu0 "/proc/$pid/task/"*/comm)
	grep -qx 'Cpus_allowed_list:.0' "${task%comm}status"
	bulkhead update --cpuset-cpus "0-$(($(nproc) - 1))" "$ID"
	grep -qx 'Cpus_allowed_list:.0' "${task%comm}status"
	bulkhead delete --force "$ID"
	config '.annotations["io.bulkhead.pin"] = "4000"'
	refuses 'io.bulkhead.pin: vCPU 0 cannot have CPU 4000: it is not online' create -b "$BUNDLE" "$ID"
	config '.annotations["io.bulkhead.vcpus"] = "2"'
	refuses 'names 1 CPUs, the VM has 2' create -b "$BUNDLE" "$ID"
}
