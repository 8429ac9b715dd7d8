/*
 * A hostile ring, split or packed. The input is a few settings, then the whole of guest memory:
 * descriptors at 0, the available ring at 0x100, the used ring at 0x180, anything behind that.
 */
#include <stdlib.h>

#include "devices/virtqueue.h"
#include "tests/fuzz/input.h"
#include "tests/unit/driver.h"

#define LOW_LEN	      4096u
#define HIGH_LEN      256u
#define AVAIL	      0x100u
#define USED	      0x180u
#define SIZE_MAX_HERE 16

static struct guest_memory mem;
static uint8_t *low, *high; /* on the heap: the sanitizer watches their ends */
static uint8_t before[LOW_LEN];
static struct virtqueue_chain chain;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	low = malloc(LOW_LEN);
	high = malloc(HIGH_LEN);
	driver_check(guest_memory_add(&mem, 0, LOW_LEN, low) == 0);
	driver_check(guest_memory_add(&mem, LOW_LEN, HIGH_LEN, high) == 0);
	return 0;
}

static void check_chain(void)
{
	size_t len[2] = {0, 0};

	driver_check(chain.readable + chain.writable <= VIRTQUEUE_SEGMENTS_MAX);
	for (unsigned int i = 0; i < chain.readable + chain.writable; i++) {
		const uint8_t *base = chain.iov[i].iov_base;
		size_t part = chain.iov[i].iov_len;
		bool in_low = base >= low && base < low + LOW_LEN;

		driver_check(part > 0);
		driver_check(in_low ? part <= (size_t)(low + LOW_LEN - base)
				    : base >= high && base < high + HIGH_LEN &&
					      part <= (size_t)(high + HIGH_LEN - base));
		len[i >= chain.readable] += part;
	}
	driver_check(len[0] == chain.readable_len && len[1] == chain.writable_len);
	driver_check(len[0] + len[1] <= UINT32_MAX);
}

/* Only what the device may write may have changed: of a split queue the used ring, of a packed one
 * its descriptors and the device's event suppression. */
static void check_memory(const struct virtqueue_state *state)
{
	size_t from = state->packed ? 16u * state->size : 0;
	size_t end = USED + (state->packed ? 4 : 6 + 8u * state->size);

	driver_check(memcmp(before + from, low + from, USED - from) == 0);
	driver_check(memcmp(before + end, low + end, LOW_LEN - end) == 0);
}

/* Sets the queue up by the input's settings. */
static bool begin(struct virtqueue *vq, uint8_t flags, uint16_t start)
{
	struct virtqueue_state *state = &vq->state;

	virtqueue_init(vq, &mem, SIZE_MAX_HERE);
	state->packed = !!(flags & 32);
	state->size = (uint16_t)(state->packed ? flags & 31 : 1u << (flags & 7));
	state->avail_gpa = AVAIL;
	state->used_gpa = USED;
	state->event_idx = !!(flags & 8);
	state->indirect = !!(flags & 16);
	if (state->packed && state->size)
		start = (uint16_t)((start & 0x7fff) % state->size | (start & 0x8000));
	state->next_avail = state->next_used = state->signalled = start;
	if (virtqueue_enable(vq) == 0)
		return true;
	driver_check(!state->size || state->size > SIZE_MAX_HERE);
	return false;
}

static void check_head(const struct virtqueue *vq)
{
	if (vq->state.packed)
		driver_check(chain.head.slots >= 1 && chain.head.slots <= vq->state.size);
	else
		driver_check(chain.head.id < vq->state.size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	uint8_t flags = input_u8(&input), plan = input_u8(&input);
	uint16_t start = input_u16(&input);
	struct virtqueue vq;

	input_take(&input, low, LOW_LEN);
	memset(high, 0, HIGH_LEN);
	memcpy(before, low, LOW_LEN);
	if (!begin(&vq, flags, start))
		return 0;
	for (unsigned int i = 0; i < SIZE_MAX_HERE + 2u; i++) {
		int ret = virtqueue_pop(&vq, &chain);

		if (ret <= 0)
			break;
		/* More than the ring holds cannot come, whatever it says. */
		driver_check(i < SIZE_MAX_HERE || vq.state.packed);
		check_head(&vq);
		check_chain();
		if (i == 3 && (plan & 0x80)) {
			virtqueue_unpop(&vq, chain.head, chain.readable_len);
			driver_check(virtqueue_pop(&vq, &chain) == 1);
		}
		if ((plan >> (i & 7)) & 1)
			virtqueue_put(&vq, chain.head, (uint32_t)chain.writable_len);
		if ((plan >> (i & 3)) & 1)
			virtqueue_publish(&vq);
		virtqueue_wants_interrupt(&vq);
	}
	virtqueue_publish(&vq);
	check_memory(&vq.state);
	return 0;
}
