/* What split and packed queues share. For virtqueue*.c only. */
#ifndef DEVICES_VIRTQUEUE_INTERNAL_H
#define DEVICES_VIRTQUEUE_INTERNAL_H

#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "devices/virtqueue.h"

/* Sizes of both kinds of descriptors. */
#define VIRTQUEUE_DESC_LEN 16u

/* Ring fields that both sides touch. What orders them is said where they are used. */
static inline uint16_t ring_load16(const void *at)
{
	return __atomic_load_n((const uint16_t *)at, __ATOMIC_RELAXED);
}

static inline void ring_store16(void *at, uint16_t value)
{
	__atomic_store_n((uint16_t *)at, value, __ATOMIC_RELAXED);
}

/* One copy is what is checked and used, whatever the guest makes of the original. */
static inline void ring_copy(void *copy, const void *original, size_t len)
{
	memcpy(copy, original, len);
	__asm__ volatile("" ::: "memory");
}

/* The host address of what the guest describes, len not 0; NULL when it is not all in memory. */
static inline void *virtqueue_range(struct virtqueue *vq, uint64_t gpa, uint64_t len)
{
	const struct guest_region *region = vq->region;
	uint64_t offset = gpa - region->gpa;

	/* As in guest_memory.c, for the region that it mostly is. */
	if (offset < region->len && len <= region->len - offset)
		return region->bytes + offset;
	region = guest_memory_find(vq->mem, gpa, len);
	if (!region)
		return NULL;
	vq->region = region;
	return region->bytes + (gpa - region->gpa);
}

static inline void chain_begin(struct virtqueue_chain *chain)
{
	chain->readable = chain->writable = 0;
	chain->readable_len = chain->writable_len = 0;
}

/* Adds a buffer to the chain; flags are a descriptor's. Returns 0 or -EPROTO. */
static inline int chain_add(struct virtqueue *vq, struct virtqueue_chain *chain, uint64_t gpa,
			    uint32_t len, unsigned int flags)
{
	unsigned int count = chain->readable + chain->writable;
	void *bytes;

	/* 2.7.4.2, 2.8.4: the device-readable part comes first. */
	if (chain->writable && !(flags & VRING_DESC_F_WRITE))
		return -EPROTO;
	if (!len)
		return 0;
	if (count == VIRTQUEUE_SEGMENTS_MAX)
		return -EPROTO;
	/* 2.7.5: a chain is not longer than 2^32 bytes. Used lengths have 32 bits too. */
	if (chain->readable_len + chain->writable_len + len > UINT32_MAX)
		return -EPROTO;
	bytes = virtqueue_range(vq, gpa, len);
	if (!bytes)
		return -EPROTO;
	chain->iov[count].iov_base = bytes;
	chain->iov[count].iov_len = len;
	if (flags & VRING_DESC_F_WRITE) {
		chain->writable++;
		chain->writable_len += len;
	} else {
		chain->readable++;
		chain->readable_len += len;
	}
	return 0;
}

/*
 * A table of descriptors elsewhere (2.7.5.3, 2.8.7); sets how many it has. Returns its host
 * address, or NULL for one that cannot be.
 */
static inline const void *indirect_table(struct virtqueue *vq, uint64_t gpa, uint32_t len,
					 uint32_t *count)
{
	if (!vq->state.indirect || !len || len % VIRTQUEUE_DESC_LEN)
		return NULL;
	*count = len / VIRTQUEUE_DESC_LEN;
	return virtqueue_range(vq, gpa, len);
}

/* virtqueue_split.c and virtqueue_packed.c; a queue that is ready. See virtqueue.h. */

bool split_enable(struct virtqueue *vq);
int split_pop(struct virtqueue *vq, struct virtqueue_chain *chain);
void split_put(struct virtqueue *vq, struct virtqueue_head head, uint32_t len);
void split_publish(struct virtqueue *vq);
bool split_wants_interrupt(struct virtqueue *vq);

bool packed_enable(struct virtqueue *vq);
int packed_pop(struct virtqueue *vq, struct virtqueue_chain *chain);
void packed_unpop(struct virtqueue *vq, struct virtqueue_head head);
void packed_put(struct virtqueue *vq, struct virtqueue_head head, uint32_t len);
void packed_publish(struct virtqueue *vq);
bool packed_wants_interrupt(struct virtqueue *vq);

#endif
