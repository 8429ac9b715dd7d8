#!/usr/bin/env bats
# The command line: options, commands, output formats, annotations.
# In single quotes are jq's variables and other shells'.
# shellcheck disable=SC2016

load helpers

@test "a wrong command line is told in one line" {
	local command
	refuses 'the command is missing: see bulkhead --help'
	refuses 'unknown command \"exek\": see bulkhead --help' exek c1
	refuses 'bulkhead: unknown option --bogus: see bulkhead --help' --bogus list
	refuses 'unknown option -x' -x list
	refuses 'option --log needs a value' --log
	refuses 'option --debug=1 takes no value' --debug=1 list
	refuses '--log-format: \"xml\" is not one of text, json' --log-format xml list
	refuses '--cgroup-manager: \"none\" is not one of cgroupfs, systemd, disabled' --cgroup-manager none list
	refuses '--rootless: \"maybe\" is not one of true, false, auto' --rootless maybe list
	refuses 'open log /nonexistent/log: No such file or directory' --log /nonexistent/log list
	refuses '--format: \"yaml\" is not table or json' list -f yaml
	refuses '--preserve-fds 2: open files cannot be handed into a VM' create --preserve-fds 2 c1
	refuses 'option --bundle needs a value' create --bundle
	for command in create run start state kill delete; do
		refuses "bulkhead $command: the container's id is missing: see bulkhead $command --help" $command
		refuses "bulkhead $command: unknown option --bogus" $command --bogus c1
		refuses "bulkhead $command: unexpected argument" $command c1 KILL more
	done
	for command in list spec features check; do
		refuses "bulkhead $command: unexpected argument \\\"c1\\\"" $command c1
	done
	[ ! -e "$WORK/state" ]
}

@test "version and help" {
	local command
	[ "$(plain --version)" = $'bulkhead version 0.1.0\nspec: 1.0.2' ]
	[ "$(plain -v)" = "$(plain --version)" ]
	plain --help >"$WORK/help"
	grep -q '^usage: bulkhead \[OPTION\]... COMMAND' "$WORK/help"
	grep -q '^  *--log-format FORMAT  *text or json' "$WORK/help"
	for command in create start run state kill delete list spec features check; do
		grep -q "^  $command " "$WORK/help"
		plain $command --help >"$WORK/command-help"
		grep -q "^usage: bulkhead $command \[OPTION\]" "$WORK/command-help"
		grep -q -e '-h, --help' "$WORK/command-help"
	done
	[ "$(awk 'length > 100' "$WORK/help")" = "" ]
	[ ! -e "$WORK/state" ]
}

@test "features is what the specification describes" {
	plain features >"$WORK/features"
	jq -e '(.ociVersionMin | test("^1\\.")) and (.ociVersionMax | test("^1\\."))' "$WORK/features"
	jq -e 'all(.hooks, .mountOptions, .linux.namespaces, .linux.seccomp.archs; type == "array")' "$WORK/features"
	jq -e '.linux.cgroup.v2 == true and .linux.seccomp.enabled == true' "$WORK/features"
	jq -e '[.linux.namespaces[]] | index("pid") and index("mount") and index("network")' "$WORK/features"
	jq -e '.mountOptions | index("ro") and index("nosuid")' "$WORK/features"
	jq -e '.annotations | all(.[]; type == "string")' "$WORK/features"
	run -1 bash -c 'build/bulkhead features >/dev/full'
	[[ $output = *'No space left on device'* ]]
}

@test "check says item by item whether containers can run here" {
	plain check >"$WORK/check"
	[ "$(cut -d' ' -f1 "$WORK/check" | tr '\n' ' ')" = \
		'vmm kvm kernel initramfs mkfs.erofs mkfs.ext4 memory cpu smt ksm landlock ' ]
	# The last four are notes for the host's owner.
	[ "$(head -n 7 "$WORK/check" | grep -vc ' ok: ')" = 0 ]

	echo 'not a kernel' >"$WORK/garbage"
	run -1 env BULKHEAD_KERNEL="$WORK/garbage" build/bulkhead check
	grep -q "^kernel *MISSING: $WORK/garbage is not an uncompressed kernel" <<<"$output"
	run -1 env BULKHEAD_KERNEL="$WORK/none" build/bulkhead check
	grep -q '^kernel *MISSING: .*run make' <<<"$output"
	run -1 env BULKHEAD_INITRAMFS="$WORK/garbage" build/bulkhead check
	grep -q "^initramfs *MISSING: $WORK/garbage is not an uncompressed cpio archive" <<<"$output"
	run -1 env BULKHEAD_VMM="$WORK/none" build/bulkhead check
	grep -q '^vmm *MISSING: bulkhead-vmm: run make' <<<"$output"
}

