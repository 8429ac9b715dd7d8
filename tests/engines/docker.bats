#!/usr/bin/env bats
# docker run --runtime bulkhead, with the runtime declared in daemon.json. docs/engines.md is made from these.
# In single quotes are other shells' variables.
# shellcheck disable=SC2016

load helpers

setup_file() { docker_up; }

teardown_file() { docker_down; }

# pod ARGUMENT...: docker run without a network, which has tests of its own.
pod() {
	docker run --network none "$@"
}

@test "docker run --rm: streams, exit code, and what the process is" {
	local before
	before=$(host_footprint)
	run --separate-stderr pod --rm -i -e A=one -w /tmp -u 1000:1000 --hostname box --read-only --tmpfs /scratch --cap-drop ALL \
		--cap-add CHOWN --ulimit nofile=64:128 -m 128m --cpus 1 --pids-limit 40 --init --entrypoint /bin/sh "$IMAGE" -c '
			echo "$A $PWD $(id -u):$(id -g) $(hostname) $(cat)"
			touch /x 2>/dev/null || echo read-only
			touch /scratch/x && echo writable
			grep CapBnd /proc/self/status
			ulimit -n; ulimit -Hn
			cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max /sys/fs/cgroup/cpu.max
			cat /proc/1/comm
			cat /proc/sys/kernel/osrelease
			exit 7' <<<input
	echo "$output"
	[ "$status" = 7 ]
	diff - <(printf '%s\n' "${lines[@]}" | sed "s/^6\.12\..*/the guest's kernel/") <<-'EOF2'
		one /tmp 1000:1000 box input
		read-only
		writable
		CapBnd:	0000000000000001
		64
		128
		134217728
		40
		100000 100000
		docker-init
		the guest's kernel
	EOF2
	same_footprint "$before"
}

@test "docker run -d, ps, logs, inspect, stats, kill, stop, restart, wait, rm" {
	local pid
	pod -d --name life "$IMAGE" sh -c 'trap "echo usr1" USR1; trap "echo term; exit 3" TERM; echo up
		while :; do sleep 1000 & wait; done'
	eventually logs_have life up 1
	pid=$(docker inspect --format '{{.State.Pid}}' life)
	[[ $(readlink "/proc/$pid/exe") = */bulkhead-vmm ]]
	[ "$(docker ps --format '{{.Names}} {{.State}}')" = 'life running' ]
	docker stats --no-stream --format '{{.Name}} {{.MemUsage}} {{.PIDs}}' life >"$BATS_TEST_TMPDIR/stats"
	cat "$BATS_TEST_TMPDIR/stats"
	grep -Eq '^life [1-9][0-9.]*[KM]iB / [0-9.]+GiB [1-9]' "$BATS_TEST_TMPDIR/stats"
	docker kill -s USR1 life
	eventually logs_have life usr1 1
	docker restart -t 20 life
	eventually logs_have life up 2
	logs_have life term 1
	docker stop -t 20 life
	[ "$(docker inspect --format '{{.State.Status}} {{.State.ExitCode}}' life)" = 'exited 3' ]
	docker start life
	eventually logs_have life up 3
	docker kill life
	[ "$(docker wait life)" = 137 ]
	docker rm life
	run ! kill -0 "$pid"
}

logs_have() {
	[ "$(docker logs "$1" 2>&1 | grep -cx "$2")" = "$3" ]
}

@test "docker run of what does not exist: 127; out of memory: 137; a terminal" {
	run -127 pod --rm "$IMAGE" nowhere
	[[ $output = *'executable file not found in $PATH'* ]]
	run -137 pod --name large -m 64m "$IMAGE" dd if=/dev/zero of=/dev/null bs=80M count=1
	[ "$(docker inspect --format '{{.State.Status}} {{.State.ExitCode}}' large)" = 'exited 137' ]
	docker rm large
	run -5 in_terminal docker run --network none --rm -it "$IMAGE" sh -c \
		'until [ "$(stty size 2>/dev/null)" = "33 111" ]; do sleep 0.1; done; stty size
		read -r line; echo "got $line"; exit 5' <<<word
	echo "$output"
	[[ $output = *'33 111'* ]]
	[[ $output = *'got word'* ]]
}

