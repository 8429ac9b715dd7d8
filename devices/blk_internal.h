/* What the parts of the blk device share. Everything here runs under dev.lock. */
#ifndef DEVICES_BLK_INTERNAL_H
#define DEVICES_BLK_INTERNAL_H

#include <liburing.h>

#include "common/direct_io.h"
#include "devices/blk.h"
#include "devices/blk_request.h"
#include "devices/rate_gate.h"

#include <linux/virtio_blk.h>

#define BLK_QUEUE_SIZE 128
/* Requests in flight. A guest that cheats with its ring waits for one to be free again. */
#define BLK_REQUESTS_MAX BLK_QUEUE_SIZE
/* That the thread reads or writes itself, then others on its loop have their turn. */
#define BLK_BYTES_AT_ONCE (256u << 10)

/* Of a step whose buffers lie as the disk cannot have them: copied through memory of ours. */
#define BLK_BOUNCE_LEN (64u * 1024)

/* A file, and where on the disk it ends (bytes). io_uring knows it by its index. */
struct blk_file {
	int fd;
	uint64_t end;
};

/* Requests of one direction, in the order that they came in, which its rate does not let go yet. */
struct blk_lane {
	struct rate_gate gate;
	struct blk_request *first, *last;
};

enum { BLK_LANE_READ, BLK_LANE_WRITE, BLK_LANES };

struct blk {
	struct virtio_device dev;
	struct blk_file *files; /* one; of a read-only disk any number */
	unsigned int file_count;
	struct blk_limits limits;
	char serial[BLK_SERIAL_LEN];
	struct virtio_blk_config config;

	struct io_thread *thread, own_thread;
	struct loop_poll poll;

	struct direct_io direct; /* what the file asks of buffers; block 0: by the page cache */
	uint8_t *bounce;	 /* BLK_BOUNCE_LEN for each request; NULL: the same */

	struct io_uring ring;
	bool uring; /* false for what is in memory, and where the host forbids it: the thread does
		       it itself */
	struct loop_watch ring_watch;

	/* Under dev.lock, as everything above that changes. */
	struct blk_request *requests;
	struct blk_request *free;
	unsigned int requests_used; /* those never used are not in the list of free ones */
	unsigned int in_flight;
	unsigned int next_queue; /* the first to be looked at */
	bool starved;		 /* chains were left in the queue for want of a free request */
	pthread_cond_t idle;
	struct blk_lane lanes[BLK_LANES]; /* what waits there is in flight */
};

/* blk.c */

/* Answers a request and has it free for another. */
void blk_finish(struct blk *blk, struct blk_request *request);
/* Begins what the driver offers in any queue, as far as there are free requests; returns how many.
 */
unsigned int blk_drain(struct blk *blk);
/* Whether the driver may expect anything of it. */
bool blk_is_served(const struct blk *blk);
/* Publishes what was answered, and interrupts for it where that is wanted. */
void blk_interrupt(struct blk *blk);

/* blk_direct.c: all of it harmless where I/O is by the page cache */

/* Has the disk's file read and written past the page cache, and the driver told its block size. */
int blk_direct_create(struct blk *blk, struct error *err);
void blk_direct_destroy(struct blk *blk);
/* blk_request_buffers, by memory of ours where the guest's is not aligned as it has to be. */
unsigned int blk_direct_buffers(struct blk *blk, struct blk_request *request, uint64_t max);
/* Before blk_request_step_done: what was read into that memory goes to the guest. */
void blk_direct_done(struct blk_request *request, int outcome);

/* blk_lane.c */

/* Begins a request, or has it wait until its direction's rate lets it: none holds up the other. */
void blk_lane_start(struct blk *blk, struct blk_request *request);
/* What waits is let go as soon as the I/O thread comes to it, or, where that may do nothing any
 * more, failed here. For who waits for all that is in flight. */
void blk_lanes_clear(struct blk *blk);
void blk_lanes_init(struct blk *blk);
void blk_lanes_destroy(struct blk *blk);

/* blk_io.c */

/* Prepares io_uring; a host that forbids it is no failure. */
int blk_io_create(struct blk *blk, struct error *err);
void blk_io_destroy(struct blk *blk);
/* Does what request says, or begins to. Lets go of the lock meanwhile where it has to block. */
void blk_io_start(struct blk *blk, struct blk_request *request);
/* Takes what has been completed; returns whether there was something. */
bool blk_io_complete(struct blk *blk);
/* Has what was begun go to the kernel. */
void blk_io_submit(struct blk *blk);

#endif
