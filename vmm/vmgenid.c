#include "vmm/vmgenid.h"

#include <string.h>
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
	irq_line_init(&vmgenid->line, kvm, LAYOUT_IRQ_VMGENID);
	if (bus_add(mmio, LAYOUT_VMGENID, VMGENID_LEN, id_read, NULL, vmgenid) < 0)
		return error_say(err, ENOSPC, "no place left on the bus");
	return 0;
}

void vmgenid_changed(struct vmgenid *vmgenid)
{
	irq_line_ring(&vmgenid->line);
}