@test "dockerd killed and started again finds its containers (live-restore)" {
	local pid
	pod -d --name again "$IMAGE" sleep 1000
	pid=$(docker inspect --format '{{.State.Pid}}' again)
	daemon_stop dockerd KILL
	kill -0 "$pid"
	dockerd_start
	[ "$(docker inspect --format '{{.State.Status}} {{.State.Pid}}' again)" = "running $pid" ]
	docker rm -f again
	run ! kill -0 "$pid"
}

@test "docker exec, top, pause, unpause, update, stop after its timeout" {
	local pid
	pod -d --name inside -m 128m "$IMAGE" sh -c 'echo up; sleep 1000'
	eventually logs_have inside up 1
	run -9 docker exec -i -e A=one -w /tmp -u 1000:1000 inside sh -c \
		'echo "$A $PWD $(id -u) $(cat)"; cat /proc/sys/kernel/osrelease; exit 9' <<<input
	echo "$output"
	[[ $output = *'one /tmp 1000 input'* ]]
	[[ $output = *6.12.* ]]
	# docker 20.10's code for whatever an exec fails with.
	run -126 docker exec inside nowhere
	[[ $output = *'executable file not found in $PATH'* ]]
	run -4 in_terminal docker exec -it inside sh -c \
		'until [ "$(stty size 2>/dev/null)" = "33 111" ]; do sleep 0.1; done; tty; exit 4' </dev/null
	[[ $output = */dev/pts/* ]]
	docker exec -d inside touch /tmp/done
	eventually docker exec inside test -e /tmp/done
	# The pids that the runtime names, as the host's ps shows them.
	pid=$(docker inspect --format '{{.State.Pid}}' inside)
	docker top inside -o pid,comm >"$BATS_TEST_TMPDIR/top"
	cat "$BATS_TEST_TMPDIR/top"
	grep -q "^$pid  *bulkhead-vmm" "$BATS_TEST_TMPDIR/top"
	docker pause inside
	[ "$(docker inspect --format '{{.State.Status}}' inside)" = paused ]
	docker unpause inside
	docker update --cpus 0.5 -m 96m --memory-swap 96m --pids-limit 30 inside
	[ "$(docker exec inside sh -c 'cd /sys/fs/cgroup; cat cpu.max memory.max pids.max')" = $'50000 100000\n100663296\n30' ]
	[ "$(cat "/sys/fs/cgroup$(sed 's/^0:://' "/proc/$pid/cgroup")/cpu.max")" = '50000 100000' ]
	# A shell that is process 1 does not hear SIGTERM.
	docker stop -t 1 inside
	[ "$(docker inspect --format '{{.State.Status}} {{.State.ExitCode}}' inside)" = 'exited 137' ]
	docker rm -f inside
}

@test "docker run --device: a block device of the host is a disk of the VM" {
	block_devices_are_disks
}

@test "docker run --device-read-bps and the like: the VM's disk and the control group have them" {
	local group loop
	truncate -s 1M "$BATS_TEST_TMPDIR/file"
	loop=$(losetup --find --show "$BATS_TEST_TMPDIR/file")
	pod -d --name slow --device "$loop" --device-read-bps "$loop:1mb" --device-write-bps "$loop:2mb" --device-read-iops "$loop:40" \
		--device-write-iops "$loop:50" "$IMAGE" sleep 1000
	[ "$(rates "$(docker inspect --format '{{.Id}}' slow)" "$ENGINE/docker-exec" /run)" = '[1048576,40,2097152,50]' ]
	group=$(group_of "$(docker inspect --format '{{.State.Pid}}' slow)")
	grep -q ' rbps=1048576 wbps=2097152 riops=40 wiops=50' "$group/io.max"
	docker rm -f slow
	losetup -d "$loop"
}
