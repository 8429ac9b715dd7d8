/*
 * The guest's memory: one memfd, mapped once. What lies below 3 GiB starts at address 0, the rest
 * at 4 GiB; the hole between is for devices. Behind it may be room for memory that comes later
 * (devices/mem.h), a memfd of its own.
 */
#ifndef VMM_MEMORY_H
#define VMM_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "devices/guest_memory.h"
#include "vmm/kvm.h"

#define MEMORY_LOW_MAX	  (3ull << 30)
#define MEMORY_HIGH_START (4ull << 30)
#define MEMORY_HUGE_PAGE  (2ull << 20)
/* Where memory that comes later may begin: as the guest's kernel wants its largest blocks. */
#define MEMORY_MORE_ALIGN (2ull << 30)
/* It comes in what is the smallest block for that kernel. */
#define MEMORY_MORE_STEP (128ull << 20)

/* The steps that so many bytes take, in bytes. */
static inline uint64_t memory_more_steps(uint64_t size)
{
	return (size + MEMORY_MORE_STEP - 1) / MEMORY_MORE_STEP * MEMORY_MORE_STEP;
}

struct vm_memory {
	int fd;
	uint8_t *base;
	uint64_t size; /* bytes, all of it */
	uint64_t low;  /* bytes below the hole */
	int more_fd;
	struct guest_region *more; /* of map; NULL: there is no room */
	unsigned int more_slots;   /* in KVM */
	struct guest_memory map;
};

int vm_memory_create(struct vm_memory *mem, uint64_t size, struct error *err);
/*
 * Memory with the contents of a file that vm_memory_save wrote, of exactly size bytes. Pages are
 * shared with it, and so with every other that does this, until they are written. Those that a
 * clone is known to write are in the file pages_fd (-1: none), a bit each: it has them at once.
 */
int vm_memory_clone(struct vm_memory *mem, uint64_t size, int file_fd, int pages_fd,
		    struct error *err);

/*
 * The same as a file of its own, for a back end that has to map it too, or where the file may
 * change: what is in it is copied. *sum (may be NULL) becomes what vm_memory_save gave, or another.
 */
int vm_memory_copy(struct vm_memory *mem, uint64_t size, int file_fd, uint64_t *sum,
		   struct error *err);

/*
 * Writes the memory to a file of its size with nothing in it; pages of zeroes become holes. Nobody
 * writes meanwhile. Of a clone, origin_fd is what it was cloned from, and pages_fd has a bit for
 * each page of its own. *sum is of what is not zero, and where it is.
 */
int vm_memory_save(const struct vm_memory *mem, int file_fd, int origin_fd, int pages_fd,
		   uint64_t *sum, struct error *err);

/*
 * Room for so many bytes more, a multiple of MEMORY_MORE_STEP, before anybody has looked at map. It
 * costs a mapping and nothing else: KVM, whose tables cost by size, hears of what is there. Once.
 */
int vm_memory_reserve(struct vm_memory *mem, uint64_t room, struct error *err);

/*
 * There are len bytes in it from now on; never less than before. Who was told of the memory has to
 * be told again (vhost).
 */
int vm_memory_grow(struct vm_memory *mem, struct kvm *kvm, uint64_t len, struct error *err);

/* What vm_memory_save wrote of it, which lies behind the rest; sum is gone on with. */
int vm_memory_copy_more(struct vm_memory *mem, int file_fd, uint64_t *sum, struct error *err);

/* Has the cache of a file that was saved gathered into huge pages, where the host can. */
void vm_memory_gather(int file_fd, uint64_t size);

/* Has 2 MiB at offset, a multiple of it, in small pages: for hardly anything in them. */
void vm_memory_use_small_pages(const struct vm_memory *mem, uint64_t offset);

/*
 * Gives memory back to the host; what is read there next is undefined. Only whole pages are.
 * Failing is no harm.
 */
void vm_memory_release(const struct vm_memory *mem, void *bytes, size_t len);

void vm_memory_destroy(struct vm_memory *mem);

/* Shows the memory to the VM. */
int vm_memory_attach(const struct vm_memory *mem, struct kvm *kvm, struct error *err);

#endif
