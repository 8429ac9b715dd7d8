/*
 * A whole machine in two files: its state (common/records.h) and its memory. A template is one
 * whose agent waits for work; from it any number of machines go on, each with the memory mapped
 * copy-on-write.
 *
 * The state names the memory file by what the file system knows of it (inode, times, size), so
 * that neither can be exchanged or altered without the other; the files themselves are to be
 * trusted, as the kernel image is: who opens them sees to it that nobody else could write them.
 */
#ifndef VMM_SNAPSHOT_H
#define VMM_SNAPSHOT_H

#include "common/error.h"
#include "common/records.h"
#include "vmm/cpuid.h"
#include "vmm/memory.h"
#include "vmm/slot.h"
#include "vmm/vcpu.h"

/* The machine's parts, which stay its own. */
struct snapshot_machine {
	struct kvm *kvm;
	struct vm_memory *memory;
	struct vcpu *vcpus;
	unsigned int vcpu_count;
	struct slot *slots;
	unsigned int slot_count;
	uint64_t cpuid_sum;
};

/* The vCPUs are parked, the loop has nothing pending. */
int snapshot_save(const struct snapshot_machine *machine, int state_fd, int memory_fd,
		  struct error *err);

/*
 * Reads and checks the state, and that this memory file of memory_size bytes belongs to it: before
 * anything is made from them.
 */
int snapshot_open(struct records *state, int state_fd, int memory_fd, uint64_t memory_size,
		  struct error *err);

/*
 * The machine is as at power-on: vCPUs with their CPUID, memory cloned, devices plugged in the
 * same order. Fails when its shape, or the CPU's, is another.
 */
int snapshot_load(const struct snapshot_machine *machine, const struct records *state,
		  struct error *err);

#endif
