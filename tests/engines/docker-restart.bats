#!/usr/bin/env bats
# dockerd that ends and is started again: what becomes of containers on a user-defined network, of their names and ports.

load helpers
load docker-network

# vmm_of NAME: the container's process on the host.
vmm_of() {
	docker inspect --format '{{.State.Pid}}' "$1"
}

# serve_two: one-a and one-b on a network of their own, the first with a published port; $pid is the first one's VMM.
serve_two() {
	docker network create --subnet 10.98.0.0/24 one >/dev/null
	serve one-a --network one -p 127.0.0.1:18000:7000
	serve one-b --network one
	pid=$(vmm_of one-a)
}

@test "docker: names and a published port hold while dockerd is away and when it is there again (live-restore)" {
	local pid
	serve_two
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
	serve_two
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
