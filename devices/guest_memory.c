#include "devices/guest_memory.h"

#include <errno.h>
#include <string.h>

static int add(struct guest_memory *mem, uint64_t gpa, uint64_t len, void *bytes,
	       struct guest_region **out)
{
	struct guest_region *region;

	if (!len || !bytes || gpa + len < gpa || len > SIZE_MAX)
		return -EINVAL;
	for (unsigned int i = 0; i < mem->count; i++) {
		const struct guest_region *other = &mem->regions[i];

		if (gpa < other->gpa + other->room && other->gpa < gpa + len)
			return -EINVAL;
	}
	if (mem->count == GUEST_MEMORY_REGIONS_MAX)
		return -ENOSPC;
	region = &mem->regions[mem->count++];
	region->gpa = gpa;
	region->len = region->room = len;
	region->bytes = bytes;
	region->fd = -1;
	region->fd_offset = 0;
	*out = region;
	return 0;
}

int guest_memory_add(struct guest_memory *mem, uint64_t gpa, uint64_t len, void *bytes)
{
	struct guest_region *region;

	return add(mem, gpa, len, bytes, &region);
}

int guest_memory_reserve(struct guest_memory *mem, uint64_t gpa, uint64_t room, void *bytes, int fd)
{
	struct guest_region *region;
	int ret = add(mem, gpa, room, bytes, &region);

	if (ret < 0)
		return ret;
	region->len = 0;
	region->fd = fd;
	return 0;
}

void guest_region_grow(struct guest_region *region, uint64_t len)
{
	__atomic_store_n(&region->len, len, __ATOMIC_RELEASE);
}

void guest_memory_set_file(struct guest_memory *mem, int fd, const void *base)
{
	for (unsigned int i = 0; i < mem->count; i++) {
		struct guest_region *region = &mem->regions[i];

		region->fd = fd;
		region->fd_offset = (uint64_t)(region->bytes - (const uint8_t *)base);
	}
}

const struct guest_region *guest_memory_find(const struct guest_memory *mem, uint64_t gpa,
					     uint64_t len)
{
	for (unsigned int i = 0; i < mem->count; i++) {
		const struct guest_region *region = &mem->regions[i];
		/* Below the region it wraps, and is beyond every length. */
		uint64_t offset = gpa - region->gpa, len_now = guest_region_len(region);

		/* Subtractions only: neither sum of the guest's numbers can be trusted to fit. */
		if (offset < len_now && len <= len_now - offset)
			return region;
	}
	return NULL;
}

void *guest_memory_range(const struct guest_memory *mem, uint64_t gpa, uint64_t len)
{
	const struct guest_region *region = guest_memory_find(mem, gpa, len);

	return region && len ? region->bytes + (gpa - region->gpa) : NULL;
}

int guest_memory_read(const struct guest_memory *mem, uint64_t gpa, void *buf, size_t len)
{
	const void *from = guest_memory_range(mem, gpa, len);

	if (!from)
		return -EFAULT;
	memcpy(buf, from, len);
	/* The compiler must not look at guest memory again for what was copied. */
	__asm__ volatile("" ::: "memory");
	return 0;
}

int guest_memory_write(const struct guest_memory *mem, uint64_t gpa, const void *buf, size_t len)
{
	void *to = guest_memory_range(mem, gpa, len);

	if (!to)
		return -EFAULT;
	memcpy(to, buf, len);
	return 0;
}
