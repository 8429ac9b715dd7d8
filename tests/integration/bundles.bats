#!/usr/bin/env bats
# Bundles that others made run as they are: runc's and crun's own config.json, and a Debian that mmdebstrap made and
# umoci unpacked (tests/debian-bundle; without it, which needs root and Debian's archive, its tests are skipped).
# In single quotes are jq's variables and other shells'.
# shellcheck disable=SC2016

load helpers

debian=build/tests/debian-bundle/bundle

need_debian() {
	[ -e $debian/config.json ] ||
		skip "there is no build/tests/debian-bundle: that takes root and a way to Debian's archive"
}

# debian_run FILTER: stdin is the script that bash runs in the Debian bundle, whose root is used where it is. FILTER
# changes the config.json further.
debian_run() {
	need_debian
	rm -rf "$BUNDLE"
	mkdir "$BUNDLE"
	cp $debian/config.json "$BUNDLE"
	config '.root.path = $root | .process.terminal = false | '"$1" --arg root "$PWD/$debian/rootfs"
	command_is /bin/bash -c "$(cat)"
	LIMIT=300 bulkhead run -b "$BUNDLE" "$ID" </dev/null
}

@test "what runc spec and crun spec write, with a busybox root" {
	local tool
	for tool in runc crun; do
		rm "$BUNDLE/config.json"
		(cd "$BUNDLE" && "$tool" spec)
		# Not a letter is changed: a terminal, and a shell that is told by keys what to do.
		terminal_open build/bulkhead --root "$WORK/state" run -b "$BUNDLE" "$ID"
		terminal_shows '/ # '
		terminal_type 'echo "$((20 + 22)) $(tty) $(hostname)"\r'
		terminal_shows "42 /dev/pts/0 $tool"
		terminal_type 'exit 6\r'
		terminal_ends 6
	done
}

@test "Debian's bundle as umoci leaves it" {
	local before
	need_debian
	before=$(stat -c '%n %s %y' $debian $debian/* | sort)
	# Its image may have to be made first, of files that the lab has by way of 9p: over a minute.
	LIMIT=300 terminal_open build/bulkhead --root "$WORK/state" run -b $debian "$ID"
	WAIT=200 terminal_shows '.*root@umoci-default:~# '
	terminal_type 'echo "$BASH_VERSION $((20 + 22)) $PWD $LANG"; id -un\r'
	terminal_shows '5\.[0-9.()a-z-]* 42 /root C.UTF-8'
	terminal_shows root
	terminal_type 'exit 6\r'
	terminal_ends 6
	[ "$(stat -c '%n %s %y' $debian $debian/* | sort)" = "$before" ]
}

# What a container engine gives its root, instead of umoci's three capabilities.
engine_root='.process.noNewPrivileges = false | .process.capabilities[] |= (. + (["SETUID", "SETGID", "CHOWN",
	"FOWNER", "FSETID", "DAC_OVERRIDE", "MKNOD", "SYS_CHROOT", "NET_RAW", "SETPCAP", "SETFCAP"] |
	map("CAP_" + .)) | unique)'

@test "Debian's programs work" {
	local line version
	need_debian
	debian_run "$engine_root" \
		>"$WORK/out" 2>"$WORK/err" <<-'END'
		. /etc/os-release && echo "$ID $VERSION_CODENAME"
		dpkg -l | grep -c ^ii
		dpkg --audit
		dpkg --verify | grep -c -v ' c '
		apt-get --version | head -n 1 | cut -d' ' -f1
		apt-cache policy bash | grep -c Installed
		perl -MList::Util=sum -e 'print sum(1 .. 100), " perl\n"'
		su -s /bin/sh nobody -c 'id -un; id -gn; touch /x 2>/dev/null || echo refused'
		runuser -u nobody -- sh -c 'echo "$(id -u) runuser"'
		useradd -m -s /bin/bash somebody && su - somebody -c 'pwd; id -un; echo $SHELL'
		cd /root
		tar -C / -cf etc.tar etc && mkdir new && tar -C new -xf etc.tar &&
			diff -r --no-dereference /etc new/etc && echo tar
		find /usr/bin -type f -print0 | xargs -0 sha256sum >sums && sha256sum --quiet -c sums && echo sums
		mkdir /data && mv /etc/debian_version /data/ && [ ! -e /etc/debian_version ] && cat /data/debian_version
		rm -r /usr/share/bug && ls /usr/share/bug 2>/dev/null || echo gone
		mkfifo /tmp/p && (echo through >/tmp/p &) && cat /tmp/p
		[ "$(</proc/1/comm)" = bash ] && echo 'bash is the first'
		hostname; df --output=target / | tail -n 1
		timeout 0.2 sleep 5 || echo "timeout $?"
	END
	cat "$WORK/out" "$WORK/err"
	[ ! -s "$WORK/err" ]
	[ "$(sed -n 2p "$WORK/out")" = "$(grep -c '^Package:' $debian/rootfs/var/lib/dpkg/status)" ]
	read -r version <$debian/rootfs/etc/debian_version
	for line in apt 1 '5050 perl' nobody nogroup refused '65534 runuser' /home/somebody somebody /bin/bash \
		tar sums "$version" gone through 'bash is the first' umoci-default / 'timeout 124'; do
		grep -qxF -e "$line" "$WORK/out" || { echo "no line: $line" >&2; return 1; }
	done
	# What was written and removed is in the VM's scratch disk alone.
	[ ! -e $debian/rootfs/data ]
	[ -d $debian/rootfs/usr/share/bug ]
}

# Everything there is to a tree: type, mode, owner, size, time, links of every file, where a link leads, which names
# are one file (by the first of them), contents of the interesting parts. Sizes of directories are the file system's.
tree_script='cd "$1" && {
	find . -xdev -mindepth 1 ! -type d -printf "%y %m %U:%G %s %Ts %n %P -> %l\n"
	find . -xdev -mindepth 1 -type d -printf "%y %m %U:%G %Ts %P\n"
	find . -xdev -type f -links +1 -printf "%i %P\n" | LC_ALL=C sort -k2 |
		awk "{ if (!first[\$1]) first[\$1] = \$2; print \$2, \"is\", first[\$1] }"
	find . -xdev \( -type b -o -type c \) -exec stat -c "%n %t %T" {} +
	find etc usr/bin usr/sbin -xdev -type f -print0 | xargs -0 sha256sum
} | LC_ALL=C sort'

@test "Debian's tree inside is the one of the host, file by file" {
	need_debian
	debian_run "$engine_root"' | .mounts |= map(select(.destination == "/proc")) | .root.readonly = true' \
		>"$WORK/inside" 2>"$WORK/err" <<<"set -- /; $tree_script"
	[ ! -s "$WORK/err" ] || { cat "$WORK/err" >&2; false; }
	bash -c "$tree_script" bash $debian/rootfs >"$WORK/outside"
	[ "$(wc -l <"$WORK/outside")" -gt 5000 ]
	grep -q '^f 4755 0:0 .* usr/bin/su ' "$WORK/outside"
	# The mount point, and what the runtime puts into an image's /dev.
	for side in inside outside; do
		grep -v -e '^d [0-9]* 0:0 [0-9]* \(proc\|dev\)$' -e ' \(dev/.*\|proc\)\($\| -> \)' -e '^\./dev/' \
			"$WORK/$side" >"$WORK/$side.files"
	done
	diff "$WORK/outside.files" "$WORK/inside.files" >"$WORK/diff" || { head -n 40 "$WORK/diff" >&2; return 1; }
}
