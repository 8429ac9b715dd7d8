/* Accesses that exit to user space, one after the other: for bench/core_exits.c. */
#include "tests/payload/guest/guest.h"

/* The last slot: who looks for the device from the first one on has the longest way. */
#define REGISTER (LAYOUT_VIRTIO + (LAYOUT_VIRTIO_SLOTS - 1) * LAYOUT_VIRTIO_STEP + 0x70)

void main(void)
{
	uint32_t kind = mailbox->arg;

	for (; mailbox->values[0]; mailbox->values[0]--) {
		switch (kind) {
		case EXITS_PORT_WRITE:
			outb(PAYLOAD_PORTS, 0);
			break;
		case EXITS_PORT_READ:
			inb(PAYLOAD_PORTS);
			break;
		case EXITS_MMIO_WRITE:
			write32(REGISTER, 0);
			break;
		default:
			read32(REGISTER);
			break;
		}
	}
}
