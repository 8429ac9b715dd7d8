#include "devices/virtqueue_internal.h"

#include <linux/virtio_config.h>

/* Rings are little-endian (2.7.1), and so is every host that this runs on: nothing is swapped. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a big-endian host needs byte swaps");
_Static_assert(sizeof(struct vring_desc) == VIRTQUEUE_DESC_LEN, "2.7.5");
_Static_assert(sizeof(struct vring_packed_desc) == VIRTQUEUE_DESC_LEN, "2.8.13");

void virtqueue_init(struct virtqueue *vq, const struct guest_memory *mem, uint16_t max_size)
{
	memset(vq, 0, sizeof(*vq));
	vq->mem = mem;
	vq->region = &mem->regions[0];
	vq->max_size = max_size;
}

void virtqueue_reset(struct virtqueue *vq)
{
	struct virtqueue_stats stats = vq->stats;

	virtqueue_init(vq, vq->mem, vq->max_size);
	vq->stats = stats;
}

void virtqueue_negotiate(struct virtqueue *vq, uint64_t features)
{
	struct virtqueue_state *state = &vq->state;

	state->event_idx = !!(features & 1ull << VIRTIO_RING_F_EVENT_IDX);
	state->indirect = !!(features & 1ull << VIRTIO_RING_F_INDIRECT_DESC);
	state->packed = !!(features & 1ull << VIRTIO_F_RING_PACKED);
	/* 2.8.1: both wrap counters begin with 1. */
	state->next_avail = state->packed ? 1u << VRING_PACKED_EVENT_F_WRAP_CTR : 0;
	state->next_used = state->signalled = state->next_avail;
}

int virtqueue_enable(struct virtqueue *vq)
{
	if (!vq->state.size || vq->state.size > vq->max_size)
		return -EINVAL;
	if (!(vq->state.packed ? packed_enable(vq) : split_enable(vq)))
		return -EINVAL;
	vq->avail_seen = vq->state.next_avail;
	vq->unpublished = 0;
	vq->polled = false;
	vq->state.ready = true;
	return 0;
}

int virtqueue_pop(struct virtqueue *vq, struct virtqueue_chain *chain)
{
	if (!vq->state.ready)
		return 0;
	return vq->state.packed ? packed_pop(vq, chain) : split_pop(vq, chain);
}

void virtqueue_poll(struct virtqueue *vq)
{
	vq->polled = true;
}

bool virtqueue_rest(struct virtqueue *vq)
{
	if (!vq->polled || !vq->state.ready)
		return false;
	vq->polled = false;
	return vq->state.packed ? packed_rest(vq) : split_rest(vq);
}

void virtqueue_unpop(struct virtqueue *vq, struct virtqueue_head head, size_t readable_len)
{
	/* Counters wrap: this takes away. */
	stats_add(&vq->stats.requests, -1ull);
	stats_add(&vq->stats.bytes_out, -(uint64_t)readable_len);
	if (vq->state.packed)
		packed_unpop(vq, head);
	else
		vq->state.next_avail--;
}

void virtqueue_put(struct virtqueue *vq, struct virtqueue_head head, uint32_t len)
{
	if (!vq->state.ready)
		return;
	stats_add(&vq->stats.bytes_in, len);
	if (vq->state.packed)
		packed_put(vq, head, len);
	else
		split_put(vq, head, len);
}

void virtqueue_publish(struct virtqueue *vq)
{
	if (!vq->state.ready || !vq->unpublished)
		return;
	if (vq->state.packed)
		packed_publish(vq);
	else
		split_publish(vq);
	stats_batch(&vq->stats, vq->unpublished);
	vq->unpublished = 0;
}

void virtqueue_push(struct virtqueue *vq, struct virtqueue_head head, uint32_t len)
{
	virtqueue_put(vq, head, len);
	virtqueue_publish(vq);
}

bool virtqueue_wants_interrupt(struct virtqueue *vq)
{
	bool wants;

	if (!vq->state.ready || vq->state.signalled == vq->state.next_used)
		return false;
	/*
	 * 2.7.7, 2.8.10: the driver enables interrupts and then looks for used buffers; here these
	 * are shown and then the driver's wish is read. Only full barriers make one of both see the
	 * other.
	 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	wants = vq->state.packed ? packed_wants_interrupt(vq) : split_wants_interrupt(vq);
	vq->state.signalled = vq->state.next_used;
	stats_add(wants ? &vq->stats.interrupts : &vq->stats.suppressed, 1);
	return wants;
}
