#!/usr/bin/env bats
# containerd by ctr, through containerd-shim-runc-v2 with bulkhead as its binary. docs/engines.md is made from these.
# In single quotes are other shells' variables.
# shellcheck disable=SC2016

load helpers

setup_file() { containerd_up; }

teardown_file() { containerd_down; }

# ctr_run [OPTION...] -- ID COMMAND...
ctr_run() {
	local options=()
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	client run --runc-binary "$RUNTIME" "${options[@]}" "$IMAGE" "$@"
}

task_is() {
	client tasks list | grep -q "^$1 .*$2"
}

@test "ctr run --rm: streams, exit code, environment, with the snapshotters overlayfs and native" {
	local before snapshotter
	before=$(host_footprint)
	for snapshotter in overlayfs native; do
		run ctr_run --rm --snapshotter "$snapshotter" --env A=one --cwd /tmp \
			-- "one-$snapshotter" sh -c 'read -r line; echo "$A $PWD $(id -u) $line"; uname -r; exit 9' <<<input
		echo "$output"
		[ "$status" = 9 ]
		[[ $output = *'one /tmp 0 input'* ]]
		[[ $output = *6.12.* ]]
	done
	same_footprint "$before"
}

@test "ctr run -d, tasks list, metrics, kill, delete" {
	local pid
	ctr_run -d --memory-limit $((128 << 20)) -- life sh -c 'trap "exit 4" TERM; echo up; while :; do sleep 1000 & wait; done'
	task_is life RUNNING
	pid=$(client tasks list | awk '$1 == "life" {print $2}')
	[[ $(readlink "/proc/$pid/exe") = */bulkhead-vmm ]]
	# The shim reads the VMM's group: what the VM uses on the host.
	client tasks metrics life >"$BATS_TEST_TMPDIR/metrics"
	cat "$BATS_TEST_TMPDIR/metrics"
	grep -E '^memory.usage +[1-9][0-9]{7}' "$BATS_TEST_TMPDIR/metrics"
	client tasks kill -s TERM life
	eventually task_is life STOPPED
	run client tasks delete life
	[[ $output = *'exit code 4'* ]]
	client containers delete life
	run ! kill -0 "$pid"
}

@test "containerd killed and started again finds its containers" {
	ctr_run -d -- again sleep 1000
	daemon_stop containerd KILL
	containerd_start
	task_is again RUNNING
	client tasks kill -s KILL again
	eventually task_is again STOPPED
	run client tasks delete again
	[[ $output = *'exit code 137'* ]]
	client containers delete again
}

@test "ctr run of what does not exist: one error, nothing left" {
	local before
	before=$(host_footprint)
	run ctr_run --rm -- nothing nowhere
	[ "$status" != 0 ]
	[[ $output = *'executable file not found'* ]]
	client containers delete nothing || true
	same_footprint "$before"
}

@test "ctr run --isolation by annotation: the same command in a namespace container" {
	run ctr_run --rm --annotation io.bulkhead.isolation=process -- process uname -r
	echo "$output"
	[ "$status" = 0 ]
	[ "$output" = "$(uname -r)" ]
}

@test "ctr tasks exec, ps, pause, resume" {
	ctr_run -d -- inside sleep 1000
	run client tasks exec --exec-id one inside sh -c 'cat; uname -r; exit 9' <<<input
	echo "$output"
	[ "$status" = 9 ]
	[[ $output = *input* ]]
	[[ $output = *6.12.* ]]
	client tasks exec --detach --exec-id two inside sleep 1000
	client tasks ps inside >"$BATS_TEST_TMPDIR/ps"
	cat "$BATS_TEST_TMPDIR/ps"
	grep -q "^$(client tasks list | awk '$1 == "inside" {print $2}') " "$BATS_TEST_TMPDIR/ps"
	client tasks pause inside
	task_is inside PAUSED
	client tasks resume inside
	task_is inside RUNNING
	client tasks kill -s KILL inside
	eventually task_is inside STOPPED
	run client tasks delete inside
	[[ $output = *'exit code 137'* ]]
	client containers delete inside
}
