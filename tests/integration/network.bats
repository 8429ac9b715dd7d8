#!/usr/bin/env bats
# The network namespace of a container and what the guest has of it.
# In single quotes are the guests' shells' and jq's variables.
# shellcheck disable=SC2016

load helpers
load network

: "${NET_LARGE:=2}"   # datagrams of 60,000 bytes to each of ten addresses and back, and as much by TCP: 4500 are 10 GiB
: "${NET_SMALL:=100}" # of 64 bytes

@test "the guest has what is in the namespace" {
	wire c1 2 1400
	# Two interfaces, whose names and numbers are not in the same order.
	ip link add bh-c1b mtu 9000 type veth peer name data0 mtu 9000 netns c1
	ip link set bh-c1b master bhbr0 up
	ip netns exec c1 bash -c '
		ip addr add 10.98.0.2/24 dev data0
		ip addr add 10.99.0.22/32 dev eth0
		ip link set data0 up
		ip route add 10.77.0.0/16 via 10.98.0.9 dev data0 metric 7 mtu 1300
		ip route add 10.78.0.0/16 nexthop via 10.98.0.9 dev data0 nexthop via 10.99.0.9 dev eth0
		ip route add default via 10.98.0.9 dev data0 table 100
		ip rule add from 10.98.0.2 table 100 priority 500
		ip neigh add 10.99.0.77 lladdr 02:00:00:00:00:77 dev eth0 nud permanent
		ip -o link show eth0; ip -o link show data0' >"$WORK/links"
	ip addr add 10.98.0.1/24 dev bhbr0
	output=$(run_for c1 '
		ip -o addr; ip route; ip -6 route; ip route show table 100; ip rule; ip neigh
		for i in eth0 data0; do echo "$i $(cat /sys/class/net/$i/address) $(cat /sys/class/net/$i/mtu)"; done
		ping -c 2 -w 20 10.99.0.1 && ping6 -c 2 -w 20 fd99::1 && ping -c 1 -w 20 -s 1372 10.99.0.1 && echo small
		ping -c 1 -w 20 -s 8972 10.98.0.1 && ping -c 1 -w 20 -s 20000 10.98.0.1 && echo jumbo
		ls /sys/class/net | wc -l
		cat /sys/class/net/eth0/threaded /sys/class/net/data0/threaded | tr -d "\n"; echo " of 2 by threads"')
	ip addr del 10.98.0.1/24 dev bhbr0
	has_line "eth0 $(grep -o 'eth0.*link/ether [^ ]*' "$WORK/links" | grep -o '..:..:..:..:..:..') 1400"
	has_line "data0 $(grep -o 'data0.*link/ether [^ ]*' "$WORK/links" | grep -o '..:..:..:..:..:..') 9000"
	has_line '.* eth0 .*inet 10.99.0.2/24 .*'
	has_line '.* eth0 .*inet 10.99.0.22/32 .*'
	has_line '.* eth0 .*inet6 fd99::2/64 .*'
	has_line '.* data0 .*inet 10.98.0.2/24 .*'
	has_line 'default via 10.99.0.1 dev eth0 .*'
	has_line 'default via fd99::1 dev eth0 .*'
	has_line '10.77.0.0/16 via 10.98.0.9 dev data0 .*metric 7.*'
	has_line '10.78.0.0/16 .*'
	has_line 'default via 10.98.0.9 dev data0 .*'
	has_line '500:.*from 10.98.0.2 lookup 100.*'
	has_line '10.99.0.77 dev eth0 lladdr 02:00:00:00:00:77 .*PERMANENT.*'
	has_line small
	has_line jumbo
	has_line 3
	has_line '11 of 2 by threads'
}

@test "VMs, a namespace container and the host talk with each other" {
	local i
	wire c1 2
	wire c2 3
	wire c3 4
	start_for c1 '
		dd if=/dev/urandom of=/dev/shm/file bs=1M count=8 2>/dev/null; md5sum </dev/shm/file >/dev/shm/sum
		nc -ll -p 7000 -e /bin/cat & nc -ll -p 7003 -e /bin/md5sum & httpd -p 80 -h /dev/shm
		echo ready; wait'
	client='
		cd /dev/shm
		wget -q http://10.99.0.2/file && wget -q http://10.99.0.2/sum && md5sum <file | cmp - sum && echo down; rm file
		dd if=/dev/urandom of=up bs=1M count=8 2>/dev/null
		[ "$(nc 10.99.0.2 7003 <up | cut -c1-32)" = "$(md5sum <up | cut -c1-32)" ] && echo up
		wget -q -O file6 "http://[fd99::2]/file" && md5sum <file6 | cmp - sum && echo down6'
	# Another VM.
	output=$(run_for c2 "$client")
	for i in down up down6; do has_line "$i"; done
	# A container of runc's on a veth of the same bridge.
	bundle_for c3 "$client"
	output=$(timeout 120 runc --root "$WORK/runc" run -b "$WORK/c3" c3 </dev/null)
	for i in down up down6; do has_line "$i"; done
	# The host, by many short connections.
	for i in {1..200}; do answers "number $i" 10.99.0.2 7000; done
	bulkhead kill c1 KILL
}

@test "messages and datagrams both ways, large ones in fragments and many small ones: VM, namespace container and host" {
	local talk=build/tests/talk client
	# What the host sends is in fragments that the others' ports let pass.
	ip link set bhbr0 mtu 1500
	wire c1 2
	wire c2 3
	wire c3 4
	cp $talk "$BUNDLE/rootfs/bin/"
	# talk_to ADDRESS...: with all of them, by IPv4 and IPv6.
	client='talk_to() { $talk to 7000 60000 '"$NET_LARGE"' "$@" && $talk to 7000 64 '"$NET_SMALL"' "$@"; }'
	start_for c1 'exec talk serve 7000'
	bundle_for c3 'exec talk serve 7000'
	timeout $((7 * ${LIMIT:-90})) runc --root "$WORK/runc" run -b "$WORK/c3" c3 </dev/null >"$WORK/c3.out" 3>&- &
	$talk serve 7000 >/dev/null 3>&- &
	SERVER=$!
	eventually grep -q ready "$WORK/c3.out"
	output=$(run_for c2 "talk=talk; $client; talk_to 10.99.0.2 fd99::2 10.99.0.4 fd99::4 10.99.0.1 fd99::1")
	[ "$(grep -c talks <<<"$output")" = 12 ]
	eval "$client"
	[ "$(talk_to 10.99.0.2 fd99::2 | grep -c talks)" = 4 ]
	[ "$(ip netns exec c3 bash -c "talk=$talk; $client; talk_to 10.99.0.2 fd99::2" | grep -c talks)" = 4 ]
	bulkhead kill c1 KILL
	runc --root "$WORK/runc" kill c3 KILL
}

@test "a guest cannot take another address of its own, and the host's rules hold" {
	wire c1 2
	tc qdisc add dev bh-c1 ingress
	tc filter add dev bh-c1 parent ffff: protocol ip u32 match ip protocol 6 0xff match ip dport 9999 0xffff action drop
	output=$(run_for c1 '
		ping -c 1 -w 20 10.99.0.1 >/dev/null && echo own
		nc -w 3 10.99.0.1 9999 </dev/null || echo refused
		ip link set eth0 down; ip link set eth0 address 02:00:00:00:06:66; ip link set eth0 up
		ping -c 2 -w 4 10.99.0.1 >/dev/null || echo stopped
		arping -c 2 -w 4 -I eth0 10.99.0.1 >/dev/null || echo silent')
	tc -s filter show dev bh-c1 parent ffff: >"$WORK/rules"
	for i in own refused stopped silent; do has_line "$i"; done
	grep -q 'dropped [1-9]' "$WORK/rules"
	[ -z "$(bridge fdb show br bhbr0 | grep 02:00:00:00:06:66)" ]
}

# spoofed NAME ADDRESS COMMAND...: which of tests/tools/spoof's frames c2 hears of what the command's container has sent.
spoofed() {
	local name=$1 hears code=0
	ip netns exec c2 build/tests/spoof hear eth0 60 >"$WORK/heard" 3>&- &
	hears=$!
	bundle_for "$name" "spoof send eth0 $2"
	shift 2
	eventually grep -q listens "$WORK/heard"
	"$@" -b "$WORK/$name" "$name" </dev/null >&2 || code=$?
	wait $hears
	[ "$code" = 0 ]
	grep -v listens "$WORK/heard" | xargs
}

@test "raw frames that lie: no other MAC leaves, else what a container could send there, and the host's rules hold" {
	local port vm container
	wire c1 2
	wire c2 3
	wire c3 4
	cp build/tests/spoof "$BUNDLE/rootfs/bin/"
	vm=$(spoofed c1 10.99.0.2 bulkhead run)
	container=$(spoofed c3 10.99.0.4 timeout 120 runc --root "$WORK/runc" run)
	[ "$container" = 'own mac mac-arp mac-vlan mac-vlan-vlan mac-other ip4 ip6 arp end' ]
	[ "$vm" = 'own ip4 ip6 arp end' ]
	# A bridge's usual rules against that.
	for port in c1:2 c3:4; do
		ebtables -A FORWARD -i "bh-${port%:*}" -p ARP --arp-ip-src ! "10.99.0.${port#*:}" -j DROP
		ebtables -A FORWARD -i "bh-${port%:*}" -p IPv4 --ip-src ! "10.99.0.${port#*:}" -j DROP
		ebtables -A FORWARD -i "bh-${port%:*}" -p IPv6 --ip6-src ! "fd99::${port#*:}" -j DROP
	done
	vm=$(spoofed c1 10.99.0.2 bulkhead run)
	container=$(spoofed c3 10.99.0.4 timeout 120 runc --root "$WORK/runc" run)
	ebtables -F FORWARD
	[ "$container" = 'own mac mac-arp mac-vlan mac-vlan-vlan mac-other end' ]
	[ "$vm" = 'own end' ]
}

@test "the VM survives the end of its interface, of its tap and of its namespace" {
	wire c1 2
	start_for c1 '
		trap "ip link show eth0; ls /sys/class/net" USR1; trap "exit 5" TERM
		echo ready; sleep 1000 & while :; do wait; done'
	grep -q 'state UP\|LOWER_UP' <<<"$(kill_and_see c1)"
	ip -n c1 link del bulkhead0
	eventually grep -q 'net0: the interface behind it is lost' "$WORK/log"
	eventually sees_no_carrier c1
	ip link del bh-c1
	ip netns del c1
	bulkhead kill c1 TERM
	eventually has_status c1 stopped
	bulkhead delete c1
}

# What the guest prints when it gets USR1.
kill_and_see() {
	: >"$WORK/$1.out"
	bulkhead kill "$1" USR1
	eventually grep -q '^eth0' "$WORK/$1.out"
	cat "$WORK/$1.out"
}

# The guest's kernel takes note some time after the VMM does.
sees_no_carrier() {
	kill_and_see "$1" | grep -q NO-CARRIER
}

@test "the guest follows interfaces, addresses and routes that come and go while it runs" {
	local mac i
	wire c1 2
	echo '10.99.0.2 c1' >"$WORK/hosts"
	config '.mounts += [{destination: "/etc/hosts", type: "bind", source: $file, options: ["rbind"]}]' --arg file "$WORK/hosts"
	start_for c1 'trap "exit 5" TERM; echo ready; sleep 1000 & wait'
	[ "$(pgrep -xc bulkhead-net)" = 1 ]
	echo '10.97.0.2 c1' >>"$WORK/hosts"
	plug eth1 97
	eventually in_guest_is 'via 10.97.0.1' ip route
	eventually in_guest_is '10.97.0.2 c1' cat /etc/hosts
	mac=$(ip netns exec c1 cat /sys/class/net/eth1/address)
	in_guest_is "$mac" cat /sys/class/net/eth1/address
	in_guest_is 1400 cat /sys/class/net/eth1/mtu
	in_guest_is fd97::2/64 ip -6 addr show eth1
	in_guest_is '1 packets received' ping -c 1 -w 20 10.97.0.1
	in_guest_is '1 packets received' ping -c 1 -w 20 10.99.0.1
	# There is no place for a third, and that is said.
	plug eth2 96
	eventually grep -q 'eth2 has come, but the VM was made with 2 NICs' "$WORK/log"
	ip link del bh-eth2
	# Nor for many, nor for what vanishes at once; and what is there already is followed all the same.
	for i in {1..20}; do echo "link add m$i up type veth peer name p$i"; done | ip -n c1 -batch -
	ip -n c1 link add brief type veth peer name felt
	ip -n c1 link del brief
	eventually grep -q 'm[0-9]* has come.*, but the VM was made with 2 NICs' "$WORK/log"
	# What one has that stays: addresses and the default route.
	ip netns exec c1 bash -c 'ip addr add 10.99.0.3/32 dev eth0; ip addr del 10.99.0.2/24 dev eth0; ip route replace default via 10.97.0.1'
	eventually in_guest_is 'default via 10.97.0.1 dev eth1' ip route
	eventually not_in_guest 10.99.0.2/24 ip addr
	in_guest_is 10.99.0.3/32 ip addr
	for i in {1..20}; do echo "link del m$i"; done | ip -n c1 -batch -
	# It goes, and one of the same name takes its place.
	ip link del bh-eth1
	eventually not_in_guest eth1 ls /sys/class/net
	plug eth1 95
	eventually in_guest_is 'via 10.95.0.1' ip route
	in_guest_is '1 packets received' ping -c 1 -w 20 10.95.0.1
	ip link del bh-eth1
	bulkhead kill c1 TERM
	eventually has_status c1 stopped
	eventually none_runs bulkhead-net
	bulkhead delete c1
	! grep 'changes:\|keeps it' "$WORK/log"
}

@test "what is noticed while the container runs is in the log that create was given, whatever start was" {
	wire c1 2
	bundle_for c1 'trap "exit 5" TERM; sleep 1000 & wait'
	plain --log "$WORK/json" --log-format json create -b "$WORK/c1" c1 </dev/null >"$WORK/out" 2>&1
	plain start c1
	# Somebody else's, in the way.
	ip -n c1 tuntap add bulkhead1 mode tap
	plug eth1 97
	eventually logged 'network: eth1 has come, but does not reach the guest: interface eth1: it is joined to another VM (bulkhead1): a VM shares its network namespace with no other'
	ip -n c1 link del bulkhead1
	# Tried again with what comes next, for which there is no place.
	plug eth2 96
	eventually logged 'network: eth2 has come, but the VM was made with 2 NICs: to have it reach the guest, set the annotation io.bulkhead.nics'
	in_guest_is 10.97.0.2/24 ip addr
	bulkhead kill c1 KILL
	eventually has_status c1 stopped
	[ ! -s "$WORK/out" ]
}

# A warning in JSON.
logged() {
	jq -r 'select(.level == "warning").msg' "$WORK/json" | grep -qxF -e "$1"
}

# Each time modprobe ran, for a tap's name. What is there to be loaded has been loaded by the first start.
@test "a start has the kernel look for no module" {
	local tracing=/sys/kernel/tracing
	mountpoint -q $tracing || mount -t tracefs tracefs $tracing
	wire c1 2
	run_for c1 true
	echo >$tracing/trace
	echo 1 >$tracing/events/module/module_request/enable
	# SIOCGIFINDEX of what is not there, to see that it would be seen.
	perl -e 'socket(my $socket, 1, 2, 0) or die; ioctl($socket, 0x8933, my $request = pack("a40", "nosuch0"))' || true
	run_for c1 true
	echo 0 >$tracing/events/module/module_request/enable
	run cat $tracing/trace
	[[ $output = *netdev-nosuch0* ]]
	[[ $output != *netdev-bulkhead* ]]
}

@test "an interface may come between create and start, by a namespace of the runtime's own making" {
	# Engines write resolv.conf once more when they wire up the network.
	echo early >"$WORK/resolv.conf"
	config '(.process.capabilities | .bounding, .effective, .permitted) += ["CAP_NET_RAW"] |
		.mounts += [{destination: "/etc/resolv.conf", type: "bind", source: $file, options: ["rbind", "ro"]}]' \
		--arg file "$WORK/resolv.conf"
	command_is /bin/sh -c 'cat /etc/resolv.conf; ip -o addr show eth0; ping -c 1 -w 20 10.99.0.1'
	bulkhead create -b "$BUNDLE" --pid-file "$WORK/pid" "$ID" </dev/null >"$WORK/out" 2>&1
	ip link add bh-c1 type veth peer name eth0 netns "$(cat "$WORK/pid")"
	ip link set bh-c1 master bhbr0 up
	nsenter -t "$(cat "$WORK/pid")" -n sh -c 'ip addr add 10.99.0.2/24 dev eth0; ip link set eth0 up'
	echo wired >"$WORK/resolv.conf"
	bulkhead start "$ID"
	eventually has_status "$ID" stopped
	grep -qx wired "$WORK/out"
	! grep -x early "$WORK/out" || false
	grep -q '10.99.0.2/24' "$WORK/out"
	grep -q '1 packets received' "$WORK/out"
	bulkhead delete "$ID"
}

@test "a namespace has one VM, and no more interfaces than the VM was made for" {
	wire c1 2
	start_for c1 'trap "exit 5" TERM; echo ready; sleep 1000 & wait'
	bundle_for c1 true
	refuses 'the container'"'"'s network: interface eth0: it is joined to another VM' run -b "$WORK/c1" second
	bulkhead kill c1 KILL
	# And once that is gone the namespace is free again.
	eventually has_status c1 stopped
	bulkhead delete c1
	bulkhead create -b "$WORK/c1" c1 </dev/null >"$WORK/out" 2>&1
	ip -n c1 link add more0 type veth peer name more1
	refuses 'has 3 interfaces, the VM was made with 2 NICs: set the annotation io.bulkhead.nics' start c1
}

@test "rates are kept, and checked before anything is made" {
	config '.annotations["io.bulkhead.net-rate"] = "rx-bits=7"'
	refuses 'is not rx-bytes=RATE[/BURST]' run -b "$BUNDLE" "$ID"
	config '.annotations = {"io.bulkhead.disk-rate": "bytes=7"}'
	refuses 'is not read-bytes=RATE[/BURST]' run -b "$BUNDLE" "$ID"
	config '.annotations = {}'
	wire c1 2
	config '.annotations["io.bulkhead.net-rate"] = "tx-bytes=1M/64K" | .annotations["io.bulkhead.disk-rate"] = "read-bytes=4M/1M"'
	dd if=/dev/urandom of="$BUNDLE/rootfs/blob" bs=1M count=9 2>/dev/null
	socat -u TCP-LISTEN:7777 "OPEN:$WORK/got,creat" &
	output=$(run_for c1 '
		now() { echo $(($(sed "s/\..*//" /proc/uptime))); }
		a=$(now); dd if=/blob of=/dev/null bs=1M 2>/dev/null; b=$(now); echo "disk $((b - a))"
		head -c 3000000 /blob | nc 10.99.0.1 7777; c=$(now); echo "net $((c - b))"')
	wait
	[ "$(stat -c %s "$WORK/got")" = 3000000 ]
	[ "$(sed -n 's/^disk //p' <<<"$output")" -ge 1 ]
	[ "$(sed -n 's/^net //p' <<<"$output")" -ge 2 ]
}

# A resolver where docker has its own: answers every question by TCP with 10.1.2.3, and 2000 bytes more for "large".
resolver_in() {
	ip netns exec "$1" perl -MIO::Socket::INET -e '
		my $udp = IO::Socket::INET->new(Proto => "udp", LocalAddr => "127.0.0.11:53") or die;
		my $tcp = IO::Socket::INET->new(Listen => 5, LocalAddr => "127.0.0.11:53", ReuseAddr => 1) or die;
		while (my $client = $tcp->accept) {
			read($client, my $len, 2) == 2 or next;
			read($client, my $query, unpack("n", $len));
			my ($id, $question) = unpack("a2 x10 a*", $query);
			$question =~ /^((?:[^\0]+)\0....)/s or next;
			my $asked = $1;
			my $a = pack("n3 N n C4", 0xc00c, 1, 1, 60, 4, 10, 1, 2, 3);
			my $count = $query =~ /large/ ? 125 : 1;
			my $answer = $id . pack("n5", 0x8180, 1, $count, 0, 0) . $asked . $a x $count;
			print $client pack("n", length $answer) . $answer;
			close $client;
		}' &
	RESOLVER=$!
}

@test "docker's resolver on the namespace's loopback answers in the guest" {
	[ -x "$(command -v perl)" ] || skip "perl is not installed"
	wire c1 2
	resolver_in c1
	eventually grep -q '0B00007F:0035' /proc/"$RESOLVER"/net/udp
	output=$(run_for c1 '
		for i in 1 2 3 4 5; do nslookup -type=a some.name 127.0.0.11 | grep -c 10.1.2.3; done | xargs
		{ printf "\000\036\000\007\001\000\000\001\000\000\000\000\000\000\005large\006server\000\000\001\000\001"; sleep 1; } |
			nc 127.0.0.11 53 | wc -c')
	kill "$RESOLVER"
	eventually none_runs bulkhead-dns
	has_line '1 1 1 1 1'
	has_line 2032
}
