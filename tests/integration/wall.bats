#!/usr/bin/env bats
# The VMM's jail and filters: what a VMM that was taken over would find (docs/security.md).

load helpers

# field NAME: of the VMM's status in /proc.
field() {
	awk -v name="$1:" '$1 == name { $1 = ""; print substr($0, 2) }' "/proc/$PID/status"
}

@test "a running VMM is in an empty room" {
	local ns fd target
	command_is /bin/sleep 1000
	bulkhead create -b "$BUNDLE" --pid-file "$WORK/pid" "$ID" </dev/null >"$WORK/out" 2>&1
	PID=$(cat "$WORK/pid")
	# No rights, and no way to new ones.
	for field in CapInh CapPrm CapEff CapAmb; do
		[ "$(field "$field")" = 0000000000000000 ]
	done
	[ "$(field NoNewPrivs)" = 1 ]
	# A user of its own.
	[ "$(field Uid)" = "$((0x70000000 + PID)) $((0x70000000 + PID)) $((0x70000000 + PID)) $((0x70000000 + PID))" ]
	[ "$(field Gid)" = "$((0x70000000 + PID)) $((0x70000000 + PID)) $((0x70000000 + PID)) $((0x70000000 + PID))" ]
	[ -z "$(field Groups)" ]
	# One mount, empty and read-only, nobody may look into.
	[ "$(wc -l <"/proc/$PID/mountinfo")" = 1 ]
	grep -q ' / / ro,nosuid,nodev,noexec.* - tmpfs jail ro' "/proc/$PID/mountinfo"
	[ -z "$(ls -A "/proc/$PID/root/")" ]
	[ "$(stat -c %a "/proc/$PID/root/")" = 0 ]
	[ "$(readlink "/proc/$PID/cwd")" = / ]
	for ns in mnt ipc uts; do
		[ "$(readlink "/proc/$PID/ns/$ns")" != "$(readlink /proc/self/ns/$ns)" ]
	done
	# Not dumpable: what /proc shows of it belongs to root.
	[ "$(stat -c %u "/proc/$PID/environ")" = 0 ]
	grep -q '^Max core file size *0 *0 ' "/proc/$PID/limits"
	[ ! -s "/proc/$PID/environ" ]
	# Of files it has its disks, its log and the streams; KVM; and what has no path.
	for fd in /proc/"$PID"/fd/*; do
		target=$(readlink "$fd")
		case $target in
		/dev/null | /dev/kvm | "$WORK"/out | "$WORK"/log | "$WORK/state/$ID/oom" | /var/lib/bulkhead/*' (deleted)' | \
			anon_inode:* | socket:* | /memfd:guest-memory*) ;;
		*) echo "what is $target?" >&2; return 1 ;;
		esac
	done
	bulkhead start "$ID"
	# Root can end it, whatever its user.
	bulkhead delete --force "$ID"
}

@test "descriptors that nobody named are closed, layers are left out by name only" {
	exec {leak}</etc/passwd
	BULKHEAD_RELAX=none run ! bulkhead run -b "$BUNDLE" "$ID"
	[[ $output = *'no such layer of the jail in "none"'* ]]
	command_is /bin/sleep 1000
	BULKHEAD_RELAX=user,namespaces bulkhead create -b "$BUNDLE" --pid-file "$WORK/pid" "$ID" </dev/null >"$WORK/out" 2>&1
	PID=$(cat "$WORK/pid")
	[ "$(field Uid)" = "0 0 0 0" ]
	[ "$(field NoNewPrivs)" = 1 ]
	[ "$(readlink "/proc/$PID/ns/mnt")" = "$(readlink /proc/self/ns/mnt)" ]
	run ! grep -q passwd <<<"$(readlink /proc/"$PID"/fd/*)"
	grep -q 'level=warning.*layers are left out' "$WORK/log"
	bulkhead delete --force "$ID"
	exec {leak}<&-
}

# traced NAME COMMAND...: all its system calls, to $WORK/NAME.trace.
traced() {
	local name=$1
	shift
	timeout --foreground -k 5 300 strace -f -X raw -s 64 -o "$WORK/$name.trace" "$@"
}

@test "every rule of the filters is used, and no call is made without one" {
	[ -x "$(command -v strace)" ] || skip "strace is not installed"
	build/filters table >"$WORK/table" || skip "the filters' table was not built"
	[ "$(cut -f 2 "$WORK/table" | sort -u | wc -l)" -lt 50 ]
	local large
	large=$(head -c 300000 /dev/zero | tr '\0' x)
	printf '%s' "$large" >"$WORK/large"
	# The first of a pid namespace would be deaf to most signals. Streams of three kinds, a disk that is written and trimmed, two vCPUs, a CREATE that makes buffers grow, and an
	# end by a signal that the VMM itself ignores.
	config 'del(.linux.namespaces[] | select(.type == "pid")) | .root.readonly = false | .annotations["io.bulkhead.vcpus"] = "2" | .annotations.large = $large |
		.process.capabilities |= map_values(. + ["CAP_SYS_ADMIN"]) |
		.mounts += [{destination: "/share", type: "bind", source: $work, options: ["rbind"]}]' \
		--rawfile large "$WORK/large" --arg work "$BUNDLE"
	command_is /bin/sh -c 'cat; echo out; echo err >&2; dd if=/dev/zero of=/file bs=64k count=32 2>/dev/null
		sync; echo 3 >/proc/sys/vm/drop_caches; cat /file >/dev/null; rm /file; sync; fstrim /; echo running
		exec sleep 1000'
	echo in | traced uring build/bulkhead --debug --log "$WORK/log" --root "$WORK/state" run -b "$BUNDLE" "$ID" \
		>"$WORK/out" 2> >(cat >"$WORK/err") &
	RUN=$!
	LIMIT=300 eventually grep -q running "$WORK/out"
	bulkhead state "$ID" >/dev/null
	perl -MIO::Socket::UNIX -e '
		my $socket = IO::Socket::UNIX->new(Peer => shift) or die; print $socket "CONNECT 1234\n"; $socket->flush;
		my $line = <$socket>; exit(defined $line)' "$WORK/state/$ID/vsock.sock"
	bulkhead kill "$ID" PIPE
	ends_with $((128 + 13)) $RUN
	traced plain build/tests/without io_uring_setup -- build/bulkhead --log "$WORK/log" --root "$WORK/state" \
		run -b "$BUNDLE" "$ID" </dev/null >"$WORK/out" 2>&1 &
	RUN=$!
	LIMIT=300 eventually grep -q running "$WORK/out"
	bulkhead kill "$ID" KILL
	ends_with $((128 + 9)) $RUN
	tests/filters-used "$WORK/table" "$WORK"/*.trace
}
