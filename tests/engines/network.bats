#!/usr/bin/env bats
# The engines' own networks: what podman (CNI or netavark), docker and containerd's CNI wire up, and what the guest makes
# of it. VMs, a namespace container (crun) and the host talk with each other by both IPs. UDP: tests/integration/network.bats.
# In single quotes are the guests' shells' variables.
# shellcheck disable=SC2016

load helpers

: "${NET_MIB:=4}"          # sent each way and compared by checksum
: "${NET_CONNECTIONS:=5}" # short ones, one after the other

setup_file() {
	podman_up
	# Rules of the engines' own go with the lab.
	sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
}

teardown_file() {
	podman_down
}

teardown() {
	if [ -z "$BATS_TEST_COMPLETED" ]; then
		podman ps -a >&3 2>&1 || true
		podman logs a >&3 2>&1 || true
	fi
	podman rm -fat 0 >/dev/null
	podman network rm -f test other >/dev/null 2>&1 || true
}

# serve NAME [OPTION...]: a container with its addresses in its log and an echo at port 7000.
serve() {
	local name=$1
	shift
	podman run -d --name "$name" "$@" "$IMAGE" /bin/sh -c '
		ip -o addr show eth0
		echo ready
		exec nc -ll -p 7000 -e /bin/cat' >/dev/null
	wait_until podman_says "$name" ready
}

podman_says() {
	podman logs "$1" 2>/dev/null | grep -q "^$2"
}

# address NAME FIELD: as the engine sees it.
address() {
	podman inspect "$1" --format "{{range .NetworkSettings.Networks}}{{.$2}}{{end}}"
}

# From a container to HOST: pings, echoes, and many short connections.
talks_to() {
	podman exec "$1" /bin/sh -c "
		ping -c 1 -w 30 $2 >/dev/null && ping -c 1 -w 30 -s 4000 $2 >/dev/null && echo pings
		[ \"\$(echo tcp | nc -w 20 $2 7000)\" = tcp ] && echo connects
		for i in \$(seq $NET_CONNECTIONS); do [ \"\$(echo \$i | nc -w 20 $2 7000)\" = \$i ] || exit 1; done; echo all"
}

@test "podman: a network of its own with both IPs: VM to VM, to a namespace container, to the host, and back" {
	podman network create --subnet 10.98.0.0/24 --ipv6 --subnet fd98::/64 test >/dev/null
	serve a --network test
	serve b --network test
	serve c --network test --runtime crun
	local a b c a6
	a=$(address a IPAddress) b=$(address b IPAddress) c=$(address c IPAddress)
	a6=$(address a GlobalIPv6Address)
	# The guest has what the engine gave.
	podman logs a | grep -q "inet $a/24"
	podman logs a | grep -q "inet6 $a6/64"
	[ "$(talks_to a "$b")" = $'pings\nconnects\nall' ]
	[ "$(talks_to a "$c")" = $'pings\nconnects\nall' ]
	[ "$(talks_to c "$a")" = $'pings\nconnects\nall' ]
	podman exec b ping -6 -c 1 -w 30 "$a6"
	podman exec a ping -c 1 -w 30 10.98.0.1
	ping -c 1 -w 30 "$a"
	[ "$(echo hello | socat -t 20 - "TCP:$a:7000")" = hello ]
}

@test "podman: a published port, jumbo and small MTU, many bytes both ways" {
	podman network create --subnet 10.98.0.0/24 --opt mtu=9000 test >/dev/null
	serve a --network test -p 18000:7000
	[ "$(podman exec a cat /sys/class/net/eth0/mtu)" = 9000 ]
	[ "$(echo published | socat -t 20 - TCP:127.0.0.1:18000)" = published ]
	podman exec a ping -c 1 -w 30 -s 8900 10.98.0.1
	head -c $((NET_MIB << 20)) /dev/urandom >"$BATS_TEST_TMPDIR/sent"
	socat -t 60 "FILE:$BATS_TEST_TMPDIR/sent!!CREATE:$BATS_TEST_TMPDIR/back" "TCP:$(address a IPAddress):7000"
	cmp "$BATS_TEST_TMPDIR/sent" "$BATS_TEST_TMPDIR/back"
	podman rm -ft 0 a >/dev/null
	podman network rm -f test >/dev/null
	podman network create --subnet 10.98.0.0/24 --opt mtu=1400 test >/dev/null
	serve a --network test
	[ "$(podman exec a cat /sys/class/net/eth0/mtu)" = 1400 ]
	podman exec a ping -c 1 -w 30 -s 4000 10.98.0.1
}

@test "podman: vhost-net serves the NIC where the host's settings say so" {
	modprobe vhost_net && [ -e /dev/vhost-net ] || skip "there is no vhost-net here"
	echo '{"net-vhost": "on"}' >"$ENGINE/vhost.json"
	podman() {
		command podman --runtime-flag "config=$ENGINE/vhost.json" --runtime-flag debug "$@"
	}
	podman network create --subnet 10.98.0.0/24 --ipv6 --subnet fd98::/64 test >/dev/null
	serve a --network test -p 18000:7000
	podman exec a ping -c 1 -w 30 10.98.0.1
	podman exec a ping -6 -c 1 -w 30 fd98::1
	head -c 1000000 /dev/urandom >"$BATS_TEST_TMPDIR/sent"
	socat -t 60 "FILE:$BATS_TEST_TMPDIR/sent!!CREATE:$BATS_TEST_TMPDIR/back" TCP:127.0.0.1:18000
	cmp "$BATS_TEST_TMPDIR/sent" "$BATS_TEST_TMPDIR/back"
	# The runtime's log is in a folder of podman's for the container.
	grep -rq --include oci-log 'net0: vhost-net serves it' "$ENGINE"
}

@test "podman: a running container's network connect and disconnect reach the guest" {
	podman network create --subnet 10.98.0.0/24 test >/dev/null
	podman network create --subnet 10.97.0.0/24 other >/dev/null
	serve a --network test
	podman network connect --ip 10.97.0.7 other a
	wait_until has_address a 10.97.0.7/24
	podman exec a ping -c 1 -w 30 10.97.0.1
	podman exec a ping -c 1 -w 30 10.98.0.1
	[ "$(echo hello | socat -t 20 - TCP:10.97.0.7:7000)" = hello ]
	podman network disconnect other a
	wait_until lacks_address a 10.97.0.7/24
	podman exec a ping -c 1 -w 30 10.98.0.1
}

has_address() {
	podman exec "$1" ip -o addr | grep -q "inet $2 "
}

lacks_address() {
	! has_address "$@"
}

@test "podman: netavark's network, and names by aardvark-dns" {
	[ -x /usr/lib/podman/netavark ] && [ -x /usr/lib/podman/aardvark-dns ] || skip "netavark or aardvark-dns is not installed"
	podman_configure netavark
	podman network create --subnet 10.98.0.0/24 --ipv6 --subnet fd98::/64 test >/dev/null
	serve a --network test -p 18000:7000
	serve b --network test
	[ "$(talks_to a b)" = $'pings\nconnects\nall' ]
	podman exec b ping -6 -c 1 -w 30 "$(address a GlobalIPv6Address)"
	[ "$(echo published | socat -t 20 - TCP:127.0.0.1:18000)" = published ]
	podman rm -fat 0 >/dev/null
	podman network rm -f test >/dev/null
	podman_configure
}
