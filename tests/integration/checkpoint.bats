#!/usr/bin/env bats
# checkpoint and restore: a running container becomes files, and goes on from them where it was.
# shellcheck disable=SC2016

load helpers

: "${CHECKPOINT_ROUNDS:=2}" # `make soak` has 50

teardown() {
	delete_all
	ip link del "bhc$$" 2>/dev/null || true
	ip netns del "$ID" 2>/dev/null || true
}

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
	config '.root.readonly = false'
	command_is /bin/sh -c "$1"
	bulkhead run -d -b "$BUNDLE" "$ID" </dev/null >"$WORK/out" 2>"$WORK/err"
	eventually test -s "$WORK/out" || { cat "$WORK/err" >&2; return 1; }
}

checkpoint() {
	bulkhead checkpoint --image-path "$WORK/image" "$@" "$ID"
}

restore() {
	bulkhead restore -d -b "$BUNDLE" --image-path "$WORK/image" "$@" "$ID" </dev/null >"$WORK/out" 2>"$WORK/err"
}

# more_lines_than N: it has said so much.
more_lines_than() {
	[ "$(wc -l <"$WORK/out")" -gt "$1" ]
}

is_stopped() {
	[ "$(status_of "$ID")" = stopped ]
}

count_grows() {
	[ "$(bulkhead exec "$ID" tail -n 1 /count </dev/null)" -gt "$1" ]
}

@test "a counter with an open file, a timer and a listening socket goes on after restore, time and again" {
	local before last_count last_up first_count first_up
	before=$(host_footprint)
	starts "$counter"
	for ((round = 0; round < CHECKPOINT_ROUNDS; round++)); do
		eventually more_lines_than 3
		checkpoint
		# As with runc, the container is gone.
		refuses 'container does not exist' state "$ID"
		read -r last_count last_up < <(tail -n 1 "$WORK/out")
		restore
		eventually more_lines_than 1
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
	eventually is_stopped
	bulkhead delete "$ID"
	[ "$(host_footprint)" = "$before" ]
}

@test "timers of each kind that run across checkpoint and restore fire at the right time" {
	local set_at restored_at fired_at
	cp build/tests/clocks "$BUNDLE/rootfs/bin/clocks"
	starts 'exec clocks timers 3'
	set_at=$(awk '$1 == "set" { print $2 }' "$WORK/out")
	checkpoint
	# Nothing has fired yet: what follows is after the restore.
	[ "$(wc -l <"$WORK/out")" = 1 ]
	# By the wall's clock all of it is over by then.
	sleep 3
	restore
	restored_at=$((${EPOCHREALTIME/./} / 1000))
	eventually grep -q ticks "$WORK/out"
	cat "$WORK/out"
	# The guest has not seen the time between.
	timers_fired_after 3000 <"$WORK/out"
	# The one for a time of the wall's clock, which was past, fired when that clock was set.
	fired_at=$(awk '$1 == "realtime" { print $2 }' "$WORK/out")
	[ "$fired_at" -ge $((set_at + 3000)) ]
	[ "$fired_at" -le $((restored_at + 3000)) ]
}

# A count and the guest's random numbers, from a VM that came from a template.
@test "a clone of a template is saved whole; left running, both go on, and each as a machine of its own" {
	bulkhead template clear
	config '.root.readonly = false'
	bulkhead run -b "$BUNDLE" "$ID" </dev/null
	bulkhead template wait
	command_is /bin/sh -c 'head -c 4000000 /dev/urandom >/dev/shm/file; sum=$(md5sum </dev/shm/file); i=0
		while :; do i=$((i + 1)); [ "$sum" = "$(md5sum </dev/shm/file)" ] && echo $i $(head -c 8 /dev/urandom | md5sum); done'
	bulkhead run -d --timings "$WORK/timings" -b "$BUNDLE" "$ID" </dev/null >"$WORK/out" 2>"$WORK/err"
	[ "$(jq -r .template "$WORK/timings")" = used ]
	eventually more_lines_than 1
	# The template may be gone by then.
	bulkhead template clear
	cp "$WORK/out" "$WORK/out.before"
	checkpoint --leave-running
	[ "$(status_of "$ID")" = running ]
	lines=$(wc -l <"$WORK/out")
	eventually more_lines_than "$lines"
	bulkhead kill "$ID" KILL
	eventually is_stopped
	bulkhead delete "$ID"
	cp "$WORK/out" "$WORK/out.left"
	restore
	eventually more_lines_than 2
	# Not one of their random numbers is the same, but for those before the checkpoint: what was read by then may be said after
	# it, in the first line of both.
	tail -n +2 "$WORK/out" | sort - "$WORK/out.left" | awk '{ print $2 }' | uniq -d | tee "$WORK/same"
	[ ! -s "$WORK/same" ]
	bulkhead delete --force "$ID"
}

