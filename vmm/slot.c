#include "vmm/slot.h"

#include <linux/virtio_mmio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "common/cleanup.h"
#include "vmm/layout.h"

static uint64_t slot_read(void *ctx, uint64_t offset, unsigned int len)
{
	struct slot *slot = ctx;

	return virtio_mmio_read(&slot->mmio, (uint32_t)offset, len);
}

static void slot_write(void *ctx, uint64_t offset, uint64_t value, unsigned int len)
{
	struct slot *slot = ctx;

	virtio_mmio_write(&slot->mmio, (uint32_t)offset, value, len);
}

static void ring(void *ctx, uint32_t status_bits)
{
	struct slot *slot = ctx;

	irq_line_ring(&slot->line);
	if ((status_bits & VIRTIO_MMIO_INT_CONFIG) && slot->config_line)
		irq_line_ring(slot->config_line);
}

static int add_irqfd(struct slot *slot, struct kvm *kvm, struct error *err)
{
	slot->irq_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (slot->irq_fd < 0)
		return error_set(err, errno, "eventfd");
	return kvm_add_irqfd(kvm, slot->line.gsi, slot->irq_fd, err);
}

static int connect_device(struct slot *slot, struct kvm *kvm, struct virtio_device *dev,
			  struct loop *loop, struct error *err)
{
	struct virtio_interrupt interrupt = {.ring = ring, .ctx = slot};
	int ret = dev->external ? add_irqfd(slot, kvm, err) : 0;

	if (ret < 0)
		return ret;
	interrupt.fd = slot->irq_fd;
	return virtio_mmio_init(&slot->mmio, dev, loop, &interrupt, err);
}

int slot_init(struct slot *slot, unsigned int index, const struct slot_host *host,
	      struct virtio_device *dev, struct loop *loop, struct error *err)
{
	uint64_t at = LAYOUT_VIRTIO + (uint64_t)index * LAYOUT_VIRTIO_STEP;
	int ret;

	memset(slot, 0, sizeof(*slot));
	if (index >= LAYOUT_VIRTIO_SLOTS)
		return error_say(err, ENOSPC, "%s: no place left for a device", dev->name);
	slot->irq_fd = -1;
	slot->config_line = host->config_line;
	irq_line_init(&slot->line, host->kvm, LAYOUT_IRQ_FIRST + index);
	ret = connect_device(slot, host->kvm, dev, loop, err);
	if (ret < 0) {
		close_fd(&slot->irq_fd);
		return error_prefix(err, ret, "%s", dev->name);
	}
	slot->ready = true;
	for (unsigned int i = 0; ret == 0 && i < dev->queue_count; i++)
		ret = kvm_add_ioeventfd(host->kvm, at + VIRTIO_MMIO_QUEUE_NOTIFY, i,
					slot->mmio.queue_fds[i], err);
	if (ret == 0 && bus_add(host->bus, at, VIRTIO_MMIO_SIZE, slot_read, slot_write, slot) < 0)
		ret = error_say(err, ENOSPC, "no place left on the bus");
	if (ret < 0)
		slot_destroy(slot);
	return error_prefix(err, ret, "%s", dev->name);
}

void slot_stop(struct slot *slot)
{
	if (slot->ready)
		virtio_mmio_stop(&slot->mmio);
}

void slot_destroy(struct slot *slot)
{
	if (!slot->ready)
		return;
	virtio_mmio_destroy(&slot->mmio);
	close_fd(&slot->irq_fd);
	slot->ready = false;
}