@test "spec writes a config that runs" {
	rm "$BUNDLE/config.json"
	(cd "$BUNDLE" && "$OLDPWD/build/bulkhead" spec)
	refuses "File $BUNDLE/config.json exists" spec -b "$BUNDLE"
	jq -e '.ociVersion == "1.0.2" and .process.args == ["sh"] and .root.path == "rootfs"' "$BUNDLE/config.json"
	config '.process.terminal = false | .process.args = ["sh", "-c", "id -u; hostname; touch /x || echo read-only"]'
	bulkhead run -b "$BUNDLE" "$ID" </dev/null >"$WORK/out"
	[ "$(cat "$WORK/out")" = $'0\nbulkhead\nread-only' ]
	mkdir "$WORK/other"
	plain spec --rootless --bundle "$WORK/other"
	jq -e .linux.namespaces "$WORK/other/config.json"
	refuses "make $WORK/none/config.json: No such file or directory" spec -b "$WORK/none"
}

@test "list, state, logs and the pid file of one container" {
	local pid
	plain list >"$WORK/list"
	[ "$(cat "$WORK/list")" = 'ID          PID         STATUS      BUNDLE      CREATED     OWNER' ]
	[ -z "$(plain list -q)" ]
	[ "$(plain list --format json)" = '[]' ]

	config '.annotations = {"org.example": "x"}'
	command_is /bin/sleep 1000
	bulkhead --log-format=json --systemd-cgroup --cgroup-manager=cgroupfs --rootless=auto \
		create --bundle "$BUNDLE" --pid-file "$WORK/pid" --no-pivot --no-new-keyring "$ID" \
		</dev/null >"$WORK/out" 2>&1
	[ ! -s "$WORK/out" ]
	pid=$(cat "$WORK/pid")

	plain state "$ID" >"$WORK/json"
	jq -e --arg id "$ID" --arg bundle "$BUNDLE" --argjson pid "$pid" '
		.ociVersion == "1.0.2-dev" and .id == $id and .status == "created" and .pid == $pid and
		.bundle == $bundle and .rootfs == $bundle + "/rootfs" and .annotations == {"org.example": "x"} and
		.owner == "root" and (.created | test("^20..-..-..T..:..:..\\.[0-9]+Z$"))' "$WORK/json"
	plain list -f json >"$WORK/list"
	jq -e --slurpfile state "$WORK/json" '. == $state' "$WORK/list"
	[ "$(plain list -q)" = "$ID" ]
	plain list >"$WORK/list"
	[ "$(awk 'NR == 2 { print $1, $2, $3, $4, $6 }' "$WORK/list")" = "$ID $pid created $BUNDLE root" ]
	run -1 bash -c 'build/bulkhead --root "$1" state "$2" >/dev/full' bash "$WORK/state" "$ID"
	[[ $output = *'write the state: No space left on device'* ]]

	# A container without state.json is no container; what is no id is left out.
	mkdir "$WORK/state/half" "$WORK/state/no id"
	[ "$(plain list -q)" = "$ID" ]

	run -1 bulkhead --log-format json start nobody
	run -1 bulkhead --log-format text start nobody
	run -1 bulkhead --log-format=json delete "$ID"
	bulkhead --log-format json delete --force "$ID"
	# Every line of the VMM's and the runtime's is an object, but for the one that was asked for as text.
	grep -v '^{' "$WORK/log" >"$WORK/text-log"
	grep -qx 'level=error msg="container does not exist" time="20.*Z"' "$WORK/text-log"
	[ "$(wc -l <"$WORK/text-log")" = 1 ]
	grep '^{' "$WORK/log" | jq -es 'all(.[]; (.level | IN("error", "warning", "info", "debug")) and
		(.msg | type) == "string" and (.time | fromdate) > 0)'
	grep '^{' "$WORK/log" | jq -es 'any(.[]; .level == "error" and .msg == "container does not exist")'
	grep '^{' "$WORK/log" | jq -es 'any(.[]; .level == "debug" and (.msg | test("^start-up: ")))'
	[ "$(plain list -q)" = '' ]
}

