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
		/var/lib/bulkhead/layers/*/image | /var/lib/bulkhead/templates/*)
			# Shared by all VMs: it must not be writable. The last octal digit is O_RDONLY's.
			grep -q '^flags:.*0$' "/proc/$PID/fdinfo/${fd##*/}"
			;;
		*) echo "what is $target?" >&2; return 1 ;;
		esac
	done
	bulkhead start "$ID"
	# Root can end it, whatever its user.
	bulkhead delete --force "$ID"
}

# has FILE TEXT WHERE...: readelf's view of FILE has TEXT.
has() {
	local file=$1 text=$2
	shift 2
	readelf -W "$@" "$file" | grep -q -- "$text" || { echo "$file: no $text" >&2; return 1; }
}

@test "the binaries are hardened" {
	[ -x "$(command -v readelf)" ] || skip "readelf is not installed"
	local file
	for file in build/bulkhead build/bulkhead-vmm build/bulkhead-unpack; do
		has "$file" 'Flags: .*NOW.*PIE' -d
		has "$file" GNU_RELRO -l
	done
	for file in build/bulkhead build/bulkhead-unpack; do
		has "$file" __stack_chk_fail --dyn-syms
		has "$file" '_chk@' --dyn-syms
	done
	# Static, so the C library's own checks are in it too: what counts are those of our files.
	has build/obj/vmm/control.o __stack_chk_fail -s
	has build/obj/vmm/supervisor.o '__[a-z]*_chk$' -s
	# The agent is static, and at a fixed address in its VM. None has a stack, or any memory, to write and run code in.
	for file in build/bulkhead build/bulkhead-vmm build/bulkhead-unpack build/guest/agent; do
		[ -e "$file" ] || continue
		has "$file" 'GNU_STACK .* RW ' -l
		run ! grep -q 'LOAD.* RWE' <<<"$(readelf -Wl "$file")"
	done
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
	[ "$(cut -f 2 "$WORK/table" | sort -u | wc -l)" -lt 45 ]
	local large run link=bhw$$
	large=$(head -c 300000 /dev/zero | tr '\0' x)
	printf '%s' "$large" >"$WORK/large"
	# A network: with one end of a pair of interfaces in the container's namespace.
	ip netns add "$link"
	ip link add "$link" type veth peer name eth0 netns "$link"
	ip addr add 10.98.0.1/24 dev "$link"
	ip link set "$link" up
	ip -n "$link" addr add 10.98.0.2/24 dev eth0
	ip -n "$link" link set eth0 up
	# The first of a pid namespace would be deaf to most signals. Streams of three kinds, a disk that is written,
	# frames, a shared folder, two vCPUs, a CREATE that makes buffers grow, and an end by a signal that the VMM itself ignores.
	config 'del(.linux.namespaces[] | select(.type == "pid" or .type == "network")) | .root.readonly = false |
		.linux.namespaces += [{type: "network", path: $netns}] |
		.annotations["io.bulkhead.vcpus"] = "2" | .annotations.large = $large |
		(.process.capabilities | .bounding, .effective, .permitted) += ["CAP_NET_RAW"] |
		.mounts += [{destination: "/share", type: "bind", source: $work, options: ["rbind"]}]' \
		--rawfile large "$WORK/large" --arg netns "/run/netns/$link" --arg work "$BUNDLE"
	command_is /bin/sh -c 'cat; echo out; echo err >&2; dd if=/dev/zero of=/file bs=64k count=32 2>/dev/null
		sync; echo 3 >/proc/sys/vm/drop_caches; cat /file >/dev/null; rm /file; sync
		ping -c 2 -W 5 10.98.0.1; echo running; exec sleep 1000'
	echo in | traced uring build/bulkhead --debug --log "$WORK/log" --root "$WORK/state" run -b "$BUNDLE" "$ID" \
		>"$WORK/out" 2> >(cat >"$WORK/err") &
	run=$!
	eventually grep -q running "$WORK/out"
	grep -q '2 packets received' "$WORK/out"
	bulkhead state "$ID" >/dev/null
	perl -MIO::Socket::UNIX -e '
		my $socket = IO::Socket::UNIX->new(Peer => shift) or die; print $socket "CONNECT 1234\n"; $socket->flush;
		my $line = <$socket>; exit(defined $line)' "$WORK/state/$ID/vsock.sock"
	bulkhead kill "$ID" PIPE
	ends_with $((128 + 13)) $run
	# The second time disks and NIC have threads of their own, and vhost-net serves the NIC, where there is one, until
	# its tap is taken away.
	if modprobe vhost_net && [ -e /dev/vhost-net ]; then
		echo '{"net-vhost": "on", "io-threads": "own"}' >"$WORK/settings"
	else
		echo '{"io-threads": "own"}' >"$WORK/settings"
		sed -i '/vhost-net: /d' "$WORK/table"
	fi
	command_is /bin/sh -c 'dd if=/dev/zero of=/file bs=64k count=32; sync; ping -c 2 -W 5 10.98.0.1; echo running
		while [ "$(cat /sys/class/net/eth0/carrier)" = 1 ]; do sleep 0.1; done; exit 3'
	traced plain build/tests/without io_uring_setup -- build/bulkhead --config "$WORK/settings" --debug --log "$WORK/log" \
		--root "$WORK/state" run -b "$BUNDLE" "$ID" </dev/null >"$WORK/out" 2>&1 &
	run=$!
	eventually grep -q running "$WORK/out"
	grep -q '2 packets received' "$WORK/out"
	ip -n "$link" link del bulkhead0
	ends_with 3 $run
	ip link del "$link"
	ip netns del "$link"
	tests/filters-used "$WORK/table" "$WORK"/*.trace
}
