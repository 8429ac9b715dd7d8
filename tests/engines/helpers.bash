# What the engines' bats files share: the runtime under test, an image made by hand, and waiting for what engines do in
# the background. An engine's own data is in a tmpfs of the lab, and gone with the file's last test.
bats_require_minimum_version 1.5.0
load engines

TREE=$(cd "$BATS_TEST_DIRNAME/../.." && pwd -P)
RUNTIME=$TREE/build/bulkhead
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
