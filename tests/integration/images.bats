#!/usr/bin/env bats
# Images without an engine: the store, launch, and images that attack.
# In single quotes are other shells' variables.
# shellcheck disable=SC2016

load helpers

# image NAME LAYER.tar...: an OCI layout $WORK/layout with it, made by umoci.
image() {
	local name=$1 layer
	shift
	[ -e "$WORK/layout" ] || umoci init --layout "$WORK/layout"
	umoci new --image "$WORK/layout:$name"
	for layer in "$@"; do
		umoci raw add-layer --image "$WORK/layout:$name" "$layer"
	done
}

# own_store [SETTINGS]
own_store() {
	jq -n --arg root "$WORK/store" '{"data-root": $root, template: "off"} + '"${1:-{\}}" >"$WORK/settings.json"
}

with_store() {
	timeout --foreground -k 5 "${LIMIT:-90}" build/bulkhead --config "$WORK/settings.json" --log "$WORK/log" --debug \
		--root "$WORK/state" "$@"
}

@test "pull, ls, launch with the image's configuration and options, rm" {
	local code=0
	own_store
	tar -C "$BUNDLE/rootfs" -cf "$WORK/l1.tar" .
	mkdir -p "$WORK/l2/etc" "$WORK/l2/app" && echo two >"$WORK/l2/app/file"
	: >"$WORK/l2/etc/.wh.group"
	tar -C "$WORK/l2" -cf "$WORK/l2.tar" .
	image first "$WORK/l1.tar" "$WORK/l2.tar"
	umoci config --image "$WORK/layout:first" --config.entrypoint /bin/echo --config.cmd from --config.cmd image \
		--config.env PLACE=image --config.env OTHER=kept --config.workingdir /app --config.user user
	with_store image pull "oci:$WORK/layout:first"
	with_store image import "$WORK/layout" second
	with_store image ls >"$WORK/list"
	[ "$(grep -c ' 2  ' "$WORK/list")" = 2 ]
	with_store image unpack first "$WORK/unpacked"
	[ "$(cat "$WORK/unpacked/rootfs/app/file")" = two ] && [ ! -e "$WORK/unpacked/rootfs/etc/group" ]
	[ "$(jq -r '.process | .args + [.cwd] | join(" ")' "$WORK/unpacked/config.json")" = '/bin/echo from image /app' ]
	[ "$(with_store launch --rm first)" = 'from image' ]
	[ "$(find "$WORK/store/layers" -name image | wc -l)" = 2 ]
	echo line | with_store launch --rm -i -e PLACE=here -w / -u 0 --hostname vm --memory 200M --read-only \
		--entrypoint /bin/sh first -- -c 'read -r x; echo $x $PLACE $OTHER $PWD $(id -u) $(hostname) $(cat /app/file)
			[ ! -e /etc/group ] && echo whiteout; touch /x 2>/dev/null || echo read-only; exit 7' >"$WORK/out" 2>"$WORK/err" || code=$?
	[ "$code" = 7 ]
	diff "$WORK/out" - <<-'END'
		line here kept / 0 vm two
		whiteout
		read-only
	END
	# A directory, and what is left when it is not removed.
	echo 'extra:x:77:other,user' >>"$BUNDLE/rootfs/etc/group"
	[ "$(with_store launch --name kept -u user "$BUNDLE/rootfs" -- /bin/sh -c 'echo $(id -u) $(id -G) $HOME')" = '1000 1000 77 /tmp' ]
	[ "$(with_store state kept | jq -r .status)" = stopped ]
	with_store delete kept
	[ -z "$(ls -A "$WORK/store/launch" "$WORK/store/unpack" | grep -v :)" ]
	! with_store launch --rm -u nobody first 2>"$WORK/err" || false
	grep -q 'unable to find user nobody: no line in /etc/passwd of the image' "$WORK/err"
	with_store image rm second
	with_store image rm first
	[ -z "$(ls "$WORK/store/images/blobs/sha256")" ]
}

