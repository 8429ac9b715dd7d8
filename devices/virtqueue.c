#include "devices/virtqueue.h"

#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>

/* Rings are little-endian (2.7.1), and so is every host that this runs on: nothing is swapped. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a big-endian host needs byte swaps");

/* Sizes and alignments of the three parts: virtio 1.2, section 2.7. */
#define DESC_ALIGN  16u
#define AVAIL_ALIGN 2u
#define USED_ALIGN  4u

static uint64_t desc_len(uint16_t size)
{
	return 16ull * size;
}

/* flags, idx, ring, used_event: the last one is there even where EVENT_IDX is not used. */
static uint64_t avail_len(uint16_t size)
{
	return 6 + 2ull * size;
}

static uint64_t used_len(uint16_t size)
{
	return 6 + 8ull * size;
}

void virtqueue_init(struct virtqueue *vq, const struct guest_memory *mem, uint16_t max_size)
{
	memset(vq, 0, sizeof(*vq));
	vq->mem = mem;
	vq->max_size = max_size;
}

void virtqueue_reset(struct virtqueue *vq)
{
	virtqueue_init(vq, vq->mem, vq->max_size);
}

int virtqueue_enable(struct virtqueue *vq)
{
	struct virtqueue_state *state = &vq->state;
	uint16_t size = state->size;

	if (!size || size > vq->max_size || (size & (size - 1)))
		return -EINVAL;
	if (state->desc_gpa % DESC_ALIGN || state->avail_gpa % AVAIL_ALIGN ||
	    state->used_gpa % USED_ALIGN)
		return -EINVAL;
	vq->desc = guest_memory_range(vq->mem, state->desc_gpa, desc_len(size));
	vq->avail = guest_memory_range(vq->mem, state->avail_gpa, avail_len(size));
	vq->used = guest_memory_range(vq->mem, state->used_gpa, used_len(size));
	if (!vq->desc || !vq->avail || !vq->used)
		return -EINVAL;
	state->ready = true;
	return 0;
}

