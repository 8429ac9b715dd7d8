#include "devices/write_ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "devices/uring.h"

struct write_ring {
	struct io_uring ring;
	bool lost; /* the kernel did not do what it has to: the ring is closed */
};

static int prepare(struct io_uring *ring)
{
	static const uint8_t operations[] = {IORING_OP_WRITE, IORING_OP_WRITEV,
					     IORING_OP_ASYNC_CANCEL};
	const struct uring_limits limits = {.operations = operations, .count = sizeof(operations)};
	int ret = io_uring_queue_init(WRITE_RING_MAX, ring, IORING_SETUP_R_DISABLED);

	if (ret < 0)
		return ret;
	ret = uring_restrict(ring, &limits);
	if (ret < 0)
		io_uring_queue_exit(ring);
	return ret;
}

struct write_ring *write_ring_create(void)
{
	struct write_ring *ring = calloc(1, sizeof(*ring));
	int ret = ring ? prepare(&ring->ring) : -ENOMEM;

	if (ret == 0)
		return ring;
	log_debug("no io_uring for packets (%s), they go one by one", strerror(-ret));
	free(ring);
	return NULL;
}

void write_ring_destroy(struct write_ring *ring)
{
	if (ring && !ring->lost)
		io_uring_queue_exit(&ring->ring);
	free(ring);
}

/* Every call leaves the ring empty, so there is an entry for each. */
static void queue(struct write_ring *ring, int fd, struct write_op *ops, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->ring);
		const struct iovec *iov = ops[i].iov;

		/* A single element needs no copy of the list. */
		if (ops[i].count == 1)
			io_uring_prep_write(sqe, fd, iov->iov_base, (unsigned int)iov->iov_len, 0);
		else
			io_uring_prep_writev(sqe, fd, iov, ops[i].count, 0);
		io_uring_sqe_set_data(sqe, &ops[i]);
		ops[i].result = -EINPROGRESS;
	}
}

static bool submit(struct write_ring *ring, unsigned int count, unsigned int wait)
{
	int ret;

	do
		ret = io_uring_submit_and_wait(&ring->ring, wait);
	while (ret == -EINTR);
	return ret == (int)count;
}

/* Returns for how many writes there is an outcome. */
static unsigned int collect(struct write_ring *ring)
{
	struct io_uring_cqe *cqe;
	unsigned int count = 0;

	while (io_uring_peek_cqe(&ring->ring, &cqe) == 0) {
		struct write_op *op = io_uring_cqe_get_data(cqe);

		/* A cancellation's own has none. */
		if (op) {
			op->result = cqe->res == -ECANCELED ? -EAGAIN : cqe->res;
			count++;
		}
		io_uring_cqe_seen(&ring->ring, cqe);
	}
	return count;
}

/*
 * Where a descriptor is full, the kernel waits for it with what is to be written: not for long.
 * Returns how many there were, or 0 when the kernel refuses.
 */
static unsigned int cancel(struct write_ring *ring, struct write_op *ops, unsigned int count)
{
	unsigned int waiting = 0;

	for (unsigned int i = 0; i < count; i++) {
		struct io_uring_sqe *sqe;

		if (ops[i].result != -EINPROGRESS)
			continue;
		sqe = io_uring_get_sqe(&ring->ring);
		io_uring_prep_cancel(sqe, &ops[i], 0);
		io_uring_sqe_set_data(sqe, NULL);
		waiting++;
	}
	/* Each comes to its end, and so does its cancellation. */
	return submit(ring, waiting, 2 * waiting) ? waiting : 0;
}

static bool run(struct write_ring *ring, struct write_op *ops, unsigned int count)
{
	unsigned int done, waiting;

	if (!submit(ring, count, 0))
		return false;
	done = collect(ring);
	if (done == count)
		return true;
	waiting = cancel(ring, ops, count);
	return waiting && collect(ring) == waiting;
}

bool write_ring_write(struct write_ring *ring, int fd, struct write_op *ops, unsigned int count)
{
	if (ring->lost)
		return false;
	queue(ring, fd, ops, count);
	if (run(ring, ops, count))
		return true;
	log_warn("io_uring fails for packets: they go one by one from now on");
	io_uring_queue_exit(&ring->ring);
	ring->lost = true;
	/* What has become of them nobody knows; they are not written twice. */
	for (unsigned int i = 0; i < count; i++)
		ops[i].result = -EIO;
	return true;
}