# damage COMMAND: to a copy of the image.
damage() {
	rm -rf "$WORK/image"
	cp -a --sparse=always "$WORK/whole" "$WORK/image"
	(cd "$WORK/image" && bash -c "$1")
}

@test "an image that was cut, altered, is another's or another version's is refused in one line and leaves nothing" {
	local before
	starts "$counter"
	checkpoint
	before=$(host_footprint)
	mv "$WORK/image" "$WORK/whole"
	while read -r text damage; do
		damage "$damage"
		refuses "${text//_/ }" restore -d -b "$BUNDLE" --image-path "$WORK/image" "$ID"
	done <<-'END'
		the_state_was_altered printf x | dd of=state bs=1 seek=5000 conv=notrunc status=none
		the_state_was_altered truncate -s -8 state
		memory_is_of_another_size truncate -s -4096 memory
		memory_was_altered printf xyz | dd of=memory bs=1 seek=40000001 conv=notrunc status=none
		scratch_disk_was_altered printf xyz | dd of=scratch bs=1 seek=9000 conv=notrunc status=none
		scratch_disk_was_altered truncate -s -4096 scratch
		of_another_version sed -i "s/.version.: 2/\"version\": 3/" snapshot.json
		is_broken truncate -s 20 snapshot.json
		snapshot.json:_No_such_file rm snapshot.json
		another_CPU sed -i "s/.vcpus.: 1/\"vcpus\": 2/" snapshot.json
		nobody_else's chmod 666 memory
		must_belong chmod 777 .
		root_of_the_bundle sed -i "s/\"layers\": \[/&\"0\",/" snapshot.json
	END
	# Copied, and of holes only where there were zeroes: it is still the same.
	damage true
	touch "$BUNDLE/rootfs/new"
	refuses 'root of the bundle' restore -d -b "$BUNDLE" --image-path "$WORK/image" "$ID"
	rm "$BUNDLE/rootfs/new"
	[ "$(host_footprint)" = "$before" ]
}

@test "what cannot be carried is refused in one line, and the container goes on" {
	local lines
	refuses 'container does not exist' checkpoint "$ID"
	starts "$counter"
	refuses 'nothing before it' checkpoint --pre-dump "$ID"
	refuses "CRIU's" checkpoint --lazy-pages "$ID"
	bulkhead exec -d "$ID" sleep 1000 </dev/null >/dev/null 2>&1
	refuses 'process of exec that runs in it cannot be carried' checkpoint --image-path "$WORK/image" "$ID"
	[ ! -e "$WORK/image" ]
	lines=$(wc -l <"$WORK/out")
	eventually more_lines_than "$lines"
	bulkhead delete --force "$ID"
	mkdir "$WORK/volume"
	config '.mounts += [{destination: "/volume", type: "bind", source: $dir, options: ["rbind"]}]' --arg dir "$WORK/volume"
	starts "$counter"
	refuses 'files that it shares with the host cannot be carried' checkpoint --image-path "$WORK/image" "$ID"
	lines=$(wc -l <"$WORK/out")
	eventually more_lines_than "$lines"
}

