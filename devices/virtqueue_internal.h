/* What split and packed queues share. For virtqueue*.c only. */
#ifndef DEVICES_VIRTQUEUE_INTERNAL_H
#define DEVICES_VIRTQUEUE_INTERNAL_H

#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "devices/virtqueue.h"

/* Sizes of both kinds of descriptors. */
#define VIRTQUEUE_DESC_LEN 16u

/* What is seldom needed is not to take registers from what always is. */
#define NOINLINE __attribute__((noinline))

/* Ring fields that both sides touch. What orders them is said where they are used. */
static inline uint16_t ring_load16(const void *at)
{
	return __atomic_load_n((const uint16_t *)at, __ATOMIC_RELAXED);
}

static inline void ring_store16(void *at, uint16_t value)
{
	__atomic_store_n((uint16_t *)at, value, __ATOMIC_RELAXED);
}

/* Any alignment; read once: the asm makes the copy all that the compiler knows of. */
#define RING_LOAD(at, offset, type)                                              \
	({                                                                       \
		type value_;                                                     \
		memcpy(&value_, (const uint8_t *)(at) + (offset), sizeof(type)); \
		__asm__("" : "+r"(value_));                                      \
		value_;                                                          \
	})

/*
 * A descriptor: this copy is what is checked and used, whatever the guest makes of the original. Of
 * a packed one the last two fields have other names. Indirect tables can be at any address.
 */
static inline struct vring_desc desc_load(const void *table, uint32_t index)
{
	const uint8_t *at = (const uint8_t *)table + (size_t)index * VIRTQUEUE_DESC_LEN;

	return (struct vring_desc){
		.addr = RING_LOAD(at, 0, uint64_t),
		.len = RING_LOAD(at, 8, uint32_t),
		.flags = RING_LOAD(at, 12, uint16_t),
		.next = RING_LOAD(at, 14, uint16_t),
	};
}

static inline struct vring_packed_desc packed_desc_load(const void *table, uint32_t index)
{
	struct vring_desc desc = desc_load(table, index);

	return (struct vring_packed_desc){
		.addr = desc.addr,
		.len = desc.len,
		.id = desc.flags,
		.flags = desc.next,
	};
}

/* As in guest_memory.c, for the region in which a buffer was last, where it mostly is. */
static inline bool virtqueue_is_in_last(const struct virtqueue *vq, uint64_t gpa, uint64_t len)
{
	const struct guest_region *region = vq->region;
	uint64_t offset = gpa - region->gpa;

	return offset < region->len && len <= region->len - offset;
}

/* The host address of what the guest describes, len not 0; NULL when it is not all in memory. */
static inline void *virtqueue_range(struct virtqueue *vq, uint64_t gpa, uint64_t len)
{
	if (!virtqueue_is_in_last(vq, gpa, len)) {
		const struct guest_region *region = guest_memory_find(vq->mem, gpa, len);

		if (!region)
			return NULL;
		vq->region = region;
	}
	return vq->region->bytes + (gpa - vq->region->gpa);
}

/* What a chain has so far: kept in registers while it is walked. */
struct chain_parts {
	unsigned int readable, writable;
	uint64_t readable_len, writable_len;
};

static inline void chain_end(struct virtqueue_chain *chain, const struct chain_parts *parts)
{
	chain->readable = parts->readable;
	chain->writable = parts->writable;
	chain->readable_len = parts->readable_len;
	chain->writable_len = parts->writable_len;
}

/* Adds a buffer to the chain; flags are a descriptor's. Returns 0 or -EPROTO. */
static inline int chain_add(struct virtqueue *vq, struct virtqueue_chain *chain,
			    struct chain_parts *parts, uint64_t gpa, uint32_t len,
			    unsigned int flags)
{
	unsigned int count = parts->readable + parts->writable;
	bool writable = flags & VRING_DESC_F_WRITE;
	void *bytes;

	/* 2.7.4.2, 2.8.4: the device-readable part comes first. */
	if (parts->writable && !writable)
		return -EPROTO;
	if (!len)
		return 0;
	if (count == VIRTQUEUE_SEGMENTS_MAX)
		return -EPROTO;
	/* 2.7.5: a chain is not longer than 2^32 bytes. Used lengths have 32 bits too. */
	if (parts->readable_len + parts->writable_len + len > UINT32_MAX)
		return -EPROTO;
	bytes = virtqueue_range(vq, gpa, len);
	if (!bytes)
		return -EPROTO;
	chain->iov[count].iov_base = bytes;
	chain->iov[count].iov_len = len;
	if (writable) {
		parts->writable++;
		parts->writable_len += len;
	} else {
		parts->readable++;
		parts->readable_len += len;
	}
	return 0;
}

/*
 * A chain that is one buffer, as packets mostly are: what chain_add and chain_end do for it,
 * without a call. Returns whether it is one of this kind; else nothing is done.
 */
static inline bool chain_of_one(const struct virtqueue *vq, struct virtqueue_chain *chain,
				uint64_t gpa, uint32_t len, unsigned int flags)
{
	unsigned int writable = !!(flags & VRING_DESC_F_WRITE);
	const struct guest_region *region = vq->region;

	if (flags & (VRING_DESC_F_NEXT | VRING_DESC_F_INDIRECT) || !len ||
	    !virtqueue_is_in_last(vq, gpa, len))
		return false;
	chain->iov[0] = (struct iovec){region->bytes + (gpa - region->gpa), len};
	chain->readable = 1 - writable;
	chain->writable = writable;
	chain->readable_len = writable ? 0 : len;
	chain->writable_len = writable ? len : 0;
	return true;
}

/* A chain was taken. */
static inline int chain_taken(struct virtqueue *vq, const struct virtqueue_chain *chain)
{
	stats_add(&vq->stats.requests, 1);
	stats_add(&vq->stats.bytes_out, chain->readable_len);
	return 1;
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
bool split_rest(struct virtqueue *vq);
void split_put(struct virtqueue *vq, struct virtqueue_head head, uint32_t len);
void split_publish(struct virtqueue *vq);
bool split_wants_interrupt(struct virtqueue *vq);

bool packed_enable(struct virtqueue *vq);
int packed_pop(struct virtqueue *vq, struct virtqueue_chain *chain);
void packed_unpop(struct virtqueue *vq, struct virtqueue_head head);
bool packed_rest(struct virtqueue *vq);
void packed_put(struct virtqueue *vq, struct virtqueue_head head, uint32_t len);
void packed_publish(struct virtqueue *vq);
bool packed_wants_interrupt(struct virtqueue *vq);

#endif
