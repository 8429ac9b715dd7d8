#!/usr/bin/env bats
# Ten VMs at once: none sees or disturbs another, and nothing is left of them.
# In single quotes are jq's variables and other shells'.
# shellcheck disable=SC2016

load helpers

COUNT=10

memory_available_mib() {
	awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo
}

# Memory goes back to the host a little after the processes that had it.
memory_is_back() {
	[ "$(memory_available_mib)" -gt $(($1 - 64)) ]
}

footprint_is() {
	[ "$(host_footprint)" = "$1" ]
}

# make_bundles: vm-1 to vm-10, all with one root and names of their own. Each tells who it is and leaves a mark in
# every place that two containers could share; on USR1 it tells which marks it sees.
make_bundles() {
	local i
	in_script='
		touch /mark-$NAME /tmp/mark-$NAME /dev/shm/mark-$NAME
		report() { echo "marks $(ls / /tmp /dev/shm | grep ^mark- | tr "\n" " ")"; }
		trap report USR1
		trap "exit 3" TERM
		echo "boot $(cat /proc/sys/kernel/random/boot_id)"
		echo "host $(hostname)"
		echo "processes $(ps -o pid | grep -c "[0-9]")"
		echo ready
		sleep 1000 & while :; do wait; done'
	for i in $(seq "$COUNT"); do
		mkdir "$WORK/bundle-$i"
		jq --arg root "$BUNDLE/rootfs" --arg name "vm-$i" --arg script "$in_script" '
			.root = {path: $root, readonly: false} | .hostname = $name | .process.env += ["NAME=" + $name] |
			.process.args = ["/bin/sh", "-c", $script]' "$BUNDLE/config.json" >"$WORK/bundle-$i/config.json"
	done
}

marks_of() {
	: >"$WORK/out-$1"
	plain kill "vm-$1" USR1
	eventually grep -q ^marks "$WORK/out-$1"
	grep ^marks "$WORK/out-$1"
}

@test "ten VMs at once are apart from each other and leave nothing" {
	local footprint memory root i
	plain list
	make_bundles
	# Everything that is read for the first time stays in the page cache: once beforehand.
	bulkhead run -b "$BUNDLE" warm-up </dev/null
	root=$(cd "$BUNDLE/rootfs" && find . -ls | md5sum)
	footprint=$(host_footprint)
	sync
	memory=$(memory_available_mib)

	for i in $(seq "$COUNT"); do
		bulkhead run -d -b "$WORK/bundle-$i" --pid-file "$WORK/pid-$i" "vm-$i" </dev/null >>"$WORK/out-$i" 2>&1
	done
	for i in $(seq "$COUNT"); do
		eventually grep -q ^ready "$WORK/out-$i"
		grep -qx "host vm-$i" "$WORK/out-$i"
	done
	[ "$(cat "$WORK"/out-* | grep -c '^boot ........-')" = "$COUNT" ]
	[ "$({ cat "$WORK"/out-* | sed -n 's/^boot //p'; cat /proc/sys/kernel/random/boot_id; } | sort -u | wc -l)" = \
		$((COUNT + 1)) ]
	# A shell, ps and grep: no process of another VM, of the agent or of the host.
	[ "$(cat "$WORK"/out-* | sed -n 's/^processes //p' | sort -n | tail -n 1)" -le 5 ]
	[ "$(plain list -f json | jq -r '.[].status' | uniq -c | xargs)" = "$COUNT running" ]
	[ "$(plain list -f json | jq '[.[].pid] | unique | length')" = "$COUNT" ]

	# Every one sees its own marks and no others, on the host there are none.
	for i in 1 5 "$COUNT"; do
		[ "$(marks_of "$i" | xargs -n 1 | sort -u | xargs)" = "mark-vm-$i marks" ]
	done
	[ -z "$(find /tmp /dev/shm /run /var/lib/bulkhead -xdev -name 'mark-vm-*' -print -quit)" ]
	[ "$(cd "$BUNDLE/rootfs" && find . -ls | md5sum)" = "$root" ]

	# The end of some, by all ways, is nothing to the others.
	kill -KILL "$(cat "$WORK/pid-1")"
	plain kill vm-2 KILL
	plain kill vm-3 TERM
	plain delete --force vm-4
	for i in 1 2 3; do
		eventually has_status "vm-$i" stopped
		plain delete "vm-$i"
	done
	[ "$(plain list -f json | jq -r '.[].status' | uniq -c | xargs)" = "$((COUNT - 4)) running" ]
	[ "$(marks_of 6 | xargs -n 1 | sort -u | xargs)" = 'mark-vm-6 marks' ]

	for i in $(seq 5 "$COUNT"); do
		plain kill "vm-$i" TERM
	done
	for i in $(seq 5 "$COUNT"); do
		eventually has_status "vm-$i" stopped
		plain delete "vm-$i"
	done
	eventually footprint_is "$footprint"
	eventually memory_is_back "$memory"
}

@test "a VM that takes all it can get takes it from itself" {
	# How long a guest takes to run out of everything is its own affair: 20 to 110 s in a lab.
	local hog LIMIT=200
	command_is /bin/sh -c 'trap "echo alive" USR1; echo ready; sleep 1000 & while :; do wait; done'
	bulkhead run -d -b "$BUNDLE" quiet </dev/null >>"$WORK/quiet" 2>&1
	eventually grep -q ready "$WORK/quiet"

	# Far more memory, processes and disk than a VM of 96 MiB has, and its own kernel's panic at the end.
	config '.annotations = {"io.bulkhead.memory": "96"} | .root.readonly = false'
	command_is /bin/sh -c '
		echo ready
		(while :; do :; done) & (while :; do :; done) &
		dd if=/dev/zero of=/fill bs=1M count=200 2>/dev/null
		x=x; while :; do x=$x$x; done'
	bulkhead run --keep -b "$BUNDLE" hog </dev/null >"$WORK/hog" 2>&1 &
	hog=$!
	eventually grep -q ready "$WORK/hog"
	plain kill quiet USR1
	eventually grep -q alive "$WORK/quiet"
	wait "$hog" || true
	[ "$(status_of hog)" = stopped ]
	[ "$(status_of quiet)" = running ]
	: >"$WORK/quiet"
	plain kill quiet USR1
	eventually grep -q alive "$WORK/quiet"
}
