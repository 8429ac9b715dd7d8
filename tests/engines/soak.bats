#!/usr/bin/env bats
# Many containers, and ends at random moments: nothing is left that delete does not clear. `make soak` has the full numbers.

load helpers

: "${SOAK_ROW:=3}"   # containers one after the other
: "${SOAK_ONCE:=3}"  # at the same time
: "${SOAK_KILLS:=4}" # ends at random moments, for each engine and for the runtime alone

setup_file() {
	# Not to be touched.
	STRANGERS=$(pgrep -x 'podman|conmon|containerd|containerd-shim|bulkhead|bulkhead-vmm') || true
	export STRANGERS
	podman_up
	containerd_start
	client images import "$ENGINE/image.tar"
}

teardown_file() {
	[ -z "${ENGINE:-}" ] || client_clear
	[ -z "${ENGINE:-}" ] || daemon_stop containerd
	podman_down
}

no_runtime_runs() {
	! pgrep -x bulkhead >/dev/null
}

# Everything that containers could leave behind, of the runtime and of the engines.
everything() {
	# What waits for a VM's last descriptor goes by itself.
	wait_until no_runtime_runs
	host_footprint
	echo "processes $(pgrep -c conmon) conmon, $(pgrep -c containerd-shim) shims, $(pgrep -cx virtiofsd) virtiofsd"
	echo "descriptors $(find "/proc/$(cat "$ENGINE/containerd.daemon")/fd" -lname '/*' 2>/dev/null | grep -vc "$ENGINE/containerd/")"
	echo "containers $(podman ps -aq | tr '\n' ' ') $(client containers list -q)"
	echo "tasks $(ls "$ENGINE/containerd-state/io.containerd.runtime.v2.task/tests" 2>/dev/null)"
}

everything_is() {
	diff <(echo "$1") <(everything)
}

# What is the runtime's of it.
ours() {
	wait_until no_runtime_runs
	host_footprint | grep -v ^mounts
	echo "mounts $(grep -vc "$ENGINE" /proc/self/mountinfo)"
	echo "virtiofsd $(pgrep -cx virtiofsd)"
	echo "states $(ls "$CLIENT_STATES" 2>/dev/null)"
}

ours_is() {
	diff <(echo "$1") <(ours)
}

# KiB that no process accounts for: what the kernel keeps for what was forgotten, and what tmpfs holds.
kernel_kib() {
	awk '/^(SUnreclaim|Shmem|PageTables|KernelStack|Percpu):/ {n += $2} END {print n}' /proc/meminfo
}

# memory_is_kept BEFORE N: N containers later the kernel has not lost 150 KiB for each. (An engine writes a log, and control
# groups are freed late.)
memory_is_kept() {
	local now
	now=$(kernel_kib)
	echo "kernel's memory: $1 KiB, after $2 containers $now KiB" >&3
	[ $((now - $1)) -lt $((150 * $2 + 8192)) ]
}

# once COMMAND...: $SOAK_ONCE of it at the same time, each with its number as last argument; then as many VMs are there.
once() {
	local i jobs=()
	# Seconds; one emulated CPU has them all to do.
	export LIMIT=$((120 + 30 * SOAK_ONCE))
	for ((i = 0; i < SOAK_ONCE; i++)); do
		"$@" "$i" 3>&- &
		jobs+=($!)
	done
	for i in "${jobs[@]}"; do
		wait "$i"
	done
	[ "$(pgrep -c bulkhead-vmm)" = "$SOAK_ONCE" ]
}

podman_one() {
	podman run -d --network none --name "once-$1" "$IMAGE" sleep 1000
}

client_one() {
	client run -d --runc-binary "$RUNTIME" "$IMAGE" "once-$1" sleep 1000
}

@test "podman: many containers in a row and at once leave nothing" {
	local i before kib
	podman run --rm --network none "$IMAGE" true
	before=$(everything)
	kib=$(kernel_kib)
	for ((i = 0; i < SOAK_ROW; i++)); do
		podman run --rm --network none "$IMAGE" true
	done
	once podman_one
	podman rm -fat 0
	# conmon's own clean-up may come to its end after podman's.
	eventually everything_is "$before"
	memory_is_kept "$kib" $((SOAK_ROW + SOAK_ONCE))
}

