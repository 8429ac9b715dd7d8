# Engines with all of their data in $ENGINE, a folder of a tmpfs, and $RUNTIME as their default runtime. For the bats files
# and for bench/engines; crun and runc stand beside it under their own names.

# wait_until COMMAND...: at most 60 s, until the command succeeds.
wait_until() {
	local end=$((SECONDS + 60))
	until "$@"; do
		[ $SECONDS -lt $end ] || { echo "never came true: $*" >&2; return 1; }
		sleep 0.1
	done
}

# daemon_stop NAME [SIGNAL]: and waits for its end.
daemon_stop() {
	local pid
	pid=$(cat "$ENGINE/$1.daemon")
	kill -"${2:-TERM}" "$pid"
	while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
}

daemon_runs() {
	[ -e "$ENGINE/$1.daemon" ] && kill -0 "$(cat "$ENGINE/$1.daemon")" 2>/dev/null
}

# podman_configure [BACKEND]: of its networks, cni or netavark.
podman_configure() {
	export CONTAINERS_CONF=$ENGINE/containers.conf CONTAINERS_STORAGE_CONF=$ENGINE/storage.conf
	cat >"$CONTAINERS_STORAGE_CONF" <<-EOF2
		[storage]
		driver = "overlay"
		graphroot = "$ENGINE/graph"
		runroot = "$ENGINE/run"
	EOF2
	cat >"$CONTAINERS_CONF" <<-EOF2
		[engine]
		cgroup_manager = "cgroupfs"
		events_logger = "file"
		runtime = "bulkhead"
		runtime_supports_json = ["bulkhead", "crun", "runc"]
		[network]
		network_backend = "${1:-cni}"
		[engine.runtimes]
		bulkhead = ["$RUNTIME"]
	EOF2
}

containerd_start() {
	cat >"$ENGINE/config.toml" <<-EOF2
		version = 2
		root = "$ENGINE/containerd"
		state = "$ENGINE/containerd-state"
		disabled_plugins = ["io.containerd.grpc.v1.cri"]
		[grpc]
		address = "$ENGINE/containerd.sock"
	EOF2
	containerd --config "$ENGINE/config.toml" --log-level warn >>"$ENGINE/containerd.log" 2>&1 3>&- &
	echo $! >"$ENGINE/containerd.daemon"
	wait_until client version >/dev/null 2>&1
}

client() {
	timeout --foreground -k 5 "${LIMIT:-120}" ctr --address "$ENGINE/containerd.sock" --namespace tests "$@"
}

# dockerd_start [false]: with a containerd that is not dockerd's own, as Debian has it, and stays when dockerd ends. false:
# dockerd's containers end with it.
dockerd_start() {
	daemon_runs containerd || containerd_start
	export DOCKER_HOST=unix://$ENGINE/docker.sock DOCKER_CONFIG=$ENGINE/client
	# podman reads it too, and wants it to be there.
	mkdir -p "$DOCKER_CONFIG"
	echo '{}' >"$DOCKER_CONFIG/config.json"
	jq -n --arg engine "$ENGINE" --arg runtime "$RUNTIME" --arg crun "$(command -v crun)" \
		--argjson restore "${1:-true}" '{
		"data-root": "\($engine)/docker", "exec-root": "\($engine)/docker-exec", pidfile: "\($engine)/docker.pid",
		hosts: ["unix://\($engine)/docker.sock"], "storage-driver": "overlay2", bridge: "none", iptables: false,
		"default-runtime": "bulkhead", runtimes: {bulkhead: {path: $runtime}, crun: {path: $crun}},
		containerd: "\($engine)/containerd.sock", "live-restore": $restore}' >"$ENGINE/daemon.json"
	dockerd --config-file "$ENGINE/daemon.json" --log-level warn >>"$ENGINE/dockerd.log" 2>&1 3>&- &
	echo $! >"$ENGINE/dockerd.daemon"
	wait_until docker version >/dev/null 2>&1
}
