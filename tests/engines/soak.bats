#!/usr/bin/env bats
# Many containers, and ends at random moments: nothing is left that delete does not clear. `make soak` has the full numbers.

load helpers

: "${SOAK_ROW:=5}"    # containers one after the other
: "${SOAK_ONCE:=4}"   # at the same time
: "${SOAK_KILLS:=12}" # of runtime or VMM, each at another moment

setup_file() {
	command -v podman >/dev/null || skip "podman is not installed"
	engine_folder
	podman_configure
	podman load -qi "$ENGINE/image.tar"
}

teardown_file() {
	[ -z "${ENGINE:-}" ] || {
		podman rm -fat 0 >/dev/null
		engine_folder_gone
	}
}

# Everything that containers could leave behind, of the runtime and of the engine.
everything() {
	host_footprint
	echo "conmons $(pgrep -c conmon)"
	echo "containers $(podman ps -aq | tr '\n' ' ')"
}

everything_is() {
	diff <(echo "$1") <(everything)
}

@test "podman: many containers in a row and at once leave nothing" {
	local i before jobs=()
	podman run --rm --network none "$IMAGE" true
	before=$(everything)
	for ((i = 0; i < SOAK_ROW; i++)); do
		podman run --rm --network none "$IMAGE" true
	done
	for ((i = 0; i < SOAK_ONCE; i++)); do
		podman run -d --network none --name "once-$i" "$IMAGE" sleep 1000 3>&- &
		jobs+=($!)
	done
	for i in "${jobs[@]}"; do
		wait "$i"
	done
	[ "$(pgrep -c bulkhead-vmm)" = "$SOAK_ONCE" ]
	podman rm -fat 0
	# conmon's own clean-up may come to its end after podman's.
	eventually everything_is "$before"
}

@test "podman: SIGKILL to conmon, and to the VMM: rm -f and delete clear what is left" {
	local before id
	before=$(everything)
	podman run -d --network none --name victim "$IMAGE" sleep 1000
	kill -KILL "$(podman inspect --format '{{.State.ConmonPid}}' victim)"
	podman rm -f -t 0 victim
	# With conmon dead podman 4.3 calls no runtime's delete, crun's neither.
	for id in $("$RUNTIME" list -q); do
		"$RUNTIME" delete --force "$id"
	done
	podman run -d --network none --name victim "$IMAGE" sleep 1000
	kill -KILL "$(podman inspect --format '{{.State.Pid}}' victim)"
	[ "$(podman wait victim)" = 137 ]
	podman rm victim
	diff <(echo "$before") <(everything)
}

@test "SIGKILL to the runtime or the VMM at many moments: delete --force clears what is left" {
	local i id creator victim state=$BATS_TEST_TMPDIR/state bundle=$BATS_TEST_TMPDIR/bundle before
	"$TREE/tests/make-bundle" "$bundle" sleep 1000
	"$RUNTIME" --root "$state" run -b "$bundle" --detach warm </dev/null >/dev/null
	"$RUNTIME" --root "$state" delete --force warm
	before=$(everything)
	# The same moments every time.
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
	diff <(echo "$before") <(everything)
}
