#!/usr/bin/env bats
# docker's own networks: names by its resolver, a published port, and networks that a running container is connected to.
# In single quotes are the guests' shells' variables.
# shellcheck disable=SC2016

load helpers
load docker-network

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
