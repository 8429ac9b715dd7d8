/* The few registers beside virtio: early console, reset, power-off, panic report. */
#ifndef VMM_PLATFORM_H
#define VMM_PLATFORM_H

#include "vmm/bus.h"
#include "vmm/console_ring.h"
#include "vmm/vcpu.h"

struct platform {
	struct console_ring *console;
	void (*end)(void *ctx, enum machine_end why, const char *detail);
	void *ctx;
};

/* Puts them on the two buses. platform must outlive the vCPUs. */
int platform_add(struct platform *platform, struct bus *mmio, struct bus *ports);

#endif
