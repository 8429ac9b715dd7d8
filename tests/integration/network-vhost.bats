#!/usr/bin/env bats
# NICs that the host's vhost-net serves (net-vhost), where there is one; and what is said where not.
# In single quotes are the guests' shells' and jq's variables.
# shellcheck disable=SC2016

load helpers
load network

# vhost_is VALUE: the annotation, on a host whose settings let containers have it.
vhost_is() {
	echo '{"annotations": ["net", "net-rate", "net-vhost"]}' >"$WORK/settings"
	bulkhead() {
		timeout --foreground -k 5 90 build/bulkhead --config "$WORK/settings" --debug --log "$WORK/log" --root "$WORK/state" "$@"
	}
	plain() {
		timeout --foreground -k 5 90 build/bulkhead --config "$WORK/settings" --root "$WORK/state" "$@"
	}
	config '.annotations["io.bulkhead.net-vhost"] = $value' --arg value "$1"
}

# without_vhost_net ARGUMENT...: bulkhead where there is no /dev/vhost-net.
without_vhost_net() {
	mkdir -p "$WORK/dev"
	cp -an /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /dev/kvm /dev/net "$WORK/dev"
	unshare -m bash -c 'mount --bind "$1/dev" /dev && shift && exec "$@"' - "$WORK" \
		build/bulkhead --config "$WORK/settings" --debug --log "$WORK/log" --root "$WORK/state" "$@" </dev/null
}

@test "vhost-net: on is served by it, or refused in one line; auto goes without; off is off" {
	local with='level=debug msg="net0: vhost-net serves it"'
	config '.annotations["io.bulkhead.net-vhost"] = "on"'
	refuses 'net-vhost: this host'"'"'s settings do not allow it' run -b "$BUNDLE" "$ID"
	vhost_is yes
	refuses 'is not off, auto or on' run -b "$BUNDLE" "$ID"
	vhost_is on
	config '.annotations["io.bulkhead.net-rate"] = "rx-bytes=1M"'
	refuses 'net-vhost=on: vhost-net keeps no net-rate' run -b "$BUNDLE" "$ID"
	config 'del(.annotations["io.bulkhead.net-rate"]) | .annotations["io.bulkhead.net"] = "user"'
	refuses 'net-vhost=on: with net=user there is no tap for it' run -b "$BUNDLE" "$ID"
	config 'del(.annotations["io.bulkhead.net"])'
	wire c1 2
	bundle_for c1 true
	run -1 without_vhost_net create -b "$WORK/c1" c1
	[ "${#lines[@]}" = 1 ]
	[[ $output = *"net-vhost: open /dev/vhost-net (is the host's module vhost_net loaded?): No such file or directory"* ]]
	vhost_is auto
	bundle_for c1 'ping -c 1 -w 20 10.99.0.1; ping6 -c 1 -w 20 fd99::1'
	output=$(without_vhost_net run -b "$WORK/c1" c1)
	[ "$(grep -c '1 packets received' <<<"$output")" = 2 ]
	grep -q 'the VMM serves the NIC itself' "$WORK/log"
	vhost_is off
	run_for c1 'ping -c 1 -w 20 10.99.0.1'
	run ! grep -q "$with" "$WORK/log"
	modprobe vhost_net && [ -e /dev/vhost-net ] || skip "there is no vhost-net here"
	# What is loaded is served by neither with rates.
	vhost_is auto
	config '.annotations["io.bulkhead.net-rate"] = "rx-bytes=1M"'
	run_for c1 'ping -c 1 -w 20 10.99.0.1'
	run ! grep -q "$with" "$WORK/log"
	config 'del(.annotations["io.bulkhead.net-rate"])'
	run_for c1 'ping -c 1 -w 20 10.99.0.1'
	grep -q "$with" "$WORK/log"
}

@test "vhost-net: bytes both ways, in its control group; a checkpoint is refused; taps come and go" {
	modprobe vhost_net && [ -e /dev/vhost-net ] || skip "there is no vhost-net here"
	vhost_is on
	wire c1 2
	start_for c1 'nc -ll -p 7000 -e /bin/cat & echo ready; wait'
	head -c 4000000 /dev/urandom >"$WORK/sent"
	socat -t 60 "FILE:$WORK/sent!!CREATE:$WORK/back" TCP:10.99.0.2:7000
	cmp "$WORK/sent" "$WORK/back"
	ping -c 1 -w 20 -s 1400 10.99.0.2
	ping -6 -c 1 -w 20 fd99::2
	grep -q 'net0: vhost-net serves it' "$WORK/log"
	# Whose work it is, is in the container's control group.
	local vmm group
	vmm=$(bulkhead state c1 | jq -r .pid)
	group=$(cat "/proc/$vmm/cgroup")
	for i in $(pgrep "^vhost-$vmm"); do [ "$(cat "/proc/$i/cgroup")" = "$group" ]; done
	refuses 'net0: a link cannot be carried' checkpoint --image-path "$WORK/image" c1
	[ "$(echo again | socat -t 20 - TCP:10.99.0.2:7000)" = again ]
	plug eth1 97
	eventually in_guest_is '10.97.0.2/24' ip addr
	in_guest_is '1 packets received' ping -c 1 -w 20 10.97.0.1
	grep -q 'net1: vhost-net serves it' "$WORK/log"
	ip -n c1 link del bulkhead0
	eventually grep -q 'net0: the interface behind it is lost' "$WORK/log"
	in_guest_is '1 packets received' ping -c 1 -w 20 10.97.0.1
	ip link del bh-eth1
	eventually not_in_guest eth1 ls /sys/class/net
	bulkhead delete --force c1
	[ -z "$(pgrep "^vhost-$vmm")" ]
}

@test "vhost-net: rings that lie, resets and rates, on the host's own (build/tests/unit)" {
	modprobe vhost_net && [ -e /dev/vhost-net ] || skip "there is no vhost-net here"
	CK_RUN_SUITE=net_vhost build/tests/unit
}

@test "launch --net tap=: by vhost-net where the host's settings say so" {
	modprobe vhost_net && [ -e /dev/vhost-net ] || skip "there is no vhost-net here"
	ip tuntap add bhtap0 mode tap
	ip link set bhtap0 master bhbr0 up
	echo '{"net-vhost": "on"}' >"$WORK/settings"
	head -c 1000000 /dev/urandom >"$BUNDLE/rootfs/sent"
	socat -u TCP-LISTEN:7777,bind=10.99.0.1 "OPEN:$WORK/got,creat" 3>&- &
	build/bulkhead --config "$WORK/settings" --debug --log "$WORK/log" --root "$WORK/state" \
		launch --rm --net tap=bhtap0,ip=10.99.0.7/24,ip=fd99::7/64 "$BUNDLE/rootfs" -- /bin/sh -c '
			ping -c 1 -w 20 -s 1400 10.99.0.1; ping6 -c 1 -w 20 fd99::1
			nc 10.99.0.1 7777 </sent' </dev/null >"$WORK/out" 2>&1
	wait $!
	cmp "$BUNDLE/rootfs/sent" "$WORK/got"
	[ "$(grep -c '1 packets received' "$WORK/out")" = 2 ]
	grep -q 'net0: vhost-net serves it' "$WORK/log"
	ip link del bhtap0
}
