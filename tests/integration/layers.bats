#!/usr/bin/env bats
# Roots: from the layers of an engine's overlay, or a directory, to the same tree inside; the cache of layers; scratch.
# In single quotes are jq's variables and other shells'.
# shellcheck disable=SC2016

load helpers

# What the runtime itself puts into a root: left out of comparisons.
own=(dev proc sys etc/hostname etc/resolv.conf etc/hosts etc/mtab)

# settings JSON: a store of the test's own, and more settings. Layers are counted from nothing.
own_store() {
	mkdir -p "$WORK/store"
	jq -n --arg root "$WORK/store" '{"data-root": $root, template: "off"} + '"${1:-{\}}" >"$WORK/settings.json"
	STORE=$WORK/store
}

with_store() {
	timeout --foreground -k 5 "${LIMIT:-90}" build/bulkhead --config "$WORK/settings.json" --debug --log "$WORK/log" \
		--root "$WORK/state" "$@"
}

layers() {
	ls "$STORE/layers" | wc -l
}

# overlay_root COUNT: $WORK/m, an overlay as engines make it; the layers are $WORK/l1 (the lowest) to lCOUNT.
overlay_root() {
	local i lower=''
	for ((i = 1; i <= $1; i++)); do
		lower=$WORK/l$i${lower:+:$lower}
	done
	mkdir -p "$WORK"/{up,work,m}
	mount -t overlay overlay -o "lowerdir=$lower,upperdir=$WORK/up,workdir=$WORK/work" "$WORK/m"
}

teardown() {
	delete_all
	umount "$WORK/store" 2>/dev/null || true
}

teardown_overlay() {
	umount "$WORK/m" 2>/dev/null || true
}

@test "an engine's overlay of ten layers reads the same inside: whiteouts, opaque directories, attributes, links" {
	local i
	own_store
	mv "$BUNDLE/rootfs" "$WORK/l1"
	cp build/tests/tree "$WORK/l1/bin/tree-of"
	mkdir -p "$WORK"/l{2,3,4,5,6,7,8,9,10}
	mkdir -p "$WORK"/l1/data/{gone,opaque,deep/a/b/c} "$WORK/l1/data/wide"
	echo hidden >"$WORK/l1/data/opaque/hidden"
	echo gone >"$WORK/l1/data/gone/file"
	echo removed >"$WORK/l1/data/removed"
	(cd "$WORK/l1/data/wide" && seq 3000 | xargs touch)
	echo one >"$WORK/l1/data/linked" && ln "$WORK/l1/data/linked" "$WORK/l1/data/deep/link"
	truncate -s 100M "$WORK/l1/data/sparse" && printf x | dd of="$WORK/l1/data/sparse" bs=1 seek=70M conv=notrunc status=none
	for ((i = 2; i <= 10; i++)); do
		mkdir -p "$WORK/l$i/data/deep/a"
		head -c "$((i * 5000))" /dev/urandom >"$WORK/l$i/data/deep/a/file$i"
		echo "layer $i" >"$WORK/l$i/data/deep/same"
	done
	mknod "$WORK/l3/data/removed" c 0 0
	mknod "$WORK/l4/data/gone" c 0 0
	mkdir "$WORK/l5/data/opaque"
	echo seen >"$WORK/l5/data/opaque/seen"
	mknod "$WORK/l6/data/null" c 1 3 && chmod 600 "$WORK/l6/data/null"
	mknod "$WORK/l6/data/disk" b 8 16
	mkfifo "$WORK/l6/data/fifo"
	ln -s /absolute/../path "$WORK/l6/data/symlink"
	echo caps >"$WORK/l7/data/file" && chown 123456:7654321 "$WORK/l7/data/file" && chmod 6751 "$WORK/l7/data/file"
	build/tests/set-attributes "$WORK/l5/data/opaque" trusted.overlay.opaque=y
	build/tests/set-attributes "$WORK/l7/data/file" security.test=value
	touch -d '1970-01-02 03:04:05.678901234' "$WORK/l7/data/file"
	touch -d '2200-01-01' "$WORK/l8/data/deep/same"
	overlay_root 10
	# What an engine does between mount and create.
	mkdir -p "$WORK/m/data/deep/new" && echo engine >"$WORK/m/data/deep/new/file"
	rm "$WORK/m/data/deep/a/file2"

	config '.root.path = $path | .root.readonly = true | .mounts |= map(select(.destination == "/proc")) |
		.process.capabilities[] |= . + ["CAP_DAC_READ_SEARCH"]' --arg path "$WORK/m"
	command_is /bin/tree-of / "${own[@]}"
	with_store run --timings "$WORK/timings" -b "$BUNDLE" "$ID" </dev/null >"$WORK/inside"
	build/tests/tree "$WORK/m" "${own[@]}" >"$WORK/outside"
	diff <(LC_ALL=C sort "$WORK/outside") <(LC_ALL=C sort "$WORK/inside") >"$WORK/diff" ||
		{ head -n 30 "$WORK/diff" >&2; teardown_overlay; return 1; }
	[ "$(wc -l <"$WORK/outside")" -gt 3100 ]
	grep -q '^data/opaque/seen ' "$WORK/outside"
	! grep -q -e '^data/opaque/hidden' -e '^data/gone' -e '^data/removed' "$WORK/outside" || false
	[ "$(layers)" = 10 ]

	# A second container of the image: no layer is made, hardly anything is written.
	before=$(du -sk "$STORE" | cut -f1)
	config '.root.readonly = false | .annotations["io.bulkhead.root"] = "scratch"'
	command_is /bin/sh -c 'echo new >/data/deep/same && cat /data/deep/same && ls /data/opaque'
	[ "$(with_store run -b "$BUNDLE" "$ID" </dev/null)" = $'new\nseen' ]
	[ "$(layers)" = 10 ]
	[ "$(cat "$WORK/m/data/deep/same")" = 'layer 10' ]
	after=$(du -sk "$STORE" | cut -f1)
	echo "store: $before KiB, then $after KiB" >&2
	[ $((after - before)) -lt 1024 ]
	teardown_overlay
}

