#!/usr/bin/env bats
# checkpoint and restore: a running container becomes files, and goes on from them where it was.
# shellcheck disable=SC2016

load helpers

: "${CHECKPOINT_ROUNDS:=2}" # `make soak` has 50

# A counter with an open file, a timer in flight and a listening socket.
counter='
	exec 3>/count
	nc -ll -p 7000 -e /bin/echo here &
	(sleep 1000; echo never) &
	trap "exit 7" TERM
	i=0
	while :; do
		i=$((i + 1))
		echo $i >&3
		read -r up rest </proc/uptime
		echo "$i $up"
		sleep 0.1
	done'

# starts SCRIPT: it runs in the background, what it says goes to $WORK/out.
starts() {
	command_is /bin/sh -c "$1"
	bulkhead run -d -b "$BUNDLE" "$ID" </dev/null >"$WORK/out" 2>"$WORK/err"
	eventually test -s "$WORK/out"
}

checkpoint() {
	bulkhead checkpoint --image-path "$WORK/image" "$@" "$ID"
}

restore() {
	bulkhead restore -d -b "$BUNDLE" --image-path "$WORK/image" "$@" "$ID" </dev/null >"$WORK/out" 2>"$WORK/err"
}

# The last whole line.
last() {
	sed -n '$!p' "$WORK/out" | tail -n 1
}

count_grows() {
	[ "$(bulkhead exec "$ID" tail -n 1 /count </dev/null)" -gt "$1" ]
}

@test "a counter with an open file, a timer and a listening socket goes on after restore, time and again" {
	local before last_count last_up first_count first_up
	before=$(host_footprint)
	starts "$counter"
	for ((round = 0; round < CHECKPOINT_ROUNDS; round++)); do
		eventually test "$(wc -l <"$WORK/out")" -gt 3
		checkpoint
		# As with runc, the container is gone.
		refuses 'container does not exist' state "$ID"
		read -r last_count last_up < <(tail -n 1 "$WORK/out")
		restore
		eventually test "$(wc -l <"$WORK/out")" -gt 1
		read -r first_count first_up <"$WORK/out"
		# One line may have been on its way.
		[ "$first_count" -ge "$((last_count + 1))" ] && [ "$first_count" -le "$((last_count + 2))" ]
		# The guest's own time has not seen the time between.
		awk -v a="$last_up" -v b="$first_up" 'BEGIN { exit !(b >= a && b - a < 3) }'
		[ "$(status_of "$ID")" = running ]
		eventually count_grows "$first_count"
		[ "$(bulkhead exec "$ID" nc 127.0.0.1 7000 </dev/null)" = here ]
		[ "$(bulkhead exec "$ID" sh -c 'n=1; while read -r i; do [ $i = $n ] || exit 1; n=$((n + 1)); done </count; echo whole' </dev/null)" = whole ]
		# Within a second, as far as the lab goes.
		now=$(date +%s)
		then=$(bulkhead exec "$ID" date +%s </dev/null)
		[ $((then - now)) -ge -1 ] && [ $((then - now)) -le 3 ]
	done
	bulkhead kill "$ID" TERM
	eventually test "$(status_of "$ID")" = stopped
	bulkhead delete "$ID"
	[ "$(host_footprint)" = "$before" ]
}
