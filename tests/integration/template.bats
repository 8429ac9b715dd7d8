#!/usr/bin/env bats
# Templates: VMs that start from a saved one are whole VMs of their own, and a template that does not fit is never used.
# In single quotes are jq's variables and other shells'.
# shellcheck disable=SC2016

load helpers

TEMPLATES=/var/lib/bulkhead/templates
: "${TEMPLATE_ROW:=20}" # starts one after the other; `make soak` has more
: "${TEMPLATE_ONCE:=4}" # at the same time

teardown() {
	local name
	[ -z "${CLOCK_AHEAD:-}" ] || set_clock_ahead -"$CLOCK_AHEAD"
	delete_all
	for name in ${NAMESPACES:-}; do
		ip netns del "$name"
	done
}

# set_clock_ahead SECONDS: of the whole host.
set_clock_ahead() {
	date -s "@$((EPOCHSECONDS + $1))" >/dev/null
	CLOCK_AHEAD=$((${CLOCK_AHEAD:-0} + $1))
}

# starts_by WORD: runs the bundle; its VM came from a template ("used"), or booted ("none", "refused").
starts_by() {
	bulkhead run --timings "$WORK/timings" -b "$BUNDLE" "$ID" </dev/null >"$WORK/out"
	[ "$(jq -r .template "$WORK/timings")" = "$1" ] || {
		echo "template: $(jq -r .template "$WORK/timings"), wanted is $1" >&2
		return 1
	}
}

