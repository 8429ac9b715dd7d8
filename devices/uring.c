#include "devices/uring.h"

#include <errno.h>
#include <string.h>

#define OPERATIONS_MAX 8

int uring_restrict(struct io_uring *ring, const struct uring_limits *limits)
{
	struct io_uring_restriction rows[OPERATIONS_MAX + 1];
	unsigned int count = 0;
	int ret;

	if (limits->count > OPERATIONS_MAX)
		return -E2BIG;
	memset(rows, 0, sizeof(rows));
	for (; count < limits->count; count++) {
		rows[count].opcode = IORING_RESTRICTION_SQE_OP;
		rows[count].sqe_op = limits->operations[count];
	}
	rows[count].opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
	rows[count++].sqe_flags = limits->needed_flags;
	/* Two functions of liburing's that the shared libraries up to 2.3 do not export. */
	ret = io_uring_register((unsigned int)ring->ring_fd, IORING_REGISTER_RESTRICTIONS, rows,
				count);
	return ret < 0 ? ret
		       : io_uring_register((unsigned int)ring->ring_fd,
					   IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}
