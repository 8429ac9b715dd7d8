/*
 * The packed virtqueue: virtio 1.2, section 2.8. One ring of descriptors, which both sides write
 * in turn; a wrap counter each says which of two meanings the flags of a descriptor have.
 */
#include "devices/virtqueue_internal.h"

#define RING_ALIGN  16u
#define EVENT_ALIGN 4u

#define WRAP	     (1u << VRING_PACKED_EVENT_F_WRAP_CTR)
#define DESC_F_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define DESC_F_USED  (1u << VRING_PACKED_DESC_F_USED)

static inline uint16_t position(uint16_t at)
{
	return at & (uint16_t)~WRAP;
}

/* By so many descriptors on, size at most: which does not reach the wrap counter. */
_Static_assert(2 * VIRTQUEUE_SIZE_MAX <= WRAP, "a position behind the end needs a bit of its own");

static inline uint16_t advance(uint16_t at, uint16_t slots, uint16_t size)
{
	uint16_t to = (uint16_t)(at + slots);

	return position(to) < size ? to : (uint16_t)((to - size) ^ WRAP);
}

static uint16_t go_back(uint16_t at, uint16_t slots, uint16_t size)
{
	if (position(at) >= slots)
		return (uint16_t)(at - slots);
	return (uint16_t)((position(at) + size - slots) | (~at & WRAP));
}

/* Acquire: the rest of the chain is read after the flags that make it available. */
static inline uint16_t load_flags(const struct vring_packed_desc *desc)
{
	return __atomic_load_n(&desc->flags, __ATOMIC_ACQUIRE);
}

/* 2.8.1: whether flags found at next say so. */
static inline bool say_available(uint16_t flags, uint16_t next)
{
	bool wrap = next & WRAP;

	return !!(flags & DESC_F_AVAIL) == wrap && !!(flags & DESC_F_USED) != wrap;
}

static bool is_available(const struct virtqueue *vq, uint16_t *flags)
{
	const struct vring_packed_desc *ring = vq->desc;
	uint16_t next = vq->state.next_avail;

	*flags = load_flags(&ring[position(next)]);
	return say_available(*flags, next);
}

/* Asks for a notification about the next descriptor; without EVENT_IDX, about any (2.8.10). */
static void want_notification(struct virtqueue *vq)
{
	struct vring_packed_desc_event *event = vq->used;

	if (vq->state.event_idx) {
		ring_store16(&event->off_wrap, vq->state.next_avail);
		/* Release: a driver that reads the flags knows where the event is. */
		__atomic_store_n(&event->flags, VRING_PACKED_EVENT_FLAG_DESC, __ATOMIC_RELEASE);
	} else if (vq->quiet) {
		ring_store16(&event->flags, VRING_PACKED_EVENT_FLAG_ENABLE);
	}
	vq->quiet = false;
}

/* Whoever served it before may have told the driver not to notify. */
static void begin_to_serve(struct virtqueue *vq)
{
	vq->quiet = true;
	want_notification(vq);
}

bool packed_enable(struct virtqueue *vq)
{
	const struct virtqueue_state *state = &vq->state;

	/* 2.8.10.1: any size. Indexes can come from a saved state. */
	if (position(state->next_avail) >= state->size ||
	    position(state->next_used) >= state->size || position(state->signalled) >= state->size)
		return false;
	if (state->desc_gpa % RING_ALIGN || state->avail_gpa % EVENT_ALIGN ||
	    state->used_gpa % EVENT_ALIGN)
		return false;
	vq->desc = guest_memory_range(vq->mem, state->desc_gpa, VIRTQUEUE_DESC_LEN * state->size);
	vq->avail = guest_memory_range(vq->mem, state->avail_gpa,
				       sizeof(struct vring_packed_desc_event));
	vq->used = guest_memory_range(vq->mem, state->used_gpa,
				      sizeof(struct vring_packed_desc_event));
	if (!vq->desc || !vq->avail || !vq->used)
		return false;
	begin_to_serve(vq);
	return true;
}

static void want_none(struct virtqueue *vq)
{
	struct vring_packed_desc_event *event = vq->used;

	if (vq->state.event_idx || vq->quiet)
		return;
	ring_store16(&event->flags, VRING_PACKED_EVENT_FLAG_DISABLE);
	vq->quiet = true;
}

/* Asks, then looks again: see virtqueue_split.c. */
static NOINLINE int ask_and_look(struct virtqueue *vq)
{
	uint16_t flags;

	if (vq->polled || (!vq->state.event_idx && !vq->quiet))
		return -EAGAIN;
	want_notification(vq);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return is_available(vq, &flags) ? flags : -EAGAIN;
}

/* Returns the flags of the next descriptor, or -EAGAIN. */
static inline int look(struct virtqueue *vq)
{
	uint16_t flags;

	return is_available(vq, &flags) ? flags : ask_and_look(vq);
}

/*
 * 2.8.7: a table's descriptors follow each other, all of them, and of their flags only WRITE means
 * something. It is alone in its chain.
 */
static int add_indirect(struct virtqueue *vq, struct virtqueue_chain *chain, uint64_t gpa,
			uint32_t len)
{
	const void *table;
	struct chain_parts parts = {0};
	uint32_t count;

	table = indirect_table(vq, gpa, len, &count);
	/* Empty ones count: a table is not to keep us busy either. */
	if (!table || count > VIRTQUEUE_SEGMENTS_MAX)
		return -EPROTO;
	for (uint32_t i = 0; i < count; i++) {
		struct vring_packed_desc desc = packed_desc_load(table, i);
		int ret = chain_add(vq, chain, &parts, desc.addr, desc.len, desc.flags);

		if (ret < 0)
			return ret;
	}
	chain_end(chain, &parts);
	return 1;
}

