/* The ways in which a guest runs and ends. */
#include "tests/payload/guest/guest.h"

static void spin(void)
{
	arrived();
	for (;;)
		__asm__ volatile("incq %0" : "+m"(mailbox->values[0]));
}

static void halt(void)
{
	arrived();
	for (;;)
		__asm__ volatile("hlt");
}

static void console(void)
{
	const char *text = "a line from the guest\n";

	while (!(inb(0x3f8 + 5) & 0x20))
		;
	for (; *text; text++)
		outb(0x3f8, (uint8_t)*text);
}

static void jump(uint64_t address)
{
	__asm__ volatile("jmp *%0" : : "r"(address));
}

void main(void)
{
	switch (mailbox->arg) {
	case RUN_RESET:
		outb(0x64, 0xfe);
		break;
	case RUN_PANIC:
		write8(LAYOUT_PVPANIC, 1);
		break;
	case RUN_TRIPLE_FAULT:
		__asm__ volatile("ud2");
		break;
	case RUN_NO_CODE:
		jump(PAYLOAD_MMIO_NOBODY);
		break;
	case RUN_SPIN:
		spin();
		break;
	case RUN_HALT:
		halt();
		break;
	case RUN_CONSOLE:
		console();
		break;
	default:
		break;
	}
}
