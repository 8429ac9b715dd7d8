/* Notifications and interrupts. */
#include "tests/payload/guest/guest.h"

static void notify(void)
{
	write32(PAYLOAD_MMIO, 1);
	arrived();
	write32(PAYLOAD_MMIO, 1);
	write32(PAYLOAD_MMIO, 2);
	write16(PAYLOAD_MMIO, 1);
	write32(PAYLOAD_MMIO + 4, 1);
}

static void interrupts(void)
{
	for (unsigned int pin = LAYOUT_IRQ_FIRST; pin < LAYOUT_IRQ_FIRST + LAYOUT_VIRTIO_SLOTS;
	     pin++)
		enable_irq(pin);
	for (uint32_t seen = 0; seen < LAYOUT_VIRTIO_SLOTS; seen++) {
		arrived();
		wait_irq(seen);
		guest_check(mailbox->irqs == seen + 1);
	}
}

static void interrupt_busy(void)
{
	enable_irq(LAYOUT_IRQ_FIRST);
	arrived();
	/* The handler returns without leaving kernel mode: what follows must not mind. */
	while (!mailbox->irqs)
		;
}

void main(void)
{
	switch (mailbox->arg) {
	case EVENT_NOTIFY:
		notify();
		break;
	case EVENT_INTERRUPTS:
		interrupts();
		break;
	default:
		interrupt_busy();
		break;
	}
}
