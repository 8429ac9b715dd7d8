/*
 * The split virtqueue, device side (virtio 1.2, section 2.7), with indirect descriptors and
 * EVENT_IDX. Everything in the rings is written by the guest: each descriptor is copied once and
 * checked as a copy, chains are bounded, and a ring that breaks the rules gives -EPROTO.
 */
#ifndef DEVICES_VIRTQUEUE_H
#define DEVICES_VIRTQUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "devices/guest_memory.h"

#define VIRTQUEUE_SIZE_MAX     256
#define VIRTQUEUE_SEGMENTS_MAX 256 /* buffers of one chain, indirect ones included */

/* All there is to save and load. Plain data. */
struct virtqueue_state {
	uint64_t desc_gpa;
	uint64_t avail_gpa;
	uint64_t used_gpa;
	uint16_t size;
	uint16_t next_avail; /* index of the next available entry to take */
	uint16_t next_used;  /* the same, for the used entry to fill in */
	uint16_t signalled;  /* next_used when the driver was last considered for interrupts */
	uint8_t ready;
	uint8_t event_idx; /* VIRTIO_F_EVENT_IDX was negotiated */
	uint8_t indirect;  /* VIRTIO_F_INDIRECT_DESC was negotiated */
};

struct virtqueue {
	struct virtqueue_state state;
	uint16_t max_size;
	const struct guest_memory *mem;
	/* Host addresses of the three parts, found and checked by virtqueue_enable. */
	void *desc;
	void *avail;
	void *used;
};

/*
 * One request: what the device may read comes first in iov, what it may write follows. Empty
 * buffers are left out. The bytes behind iov belong to the guest and change at its will.
 */
struct virtqueue_chain {
	uint16_t head;
	unsigned int readable; /* elements of iov */
	unsigned int writable; /* elements of iov after the readable ones */
	size_t readable_len;   /* bytes */
	size_t writable_len;
	struct iovec iov[VIRTQUEUE_SEGMENTS_MAX];
};

static inline struct iovec *virtqueue_chain_writable(struct virtqueue_chain *chain)
{
	return chain->iov + chain->readable;
}

void virtqueue_init(struct virtqueue *vq, const struct guest_memory *mem, uint16_t max_size);

/* Back to power-on state. */
void virtqueue_reset(struct virtqueue *vq);

/*
 * Checks size and addresses in state and makes the queue ready. Returns 0 or -EINVAL. Indexes are
 * left as they are: zero after a reset, otherwise those of a loaded state.
 */
int virtqueue_enable(struct virtqueue *vq);

/*
 * Takes the next available chain. Returns 1 and fills chain in, 0 when there is none (from then on
 * the driver notifies about the next one), or -EPROTO for a broken ring.
 */
int virtqueue_pop(struct virtqueue *vq, struct virtqueue_chain *chain);

/* Gives the chain popped last back, unused: it is the next one to be popped. So again for more. */
void virtqueue_unpop(struct virtqueue *vq);

/*
 * For a queue that was served elsewhere: the indexes in the rings, and serving it here from
 * next_avail on, as if all before it was answered or is about to be.
 */
uint16_t virtqueue_avail_idx(const struct virtqueue *vq);
uint16_t virtqueue_used_idx(const struct virtqueue *vq);
void virtqueue_resume(struct virtqueue *vq, uint16_t next_avail);

/* The chain that begins at head, taken before. Returns 1, or -EPROTO for a broken one. */
int virtqueue_chain_at(const struct virtqueue *vq, uint16_t head, struct virtqueue_chain *chain);

/* Returns a chain to the driver; len bytes of its writable part were written. */
void virtqueue_push(struct virtqueue *vq, uint16_t head, uint32_t len);

/*
 * The same in two steps, for what only makes sense as a whole: the driver sees none of the chains
 * put before virtqueue_publish.
 */
void virtqueue_put(struct virtqueue *vq, uint16_t head, uint32_t len);
void virtqueue_publish(struct virtqueue *vq);

/* Whether the driver wants an interrupt for what was pushed since the last call. */
bool virtqueue_wants_interrupt(struct virtqueue *vq);

#endif
