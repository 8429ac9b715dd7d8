/*
 * A virtqueue's nanoseconds per request, in one thread: a packet of 64 bytes, behind a header, is
 * taken from the ring, copied, and given back, in batches. The peer is DPDK's vhost library with
 * the same rings in the same memory; what it does besides (packet buffers from a pool) is its own
 * design, and giving those back is not in its time.
 *
 * A whole ring is filled by the driver, then timed while the device serves it, and each sample is
 * the median of many such rings: so neither the driver nor the clock is in it, and no neighbour.
 */
#include "bench/core_queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/core.h"
#include "devices/iov.h"

#define FILLS 200

#define DESC_F_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define DESC_F_USED  (1u << VRING_PACKED_DESC_F_USED)

/* The same in batches of 1, 8 and 32. */
#define BATCHES(...)                                          \
	{.batch = 1, __VA_ARGS__}, {.batch = 8, __VA_ARGS__}, \
	{                                                     \
		.batch = 32, __VA_ARGS__                      \
	}
#define CASES_OF(kind)                                                          \
	BATCHES(.packed = (kind)), BATCHES(.packed = (kind), .indirect = true), \
		BATCHES(.packed = (kind), .to_guest = true),                    \
		BATCHES(.packed = (kind), .to_guest = true, .indirect = true)

static const struct ring_case cases[] = {CASES_OF(false), CASES_OF(true)};

#define CASES (sizeof(cases) / sizeof(cases[0]))

static const char *no_dpdk;
static int only = -1; /* CORE_QUEUE=N: this case alone, and ours alone: for bench/instructions */

/* --- the driver --- */

static void describe(struct vring_desc *desc, uint64_t addr, uint32_t len, unsigned int flags,
		     unsigned int next)
{
	*desc = (struct vring_desc){addr, len, (uint16_t)flags, (uint16_t)next};
}

static void init_table(struct ring *ring, struct driver *driver, unsigned int i)
{
	uint64_t at = ring->buffers + i * RING_REQUEST_LEN;
	struct vring_desc *table = driver_at(driver, ring->tables + i * 32);
	unsigned int write = ring->what->to_guest ? VRING_DESC_F_WRITE : 0;

	/* Of a packed ring's table only the flag for writing is looked at, so both are alike. */
	describe(&table[0], at, RING_HEADER_LEN,
		 write | (ring->what->packed ? 0 : VRING_DESC_F_NEXT), ring->what->packed ? 0 : 1);
	describe(&table[1], at + RING_HEADER_LEN, RING_PACKET_LEN, 0, 0);
	if (ring->what->packed)
		((struct vring_packed_desc *)(void *)&table[1])->flags = (uint16_t)write;
	else
		table[1].flags = (uint16_t)write;
}

static void init_split(struct ring *ring)
{
	struct vring_desc *desc = ring->desc;
	struct vring_avail *avail = ring->driver_area;

	avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	for (unsigned int i = 0; i < RING_SIZE; i++) {
		if (ring->what->indirect)
			describe(&desc[i], ring->tables + i * 32, 32, VRING_DESC_F_INDIRECT, 0);
		else
			describe(&desc[i], ring->buffers + i * RING_REQUEST_LEN, RING_REQUEST_LEN,
				 ring->what->to_guest ? VRING_DESC_F_WRITE : 0, 0);
		avail->ring[i] = (uint16_t)i;
	}
}

void ring_init(struct ring *ring, struct driver *driver, const struct ring_case *what)
{
	struct virtqueue_state *state = &ring->state;

	memset(ring, 0, sizeof(*ring));
	ring->what = what;
	state->size = RING_SIZE;
	state->desc_gpa = driver_alloc(driver, 16 * RING_SIZE);
	state->avail_gpa = driver_alloc(driver, 6 + 2 * RING_SIZE);
	state->used_gpa = driver_alloc(driver, 6 + 8 * RING_SIZE);
	state->indirect = true;
	state->packed = what->packed;
	state->next_avail = what->packed ? 1u << VRING_PACKED_EVENT_F_WRAP_CTR : 0;
	state->next_used = state->signalled = state->next_avail;
	ring->desc = driver_at(driver, state->desc_gpa);
	ring->driver_area = driver_at(driver, state->avail_gpa);
	ring->device_area = driver_at(driver, state->used_gpa);
	ring->buffers = driver_alloc(driver, RING_SIZE * RING_REQUEST_LEN);
	ring->tables = driver_alloc(driver, RING_SIZE * 32);
	for (unsigned int i = 0; i < RING_SIZE; i++)
		init_table(ring, driver, i);
	if (what->packed)
		((struct vring_packed_desc_event *)ring->driver_area)->flags =
			VRING_PACKED_EVENT_FLAG_DISABLE;
	else
		init_split(ring);
}

/* The flags of a whole ring change with each round; the first one's are written last. */
static void fill_packed(struct ring *ring)
{
	struct vring_packed_desc *desc = ring->desc;
	unsigned int flags = ring->idx & RING_SIZE ? DESC_F_AVAIL : DESC_F_USED;

	if (ring->what->indirect)
		flags |= VRING_DESC_F_INDIRECT;
	else if (ring->what->to_guest)
		flags |= VRING_DESC_F_WRITE;
	for (unsigned int i = RING_SIZE; i-- > 0;) {
		desc[i].addr = ring->what->indirect ? ring->tables + i * 32
						    : ring->buffers + i * RING_REQUEST_LEN;
		desc[i].len = ring->what->indirect ? 32 : RING_REQUEST_LEN;
		desc[i].id = (uint16_t)i;
		__atomic_store_n(&desc[i].flags, (uint16_t)flags, __ATOMIC_RELEASE);
	}
}

