#!/usr/bin/env bats
# containerd's networks, as CRI has CNI's plugins make them: a bridge with both IPs, published ports and MTUs.

load helpers

# cni FOLDER NUMBER MTU: the network 10.NUMBER.0.0/24 and fdNUMBER::/64.
cni() {
	mkdir -p "$ENGINE/$1"
	cat >"$ENGINE/$1/pod.conflist" <<-EOF2
		{"cniVersion": "0.4.0", "name": "pod$2", "plugins": [
		{"type": "bridge", "bridge": "bhcni$2", "isGateway": true, "mtu": $3, "ipam": {"type": "host-local",
		"ranges": [[{"subnet": "10.$2.0.0/24"}], [{"subnet": "fd$2::/64"}]],
		"routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}], "dataDir": "$ENGINE/cni-data"}},
		{"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}]}
	EOF2
}

TALK=$TREE/build/tests/talk

setup_file() {
	export IMAGE_PROGRAMS=$TALK
	cri_ready
	cni cni 99 1500
	cni cni-jumbo 98 9000
	cni cni-small 97 1400
	cri_up bulkhead runc bulkhead-jumbo bulkhead-small
	sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
}

teardown_file() {
	local bridge
	cri_down
	# CNI leaves them, with addresses that others use too.
	for bridge in bhcni99 bhcni98 bhcni97; do ip link del "$bridge" 2>/dev/null || true; done
}

teardown() {
	local pod
	[ -n "$BATS_TEST_COMPLETED" ] || tail -n 20 "$ENGINE/containerd.log" "$ENGINE"/logs/* >&3 2>&1
	for pod in "${PODS[@]}"; do
		cri StopPodSandbox "1:$pod" >/dev/null
		cri RemovePodSandbox "1:$pod" >/dev/null
	done
	if [ -n "${HOSTS:-}" ]; then
		kill "$HOSTS" || true
	fi
}

# serve NAME HANDLER [PORT-MAPPING]: a pod whose container, $container, echoes at port 7000.
serve() {
	local config="1{1:$1 2:uid-$1 3:default} 2:$1 3:$ENGINE/logs ${3:-}" pod
	pod=$(cri RunPodSandbox "1{$config} 2:$2" | sed -n 's/^1=//p')
	PODS+=("$pod")
	container=$(cri CreateContainer "1:$pod 2{1{1:$1} 2{1:$IMAGE} 3:/bin/sh 3:-c
		3:\"ip -o addr show eth0; cat /sys/class/net/eth0/mtu; exec talk serve 7000\" 11:$1.log} 3{$config}" | sed -n 's/^1=//p')
	cri StartContainer "1:$container"
	wait_until grep -q 'stdout F ready' "$ENGINE/logs/$1.log"
}

# address NAME FAMILY: inet or inet6, as the container has said.
address() {
	grep -o "$2 [^ ]*/.* scope global" "$ENGINE/logs/$1.log" | cut -d' ' -f2 | cut -d/ -f1
}

# talks CONTAINER ADDRESS...: by TCP and UDP, in frames that are segmented or in fragments.
talks() {
	local container=$1
	shift
	diff <(printf '%s talks\n' "$@") \
		<(cri ExecSync "1:$container 2:talk 2:to 2:7000 2:20000 2:4 ${*/#/2:} 3=60" | sed 's/^1=//' | grep -v '^$')
}

@test "CRI: CNI's bridge: VMs, a runc container and the host talk by both IPs, TCP and UDP; a published port" {
	local a c container a4 a6
	serve one bulkhead '5{2=7000 3=18000}'
	a=$container a4=$(address one inet) a6=$(address one inet6)
	serve two bulkhead
	serve three runc
	c=$container
	"$TALK" serve 7000 >/dev/null 3>&- &
	HOSTS=$!
	talks "$a" "$(address two inet)" "$(address two inet6)" "$(address three inet)" "$(address three inet6)" 10.99.0.1 fd99::1
	talks "$c" "$a4" "$a6"
	"$TALK" to 7000 20000 4 "$a4" "$a6"
	[ "$(echo published | socat -t 20 - TCP:127.0.0.1:18000)" = published ]
}

@test "CRI: CNI's MTUs of 9000 and 1400 are the guest's" {
	local container
	[ "${CRI_MTUS:-}" ] || skip "podman's are tried too, in network.bats: CRI_MTUS=1, as make soak has it"
	serve large bulkhead-jumbo
	grep -q 'stdout F 9000' "$ENGINE/logs/large.log"
	cri ExecSync "1:$container 2:ping 2:-c 2:1 2:-w 2:30 2:-s 2:8900 2:10.98.0.1 3=60" | grep '1 packets received'
	serve little bulkhead-small
	grep -q 'stdout F 1400' "$ENGINE/logs/little.log"
	cri ExecSync "1:$container 2:ping 2:-c 2:1 2:-w 2:30 2:-s 2:4000 2:10.97.0.1 3=60" | grep '1 packets received'
}
