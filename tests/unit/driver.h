/*
 * A synthetic virtio driver: guest memory of its own, and what a driver does to a device through
 * the MMIO registers and the rings (virtio 1.2, sections 3.1, 2.7 and 4.2.3). For unit tests and
 * fuzzers; whatever it cannot do ends the program.
 */
#ifndef TESTS_UNIT_DRIVER_H
#define TESTS_UNIT_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/virtio_mmio.h"

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>

#define DRIVER_MEMORY_GPA  0x40000000ull /* not 0: an offset taken for an address is noticed */
#define DRIVER_MEMORY_LEN  (4u << 20)
#define DRIVER_FEATURES	   (VIRTIO_FEATURES_COMMON | driver_more_features)
#define DRIVER_ACKNOWLEDGE (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER)
#define DRIVER_TIMEOUT_MS  10000 /* far beyond what anything here takes */

#define driver_check(condition) driver_check_(condition, #condition, __FILE__, __LINE__)
void driver_check_(bool holds, const char *condition, const char *file, int line);

/* Set once by a program that runs its tests again with VIRTIO_F_RING_PACKED. */
extern uint64_t driver_more_features;

/* One buffer of a chain. */
struct driver_buffer {
	uint64_t gpa;
	uint32_t len; /* bytes */
	bool writable;
};

/* Split, or packed where that was negotiated: then desc, avail and used mean nothing. */
struct driver_queue {
	uint16_t size;
	bool packed;
	uint64_t desc_gpa;
	uint64_t avail_gpa;
	uint64_t used_gpa;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t next_desc; /* descriptors are taken in turn: nothing here has that many in use */
	uint16_t last_used; /* next used entry to collect */

	struct vring_packed_desc *ring;
	struct vring_packed_desc_event *driver_event, *device_event;
	bool avail_wrap, used_wrap;
	struct {
		uint16_t slots;		    /* taken up in the ring */
		struct driver_buffer first; /* to offer it again */
	} chains[VIRTQUEUE_SIZE_MAX];	    /* by id */
};

struct driver {
	struct guest_memory mem;
	uint8_t *bytes; /* of the whole memory */
	int memory_fd;
	uint64_t next; /* gpa of what was not given out yet */
	struct loop *loop;
	bool loop_is_ours; /* no thread runs it: driver_wait does */
	int irq_fd;
	struct virtio_mmio mmio;
	struct driver_queue queues[VIRTIO_QUEUES_MAX];
};

/* Memory only. The device is created on driver->mem between init and attach. */
void driver_init(struct driver *driver);
/* Puts dev behind a transport. loop_is_ours: see above. */
void driver_attach(struct driver *driver, struct virtio_device *dev, struct loop *loop,
		   bool loop_is_ours);
void driver_detach(struct driver *driver);
void driver_destroy(struct driver *driver);

/* Guest memory that was not used yet, aligned to 16 bytes; driver_forget takes all of it back. */
uint64_t driver_alloc(struct driver *driver, uint32_t len);
void driver_forget(struct driver *driver);
void *driver_at(struct driver *driver, uint64_t gpa);

uint32_t driver_read(struct driver *driver, uint32_t offset);
void driver_write(struct driver *driver, uint32_t offset, uint32_t value);

/* The steps of 3.1.1. driver_negotiate returns whether FEATURES_OK stuck. */
bool driver_negotiate(struct driver *driver, uint64_t features);
/* Rings of this size, in zeroed memory; then ready. */
void driver_queue_setup(struct driver *driver, unsigned int queue, uint16_t size);
void driver_ok(struct driver *driver);
/* All of it: every queue with the size the device offers. */
void driver_start(struct driver *driver, uint64_t features);
void driver_reset(struct driver *driver);

/* Makes a chain available, without a notification. Returns its head. */
uint16_t driver_submit(struct driver *driver, unsigned int queue,
		       const struct driver_buffer *buffers, unsigned int count);
/* The same through an indirect table. */
uint16_t driver_submit_indirect(struct driver *driver, unsigned int queue,
				const struct driver_buffer *buffers, unsigned int count);
/* Puts a head into the available ring, whatever it is. Packed: a chain of one buffer, used before.
 */
void driver_offer(struct driver *driver, unsigned int queue, uint16_t head);
void driver_kick(struct driver *driver, unsigned int queue);

/* An empty file of no name on a disk, or in memory where none is to be had: devices that are disks
 * treat both in their own ways. */
int driver_disk(void);

/* Takes a used entry, if there is one, and asks to be interrupted for the next. */
bool driver_collect(struct driver *driver, unsigned int queue, struct vring_used_elem *elem);
/* Waits for one. */
struct vring_used_elem driver_wait(struct driver *driver, unsigned int queue);
/* Kicks, waits, and checks that it is this chain that comes back. Returns its length. */
uint32_t driver_run(struct driver *driver, unsigned int queue, uint16_t head);

/* Waits until fn says so, while the loop runs. */
void driver_until(struct driver *driver, bool (*fn)(void *ctx), void *ctx);
/* Dispatches until the loop has nothing to do, or for that many turns at most. */
void driver_idle(struct driver *driver);
void driver_turn(struct driver *driver, unsigned int turns);
/* Interrupts that came since the last call. */
bool driver_interrupted(struct driver *driver);

#endif