# make_template: after this there is one, for the bundle, in $template.
make_template() {
	bulkhead template clear
	bulkhead run -b "$BUNDLE" "$ID" </dev/null >/dev/null
	bulkhead template wait
	template=$(echo "$TEMPLATES"/*[0-9a-f])
	[ -s "$template/state" ]
}

@test "the first start makes a template, the next one uses it, an annotation forbids it, clear removes it" {
	bulkhead template clear
	starts_by none
	bulkhead template wait
	bulkhead template list >"$WORK/list"
	[ "$(wc -l <"$WORK/list")" = 1 ]
	grep -q 'memory=256+128 vcpus=1' "$WORK/list"
	starts_by used
	config '.annotations["io.bulkhead.template"] = "off"'
	starts_by none
	# Another shape has a template of its own; this one's is left alone.
	config 'del(.annotations) | .annotations["io.bulkhead.memory"] = "128"'
	starts_by none
	bulkhead template wait
	[ "$(bulkhead template list | wc -l)" = 2 ]
	starts_by used
	bulkhead template clear
	[ -z "$(ls "$TEMPLATES")" ]
	refuses 'is not one of list, wait, clear' template burn
}

@test "two clones share no random numbers and no boot id, and have the right time" {
	make_template
	# A line is asked for by one: the time of the answer lies between that and its arrival.
	cp build/tests/clocks "$BUNDLE/rootfs/bin/clocks"
	command_is /bin/sh -c 'cat /proc/sys/kernel/random/boot_id; head -c 16 /dev/urandom | md5sum; clocks random
		echo ready; read x; : >/dev/shm/now; stat -c %y /dev/shm/now; cat /proc/uptime'
	for i in 1 2; do
		coproc CLONE { bulkhead run --timings "$WORK/timings.$i" -b "$BUNDLE" "$ID-$i"; }
		read -r -u "${CLONE[0]}" "boot_id_$i"
		read -r -u "${CLONE[0]}" "random_$i"
		read -r -u "${CLONE[0]}" "getrandom_$i"
		read -r -u "${CLONE[0]}" ready
		[ "$ready" = ready ]
		before=$EPOCHREALTIME
		echo >&"${CLONE[1]}"
		read -r -u "${CLONE[0]}" now
		after=$EPOCHREALTIME
		read -r -u "${CLONE[0]}" uptime
		wait "$CLONE_PID" || true
		[ "$(jq -r .template "$WORK/timings.$i")" = used ]
		now=$(date -u -d "${now% UTC}" +%s.%N)
		# The guest's files have the time of its last tick: 4 ms.
		awk -v a="$before" -v t="$now" -v b="$after" 'BEGIN { exit !(t > a - 0.05 && t < b + 0.05) }' ||
			{ echo "the clone says $now, it is $before to $after" >&2; return 1; }
		# Its own time goes on from the template's: nothing of the time since.
		awk -v up="${uptime%% *}" 'BEGIN { exit !(up > 0 && up < 60) }'
	done
	[ "$boot_id_1" != "$boot_id_2" ]
	[ "$random_1" != "$random_2" ]
	[ "$getrandom_1" != "$getrandom_2" ]
}

# bundle_in NAMESPACE: a bundle in $WORK/in-NAMESPACE on the same root, whose network is that namespace.
bundle_in() {
	mkdir -p "$WORK/in-$1"
	jq --arg root "$BUNDLE/rootfs" --arg name "$1" '
		.root.path = $root | .process.args = ["/bin/sh", "-c", "cat /sys/class/net/eth0/address; sleep 1000"] |
		.process.capabilities |= with_entries(.value += ["CAP_NET_RAW"]) |
		(.linux.namespaces[] | select(.type == "network")).path = "/run/netns/" + $name' \
		"$BUNDLE/config.json" >"$WORK/in-$1/config.json"
}

# start_in NAMESPACE WORD: that bundle, in the background; starts_by says what WORD is.
start_in() {
	bulkhead run -d --timings "$WORK/timings" -b "$WORK/in-$1" "$ID-$1" </dev/null >"$WORK/$1" 2>&1 || {
		cat "$WORK/$1" >&2
		return 1
	}
	[ "$(jq -r .template "$WORK/timings")" = "$2" ]
}

@test "two clones that live at the same time have each its own MAC, that of its namespace, and reach each other by it" {
	local name mac macs=()
	NAMESPACES='bh-clone1 bh-clone2'
	for name in $NAMESPACES; do
		ip netns add "$name"
		bundle_in "$name"
	done
	ip link add eth0 netns bh-clone1 type veth peer name eth0 netns bh-clone2
	for name in $NAMESPACES; do
		ip -n "$name" addr add "10.96.0.${name#bh-clone}/24" dev eth0
		ip -n "$name" link set eth0 up
	done
	# A VM with room for cards has a template of its own.
	bulkhead template clear
	start_in bh-clone1 none
	bulkhead delete --force "$ID-bh-clone1"
	bulkhead template wait
	for name in $NAMESPACES; do
		start_in "$name" used
	done
	for name in $NAMESPACES; do
		eventually test -s "$WORK/$name"
		mac=$(<"$WORK/$name")
		[ "$mac" = "$(ip netns exec "$name" cat /sys/class/net/eth0/address)" ]
		# Of one card, given by nobody who sells cards.
		[ $((0x${mac%%:*} & 3)) = 2 ]
		macs+=("$mac")
	done
	[ "${macs[0]}" != "${macs[1]}" ]
	bulkhead exec "$ID-bh-clone1" ping -c 1 -w 20 10.96.0.2 </dev/null
	bulkhead exec "$ID-bh-clone2" sh -c 'ping -c 1 -w 20 10.96.0.1; cat /proc/net/arp' </dev/null | grep -F "${macs[0]}"
}

# Only where the clock is the lab's. What has passed since is 400 days by the wall's clock alone: the host was not shut down.
@test "a clone of a template from 400 days ago: the clocks are right, timers fire when they have to, nothing stalls" {
	[ -n "${LAB:-}" ] || skip "the clock of this host is not to be set"
	make_template
	cp build/tests/clocks "$BUNDLE/rootfs/bin/clocks"
	# After the timers have fired: interrupts of timers within a second of rest.
	command_is /bin/sh -c 'clocks now; clocks timers 1
		ticks() { awk "/LOC:/ {print \$2}" /proc/interrupts; }; first=$(ticks); sleep 1; echo rest $(($(ticks) - first))'
	set_clock_ahead $((400 * 86400))
	coproc CLONE { bulkhead run --timings "$WORK/timings" -b "$BUNDLE" "$ID" 2>"$WORK/err"; }
	# The program waits for the line in the end: what is read then was asked for before.
	eventually test -s "$WORK/timings"
	sleep 1
	before=$EPOCHREALTIME
	echo >&"${CLONE[1]}"
	read -r -u "${CLONE[0]}" wall monotonic boottime
	after=$EPOCHREALTIME
	cat <&"${CLONE[0]}" >"$WORK/out"
	wait "$CLONE_PID" || true
	[ "$(jq -r .template "$WORK/timings")" = used ]
	cat "$WORK/out"
	echo "$before $wall $after, $monotonic $boottime"
	# Both ends around one round trip.
	awk -v a="$before" -v t="$wall" -v b="$after" 'BEGIN { t /= 1e9; exit !(t > a - 0.05 && t < b + 0.05) }'
	awk -v m="$monotonic" -v b="$boottime" 'BEGIN { exit !(m > 0 && m < 60e9 && b - m < 1e6 && m - b < 1e6) }'
	timers_fired_after 1000 <"$WORK/out"
	# A guest at rest has no tick.
	awk '$1 == "rest" { n = $2 } END { exit !(n != "" && n < 300) }' "$WORK/out"
	# Of its watchdogs the guest's kernel has this one alone, whose message gets past `quiet`.
	! grep -E 'self-detected stall|detected stalls' "$WORK/log"
}

# make_state_of_another_cpu FILE OFFSET: one bit of the record is another; the file's sum is right.
make_state_of_another_cpu() {
	perl -e 'use integer; my ($path, $at) = @ARGV;
		open(my $file, "+<:raw", $path) or die; local $/; my $all = <$file>;
		substr($all, $at, 1) ^= "\1";
		my $sum = 0xcbf29ce484222325;
		for (unpack("q<*", substr($all, 32))) {
			$sum = ($sum ^ $_) * 0x100000001b3;
			$sum ^= ($sum >> 29) & ((1 << 35) - 1);
		}
		substr($all, 24, 8) = pack("q<", $sum);
		seek($file, 0, 0); print $file $all' "$@"
}

@test "a template that was cut short, altered, is of another version or could be another's is not used, and is made anew" {
	make_template
	for damage in 'truncate -s -8 "$1/state"' \
		'printf X | dd of="$1/state" bs=1 seek=2000 conv=notrunc status=none' \
		'printf "\\377" | dd of="$1/state" bs=1 seek=8 conv=notrunc status=none' \
		'printf X | dd of="$1/memory" bs=1 seek=20000000 conv=notrunc status=none'; do
		bash -c "$damage" damage "$template"
		starts_by refused
		bulkhead template wait
		starts_by used
	done
	# Made right again for what follows it: the sum of the CPU's features, and how fast its counter is.
	for at in 56 72; do
		make_state_of_another_cpu "$template/state" $at
		starts_by refused
		grep -q 'saved on another CPU' "$WORK/log"
		: >"$WORK/log"
		bulkhead template wait
		starts_by used
	done
	# These the runtime finds out by itself.
	for damage in 'sed -i s/cpu=/cpu=1/ "$1/shape"' 'truncate -s 100 "$1/shape"' 'chmod 644 "$1/memory"' 'ln "$1/state" "$1/other"; rm "$1/shape"; ln -s other "$1/shape"' 'rm "$1/memory"'; do
		bash -c "$damage" damage "$template"
		starts_by none
		rm -rf "$template/other"
		bulkhead template wait
		starts_by used
	done
}

# has_memory MIB: starts the bundle with so much, from a template; its workload sees all of it from the beginning.
has_memory() {
	local total
	config ".annotations[\"io.bulkhead.memory\"] = \"$1\""
	command_is sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo
	starts_by used
	total=$(cat "$WORK/out")
	# What the kernel of the template keeps for itself.
	: "${kept:=$((($1 << 10) - total))}"
	[ "$total" = $((($1 << 10) - kept)) ]
}

@test "VMs of several sizes start from one template, and each has its memory before its workload runs" {
	local kept
	make_template
	has_memory 256
	has_memory 290
	has_memory 380
	# Those that came have one of their own by now, or soon.
	bulkhead template wait
	bulkhead template list >"$WORK/list"
	grep -q 'memory=256+128 ' "$WORK/list"
	grep -q 'memory=290+0 ' "$WORK/list"
	grep -q 'memory=380+0 ' "$WORK/list"
	[ "$(wc -l <"$WORK/list")" = 3 ]

	# Its limit is its own, not the room that the template has.
	bulkhead template clear
	make_template
	config "del(.annotations) | .linux.resources.memory.limit = $((242 << 20))"
	command_is sleep 1000
	bulkhead create -b "$BUNDLE" "$ID" </dev/null >/dev/null 2>&1
	bulkhead start "$ID"
	[ "$(cat "/sys/fs/cgroup/$ID/memory.max")" = $(((290 + 64 + 290 / 32) << 20)) ]
	refuses 'can grow to' update --memory 350m "$ID"
}

@test "a VM with two CPUs goes on with both" {
	config '.annotations["io.bulkhead.vcpus"] = "2"'
	command_is /bin/sh -c 'grep -c ^processor /proc/cpuinfo
		for cpu in 1 2; do taskset $cpu sh -c "i=0; while [ \$i -lt 2000 ]; do i=\$((i+1)); done; echo \$i" & done; wait'
	make_template
	starts_by used
	[ "$(cat "$WORK/out")" = "$(printf '2\n2000\n2000')" ]
}

@test "another kernel, the same but for its times, gets a template of its own" {
	make_template
	cp -p build/guest/vmlinux "$WORK/vmlinux"
	config '.annotations["io.bulkhead.kernel"] = $kernel' --arg kernel "$WORK/vmlinux"
	starts_by none
	bulkhead template wait
	starts_by used
	touch "$WORK/vmlinux"
	starts_by none
	bulkhead template wait
}

@test "many starts from a template, in a row and at once, leave nothing behind" {
	local jobs=()
	make_template
	footprint=$(host_footprint)
	for ((i = 0; i < TEMPLATE_ROW; i++)); do
		starts_by used
	done
	# Seconds; one emulated CPU has them all to do.
	LIMIT=$((90 + 10 * TEMPLATE_ONCE))
	for ((i = 0; i < TEMPLATE_ONCE; i++)); do
		bulkhead run --timings "$WORK/timings.$i" -b "$BUNDLE" "$ID-$i" </dev/null >"$WORK/out.$i" 2>&1 3>&- &
		jobs+=($!)
	done
	for ((i = 0; i < TEMPLATE_ONCE; i++)); do
		ends_with 0 "${jobs[i]}" || { cat "$WORK/out.$i" >&2; return 1; }
		# Nothing is said when the VMM had gone before it could be asked.
		[ "$(jq -r '.template // "used"' "$WORK/timings.$i")" = used ]
	done
	[ "$(host_footprint)" = "$footprint" ]
	[ "$(bulkhead template list | wc -l)" = 1 ] || bulkhead template list >&2
}
