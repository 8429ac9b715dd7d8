#include "vmm/memory.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/extent.h"
#include "common/records.h"
#include "common/whole.h"

#ifndef MADV_COLLAPSE /* Linux 6.1 */
#define MADV_COLLAPSE 25
#endif

#define PAGE 4096u

/* Once it is mapped. */
static int set_up(struct vm_memory *mem, uint64_t size, struct error *err)
{
	int ret;

	mem->more_fd = -1;
	mem->size = size;
	mem->low = size < MEMORY_LOW_MAX ? size : MEMORY_LOW_MAX;
	/* Secrets of a container do not belong into a core file of ours. */
	madvise(mem->base, size, MADV_DONTDUMP);
	ret = guest_memory_add(&mem->map, 0, mem->low, mem->base);
	if (ret == 0 && size > mem->low)
		ret = guest_memory_add(&mem->map, MEMORY_HIGH_START, size - mem->low,
				       mem->base + mem->low);
	return ret < 0 ? error_set(err, -ret, "guest memory") : 0;
}

static int make_file(int *fd, uint64_t size, struct error *err)
{
	*fd = memfd_create("guest-memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (*fd < 0)
		return error_set(err, errno, "guest memory: memfd_create");
	if (ftruncate(*fd, (off_t)size) < 0)
		return error_set(err, errno, "guest memory: %llu MiB",
				 (unsigned long long)size >> 20);
	/* A vhost-user back end that shares this file must not shrink it: we would get SIGBUS. */
	if (fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return error_set(err, errno, "guest memory: seal");
	return 0;
}

int vm_memory_create(struct vm_memory *mem, uint64_t size, struct error *err)
{
	int ret;

	memset(mem, 0, sizeof(*mem));
	mem->fd = mem->more_fd = -1;
	ret = make_file(&mem->fd, size, err);
	if (ret < 0)
		goto fail;
	mem->base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, mem->fd,
			 0);
	if (mem->base == MAP_FAILED) {
		mem->base = NULL;
		ret = error_set(err, errno, "guest memory: map %llu MiB",
				(unsigned long long)size >> 20);
		goto fail;
	}
	/* Halves the time to boot where the host allows it (shmem_enabled=advise); else ignored. */
	madvise(mem->base, size, MADV_HUGEPAGE);
	ret = set_up(mem, size, err);
	if (ret < 0)
		goto fail;
	guest_memory_set_file(&mem->map, mem->fd, mem->base);
	return 0;
fail:
	vm_memory_destroy(mem);
	return ret;
}

/* A mapping of the file at an address that huge pages can be mapped to, or NULL. */
static uint8_t *map_aligned(int fd, uint64_t size, int flags)
{
	uint8_t *room = mmap(NULL, size + MEMORY_HUGE_PAGE, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint8_t *base, *end;

	if (room == MAP_FAILED)
		return NULL;
	end = room + size + MEMORY_HUGE_PAGE;
	base = (uint8_t *)(((uintptr_t)room + MEMORY_HUGE_PAGE - 1) & ~(MEMORY_HUGE_PAGE - 1));
	if (base > room)
		munmap(room, (size_t)(base - room));
	munmap(base + size, (size_t)(end - base - size));
	if (mmap(base, size, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE | MAP_FIXED, fd, 0) !=
	    MAP_FAILED)
		return base;
	munmap(base, size);
	return NULL;
}

static bool is_set(const uint8_t *bits, uint64_t page)
{
	return bits[page / 8] >> page % 8 & 1;
}

/* A run of pages whose bits are set. */
struct run {
	uint64_t start, end;
};

/* The next one behind it; false when there is none. Most bytes have no bit set. */
static bool next_run(const uint8_t *bits, uint64_t pages, struct run *run)
{
	uint64_t at = run->end;

	while (at < pages && !is_set(bits, at))
		at += at % 8 || bits[at / 8] ? 1 : 8;
	run->start = at;
	while (at < pages && is_set(bits, at))
		at++;
	run->end = at;
	return run->start < pages;
}

/* A hint: what it says wrongly costs memory, what is not to be had now comes by faults. */
static void copy_pages(const struct vm_memory *mem, int pages_fd)
{
	uint64_t pages = mem->size / PAGE;
	cleanup_free uint8_t *bits = malloc(pages / 8);
	struct run run = {0};

	if (pages_fd < 0 || !bits || pread(pages_fd, bits, pages / 8, 0) != (ssize_t)(pages / 8))
		return;
	while (next_run(bits, pages, &run))
		madvise(mem->base + run.start * PAGE, (run.end - run.start) * PAGE,
			MADV_POPULATE_WRITE);
}

int vm_memory_clone(struct vm_memory *mem, uint64_t size, int file_fd, int pages_fd,
		    struct error *err)
{
	int ret;

	memset(mem, 0, sizeof(*mem));
	mem->fd = mem->more_fd = -1;
	mem->base = map_aligned(file_fd, size, MAP_PRIVATE);
	if (!mem->base)
		return error_set(err, errno, "guest memory: map the template");
	ret = set_up(mem, size, err);
	if (ret < 0)
		vm_memory_destroy(mem);
	else
		copy_pages(mem, pages_fd);
	return ret;
}

/* A part of a guest's memory as it lies in a file. */
struct part {
	uint8_t *bytes;
	uint64_t offset; /* of its first byte in the file */
	uint64_t len;
};

static uint8_t *at(const struct part *part, uint64_t offset)
{
	return part->bytes + (offset - part->offset);
}

static struct part part_boot(const struct vm_memory *mem)
{
	return (struct part){mem->base, 0, mem->size};
}

/* What has come later lies behind the rest. */
static struct part part_more(const struct vm_memory *mem)
{
	if (!mem->more)
		return (struct part){0};
	return (struct part){mem->more->bytes, mem->size, guest_region_len(mem->more)};
}

static int read_in(int fd, const struct part *part, off_t offset, off_t end, struct error *err)
{
	ssize_t n = pread_all(fd, at(part, (uint64_t)offset), (size_t)(end - offset), offset);

	if (n == end - offset)
		return 0;
	return error_set(err, n < 0 ? (int)-n : EIO, "guest memory: read the template");
}

static bool is_zero(const uint8_t *page)
{
	return page[0] == 0 && memcmp(page, page + 1, PAGE - 1) == 0;
}

/* Against accidents, as that of the records is. */
static uint64_t add_page(uint64_t sum, const uint8_t *page, uint64_t offset)
{
	return (sum ^ offset) * 0x100000001b3ull + records_sum(page, PAGE);
}

/* start and end are places in the file. */
static uint64_t add_range(uint64_t sum, const struct part *part, uint64_t start, uint64_t end)
{
	for (start &= ~(uint64_t)(PAGE - 1); start < end; start += PAGE)
		if (!is_zero(at(part, start)))
			sum = add_page(sum, at(part, start), start);
	return sum;
}

static int copy_part(const struct part *part, int file_fd, uint64_t *sum, struct error *err)
{
	struct extent extent = {.end = (off_t)part->offset};
	off_t end = (off_t)(part->offset + part->len);
	int ret = 0, more = 1;

	while (ret == 0 && (more = extent_next(file_fd, extent.end, end, &extent)) > 0) {
		ret = read_in(file_fd, part, extent.start, extent.end, err);
		if (ret == 0 && sum)
			*sum = add_range(*sum, part, (uint64_t)extent.start, (uint64_t)extent.end);
	}
	return more < 0 ? error_set(err, -more, "guest memory: look for data") : ret;
}

int vm_memory_copy(struct vm_memory *mem, uint64_t size, int file_fd, uint64_t *sum,
		   struct error *err)
{
	int ret = vm_memory_create(mem, size, err);
	struct part part = part_boot(mem);

	if (sum)
		*sum = 0;
	if (ret == 0)
		ret = copy_part(&part, file_fd, sum, err);
	if (ret < 0)
		vm_memory_destroy(mem);
	return ret;
}

int vm_memory_copy_more(struct vm_memory *mem, int file_fd, uint64_t *sum, struct error *err)
{
	struct part part = part_more(mem);

	return copy_part(&part, file_fd, sum, err);
}

static int write_out(int fd, const uint8_t *bytes, size_t len, uint64_t offset, struct error *err)
{
	int ret = pwrite_all(fd, bytes, len, (off_t)offset);

	return ret < 0 ? error_set(err, -ret, "write guest memory") : 0;
}

/* Runs of pages with something in them; start and end are places in the file. */
static int save_range(const struct part *part, int fd, uint64_t start, uint64_t end, uint64_t *sum,
		      struct error *err)
{
	while (start < end) {
		uint64_t stop;
		int ret;

		if (is_zero(at(part, start))) {
			start += PAGE;
			continue;
		}
		for (stop = start + PAGE; stop < end && !is_zero(at(part, stop)); stop += PAGE)
			;
		ret = write_out(fd, at(part, start), stop - start, start, err);
		if (ret < 0)
			return ret;
		*sum = add_range(*sum, part, start, stop);
		start = stop;
	}
	return 0;
}

/* How many bytes of the file are not holes between two places in it. */
static uint64_t bytes_between(int fd, uint64_t start, uint64_t end)
{
	struct extent extent = {.end = (off_t)start};
	uint64_t sum = 0;

	while (extent_next(fd, extent.end, (off_t)end, &extent) > 0)
		sum += (uint64_t)(extent.end - extent.start);
	return sum;
}

/*
 * Where the host can, the file's cache gets huge pages for what is half full at least: of these a
 * clone needs one fault for 512 pages that it only reads, as the kernel's code, which has pages of
 * zeros in between. Failing is no harm.
 */
void vm_memory_gather(int file_fd, uint64_t size)
{
	uint8_t *base = map_aligned(file_fd, size, MAP_PRIVATE);
	struct extent extent = {0};
	uint64_t at = 0;

	while (base && extent_next(file_fd, (off_t)at, (off_t)size, &extent) > 0) {
		at = (uint64_t)extent.start & ~(MEMORY_HUGE_PAGE - 1);
		if (bytes_between(file_fd, at, at + MEMORY_HUGE_PAGE) >= MEMORY_HUGE_PAGE / 2)
			madvise(base + at, MEMORY_HUGE_PAGE, MADV_COLLAPSE);
		at += MEMORY_HUGE_PAGE;
	}
	if (base)
		munmap(base, size);
}

/* What was never touched has no pages, and looking at it would make some. */
static int save_own(const struct part *part, int part_fd, int fd, uint64_t *sum, struct error *err)
{
	struct extent extent = {0};
	int ret = 0, more = 1;

	while (ret == 0 && (more = extent_next(part_fd, extent.end, (off_t)part->len, &extent)) > 0)
		ret = save_range(part, fd, part->offset + (uint64_t)extent.start,
				 part->offset + (uint64_t)extent.end, sum, err);
	return more < 0 ? error_set(err, -more, "guest memory: look for data") : ret;
}

/* Neither has what is a hole in the origin, as long as it was not written here. */
static int save_clone(const struct vm_memory *mem, int fd, int origin_fd, int pages_fd,
		      uint64_t *sum, struct error *err)
{
	uint64_t pages = mem->size / PAGE;
	cleanup_free uint8_t *bits = malloc(pages / 8);
	const struct part part = part_boot(mem);
	struct extent extent = {0};
	struct run run = {0};
	int ret = 0;

	if (!bits)
		return error_set(err, ENOMEM, "guest memory");
	/* A call that the filters know anyway. */
	if (preadv2(pages_fd, &(struct iovec){bits, pages / 8}, 1, 0, 0) != (ssize_t)(pages / 8))
		return error_say(err, EINVAL, "guest memory: it is not said what was written");
	while ((ret = extent_next(origin_fd, extent.end, (off_t)mem->size, &extent)) > 0)
		for (uint64_t page = (uint64_t)extent.start / PAGE;
		     page * PAGE < (uint64_t)extent.end; page++)
			bits[page / 8] |= (uint8_t)(1u << page % 8);
	if (ret < 0)
		return error_set(err, -ret, "guest memory: look for data");
	while (ret == 0 && next_run(bits, pages, &run))
		ret = save_range(&part, fd, run.start * PAGE, run.end * PAGE, sum, err);
	return ret;
}

int vm_memory_save(const struct vm_memory *mem, int file_fd, int origin_fd, int pages_fd,
		   uint64_t *sum, struct error *err)
{
	const struct part boot = part_boot(mem), more = part_more(mem);
	int ret;

	*sum = 0;
	ret = mem->fd >= 0 ? save_own(&boot, mem->fd, file_fd, sum, err)
			   : save_clone(mem, file_fd, origin_fd, pages_fd, sum, err);
	return ret < 0 || !more.len ? ret : save_own(&more, mem->more_fd, file_fd, sum, err);
}

void vm_memory_use_small_pages(const struct vm_memory *mem, uint64_t offset)
{
	if (offset + MEMORY_HUGE_PAGE <= mem->size)
		madvise(mem->base + offset, MEMORY_HUGE_PAGE, MADV_NOHUGEPAGE);
}

static bool is_more(const struct vm_memory *mem, const void *bytes)
{
	return mem->more &&
	       (uintptr_t)bytes - (uintptr_t)mem->more->bytes < (uintptr_t)mem->more->room;
}

void vm_memory_release(const struct vm_memory *mem, void *bytes, size_t len)
{
	uintptr_t start = ((uintptr_t)bytes + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
	uintptr_t end = ((uintptr_t)bytes + len) & ~(uintptr_t)(PAGE - 1);

	/* A shared file keeps its pages until there is a hole; a clone only drops its own copies.
	 */
	if (start < end)
		madvise((void *)start, end - start,
			mem->fd >= 0 || is_more(mem, bytes) ? MADV_REMOVE : MADV_DONTNEED);
}

void vm_memory_destroy(struct vm_memory *mem)
{
	if (mem->base)
		munmap(mem->base, mem->size);
	mem->base = NULL;
	close_fd(&mem->fd);
	if (mem->more)
		munmap(mem->more->bytes, mem->more->room);
	mem->more = NULL;
	close_fd(&mem->more_fd);
}

int vm_memory_attach(const struct vm_memory *mem, struct kvm *kvm, struct error *err)
{
	for (unsigned int i = 0; i < mem->map.count; i++) {
		const struct guest_region *region = &mem->map.regions[i];
		int ret = region == mem->more ? 0
					      : kvm_add_memory(kvm, i, region->gpa, region->len,
							       region->bytes, err);

		if (ret < 0)
			return ret;
	}
	return 0;
}

/* --- what comes later --- */

int vm_memory_reserve(struct vm_memory *mem, uint64_t room, struct error *err)
{
	uint64_t high = mem->size > mem->low ? mem->size - mem->low : 0;
	uint64_t gpa = (MEMORY_HIGH_START + high + MEMORY_MORE_ALIGN - 1) &
		       ~(MEMORY_MORE_ALIGN - 1);
	uint8_t *bytes = NULL;
	int ret = make_file(&mem->more_fd, room, err);

	if (ret < 0)
		return ret;
	bytes = map_aligned(mem->more_fd, room, MAP_SHARED);
	if (!bytes)
		return error_set(err, errno, "guest memory: map %llu MiB for later",
				 (unsigned long long)room >> 20);
	madvise(bytes, room, MADV_DONTDUMP);
	madvise(bytes, room, MADV_HUGEPAGE);
	ret = guest_memory_reserve(&mem->map, gpa, room, bytes, mem->more_fd);
	if (ret < 0) {
		munmap(bytes, room);
		return error_set(err, -ret, "guest memory: room for more");
	}
	mem->more = &mem->map.regions[mem->map.count - 1];
	return 0;
}

int vm_memory_grow(struct vm_memory *mem, struct kvm *kvm, uint64_t len, struct error *err)
{
	uint64_t old = mem->more ? mem->more->len : 0;
	int ret;

	if (!mem->more || len > mem->more->room)
		return error_say(err, ERANGE, "guest memory: there is no room for %llu MiB more",
				 (unsigned long long)len >> 20);
	if (len <= old)
		return 0;
	ret = kvm_add_memory(kvm, mem->map.count + mem->more_slots, mem->more->gpa + old, len - old,
			     mem->more->bytes + old, err);
	if (ret < 0)
		return ret;
	mem->more_slots++;
	guest_region_grow(mem->more, len);
	return 0;
}
