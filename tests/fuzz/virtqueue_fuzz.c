/*
 * A hostile ring. The input is a few settings, then the whole of guest memory: descriptors at 0,
 * the available ring at 0x100, the used ring at 0x180, anything behind that.
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

/* Only the used ring of the queue may have changed. */
static void check_memory(uint16_t size)
{
	driver_check(memcmp(before, low, USED) == 0);
	driver_check(memcmp(before + USED + 6 + 8 * size, low + USED + 6 + 8 * size,
			    LOW_LEN - USED - 6 - 8 * size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	uint8_t flags = input_u8(&input), plan = input_u8(&input);
	uint16_t start = input_u16(&input);
	struct virtqueue vq;

	input_take(&input, low, LOW_LEN);
	memset(high, 0, HIGH_LEN);
	virtqueue_init(&vq, &mem, SIZE_MAX_HERE);
	vq.state.size = (uint16_t)(1u << (flags & 7));
	vq.state.avail_gpa = AVAIL;
	vq.state.used_gpa = USED;
	vq.state.event_idx = !!(flags & 8);
	vq.state.indirect = !!(flags & 16);
	vq.state.next_avail = vq.state.next_used = vq.state.signalled = start;
	if (virtqueue_enable(&vq) < 0) {
		driver_check((flags & 7) > 4);
		return 0;
	}
	memcpy(before, low, LOW_LEN);
	/* More than the ring holds cannot come, whatever it says. */
	for (unsigned int i = 0; i < SIZE_MAX_HERE + 2u; i++) {
		int ret = virtqueue_pop(&vq, &chain);

		if (ret <= 0)
			break;
		driver_check(i < SIZE_MAX_HERE);
		driver_check(chain.head < vq.state.size);
		check_chain();
		if ((plan >> (i & 7)) & 1)
			virtqueue_push(&vq, chain.head, (uint32_t)chain.writable_len);
		if (i == 3 && (plan & 0x80)) {
			virtqueue_unpop(&vq);
			driver_check(virtqueue_pop(&vq, &chain) == 1);
		}
		virtqueue_wants_interrupt(&vq);
	}
	check_memory(vq.state.size);
	return 0;
}
