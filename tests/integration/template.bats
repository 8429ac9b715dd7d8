#!/usr/bin/env bats
# Templates: VMs that start from a saved one are whole VMs of their own, and a template that does not fit is never used.
# In single quotes are jq's variables and other shells'.
# shellcheck disable=SC2016

load helpers

TEMPLATES=/var/lib/bulkhead/templates

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
	grep -q 'memory=256 vcpus=1' "$WORK/list"
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
	command_is /bin/sh -c 'cat /proc/sys/kernel/random/boot_id; head -c 16 /dev/urandom | md5sum
		echo ready; read x; : >/dev/shm/now; stat -c %y /dev/shm/now; cat /proc/uptime'
	for i in 1 2; do
		coproc CLONE { bulkhead run --timings "$WORK/timings.$i" -b "$BUNDLE" "$ID-$i"; }
		read -r -u "${CLONE[0]}" "boot_id_$i"
		read -r -u "${CLONE[0]}" "random_$i"
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
	# These the runtime finds out by itself.
	for damage in 'chmod 644 "$1/memory"' 'ln "$1/state" "$1/other"; rm "$1/shape"; ln -s other "$1/shape"' 'rm "$1/memory"'; do
		bash -c "$damage" damage "$template"
		starts_by none
		rm -rf "$template/other"
		bulkhead template wait
		starts_by used
	done
}

@test "a VM with two CPUs goes on with both" {
	config '.annotations["io.bulkhead.vcpus"] = "2"'
	command_is /bin/sh -c 'grep -c ^processor /proc/cpuinfo
		for cpu in 1 2; do taskset $cpu sh -c "i=0; while [ \$i -lt 2000 ]; do i=\$((i+1)); done; echo \$i" & done; wait'
	make_template
	starts_by used
	[ "$(cat "$WORK/out")" = "$(printf '2\n2000\n2000')" ]
}

@test "twenty starts from a template leave nothing behind" {
	make_template
	footprint=$(host_footprint)
	for i in $(seq 20); do
		starts_by used
	done
	[ "$(host_footprint)" = "$footprint" ]
	[ "$(bulkhead template list | wc -l)" = 1 ] || bulkhead template list >&2
}
