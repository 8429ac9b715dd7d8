/* A virtio device that does nothing but count: for what is common to all of them. */
#ifndef TESTS_UNIT_DUMMY_H
#define TESTS_UNIT_DUMMY_H

#include "devices/virtio.h"
#include "tests/unit/driver.h"

#define DUMMY_QUEUES	 2
#define DUMMY_QUEUE_SIZE 256
#define DUMMY_CONFIG	 "0123456789"

struct dummy {
	struct virtio_device dev;
	unsigned int activated;
	unsigned int reset;
	void (*waiting)(void); /* what another vCPU does while a reset waits; or NULL */
	unsigned int kicked[DUMMY_QUEUES];
	/* The last write to config space. */
	uint32_t written_offset;
	uint64_t written;
	size_t written_len;
};

/* A driver with the dummy for its device, on a loop that no thread runs. */
void dummy_plug(struct dummy *dummy, struct driver *driver, struct loop *loop);
void dummy_unplug(struct dummy *dummy, struct driver *driver, struct loop *loop);

#endif