@test "a root that is changed behind our back is noticed, the cache is checked, listed, bounded" {
	own_store
	mkdir -p "$BUNDLE/rootfs/etc/deep"
	echo first >"$BUNDLE/rootfs/etc/deep/file"
	command_is cat /etc/deep/file
	[ "$(with_store run -b "$BUNDLE" "$ID" </dev/null)" = first ]
	# Same size, same time of modification, the root directory itself as it was.
	touch -r "$BUNDLE/rootfs/etc/deep/file" "$WORK/time"
	printf 'again\n' >"$BUNDLE/rootfs/etc/deep/file"
	touch -r "$WORK/time" "$BUNDLE/rootfs/etc/deep/file"
	[ "$(with_store run -b "$BUNDLE" "$ID" </dev/null)" = again ]
	[ "$(layers)" = 2 ]
	with_store cache ls >"$WORK/list"
	[ "$(grep -c "$BUNDLE/rootfs" "$WORK/list")" = 2 ]
	[ "$(with_store cache verify)" = '2 layers, 0 damaged' ]
	# A flipped bit under the file system's back is verify's to find; a written byte is found at once.
	for image in "$STORE"/layers/*/image; do
		chmod 600 "$image"
		printf X | dd of="$image" bs=1 seek=9000 conv=notrunc status=none
	done
	[ "$(with_store run -b "$BUNDLE" "$ID" </dev/null)" = again ]
	grep -q 'is not used, and made again' "$WORK/log"
	run -1 with_store cache verify
	[[ $output == *'2 layers, 1 damaged'* ]]
	[ "$(layers)" = 1 ]
	# What a VM uses stays.
	command_is sleep 1000
	with_store create -b "$BUNDLE" "$ID" </dev/null >/dev/null 2>&1
	with_store cache gc --all
	[ "$(layers)" = 1 ]
	with_store cache ls | grep -q 'in use'
	with_store delete --force "$ID"
	with_store cache gc --all
	[ "$(layers)" = 0 ]
	[ -z "$(ls "$STORE/roots")" ]
}

@test "a full scratch disk is ENOSPC in the workload, what is removed goes back to the host" {
	own_store
	config '.root.readonly = false | .annotations["io.bulkhead.scratch-size"] = "64M"'
	command_is /bin/sh -c '
		dd if=/dev/zero of=/big bs=1M count=100 2>&1 | grep -o "No space left on device"
		rm /big && echo removed
		df -m / | tail -n 1 | { read -r _ size _; [ "$size" -lt 66 ] && echo small; }
		dd if=/dev/zero of=/again bs=1M count=20 2>/dev/null && echo again'
	with_store run -b "$BUNDLE" "$ID" </dev/null >"$WORK/out"
	diff "$WORK/out" - <<-'END'
		No space left on device
		removed
		small
		again
	END
	config '.annotations["io.bulkhead.scratch-size"] = "1"'
	refuses 'scratch-size: \"1\" is not a size from 16M to 16T' create -b "$BUNDLE" "$ID"
}

@test "a sealed layer that was altered on the disk is an I/O error inside, never other data" {
	local image offset
	own_store '{seal: "verity"}'
	head -c 300000 /dev/urandom >"$BUNDLE/rootfs/first"
	head -c 300000 /dev/urandom >"$BUNDLE/rootfs/second"
	command_is sha256sum /first /second
	with_store run -b "$BUNDLE" "$ID" </dev/null >"$WORK/out"
	(cd "$BUNDLE/rootfs" && sha256sum first second | sed 's, , /,2') | diff - "$WORK/out"
	with_store cache ls | grep -q sealed
	# A bit of the second file, as a failing disk would flip it: what is known about the image still fits.
	image=$(echo "$STORE"/layers/*/image)
	chmod 600 "$image"
	offset=$(LC_ALL=C grep -obUaPm1 "$(head -c 20 "$BUNDLE/rootfs/second" | od -An -tx1 | tr -d '\n' | sed 's/ /\\x/g')" "$image" | cut -d: -f1)
	printf '\377\000' | dd of="$image" bs=1 seek=$((offset + 100000)) conv=notrunc status=none
	jq --argjson stat "$(stat -c '{"size": %s, "inode": %i}' "$image")" --arg m "$(stat -c %.9Y "$image")" \
		--arg c "$(stat -c %.9Z "$image")" '.file = $stat + {mtime: "M", ctime: "C"}' "${image%image}entry.json" |
		sed -e "s/\"M\"/$(stat -c %.9Y "$image" | tr -d .)/" -e "s/\"C\"/$(stat -c %.9Z "$image" | tr -d .)/" \
			>"$WORK/entry"
	cp "$WORK/entry" "${image%image}entry.json"
	command_is /bin/sh -c 'sha256sum /first; sha256sum /second 2>&1'
	run -1 with_store run -b "$BUNDLE" "$ID" </dev/null
	! grep -q 'made again' "$WORK/log" || false
	[ "${lines[0]}" = "$(head -n 1 "$WORK/out")" ]
	[[ $output == *'/second: I/O error'* || $output == *'Input/output error'* ]]
}

