#include "vmm/bus.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

/* Entries of pages; another is the number of a range, from 1 on. */
#define NOTHING 0u
#define SEVERAL 0xffu

static void note_pages(struct bus *bus, uint64_t start, uint64_t len)
{
	uint64_t last = (start + len - 1) >> 12;

	for (uint64_t page = start >> 12; page <= last; page++) {
		uint8_t *entry = &bus->pages[page % BUS_PAGES];

		*entry = *entry == NOTHING ? (uint8_t)bus->count : SEVERAL;
	}
}

int bus_add(struct bus *bus, uint64_t start, uint64_t len, bus_read_fn *read, bus_write_fn *write,
	    void *ctx)
{
	for (unsigned int i = 0; i < bus->count; i++) {
		const struct bus_range *range = &bus->ranges[i];

		if (start < range->start + range->len && range->start < start + len)
			return -EEXIST;
	}
	if (bus->count == BUS_RANGES_MAX)
		return -ENOSPC;
	bus->ranges[bus->count++] = (struct bus_range){start, len, read, write, ctx};
	note_pages(bus, start, len);
	return 0;
}

/* An access that runs over the end of its range belongs to nobody. */
static bool contains(const struct bus_range *range, uint64_t addr, unsigned int len)
{
	return addr >= range->start && addr - range->start < range->len &&
	       len <= range->len - (addr - range->start);
}

static const struct bus_range *find(const struct bus *bus, uint64_t addr, unsigned int len)
{
	unsigned int entry = bus->pages[(addr >> 12) % BUS_PAGES];
	const struct bus_range *range = bus->ranges;

	if (entry == NOTHING)
		return NULL;
	if (entry != SEVERAL)
		return contains(&range[entry - 1], addr, len) ? &range[entry - 1] : NULL;
	for (unsigned int i = 0; i < bus->count; i++, range++)
		if (contains(range, addr, len))
			return range;
	return NULL;
}

uint64_t bus_read(const struct bus *bus, uint64_t addr, unsigned int len)
{
	const struct bus_range *range = find(bus, addr, len);

	if (!range || !range->read)
		return UINT64_MAX;
	return range->read(range->ctx, addr - range->start, len);
}

void bus_write(const struct bus *bus, uint64_t addr, uint64_t value, unsigned int len)
{
	const struct bus_range *range = find(bus, addr, len);

	if (range && range->write)
		range->write(range->ctx, addr - range->start, value, len);
}
