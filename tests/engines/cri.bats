#!/usr/bin/env bats
# Kubernetes' side of containerd: a pod of one container by CRI, with a runtime handler whose BinaryName is bulkhead.
# In single quotes are other shells' variables.
# shellcheck disable=SC2016

load helpers

setup_file() {
	cri_ready
	cat >"$ENGINE/cni/pod.conflist" <<-EOF2
		{"cniVersion": "0.4.0", "name": "pod", "plugins": [{"type": "ptp",
		"ipam": {"type": "host-local", "subnet": "10.99.0.0/24", "dataDir": "$ENGINE/cni-data"}}]}
	EOF2
	cri_up bulkhead
}

teardown_file() { cri_down; }

has_state() {
	cri ContainerStatus "1:$1" | grep -qx "1.3=$2"
}

@test "CRI: a pod of one container: run, status, exec, logs, stop, remove" {
	local sandbox container before
	local pod='1{1:pod 2:uid-1 3:default} 2:pod-name 3:'"$ENGINE/logs"
	before=$(host_footprint)
	# With a sysctl, which goes to the sandbox alone and holds for its containers.
	sandbox=$(cri RunPodSandbox "1{$pod 8{3{1:kernel.shm_rmid_forced 2:1}}} 2:bulkhead" | sed -n 's/^1=//p')
	[ -n "$sandbox" ]
	container=$(cri CreateContainer "1:$sandbox 2{1{1:one} 2{1:localhost/busybox:latest} 3:/bin/sh 3:-c
		3:\"hostname; uname -r; ip -o addr show; trap 'exit 6' TERM; while :; do sleep 1000 & wait; done\" 11:one.log} 3{$pod}" |
		sed -n 's/^1=//p')
	[ -n "$container" ]
	cri StartContainer "1:$container"
	has_state "$container" 1
	wait_until grep -q 'stdout F 6.12' "$ENGINE/logs/one.log"
	cat "$ENGINE/logs/one.log"
	grep -q 'stdout F pod-name' "$ENGINE/logs/one.log"
	# The address that CNI gave the pod is the guest's.
	wait_until grep -q 'eth0 *inet 10\.99\.0\.' "$ENGINE/logs/one.log"
	run cri ExecSync "1:$container 2:sh 2:-c 2:\"uname -r; echo wrong >&2; exit 3\" 3=60"
	echo "$output"
	[[ $output = *1=6.12.* ]]
	[[ $output = *2=wrong* ]]
	[[ $output = *3=3* ]]
	cri ExecSync "1:$container 2:cat 2:/proc/sys/kernel/shm_rmid_forced 3=60" | grep -qx 1=1
	cri ContainerStats "1:$container" >"$ENGINE/stats"
	cat "$ENGINE/stats"
	# What the VM uses on the host: bytes of memory.
	grep -Eq '^1\.3\.2\.1=[1-9][0-9]{7}' "$ENGINE/stats"
	# The sandbox has no VM, the container has.
	pgrep -f -- "bulkhead-vmm --id $container"
	run ! pgrep -f -- "bulkhead-vmm --id $sandbox"
	cri StopContainer "1:$container 2=20"
	wait_until has_state "$container" 2
	cri ContainerStatus "1:$container" | grep -qx 1.7=6
	cri RemoveContainer "1:$container"
	cri StopPodSandbox "1:$sandbox"
	cri RemovePodSandbox "1:$sandbox"
	same_footprint "$before"
}
