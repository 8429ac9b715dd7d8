/* The device tree that describes the machine: on x86 by SETUP_DTB. */
#ifndef VMM_FDT_H
#define VMM_FDT_H

#include <stddef.h>

#include "common/error.h"

#define FDT_SIZE_MAX 32768

struct fdt_machine {
	unsigned int cpus;	   /* local APIC ids 0 .. cpus - 1 */
	unsigned int virtio_slots; /* see layout.h for their addresses and interrupts */
};

/* Writes the tree into buf of FDT_SIZE_MAX bytes. Returns its length or a negative errno. */
int fdt_build(void *buf, const struct fdt_machine *machine, struct error *err);

#endif
