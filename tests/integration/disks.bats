#!/usr/bin/env bats
# Where a container writes, on its scratch disk and on a volume: that they are file systems as others are, how much they
# take, what is left after a kill, and when the host's disk is full.
# In single quotes are other shells' variables.
# shellcheck disable=SC2016

load helpers

# make soak has more of each.
: "${DISKS_FILES:=300}"      # small files
: "${DISKS_MIB:=8}"          # one large file
: "${DISKS_OPERATIONS:=150}" # of each exerciser

# A volume on a file system of its own, as disks have them, and programs of ours in the root.
setup_file() {
	modprobe loop 2>/dev/null || true
}

volume() {
	local program
	mkdir "$WORK/volume"
	truncate -s "$1" "$WORK/volume.ext4"
	mkfs.ext4 -q "$WORK/volume.ext4"
	mount -o loop "$WORK/volume.ext4" "$WORK/volume"
	for program in fsx fsstress posix bulk; do
		cp "build/tests/$program" "$BUNDLE/rootfs/bin/"
	done
	config '.mounts += [{destination: "/data", type: "bind", source: $from, options: ["rbind"]}] | .root.readonly = false |
		.process.capabilities[] |= . + ["CAP_CHOWN", "CAP_FOWNER", "CAP_FSETID", "CAP_SETUID", "CAP_SETGID", "CAP_MKNOD",
			"CAP_DAC_OVERRIDE"]' --arg from "$WORK/volume"
}

teardown() {
	delete_all
	[ ! -e "$WORK/loops" ] || xargs -n 1 losetup -d <"$WORK/loops" 2>/dev/null || true
	umount "$WORK"/{volume,store} 2>/dev/null || true
}

@test "scratch disk and volume keep what POSIX promises, and survive what exercises file systems" {
	volume 200M
	LIMIT=20000 in_container '
		cd /
		for dir in /scratch /data; do
			mkdir -p $dir
			echo $dir; posix $dir/posix
			fsx $dir/fsx 7 '"$DISKS_OPERATIONS"' && echo fsx
			fsstress $dir/stress 8 '"$DISKS_OPERATIONS"' 3 && echo fsstress
		done' >"$WORK/out" 2>"$WORK/err" || true
	cat "$WORK/out" "$WORK/err" >&2
	diff - <(cat "$WORK/out" "$WORK/err") <<-END
		/scratch
		244 promises, 0 broken
		fsx
		fsstress
		/data
		244 promises, 0 broken
		fsx
		fsstress
	END
	umount "$WORK/volume"
	e2fsck -fn "$WORK/volume.ext4"
}

@test "a volume: many small files and a large one, there and back" {
	local start=${EPOCHREALTIME/[.,]/} now
	volume $((DISKS_MIB + DISKS_FILES / 100 + 100))M
	took() {
		now=${EPOCHREALTIME/[.,]/}
		echo "$1: $(((now - start) / 1000)) ms" >&3
		start=$now
	}
	LIMIT=7200 in_container "bulk write files /data/guest $DISKS_FILES"
	took "$DISKS_FILES files written by the guest, with its start"
	build/tests/bulk check files "$WORK/volume/guest" "$DISKS_FILES"
	mv "$WORK/volume/guest" "$WORK/volume/host"
	took 'read by the host'
	LIMIT=7200 in_container "bulk check files /data/host $DISKS_FILES && ls /data/host/0 | wc -l && rm -r /data/host" >"$WORK/out"
	took 'read by the guest and removed'
	[ "$(cat "$WORK/out")" = $((DISKS_FILES < 1000 ? DISKS_FILES : 1000)) ]
	[ "$(ls "$WORK/volume")" = lost+found ]
	LIMIT=7200 in_container "bulk write stream /data/large $DISKS_MIB"
	took "$DISKS_MIB MiB written by the guest"
	build/tests/bulk check stream "$WORK/volume/large" "$DISKS_MIB"
	[ "$(stat -c %s "$WORK/volume/large")" = $((DISKS_MIB << 20)) ]
	took 'read by the host'
	build/tests/bulk write stream "$WORK/volume/large" "$DISKS_MIB"
	LIMIT=7200 in_container "bulk check stream /data/large $DISKS_MIB"
	took 'written by the host and read by the guest'
}

