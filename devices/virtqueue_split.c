/* The split virtqueue: virtio 1.2, section 2.7. */
#include "devices/virtqueue_internal.h"

/* Alignments of the three parts: 2.7. */
#define DESC_ALIGN  16u
#define AVAIL_ALIGN 2u
#define USED_ALIGN  4u

/* flags, idx, ring, used_event: the last one is there even where EVENT_IDX is not used. */
static uint64_t avail_len(uint16_t size)
{
	return 6 + 2ull * size;
}

static uint64_t used_len(uint16_t size)
{
	return 6 + 8ull * size;
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

	return ring_load16(&used->idx);
}

/*
 * Asks for a notification about the next entry. 2.7.10: avail_event is the last field of the used
 * ring; without EVENT_IDX there is only a flag, which is written when it changes.
 */
static void want_notification(struct virtqueue *vq)
{
	struct vring_used *used = vq->used;

	if (vq->state.event_idx)
		ring_store16(&used->ring[vq->state.size], vq->state.next_avail);
	else if (vq->quiet)
		ring_store16(&used->flags, 0);
	vq->quiet = false;
}

/* Whoever served it before may have told the driver not to notify. */
static void begin_to_serve(struct virtqueue *vq)
{
	vq->quiet = true;
	want_notification(vq);
}

bool split_enable(struct virtqueue *vq)
{
	const struct virtqueue_state *state = &vq->state;
	uint16_t size = state->size;

	if (size & (size - 1) || state->desc_gpa % DESC_ALIGN || state->avail_gpa % AVAIL_ALIGN ||
	    state->used_gpa % USED_ALIGN)
		return false;
	vq->desc = guest_memory_range(vq->mem, state->desc_gpa, VIRTQUEUE_DESC_LEN * size);
	vq->avail = guest_memory_range(vq->mem, state->avail_gpa, avail_len(size));
	vq->used = guest_memory_range(vq->mem, state->used_gpa, used_len(size));
	if (!vq->desc || !vq->avail || !vq->used)
		return false;
	begin_to_serve(vq);
	return true;
}

void virtqueue_resume(struct virtqueue *vq, uint16_t next_avail)
{
	vq->state.next_avail = vq->avail_seen = next_avail;
	vq->state.next_used = vq->state.signalled = virtqueue_used_idx(vq);
	begin_to_serve(vq);
}

/* While there is something to do nobody has to say so. An event index is past by itself. */
static void want_none(struct virtqueue *vq)
{
	struct vring_used *used = vq->used;

	if (vq->state.event_idx || vq->quiet)
		return;
	ring_store16(&used->flags, VRING_USED_F_NO_NOTIFY);
	vq->quiet = true;
}

/* Looks for entries behind those seen before. Returns whether there are some, or -EPROTO. */
static int look(struct virtqueue *vq)
{
	uint16_t next = vq->state.next_avail;

	vq->avail_seen = virtqueue_avail_idx(vq);
	if (vq->avail_seen == next && !vq->polled && (vq->state.event_idx || vq->quiet)) {
		/*
		 * 2.7.7.2: ask for a notification, then look again, or an entry that was made
		 * available in between would wait for ever. A full barrier: a store then a load.
		 */
		want_notification(vq);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		vq->avail_seen = virtqueue_avail_idx(vq);
	}
	if (vq->avail_seen == next)
		return 0;
	/* More entries than the ring has room for: the index is made up. */
	if ((uint16_t)(vq->avail_seen - next) > vq->state.size) {
		vq->avail_seen = next;
		return -EPROTO;
	}
	want_none(vq);
	return 1;
}

/* A table of descriptors: the queue's own or an indirect one. */
struct table {
	const void *descs;
	uint32_t count;
	bool indirect;
};

/* 2.7.5.3: an indirect table ends the chain and holds no further tables. */
static int enter_indirect(struct virtqueue *vq, struct table *table, const struct vring_desc *desc)
{
	if (table->indirect || (desc->flags & VRING_DESC_F_NEXT))
		return -EPROTO;
	table->descs = indirect_table(vq, desc->addr, desc->len, &table->count);
	table->indirect = true;
	return table->descs ? 0 : -EPROTO;
}

