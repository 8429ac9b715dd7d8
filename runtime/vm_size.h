/*
 * How large the VM of a container is, from linux.resources and annotations.
 *
 * A memory limit is the workload's: it holds inside the guest, which gets that much and what its
 * kernel needs beside it. The limit on the host is for the whole VMM: the guest's memory and the
 * VMM's own overhead, and for the scratch disk where that is memory too, so that the workload
 * always meets its limit first, and inside.
 */
#ifndef RUNTIME_VM_SIZE_H
#define RUNTIME_VM_SIZE_H

#include "runtime/bundle.h"
#include "runtime/settings.h"

/* MiB: the VMM makes room in such steps, the guest's kernel manages memory in such blocks. */
#define VM_SIZE_STEP_MIB 128

struct vm_size {
	uint32_t memory_mib, vcpus;
	uint32_t memory_max_mib; /* what it can grow to while it runs; 0: not at all */
	/* Of the template it starts from, 0: of none; or of a snapshot, with what had come. */
	uint32_t boot_mib, room_mib, grown_mib;
	uint64_t disk_bytes;	   /* of disks that lie in the host's memory: scratch_memory() */
	uint32_t agent_timeout_ms; /* 0: the VMM's own default */
};

int vm_size_find(struct vm_size *size, const struct bundle *bundle, const struct settings *settings,
		 struct error *err);

/*
 * What a template has that serves VMs of this size and of others: a part of the memory, and room
 * for the rest, which comes to a clone while it starts.
 */
void vm_size_shared_template(struct vm_size *size);

/* What one has that is for this size alone, and quicker: nothing has to come. */
void vm_size_own_template(struct vm_size *size);

/* What the VMM's group on the host may use, in bytes. */
uint64_t vm_size_host_memory(const struct vm_size *size);

/* The memory of a VM whose workload is limited to so many bytes, in MiB. */
uint32_t vm_size_of_limit(uint64_t limit);

/* What that group's limit has to go up by when memory comes to the guest; both in bytes. */
int64_t vm_size_host_more(uint64_t bytes);

/* How many CPUs a list as of cpuset.cpus names ("0-2,7" has 4), or -EINVAL. */
int cpu_list_count(const char *list);

/* The CPU at that place of the list, the first is 0; or -EINVAL. */
int cpu_list_at(const char *list, int index);

#endif
