/*
 * The virtqueue, device side: split rings (virtio 1.2, section 2.7) and packed ones (2.8), with
 * indirect descriptors and EVENT_IDX. A device does not know which it has: it pops chains, puts
 * them back, and publishes what it has put, one barrier for the whole batch.
 *
 * Everything in the rings is written by the guest: each descriptor is copied once and checked as a
 * copy, chains are bounded, and a ring that breaks the rules gives -EPROTO. Nothing here allocates,
 * locks or calls the kernel.
 */
#ifndef DEVICES_VIRTQUEUE_H
#define DEVICES_VIRTQUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "devices/guest_memory.h"
#include "devices/virtqueue_stats.h"

#define VIRTQUEUE_SIZE_MAX     256
#define VIRTQUEUE_SEGMENTS_MAX 256 /* buffers of one chain, indirect ones included */

/*
 * All there is to save and load. Plain data. Of a packed queue the three positions are those in
 * the ring with the wrap counter in bit 15, as in its event suppression structures (2.8.10).
 */
struct virtqueue_state {
	uint64_t desc_gpa;
	uint64_t avail_gpa; /* packed: the driver's event suppression */
	uint64_t used_gpa;  /* packed: the device's */
	uint16_t size;
	uint16_t next_avail; /* index of the next available entry to take */
	uint16_t next_used;  /* the same, for the used entry to fill in */
	uint16_t signalled;  /* next_used when the driver was last considered for interrupts */
	uint8_t ready;
	uint8_t event_idx; /* VIRTIO_F_EVENT_IDX was negotiated */
	uint8_t indirect;  /* VIRTIO_F_INDIRECT_DESC was negotiated */
	uint8_t packed;	   /* VIRTIO_F_RING_PACKED was negotiated */
};

struct virtqueue {
	struct virtqueue_state state;
	uint16_t max_size;
	uint16_t avail_seen;  /* split: the driver's index when it was last looked at */
	uint16_t first_used;  /* packed: where the first one not published yet is, */
	uint16_t first_flags; /* and the flags that will publish it and all after it */
	uint16_t unpublished; /* chains put since the last virtqueue_publish */
	bool quiet;	      /* the driver was told not to notify */
	bool polled;	      /* see virtqueue_poll */
	const struct guest_memory *mem;
	const struct guest_region *region; /* that a buffer was in last: the first to be tried */
	/* Host addresses of the three parts, found and checked by virtqueue_enable. */
	void *desc;
	void *avail;
	void *used;
	struct virtqueue_stats stats;
};

/* What says which chain is given back. */
struct virtqueue_head {
	uint16_t id;
	uint16_t slots; /* packed: descriptors that it takes up in the ring */
};

/*
 * One request: what the device may read comes first in iov, what it may write follows. Empty
 * buffers are left out. The bytes behind iov belong to the guest and change at its will.
 */
struct virtqueue_chain {
	struct virtqueue_head head;
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

/* Back to power-on state; what was counted stays. */
void virtqueue_reset(struct virtqueue *vq);

/* What kind of queue it is, by the features that were negotiated; at its beginning. */
void virtqueue_negotiate(struct virtqueue *vq, uint64_t features);

/*
 * Checks size, addresses and indexes in state and makes the queue ready. Returns 0 or -EINVAL. The
 * indexes are left as they are: those of virtqueue_negotiate, or of a loaded state.
 */
int virtqueue_enable(struct virtqueue *vq);

/*
 * Takes the next available chain. Returns 1 and fills chain in, 0 when there is none (from then on
 * the driver notifies about the next one), or -EPROTO for a broken ring.
 */
int virtqueue_pop(struct virtqueue *vq, struct virtqueue_chain *chain);

/*
 * Whether there is another chain as far as the device has seen: of a split queue, when it took the
 * last one. The driver is not asked to notify.
 */
bool packed_has_next(const struct virtqueue *vq);

static inline bool virtqueue_has_next(const struct virtqueue *vq)
{
	return vq->state.packed ? packed_has_next(vq) : vq->avail_seen != vq->state.next_avail;
}

/*
 * From now on an empty queue asks for no notifications: it is looked at without them. Until
 * virtqueue_rest, which asks, and returns whether there is a chain already.
 */
void virtqueue_poll(struct virtqueue *vq);
bool virtqueue_rest(struct virtqueue *vq);

/*
 * Gives the chain popped last, of so many readable bytes, back unused: it is the next one to be
 * popped. So again for more, the last one first.
 */
void virtqueue_unpop(struct virtqueue *vq, struct virtqueue_head head, size_t readable_len);

/*
 * Returns a chain to the driver; len bytes of its writable part were written. The driver sees none
 * of the chains put before virtqueue_publish.
 */
void virtqueue_put(struct virtqueue *vq, struct virtqueue_head head, uint32_t len);
void virtqueue_publish(struct virtqueue *vq);

/* Both, for a single one. */
void virtqueue_push(struct virtqueue *vq, struct virtqueue_head head, uint32_t len);

/* Whether the driver wants an interrupt for what was published since the last call. */
bool virtqueue_wants_interrupt(struct virtqueue *vq);

/*
 * For a split queue that was served elsewhere: the indexes in the rings, serving it here from
 * next_avail on, as if all before it was answered or is about to be, and the chain that begins at
 * a head taken before, which returns 1, or -EPROTO for a broken one.
 */
uint16_t virtqueue_avail_idx(const struct virtqueue *vq);
uint16_t virtqueue_used_idx(const struct virtqueue *vq);
void virtqueue_resume(struct virtqueue *vq, uint16_t next_avail);
int virtqueue_chain_at(struct virtqueue *vq, uint16_t head, struct virtqueue_chain *chain);

#endif
