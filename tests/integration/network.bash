# A bridge in the lab itself, and containers with a namespace each, wired to it by a veth pair as engines do it: for the
# bats files about networks, which load this after helpers.
# In single quotes are the guests' shells' and jq's variables.
# shellcheck shell=bash disable=SC2016

setup_file() {
	ip link add bhbr0 type bridge mcast_snooping 0
	ip link set bhbr0 mtu 9000 up
	ip addr add 10.99.0.1/24 dev bhbr0
	ip addr add fd99::1/64 dev bhbr0 nodad
}

teardown_file() {
	ip link del bhbr0
}

# wire NAME NUMBER [MTU]: a namespace with eth0 at 10.99.0.NUMBER on the bridge.
wire() {
	local mtu=${3:-1500}
	ip netns add "$1"
	ip link add "bh-$1" mtu "$mtu" type veth peer name eth0 mtu "$mtu" netns "$1"
	ip link set "bh-$1" master bhbr0 up
	ip netns exec "$1" bash -c "
		ip link set lo up
		ip addr add 10.99.0.$2/24 dev eth0
		ip addr add fd99::$2/64 dev eth0 nodad
		ip link set eth0 up
		ip route add default via 10.99.0.1
		ip -6 route add default via fd99::1"
}

unwire() {
	local name
	for name; do
		ip link del "bh-$name" 2>/dev/null || true
		ip netns del "$name" 2>/dev/null || true
	done
}

teardown() {
	delete_all
	[ -z "${SERVER:-}" ] || kill "$SERVER"
	ip link set bhbr0 mtu 9000
	unwire c1 c2 c3
}

# bundle_for NAME SCRIPT: a bundle in $WORK/NAME for the namespace NAME, on the same root, with root's usual rights and
# those to change its own network.
bundle_for() {
	mkdir -p "$WORK/$1"
	jq --arg root "$BUNDLE/rootfs" --arg name "$1" --arg script "$2" '
		.root.path = $root | .hostname = $name | .process.args = ["/bin/sh", "-c", $script] |
		(.process.capabilities | .bounding, .effective, .permitted) += ["CAP_NET_RAW", "CAP_NET_ADMIN"] |
		(.linux.namespaces[] | select(.type == "network")).path = "/run/netns/" + $name' \
		"$BUNDLE/config.json" >"$WORK/$1/config.json"
}

run_for() {
	bundle_for "$@"
	bulkhead run -b "$WORK/$1" "$1" </dev/null
}

# start_for NAME SCRIPT: in the background, until it says ready; what it prints goes to $WORK/NAME.out.
start_for() {
	bundle_for "$@"
	bulkhead run -d -b "$WORK/$1" "$1" </dev/null >"$WORK/$1.out" 2>&1
	eventually grep -q '^ready' "$WORK/$1.out"
}

# answers TEXT ADDRESS PORT: with the same, by a connection of its own. No process is started for it here.
answers() {
	local tcp reply
	exec {tcp}<>"/dev/tcp/$2/$3"
	echo "$1" >&"$tcp"
	read -r -t 20 reply <&"$tcp"
	exec {tcp}>&-
	[ "$reply" = "$1" ]
}

has_line() {
	grep -qx -e "$1" <<<"$output" || { echo "no line: $1" >&2; echo "$output" >&2; return 1; }
}

# in_guest_is TEXT COMMAND...: what the command prints in c1's guest has the text; not_in_guest: has not.
in_guest_is() {
	local text=$1
	shift
	[[ $(bulkhead exec c1 "$@" 2>&1 </dev/null) = *"$text"* ]]
}

not_in_guest() {
	! in_guest_is "$@"
}

# plug NAME SUBNET: one more interface in c1's namespace, at 10.SUBNET.0.2.
plug() {
	ip link add "bh-$1" mtu 1400 type veth peer name bhtmp mtu 1400 netns c1
	ip link set "bh-$1" up
	ip addr add "10.$2.0.1/24" dev "bh-$1"
	ip netns exec c1 bash -c "
		ip link set bhtmp name $1; ip addr add 10.$2.0.2/24 dev $1; ip -6 addr add fd$2::2/64 dev $1 nodad
		ip link set $1 up; ip route add 10.$2.7.0/24 via 10.$2.0.1"
}
