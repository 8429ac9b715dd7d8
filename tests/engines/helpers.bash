# What the engines' bats files share: the runtime under test, an image made by hand, and waiting for what engines do in
# the background. An engine's own data is in a tmpfs of the lab, and gone with the file's last test.
bats_require_minimum_version 1.5.0
load engines

TREE=$(cd "$BATS_TEST_DIRNAME/../.." && pwd -P)
: "${RUNTIME:=$TREE/build/bulkhead}"
IMAGE=localhost/busybox:latest

# engine_folder: a place of its own for the file's engine; cgroup v2 is the only one tested.
engine_folder() {
	[ "$(id -u)" = 0 ] || skip "engines run as root here"
	export ENGINE=$BATS_FILE_TMPDIR/engine
	mkdir -p "$ENGINE"
	mount -t tmpfs engine "$ENGINE"
	"$TREE/tests/engines/make-image" "$ENGINE/image.tar"
}

engine_folder_gone() {
	umount --lazy "$ENGINE"
}

# NAME_up, NAME_down: a file's engine, for its setup_file and teardown_file.
podman_up() {
	command -v podman >/dev/null || skip "podman is not installed"
	engine_folder
	podman_configure
	podman load -qi "$ENGINE/image.tar"
}

podman_down() {
	[ -n "${ENGINE:-}" ] || return 0
	podman rm -fat 0 >/dev/null
	engine_folder_gone
}

docker_up() {
	command -v dockerd docker >/dev/null || skip "docker is not installed"
	engine_folder
	dockerd_start
	docker load -q -i "$ENGINE/image.tar"
}

docker_down() {
	[ -n "${ENGINE:-}" ] || return 0
	docker ps -aq | xargs -r docker rm -f >/dev/null
	daemon_stop dockerd
	daemon_stop containerd
	engine_folder_gone
}

containerd_up() {
	local snapshotter
	command -v containerd containerd-shim-runc-v2 ctr >/dev/null || skip "containerd is not installed"
	engine_folder
	containerd_start
	for snapshotter in overlayfs native; do
		client images import --snapshotter "$snapshotter" "$ENGINE/image.tar"
	done
}

containerd_down() {
	[ -n "${ENGINE:-}" ] || return 0
	client_clear
	daemon_stop containerd
	engine_folder_gone
}

# cri_ready, cri_up HANDLER...: containerd with its CRI, between them the file says its networks in $ENGINE/cni; those of
# a handler "runtime-NAME" are in $ENGINE/cni-NAME.
cri_ready() {
	command -v containerd containerd-shim-runc-v2 ctr >/dev/null || skip "containerd is not installed"
	command -v curl >/dev/null || skip "curl is not installed"
	engine_folder
	"$TREE/tests/engines/make-image" "$ENGINE/pause.tar" localhost/pause:latest sleep 1000000
	mkdir -p "$ENGINE/cni" "$ENGINE/logs"
}