# The scratch disk has no name; who has it open keeps it for longer than the VMM.
@test "fsync on the scratch disk: what it returned for is there when the VMM is killed" {
	local job pid fd name scratch=
	volume 20M
	command_is /bin/sh -c 'dd if=/dev/zero bs=1k count=300 2>/dev/null | tr "\0" k >/kept && sync /kept && echo >/data/synced; sleep 1000'
	bulkhead run -b "$BUNDLE" "$ID" </dev/null >/dev/null 2>&1 &
	job=$!
	eventually test -e "$WORK/volume/synced"
	pid=$(bulkhead state "$ID" | jq .pid)
	for fd in "/proc/$pid/fd"/*; do
		name=$(readlink "$fd")
		[[ $name = /memfd:* || $name != *'(deleted)' ]] || exec {scratch}<"$fd"
	done
	[ "$scratch" ] || { ls -l "/proc/$pid/fd" >&2; return 1; }
	kill -9 "$pid"
	ends_with 137 $job
	debugfs -R 'ls -p /' "/proc/$BASHPID/fd/$scratch" >&2
	debugfs -R 'cat /upper/kept' "/proc/$BASHPID/fd/$scratch" 2>/dev/null >"$WORK/kept"
	[ "$(tr -d k <"$WORK/kept" | wc -c) $(stat -c %s "$WORK/kept")" = '0 307200' ]
}

@test "a host's disk that is full is an I/O error in one guest, the other goes on" {
	local job
	volume 20M
	mkdir "$WORK/store"
	mount -t tmpfs -o size=24m store "$WORK/store"
	jq -n --arg root "$WORK/store" '{"data-root": $root, template: "off"}' >"$WORK/settings.json"
	BIG=$BUNDLE/rootfs/big
	head -c 3000000 /dev/urandom >"$BIG"
	command_is /bin/sh -c 'touch /data/up; until [ -e /data/full ]; do sleep 0.1; done
		sha256sum </big; echo memory >/dev/shm/x && cat /dev/shm/x; echo volume >/data/x && sync /data/x && cat /data/x'
	bulkhead --config "$WORK/settings.json" run -b "$BUNDLE" "$ID-other" </dev/null >"$WORK/other" &
	job=$!
	eventually test -e "$WORK/volume/up"
	command_is /bin/sh -c 'dd if=/dev/zero of=/much bs=1M count=100 conv=fsync 2>&1 | grep -o "Input/output error"
		echo still here; touch /data/full'
	bulkhead --config "$WORK/settings.json" run -b "$BUNDLE" "$ID" </dev/null >"$WORK/out"
	diff - "$WORK/out" <<<$'Input/output error\nstill here'
	ends_with 0 $job
	diff - "$WORK/other" <<<"$(sha256sum <"$BIG")"$'\nmemory\nvolume'
	# And who comes later is told.
	! bulkhead --config "$WORK/settings.json" run -b "$BUNDLE" "$ID" </dev/null >"$WORK/out" 2>&1 || cat "$WORK/out" >&2
}

@test "names in a volume that change all the time never lead out of it" {
	local job code=0
	volume 20M
	mkdir "$WORK/outside" "$WORK/volume/a"
	echo outside >"$WORK/outside/secret"
	echo inside >"$WORK/volume/a/secret"
	ln -s "$WORK/outside" "$WORK/volume/b"
	# renameat2 with RENAME_EXCHANGE.
	perl -e 'chdir $ARGV[0]; my ($a, $b) = ("a", "b"); while (1) { syscall(316, -100, $a, -100, $b, 2); select undef, undef, undef, 0.0003 }' "$WORK/volume" 3>&- &
	job=$!
	in_container '
		# At least so often, and until the right file was met.
		i=0; while [ $i -lt 60 ] || { [ ! -s /got ] && [ $i -lt 3000 ]; }; do
			cat /data/a/secret /data/b/../a/secret >>/got; echo x >/data/a/new$i; i=$((i + 1)); done 2>/dev/null
		cat /got
		cd /data && mv b/../../outside x 2>/dev/null; exit 0' >"$WORK/out" || code=$?
	kill $job
	wait $job || true
	[ "$code" = 0 ]
	[ "$(sort -u "$WORK/out")" = inside ]
	[ "$(ls "$WORK/outside")" = secret ]
}

# number_of DEVICE: MAJOR:MINOR.
number_of() {
	printf '%d:%d' "$(stat -c 0x%t "$1")" "$(stat -c 0x%T "$1")"
}

# device PATH FILE ACCESS: the file as a block device, which the container is given as PATH. (An empty ACCESS: no rule.)
device() {
	local loop
	loop=$(losetup --find --show "$2")
	echo "$loop" >>"$WORK/loops"
	config '($number | split(":") | map(tonumber)) as [$major, $minor] |
		.linux.devices += [{path: $path, type: "b", major: $major, minor: $minor, fileMode: 432, uid: 0, gid: 6}] |
		if $access == "" then . else .linux.resources.devices += [
			{allow: true, type: "b", major: $major, minor: $minor, access: $access}] end' \
		--arg number "$(number_of "$loop")" --arg path "$1" --arg access "$3"
}

@test "block devices of the host are disks of the VM: written, read only, not allowed; fsync before a kill" {
	local job
	volume 20M
	for file in one two three; do
		head -c 4194304 /dev/zero | tr '\0' $file >"$WORK/$file"
	done
	device /dev/data "$WORK/one" rwm
	device /dev/deep/only-read "$WORK/two" rm
	device /dev/neither "$WORK/three" ''
	command_is /bin/sh -c '
		stat -c "%F %a %u %g" /dev/data; blockdev --getsize64 /dev/data
		head -c 4 /dev/data; echo; head -c 4 /dev/deep/only-read; echo
		dd if=/dev/neither count=1 2>&1 | grep -o "No such device"
		echo x 2>&1 >/dev/deep/only-read | grep -o "not permitted\|denied\|Read-only"
		tr "\0" X </dev/zero | dd of=/dev/data bs=4096 count=500 seek=10 conv=fsync,notrunc 2>/dev/null && echo >/data/synced
		exec sleep 1000'
	bulkhead run -b "$BUNDLE" "$ID" </dev/null >"$WORK/out" 2>"$WORK/err" &
	job=$!
	eventually test -e "$WORK/volume/synced"
	kill -9 "$(bulkhead state "$ID" | jq .pid)"
	ends_with 137 $job
	xargs -n 1 losetup -d <"$WORK/loops" && rm "$WORK/loops"
	diff - "$WORK/out" <<-'END'
		block special file 660 0 6
		4194304
		oooo
		tttt
		No such device
		not permitted
	END
	[ "$(head -c 40960 "$WORK/one" | tr -d o | wc -c)" = 0 ]
	[ "$(tail -c +40961 "$WORK/one" | head -c 2048000 | tr -d X | wc -c)" = 0 ]
	[ "$(tail -c +2088961 "$WORK/one" | tr -d o | wc -c)" = 0 ]
	[ "$(tr -d t <"$WORK/two" | wc -c)" = 0 ]
	config '.linux.devices = [{path: "/dev/x", type: "b", major: 259, minor: 999}] |
		.linux.resources.devices += [{allow: true, type: "b", major: 259, minor: 999, access: "rwm"}]'
	refuses 'linux.devices[0]: /dev/x: open block device 259:999: No such device or address' create -b "$BUNDLE" "$ID"
}

@test "io.bulkhead.disk-io=direct: past the host's page cache, for the disks that are the container's own" {
	local loop opened
	head -c 1048576 /dev/zero >"$WORK/data"
	device /dev/data "$WORK/data" rwm
	loop=$(tail -n 1 "$WORK/loops")
	config '.root.readonly = true | .annotations["io.bulkhead.disk-io"] = "direct"'
	command_is /bin/sh -c 'tr "\0" X </dev/zero | dd of=/dev/data bs=4096 count=16 conv=fsync,notrunc 2>/dev/null
		echo 3 >/dev/data && sync && head -c 2 /dev/data && exec sleep 1000'
	bulkhead run -d -b "$BUNDLE" "$ID" </dev/null >"$WORK/out" 2>"$WORK/err"
	eventually grep -q 3 "$WORK/out"
	# O_DIRECT is 040000. The layers are shared by the page cache.
	opened=$(cd "/proc/$(bulkhead state "$ID" | jq .pid)" && for fd in fd/*; do
		(((8#$(sed -n 's/^flags:\t*//p' "fdinfo/${fd#fd/}") & 8#40000) == 0)) || readlink "$fd"
	done)
	bulkhead delete --force "$ID"
	xargs -n 1 losetup -d <"$WORK/loops" && rm "$WORK/loops"
	[ "$(sort -u <<<"$opened")" = "$loop" ]
	[ "$(head -c 65536 "$WORK/data" | tr -d X | od -An -c | tr -d ' ')" = '3\n' ]
	config '.annotations["io.bulkhead.disk-io"] = "fast"'
	refuses 'is not cached or direct' create -b "$BUNDLE" "$ID"
}

