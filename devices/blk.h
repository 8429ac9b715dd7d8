/*
 * virtio-blk (virtio 1.2, section 5.2) on a file or block device, with an io_uring of its own.
 * Read, write, flush, discard, write-zeroes and get-id.
 *
 * A read-only disk can be several files, one behind the other: many image layers cost the guest one
 * device, and nothing is copied to join them.
 */
#ifndef DEVICES_BLK_H
#define DEVICES_BLK_H

#include "common/error.h"
#include "devices/io_thread.h"
#include "devices/rate_limit.h"
#include "devices/virtio.h"

#define BLK_QUEUES_MAX VIRTIO_QUEUES_MAX
#define BLK_SERIAL_LEN 20 /* 5.2.6: the id is at most 20 bytes, padded with zeroes */

struct blk;

struct blk_options {
	int fd; /* taken over on success, as more_fds are; -1: an empty drive, capacity 0 */
	const int *more_fds; /* what follows it on a read-only disk; whole sectors of each count */
	unsigned int more_count;
	unsigned int queues; /* up to BLK_QUEUES_MAX, one for each vCPU; 0: one */
	bool read_only;	     /* offered as VIRTIO_BLK_F_RO; writes fail with IOERR */
	bool direct;	     /* past the host's page cache (O_DIRECT); a disk of one file only */
	const char *serial;  /* up to BLK_SERIAL_LEN bytes */
	const char *name;    /* for messages; must outlive the device */
	struct io_thread *thread;    /* shared: started and stopped by who has it; NULL: its own */
	void (*thread_begins)(void); /* of its own: io_thread.h */
};

/* The device is created stopped: a thread of its own runs while it has a transport. *out is owned.
 */
int blk_create(struct blk **out, const struct blk_options *options, const struct guest_memory *mem,
	       struct error *err);
void blk_destroy(struct blk *blk);

/*
 * Limits what is read, and what is written (with all else that changes the disk, and flushes):
 * bytes in [0], requests in [1]. From any thread.
 */
int blk_limit(struct blk *blk, const struct rate reads[2], const struct rate writes[2],
	      struct error *err);

struct virtio_device *blk_device(struct blk *blk);

/* The loop of its I/O thread: for virtio_mmio_init. */
struct loop *blk_loop(struct blk *blk);

#endif
