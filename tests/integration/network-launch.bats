#!/usr/bin/env bats
# Networks without an engine: the host's through passt, and what `launch --net` is given.
# In single quotes are the guests' shells' and jq's variables.
# shellcheck disable=SC2016

load helpers
load network

@test "user mode: the host through passt, and a published port" {
	local i
	[ -x "$(command -v passt)" ] || skip "passt is not installed"
	ip route add default via 10.99.0.254 dev bhbr0
	config '.annotations["io.bulkhead.net"] = "user" | .annotations["io.bulkhead.publish"] = "18080:99999"'
	refuses 'is not HOST:GUEST' run -b "$BUNDLE" "$ID"
	config '.annotations["io.bulkhead.publish"] = "18080:7000"'
	mkdir "$WORK/www"
	head -c 3000000 /dev/urandom >"$WORK/www/file"
	busybox httpd -f -p 127.0.0.1:8099 -h "$WORK/www" &
	command_is /bin/sh -c 'ip -o addr show eth0; wget -q -O - http://10.0.2.2:8099/file | md5sum; echo ready; exec nc -ll -p 7000 -e /bin/cat'
	bulkhead run -d -b "$BUNDLE" "$ID" </dev/null >"$WORK/out" 2>&1
	eventually grep -q ready "$WORK/out"
	kill %%
	grep -q '10.0.2.15/24' "$WORK/out"
	grep -q "$(md5sum <"$WORK/www/file" | cut -c 1-32)" "$WORK/out"
	for i in 1 2 3; do answers "number $i" 127.0.0.1 18080; done
	# It ends with the VM.
	bulkhead delete --force "$ID"
	eventually none_runs passt
	ip route del default via 10.99.0.254 dev bhbr0
}

@test "launch --net: a namespace's, passt's with a port, and what it is not" {
	launch() {
		build/bulkhead --root "$WORK/state" launch "$@" </dev/null
	}
	wire c1 2
	output=$(launch --rm --net ns=/run/netns/c1 "$BUNDLE/rootfs" -- /bin/sh -c 'ip -o addr; ping -c 1 -w 20 10.99.0.1 && echo there')
	has_line '.* eth0 .*inet 10.99.0.2/24 .*'
	has_line there
	output=$(launch --rm "$BUNDLE/rootfs" -- /bin/ls /sys/class/net)
	[ "$output" = lo ]
	run -1 launch --net bridge "$BUNDLE/rootfs"
	[[ $output = *'--net bridge: is not none, user, tap=NAME or ns=/PATH'* ]]
	run -1 launch -p 1:1 "$BUNDLE/rootfs"
	[[ $output = *'-p 1:1: ports are published with --net user alone'* ]]
	[ -x "$(command -v passt)" ] || return 0
	ip route add default via 10.99.0.254 dev bhbr0
	launch --rm --net user -p 18082:7000 "$BUNDLE/rootfs" -- /bin/sh -c 'echo ready; nc -l -p 7000 -e /bin/cat' >"$WORK/out" 2>&1 3>&- &
	eventually grep -q ready "$WORK/out"
	answers hello 127.0.0.1 18082
	wait $!
	ip route del default via 10.99.0.254 dev bhbr0
}

@test "launch --net tap=: a tap of the host's with what is said of it, and what it is not" {
	local script='ip -o addr show eth0; cat /sys/class/net/eth0/address; ip route; ping -c 1 -w 20 10.99.0.1; ping6 -c 1 -w 20 fd99::1'
	launch() {
		build/bulkhead --root "$WORK/state" launch --rm ${3:+--name "$3"} --net "$1" "$BUNDLE/rootfs" -- /bin/sh -c "${2:-true}" </dev/null
	}
	run -1 launch tap=bhtap0
	[[ $output = *'tap=bhtap0: there is no such interface here: ip tuntap add bhtap0 mode tap'* ]]
	run -1 launch tap=bhbr0
	[[ $output = *'tap=bhbr0: that interface is no tap'* ]]
	run -1 launch tap=bhbr0,ip=10.99.0.7
	[[ $output = *'is not mac=ADDRESS, ip=ADDRESS/PREFIX or gw=ADDRESS'* ]]
	ip tuntap add bhtap0 mode tap
	ip link set bhtap0 master bhbr0 mtu 1400 up
	output=$(launch tap=bhtap0,mac=02:00:00:00:99:07,ip=10.99.0.7/24,ip=fd99::7/64,gw=10.99.0.1 "$script")
	has_line '.* eth0 .*inet 10.99.0.7/24 .*'
	has_line 02:00:00:00:99:07
	has_line 'default via 10.99.0.1 dev eth0 .*'
	[ "$(grep -c '1 packets received' <<<"$output")" = 2 ]
	# Without an address of its own to the card it has one; one VM at a time.
	launch tap=bhtap0,ip=10.99.0.7/24 'ping -c 1 -w 20 10.99.0.1; cat /sys/class/net/eth0/mtu; sleep 1000' held >"$WORK/out" 3>&- &
	eventually grep -qx 1400 "$WORK/out"
	grep -q '1 packets received' "$WORK/out"
	run -1 launch tap=bhtap0
	[[ $output = *'tap=bhtap0: somebody else has that tap open'* ]]
	bulkhead kill held KILL
	ends_with 137 $!
	# It stays the host's.
	ip link show bhtap0
	ip link del bhtap0
	ip tuntap add bhtap0 mode tap multi_queue
	ip link set bhtap0 master bhbr0 up
	output=$(launch tap=bhtap0,ip=10.99.0.7/24,ip=fd99::7/64 "$script")
	[ "$(grep -c '1 packets received' <<<"$output")" = 2 ]
	ip link del bhtap0
}
