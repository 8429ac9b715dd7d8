#include "tests/unit/driver.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/clock.h"

uint64_t driver_more_features;

void driver_check_(bool holds, const char *condition, const char *file, int line)
{
	if (holds)
		return;
	fprintf(stderr, "%s:%d: %s does not hold\n", file, line, condition);
	abort();
}

int driver_disk(void)
{
	static const char *const folders[] = {"/var/tmp", "/tmp", "."};
	struct statfs file_system;
	int fd;

	for (unsigned int i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		fd = open(folders[i], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		if (fd >= 0 && fstatfs(fd, &file_system) == 0 && file_system.f_type != TMPFS_MAGIC)
			return fd;
		if (fd >= 0)
			close(fd);
	}
	fd = memfd_create("disk", MFD_CLOEXEC);
	driver_check(fd >= 0);
	return fd;
}

/* Pages that nobody may touch lie before and after guest memory. */
#define GUARD 4096u

static uint8_t *map_guarded(int fd)
{
	uint8_t *all = mmap(NULL, DRIVER_MEMORY_LEN + 2 * GUARD, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *bytes;

	driver_check(all != MAP_FAILED);
	bytes = mmap(all + GUARD, DRIVER_MEMORY_LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		     fd, 0);
	driver_check(bytes != MAP_FAILED);
	return bytes;
}

void driver_init(struct driver *driver)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);

	memset(driver, 0, sizeof(*driver));
	driver_check(fd >= 0);
	driver_check(ftruncate(fd, DRIVER_MEMORY_LEN) == 0);
	driver->bytes = map_guarded(fd);
	driver->memory_fd = fd;
	driver_check(guest_memory_add(&driver->mem, DRIVER_MEMORY_GPA, DRIVER_MEMORY_LEN,
				      driver->bytes) == 0);
	guest_memory_set_file(&driver->mem, fd, driver->bytes);
	driver->next = DRIVER_MEMORY_GPA;
	driver->irq_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	driver_check(driver->irq_fd >= 0);
}

static void ring(void *ctx, uint32_t status_bits)
{
	struct driver *driver = ctx;
	uint64_t one = 1;

	(void)status_bits;
	/* A full one has been rung. */
	if (write(driver->irq_fd, &one, sizeof(one)) < 0)
		return;
}

void driver_attach(struct driver *driver, struct virtio_device *dev, struct loop *loop,
		   bool loop_is_ours)
{
	struct virtio_interrupt interrupt = {.ring = ring, .ctx = driver, .fd = driver->irq_fd};

	driver->loop = loop;
	driver->loop_is_ours = loop_is_ours;
	driver_check(virtio_mmio_init(&driver->mmio, dev, loop, &interrupt, NULL) == 0);
}

void driver_detach(struct driver *driver)
{
	virtio_mmio_destroy(&driver->mmio);
}

void driver_destroy(struct driver *driver)
{
	munmap(driver->bytes - GUARD, DRIVER_MEMORY_LEN + 2 * GUARD);
	close(driver->irq_fd);
	close(driver->memory_fd);
}

uint64_t driver_alloc(struct driver *driver, uint32_t len)
{
	uint64_t gpa = (driver->next + 15) & ~15ull;

	driver_check(gpa - DRIVER_MEMORY_GPA + len <= DRIVER_MEMORY_LEN);
	driver->next = gpa + len;
	return gpa;
}

void driver_forget(struct driver *driver)
{
	driver->next = DRIVER_MEMORY_GPA;
	/* All of it is zero again, for what pages were in use. */
	driver_check(madvise(driver->bytes, DRIVER_MEMORY_LEN, MADV_REMOVE) == 0);
}

void *driver_at(struct driver *driver, uint64_t gpa)
{
	return driver->bytes + (gpa - DRIVER_MEMORY_GPA);
}

uint32_t driver_read(struct driver *driver, uint32_t offset)
{
	return (uint32_t)virtio_mmio_read(&driver->mmio, offset, 4);
}

void driver_write(struct driver *driver, uint32_t offset, uint32_t value)
{
	virtio_mmio_write(&driver->mmio, offset, value, 4);
}

