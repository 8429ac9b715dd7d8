/*
 * What a virtio device is to its transport (virtio 1.2, section 2). A device embeds struct
 * virtio_device as its first thought, fills in ops and is then driven through them.
 *
 * Threads: the transport takes dev->lock around every call into ops. A device takes it around
 * whatever it does from its own loop (a kicked queue, a readable socket). So a device is written
 * as if it were single-threaded.
 */
#ifndef DEVICES_VIRTIO_H
#define DEVICES_VIRTIO_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/records.h"
#include "devices/guest_memory.h"
#include "devices/virtqueue.h"

#define VIRTIO_QUEUES_MAX 9 /* a NIC with four pairs of queues */

/* Device ids: virtio 1.2, section 5. */
enum virtio_id {
	VIRTIO_ID_NONE = 0, /* a placeholder: 4.2.3.1 */
	VIRTIO_ID_NET = 1,
	VIRTIO_ID_BLOCK = 2,
	VIRTIO_ID_CONSOLE = 3,
	VIRTIO_ID_ENTROPY = 4,
	VIRTIO_ID_BALLOON = 5,
	VIRTIO_ID_VSOCK = 19,
	VIRTIO_ID_MEM = 24,
	VIRTIO_ID_FS = 26,
};

struct virtio_device;

struct virtio_device_ops {
	/* Reads len bytes of config space at offset; bytes beyond its end read as zero. */
	void (*config_read)(struct virtio_device *dev, uint32_t offset, void *buf, size_t len);
	/* Optional. Writes outside of what is writable are ignored. */
	void (*config_write)(struct virtio_device *dev, uint32_t offset, const void *buf,
			     size_t len);
	/*
	 * Optional. The transport is there: start the thread that runs the loop, if that is the
	 * device's own. So early because a running VMM may not make threads. Returns 0 or a
	 * negative errno.
	 */
	int (*start)(struct virtio_device *dev);
	/* Optional. DRIVER_OK was set: features are negotiated, the ready queues checked. */
	void (*activate)(struct virtio_device *dev);
	/*
	 * Optional. Back to power-on state: when this returns nothing is in flight and guest memory
	 * is not touched again until activate. Queues are reset by the caller afterwards.
	 */
	void (*reset)(struct virtio_device *dev);
	/* The driver notified this queue. Runs on the device's loop. */
	void (*queue_kicked)(struct virtio_device *dev, unsigned int queue);
	/* Optional. No chains are to be had any more: waits until none is in flight. */
	void (*hold)(struct virtio_device *dev);
	/*
	 * Optional, called without the lock, perhaps twice. The transport goes away: nothing is in
	 * flight any more when it returns, and a thread of the device's own that runs the loop has
	 * ended, so that the queues can be taken off it.
	 */
	void (*stop)(struct virtio_device *dev);
	/*
	 * Optional: for what a device has to remember beyond its queues and negotiated features,
	 * which the transport saves. The guest is stopped, the loop has nothing pending. save
	 * appends records (devices/virtio_state.h) under the number of the device's slot, or fails
	 * when it is busy with something that cannot be taken along. load comes before activate,
	 * which follows if the driver had come so far; what stands in records may be wrong in every
	 * way. Back ends are the new process's own: disks, sockets and taps are attached as ever.
	 */
	int (*save)(struct virtio_device *dev, struct records *out, uint32_t number,
		    struct error *err);
	int (*load)(struct virtio_device *dev, const struct records *in, uint32_t number,
		    struct error *err);
};

struct virtio_device {
	const struct virtio_device_ops *ops;
	const char *name; /* for messages: "blk0" */
	enum virtio_id id;
	uint64_t features;   /* offered */
	uint64_t negotiated; /* accepted by the driver, valid from FEATURES_OK */
	const struct guest_memory *mem;
	struct virtqueue queues[VIRTIO_QUEUES_MAX];
	unsigned int queue_count;
	pthread_mutex_t lock;
	bool active; /* from activate until reset */
	bool broken; /* from virtio_device_broken until reset */
	bool held;   /* takes no chains for now: the machine rests (virtio_mmio_hold) */
	/*
	 * Nothing is plugged in here yet: the transport shows a placeholder (4.2.3.1), which no
	 * driver looks at. The agent has the driver look again.
	 */
	atomic_bool absent;

