/*
 * The VM generation id (device tree "microsoft,vmgenid"): 16 bytes which the guest can read. They
 * change, with an interrupt, when the machine goes on from a saved one: then the guest's kernel
 * reseeds its random numbers and tells user space.
 */
#ifndef VMM_VMGENID_H
#define VMM_VMGENID_H

#include "vmm/bus.h"
#include "vmm/irq_line.h"
#include "vmm/kvm.h"

#define VMGENID_LEN 16

struct vmgenid {
	uint8_t id[VMGENID_LEN]; /* random, new in every process */
	struct irq_line line;
};

int vmgenid_add(struct vmgenid *vmgenid, struct bus *mmio, struct kvm *kvm, struct error *err);

/* Tells the guest that the id is another one than it has read. */
void vmgenid_changed(struct vmgenid *vmgenid);

#endif