bool driver_negotiate(struct driver *driver, uint64_t features)
{
	driver_write(driver, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	driver_write(driver, VIRTIO_MMIO_STATUS, DRIVER_ACKNOWLEDGE);
	for (uint32_t sel = 0; sel < 2; sel++) {
		driver_write(driver, VIRTIO_MMIO_DRIVER_FEATURES_SEL, sel);
		driver_write(driver, VIRTIO_MMIO_DRIVER_FEATURES,
			     (uint32_t)(features >> (32 * sel)));
	}
	driver_write(driver, VIRTIO_MMIO_STATUS, DRIVER_ACKNOWLEDGE | VIRTIO_CONFIG_S_FEATURES_OK);
	return driver_read(driver, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK;
}

static void write_address(struct driver *driver, uint32_t low, uint64_t gpa)
{
	driver_write(driver, low, (uint32_t)gpa);
	driver_write(driver, low + 4, (uint32_t)(gpa >> 32));
}

void driver_queue_setup(struct driver *driver, unsigned int queue, uint16_t size)
{
	struct driver_queue *dq = &driver->queues[queue];

	memset(dq, 0, sizeof(*dq));
	dq->size = size;
	dq->desc_gpa = driver_alloc(driver, 16u * size);
	dq->avail_gpa = driver_alloc(driver, 6 + 2u * size);
	dq->used_gpa = driver_alloc(driver, 6 + 8u * size);
	dq->desc = driver_at(driver, dq->desc_gpa);
	dq->avail = driver_at(driver, dq->avail_gpa);
	dq->used = driver_at(driver, dq->used_gpa);
	dq->packed = driver->mmio.dev->negotiated & 1ull << VIRTIO_F_RING_PACKED;
	dq->ring = (void *)dq->desc;
	dq->driver_event = (void *)dq->avail;
	dq->device_event = (void *)dq->used;
	dq->avail_wrap = dq->used_wrap = true;
	driver_write(driver, VIRTIO_MMIO_QUEUE_SEL, queue);
	driver_write(driver, VIRTIO_MMIO_QUEUE_NUM, size);
	write_address(driver, VIRTIO_MMIO_QUEUE_DESC_LOW, dq->desc_gpa);
	write_address(driver, VIRTIO_MMIO_QUEUE_AVAIL_LOW, dq->avail_gpa);
	write_address(driver, VIRTIO_MMIO_QUEUE_USED_LOW, dq->used_gpa);
	driver_write(driver, VIRTIO_MMIO_QUEUE_READY, 1);
}

void driver_ok(struct driver *driver)
{
	driver_write(driver, VIRTIO_MMIO_STATUS,
		     DRIVER_ACKNOWLEDGE | VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
}

void driver_start(struct driver *driver, uint64_t features)
{
	driver_check(driver_negotiate(driver, features));
	for (unsigned int i = 0; i < driver->mmio.dev->queue_count; i++) {
		driver_write(driver, VIRTIO_MMIO_QUEUE_SEL, i);
		driver_queue_setup(driver, i,
				   (uint16_t)driver_read(driver, VIRTIO_MMIO_QUEUE_NUM_MAX));
	}
	driver_ok(driver);
}

void driver_reset(struct driver *driver)
{
	driver_write(driver, VIRTIO_MMIO_STATUS, 0);
}

static void describe(struct vring_desc *desc, const struct driver_buffer *buffer, uint16_t next,
		     bool last)
{
	desc->addr = buffer->gpa;
	desc->len = buffer->len;
	desc->flags = (uint16_t)((buffer->writable ? VRING_DESC_F_WRITE : 0) |
				 (last ? 0 : VRING_DESC_F_NEXT));
	desc->next = next;
}

/*
 * 2.8.13: descriptors in turn, all with the same id; the first one's flags, which make the chain
 * available, come last.
 */
static void submit_packed(struct driver_queue *dq, const struct driver_buffer *buffers,
			  unsigned int count, uint16_t id, unsigned int more_flags)
{
	struct vring_packed_desc *first = &dq->ring[dq->next_desc];
	uint16_t first_flags = 0;

	for (unsigned int i = 0; i < count; i++) {
		struct vring_packed_desc *desc = &dq->ring[dq->next_desc];
		unsigned int flags = dq->avail_wrap ? 1u << VRING_PACKED_DESC_F_AVAIL
						    : 1u << VRING_PACKED_DESC_F_USED;

		flags |= more_flags | (buffers[i].writable ? VRING_DESC_F_WRITE : 0) |
			 (i == count - 1 ? 0 : VRING_DESC_F_NEXT);
		desc->addr = buffers[i].gpa;
		desc->len = buffers[i].len;
		desc->id = id;
		if (desc == first)
			first_flags = (uint16_t)flags;
		else
			desc->flags = (uint16_t)flags;
		if (++dq->next_desc == dq->size) {
			dq->next_desc = 0;
			dq->avail_wrap = !dq->avail_wrap;
		}
	}
	dq->chains[id].slots = (uint16_t)count;
	dq->chains[id].first = buffers[0];
	__atomic_store_n(&first->flags, first_flags, __ATOMIC_RELEASE);
}

static void describe_packed(struct vring_packed_desc *desc, const struct driver_buffer *buffer)
{
	*desc = (struct vring_packed_desc){
		.addr = buffer->gpa,
		.len = buffer->len,
		.flags = buffer->writable ? VRING_DESC_F_WRITE : 0,
	};
}

uint16_t driver_submit(struct driver *driver, unsigned int queue,
		       const struct driver_buffer *buffers, unsigned int count)
{
	struct driver_queue *dq = &driver->queues[queue];
	uint16_t head = dq->next_desc;

	if (dq->packed) {
		submit_packed(dq, buffers, count, head, 0);
		return head;
	}

	for (unsigned int i = 0; i < count; i++) {
		uint16_t at = dq->next_desc;

		dq->next_desc = (uint16_t)((at + 1) % dq->size);
		describe(&dq->desc[at], &buffers[i], dq->next_desc, i == count - 1);
	}
	driver_offer(driver, queue, head);
	return head;
}

uint16_t driver_submit_indirect(struct driver *driver, unsigned int queue,
				const struct driver_buffer *buffers, unsigned int count)
{
	struct driver_queue *dq = &driver->queues[queue];
	uint64_t gpa = driver_alloc(driver, 16 * count);
	struct vring_desc *table = driver_at(driver, gpa);
	uint16_t head = dq->next_desc;

	if (dq->packed) {
		struct driver_buffer all = {gpa, 16 * count, false};

		for (unsigned int i = 0; i < count; i++)
			describe_packed(driver_at(driver, gpa + 16 * i), &buffers[i]);
		submit_packed(dq, &all, 1, head, VRING_DESC_F_INDIRECT);
		return head;
	}
	for (unsigned int i = 0; i < count; i++)
		describe(&table[i], &buffers[i], (uint16_t)(i + 1), i == count - 1);
	dq->desc[head].addr = gpa;
	dq->desc[head].len = 16 * count;
	dq->desc[head].flags = VRING_DESC_F_INDIRECT;
	dq->next_desc = (uint16_t)((head + 1) % dq->size);
	driver_offer(driver, queue, head);
	return head;
}

void driver_offer(struct driver *driver, unsigned int queue, uint16_t head)
{
	struct driver_queue *dq = &driver->queues[queue];
	uint16_t idx = dq->avail->idx;

	if (dq->packed) {
		head %= dq->size;
		submit_packed(dq, &dq->chains[head].first, 1, head, 0);
		return;
	}
	dq->avail->ring[idx % dq->size] = head;
	__atomic_store_n(&dq->avail->idx, (uint16_t)(idx + 1), __ATOMIC_RELEASE);
}

void driver_kick(struct driver *driver, unsigned int queue)
{
	driver_write(driver, VIRTIO_MMIO_QUEUE_NOTIFY, queue);
}

static bool collect_packed(struct driver_queue *dq, struct vring_used_elem *elem)
{
	const struct vring_packed_desc *desc = &dq->ring[dq->last_used];
	uint16_t flags = __atomic_load_n(&desc->flags, __ATOMIC_ACQUIRE);
	unsigned int next;

	if (!!(flags & 1u << VRING_PACKED_DESC_F_AVAIL) != dq->used_wrap ||
	    !!(flags & 1u << VRING_PACKED_DESC_F_USED) != dq->used_wrap)
		return false;
	*elem = (struct vring_used_elem){desc->id, desc->len};
	driver_check(elem->id < dq->size);
	next = dq->last_used + dq->chains[elem->id].slots;
	if (next >= dq->size) {
		next -= dq->size;
		dq->used_wrap = !dq->used_wrap;
	}
	dq->last_used = (uint16_t)next;
	/* 2.8.10 */
	__atomic_store_n(
		&dq->driver_event->off_wrap,
		(uint16_t)(next | (unsigned int)dq->used_wrap << VRING_PACKED_EVENT_F_WRAP_CTR),
		__ATOMIC_SEQ_CST);
	__atomic_store_n(&dq->driver_event->flags, VRING_PACKED_EVENT_FLAG_DESC, __ATOMIC_SEQ_CST);
	return true;
}

bool driver_collect(struct driver *driver, unsigned int queue, struct vring_used_elem *elem)
{
	struct driver_queue *dq = &driver->queues[queue];

	if (dq->packed)
		return collect_packed(dq, elem);
	if (__atomic_load_n(&dq->used->idx, __ATOMIC_ACQUIRE) == dq->last_used)
		return false;
	*elem = dq->used->ring[dq->last_used % dq->size];
	dq->last_used++;
	/* used_event, 2.7.7 */
	__atomic_store_n(&dq->avail->ring[dq->size], dq->last_used, __ATOMIC_SEQ_CST);
	return true;
}

static int64_t now_ms(void)
{
	return (int64_t)(monotonic_ns() / 1000000);
}

/* A turn of the loop, or of waiting for the thread that runs it to interrupt. */
static void wait_a_little(struct driver *driver)
{
	struct pollfd pfd = {.fd = driver->irq_fd, .events = POLLIN};
	uint64_t count;

	if (driver->loop_is_ours) {
		driver_check(loop_step(driver->loop, 50) == 0);
		return;
	}
	/* It may have been seen before the interrupt was: so no wait is long. */
	if (poll(&pfd, 1, 50) > 0 && read(driver->irq_fd, &count, sizeof(count)) < 0)
		return;
}

void driver_until(struct driver *driver, bool (*fn)(void *ctx), void *ctx)
{
	int64_t end = now_ms() + DRIVER_TIMEOUT_MS;

	while (!fn(ctx)) {
		driver_check(now_ms() < end);
		wait_a_little(driver);
	}
}

struct vring_used_elem driver_wait(struct driver *driver, unsigned int queue)
{
	int64_t end = now_ms() + DRIVER_TIMEOUT_MS;
	struct vring_used_elem elem;

	while (!driver_collect(driver, queue, &elem)) {
		driver_check(now_ms() < end);
		wait_a_little(driver);
	}
	return elem;
}

uint32_t driver_run(struct driver *driver, unsigned int queue, uint16_t head)
{
	struct vring_used_elem elem;

	driver_kick(driver, queue);
	elem = driver_wait(driver, queue);
	driver_check(elem.id == head);
	return elem.len;
}

void driver_turn(struct driver *driver, unsigned int turns)
{
	struct pollfd pfd = {.fd = driver->loop->epoll_fd, .events = POLLIN};

	for (unsigned int i = 0; i < turns && poll(&pfd, 1, 0) > 0; i++)
		driver_check(loop_step(driver->loop, 0) == 0);
}

void driver_idle(struct driver *driver)
{
	driver_turn(driver, UINT_MAX);
}

bool driver_interrupted(struct driver *driver)
{
	uint64_t count;

	return read(driver->irq_fd, &count, sizeof(count)) == sizeof(count);
}
