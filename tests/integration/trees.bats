#!/usr/bin/env bats
# Whole file trees of images: what a VM's workload reads is what it would read under runc, to the last attribute.
# In single quotes are jq's variables.
# shellcheck disable=SC2016

load helpers

: "${TREES_FILES:=1100}" # of the image of ten layers
: "${TREES_MIB:=4}"     # their content
: "${TREES_DEBIAN:=}"    # any text: Debian's tree too, which takes minutes in the lab

# What runtimes put into a root.
own=(dev proc sys etc/hostname etc/resolv.conf etc/hosts etc/mtab bin/tree-of)

with_store() {
	timeout --foreground -k 5 "${LIMIT:-7200}" build/bulkhead --config "$WORK/settings.json" --debug --log "$WORK/log" \
		--root "$WORK/state" "$@"
}

# The bundle runs tests/tree as /bin/tree-of of a root that nobody may write to.
lists_its_tree() {
	jq -n --arg root "$WORK/store" '{"data-root": $root, template: "off"}' >"$WORK/settings.json"
	config '.root.readonly = true | .mounts |= map(select(.destination == "/proc")) |
		.process.capabilities[] |= . + ["CAP_DAC_READ_SEARCH", "CAP_DAC_OVERRIDE"]'
	command_is /bin/tree-of / "${own[@]}"
}

# under_runc ROOTFS: the list as a process of the host's kernel sees it.
under_runc() {
	config '.root.path = $path | del(.annotations)' --arg path "$1"
	timeout -k 5 "${LIMIT:-7200}" runc --root "$WORK/runc" run -b "$BUNDLE" "$ID" </dev/null
}

# same_lists MINIMUM: both sides, of at least so many lines.
same_lists() {
	LC_ALL=C sort -o "$WORK/inside" "$WORK/inside"
	LC_ALL=C sort -o "$WORK/outside" "$WORK/outside"
	diff "$WORK/outside" "$WORK/inside" >"$WORK/diff" || { head -n 30 "$WORK/diff" >&2; return 1; }
	[ "$(wc -l <"$WORK/inside")" -ge "$1" ]
}

@test "an image of ten layers with whiteouts, opaque directories, attributes, links and holes" {
	local image=$BUNDLE/rootfs
	cp build/tests/tree "$image/bin/tree-of"
	lists_its_tree
	tests/tools/make-layers "$WORK/layout" big "$TREES_FILES" "$TREES_MIB" "$image"
	with_store image import "$WORK/layout" big
	config '.annotations["io.bulkhead.image"] = "big"'
	with_store run --timings "$WORK/timings" -b "$BUNDLE" "$ID" </dev/null >"$WORK/inside"
	rm -rf "$WORK/store"
	umoci raw unpack --image "$WORK/layout:big" "$WORK/rootfs"
	rm -rf "$WORK/layout"
	under_runc "$WORK/rootfs" >"$WORK/outside"
	# One in fifty is whited out, and those of two directories.
	same_lists $((TREES_FILES * 7 / 10))
	grep -q '^odd/ping .* security.capability=' "$WORK/inside"
	grep -q '^links/.* is data/' "$WORK/inside"
	grep -q '^data/9/1/only ' "$WORK/inside" || [ "$TREES_FILES" -le 1000 ]
	echo "$(wc -l <"$WORK/inside") entries, $(awk '$2 ~ /^10[0-9][0-9][0-9][0-9]$/ && $(NF - 1) != "is" {n += $4} END {print n}' "$WORK/inside") bytes" >&3
}

@test "Debian's minbase" {
	[ "$TREES_DEBIAN" ] || skip "takes minutes: TREES_DEBIAN=1, as make soak has it"
	cp -a build/tests/debian-bundle/bundle/rootfs "$WORK/debian"
	cp build/tests/tree "$WORK/debian/bin/tree-of"
	lists_its_tree
	config '.root.path = $path' --arg path "$WORK/debian"
	with_store run -b "$BUNDLE" "$ID" </dev/null >"$WORK/inside"
	under_runc "$WORK/debian" >"$WORK/outside"
	same_lists 8000
	echo "$(wc -l <"$WORK/inside") entries, $(awk '$2 ~ /^10[0-9][0-9][0-9][0-9]$/ && $(NF - 1) != "is" {n += $4} END {print n}' "$WORK/inside") bytes" >&3
}