@test "a layer with a whiteout and a directory of one name: what is below the directory is gone, in any order" {
	local order
	mkdir -p "$WORK"/t/{dir/deep,implied} "$WORK"/lower/{dir/deep,implied,gone} "$WORK/m"
	touch "$WORK"/t/dir/{new,deep/new} "$WORK/t/implied/new" "$WORK"/t/.wh.{dir,implied,gone,file} "$WORK/t/file"
	touch "$WORK"/lower/{dir/old,dir/deep/old,implied/old,file}
	for order in '.wh.dir .wh.implied .wh.file dir implied/new file' 'dir implied/new file .wh.dir .wh.implied .wh.file'; do
		rm -rf "$WORK/in" && mkdir "$WORK/in"
		# shellcheck disable=SC2086
		tar -C "$WORK/t" -cf - .wh.gone $order | build/bulkhead-unpack "$WORK/in"
		mount -t overlay overlay -o "lowerdir=$WORK/in:$WORK/lower" "$WORK/m"
		(cd "$WORK/m" && find . | LC_ALL=C sort | tr '\n' ' ') >"$WORK/found"
		umount "$WORK/m"
		diff -b - "$WORK/found" <<<'. ./dir ./dir/deep ./dir/deep/new ./dir/new ./file ./implied ./implied/new ' || return 1
	done
}

# hostile LAYER.tar TEXT: an image of it is refused by a line with TEXT, and nothing stays of it.
hostile() {
	local code=0
	rm -rf "$WORK/layout"
	image evil "$1"
	umoci config --image "$WORK/layout:evil" --config.cmd /bin/true
	with_store image pull "oci:$WORK/layout:evil"
	with_store launch --rm evil 2>"$WORK/stderr" || code=$?
	[ "$code" = 1 ] && grep -qF -e "$2" "$WORK/stderr" || { cat "$WORK/stderr" >&2; return 1; }
	[ -z "$(ls -A "$WORK/store/layers" "$WORK/store/unpack" | grep -v :)" ]
}

