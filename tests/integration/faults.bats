#!/usr/bin/env bats
# Mixed containers, some of them on a host whose system calls fail: none is lost, nothing is left, nothing hangs.
# `make soak MINUTES=n` takes its time, `make test` half a minute. SOAK_SEED chooses what happens.
# In single quotes are jq's variables and other shells'.
# shellcheck disable=SC2016

load helpers

: "${SOAK_SECONDS:=30}"
: "${SOAK_SEED:=1}"
: "${SOAK_WORKERS:=2}"

# Calls that start-up, a disk, a network and an end are made of, and how they fail.
CALLS=(openat read write readv writev pread64 preadv2 pwritev2 mmap ioctl socket socketpair connect accept4 sendmsg recvmsg
	pipe2 eventfd2 epoll_ctl timerfd_create memfd_create ftruncate fallocate clone3 mkdirat unlinkat renameat2 mount
	fchown fcntl dup3 io_uring_setup io_uring_enter prlimit64 poll newfstatat getdents64 fsync futex)
ERRORS=(EIO ENOMEM ENOSPC EMFILE)

# one_of WORD...: by chance.
one_of() {
	local words=("$@")
	printf '%s' "${words[RANDOM % $#]}"
}

# network_up WORKER: a namespace with an interface, whose other end answers.
network_up() {
	local name=bhs$1
	ip netns add "$name"
	ip link add "$name" type veth peer name eth0 netns "$name"
	ip addr add "10.97.$1.1/24" dev "$name"
	ip link set "$name" up
	ip -n "$name" addr add "10.97.$1.2/24" dev eth0
	ip -n "$name" link set eth0 up
}

network_down() {
	ip link del "bhs$1" 2>/dev/null || true
	ip netns del "bhs$1" 2>/dev/null || true
}

# limited COMMAND...: it does not hang. Its failure is for the caller to judge.
limited() {
	local code=0
	timeout --foreground -k 5 120 "$@" </dev/null || code=$?
	[ $code != 124 ] && [ $code != 137 ] || { echo "hangs: $*" >&2; exit 99; }
	return $code
}

# sound ID: a container that lives through what engines do with it, and ends in one of the ways they end it.
sound() {
	local id=$1 end
	run_it=(build/bulkhead --log "$WORK/log" --root "$WORK/state")
	limited "${run_it[@]}" run -d -b "$WORK/bundle-$WORKER" --pid-file "$WORK/pid-$id" "$id" >"$WORK/out-$id" 2>&1
	limited "${run_it[@]}" exec "$id" /bin/sh -c 'ping -c 2 -W 10 '"10.97.$WORKER.1"' >/dev/null && echo there' | grep -q there
	limited "${run_it[@]}" pause "$id"
	limited "${run_it[@]}" state "$id" | grep -q paused
	limited "${run_it[@]}" resume "$id"
	limited "${run_it[@]}" exec "$id" /bin/sh -c 'dd if=/dev/urandom of=/mine bs=64k count=20 2>/dev/null; sync; md5sum </mine >/sum
		md5sum </mine | cmp - /sum && rm /mine'
	limited "${run_it[@]}" ps "$id" | grep -q sh
	end=$(one_of TERM KILL vmm delete)
	case $end in
	vmm) kill -KILL "$(cat "$WORK/pid-$id")" ;;
	delete) ;;
	*) limited "${run_it[@]}" kill "$id" "$end" ;;
	esac
	[ "$end" = delete ] || eventually has_status "$id" stopped
	limited "${run_it[@]}" delete --force "$id"
	echo "sound: $end"
}

# faulty ID: the Nth of a system call fails in every thread of runtime and VMM. Whatever comes of it, delete clears it.
faulty() {
	local id=$1 call error n code=0
	call=$(one_of "${CALLS[@]}") error=$(one_of "${ERRORS[@]}") n=$((RANDOM % 30 + 1))
	limited strace -f -qq -o /dev/null -e trace="$call" -e inject="$call:error=$error:when=$n" \
		build/bulkhead --log "$WORK/log" --root "$WORK/state" run -b "$WORK/short-$WORKER" "$id" >"$WORK/out-$id" 2>&1 || code=$?
	limited build/bulkhead --root "$WORK/state" delete --force "$id"
	[ ! -e "$WORK/state/$id" ]
	echo "faulty: $call $error $n: $code"
}

# worker NUMBER END: containers until the time has come.
worker() {
	local i
	set -e
	WORKER=$1 RANDOM=$((SOAK_SEED + $1))
	for ((i = 0; $(date +%s) < $2; i++)); do
		if [ $((RANDOM % 2)) = 0 ]; then
			sound "worker-$1-$i"
		else
			faulty "worker-$1-$i"
		fi
		rm -f "$WORK"/*-"worker-$1-$i"
	done >>"$WORK/rounds"
}

@test "containers under load with faults: none is lost, nothing is left" {
	[ -x "$(command -v strace)" ] || skip "strace is not installed"
	local before end i jobs=()
	echo "SOAK_SEED=$SOAK_SEED" >&3
	config '.root.readonly = false'
	for ((i = 0; i < SOAK_WORKERS; i++)); do
		network_up "$i"
		mkdir "$WORK/bundle-$i" "$WORK/short-$i"
		jq --arg root "$BUNDLE/rootfs" --arg netns "/run/netns/bhs$i" '.root.path = $root
			| (.process.capabilities | .bounding, .effective, .permitted) += ["CAP_NET_RAW"]
			| (.linux.namespaces[] | select(.type == "network")).path = $netns | .process.args = ["/bin/sh", "-c",
			"trap \"exit 3\" TERM; while :; do dd if=/dev/zero of=/load bs=64k count=10 2>/dev/null; sync; sleep 0.2 & wait; done"]' \
			"$BUNDLE/config.json" >"$WORK/bundle-$i/config.json"
		jq '.process.args = ["/bin/sh", "-c", "dd if=/dev/zero of=/load bs=64k count=10 2>/dev/null; sync; cat /load | wc -c"]' \
			"$WORK/bundle-$i/config.json" >"$WORK/short-$i/config.json"
	done
	# What is made once is made: layer, template.
	bulkhead run -b "$WORK/short-0" warm-up </dev/null
	before=$(host_footprint)
	end=$(($(date +%s) + SOAK_SECONDS))
	for ((i = 0; i < SOAK_WORKERS; i++)); do
		worker "$i" "$end" 3>&- &
		jobs+=($!)
	done
	for i in "${jobs[@]}"; do
		ends_with 0 "$i" || { tail -n 4 "$WORK/rounds" >&2; cat "$WORK"/out-worker-* >&2; return 1; }
	done
	awk '{n[$1]++} END {for (kind in n) print kind, n[kind]}' "$WORK/rounds" >&3
	[ -z "$(ls "$WORK/state")" ]
	footprint_is() { [ "$(host_footprint)" = "$1" ]; }
	eventually footprint_is "$before" || { echo "$before"; host_footprint; return 1; } >&2
}

teardown_file() {
	local i
	for ((i = 0; i < SOAK_WORKERS; i++)); do
		network_down "$i"
	done
}