# throttle FIELD DEVICE RATE: for update's resources, which go to $WORK/resources.
throttle() {
	jq -n --arg field "$1" --arg number "$(number_of "$2")" --argjson rate "$3" '
		($number | split(":") | map(tonumber)) as [$major, $minor] |
		{blockIO: {($field): [{major: $major, minor: $minor, rate: $rate}]}}' >"$WORK/resources"
}

# By the VM's own buckets: the host's control groups are left out.
@test "blockIO's throttles: a device and a file system's disk, each direction for itself, and other ones while it runs" {
	local data store
	truncate -s 100M "$WORK/store.ext4"
	mkfs.ext4 -q "$WORK/store.ext4"
	mkdir "$WORK/store"
	mount -o loop "$WORK/store.ext4" "$WORK/store"
	store=$(findmnt -no SOURCE "$WORK/store")
	jq -n --arg root "$WORK/store" '{"data-root": $root, template: "off"}' >"$WORK/settings.json"
	truncate -s 16M "$WORK/data"
	device /dev/data "$WORK/data" rwm
	data=$(tail -n 1 "$WORK/loops")
	throttle throttleWriteBpsDevice "$store" 1048576
	config '.root.readonly = false | .linux.resources += $more' --argjson more "$(cat "$WORK/resources")"
	throttle throttleReadBpsDevice "$data" 262144
	config '.linux.resources.blockIO += $more.blockIO' --argjson more "$(cat "$WORK/resources")"
	command_is /bin/sh -c '
		now() { sed "s/\..*//" /proc/uptime; }
		a=$(now); dd if=/dev/zero of=/much bs=64k count=48 conv=fsync 2>/dev/null; b=$(now); echo "scratch $((b - a))"
		dd if=/dev/zero of=/dev/data bs=64k count=48 seek=200 conv=fsync 2>/dev/null; c=$(now); echo "write $((c - b))"
		dd if=/dev/data of=/dev/null bs=64k count=12 2>/dev/null; d=$(now); echo "read $((d - c))"
		dd if=/dev/data of=/dev/null bs=64k count=180 skip=16 2>/dev/null; echo "rest $(($(now) - d))"'
	bulkhead --config "$WORK/settings.json" --cgroup-manager disabled run -d -b "$BUNDLE" "$ID" </dev/null >"$WORK/out" 2>&1
	eventually grep -q read "$WORK/out"
	throttle throttleReadBpsDevice "$data" 0
	bulkhead update --resources "$WORK/resources" "$ID"
	[ "$(jq -c '.rates.disks[] | [.rates[][0]]' "$WORK/state/$ID/state.json" | sort -u)" = $'[0,0,0,0]\n[0,0,1048576,0]' ]
	eventually has_status "$ID" stopped
	bulkhead delete "$ID"
	cat "$WORK/out" >&2
	[ "$(sed -n 's/^scratch //p' "$WORK/out")" -ge 2 ]
	[ "$(sed -n 's/^write //p' "$WORK/out")" -le 8 ]
	[ "$(sed -n 's/^read //p' "$WORK/out")" -ge 2 ]
	# By the first rate it would be 45.
	[ "$(sed -n 's/^rest //p' "$WORK/out")" -le 30 ]
	xargs -n 1 losetup -d <"$WORK/loops" && rm "$WORK/loops"
}

