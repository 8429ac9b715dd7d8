/*
 * A ring does what it is told without a system call that a filter could see, so it has limits of
 * its own.
 */
#ifndef DEVICES_URING_H
#define DEVICES_URING_H

#include <liburing.h>
#include <stdint.h>

struct uring_limits {
	const uint8_t *operations; /* IORING_OP_*: these and no others */
	unsigned int count;
	uint8_t needed_flags; /* IOSQE_*: every entry has these, and no others */
};

/*
 * Sets limits for ever and has the ring run, which was made with IORING_SETUP_R_DISABLED. Returns
 * 0 or a negative errno.
 */
int uring_restrict(struct io_uring *ring, const struct uring_limits *limits);

#endif