	/*
	 * Another process serves the queues (vhost-user): it gets the eventfds below, and the
	 * transport leaves them alone until serve_queues. Its interrupts go past us, so the
	 * interrupt status always says that buffers were used.
	 */
	bool external;
	/* Set by the transport; one of queue_fds a queue, written when it is notified. */
	const int *queue_fds;
	int irq_fd;
	/* Set by the transport: from now on queue_kicked is called. On the device's loop. */
	int (*serve_queues)(void *ctx);
	/*
	 * Set by the transport: whoever else serves a queue for a while takes its notifications
	 * from queue_fds, and they are not watched here. On the device's loop.
	 */
	int (*watch_queue)(void *ctx, unsigned int queue, bool watch);

	/*
	 * Set by the transport: sets the interrupt status bits and raises the interrupt. Callable
	 * from any thread. Devices use virtio_queue_interrupt and virtio_config_interrupt.
	 */
	void (*interrupt)(void *ctx, uint32_t status_bits);
	/*
	 * Set by the transport: the guest broke the rules; set DEVICE_NEEDS_RESET (2.1.1). Called
	 * with the lock held.
	 */
	void (*needs_reset)(void *ctx);
	/* Set by the transport: queue_kicked will be called again soon, on the device's loop. */
	void (*kick)(void *ctx, unsigned int queue);
	void *transport;
};

/* What every device offers; ring features are handled by the queues themselves. */
#define VIRTIO_FEATURES_COMMON (1ull << 32 | 1ull << 28 | 1ull << 29)
/* For a device whose queues are served here, and for one that also uses chains in their order. */
#define VIRTIO_FEATURES_OWN	 (1ull << 34)
#define VIRTIO_FEATURES_IN_ORDER (VIRTIO_FEATURES_OWN | 1ull << 35)

/*
 * Sets up what all devices share: dev->ops, name and id are the caller's to fill in. features
 * are those beyond VIRTIO_FEATURES_COMMON.
 */
void virtio_device_init(struct virtio_device *dev, const struct guest_memory *mem,
			uint64_t features, unsigned int queue_count, uint16_t queue_size);
void virtio_device_destroy(struct virtio_device *dev);

/*
 * Takes the next chain of a queue. Returns false when there is none or the device is not running;
 * a broken ring marks the device broken first.
 */
bool virtio_queue_pop(struct virtio_device *dev, unsigned int queue, struct virtqueue_chain *chain);

/* Does what a chain asks for. Returns how many bytes were written to it. */
typedef uint32_t virtio_answer_fn(struct virtio_device *dev, unsigned int queue,
				  struct virtqueue_chain *chain);

/*
 * A queue_kicked for a device that answers each chain at once: as many as the queue can hold, and
 * what is there then has its turn later. chain is the device's, for one at a time.
 */
void virtio_queue_serve(struct virtio_device *dev, unsigned int queue,
			struct virtqueue_chain *chain, virtio_answer_fn *answer);

/*
 * Has queue_kicked called again for what is left in a queue: a device handles a bounded number of
 * chains a call, so that a guest which never stops adding some cannot hold the loop for itself.
 */
void virtio_queue_again(struct virtio_device *dev, unsigned int queue);

/* For config_read: copies from a config structure, with zeroes beyond its end. */
void virtio_config_copy(const void *config, size_t config_len, uint32_t offset, void *buf,
			size_t len);

/*
 * The end of a batch: publishes what was put into a queue, and interrupts for it if the driver
 * wants that (2.7.7, 2.7.10).
 */
void virtio_queue_interrupt(struct virtio_device *dev, struct virtqueue *vq);

/* Tells the driver that config space changed (4.2.2.1). Called with the lock held. */
void virtio_config_interrupt(struct virtio_device *dev);

/*
 * Marks the device broken after a guest's mistake, logs it once at debug level. The device must
 * touch no queue any more until it is reset.
 */
void virtio_device_broken(struct virtio_device *dev, const char *what);

#endif