# What is on virtio-fs or in no disk of the VM's is limited there too.
@test "blockIO's throttles are the control group's as well, and one that cannot be is refused" {
	local data group
	truncate -s 1M "$WORK/data"
	device /dev/data "$WORK/data" rwm
	data=$(tail -n 1 "$WORK/loops")
	throttle throttleWriteIOPSDevice "$data" 77
	config '.linux.resources += $more | .linux.cgroupsPath = "/bh-throttles"' --argjson more "$(cat "$WORK/resources")"
	command_is /bin/sleep 1000
	bulkhead run -d -b "$BUNDLE" "$ID" </dev/null >"$WORK/out" 2>&1
	group=/sys/fs/cgroup/bh-throttles/io.max
	[ "$(cat $group)" = "$(number_of "$data") rbps=max wbps=max riops=max wiops=77" ]
	throttle throttleWriteIOPSDevice "$data" 0
	bulkhead update -r - "$ID" <"$WORK/resources"
	[ -z "$(cat $group)" ]
	bulkhead delete --force "$ID"
	xargs -n 1 losetup -d <"$WORK/loops" && rm "$WORK/loops"
	config '.linux.devices = [] | .linux.resources.devices = [] | .linux.resources.blockIO = {throttleReadBpsDevice: [{major: 259, minor: 999, rate: 1}]}'
	refuses 'write 259:999 rbps=1 to ' create -b "$BUNDLE" "$ID"
}
