#!/usr/bin/env bats
# What the OCI runtime specification says about the states of a container, and what engines rely on.
# In single quotes are jq's variables and other shells'.
# shellcheck disable=SC2016

load helpers

# create: with the streams in files, so that the VMM does not hold bats' own.
create() {
	bulkhead create -b "$BUNDLE" --pid-file "$WORK/pid" "$ID" </dev/null >"$WORK/out" 2>"$WORK/err"
}

# An initramfs whose /init never says anything.
make_mute_initramfs() {
	mkdir -p "$WORK/mute/bin"
	cp "$(command -v busybox)" "$WORK/mute/bin/busybox"
	printf '#!/bin/busybox sh\necho "this is the mute init"\nexec /bin/busybox sleep 1000\n' >"$WORK/mute/init"
	chmod 755 "$WORK/mute/init"
	(cd "$WORK/mute" && find . | cpio --quiet -o -H newc) >"$WORK/mute.cpio"
}

# An engine in small: a subreaper that creates and starts, and gets the end of the process from the pid file. Prints
# its exit code and signal. A further argument is a signal to kill the container with once it prints something.
engine() {
	timeout 60 perl -e '
		my ($root, $bundle, $id, $work, $signal) = @ARGV;
		my @bulkhead = ("build/bulkhead", "--log", "$work/log", "--root", $root);
		syscall(157, 36, 1, 0, 0, 0) == 0 or die "PR_SET_CHILD_SUBREAPER: $!";
		system("@bulkhead create -b $bundle --pid-file $work/pid $id </dev/null >$work/out 2>&1") == 0
			or die "create failed";
		open(my $file, "<", "$work/pid") or die; my $pid = <$file>;
		open(my $stat, "<", "/proc/$pid/stat") or die; my @stat = split / /, <$stat>;
		$stat[3] == $$ or die "its parent is $stat[3], not $$";
		$stat[5] == $pid or die "it is in session $stat[5], not in its own";
		readlink("/proc/$pid/exe") =~ m{/bulkhead-vmm$} or die "it is not the VMM";
		system(@bulkhead, "start", $id) == 0 or die "start failed";
		if ($signal) {
			select(undef, undef, undef, 0.05) until -s "$work/out";
			system(@bulkhead, "kill", $id, $signal) == 0 or die "kill failed";
		}
		waitpid($pid, 0) == $pid or die "it is no child";
		printf "%d %d\n", $? >> 8, $? & 127;
		' "$WORK/state" "$BUNDLE" "$ID" "$WORK" "$@"
}

@test "created, running, stopped: every call is right in some states and refused in the others" {
	local before pid
	before=$(host_footprint)
	for command in state start kill delete; do
		refuses 'container does not exist' $command "$ID"
	done

	command_is /bin/sh -c 'trap "exit 7" TERM; echo up; sleep 1000 & while :; do wait; done'
	create
	[ ! -s "$WORK/err" ]
	pid=$(cat "$WORK/pid")
	[[ $pid =~ ^[0-9]+$ ]]
	[[ $(readlink "/proc/$pid/exe") = */bulkhead-vmm ]]
	jq -e --argjson pid "$pid" '.status == "created" and .pid == $pid' <<<"$(plain state "$ID")"
	refuses 'container with given ID already exists' create -b "$BUNDLE" "$ID"
	refuses 'container with given ID already exists' run -b "$BUNDLE" "$ID"
	refuses "cannot delete container $ID that is not stopped: created" delete "$ID"
	[ ! -s "$WORK/out" ]
	[ "$(status_of "$ID")" = created ]

	plain start "$ID"
	eventually grep -q up "$WORK/out"
	jq -e --argjson pid "$pid" '.status == "running" and .pid == $pid' <<<"$(plain state "$ID")"
	refuses 'cannot start an already running container' start "$ID"
	refuses "cannot delete container $ID that is not stopped: running" delete "$ID"
	refuses 'container with given ID already exists' create -b "$BUNDLE" "$ID"
	[ "$(status_of "$ID")" = running ]

	plain kill "$ID" 0
	[ "$(status_of "$ID")" = running ]
	plain kill "$ID"
	eventually has_status "$ID" stopped
	jq -e '.pid == 0' <<<"$(plain state "$ID")"
	refuses 'cannot start a container that has stopped' start "$ID"
	refuses 'container not running' kill "$ID"
	refuses 'container not running' kill "$ID" KILL
	refuses 'container not running' kill "$ID" 0
	plain kill --all "$ID" 0
	[ "$(plain ps "$ID" | wc -l)" = 1 ]
	[ "$(plain ps --format json "$ID")" = '[]' ]
	refuses 'container with given ID already exists' create -b "$BUNDLE" "$ID"
	run ! kill -0 "$pid"

	plain delete "$ID"
	for command in state start kill delete; do
		refuses 'container does not exist' $command "$ID"
	done
	[ "$(host_footprint)" = "$before" ]
	[ "$(cat "$WORK/out")" = up ]
}