void ring_fill(struct ring *ring)
{
	struct vring_avail *avail = ring->driver_area;

	ring->idx = (uint16_t)(ring->idx + RING_SIZE);
	if (ring->what->packed)
		fill_packed(ring);
	else
		__atomic_store_n(&avail->idx, ring->idx, __ATOMIC_RELEASE);
}

void ring_check(const struct ring *ring)
{
	const struct vring_used *used = ring->device_area;
	const struct vring_packed_desc *desc = ring->desc;
	unsigned int flags = DESC_F_AVAIL | DESC_F_USED;
	bool done = used->idx == ring->idx;

	if (ring->what->packed)
		done = (desc[RING_SIZE - 1].flags & flags) == (ring->idx & RING_SIZE ? flags : 0);
	if (!done)
		core_fail("queue: not all requests are done");
}

/* --- the device --- */

static void take_packet(struct virtqueue *vq, struct virtqueue_chain *chain, bool to_guest)
{
	static uint8_t packet[RING_REQUEST_LEN];
	uint32_t len = 0;

	if (virtqueue_pop(vq, chain) <= 0)
		core_fail("queue: nothing there");
	if (to_guest)
		len = (uint32_t)iov_write(virtqueue_chain_writable(chain), chain->writable, 0,
					  packet, sizeof(packet));
	else
		iov_read(chain->iov, chain->readable, 0, packet, sizeof(packet));
	virtqueue_put(vq, chain->head, len);
}

/* By itself, so that callgrind can tell what it is for: see bench/instructions. */
__attribute__((noinline)) static double serve(struct virtqueue *vq, const struct ring_case *what)
{
	static struct virtqueue_chain chain;
	uint64_t start = core_now();

	for (unsigned int done = 0; done < RING_SIZE; done += what->batch) {
		for (unsigned int i = 0; i < what->batch; i++)
			take_packet(vq, &chain, what->to_guest);
		virtqueue_publish(vq);
		if (virtqueue_wants_interrupt(vq))
			core_fail("queue: an interrupt that nobody asked for");
	}
	return (double)(core_now() - start);
}

/* --- both --- */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, unsigned int count)
{
	qsort(values, count, sizeof(*values), compare);
	return values[count / 2];
}

static double measure_ours(const struct ring_case *what)
{
	double ns[FILLS];
	struct driver driver;
	struct virtqueue vq;
	struct ring ring;

	driver_init(&driver);
	ring_init(&ring, &driver, what);
	virtqueue_init(&vq, &driver.mem, RING_SIZE);
	vq.state = ring.state;
	if (virtqueue_enable(&vq) < 0)
		core_fail("queue: refused");
	for (unsigned int i = 0; i < FILLS; i++) {
		ring_fill(&ring);
		ns[i] = serve(&vq, what);
		ring_check(&ring);
	}
	driver_destroy(&driver);
	return median(ns, FILLS) / RING_SIZE;
}

static double measure_dpdk(const struct ring_case *what)
{
	double ns[FILLS];
	struct ring rings[2];
	struct ring *ring = &rings[!what->to_guest];
	struct dpdk_port *port;
	struct driver driver;

	driver_init(&driver);
	ring_init(&rings[0], &driver, what);
	ring_init(&rings[1], &driver, what);
	port = dpdk_open(&driver, rings, what->packed);
	for (unsigned int i = 0; i < FILLS; i++) {
		ring_fill(ring);
		ns[i] = dpdk_serve(port, what);
		ring_check(ring);
	}
	dpdk_close(port);
	driver_destroy(&driver);
	return median(ns, FILLS) / RING_SIZE;
}

static void queue_round(void)
{
	for (unsigned int i = 0; i < CASES; i++) {
		const struct ring_case *what = &cases[i];
		char kind[64], name[96];

		snprintf(kind, sizeof(kind), "%s, %s, %s guest, x%u",
			 what->packed ? "packed" : "split", what->indirect ? "indirect" : "direct",
			 what->to_guest ? "to" : "from", what->batch);
		if (only >= 0 && i != (unsigned int)only)
			continue;
		snprintf(name, sizeof(name), "%s: DPDK vhost", kind);
		if (!no_dpdk)
			core_sample(name, "ns/req", measure_dpdk(what));
		snprintf(name, sizeof(name), "%s: bulkhead%s", kind,
			 no_dpdk ? " (DPDK: not installed)" : "");
		core_sample(name, "ns/req", measure_ours(what));
	}
}

static void queue_prepare(void)
{
	const char *text = getenv("CORE_QUEUE");

	if (text)
		only = atoi(text);
	no_dpdk = text ? "they are not wanted" : dpdk_prepare();
	if (no_dpdk)
		fprintf(stderr, "core: no rows of DPDK's: %s\n", no_dpdk);
}

const struct core_area core_queue = {
	.name = "queue", .prepare = queue_prepare, .round = queue_round};