@test "kill knows signals by name and number, and a detached container goes on" {
	local signal
	# An empty environment, as podman calls; the tools are found all the same.
	command_is /bin/sh -c 'trap "echo term" TERM; trap "echo usr1" USR1; trap "echo rt" 36; echo up
		sleep 1000 & while :; do wait; done'
	env -i build/bulkhead --root "$WORK/state" run -d --pid-file "$WORK/pid" -b "$BUNDLE" "$ID" \
		</dev/null >>"$WORK/out" 2>&1
	[ "$(status_of "$ID")" = running ]
	kill -0 "$(cat "$WORK/pid")"
	eventually grep -q up "$WORK/out"

	for signal in FOO SIG SIGFOO 65 -1 9x '' RTMIN-1 RTMAX+1; do
		refuses "unknown signal \\\"$signal\\\"" kill -- "$ID" "$signal"
	done
	for signal in TERM SIGTERM sigterm 15 ''; do
		: >"$WORK/out"
		# Without a signal it is SIGTERM.
		# shellcheck disable=SC2086
		plain kill "$ID" $signal
		eventually grep -q term "$WORK/out"
	done
	for signal in USR1 10; do
		: >"$WORK/out"
		plain kill "$ID" "$signal"
		eventually grep -q usr1 "$WORK/out"
	done
	plain kill "$ID" SIGRTMIN+2
	eventually grep -q rt "$WORK/out"
	[ "$(status_of "$ID")" = running ]
	plain kill --all "$ID" KILL
	eventually has_status "$ID" stopped
	refuses 'container not running' kill "$ID" KILL
	plain kill -a "$ID" KILL
	plain delete "$ID"
	refuses 'container does not exist' delete "$ID"
	run -0 plain delete --force "$ID"
	[ -z "$output" ]
	run -0 plain delete -f never-was
	[ -z "$output" ]
}

@test "annotations and resources size the VM, and bad ones are refused" {
	local memory cpus wrong cases
	config '.linux.resources = {} | .annotations = {"io.bulkhead.memory": "384", "io.bulkhead.vcpus": "2",
		"io.bulkhead.kernel-cmdline": "some.word=1"}'
	in_container 'grep MemTotal /proc/meminfo; nproc; cat /proc/cmdline' >"$WORK/out"
	memory=$(awk '/MemTotal/ { print int($2 / 1024) }' "$WORK/out")
	cpus=$(sed -n 2p "$WORK/out")
	[ "$memory" -gt 300 ] && [ "$memory" -le 384 ] && [ "$cpus" = 2 ]
	grep -qw some.word=1 "$WORK/out"

	# Without annotations the limits of the config decide: 200 MiB and what the guest's kernel takes for itself, and
	# 1.5 CPUs rounded up, as far as the host has them.
	config 'del(.annotations) |
		.linux.resources = {memory: {limit: 209715200}, cpu: {quota: 150000, period: 100000}}'
	in_container 'grep MemTotal /proc/meminfo; nproc' >"$WORK/out"
	memory=$(awk '/MemTotal/ { print int($2 / 1024) }' "$WORK/out")
	cpus=$(sed -n 2p "$WORK/out")
	[ "$memory" -gt 200 ] && [ "$memory" -le 246 ] && [ "$cpus" = $(($(nproc) < 2 ? 1 : 2)) ]

	cases=()
	for wrong in '' 0 16 63 1048577 -1 256M 0x100 99999999999999999999 ' 256'; do
		cases+=(".annotations = {\"io.bulkhead.memory\": \"$wrong\"}"
			"annotation io.bulkhead.memory: \\\"$wrong\\\" is not a number from 64 to 1048576")
	done
	for wrong in '' 0 65 two 1.5; do
		cases+=(".annotations = {\"io.bulkhead.vcpus\": \"$wrong\"}"
			"annotation io.bulkhead.vcpus: \\\"$wrong\\\" is not a number from 1 to 64")
	done
	refuses_configs "${cases[@]}" \
		'.annotations = {"io.bulkhead.agent-timeout": "soon"}' \
		'annotation io.bulkhead.agent-timeout: \"soon\" is not a number from 1' \
		'.annotations = {"io.bulkhead.memory": 256}' \
		'annotations.io.bulkhead.memory: must be a string, is an integer'
	[ -z "$(plain list -q)" ]
}
