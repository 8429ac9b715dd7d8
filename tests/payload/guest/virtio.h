/* A virtio driver for one queue of the device in slot 0 (virtio 1.2, sections 2.7, 3.1, 4.2.3). */
#ifndef TESTS_PAYLOAD_GUEST_VIRTIO_H
#define TESTS_PAYLOAD_GUEST_VIRTIO_H

#include "tests/payload/guest/guest.h"

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>

#define DRIVER_SIZE 16

#define driver_desc  ((struct vring_desc *)PAYLOAD_DATA)
#define driver_avail ((struct vring_avail *)(PAYLOAD_DATA + 0x1000))
#define driver_used  ((struct vring_used *)(PAYLOAD_DATA + 0x2000))
/* Behind the rings: where a driver puts what it likes. */
#define DRIVER_BUFFERS (PAYLOAD_DATA + 0x10000)

struct driver {
	uint16_t used;	    /* entries taken so far */
	uint32_t interrupt; /* all bits of InterruptStatus that were seen */
};

static inline uint32_t driver_read(uint32_t offset)
{
	return read32(LAYOUT_VIRTIO + offset);
}

static inline void driver_write(uint32_t offset, uint32_t value)
{
	write32(LAYOUT_VIRTIO + offset, value);
}

static inline bool driver_needs_reset(void)
{
	return driver_read(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

static inline void driver_features(void)
{
	uint32_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;

	driver_write(VIRTIO_MMIO_STATUS, status);
	driver_write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	guest_check(driver_read(VIRTIO_MMIO_DEVICE_FEATURES) & 1u << (VIRTIO_F_VERSION_1 - 32));
	driver_write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	guest_check(driver_read(VIRTIO_MMIO_DEVICE_FEATURES) & 1u << VIRTIO_RING_F_INDIRECT_DESC);
	driver_write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	driver_write(VIRTIO_MMIO_DRIVER_FEATURES, 1u << (VIRTIO_F_VERSION_1 - 32));
	driver_write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	driver_write(VIRTIO_MMIO_DRIVER_FEATURES, 1u << VIRTIO_RING_F_INDIRECT_DESC);
	driver_write(VIRTIO_MMIO_STATUS, status | VIRTIO_CONFIG_S_FEATURES_OK);
	guest_check(driver_read(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK);
}

/* Everything up to the queue, whose descriptors are to be at desc. */
static inline void driver_setup(struct driver *driver, uint64_t desc)
{
	volatile uint8_t *ring = (volatile uint8_t *)PAYLOAD_DATA;

	driver_write(VIRTIO_MMIO_STATUS, 0);
	guest_check(driver_read(VIRTIO_MMIO_STATUS) == 0);
	guest_check(driver_read(VIRTIO_MMIO_INTERRUPT_STATUS) == 0);
	*driver = (struct driver){0};
	for (uint64_t i = 0; i < 0x3000; i++)
		ring[i] = 0;
	driver_features();
	driver_write(VIRTIO_MMIO_QUEUE_SEL, 0);
	guest_check(driver_read(VIRTIO_MMIO_QUEUE_NUM_MAX) >= DRIVER_SIZE);
	driver_write(VIRTIO_MMIO_QUEUE_NUM, DRIVER_SIZE);
	driver_write(VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)desc);
	driver_write(VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(desc >> 32));
	driver_write(VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)(uint64_t)driver_avail);
	driver_write(VIRTIO_MMIO_QUEUE_AVAIL_HIGH, 0);
	driver_write(VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)(uint64_t)driver_used);
	driver_write(VIRTIO_MMIO_QUEUE_USED_HIGH, 0);
	driver_write(VIRTIO_MMIO_QUEUE_READY, 1);
}

static inline void driver_start(struct driver *driver)
{
	driver_setup(driver, PAYLOAD_DATA);
	guest_check(driver_read(VIRTIO_MMIO_QUEUE_READY) == 1);
	driver_write(VIRTIO_MMIO_STATUS,
		     driver_read(VIRTIO_MMIO_STATUS) | VIRTIO_CONFIG_S_DRIVER_OK);
	guest_check(!driver_needs_reset());
}

/* Makes the chain that begins with this descriptor available. */
static inline void driver_offer(uint16_t head)
{
	uint16_t idx = driver_avail->idx;

	driver_avail->ring[idx % DRIVER_SIZE] = head;
	barrier();
	*(volatile uint16_t *)&driver_avail->idx = (uint16_t)(idx + 1);
}

/* An interrupt from before a reset may still be on its way: then there are no bits. */
static inline void driver_wait_irq(struct driver *driver)
{
	uint32_t bits;

	wait_irq(mailbox->irqs);
	bits = driver_read(VIRTIO_MMIO_INTERRUPT_STATUS);
	driver->interrupt |= bits;
	driver_write(VIRTIO_MMIO_INTERRUPT_ACK, bits);
}

/* Notifies and waits for the answer. Returns false when the device will not give any. */
static inline bool driver_complete(struct driver *driver)
{
	driver_write(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	for (;;) {
		if (mailbox->use_irq)
			driver_wait_irq(driver);
		if (*(volatile uint16_t *)&driver_used->idx != driver->used)
			break;
		if (driver_needs_reset())
			return false;
	}
	barrier();
	driver->used++;
	return true;
}

#endif
