/* What payload guests are written with. They have no library and start at main. */
#ifndef TESTS_PAYLOAD_GUEST_H
#define TESTS_PAYLOAD_GUEST_H

#include <stdbool.h>
#include <stddef.h>

#include "tests/payload/layout.h"
#include "vmm/layout.h"

void main(void);

#define mailbox ((struct payload_mailbox *)PAYLOAD_MAILBOX)

/* Ends the guest where the condition does not hold; the test reports the place. */
#define guest_check(condition)                         \
	do {                                           \
		if (!(condition))                      \
			fail(__FILE_NAME__, __LINE__); \
	} while (0)

/* One instruction each: a compiler may split, join or repeat what it makes of volatile. */
#define GUEST_PORT(bits, suffix)                                                                  \
	static inline uint##bits##_t in##suffix(uint16_t port)                                    \
	{                                                                                         \
		uint##bits##_t value;                                                             \
		__asm__ volatile("in" #suffix " %w1, %0" : "=a"(value) : "Nd"(port) : "memory");  \
		return value;                                                                     \
	}                                                                                         \
	static inline void out##suffix(uint16_t port, uint##bits##_t value)                       \
	{                                                                                         \
		__asm__ volatile("out" #suffix " %0, %w1" : : "a"(value), "Nd"(port) : "memory"); \
	}

GUEST_PORT(8, b)
GUEST_PORT(16, w)
GUEST_PORT(32, l)

#define GUEST_MMIO(bits)                                                                  \
	static inline uint##bits##_t read##bits(uint64_t address)                         \
	{                                                                                 \
		uint##bits##_t value;                                                     \
		__asm__ volatile("mov (%1), %0" : "=r"(value) : "r"(address) : "memory"); \
		return value;                                                             \
	}                                                                                 \
	static inline void write##bits(uint64_t address, uint##bits##_t value)            \
	{                                                                                 \
		__asm__ volatile("mov %0, (%1)" : : "r"(value), "r"(address) : "memory"); \
	}

GUEST_MMIO(8)
GUEST_MMIO(16)
GUEST_MMIO(32)
GUEST_MMIO(64)

static inline void barrier(void)
{
	/* x86 keeps stores in order, and loads; only the compiler has to be told. */
	__asm__ volatile("" ::: "memory");
}

static inline void power_off(void)
{
	for (;;)
		write32(LAYOUT_POWER, LAYOUT_POWER_OFF_VALUE);
}

static inline void fail(const char *file, uint32_t line)
{
	for (unsigned int i = 0; i < sizeof(mailbox->failed_file) - 1 && file[i]; i++)
		mailbox->failed_file[i] = file[i];
	mailbox->failed_line = line;
	power_off();
}

static inline void arrived(void)
{
	outb(PAYLOAD_PORT_ARRIVED, 0);
}

/* The local APIC is enabled, without the old PIC behind it, and the IOAPIC's pin has a vector. */
static inline void enable_irq(unsigned int pin)
{
	write32(LAYOUT_LAPIC + 0x350, 0x10000); /* LINT0, on which the PIC would interrupt too */
	write32(LAYOUT_LAPIC + 0xf0, 0x1ff);	/* spurious vector, enable */
	write32(LAYOUT_IOAPIC, 0x10 + 2 * pin + 1);
	write32(LAYOUT_IOAPIC + 0x10, 0); /* to APIC 0 */
	write32(LAYOUT_IOAPIC, 0x10 + 2 * pin);
	write32(LAYOUT_IOAPIC + 0x10, PAYLOAD_VECTOR + pin); /* fixed, edge, not masked */
}

/*
 * Kernel mode only. Sleeps until more interrupts than seen have come; they come in here only. sti
 * works after the next instruction, so none is lost before hlt.
 */
static inline void wait_irq(uint32_t seen)
{
	while (mailbox->irqs == seen)
		__asm__ volatile("sti\n\thlt\n\tcli" ::: "memory");
}

#endif