@test "images that attack: names that lead out, links, depth, damage" {
	local mark=$WORK/mark blob
	own_store
	mkdir "$mark" "$WORK/t"
	echo x >"$WORK/t/file"
	tar -C "$WORK/t" -P --transform "s,file,../../../../../../../../../..$mark/out," -cf "$WORK/up.tar" file
	hostile "$WORK/up.tar" 'a name with ".."'
	# An absolute name, and a name through the archive's own link, stay inside.
	tar -C "$WORK/t" -P --transform "s,file,$mark/out," -cf "$WORK/absolute.tar" file
	mkdir "$WORK/in"
	build/bulkhead-unpack "$WORK/in" <"$WORK/absolute.tar"
	[ -e "$WORK/in$mark/out" ]
	ln -s "$mark" "$WORK/t/link"
	tar -C "$WORK/t" -cf "$WORK/link.tar" link
	tar -C "$WORK/t" --transform 's,file,link/out,' -rf "$WORK/link.tar" file
	build/bulkhead-unpack "$WORK/in" <"$WORK/link.tar" || true
	[ -z "$(ls -A "$mark")" ]
	# A whiteout of nothing, and one of what is above.
	: >"$WORK/t/.wh." && : >"$WORK/t/.wh..."
	tar -C "$WORK/t" -cf "$WORK/whiteout.tar" .wh...
	hostile "$WORK/whiteout.tar" 'a whiteout of nothing'
	tar -C "$WORK/t" -cf "$WORK/whiteout.tar" .wh.
	hostile "$WORK/whiteout.tar" 'a whiteout of nothing'
	# 5,000 directories deep.
	deep=$(printf 'd/%.0s' {1..5000})
	tar -C "$WORK/t" --transform "s,file,${deep}file," -cf "$WORK/deep.tar" file
	hostile "$WORK/deep.tar" 'a path has over 4095 bytes'
	# Hard links to what is outside.
	echo x >"$WORK/t/hard-from" && ln "$WORK/t/hard-from" "$WORK/t/hard-to"
	tar -C "$WORK/t" -P --transform "flags=h;s,^.*$,../../../../../../../../..$mark/out," -cf "$WORK/hard.tar" hard-from hard-to
	hostile "$WORK/hard.tar" 'hard link to a name with ".."'
	echo secret >"$WORK/secret"
	tar -C "$WORK/t" -P --transform "flags=h;s,^.*$,$WORK/secret," -cf "$WORK/hard.tar" hard-from hard-to
	! build/bulkhead-unpack "$WORK/in" <"$WORK/hard.tar" || false
	[ "$(stat -c %h "$WORK/secret")" = 1 ]
	# Half an archive.
	tar -C "$BUNDLE/rootfs" -cf - . | head -c 700000 >"$WORK/half.tar"
	hostile "$WORK/half.tar" 'bulkhead-unpack: '
	# A blob that is not what its name says.
	rm -rf "$WORK/layout"
	tar -C "$WORK/t" -cf "$WORK/ok.tar" file
	image damaged "$WORK/ok.tar"
	umoci config --image "$WORK/layout:damaged" --config.cmd /bin/true
	with_store image pull "oci:$WORK/layout:damaged"
	for blob in "$WORK"/store/images/blobs/sha256/*; do
		[ "$(head -c 1 "$blob")" = '{' ] || echo more >>"$blob"
	done
	run -1 with_store launch --rm damaged
	[[ $output == *'is damaged: pull the image again'* ]]
}

: "${IMAGES_WIDE:=4000}" # entries of one directory

@test "images that attack: device nodes, a wide directory, archives that expand without bound" {
	own_store
	mkdir -p "$WORK/t/many"
	cp -a "$BUNDLE/rootfs/." "$WORK/t"
	mknod "$WORK/t/disk" b 8 0
	mknod "$WORK/t/memory" c 1 1
	(cd "$WORK/t/many" && seq "$IMAGES_WIDE" | xargs touch)
	tar -C "$WORK/t" -cf "$WORK/nodes.tar" .
	image evil "$WORK/nodes.tar"
	LIMIT=7200 with_store image pull "oci:$WORK/layout:evil"
	LIMIT=7200 with_store launch --rm evil -- /bin/sh -c '
		for node in disk memory; do dd if=/$node count=1 2>&1 | grep -o "not permitted\|No such device"; done
		ls /many | wc -l; rm /many/7; ls /many | wc -l' >"$WORK/out"
	diff - "$WORK/out" <<<$'No such device\nNo such device\n'"$IMAGES_WIDE"$'\n'$((IMAGES_WIDE - 1))
	rm -rf "$WORK/t" "$WORK/store" "$WORK/nodes.tar"
	# By content, by number of entries, by holes.
	own_store '{"cache-size": "16M"}'
	mkdir "$WORK/t"
	head -c 20000000 /dev/zero >"$WORK/t/zeroes"
	tar -C "$WORK/t" -cf "$WORK/zeroes.tar" zeroes
	hostile "$WORK/zeroes.tar" 'the layer expands to more than 16 MiB: cache-size, or half of what the disk has free, allows no more'
	rm "$WORK/t/zeroes"
	(cd "$WORK/t" && seq 4200 | xargs touch)
	tar -C "$WORK/t" -cf "$WORK/many.tar" .
	hostile "$WORK/many.tar" 'the layer expands to more than 16 MiB'
	truncate -s 1T "$WORK/t/hole"
	tar -C "$WORK/t" --sparse -cf "$WORK/hole.tar" hole
	hostile "$WORK/hole.tar" 'the layer expands to more than 16 MiB'
}

@test "launch: a terminal, volumes, CPUs" {
	own_store
	mkdir "$WORK/volume"
	echo host | tee "$WORK/volume/file" >"$WORK/single"
	terminal_open build/bulkhead --config "$WORK/settings.json" --root "$WORK/state" launch --rm -i -t --cpus 2 \
		-v "$WORK/volume:/data" -v "$WORK/single:/single:ro" "$BUNDLE/rootfs" -- /bin/sh -c '
			echo; stty size; echo "CPUs: $(nproc)"; cat /data/file; echo guest >/data/new; echo x 2>&1 >>/single || echo refused; read -r x; echo "got $x"'
	terminal_shows '33 111'
	terminal_shows "CPUs: $(($(nproc) > 1 ? 2 : 1))" # never more than the host has
	terminal_shows refused
	terminal_type 'typed\r'
	terminal_shows 'got typed'
	terminal_close
	grep -qx $'host\r' "$WORK/screen"
	[ "$(cat "$WORK/volume/new" "$WORK/single")" = $'guest\nhost' ]
}

unpacking() {
	[ "$(find "$WORK/store/unpack" -name '1*' 2>/dev/null | wc -l)" -gt 50 ]
}

@test "a launch that is killed while it unpacks, and two launches at once: made once, and nothing stays" {
	local job second
	own_store
	mkdir "$WORK/t"
	(cd "$WORK/t" && seq 2000 | xargs touch)
	cp -a "$BUNDLE/rootfs/." "$WORK/t"
	tar -C "$WORK/t" -cf "$WORK/layer.tar" .
	image some "$WORK/layer.tar"
	umoci config --image "$WORK/layout:some" --config.cmd /bin/hostname
	with_store image pull "oci:$WORK/layout:some"
	build/bulkhead --config "$WORK/settings.json" --root "$WORK/state" launch --rm some </dev/null >/dev/null 2>&1 &
	job=$!
	eventually unpacking
	kill -9 $job
	ends_with 137 $job
	with_store launch --rm --name one some </dev/null >"$WORK/one" &
	job=$!
	with_store launch --rm --name two some </dev/null >"$WORK/two" &
	second=$!
	ends_with 0 $job
	ends_with 0 $second
	[ "$(cat "$WORK/one" "$WORK/two")" = $'one\ntwo' ]
	[ "$(find "$WORK/store/layers" -name image | wc -l)" = 1 ]
	ls -A "$WORK/store/launch" "$WORK/store/unpack" >&2
	[ -z "$(ls -A "$WORK/store/launch" "$WORK/store/unpack" | grep -v :)" ]
}

: "${IMAGES_KILLS:=2}" # of pulls, and as many of first launches

# first_use STORE: pulls and launches from a store of its own.
first_use() {
	rm -rf "$WORK/store"
	[ ! -e "$1" ] || mv "$1" "$WORK/store"
	with_store image pull "oci:$WORK/layout:some" 2>>"$WORK/err"
	with_store launch --rm --name first some </dev/null
	with_store cache verify >&2
	mv "$WORK/store" "$1"
	(cd "$1" && find . ! -path './unpack/*:*' ! -path './launch/*:*' | sort)
}

@test "pulls and first launches that are killed at any moment: the next one makes what is missing, and nothing stays" {
	local i command job whole delay
	own_store
	mkdir "$WORK/t"
	(cd "$WORK/t" && seq 1000 | xargs touch)
	head -c 8000000 /dev/urandom >"$WORK/t/large"
	cp -a "$BUNDLE/rootfs/." "$WORK/t"
	tar -C "$WORK/t" -cf "$WORK/layer.tar" .
	image some "$WORK/layer.tar"
	umoci config --image "$WORK/layout:some" --config.cmd /bin/hostname
	whole=${EPOCHREALTIME/[.,]/}
	first_use "$WORK/reference" >"$WORK/wanted"
	whole=$(((${EPOCHREALTIME/[.,]/} - whole) / 1000)) # ms
	for command in "image pull oci:$WORK/layout:some" 'launch --rm some'; do
		own_store
		for ((i = 1; i <= IMAGES_KILLS; i++)); do
			# shellcheck disable=SC2086
			setsid build/bulkhead --config "$WORK/settings.json" --root "$WORK/state" $command </dev/null >/dev/null 2>&1 &
			job=$!
			delay=$((whole * i / IMAGES_KILLS))
			sleep "$((delay / 1000)).$(printf %03d $((delay % 1000)))"
			# In turn alone, and with all that it has started.
			kill -9 $((i % 2 ? job : -job)) 2>/dev/null || true
			wait $job || true
		done
		delete_all
		mv "$WORK/store" "$WORK/killed"
		first_use "$WORK/killed" >"$WORK/got"
		diff "$WORK/wanted" "$WORK/got"
		mv "$WORK/killed" "$WORK/store"
	done
}