static NOINLINE int chain_walk(struct virtqueue *vq, struct virtqueue_chain *chain, uint32_t index)
{
	struct table table = {.descs = vq->desc, .count = vq->state.size};
	/* Enough for every honest chain; a chain that is a loop ends here too. */
	unsigned int steps = 2 * VIRTQUEUE_SEGMENTS_MAX;
	struct chain_parts parts = {0};

	while (steps--) {
		struct vring_desc desc;
		int ret;

		if (index >= table.count)
			return -EPROTO;
		desc = desc_load(table.descs, index);
		if (desc.flags & VRING_DESC_F_INDIRECT) {
			ret = enter_indirect(vq, &table, &desc);
			if (ret < 0)
				return ret;
			index = 0;
			continue;
		}
		ret = chain_add(vq, chain, &parts, desc.addr, desc.len, desc.flags);
		if (ret < 0)
			return ret;
		if (!(desc.flags & VRING_DESC_F_NEXT)) {
			chain_end(chain, &parts);
			return 1;
		}
		index = desc.next;
	}
	return -EPROTO;
}

int virtqueue_chain_at(struct virtqueue *vq, uint16_t head, struct virtqueue_chain *chain)
{
	chain->head = (struct virtqueue_head){.id = head};
	return chain_walk(vq, chain, head);
}

/* The descriptor after this one is fetched while this one is worked on. */
static inline void prefetch_next(const struct virtqueue *vq)
{
	const struct vring_avail *avail = vq->avail;
	const struct vring_desc *descs = vq->desc;
	uint16_t mask = (uint16_t)(vq->state.size - 1), next = vq->state.next_avail;

	if (next != vq->avail_seen)
		__builtin_prefetch(&descs[ring_load16(&avail->ring[next & mask]) & mask]);
}

static inline int taken(struct virtqueue *vq, const struct virtqueue_chain *chain)
{
	vq->state.next_avail++;
	prefetch_next(vq);
	return chain_taken(vq, chain);
}

/* A chain of any kind. */
static NOINLINE int pop_any(struct virtqueue *vq, struct virtqueue_chain *chain, uint16_t head)
{
	int ret = virtqueue_chain_at(vq, head, chain);

	return ret > 0 ? taken(vq, chain) : ret;
}

/* One of those that the driver has shown before. */
static inline int pop_seen(struct virtqueue *vq, struct virtqueue_chain *chain)
{
	const struct vring_avail *avail = vq->avail;
	uint16_t head = ring_load16(&avail->ring[vq->state.next_avail & (vq->state.size - 1)]);
	struct vring_desc desc;

	if (head >= vq->state.size)
		return -EPROTO;
	desc = desc_load(vq->desc, head);
	/* What is not as simple begins with a copy of its own. */
	if (!chain_of_one(vq, chain, desc.addr, desc.len, desc.flags))
		return pop_any(vq, chain, head);
	chain->head = (struct virtqueue_head){.id = head};
	return taken(vq, chain);
}

static NOINLINE int look_and_pop(struct virtqueue *vq, struct virtqueue_chain *chain)
{
	int ret = look(vq);

	return ret > 0 ? pop_seen(vq, chain) : ret;
}

int split_pop(struct virtqueue *vq, struct virtqueue_chain *chain)
{
	if (vq->avail_seen == vq->state.next_avail)
		return look_and_pop(vq, chain);
	return pop_seen(vq, chain);
}

/* A ring that is broken is found so by the next pop. */
bool split_rest(struct virtqueue *vq)
{
	return vq->avail_seen != vq->state.next_avail || look(vq) != 0;
}

void split_put(struct virtqueue *vq, struct virtqueue_head head, uint32_t len)
{
	struct vring_used *used = vq->used;
	struct vring_used_elem *elem = &used->ring[vq->state.next_used & (vq->state.size - 1)];

	elem->id = head.id;
	elem->len = len;
	vq->state.next_used++;
	vq->unpublished++;
}

void split_publish(struct virtqueue *vq)
{
	struct vring_used *used = vq->used;

	/* Release: the entries and the buffers are visible before the index (2.7.8.2). */
	__atomic_store_n(&used->idx, vq->state.next_used, __ATOMIC_RELEASE);
}

/* 2.7.7, 2.7.10: used_event is the last field of the available ring. */
bool split_wants_interrupt(struct virtqueue *vq)
{
	const struct vring_avail *avail = vq->avail;

	if (!vq->state.event_idx)
		return !(ring_load16(&avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
	return vring_need_event(ring_load16(&avail->ring[vq->state.size]), vq->state.next_used,
				vq->state.signalled);
}
