#include "vmm/bus.h"

#include <errno.h>
#include <stddef.h>

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
	return 0;
}

/* An access that runs over the end of its range belongs to nobody. */
static const struct bus_range *find(const struct bus *bus, uint64_t addr, unsigned int len)
{
	for (unsigned int i = 0; i < bus->count; i++) {
		const struct bus_range *range = &bus->ranges[i];

		if (addr >= range->start && addr - range->start < range->len &&
		    len <= range->len - (addr - range->start))
			return range;
	}
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