cri_up() {
	local handler image
	cat >"$ENGINE/config.toml" <<-EOF2
		version = 2
		root = "$ENGINE/containerd"
		state = "$ENGINE/containerd-state"
		[grpc]
		address = "$ENGINE/containerd.sock"
		[plugins."io.containerd.grpc.v1.cri"]
		sandbox_image = "localhost/pause:latest"
		[plugins."io.containerd.grpc.v1.cri".cni]
		bin_dir = "/usr/lib/cni"
		conf_dir = "$ENGINE/cni"
		[plugins."io.containerd.grpc.v1.cri".containerd]
		default_runtime_name = "bulkhead"
	EOF2
	for handler; do
		cat >>"$ENGINE/config.toml" <<-EOF2
			[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.$handler]
			runtime_type = "io.containerd.runc.v2"
			cni_conf_dir = "$ENGINE/cni$([[ $handler != *-* ]] || echo "-${handler#*-}")"
			[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.$handler.options]
			BinaryName = "$([[ $handler = runc ]] && echo runc || echo "$RUNTIME")"
		EOF2
	done
	containerd --config "$ENGINE/config.toml" --log-level warn >>"$ENGINE/containerd.log" 2>&1 3>&- &
	echo $! >"$ENGINE/containerd.daemon"
	wait_until cri Version
	for image in pause image; do
		ctr --address "$ENGINE/containerd.sock" --namespace k8s.io images import "$ENGINE/$image.tar"
	done
}

cri_down() {
	[ -n "${ENGINE:-}" ] || return 0
	daemon_stop containerd
	engine_folder_gone
}

cri() {
	"$TREE/tests/engines/cri" "$ENGINE/containerd.sock" "$@"
}

# client_clear: ends and deletes all of containerd's containers.
client_clear() {
	local id
	for id in $(client containers list -q); do
		client tasks delete -f "$id" >/dev/null 2>&1 || true
		client containers delete "$id"
	done
}

podman() {
	timeout --foreground -k 5 "${LIMIT:-120}" podman "$@"
}

docker() {
	timeout --foreground -k 5 "${LIMIT:-120}" docker "$@"
}

eventually() {
	wait_until "$@"
}

# All that containers may leave on the host, to compare before and after: our processes, mounts, groups, states.
host_footprint() {
	# Templates and layers are kept on purpose, nothing half-made is.
	"$RUNTIME" template wait
	echo "VMMs $(pgrep -c bulkhead-vmm)"
	echo "mounts $(grep -c . /proc/self/mountinfo)"
	echo "groups $(find /sys/fs/cgroup -mindepth 2 -type d | grep -e /libpod-[0-9a-f] -e /docker/ | tr '\n' ' ')"
	echo "files $({
		find /run/bulkhead -mindepth 1
		find /var/lib/bulkhead -mindepth 1 \( -name '.new-*' -o -name '.disk-*' \)
	} 2>/dev/null | tr '\n' ' ')"
}

# same_footprint BEFORE: nothing has been left.
same_footprint() {
	diff <(echo "$1") <(host_footprint)
}

# in_terminal COMMAND...: with a terminal of 33 rows and 111 columns; what is read from stdin is typed.
in_terminal() {
	printf 'stty rows 33 cols 111; exec %s' "$(printf '%q ' "$@")" >"$BATS_TEST_TMPDIR/in-terminal"
	set -o pipefail
	LC_ALL=C timeout -k 5 120 script -qefc "bash '$BATS_TEST_TMPDIR/in-terminal'" /dev/null | tr -d '\r'
}

# rates ID FOLDER...: the buckets of a container's last disk, by its state below one of these: bytes and operations read,
# and written.
rates() {
	# Mounted below them are roots, in a lab the host's whole tree.
	find "${@:2}" -xdev -path "*/$1/state.json" -exec jq -c '.rates.disks[-1].rates | map(.[0])' {} +
}

# group_of PID: its control group's folder.
group_of() {
	echo "/sys/fs/cgroup$(sed 's/^0:://' "/proc/$1/cgroup")"
}

# By the file's pod, which runs a container: a writable one, and one that is not.
block_devices_are_disks() {
	local file=$BATS_TEST_TMPDIR/file loops=() i
	for i in 0 1; do
		head -c 1048576 /dev/zero | tr '\0' f >"$file$i"
		loops+=("$(losetup --find --show "$file$i")")
	done
	pod --rm --device "${loops[0]}:/dev/disk" --device "${loops[1]}:/dev/again:r" "$IMAGE" sh -c '
		head -c 4 /dev/disk; echo; echo guest >/dev/disk; sync; echo x >/dev/again || echo read-only' >"$BATS_TEST_TMPDIR/out"
	losetup -d "${loops[@]}"
	diff - "$BATS_TEST_TMPDIR/out" <<<$'ffff\nread-only'
	[ "$(head -c 6 "${file}0")" = guest ]
	[ "$(tr -d f <"${file}1" | wc -c)" = 0 ]
}
