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

own_store() {
	jq -n --arg root "$WORK/store" '{"data-root": $root, template: "off"}' >"$WORK/settings.json"
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
		--config.env PLACE=image --config.env OTHER=kept --config.workingdir /app --config.user 1000:1000
	with_store image pull "oci:$WORK/layout:first"
	with_store image import "$WORK/layout" second
	with_store image ls >"$WORK/list"
	[ "$(grep -c ' 2  ' "$WORK/list")" = 2 ]
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
	[ "$(with_store launch --name kept "$BUNDLE/rootfs" -- /bin/sh -c 'echo directory')" = directory ]
	[ "$(with_store state kept | jq -r .status)" = stopped ]
	with_store delete kept
	[ -z "$(ls -A "$WORK/store/launch" "$WORK/store/unpack" | grep -v :)" ]
	with_store image rm second
	with_store image rm first
	[ -z "$(ls "$WORK/store/images/blobs/sha256")" ]
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
