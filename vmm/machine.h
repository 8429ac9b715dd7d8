/*
 * The virtual machine, put together: KVM, memory, buses, devices, vCPUs. Knows nothing of the
 * container in it.
 */
#ifndef VMM_MACHINE_H
#define VMM_MACHINE_H

#include "common/error.h"
#include "common/loop.h"
#include "common/records.h"
#include "devices/vsock.h"
#include "protocol/counters.h"
#include "vmm/console_ring.h"
#include "vmm/options.h"
#include "vmm/vcpu.h"

struct machine;

/* Called on the loop, once: why the machine has stopped, and a detail for the log. */
typedef void machine_ended_fn(void *ctx, enum machine_end why, const char *detail);

struct machine_config {
	const struct vmm_options *options; /* must outlive the machine */
	struct loop *loop;		   /* devices without a thread of their own run here */
	vsock_connect_fn *connect;	   /* on the loop */
	vsock_closed_fn *closed;	   /* on the loop */
	vsock_buffered_fn *buffered;	   /* on the loop */
	machine_ended_fn *ended;
	void *ctx;
};

struct machine_marks { /* CLOCK_MONOTONIC in ns, 0 while not reached */
	uint64_t vm_created_ns;
	uint64_t kernel_entered_ns;
};

/* Opens all that is opened by path: /dev/kvm, kernel, initramfs. The jail comes after this. */
int machine_create(struct machine **out, const struct machine_config *config, struct error *err);

/*
 * Makes the machine up to the moment before its first instruction, or, with state from
 * snapshot_open, before the next one: connect is then called for what the guest is connected to.
 * The descriptors of the options stay the caller's. After a failure it can be tried again.
 */
int machine_build(struct machine *machine, const struct records *state, struct error *err);

/*
 * Confines the caller to the main loop's system calls, but for who makes a template, and starts
 * the vCPUs: once, or there again after machine_stop.
 */
int machine_start(struct machine *machine, struct error *err);

/* Stops the vCPUs and waits for them. Devices stay. Harmless twice. */
void machine_stop(struct machine *machine);
void machine_destroy(struct machine *machine);

/*
 * Gives a device its back end (protocol.h, enum proto_attach_kind), on the loop. Takes what it
 * keeps of the frame's descriptors. Returns 0, or a negative errno and why.
 */
int machine_attach(struct machine *machine, const struct proto_attach *what, const void *parameters,
		   size_t len, const struct proto_frame *frame, struct error *err);

/* Stopped, and with nothing pending on the loop: saves the machine as a template. */
int machine_save_template(struct machine *machine, const struct vmm_template *to,
			  struct error *err);

/*
 * For a snapshot of one that runs. It rests from hold to release: first its vCPUs, after which the
 * loop may have something pending, then its devices. Held, all but its memory is appended to out by
 * save; write has the rest (vmm/snapshot.h).
 */
int machine_hold(struct machine *machine, struct error *err);
void machine_hold_devices(struct machine *machine);
int machine_save(struct machine *machine, struct records *out, struct error *err);
int machine_write(struct machine *machine, struct records *out, const struct vmm_template *to,
		  struct error *err);
void machine_release(struct machine *machine);

/* Stopped: whether every vCPU waits for an interrupt. */
bool machine_is_idle(const struct machine *machine);

/* While it is built. */
void machine_counters(const struct machine *machine, struct proto_counters *counters);

/*
 * In bytes: what it was built with, what there is room for beside it, how far into that there is
 * something, what has been asked for, and has come.
 */
struct machine_memory {
	uint64_t boot, room, grown, requested, plugged;
};
void machine_memory(struct machine *machine, struct machine_memory *memory);

/* Bytes that a clone of a smaller template is given while it starts. */
uint64_t machine_memory_to_come(const struct machine *machine);

void machine_marks(const struct machine *machine, struct machine_marks *marks);
struct console_ring *machine_console(struct machine *machine);

#endif
