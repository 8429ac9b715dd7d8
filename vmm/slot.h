/* A virtio-mmio device in its place: address, the eventfds by which KVM serves it, interrupt line.
 */
#ifndef VMM_SLOT_H
#define VMM_SLOT_H

#include <stdbool.h>

#include "common/error.h"
#include "common/loop.h"
#include "devices/virtio_mmio.h"
#include "vmm/bus.h"
#include "vmm/irq_line.h"
#include "vmm/kvm.h"

struct slot {
	struct virtio_mmio mmio;
	struct irq_line line;
	struct irq_line *config_line; /* of all slots, not owned; or NULL */
	int irq_fd;		      /* of a device that another process serves, else -1 */
	bool ready;
};

/* What slots are plugged into. All of it outlives them. */
struct slot_host {
	struct kvm *kvm;
	struct bus *bus;
	/*
	 * Changes of configuration ring here too, so a driver that knows it never has to ask why
	 * its own line rang. NULL: there is none.
	 */
	struct irq_line *config_line;
};

/* slot must stay where it is. Device and loop stay the caller's. */
int slot_init(struct slot *slot, unsigned int index, const struct slot_host *host,
	      struct virtio_device *dev, struct loop *loop, struct error *err);
/* virtio_mmio_stop. */
void slot_stop(struct slot *slot);
void slot_destroy(struct slot *slot);

#endif
