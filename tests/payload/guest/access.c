/* Port and MMIO accesses of every width, and what the guest reads. */
#include "tests/payload/guest/guest.h"

static void ports(void)
{
	static const uint8_t bytes[] = {0xa1, 0xa2, 0xa3};
	uint16_t words[2] = {0, 0};
	const void *from = bytes;
	void *to = words;
	uint64_t count;

	outb(PAYLOAD_PORTS, 0x11);
	outw(PAYLOAD_PORTS + 2, 0x2222);
	outl(PAYLOAD_PORTS + 4, 0x33333333);
	mailbox->values[0] = inb(PAYLOAD_PORTS + 1);
	mailbox->values[1] = inw(PAYLOAD_PORTS + 2);
	mailbox->values[2] = inl(PAYLOAD_PORTS + 4);
	/* Several values in one exit. */
	count = sizeof(bytes);
	__asm__ volatile("rep outsb"
			 : "+S"(from), "+c"(count)
			 : "d"((uint16_t)(PAYLOAD_PORTS + 8))
			 : "memory");
	count = 2;
	__asm__ volatile("rep insw"
			 : "+D"(to), "+c"(count)
			 : "d"((uint16_t)(PAYLOAD_PORTS + 10))
			 : "memory");
	mailbox->values[3] = words[0];
	mailbox->values[4] = words[1];
	/* Nobody there, and one that begins inside of the range but ends behind it. */
	outl(PAYLOAD_PORT_NOBODY, 1);
	outl(PAYLOAD_PORTS + PAYLOAD_PORTS_LEN - 2, 1);
	mailbox->values[5] = inb(PAYLOAD_PORT_NOBODY);
	mailbox->values[6] = inw(PAYLOAD_PORT_NOBODY);
	mailbox->values[7] = inl(PAYLOAD_PORT_NOBODY);
	mailbox->values[8] = inl(PAYLOAD_PORTS + PAYLOAD_PORTS_LEN - 2);
}

static void mmio(void)
{
	write8(PAYLOAD_MMIO, 0x11);
	write16(PAYLOAD_MMIO + 2, 0x2222);
	write32(PAYLOAD_MMIO + 4, 0x33333333);
	write64(PAYLOAD_MMIO + 8, 0x4444444455555555);
	mailbox->values[10] = read8(PAYLOAD_MMIO + 1);
	mailbox->values[11] = read16(PAYLOAD_MMIO + 2);
	mailbox->values[12] = read32(PAYLOAD_MMIO + 4);
	mailbox->values[13] = read64(PAYLOAD_MMIO + 8);
	write32(PAYLOAD_MMIO_NOBODY, 1);
	write64(PAYLOAD_MMIO_NEXT - 4, 1);
	mailbox->values[14] = read8(PAYLOAD_MMIO_NOBODY);
	mailbox->values[15] = read16(PAYLOAD_MMIO_NOBODY);
	mailbox->values[16] = read32(PAYLOAD_MMIO_NOBODY);
	mailbox->values[17] = read64(PAYLOAD_MMIO_NOBODY);
	mailbox->values[18] = read64(PAYLOAD_MMIO_NEXT - 4);
}

void main(void)
{
	ports();
	mmio();
}
