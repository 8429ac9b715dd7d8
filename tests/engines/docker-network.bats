#!/usr/bin/env bats
# docker's own networks: names by its resolver, a published port, and networks that a running container is connected to.
# In single quotes are the guests' shells' variables.
# shellcheck disable=SC2016

load helpers

: "${NET_CONNECTIONS:=5}" # short ones, one after the other

setup_file() {
	docker_up
	sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
}

teardown_file() {
	docker_down
}

teardown() {
	if [ -z "$BATS_TEST_COMPLETED" ]; then
		docker ps -a >&3 2>&1 || true
		docker logs one-a >&3 2>&1 || true
		tail -n 20 "$ENGINE/dockerd.log" >&3 2>&1 || true
	fi
	docker ps -aq | xargs -r docker rm -f >/dev/null
	docker network rm one other >/dev/null 2>&1 || true
}

# serve NAME [OPTION...]: a container with an echo at port 7000.
serve() {
	local name=$1
	shift
	docker run -d --name "$name" "$@" localhost/busybox sh -c 'echo ready; exec nc -ll -p 7000 -e /bin/cat' >/dev/null
	wait_until docker_says "$name" ready
}

docker_says() {
	docker logs "$1" 2>/dev/null | grep -q "^$2"
}

# has_address NAME ADDRESS/PREFIX [inet6]
has_address() {
	docker exec "$1" ip -o addr | grep -q "${3:-inet} $2 "
}

lacks_address() {
	! has_address "$@"
}

# From a container to HOST, by name or address.
talks_to() {
	docker exec "$1" sh -c "
		ping -c 1 -w 30 $2 >/dev/null && ping -c 1 -w 30 -s 4000 $2 >/dev/null && echo pings
		for i in \$(seq $NET_CONNECTIONS); do [ \"\$(echo \$i | nc -w 20 $2 7000)\" = \$i ] || exit 1; done; echo all"
}

@test "docker: a user-defined network: VM to VM by name, to a namespace container, to the host, and a published port" {
	local a6
	docker network create --subnet 10.98.0.0/24 --ipv6 --subnet fd98::/64 one >/dev/null
	serve one-a --network one -p 127.0.0.1:18000:7000
	serve one-b --network one
	serve one-c --network one --runtime crun
	[ "$(talks_to one-a one-b)" = $'pings\nall' ]
	[ "$(talks_to one-b one-c)" = $'pings\nall' ]
	[ "$(talks_to one-c one-a)" = $'pings\nall' ]
	docker exec one-a ping -c 1 -w 30 10.98.0.1
	[ "$(echo published | socat -t 20 - TCP:127.0.0.1:18000)" = published ]
	a6=$(docker inspect one-a --format '{{.NetworkSettings.Networks.one.GlobalIPv6Address}}')
	has_address one-a "$a6/64" inet6
	docker exec one-b ping -6 -c 1 -w 30 "$a6"
	docker exec one-c ping -6 -c 1 -w 30 "$a6"
	[ "$(docker exec one-b sh -c "echo six | nc -w 20 $a6 7000")" = six ]
	[ "$(echo six | socat -t 20 - "TCP6:[$a6]:7000")" = six ]
}

@test "docker: a running container's network connect and disconnect reach the guest" {
	docker network create --subnet 10.98.0.0/24 one >/dev/null
	docker network create --subnet 10.97.0.0/24 other >/dev/null
	serve one-a --network one
	docker network connect --ip 10.97.0.7 other one-a
	wait_until has_address one-a 10.97.0.7/24
	docker exec one-a ping -c 1 -w 30 10.97.0.1
	[ "$(echo hello | socat -t 20 - TCP:10.97.0.7:7000)" = hello ]
	docker network disconnect other one-a
	wait_until lacks_address one-a 10.97.0.7/24
	docker exec one-a ping -c 1 -w 30 10.98.0.1
}

# vmm_of NAME: the container's process on the host.
vmm_of() {
	docker inspect --format '{{.State.Pid}}' "$1"
}

@test "docker: names and a published port hold while dockerd is away and when it is there again (live-restore)" {
	local pid
	docker network create --subnet 10.98.0.0/24 one >/dev/null
	serve one-a --network one -p 127.0.0.1:18000:7000
	serve one-b --network one
	pid=$(vmm_of one-a)
	daemon_stop dockerd
	# The bridge is the kernel's: no daemon is needed for what goes over it.
	[ "$(echo alone | socat -t 20 - TCP:10.98.0.2:7000)" = alone ]
	dockerd_start
	[ "$(vmm_of one-a)" = "$pid" ]
	[ "$(talks_to one-a one-b)" = $'pings\nall' ]
	[ "$(talks_to one-b one-a)" = $'pings\nall' ]
	[ "$(echo published | socat -t 20 - TCP:127.0.0.1:18000)" = published ]
}

@test "docker: without live-restore containers end with dockerd, and have their network when they are started again" {
	local pid
	daemon_stop dockerd
	dockerd_start false
	docker network create --subnet 10.98.0.0/24 one >/dev/null
	serve one-a --network one -p 127.0.0.1:18000:7000
	serve one-b --network one
	pid=$(vmm_of one-a)
	daemon_stop dockerd
	run ! kill -0 "$pid"
	dockerd_start
	[ "$(docker inspect --format '{{.State.Status}}' one-a one-b)" = $'exited\nexited' ]
	docker start one-a one-b >/dev/null
	wait_until docker_says_again one-a
	wait_until docker_says_again one-b
	[ "$(talks_to one-a one-b)" = $'pings\nall' ]
	[ "$(echo published | socat -t 20 - TCP:127.0.0.1:18000)" = published ]
}

docker_says_again() {
	[ "$(docker logs "$1" 2>/dev/null | grep -c '^ready')" = 2 ]
}
