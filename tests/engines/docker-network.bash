# Containers on docker's own networks, for the bats files of those: they load helpers before.

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
