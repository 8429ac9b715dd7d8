/*
 * The MMIO transport, version 2 (virtio 1.2, section 4.2). Knows no KVM: its owner feeds it the
 * guest's register accesses, gives each queue an eventfd for QueueNotify (see queue_fds) and
 * takes interrupts.
 */
#ifndef DEVICES_VIRTIO_MMIO_H
#define DEVICES_VIRTIO_MMIO_H

#include <stdatomic.h>

#include "common/error.h"
#include "common/loop.h"
#include "devices/virtio.h"

#define VIRTIO_MMIO_SIZE	 0x200
#define VIRTIO_MMIO_QUEUE_NOTIFY 0x050

struct virtio_mmio_queue_watch {
	struct loop_watch watch;
	struct virtio_mmio *mmio;
	unsigned int queue;
};

/* How the device's interrupt reaches the guest. */
struct virtio_interrupt {
	/*
	 * A rising edge of the line; callable from any thread. status_bits is VIRTIO_MMIO_INT_VRING
	 * or _CONFIG, or both: for who has a line for either.
	 */
	void (*ring)(void *ctx, uint32_t status_bits);
	void *ctx;
	/* For an external device, else -1: written with 1 it does the same. Not owned. */
	int fd;
};

struct virtio_mmio {
	struct virtio_device *dev;
	/* Register state: plain data, saved and loaded with the device. Under dev->lock. */
	struct virtio_mmio_state {
		uint32_t status;
		uint32_t device_features_sel;
		uint32_t driver_features_sel;
		uint32_t queue_sel;
		uint32_t config_generation;
		uint64_t driver_features;
	} state;
	bool resetting; /* under dev->lock too */
	_Atomic uint32_t interrupt_status;

	/* One eventfd a queue: written by the guest's QueueNotify, by ioeventfd under KVM. */
	int queue_fds[VIRTIO_QUEUES_MAX];
	struct virtio_mmio_queue_watch watches[VIRTIO_QUEUES_MAX];
	struct loop *loop;

	struct virtio_interrupt interrupt;
};

/*
 * Puts dev behind the transport; queue kicks are dispatched on loop. Returns 0 or a negative
 * errno. The device and the loop must outlive the transport.
 */
int virtio_mmio_init(struct virtio_mmio *mmio, struct virtio_device *dev, struct loop *loop,
		     const struct virtio_interrupt *interrupt, struct error *err);
/*
 * The device's ops->stop, which destroy calls too: before that for all the devices that share a
 * thread, which has to have ended when the first of them is destroyed.
 */
void virtio_mmio_stop(struct virtio_mmio *mmio);
void virtio_mmio_destroy(struct virtio_mmio *mmio);

/*
 * The whole device as records under number: registers, queues, and what the device itself has to
 * say. No vCPU runs. load expects a device fresh from virtio_mmio_init and puts it where the saved
 * one was, running if that was; everything is checked as if the guest had written it.
 */
int virtio_mmio_save(struct virtio_mmio *mmio, struct records *out, uint32_t number,
		     struct error *err);
int virtio_mmio_load(struct virtio_mmio *mmio, const struct records *in, uint32_t number,
		     struct error *err);

/*
 * No vCPU runs: the device finishes what it has begun, and leaves the guest's memory alone until
 * it is released. Not for one that another process serves.
 */
void virtio_mmio_hold(struct virtio_mmio *mmio);
void virtio_mmio_release(struct virtio_mmio *mmio);

/*
 * A register access by the guest: offset below VIRTIO_MMIO_SIZE, len 1, 2, 4 or 8. Config space
 * takes every width, the registers take 4 only; anything else reads as zero and is ignored when
 * written (4.2.2.2). Callable from any vCPU thread.
 */
uint64_t virtio_mmio_read(struct virtio_mmio *mmio, uint32_t offset, unsigned int len);
void virtio_mmio_write(struct virtio_mmio *mmio, uint32_t offset, uint64_t value, unsigned int len);

#endif
