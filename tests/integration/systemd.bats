#!/usr/bin/env bats
# --systemd-cgroup with a real systemd: one of its own, in a pid namespace, whose only services are D-Bus and the test.
# In single quotes are other shells' variables.
# shellcheck disable=SC2016

load helpers

# under_systemd SCRIPT: its output goes to $WORK/inside.
under_systemd() {
	local units=/run/systemd/system
	[ -x /lib/systemd/systemd ] || skip 'systemd is not installed'
	[ ! -e /run/systemd/private ] || skip 'this host has a systemd, which is not ours to use'
	mkdir -p $units
	printf '%s\n' "set -ex; cd '$PWD'; WORK='$WORK' BUNDLE='$BUNDLE'" "$1" >"$WORK/script"
	cat >$units/inside.target <<-EOF2
		[Unit]
		Requires=dbus.socket inside.service
		AllowIsolate=yes
	EOF2
	# The end of the service is systemd's.
	cat >$units/inside.service <<-EOF2
		[Unit]
		DefaultDependencies=no
		Requires=dbus.socket
		After=dbus.socket
		[Service]
		Type=oneshot
		ExecStart=/bin/bash $WORK/script
		StandardOutput=file:$WORK/inside
		StandardError=file:$WORK/inside
		ExecStopPost=/bin/kill -RTMIN+13 1
	EOF2
	# D-Bus alone, without all that a machine does at its start: that empties /tmp among others.
	cat >$units/dbus.socket <<-EOF2
		[Unit]
		DefaultDependencies=no
		[Socket]
		ListenStream=/run/dbus/system_bus_socket
	EOF2
	cat >$units/dbus.service <<-EOF2
		[Unit]
		DefaultDependencies=no
		Requires=dbus.socket
		[Service]
		Type=notify
		NotifyAccess=main
		ExecStart=$(command -v dbus-daemon) --system --address=systemd: --nofork --nopidfile --systemd-activation
	EOF2
	container=lab timeout -k 5 120 unshare --pid --mount --cgroup --fork --mount-proc \
		/lib/systemd/systemd --system --unit=inside.target --log-target=null --show-status=no </dev/null || true
	rm -r $units
	cat "$WORK/inside"
}

@test "--systemd-cgroup: the VMM is in the scope that cgroupsPath names, with its limits; delete stops it" {
	config '.linux.cgroupsPath = "system.slice:bulk:one"
		| .linux.resources += {memory: {limit: 134217728}, cpu: {quota: 50000, period: 100000, shares: 512}}'
	command_is /bin/sh -c 'echo hello; sleep 1000'
	under_systemd '
		b="build/bulkhead --log $WORK/log --root $WORK/state"
		$b --systemd-cgroup create -b "$BUNDLE" --pid-file "$WORK/pid" c1 </dev/null >"$WORK/out" 2>&1
		cat "/proc/$(cat "$WORK/pid")/cgroup"
		systemctl show bulk-one.scope
		systemctl daemon-reload
		cd /sys/fs/cgroup/system.slice/bulk-one.scope
		grep . memory.max cpu.max cpu.weight
		cd "$OLDPWD"
		$b start c1
		$b --systemd-cgroup create -b "$BUNDLE" c2 </dev/null 2>&1 || echo refused
		$b delete --force c1
		systemctl show bulk-one.scope | grep LoadState
		ls /sys/fs/cgroup/system.slice/bulk-one.scope 2>&1 || true
		jq ".linux.cgroupsPath = \"/a/path\"" "$BUNDLE/config.json" >"$WORK/config"
		mv "$WORK/config" "$BUNDLE/config.json"
		$b --systemd-cgroup create -b "$BUNDLE" c3 </dev/null 2>&1 || true
		$b list -q
		echo the end'
	grep -qx '0::/system.slice/bulk-one.scope' "$WORK/inside"
	for line in Slice=system.slice Delegate=yes 'Description=bulkhead container c1' ActiveState=active \
		MemoryMax=252706816 CPUWeight=20 CPUQuotaPerSecUSec=500ms memory.max:252706816 'cpu.max:50000 100000' \
		cpu.weight:20 refused LoadState=not-found; do
		grep -qx "$line" "$WORK/inside"
	done
	grep -q 'systemd: bulk-one.scope: Unit bulk-one.scope was already loaded or has a fragment file' "$WORK/inside"
	grep -q 'linux.cgroupsPath: "/a/path" is not SLICE:PREFIX:NAME' "$WORK/inside"
	grep -q "cannot access '/sys/fs/cgroup/system.slice/bulk-one.scope'" "$WORK/inside"
	[ "$(tail -n 2 "$WORK/inside")" = $'+ echo the end\nthe end' ]
}