# layer_of ID: device and inode of the image that the VMM of a container has open, as its descriptors say.
layer_of() {
	local pid
	pid=$(with_store state "$1" | jq .pid)
	stat -L -c '%d:%i %s' "/proc/$pid"/fd/* 2>/dev/null | grep -F "$(stat -c '%d:%i %s' "$STORE"/layers/*/image)"
}

# store_sectors: how many sectors of the store's disk the host has read so far.
store_sectors() {
	local reads merged sectors rest
	read -r reads merged sectors rest <"/sys/dev/block/$(stat -c %Hd:%Ld "$STORE")/stat"
	echo "$sectors"
}

@test "two running VMs read one file of the host's page cache: the second makes no layer, reads no disk and takes hardly anything" {
	local name before read image
	modprobe loop 2>/dev/null || true
	own_store
	truncate -s 64M "$WORK/store.ext4"
	mkfs.ext4 -q -O ^has_journal "$WORK/store.ext4"
	mount -o loop "$WORK/store.ext4" "$STORE"
	head -c 16000000 /dev/urandom >"$BUNDLE/rootfs/big"
	command_is true
	with_store run -b "$BUNDLE" "$ID" </dev/null
	image=$(echo "$STORE"/layers/*/image)
	# From now on what is read comes from the disk, once.
	sync "$image" && echo 1 >/proc/sys/vm/drop_caches
	[ "$(fincore -nbo RES "$image")" -lt 4000000 ]
	command_is /bin/sh -c 'sha256sum /big; exec sleep 1000'
	for name in one two; do
		before=$(du -sk "$STORE" | cut -f1) read=$(store_sectors)
		with_store run -d -b "$BUNDLE" "$ID-$name" </dev/null >"$WORK/$name" 2>"$WORK/err"
		eventually grep -q big "$WORK/$name"
		layer_of "$ID-$name" >"$WORK/layer-$name"
		read=$(($(store_sectors) - read))
		echo "$name: $((read / 2)) KiB read from the disk," "$(fincore -nbo RES "$image") bytes of the image in the page cache," \
			"$(($(du -sk "$STORE" | cut -f1) - before)) KiB more in the store" >&3
	done
	[ "$read" -lt 2048 ]
	[ "$(fincore -nbo RES "$image")" -le "$(stat -c %s "$image")" ]
	[ $(($(du -sk "$STORE" | cut -f1) - before)) -lt 1024 ]
	[ "$(layers)" = 1 ]
	[ -s "$WORK/layer-one" ] && diff "$WORK/layer-one" "$WORK/layer-two"
	diff "$WORK/one" "$WORK/two"
	with_store delete --force "$ID-one"
	with_store delete --force "$ID-two"
}
