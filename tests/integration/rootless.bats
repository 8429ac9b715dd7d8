#!/usr/bin/env bats
# An ordinary user who may open /dev/kvm: VMs without root, and one line for what needs it.

load helpers

# Of a group that has the device; bats' own folders are root's alone.
setup_file() {
	[ "$(id -u)" = 0 ] || skip "root becomes the user here"
	command -v setpriv >/dev/null || skip "setpriv is not installed"
	[ -z "${LAB:-}" ] || chmod 660 /dev/kvm
	[[ $(stat -c %A /dev/kvm) = ????rw* ]] || skip "no group has /dev/kvm"
	export PLACE=/dev/shm/bulkhead-rootless
	mkdir -p $PLACE/run $PLACE/home
	tests/make-bundle $PLACE/bundle /bin/true
	chown -R 1500:1500 $PLACE
}

teardown_file() {
	rm -rf "${PLACE:?}"
}

# as_user ARGUMENT...: bulkhead's, by somebody who is only in the device's group.
as_user() {
	timeout --foreground -k 5 90 setpriv --reuid 1500 --regid 1500 --groups "$(stat -c %g /dev/kvm)" env -i PATH="$PATH" \
		HOME=$PLACE/home XDG_RUNTIME_DIR=$PLACE/run build/bulkhead "$@" </dev/null
}

launch() {
	as_user launch --rm "$@"
}

# says TEXT ARGUMENT...: that and nothing else, as an error.
says() {
	local text=$1
	shift
	run -1 "$@"
	echo "$output"
	[ "${#lines[@]}" = 1 ]
	[[ $output = *"$text"* ]]
}

@test "an ordinary user launches VMs: none's network, passt's, its own folders, and the workload's exit code" {
	run -5 launch $PLACE/bundle/rootfs -- /bin/sh -c 'uname -r; ls /sys/class/net; exit 5'
	echo "$output"
	[[ $output = 6.12.*$'\nlo' ]]
	[ -d $PLACE/run/bulkhead ]
	[ -d $PLACE/home/.local/share/bulkhead/layers ]
	[ -x "$(command -v passt)" ] || return 0
	ip link add bhr0 type dummy
	ip addr add 10.96.0.1/24 dev bhr0
	ip link set bhr0 up
	ip route add default via 10.96.0.254 dev bhr0
	run -0 launch --net user $PLACE/bundle/rootfs -- /bin/sh -c 'ip -o addr show eth0'
	ip link del bhr0
	echo "$output"
	[[ $output = *10.0.2.15/24* ]]
	eventually none_runs passt
}

@test "an ordinary user runs a bundle; what needs root is refused by one line" {
	as_user run -b $PLACE/bundle one
	[ -z "$(as_user list -q)" ]
	says 'only root can share files with a VM' launch -v $PLACE/home:/mnt $PLACE/bundle/rootfs
	says 'make the control group' as_user --cgroup-manager cgroupfs run -b $PLACE/bundle two
	says 'open the network namespace' launch --net ns=/proc/1/ns/net $PLACE/bundle/rootfs
	[ -z "$(as_user list -q)" ]
	[ -z "$(ls $PLACE/home/.local/share/bulkhead/launch)" ]
}