@test "containerd: many containers in a row and at once leave nothing" {
	local i before kib
	client run --rm --runc-binary "$RUNTIME" "$IMAGE" row true
	before=$(everything)
	kib=$(kernel_kib)
	for ((i = 0; i < SOAK_ROW; i++)); do
		client run --rm --runc-binary "$RUNTIME" "$IMAGE" "row-$i" true
	done
	once client_one
	client_clear
	eventually everything_is "$before"
	memory_is_kept "$kib" $((SOAK_ROW + SOAK_ONCE))
}

# pids_of PROCESS: those of that name which a test has started, the newest last.
pids_of() {
	pgrep -x "$1" | grep -vxF "$STRANGERS"
}

# strike PROCESS: SIGKILL to the newest of that name, if there is one, at a moment within a container's first 2 s.
# $RANDOM has a seed: the same moments every time.
strike() {
	sleep "$((RANDOM % 2)).$((RANDOM % 10))$((RANDOM % 10))"
	pids_of "$1" | tail -n 1 | xargs -r kill -KILL 2>/dev/null || true
}

# delete_all ROOT: what a runtime's user does about containers that no engine knows any more.
delete_all() {
	local id
	for id in $("$RUNTIME" --root "$1" list -q); do
		"$RUNTIME" --root "$1" delete --force "$id"
	done
}

@test "podman: SIGKILL to podman, conmon, runtime or VMM: rm -f and delete clear what is left" {
	local i before victims=(conmon bulkhead-vmm podman bulkhead) job
	before=$(everything)
	RANDOM=2
	for ((i = 0; i < SOAK_KILLS; i++)); do
		podman run -d --network none --name victim "$IMAGE" sleep 1000 >/dev/null 2>&1 3>&- &
		job=$!
		strike "${victims[i % 4]}"
		wait $job || true
		# After conmon's death podman 4.3 calls no runtime's delete, crun's neither.
		podman rm -f -t 0 victim >/dev/null 2>&1 || podman rm -f -t 0 victim || true
		delete_all /run/bulkhead
	done
	eventually everything_is "$before"
}

# A containerd or a shim that dies while it makes a container leaves shim, task and mount behind, of runc's containers too:
# its next start takes the task from its books, and nobody knows the rest.
@test "containerd: SIGKILL to containerd, shim, runtime or VMM: delete clears what is left" {
	local i before victims=(containerd containerd-shim bulkhead bulkhead-vmm) job
	CLIENT_STATES=/run/containerd/runc/tests
	before=$(ours)
	RANDOM=3
	for ((i = 0; i < SOAK_KILLS; i++)); do
		client run -d --runc-binary "$RUNTIME" "$IMAGE" "victim-$i" sleep 1000 >/dev/null 2>&1 3>&- &
		job=$!
		strike "${victims[i % 4]}"
		wait $job || true
		if ! kill -0 "$(cat "$ENGINE/containerd.daemon")" 2>/dev/null; then
			containerd_start
		fi
		client_clear
		delete_all $CLIENT_STATES
		pids_of containerd-shim | xargs -r kill -KILL
	done
	eventually ours_is "$before"
}

@test "SIGKILL to the runtime or the VMM at many moments: delete --force clears what is left" {
	local i id creator victim state=$BATS_TEST_TMPDIR/state bundle=$BATS_TEST_TMPDIR/bundle before
	"$TREE/tests/make-bundle" "$bundle" sleep 1000
	"$RUNTIME" --root "$state" run -b "$bundle" --detach warm </dev/null >/dev/null
	"$RUNTIME" --root "$state" delete --force warm
	before=$(everything)
	RANDOM=1
	for ((i = 0; i < SOAK_KILLS; i++)); do
		id=soak-$i
		"$RUNTIME" --root "$state" run -b "$bundle" --detach $id </dev/null >/dev/null 2>&1 3>&- &
		creator=$!
		sleep "$((RANDOM % 2)).$((RANDOM % 10))$((RANDOM % 10))"
		victim=$(jq .pid "$state/$id/state.json" 2>/dev/null) || victim=
		[ $((i % 2)) = 0 ] && [[ $victim =~ ^[0-9]+$ ]] || victim=$creator
		kill -KILL "$victim" 2>/dev/null || true
		wait $creator || true
		"$RUNTIME" --root "$state" delete --force $id
		[ ! -e "/sys/fs/cgroup/$id" ]
	done
	[ -z "$(ls "$state")" ]
	eventually everything_is "$before"
}