static uint16_t load16(const __virtio16 *at)
{
	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

static void store16(__virtio16 *at, uint16_t value)
{
	__atomic_store_n(at, value, __ATOMIC_RELAXED);
}

/* Acquire: entries and descriptors are read after the index that publishes them (2.7.13.3). */
uint16_t virtqueue_avail_idx(const struct virtqueue *vq)
{
	const struct vring_avail *avail = vq->avail;

	return __atomic_load_n(&avail->idx, __ATOMIC_ACQUIRE);
}

uint16_t virtqueue_used_idx(const struct virtqueue *vq)
{
	const struct vring_used *used = vq->used;

	return load16(&used->idx);
}

void virtqueue_resume(struct virtqueue *vq, uint16_t next_avail)
{
	vq->state.next_avail = next_avail;
	vq->state.next_used = vq->state.signalled = virtqueue_used_idx(vq);
}

/* 2.7.10: avail_event is the last field of the used ring, used_event that of the available one. */
static void set_avail_event(struct virtqueue *vq)
{
	struct vring_used *used = vq->used;

	store16((__virtio16 *)(void *)&used->ring[vq->state.size], vq->state.next_avail);
}

static uint16_t used_event(const struct virtqueue *vq)
{
	const struct vring_avail *avail = vq->avail;

	return load16(&avail->ring[vq->state.size]);
}

/* Returns whether there is an entry to take, 0 or 1, or -EPROTO. */
static int has_available(struct virtqueue *vq)
{
	uint16_t idx = virtqueue_avail_idx(vq);

	if (idx == vq->state.next_avail && vq->state.event_idx) {
		/*
		 * 2.7.7.2: ask for a notification, then look again, or an entry that was made
		 * available in between would wait for ever. A full barrier: a store then a load.
		 */
		set_avail_event(vq);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		idx = virtqueue_avail_idx(vq);
	}
	if (idx == vq->state.next_avail)
		return 0;
	/* More entries than the ring has room for: the index is made up. */
	if ((uint16_t)(idx - vq->state.next_avail) > vq->state.size)
		return -EPROTO;
	return 1;
}

/* A table of descriptors: the queue's own or an indirect one. */
struct table {
	const uint8_t *descs;
	uint32_t count;
	bool indirect;
};

static void table_read(const struct table *table, uint32_t index, struct vring_desc *desc)
{
	memcpy(desc, table->descs + index * sizeof(*desc), sizeof(*desc));
	/* One copy is what is checked and used, whatever the guest makes of the original. */
	__asm__ volatile("" ::: "memory");
}

static int chain_add(const struct virtqueue *vq, struct virtqueue_chain *chain,
		     const struct vring_desc *desc)
{
	bool writable = desc->flags & VRING_DESC_F_WRITE;
	struct iovec *iov;
	void *bytes;

	/* 2.7.4.2: the device-readable part comes first. */
	if (chain->writable && !writable)
		return -EPROTO;
	if (!desc->len)
		return 0;
	if (chain->readable + chain->writable == VIRTQUEUE_SEGMENTS_MAX)
		return -EPROTO;
	/* 2.7.5: a chain is not longer than 2^32 bytes. Used lengths have 32 bits too. */
	if (chain->readable_len + chain->writable_len + desc->len > UINT32_MAX)
		return -EPROTO;
	bytes = guest_memory_range(vq->mem, desc->addr, desc->len);
	if (!bytes)
		return -EPROTO;
	iov = &chain->iov[chain->readable + chain->writable];
	iov->iov_base = bytes;
	iov->iov_len = desc->len;
	if (writable) {
		chain->writable++;
		chain->writable_len += desc->len;
	} else {
		chain->readable++;
		chain->readable_len += desc->len;
	}
	return 0;
}

/* 2.7.5.3: an indirect table ends the chain and holds no further tables. */
static int enter_indirect(const struct virtqueue *vq, struct table *table,
			  const struct vring_desc *desc)
{
	if (!vq->state.indirect || table->indirect || (desc->flags & VRING_DESC_F_NEXT))
		return -EPROTO;
	if (!desc->len || desc->len % sizeof(*desc))
		return -EPROTO;
	table->descs = guest_memory_range(vq->mem, desc->addr, desc->len);
	if (!table->descs)
		return -EPROTO;
	table->count = desc->len / (uint32_t)sizeof(*desc);
	table->indirect = true;
	return 0;
}

static int chain_walk(const struct virtqueue *vq, struct virtqueue_chain *chain, uint32_t index)
{
	struct table table = {.descs = vq->desc, .count = vq->state.size};
	/* Enough for every honest chain; a chain that is a loop ends here too. */
	unsigned int steps = 2 * VIRTQUEUE_SEGMENTS_MAX;

	while (steps--) {
		struct vring_desc desc;
		int ret;

		if (index >= table.count)
			return -EPROTO;
		table_read(&table, index, &desc);
		if (desc.flags & VRING_DESC_F_INDIRECT) {
			ret = enter_indirect(vq, &table, &desc);
			if (ret < 0)
				return ret;
			index = 0;
			continue;
		}
		ret = chain_add(vq, chain, &desc);
		if (ret < 0)
			return ret;
		if (!(desc.flags & VRING_DESC_F_NEXT))
			return 1;
		index = desc.next;
	}
	return -EPROTO;
}

int virtqueue_chain_at(const struct virtqueue *vq, uint16_t head, struct virtqueue_chain *chain)
{
	chain->head = head;
	chain->readable = chain->writable = 0;
	chain->readable_len = chain->writable_len = 0;
	return chain_walk(vq, chain, head);
}

int virtqueue_pop(struct virtqueue *vq, struct virtqueue_chain *chain)
{
	const struct vring_avail *avail = vq->avail;
	int ret;

	if (!vq->state.ready)
		return 0;
	ret = has_available(vq);
	if (ret <= 0)
		return ret;
	ret = virtqueue_chain_at(
		vq, load16(&avail->ring[vq->state.next_avail & (vq->state.size - 1)]), chain);
	if (ret > 0)
		vq->state.next_avail++;
	return ret;
}

void virtqueue_unpop(struct virtqueue *vq)
{
	vq->state.next_avail--;
}

void virtqueue_put(struct virtqueue *vq, uint16_t head, uint32_t len)
{
	struct vring_used *used = vq->used;
	struct vring_used_elem *elem;

	if (!vq->state.ready)
		return;
	elem = &used->ring[vq->state.next_used & (vq->state.size - 1)];
	elem->id = head;
	elem->len = len;
	vq->state.next_used++;
}

void virtqueue_publish(struct virtqueue *vq)
{
	struct vring_used *used = vq->used;

	/* Release: the entry and the buffer are visible before the index (2.7.8.2). */
	if (vq->state.ready)
		__atomic_store_n(&used->idx, vq->state.next_used, __ATOMIC_RELEASE);
}

void virtqueue_push(struct virtqueue *vq, uint16_t head, uint32_t len)
{
	virtqueue_put(vq, head, len);
	virtqueue_publish(vq);
}

bool virtqueue_wants_interrupt(struct virtqueue *vq)
{
	const struct vring_avail *avail = vq->avail;
	uint16_t before = vq->state.signalled;

	if (!vq->state.ready || before == vq->state.next_used)
		return false;
	vq->state.signalled = vq->state.next_used;
	/*
	 * 2.7.7: the driver enables interrupts and then looks at the used index; here the index
	 * is stored and then the driver's wish is read. Only full barriers make one of both see
	 * the other.
	 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!vq->state.event_idx)
		return !(load16(&avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
	return vring_need_event(used_event(vq), vq->state.next_used, before);
}