@test "creating: seen while the guest boots, and only delete --force goes through" {
	local creator
	make_mute_initramfs
	export BULKHEAD_INITRAMFS=$WORK/mute.cpio
	create 2>/dev/null &
	creator=$!
	eventually has_status "$ID" creating
	eventually jq -e '.status == "creating" and .pid > 0' <<<"$(plain state "$ID")"
	refuses 'cannot start a container in the creating state' start "$ID"
	refuses "cannot delete container $ID that is not stopped: creating" delete "$ID"
	refuses 'container is not created yet' kill "$ID" TERM
	refuses 'container with given ID already exists' create -b "$BUNDLE" "$ID"
	[ "$(status_of "$ID")" = creating ]
	plain delete --force "$ID"
	ends_with 1 "$creator"
	[ "$(wc -l <"$WORK/err")" = 1 ]
	grep -q 'bulkhead-vmm was ended by signal 9' "$WORK/err"
	[ ! -e "$WORK/pid" ]
	refuses 'container does not exist' state "$ID"
	run ! pgrep bulkhead-vmm

	# A signal to the one who creates: it cleans up.
	create 2>/dev/null &
	eventually has_status "$ID" creating
	# bats' background job is a subshell with timeout in it; the program itself is what has the pid file's name.
	pkill -TERM -f "^build/bulkhead .*--pid-file $WORK/pid"
	ends_with 1 $!
	grep -q 'interrupted by a signal' "$WORK/err"
	refuses 'container does not exist' state "$ID"
	[ -z "$(ls "$WORK/state")" ]
	run ! pgrep bulkhead-vmm
}

@test "a created container can be killed, and deleted by force" {
	command_is /bin/echo never
	create
	plain kill "$ID" KILL
	eventually has_status "$ID" stopped
	refuses 'cannot start a container that has stopped' start "$ID"
	plain delete "$ID"
	[ ! -s "$WORK/out" ]

	create
	plain delete --force "$ID"
	refuses 'container does not exist' state "$ID"
	run ! kill -0 "$(cat "$WORK/pid")"
	[ ! -s "$WORK/out" ]
}

@test "the process of the pid file is the engine's child and ends as the workload ended" {
	local code
	for code in 0 42; do
		command_is /bin/sh -c "exit $code"
		[ "$(engine)" = "$code 0" ]
		[ "$(status_of "$ID")" = stopped ]
		plain delete "$ID"
	done
	# The first process of a PID namespace is immune to its own signals.
	config 'del(.linux.namespaces[] | select(.type == "pid"))'
	command_is /bin/sh -c 'kill -SEGV $$'
	[ "$(engine)" = '0 11' ]
	plain delete "$ID"
	command_is /bin/sh -c 'echo up; sleep 1000'
	[ "$(engine KILL)" = '0 9' ]
	plain delete "$ID"
	[ -z "$(plain list -q)" ]
	[ -z "$(find . -maxdepth 1 -name 'core*')" ]
}

@test "signals sent to the process of the pid file reach the workload" {
	local pid
	command_is /bin/sh -c 'trap "echo usr1" USR1; trap "echo bye; exit 5" TERM; echo up
		sleep 1000 & while :; do wait; done'
	create
	plain start "$ID"
	pid=$(cat "$WORK/pid")
	eventually grep -q up "$WORK/out"
	kill -USR1 "$pid"
	eventually grep -q usr1 "$WORK/out"
	[ "$(status_of "$ID")" = running ]
	kill -TERM "$pid"
	eventually grep -q bye "$WORK/out"
	eventually has_status "$ID" stopped
	plain delete "$ID"
}

@test "run ends as the workload does, passes signals on and cleans up, or keeps" {
	local before
	before=$(host_footprint)
	command_is /bin/sh -c 'trap "echo bye; exit 9" TERM; echo up; sleep 1000 & while :; do wait; done'
	bulkhead run -b "$BUNDLE" --pid-file "$WORK/pid" "$ID" </dev/null >"$WORK/out" 2>"$WORK/err" &
	eventually grep -q up "$WORK/out"
	[ "$(status_of "$ID")" = running ]
	pkill -TERM -f "^build/bulkhead .*--pid-file $WORK/pid"
	ends_with 9 $!
	[ "$(cat "$WORK/out")" = $'up\nbye' ]
	[ ! -s "$WORK/err" ]
	[ "$(host_footprint)" = "$before" ]

	# Killed by a signal: so is the runtime itself, which a shell shows as 128 and its number.
	config 'del(.linux.namespaces[] | select(.type == "pid"))'
	command_is /bin/sh -c 'kill -INT $$'
	run -130 bulkhead run --keep -b "$BUNDLE" "$ID" </dev/null
	[ "$(status_of "$ID")" = stopped ]
	refuses 'container with given ID already exists' run -b "$BUNDLE" "$ID"
	plain delete "$ID"
	[ "$(host_footprint)" = "$before" ]
}