/* flags: those of the first descriptor, which were looked at already. */
static int chain_walk(struct virtqueue *vq, struct virtqueue_chain *chain, uint16_t flags)
{
	const struct vring_packed_desc *ring = vq->desc;
	uint16_t at = position(vq->state.next_avail);
	struct chain_parts parts = {0};

	for (uint16_t slots = 1; slots <= vq->state.size; slots++) {
		struct vring_packed_desc desc = packed_desc_load(ring, at);
		int ret;

		if (slots > 1)
			flags = desc.flags;
		/* 2.8.5: the id is that of the last descriptor. */
		chain->head = (struct virtqueue_head){.id = desc.id, .slots = slots};
		if (flags & VRING_DESC_F_INDIRECT) {
			if (slots > 1 || flags & VRING_DESC_F_NEXT)
				return -EPROTO;
			return add_indirect(vq, chain, desc.addr, desc.len);
		}
		ret = chain_add(vq, chain, &parts, desc.addr, desc.len, flags);
		if (ret < 0)
			return ret;
		if (!(flags & VRING_DESC_F_NEXT)) {
			chain_end(chain, &parts);
			return 1;
		}
		at = at + 1 < vq->state.size ? (uint16_t)(at + 1) : 0;
	}
	/* All of the ring and no end. */
	return -EPROTO;
}

/* The chain that begins at next was taken, of so many descriptors. */
static inline int taken(struct virtqueue *vq, const struct virtqueue_chain *chain, uint16_t next,
			uint16_t slots)
{
	const struct vring_packed_desc *ring = vq->desc;

	next = advance(next, slots, vq->state.size);
	vq->state.next_avail = next;
	/* Four descriptors are in a cache line: the one after this. */
	__builtin_prefetch(&ring[position(next)] + 4);
	want_none(vq);
	return chain_taken(vq, chain);
}

/* A chain of any kind, or none. */
static NOINLINE int pop_any(struct virtqueue *vq, struct virtqueue_chain *chain)
{
	int ret, flags = look(vq);

	if (flags < 0)
		return 0;
	ret = chain_walk(vq, chain, (uint16_t)flags);
	return ret > 0 ? taken(vq, chain, vq->state.next_avail, chain->head.slots) : ret;
}

int packed_pop(struct virtqueue *vq, struct virtqueue_chain *chain)
{
	uint16_t next = vq->state.next_avail;
	const struct vring_packed_desc *at = (struct vring_packed_desc *)vq->desc + position(next);
	uint16_t flags = load_flags(at);
	struct vring_packed_desc desc;

	if (!say_available(flags, next))
		return pop_any(vq, chain);
	desc = packed_desc_load(at, 0);
	/* What is not as simple begins with a copy of its own. */
	if (!chain_of_one(vq, chain, desc.addr, desc.len, flags))
		return pop_any(vq, chain);
	chain->head = (struct virtqueue_head){.id = desc.id, .slots = 1};
	return taken(vq, chain, next, 1);
}

bool packed_has_next(const struct virtqueue *vq)
{
	uint16_t flags;

	return vq->state.ready && is_available(vq, &flags);
}

bool packed_rest(struct virtqueue *vq)
{
	return look(vq) >= 0;
}

void packed_unpop(struct virtqueue *vq, struct virtqueue_head head)
{
	vq->state.next_avail = go_back(vq->state.next_avail, head.slots, vq->state.size);
}

/*
 * 2.8.6: one used descriptor for the whole chain, at the place where its first one was or might
 * have been. The driver takes them in turn: it sees none before it sees the first of the batch,
 * whose flags are therefore written last.
 */
void packed_put(struct virtqueue *vq, struct virtqueue_head head, uint32_t len)
{
	uint16_t next = vq->state.next_used, at = position(next);
	struct vring_packed_desc *used = (struct vring_packed_desc *)vq->desc + at;
	unsigned int flags = next & WRAP ? DESC_F_AVAIL | DESC_F_USED : 0;

	if (len)
		flags |= VRING_DESC_F_WRITE;
	vq->state.next_used = advance(next, head.slots, vq->state.size);
	used->id = head.id;
	used->len = len;
	if (vq->unpublished++) {
		ring_store16(&used->flags, (uint16_t)flags);
	} else {
		vq->first_used = at;
		vq->first_flags = (uint16_t)flags;
	}
}

void packed_publish(struct virtqueue *vq)
{
	struct vring_packed_desc *ring = vq->desc;

	/* Release: buffers, ids, lengths and all later flags are visible before these. */
	__atomic_store_n(&ring[vq->first_used].flags, vq->first_flags, __ATOMIC_RELEASE);
}

bool packed_wants_interrupt(struct virtqueue *vq)
{
	const struct vring_packed_desc_event *event = vq->avail;
	uint16_t flags = __atomic_load_n(&event->flags, __ATOMIC_ACQUIRE);
	uint16_t now = vq->state.next_used, off_wrap;
	int after, before, wanted;

	if (!vq->state.event_idx || flags != VRING_PACKED_EVENT_FLAG_DESC)
		return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
	off_wrap = ring_load16(&event->off_wrap);
	after = position(now);
	before = position(vq->state.signalled);
	wanted = position(off_wrap);
	/* All three on one line: what lies before the last wrap is negative. */
	if (after <= before)
		before -= vq->state.size;
	if ((off_wrap ^ now) & WRAP)
		wanted -= vq->state.size;
	return vring_need_event((uint16_t)wanted, (uint16_t)after, (uint16_t)before);
}
