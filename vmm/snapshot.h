/*
 * A whole machine in two files: its state (common/records.h) and its memory. A template is one
 * whose agent waits for work; from it any number of machines go on, each with the memory mapped
 * copy-on-write. A snapshot is one whose container runs; its memory is copied.
 *
 * A template's state names the memory file by what the file system knows of it (inode, times,
 * size), so that neither can be exchanged or altered without the other; the files themselves are to
 * be trusted, as the kernel image is: who opens them sees to it that nobody else could write them.
 */
#ifndef VMM_SNAPSHOT_H
#define VMM_SNAPSHOT_H

#include "common/error.h"
#include "common/records.h"
#include "vmm/cpuid.h"
#include "vmm/memory.h"
#include "vmm/options.h"
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

/* Appends all but the memory. The vCPUs are parked, the loop has nothing pending. */
int snapshot_save(const struct snapshot_machine *machine, struct records *out, struct error *err);

/* The memory, and then what was saved: a template, of which nothing is to be moved or copied. */
int snapshot_write_template(const struct snapshot_machine *machine, struct records *out,
			    const struct vmm_template *to, struct error *err);

/*
 * The same for a snapshot, which may be: it goes by what is in the memory. to->pages_fd is as for
 * vm_memory_save, origin_fd too.
 */
int snapshot_write(const struct snapshot_machine *machine, struct records *out,
		   const struct vmm_template *to, int origin_fd, struct error *err);

/*
 * Reads and checks the state of a template, and that this memory file belongs to it and is as large
 * as is said: before anything is made from them.
 */
int snapshot_open_template(struct records *state, const struct vmm_template *from,
			   struct error *err);

/* The same for a snapshot, whose memory is checked when it has been copied: by its sum. */
int snapshot_open(struct records *state, const struct vmm_template *from, struct error *err);
int snapshot_check_memory(const struct records *state, uint64_t sum, struct error *err);

/*
 * The machine is as at power-on: vCPUs with their CPUID, memory cloned, devices plugged in the
 * same order. Fails when its shape, or the CPU's, is another.
 */
int snapshot_load(const struct snapshot_machine *machine, const struct records *state,
		  struct error *err);

#endif
