#!/usr/bin/env bats
# What engines do with a container's files: cp, commit, diff, export, while it runs and when it has stopped. By the root
# mode "shared" (docs/storage.md), which is theirs unless they say otherwise.
# In single quotes are other shells' variables.
# shellcheck disable=SC2016

load helpers

setup_file() {
	command -v podman dockerd docker >/dev/null || skip "podman or docker is not installed"
	engine_folder
	podman_configure
	podman load -qi "$ENGINE/image.tar"
	dockerd_start
	docker load -q -i "$ENGINE/image.tar"
}

teardown_file() {
	[ -z "${ENGINE:-}" ] || podman rm -fat 0 >/dev/null
	docker_down
}

# up ENGINE NAME SCRIPT: a container that says when its script is done, and stays.
up() {
	"$1" run -d --network none --name "$2" "$IMAGE" sh -c "$3; echo done; exec sleep 1000" >/dev/null
	eventually is_done "$1" "$2"
}

is_done() {
	"$1" logs "$2" 2>&1 | grep -qx done
}

# shows ENGINE PATH TEXT: the last line of a file of the container, as cp has it. Within a second it is what the guest wrote.
shows() {
	[ "$("$1" cp "files:$2" - | tar -xO | tail -n 1)" = "$3" ]
}

# names TAR: what is in an archive, as ls would say it.
names() {
	tar -tvf "$1" --numeric-owner | awk '{ print $1, $2, $6 $7 $8 }' | sed 's, \./, ,; s, /, ,'
}

# files ENGINE: cp, diff, commit, export of one container, running and stopped.
files() {
	local engine=$1
	cd "$BATS_TEST_TMPDIR" || return
	up "$engine" files '
		echo guest >/written; mkdir /made; echo deep >/made/deep; echo more >>/etc/group; rm /etc/passwd
		ln /written /made/hard; ln -s /written /made/soft; chown 12:34 /made/deep; chmod 4751 /made/deep
		mv /usr /usr2; mkdir /usr; echo new >/usr/new; rm -r /root; mkdir /root
		cat /tmp/awaited 2>/dev/null; ls /tmp >/dev/null
		{ until grep -q . /tmp/awaited 2>/dev/null; do sleep 0.1; done; cat /tmp/awaited; } & true'
	# Out of a running one: what is new, and what the host has had a look at before.
	eventually shows "$engine" /made/deep deep
	eventually shows "$engine" /etc/group more
	"$engine" exec files sh -c 'mv /made/deep /made/deeper; echo again >/made/deep; echo last >>/etc/group'
	eventually shows "$engine" /made/deep again
	eventually shows "$engine" /etc/group last
	# In: where there was nothing, over a file of the image, over one of the guest's.
	echo host >new
	"$engine" cp new files:/tmp/new
	"$engine" cp new files:/etc/group
	"$engine" cp new files:/written
	[ "$("$engine" exec files cat /tmp/new /etc/group /written /made/hard)" = $'host\nhost\nhost\nguest' ]
	# The workload sees it by itself, though it has looked before.
	"$engine" cp new files:/tmp/awaited
	eventually has_log "$engine" host
	"$engine" diff files | LC_ALL=C sort >changes
	grep -qx 'A /made/deep' changes
	grep -qx 'A /tmp/new' changes
	grep -qx 'D /etc/passwd' changes
	grep -qx 'C /etc/group' changes
	eventually exports "$engine" running.tar
	"$engine" commit files localhost/running >/dev/null

	"$engine" kill files >/dev/null
	"$engine" wait files >/dev/null
	"$engine" diff files | LC_ALL=C sort | diff changes -
	shows "$engine" /made/deeper deep
	"$engine" cp new files:/made/stopped
	"$engine" commit files localhost/stopped >/dev/null
	"$engine" export files >stopped.tar
	diff <(names running.tar) <(names stopped.tar) | grep '^[<>]' | sed 's/ [^ ]*$//; s/$/ stopped/' | sort -u >differences
	"$engine" start files >/dev/null
	eventually is_done "$engine" files
	[ "$("$engine" exec files cat /made/stopped)" = host ]
	"$engine" rm -f files >/dev/null
	# What was committed is what the guest had.
	"$engine" run --rm --network none localhost/running sh -c '
		cat /made/deep /etc/group /written; stat -c "%a %u:%g" /made/deeper; ls /usr /root /usr2; test -e /etc/passwd || echo gone
		readlink /made/soft' >committed
	diff - committed <<<$'again\nhost\nhost\n4751 12:34\n/root:\n\n/usr:\nnew\n\n/usr2:\nbin\ngone\n/written'
	[ "$("$engine" run --rm --network none localhost/stopped cat /made/stopped /made/deeper)" = $'host\ndeep' ]
}

has_log() {
	"$1" logs files 2>&1 | grep -qx "$2"
}

# exports ENGINE TAR: an export that has what was written last.
exports() {
	"$1" export files >"$2" && tar -xOf "$2" tmp/awaited | grep -qx host
}

@test "podman cp, diff, commit, export" {
	files podman
}

@test "docker cp, diff, commit, export" {
	files docker
}
