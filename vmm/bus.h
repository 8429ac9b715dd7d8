/* Which device answers to an address: one bus for MMIO, one for I/O ports. */
#ifndef VMM_BUS_H
#define VMM_BUS_H

#include <stdint.h>

#define BUS_RANGES_MAX 32
#define BUS_PAGES      512 /* of 4 KiB; pages that far apart share an entry */

/* offset is from the range's start; len is 1, 2, 4 or 8. Called from any vCPU thread. */
typedef uint64_t bus_read_fn(void *ctx, uint64_t offset, unsigned int len);
typedef void bus_write_fn(void *ctx, uint64_t offset, uint64_t value, unsigned int len);

struct bus {
	struct bus_range {
		uint64_t start;
		uint64_t len;
		bus_read_fn *read;
		bus_write_fn *write;
		void *ctx;
	} ranges[BUS_RANGES_MAX];
	unsigned int count;
	/* By page: the only range there, found at once; or that there is none, or several. */
	uint8_t pages[BUS_PAGES];
};

/* Before the first vCPU runs: look-ups take no lock. Returns 0, -ENOSPC, or -EEXIST (overlap). */
int bus_add(struct bus *bus, uint64_t start, uint64_t len, bus_read_fn *read, bus_write_fn *write,
	    void *ctx);

/* Where nobody answers, all ones are read and writes are lost, as on real hardware. */
uint64_t bus_read(const struct bus *bus, uint64_t addr, unsigned int len);
void bus_write(const struct bus *bus, uint64_t addr, uint64_t value, unsigned int len);

#endif
