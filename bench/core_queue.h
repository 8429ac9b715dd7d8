/* Rings with a driver that fills them, for whoever serves them: us, or DPDK's vhost library. */
#ifndef BENCH_CORE_QUEUE_H
#define BENCH_CORE_QUEUE_H

#include <stdbool.h>

#include "tests/unit/driver.h"

#define RING_SIZE	 256u
#define RING_HEADER_LEN	 12u /* of virtio-net: what DPDK expects in front of each packet */
#define RING_PACKET_LEN	 64u
#define RING_REQUEST_LEN (RING_HEADER_LEN + RING_PACKET_LEN)

/* What a round is about. */
struct ring_case {
	bool packed;
	bool indirect; /* a table of two descriptors instead of one for all */
	bool to_guest; /* the device writes the packets */
	unsigned int batch;
};

struct ring {
	struct virtqueue_state state; /* where it is, for the device */
	const struct ring_case *what;
	void *desc;
	void *driver_area; /* available ring, or event suppression of the driver */
	void *device_area; /* used ring, or event suppression of the device */
	uint64_t buffers, tables;
	uint16_t idx; /* of the driver: entries offered so far */
};

/* Rings of RING_SIZE entries and their buffers; the driver asks for no interrupts. */
void ring_init(struct ring *ring, struct driver *driver, const struct ring_case *what);

/* Offers every entry. All of them were used. */
void ring_fill(struct ring *ring);
/* Fails unless the device has used every entry. */
void ring_check(const struct ring *ring);

/* core_dpdk.c: the same ring, served by DPDK. Not NULL is why there is none. */
const char *dpdk_prepare(void);
struct dpdk_port;
struct dpdk_port *dpdk_open(struct driver *driver, struct ring rings[2], bool packed);
void dpdk_close(struct dpdk_port *port);
/* Serves all entries of the ring that rings[!to_guest] was; returns the ns that took. */
double dpdk_serve(struct dpdk_port *port, const struct ring_case *what);

#endif