@test "two vCPUs that write to the disk, and a paused container, come back as they were" {
	config '.annotations["io.bulkhead.vcpus"] = "2"'
	starts '(while :; do head -c 100000 /dev/urandom >/a; cp /a /b; cmp /a /b && echo same; done) &
		while :; do head -c 100000 /dev/urandom >/c; cp /c /d; cmp /c /d || echo differs; done'
	eventually more_lines_than 3
	checkpoint
	restore
	eventually more_lines_than 3
	bulkhead pause "$ID"
	checkpoint
	restore
	[ "$(status_of "$ID")" = paused ]
	bulkhead resume "$ID"
	eventually more_lines_than 3
	bulkhead delete --force "$ID"
	[ "$(sort -u "$WORK/out")" = same ]
}

# ticks SCRIPT: a container that counts, beside what else it does.
ticks() {
	starts "$1"'
		i=0; while :; do i=$((i + 1)); echo $i; sleep 0.1; done'
}

link_is_gone() {
	bulkhead exec "$ID" sh -c '! grep -q eth0 /proc/net/dev' </dev/null
}

# cannot_be_carried TEXT: as the text says, in one line; nothing is left of the attempt, and the container goes on.
cannot_be_carried() {
	local lines
	refuses "$1" checkpoint --image-path "$WORK/image" "$ID"
	[ ! -e "$WORK/image" ]
	lines=$(wc -l <"$WORK/out")
	eventually more_lines_than "$lines"
	[ "$(status_of "$ID")" = running ]
}

@test "a link, a connection through vsock.sock, a block device, passt: each is refused in one line, and the container goes on" {
	local loop
	# The link and the connection in one VM, one after the other.
	ip netns add "$ID"
	ip link add "bhc$$" type veth peer name eth0 netns "$ID"
	into_root socat
	config '(.linux.namespaces[] | select(.type == "network")).path = $path' --arg path "/run/netns/$ID"
	ip link set "bhc$$" up
	ip -n "$ID" link set eth0 up
	ticks 'socat VSOCK-LISTEN:5000,fork EXEC:cat 2>/dev/null &'
	cannot_be_carried 'a link cannot be carried'
	ip link del "bhc$$"
	eventually link_is_gone
	coproc CONNECTION { socat - "UNIX-CONNECT:$WORK/state/$ID/vsock.sock"; }
	echo 'CONNECT 5000' >&"${CONNECTION[1]}"
	read -r -t 30 -u "${CONNECTION[0]}" line
	[[ $line = OK* ]]
	cannot_be_carried 'a connection through vsock.sock cannot be carried'
	# Both gone, nothing is in the way any more.
	kill "$CONNECTION_PID"
	eventually checkpoint
	ip netns del "$ID"
	rm -r "$WORK/image"

	truncate -s 1M "$WORK/disk"
	loop=$(losetup --find --show "$WORK/disk")
	config 'del(.linux.namespaces[].path) |
		.linux.devices = [{path: "/dev/data", type: "b", major: $major, minor: $minor}] |
		.linux.resources.devices += [.linux.devices[0] | {allow: true, type, major, minor, access: "rwm"}]' \
		--argjson major "$((16#$(stat -c %t "$loop")))" --argjson minor "$((16#$(stat -c %T "$loop")))"
	ticks ''
	losetup -d "$loop"
	cannot_be_carried "block devices of the host's cannot be carried"
	bulkhead delete --force "$ID"

	[ -x "$(command -v passt)" ] || skip "passt is not installed"
	# It takes part in the host's network, of which there has to be one.
	ip link add "bhc$$" type dummy
	ip addr add 10.97.0.1/24 dev "bhc$$"
	ip link set "bhc$$" up
	ip route add default via 10.97.0.254 dev "bhc$$" metric 9999
	config '.linux.devices = [] | .annotations["io.bulkhead.net"] = "user"'
	ticks ''
	cannot_be_carried 'its network by passt cannot be carried'
	bulkhead delete --force "$ID"
	ip link del "bhc$$"
}
