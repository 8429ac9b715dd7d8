/* What the parts of the machine share: machine.c, and one file each for its memory and for saved
 * machines. */
#ifndef VMM_MACHINE_INTERNAL_H
#define VMM_MACHINE_INTERNAL_H

#include "vmm/boot_params.h"
#include "vmm/device_set.h"
#include "vmm/machine.h"
#include "vmm/platform.h"
#include "vmm/vmgenid.h"

struct machine {
	struct machine_config config;
	struct boot_files boot;
	struct kvm kvm;
	struct vm_memory memory;
	struct bus mmio;
	struct bus ports;
	struct console_ring console_ring;
	struct platform platform;
	struct vmgenid vmgenid;
	struct vcpu_machine vcpu_machine;
	struct vcpu *vcpus;
	unsigned int vcpu_count;
	uint64_t cpuid_sum;
	const struct records *state; /* during machine_build: what it goes on from */
	uint64_t vm_created_ns;

	struct irq_line config_line; /* the devices' */
	struct device_set devices;

	/* Held until every thread is confined that can be reached by a guest. */
	pthread_mutex_t gate;

	/* The first reason to stop wins; written by a vCPU, read by the loop. */
	pthread_mutex_t end_lock;
	enum machine_end end;
	char end_detail[200];
	int end_fd;
	struct loop_watch end_watch;
};

/* machine_memory.c: memory in KVM, new or from what was saved. Returns 0, or a negative errno and
 * why. */
int machine_make_memory(struct machine *machine, struct error *err);

/* machine_snapshot.c: all but the memory from machine->state. Returns 0, or a negative errno and
 * why. */
int machine_resume(struct machine *machine, struct error *err);

#endif
