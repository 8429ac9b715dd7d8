#!/usr/bin/env bats
# Memory that comes to a VM which runs, and goes back to the host.

load helpers

# up [OPTION]...: creates and starts the bundle.
up() {
	bulkhead create --bundle "$BUNDLE" "$ID" </dev/null >"$WORK/out" 2>&1
	bulkhead start "$ID"
}

inside() {
	bulkhead exec "$ID" "$@" </dev/null
}

# total_is OPERATOR MIB: MemTotal in the container.
total_is() {
	local kib
	kib=$(inside sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)
	[ "$kib" "$1" $(($2 << 10)) ]
}

host_limit() { cat "/sys/fs/cgroup/$ID/memory.max"; }
host_uses_less_than() { [ "$(cat "/sys/fs/cgroup/$ID/memory.current")" -lt $(($1 << 20)) ]; }

@test "update gives a running container more memory than its VM booted with, and takes it back" {
	local before grown
	config '.linux.resources.memory.limit = 67108864 | .annotations["io.bulkhead.memory-max"] = "1024"'
	command_is /bin/sh -c 'while :; do sleep 1000; done'
	up
	before=$(host_limit)
	total_is -lt 110
	plain update --memory 300m "$ID"
	total_is -ge 300
	[ "$(inside cat /sys/fs/cgroup/memory.max)" = $((300 << 20)) ]
	grown=$(host_limit)
	[ "$grown" -ge $((before + (256 << 20))) ]

	# All of it can be used.
	inside dd if=/dev/zero of=/dev/null bs=270M count=1
	# The same again changes nothing.
	plain update --memory 300m "$ID"
	[ "$(host_limit)" = "$grown" ]

	plain update --memory 64m "$ID"
	[ "$(inside cat /sys/fs/cgroup/memory.max)" = $((64 << 20)) ]
	eventually total_is -lt 110
	# What is in use the guest's kernel moves later, or keeps; the host's limit goes down to what is left when it is asked again.
	plain update --memory 64m "$ID"
	[ "$(host_limit)" -lt $((before + (32 << 20))) ]
	eventually host_uses_less_than 128

	# And once more.
	plain update --memory 200m "$ID"
	total_is -ge 200
	inside dd if=/dev/zero of=/dev/null bs=180M count=1
}

@test "a VM grows no further than it was to, and is then as it was" {
	local before
	config '.linux.resources.memory.limit = 67108864 | .annotations["io.bulkhead.memory-max"] = "256"'
	command_is /bin/sh -c 'while :; do sleep 1000; done'
	up
	before=$(host_limit)
	refuses 'can grow to' update --memory 300m "$ID"
	total_is -lt 110
	[ "$(host_limit)" = "$before" ]
	[ "$(inside cat /sys/fs/cgroup/memory.max)" = 67108864 ]
	plain update --memory 180m "$ID"
	total_is -ge 180
}

@test "what serves the shares knows of memory that has come" {
	mkdir "$WORK/volume"
	dd if=/dev/urandom of="$WORK/volume/file" bs=1M count=64 status=none
	config '.linux.resources.memory.limit = 67108864 | .annotations["io.bulkhead.memory-max"] = "1024"
		| .mounts += [{destination: "/volume", type: "bind", source: $source, options: ["rbind", "rw"]}]' --arg source "$WORK/volume"
	command_is /bin/sh -c 'while :; do sleep 1000; done'
	up
	plain update --memory 300m "$ID"
	inside cp /volume/file /volume/copy
	cmp "$WORK/volume/file" "$WORK/volume/copy"
	[ "$(inside sha256sum /volume/file)" = "$(sha256sum <"$WORK/volume/file" | cut -d' ' -f1)  /volume/file" ]
}

@test "a VM that has grown is saved with what has come, goes on with it, and gives it back" {
	local sum
	config '.linux.resources.memory.limit = 67108864 | .annotations["io.bulkhead.memory-max"] = "1024" | .root.readonly = false
		| .mounts += [{destination: "/memory", type: "tmpfs", source: "tmpfs", options: ["size=150m"]}]'
	command_is /bin/sh -c 'while :; do sleep 1; done'
	up
	plain update --memory 300m "$ID"
	# More than it booted with.
	inside /bin/sh -c 'for i in $(seq 70); do cat /bin/busybox; done >/memory/file; [ "$(stat -c %s /memory/file)" -gt 100000000 ]'
	sum=$(inside md5sum /memory/file)
	bulkhead checkpoint --image-path "$WORK/image" "$ID"
	bulkhead delete --force "$ID"
	bulkhead restore -d -b "$BUNDLE" --image-path "$WORK/image" "$ID" </dev/null >"$WORK/out" 2>"$WORK/err"
	total_is -ge 300
	[ "$(inside md5sum /memory/file)" = "$sum" ]
	inside rm /memory/file
	plain update --memory 64m "$ID"
	eventually total_is -lt 110
	plain update --memory 200m "$ID"
	total_is -ge 200
}
