/*
 * A payload guest: the VMM's own KVM, memory, bus, platform and vCPU code around a small program
 * instead of a kernel. Runs where KVM cannot boot Linux too. What cannot be done fails the test.
 */
#ifndef TESTS_PAYLOAD_PAYLOAD_H
#define TESTS_PAYLOAD_PAYLOAD_H

#include <check.h>

#include "tests/payload/layout.h"
#include "vmm/console_ring.h"
#include "vmm/memory.h"
#include "vmm/platform.h"
#include "vmm/vcpu.h"

#define PAYLOAD_TIMEOUT_S 30 /* far beyond what any test takes, even in the lab */

/*
 * User mode runs natively everywhere, and by its I/O bitmap may use ports. A KVM without hardware
 * below emulates kernel mode, slowly and in part. Interrupts are off in the beginning, but for
 * PAYLOAD_INTERRUPTIBLE: user mode with interrupts on.
 */
enum payload_mode { PAYLOAD_USER, PAYLOAD_KERNEL, PAYLOAD_INTERRUPTIBLE };

struct payload_image {
	const uint8_t *bytes;
	const uint8_t *end;
};

/* Declares the image of tests/payload/guest/NAME.c. */
#define PAYLOAD_IMAGE(name)                                                    \
	extern const uint8_t guest_image_##name[], guest_image_##name##_end[]; \
	static const struct payload_image name##_image = {guest_image_##name,  \
							  guest_image_##name##_end}

struct payload {
	struct kvm kvm;
	struct vm_memory memory;
	struct bus mmio;
	struct bus ports;
	struct console_ring console;
	struct platform platform;
	struct vcpu_machine machine;
	struct vcpu vcpu;
	struct payload_mailbox *mailbox;
	int arrived_fd; /* counts the guest's writes to PAYLOAD_PORT_ARRIVED */
	int ended_fd;
	enum machine_end end; /* valid once ended_fd was signalled */
	char end_detail[200];
};

/* Up to the moment before the first instruction. */
void payload_init(struct payload *payload, const struct payload_image *image,
		  enum payload_mode mode);
void payload_destroy(struct payload *payload);

/* Starts the vCPU's thread. */
void payload_start(struct payload *payload);
/* Wait for what the guest does; the test's time limit ends a wait for ever. */
void payload_wait_arrived(struct payload *payload);
enum machine_end payload_wait_end(struct payload *payload);
/* From init to the end: the guest has to switch its power off without complaint. */
void payload_run(struct payload *payload);
/* Stops the vCPU as machine_stop does. */
void payload_stop(struct payload *payload);

void *payload_at(struct payload *payload, uint64_t gpa);

#endif
