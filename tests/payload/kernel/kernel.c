/*
 * What stands in for a Linux kernel: a vmlinux that looks at what it was booted with, finds the
 * devices, starts the second CPU, says so on the early console and switches off.
 */
#include <asm/bootparam.h>

#include "tests/payload/guest/guest.h"

#define TABLES	   (LAYOUT_PAGE_TABLES + 0x1000) /* the directory of GiBs */
#define TRAMPOLINE 0x8000
#define LAPIC_ICR  (LAYOUT_LAPIC + 0x300)
#define ICR_DEST   (LAYOUT_LAPIC + 0x310)
#define INIT	   0x4500
#define STARTUP	   0x4600

void kernel_main(const struct boot_params *boot);

__asm__(".pushsection .text.start, \"ax\"\n"
	".globl start\n"
	"start:\n"
	"	mov $0x80000, %esp\n"
	"	mov %rsi, %rdi\n"
	"	call kernel_main\n"
	"1:	hlt\n"
	"	jmp 1b\n"
	/* Where the second CPU starts, in real mode: at 0x8000, and behind the code a flag. */
	".code16\n"
	"trampoline:\n"
	"	mov %cs, %ax\n"
	"	mov %ax, %ds\n"
	"	movb $1, 0x100\n"
	"2:	hlt\n"
	"	jmp 2b\n"
	"trampoline_end:\n"
	".code64\n"
	".popsection\n");

extern const uint8_t trampoline[], trampoline_end[];

static void say(const char *text)
{
	for (; *text; text++)
		outb(0x3f8, (uint8_t)*text);
}

static void expect(bool holds, const char *what)
{
	if (holds)
		return;
	say("wrong: ");
	say(what);
	say("\n");
	for (;;)
		write8(LAYOUT_PVPANIC, 1);
}

static bool ends_with(const char *text, const char *end)
{
	size_t text_len = 0, end_len = 0;

	while (text[text_len])
		text_len++;
	while (end[end_len])
		end_len++;
	if (end_len > text_len)
		return false;
	for (size_t i = 0; i < end_len; i++)
		if (text[text_len - end_len + i] != end[i])
			return false;
	return true;
}

/* Boot maps the first GiB; the devices are in the fourth. */
static void map_devices(void)
{
	static uint64_t directory[512] __attribute__((aligned(4096)));

	for (uint64_t i = 0; i < 512; i++)
		directory[i] = 3ull << 30 | i << 21 | 0x83;
	*(volatile uint64_t *)(TABLES + 3 * 8) = (uint64_t)directory | 3;
}

static void check_boot(const struct boot_params *boot)
{
	const struct setup_data *data = (const struct setup_data *)boot->hdr.setup_data;
	const char *initramfs = (const char *)(uint64_t)boot->hdr.ramdisk_image;

	expect(boot->hdr.header == 0x53726448 && boot->hdr.boot_flag == 0xaa55, "boot header");
	expect(boot->e820_entries == 2, "memory map");
	expect(boot->e820_table[1].addr == LAYOUT_HIGH_START, "memory map's second range");
	expect(ends_with((const char *)(uint64_t)boot->hdr.cmd_line_ptr, " payload.test=1"),
	       "command line");
	expect(boot->hdr.ramdisk_size == 9 && ends_with(initramfs, "initramfs"), "initramfs");
	expect(data && data->type == SETUP_DTB, "device tree");
	expect(*(const uint32_t *)data->data == 0xedfe0dd0, "device tree's magic");
	data = (const struct setup_data *)data->next;
	expect(data && data->type == SETUP_RNG_SEED && data->len == 32 && !data->next, "seed");
}

/* Disks first, then vsock, console, rng, balloon; and nobody behind them. */
static void check_devices(void)
{
	static const uint32_t ids[] = {2, 2, 19, 3, 4, 5};
	uint64_t at = LAYOUT_VIRTIO;

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++, at += LAYOUT_VIRTIO_STEP) {
		expect(read32(at) == 0x74726976, "a device's magic");
		expect(read32(at + 8) == ids[i], "a device's kind");
	}
	expect(read32(at) == UINT32_MAX, "a slot without a device");
}

static void start_second_cpu(void)
{
	volatile uint8_t *to = (volatile uint8_t *)TRAMPOLINE;

	for (size_t i = 0; i < (size_t)(trampoline_end - trampoline); i++)
		to[i] = trampoline[i];
	to[0x100] = 0;
	write32(LAYOUT_LAPIC + 0xf0, 0x1ff);
	write32(ICR_DEST, 1u << 24);
	write32(LAPIC_ICR, INIT);
	write32(LAPIC_ICR, STARTUP | TRAMPOLINE >> 12);
	while (!to[0x100])
		;
}

void kernel_main(const struct boot_params *boot)
{
	expect((uint64_t)boot == LAYOUT_ZERO_PAGE, "zero page");
	map_devices();
	check_boot(boot);
	check_devices();
	start_second_cpu();
	say("all is well\n");
	/* A machine that is saved now goes on behind this. */
	write32(LAYOUT_POWER, LAYOUT_POWER_OFF_VALUE);
	say("it went on\n");
	power_off();
}
