#include "vmm/vmgenid.h"

#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>

#include "common/cleanup.h"
#include "vmm/layout.h"

static uint64_t id_read(void *ctx, uint64_t offset, unsigned int len)
{
	const struct vmgenid *vmgenid = ctx;
	uint64_t value = 0;

	memcpy(&value, vmgenid->id + offset, len);
	return value;
}

int vmgenid_add(struct vmgenid *vmgenid, struct bus *mmio, struct kvm *kvm, struct error *err)
{
	if (getrandom(vmgenid->id, sizeof(vmgenid->id), 0) != (ssize_t)sizeof(vmgenid->id))
		return error_set(err, errno, "getrandom");
	vmgenid->irq_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vmgenid->irq_fd < 0)
		return error_set(err, errno, "eventfd");
	if (bus_add(mmio, LAYOUT_VMGENID, VMGENID_LEN, id_read, NULL, vmgenid) < 0)
		return error_say(err, ENOSPC, "no place left on the bus");
	return kvm_add_irqfd(kvm, LAYOUT_IRQ_VMGENID, vmgenid->irq_fd, err);
}

void vmgenid_destroy(struct vmgenid *vmgenid)
{
	close_fd(&vmgenid->irq_fd);
}

void vmgenid_changed(struct vmgenid *vmgenid)
{
	eventfd_write(vmgenid->irq_fd, 1);
}
