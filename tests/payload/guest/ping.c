/*
 * One request after the other for the disk in slot 0, values[0] times, which none of the disk's
 * file is needed for: get-id. For bench/core_blk.c.
 */
#include "tests/payload/guest/virtio.h"

#include <linux/virtio_blk.h>

#define request ((struct virtio_blk_outhdr *)DRIVER_BUFFERS)
#define id_at	(DRIVER_BUFFERS + 0x100)

static void put(uint32_t i, uint64_t addr, uint32_t len, uint32_t flags)
{
	driver_desc[i].addr = addr;
	driver_desc[i].len = len;
	driver_desc[i].flags = (uint16_t)flags;
	driver_desc[i].next = (uint16_t)(i + 1);
}

void main(void)
{
	struct driver driver;

	driver_start(&driver);
	request->type = VIRTIO_BLK_T_GET_ID;
	put(0, (uint64_t)request, sizeof(*request), VRING_DESC_F_NEXT);
	put(1, id_at, VIRTIO_BLK_ID_BYTES + 1, VRING_DESC_F_WRITE);
	driver_avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	arrived();
	for (; mailbox->values[0]; mailbox->values[0]--) {
		driver_offer(0);
		/* 2.7.13.4: the index before the flag. */
		__asm__ volatile("mfence" ::: "memory");
		if (!(*(volatile uint16_t *)&driver_used->flags & VRING_USED_F_NO_NOTIFY))
			driver_write(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
		/* No look at a register meanwhile: that would be an exit. */
		while (*(volatile uint16_t *)&driver_used->idx == driver.used)
			__asm__ volatile("pause");
		driver.used++;
	}
	guest_check(*(volatile uint8_t *)(id_at + VIRTIO_BLK_ID_BYTES) == VIRTIO_BLK_S_OK);
}
