/* A virtual CPU and the thread that runs it: KVM_RUN, and dispatch of its exits, nothing else. */
#ifndef VMM_VCPU_H
#define VMM_VCPU_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "common/error.h"
#include "protocol/counters.h"
#include "vmm/bus.h"
#include "vmm/kvm.h"

/* Why the machine stopped. */
enum machine_end {
	MACHINE_RUNNING,
	MACHINE_POWER_OFF,
	MACHINE_RESET,
	MACHINE_PANIC,	      /* the guest's kernel said so */
	MACHINE_TRIPLE_FAULT, /* or could not say anything any more */
	MACHINE_KVM_ERROR,    /* KVM cannot go on with it */
};

/*
 * The machine as its vCPUs see it. end may be called by several threads at once; the vCPUs stop
 * to run once it was.
 */
struct vcpu_machine {
	const struct bus *mmio;
	const struct bus *ports;
	void (*end)(void *ctx, enum machine_end why, const char *detail);
	void (*thread_begins)(void *ctx); /* optional: first of all, on the vCPU's thread */
	void *ctx;
	atomic_bool stopping;	   /* every vCPU leaves its loop when it sees it */
	atomic_bool holding;	   /* every vCPU rests as long as it sees it */
	pthread_mutex_t rest_lock; /* of both, and of `rests` of each vCPU */
	pthread_cond_t rest_changed;
	_Atomic uint64_t first_run_ns; /* CLOCK_MONOTONIC, 0 before */
};

struct vcpu {
	int fd;
	unsigned int index;
	struct kvm_run *run;
	size_t run_size;
	struct vcpu_machine *machine;
	pthread_t thread;
	_Atomic pid_t tid; /* of the thread, 0 before it runs */
	bool started;
	bool rests;		     /* on its own thread, or that has ended */
	uint64_t exits[PROTO_EXITS]; /* by kind; written by its thread, read by any (relaxed) */
};

/* Once per process, before any vCPU starts: the signal that kicks vCPUs is prepared. */
int vcpu_prepare_kick(struct error *err);

/* Zeroed but for fd -1 is an empty vCPU that vcpu_destroy accepts. */
int vcpu_create(struct vcpu *vcpu, const struct kvm *kvm, unsigned int index,
		struct vcpu_machine *machine, struct error *err);
int vcpu_start(struct vcpu *vcpu, struct error *err);

/* machine->stopping is set: brings the vCPU out of KVM_RUN. */
void vcpu_kick(struct vcpu *vcpu);

/*
 * All of them rest, with nothing half done: whatever went to a device has come back. They must have
 * been started.
 */
void vcpus_hold(struct vcpu *vcpus, unsigned int count);
/* They go on; so they do when the machine is stopping, which has to be told here too. */
void vcpus_release(struct vcpu_machine *machine);

/* Waits for the thread, which has been told to stop. Harmless when it was never started. */
void vcpu_join(struct vcpu *vcpu);
void vcpu_destroy(struct vcpu *vcpu);

/* Runs on the caller's thread until the machine ends or is stopping. */
void vcpu_run(struct vcpu *vcpu);

#endif
