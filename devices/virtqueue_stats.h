/*
 * What a queue counts, since its device was made. Written by the thread that serves the queue, in
 * cache lines that it has in its hands anyway; read by any other at any time, each number by
 * itself.
 */
#ifndef DEVICES_VIRTQUEUE_STATS_H
#define DEVICES_VIRTQUEUE_STATS_H

#include <stdint.h>

#define VIRTQUEUE_BATCHES 9 /* 1, 2-3, 4-7, ... 256 and more chains published at once */

struct virtqueue_stats {
	uint64_t requests;   /* chains taken */
	uint64_t bytes_out;  /* of the guest, that the device could read */
	uint64_t bytes_in;   /* that the device has written */
	uint64_t kicks;	     /* notifications that came */
	uint64_t interrupts; /* that the driver wanted */
	uint64_t suppressed; /* that it did not want */
	uint64_t errors;     /* broken rings */
	uint64_t batches[VIRTQUEUE_BATCHES];
};

/* One writer: so neither a lock nor an atomic addition. */
static inline void stats_add(uint64_t *counter, uint64_t count)
{
	__atomic_store_n(counter, *counter + count, __ATOMIC_RELAXED);
}

/* A batch of count chains, 1 at least. */
static inline void stats_batch(struct virtqueue_stats *stats, unsigned int count)
{
	unsigned int row = 31u - (unsigned int)__builtin_clz(count);

	stats_add(&stats->batches[row < VIRTQUEUE_BATCHES ? row : VIRTQUEUE_BATCHES - 1], 1);
}

#endif
