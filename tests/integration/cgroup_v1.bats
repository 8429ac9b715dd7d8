#!/usr/bin/env bats
# The container's process on a host whose control groups are v1, and v1 with v2 beside it.
# In single quotes are jq's variables and other shells'.
# shellcheck disable=SC2016

load helpers

CGROUPS=/sys/fs/cgroup

# as_v1 SCRIPT: runs it where control groups are v1 alone ($1 none) or with an empty v2 beside them ($1 hybrid).
as_v1() {
	local controller
	for controller in $(cat "$CGROUPS/cgroup.subtree_control"); do
		echo "-$controller" >"$CGROUPS/cgroup.subtree_control" || return
	done
	unshare --mount --propagation private bash -e -c '
		umount /sys/fs/cgroup
		mount -t tmpfs cgroup /sys/fs/cgroup
		for controllers in cpu,cpuacct cpuset pids freezer memory; do
			mkdir /sys/fs/cgroup/$controllers
			mount -t cgroup -o $controllers cgroup /sys/fs/cgroup/$controllers
		done
		mkdir /sys/fs/cgroup/systemd
		mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
		if [ "$1" = hybrid ]; then
			mkdir /sys/fs/cgroup/unified
			mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
		fi
		eval "$2"' - "$@"
}

v2_again() {
	local controller
	for controller in $(cat "$CGROUPS/cgroup.controllers"); do
		echo "+$controller" >"$CGROUPS/cgroup.subtree_control"
	done
}

# In a file and so in a lab of its own: v1 gets the memory controller only while no group of v2 has ever had memory, and v2 does
# not have it back at once.
@test "cgroup v1, and v1 with v2 beside it" {
	[ -n "${LAB:-}" ] || skip "not on a machine that others use"
	config '.linux.cgroupsPath = "/engine/one" | .linux.resources += {memory: {limit: 134217728},
		cpu: {quota: 50000, period: 100000, shares: 512, cpus: "0"}}'
	# shellcheck disable=SC2030
	export BUNDLE ID WORK
	cat >"$WORK/on-v1" <<-'EOF'
		b="build/bulkhead --log $WORK/log --root $WORK/state"
		$b create -b "$BUNDLE" --pid-file "$WORK/pid" "$ID" </dev/null >"$WORK/out" 2>&1
		cp "/proc/$(cat "$WORK/pid")/cgroup" "$WORK/cgroup-$1"
		cd /sys/fs/cgroup
		cat memory/engine/one/memory.limit_in_bytes cpu,cpuacct/engine/one/cpu.{shares,cfs_quota_us} \
			cpuset/engine/one/cpuset.{cpus,mems} >"$WORK/limits-$1"
		cd "$OLDPWD"
		$b start "$ID"
		$b kill "$ID" KILL || true
		$b delete --force "$ID"
		find /sys/fs/cgroup -name one >"$WORK/left-$1"
		rmdir /sys/fs/cgroup/*/engine
	EOF
	command_is /bin/sleep 1000
	as_v1 none '. "$WORK/on-v1"'
	as_v1 hybrid '. "$WORK/on-v1"'
	v2_again
	cat "$WORK"/limits-*
	for kind in none hybrid; do
		[ "$(cat "$WORK/limits-$kind")" = $'252706816\n512\n50000\n0\n0' ]
		[ "$(grep -c ':/engine/one$' "$WORK/cgroup-$kind")" = $([ $kind = none ] && echo 6 || echo 7) ]
		[ ! -s "$WORK/left-$kind" ]
	done
}
