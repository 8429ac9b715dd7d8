/*
 * Writes to a descriptor, many of them in one system call: by an io_uring. When a call returns,
 * nothing is on its way any more, so buffers are free again and there is nothing to wait for.
 *
 * A ring belongs to one thread.
 */
#ifndef DEVICES_WRITE_RING_H
#define DEVICES_WRITE_RING_H

#include <stdbool.h>
#include <sys/uio.h>

#define WRITE_RING_MAX 32u /* a call */

struct write_ring;

struct write_op {
	const struct iovec *iov;
	unsigned int count; /* elements of iov, 1 at least */
	int result;	    /* as writev returns it, or a negative errno */
};

/* Returns NULL where the host forbids io_uring or is out of memory: then writev has to do. */
struct write_ring *write_ring_create(void);
void write_ring_destroy(struct write_ring *ring);

/*
 * Does all of ops from the first on, whatever becomes of each: where fd, which does not block, is
 * full for one (-EAGAIN), it may have room again for the next. Returns whether it has; false when
 * the kernel has failed before, and from then on: nothing is written.
 */
bool write_ring_write(struct write_ring *ring, int fd, struct write_op *ops, unsigned int count);

#endif
