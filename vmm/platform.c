#include "vmm/platform.h"

#include "vmm/layout.h"

#define PORT_UART  0x3f8
#define PORT_I8042 0x64

#define UART_DATA	 0
#define UART_LINE_STATUS 5
#define UART_SENT	 0x60 /* transmitter empty: the kernel never waits */
#define I8042_RESET	 0xfe

#define PVPANIC_PANICKED 1
#define PVPANIC_LOADED	 2

static uint64_t uart_read(void *ctx, uint64_t offset, unsigned int len)
{
	(void)ctx;
	(void)len;
	return offset == UART_LINE_STATUS ? UART_SENT : 0;
}

static void uart_write(void *ctx, uint64_t offset, uint64_t value, unsigned int len)
{
	struct platform *platform = ctx;
	char c = (char)value;

	(void)len;
	/* Divisor and control writes are rare and harmless; only data is kept. */
	if (offset == UART_DATA && value >= 0x07)
		console_ring_write(platform->console, &c, 1);
}

/* Status 0: no input, no output pending. All ones would make reboot=k wait 130 ms for it. */
static uint64_t i8042_read(void *ctx, uint64_t offset, unsigned int len)
{
	(void)ctx;
	(void)offset;
	(void)len;
	return 0;
}

static void i8042_write(void *ctx, uint64_t offset, uint64_t value, unsigned int len)
{
	struct platform *platform = ctx;

	(void)offset;
	(void)len;
	if ((value & 0xff) == I8042_RESET)
		platform->end(platform->ctx, MACHINE_RESET, "reset by the guest");
}

static uint64_t power_read(void *ctx, uint64_t offset, unsigned int len)
{
	(void)ctx;
	(void)offset;
	(void)len;
	return 0;
}

static void power_write(void *ctx, uint64_t offset, uint64_t value, unsigned int len)
{
	struct platform *platform = ctx;

	(void)len;
	if (offset == 0 && value == LAYOUT_POWER_OFF_VALUE)
		platform->end(platform->ctx, MACHINE_POWER_OFF, "power off by the guest");
}

static uint64_t pvpanic_read(void *ctx, uint64_t offset, unsigned int len)
{
	(void)ctx;
	(void)offset;
	(void)len;
	return PVPANIC_PANICKED;
}

static void pvpanic_write(void *ctx, uint64_t offset, uint64_t value, unsigned int len)
{
	struct platform *platform = ctx;

	(void)offset;
	(void)len;
	if (value & (PVPANIC_PANICKED | PVPANIC_LOADED))
		platform->end(platform->ctx, MACHINE_PANIC, "kernel panic in the guest");
}

int platform_add(struct platform *platform, struct bus *mmio, struct bus *ports)
{
	int ret = bus_add(ports, PORT_UART, 8, uart_read, uart_write, platform);

	if (ret == 0)
		ret = bus_add(ports, PORT_I8042, 1, i8042_read, i8042_write, platform);
	if (ret == 0)
		ret = bus_add(mmio, LAYOUT_POWER, 4, power_read, power_write, platform);
	if (ret == 0)
		ret = bus_add(mmio, LAYOUT_PVPANIC, 2, pvpanic_read, pvpanic_write, platform);
	return ret;
}
