/*
 * Guest memory: the one place where a guest address becomes a host pointer. Everything a guest
 * names is (address, length); both come from the attacker.
 */
#ifndef DEVICES_GUEST_MEMORY_H
#define DEVICES_GUEST_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#define GUEST_MEMORY_REGIONS_MAX 4

struct guest_region {
	uint64_t gpa;	/* guest physical address of the first byte */
	uint64_t len;	/* bytes; of one that grows by guest_region_len */
	uint64_t room;	/* bytes that are mapped: what len can become */
	uint8_t *bytes; /* where it is mapped; not owned */
	int fd;		/* the file that is mapped there, shared, or -1; not owned */
	uint64_t fd_offset;
};

struct guest_memory {
	struct guest_region regions[GUEST_MEMORY_REGIONS_MAX];
	unsigned int count;
};

/* Adds a region. Returns 0, -ENOSPC, or -EINVAL for an empty, wrapping or overlapping one. */
int guest_memory_add(struct guest_memory *mem, uint64_t gpa, uint64_t len, void *bytes);

/*
 * Adds a region of room bytes at which there is nothing yet, in a shared mapping of fd that begins
 * there. It grows under the eyes of other threads, and never shrinks: a pointer into it stays good.
 */
int guest_memory_reserve(struct guest_memory *mem, uint64_t gpa, uint64_t room, void *bytes,
			 int fd);
void guest_region_grow(struct guest_region *region, uint64_t len);

static inline uint64_t guest_region_len(const struct guest_region *region)
{
	return __atomic_load_n(&region->len, __ATOMIC_ACQUIRE);
}

/* All regions so far lie in one shared mapping of fd, which begins at base. */
void guest_memory_set_file(struct guest_memory *mem, int fd, const void *base);

/*
 * Returns the host address of [gpa, gpa + len), or NULL when any byte of it lies outside of
 * memory or it crosses from one region into another. len 0 gives NULL. What is read through the
 * pointer can change at any time: copy first, then check the copy.
 */
void *guest_memory_range(const struct guest_memory *mem, uint64_t gpa, uint64_t len);

/* The region that all of [gpa, gpa + len) is in, len not 0; or NULL. */
const struct guest_region *guest_memory_find(const struct guest_memory *mem, uint64_t gpa,
					     uint64_t len);

/* Copy between guest memory and buf. Return 0, or -EFAULT and nothing copied. */
int guest_memory_read(const struct guest_memory *mem, uint64_t gpa, void *buf, size_t len);
int guest_memory_write(const struct guest_memory *mem, uint64_t gpa, const void *buf, size_t len);

#endif
