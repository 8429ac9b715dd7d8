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

#define PACKED_AVAIL 0x80u
#define PACKED_USED  0x8000u

static const struct ring_case cases[] = {
	{.batch = 1},
	{.batch = 8},
	{.batch = 32},
	{.batch = 1, .indirect = true},
	{.batch = 8, .indirect = true},
	{.batch = 32, .indirect = true},
	{.batch = 1, .to_guest = true},
	{.batch = 8, .to_guest = true},
	{.batch = 32, .to_guest = true},
};

#define CASES (sizeof(cases) / sizeof(cases[0]))

static const char *no_dpdk;

/* --- the driver --- */

static void describe(struct vring_desc *desc, uint64_t addr, uint32_t len, unsigned int flags,
		     unsigned int next)
{
	*desc = (struct vring_desc){addr, len, (uint16_t)flags, (uint16_t)next};
}

static void init_split(struct ring *ring, struct driver *driver)
{
	struct vring_desc *desc = ring->desc;
	struct vring_avail *avail = ring->driver_area;
	unsigned int write = ring->what->to_guest ? VRING_DESC_F_WRITE : 0;

	avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	for (unsigned int i = 0; i < RING_SIZE; i++) {
		uint64_t at = ring->buffers + i * RING_REQUEST_LEN, table = ring->tables + i * 32;
		struct vring_desc *entries = driver_at(driver, table);

		describe(&entries[0], at, RING_HEADER_LEN, write | VRING_DESC_F_NEXT, 1);
		describe(&entries[1], at + RING_HEADER_LEN, RING_PACKET_LEN, write, 0);
		if (ring->what->indirect)
			describe(&desc[i], table, 32, VRING_DESC_F_INDIRECT, 0);
		else
			describe(&desc[i], at, RING_REQUEST_LEN, write, 0);
		avail->ring[i] = (uint16_t)i;
	}
}

void ring_init(struct ring *ring, struct driver *driver, const struct ring_case *what)
{
	memset(ring, 0, sizeof(*ring));
	ring->what = what;
	ring->state.size = RING_SIZE;
	ring->state.desc_gpa = driver_alloc(driver, 16 * RING_SIZE);
	ring->state.avail_gpa = driver_alloc(driver, 6 + 2 * RING_SIZE);
	ring->state.used_gpa = driver_alloc(driver, 6 + 8 * RING_SIZE);
	ring->state.indirect = true;
	ring->desc = driver_at(driver, ring->state.desc_gpa);
	ring->driver_area = driver_at(driver, ring->state.avail_gpa);
	ring->device_area = driver_at(driver, ring->state.used_gpa);
	ring->buffers = driver_alloc(driver, RING_SIZE * RING_REQUEST_LEN);
	ring->tables = driver_alloc(driver, RING_SIZE * 32);
	init_split(ring, driver);
}

void ring_fill(struct ring *ring, struct driver *driver)
{
	struct vring_avail *avail = ring->driver_area;

	(void)driver;
	ring->idx = (uint16_t)(ring->idx + RING_SIZE);
	__atomic_store_n(&avail->idx, ring->idx, __ATOMIC_RELEASE);
}

void ring_check(const struct ring *ring)
{
	const struct vring_used *used = ring->device_area;

	if (used->idx != ring->idx)
		core_fail("queue: %u of %u requests are done", used->idx, ring->idx);
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

static double serve(struct virtqueue *vq, const struct ring_case *what)
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
		ring_fill(&ring, &driver);
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
		ring_fill(ring, &driver);
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
		char kind[64], name[96], unit[16];

		snprintf(kind, sizeof(kind), "%s, %s, %s guest, x%u",
			 what->packed ? "packed" : "split", what->indirect ? "indirect" : "direct",
			 what->to_guest ? "to" : "from", what->batch);
		snprintf(unit, sizeof(unit), "ns/req%u", i);
		snprintf(name, sizeof(name), "%s: DPDK vhost", kind);
		if (!no_dpdk)
			core_sample(name, unit, measure_dpdk(what));
		snprintf(name, sizeof(name), "%s: bulkhead%s", kind,
			 no_dpdk ? " (DPDK: not installed)" : "");
		core_sample(name, unit, measure_ours(what));
	}
}

static void queue_prepare(void)
{
	no_dpdk = dpdk_prepare();
	if (no_dpdk)
		fprintf(stderr, "core: no rows of DPDK's: %s\n", no_dpdk);
}

const struct core_area core_queue = {
	.name = "queue", .prepare = queue_prepare, .round = queue_round};
