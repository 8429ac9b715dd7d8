#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "devices/blk_internal.h"
#include "devices/uring.h"

static int range_mode(const struct blk_request *request)
{
	return FALLOC_FL_KEEP_SIZE |
	       (request->op == BLK_PUNCH ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
}

/* Where a step of a request goes: a file, the place in it, and how many bytes it has from there. */
struct place {
	unsigned int file; /* index */
	uint64_t offset, room;
};

static struct place find_place(const struct blk *blk, const struct blk_request *request)
{
	unsigned int low = 0, high = blk->file_count - 1;
	uint64_t start;

	/* The first file that ends behind the offset, which is below the capacity; else the last.
	 */
	while (low < high) {
		unsigned int middle = (low + high) / 2;

		if (blk->files[middle].end > request->offset)
			high = middle;
		else
			low = middle + 1;
	}
	start = low ? blk->files[low - 1].end : 0;
	return (struct place){
		.file = low,
		.offset = request->offset - start,
		.room = blk->files[low].end - request->offset,
	};
}

static void request_queue(struct blk *blk, struct blk_request *request)
{
	/* The ring has an entry for every request, so there is always one. */
	struct io_uring_sqe *sqe = io_uring_get_sqe(&blk->ring);
	struct place place = find_place(blk, request);
	unsigned int count;

	switch (request->op) {
	case BLK_READ:
		count = blk_direct_buffers(blk, request, place.room);
		io_uring_prep_readv(sqe, (int)place.file, request->iov, count, place.offset);
		break;
	case BLK_SYNC:
		io_uring_prep_fsync(sqe, (int)place.file, IORING_FSYNC_DATASYNC);
		break;
	case BLK_PUNCH:
	case BLK_ZERO:
		io_uring_prep_fallocate(sqe, (int)place.file, range_mode(request),
					(off_t)place.offset, (off_t)request->len);
		break;
	default:
		count = blk_direct_buffers(blk, request, place.room);
		io_uring_prep_writev(sqe, (int)place.file, request->iov, count, place.offset);
	}
	sqe->flags |= IOSQE_FIXED_FILE;
	io_uring_sqe_set_data(sqe, request);
}

/* One step without io_uring. Returns bytes or a negative errno, as a completion does. */
static int request_do(struct blk *blk, struct blk_request *request)
{
	struct place place = find_place(blk, request);
	off_t offset = (off_t)place.offset;
	int fd = blk->files[place.file].fd;
	ssize_t ret;
	int count;

	switch (request->op) {
	case BLK_READ:
		count = (int)blk_direct_buffers(blk, request, place.room);
		ret = preadv2(fd, request->iov, count, offset, 0);
		break;
	case BLK_SYNC:
		ret = fdatasync(fd);
		break;
	case BLK_PUNCH:
	case BLK_ZERO:
		ret = fallocate(fd, range_mode(request), offset, (off_t)request->len);
		break;
	default:
		count = (int)blk_direct_buffers(blk, request, place.room);
		ret = pwritev2(fd, request->iov, count, offset, 0);
	}
	return ret < 0 ? -errno : (int)ret;
}

/*
 * Takes the outcome of a step. Returns whether the request is finished: it is, too, when a reset
 * waits for it, or a guest could have us busy for minutes after that with a few huge requests.
 */
static bool request_stepped(struct blk *blk, struct blk_request *request, int outcome)
{
	blk_direct_done(request, outcome);
	if (blk_request_step_done(request, outcome))
		return true;
	if (blk->dev.active)
		return false;
	request->result = VIRTIO_BLK_S_IOERR;
	return true;
}

void blk_io_start(struct blk *blk, struct blk_request *request)
{
	int outcome;

	if (request->op == BLK_NONE) {
		blk_finish(blk, request);
		return;
	}
	if (blk->uring) {
		request_queue(blk, request);
		return;
	}
	/* A vCPU at the registers must not wait for the disk; it is in flight, so a reset does. */
	do {
		pthread_mutex_unlock(&blk->dev.lock);
		outcome = request_do(blk, request);
		pthread_mutex_lock(&blk->dev.lock);
	} while (!request_stepped(blk, request, outcome));
	blk_finish(blk, request);
}

void blk_io_submit(struct blk *blk)
{
	int ret;

	if (!blk->uring)
		return;
	do
		ret = io_uring_submit(&blk->ring);
	while (ret == -EINTR || ret == -EAGAIN || ret == -EBUSY);
	if (ret < 0)
		log_error("%s: io_uring_submit: %s", blk->dev.name, strerror(-ret));
}

bool blk_io_complete(struct blk *blk)
{
	struct io_uring_cqe *cqe;
	bool some = false;

	while (blk->uring && io_uring_peek_cqe(&blk->ring, &cqe) == 0) {
		struct blk_request *request = io_uring_cqe_get_data(cqe);
		int outcome = cqe->res;

		some = true;
		io_uring_cqe_seen(&blk->ring, cqe);
		if (request_stepped(blk, request, outcome))
			blk_finish(blk, request);
		else
			request_queue(blk, request);
	}
	if (!some)
		return false;
	if (blk->starved)
		blk_drain(blk);
	blk_io_submit(blk);
	blk_interrupt(blk);
	return true;
}

static void ring_ready(struct loop_watch *watch, uint32_t events)
{
	struct blk *blk = container_of(watch, struct blk, ring_watch);

	(void)events;
	pthread_mutex_lock(&blk->dev.lock);
	if (blk_io_complete(blk))
		loop_poll_worked(&blk->thread->loop);
	pthread_mutex_unlock(&blk->dev.lock);
}

/* Told to the kernel once: so no request has to look a descriptor up, or hold its file. */
static int register_files(struct blk *blk)
{
	cleanup_free int *fds = calloc(blk->file_count, sizeof(int));
	int ret;

	if (!fds)
		return -ENOMEM;
	/* -1, an empty drive, is a place without a file. */
	for (unsigned int i = 0; i < blk->file_count; i++)
		fds[i] = blk->files[i].fd;
	ret = io_uring_register_files(&blk->ring, fds, blk->file_count);
	return ret < 0 ? ret : 0;
}

/* These operations and no others, on the disk's files and no others, for ever. */
static int restrict_ring(struct io_uring *ring)
{
	static const uint8_t operations[] = {
		IORING_OP_READV,
		IORING_OP_WRITEV,
		IORING_OP_FSYNC,
		IORING_OP_FALLOCATE,
	};
	const struct uring_limits limits = {
		.operations = operations,
		.count = sizeof(operations),
		.needed_flags = IOSQE_FIXED_FILE,
	};

	return uring_restrict(ring, &limits);
}

static int ring_create(struct blk *blk)
{
	int ret = io_uring_queue_init(BLK_REQUESTS_MAX, &blk->ring, IORING_SETUP_R_DISABLED);

	if (ret < 0)
		return ret;
	ret = register_files(blk);
	if (ret == 0)
		ret = restrict_ring(&blk->ring);
	if (ret < 0)
		io_uring_queue_exit(&blk->ring);
	return ret;
}

/* The node of a block device is in memory, what it stands for is not. */
static bool file_is_in_memory(int fd)
{
	struct stat file;
	struct statfs file_system;

	return fstat(fd, &file) == 0 && S_ISREG(file.st_mode) && fstatfs(fd, &file_system) == 0 &&
	       file_system.f_type == TMPFS_MAGIC;
}

/*
 * What tmpfs has is in memory, but io_uring does not read it at once: it hands that to a thread of
 * its own, which takes longer than to read it here.
 */
static bool is_in_memory(const struct blk *blk)
{
	for (unsigned int i = 0; i < blk->file_count; i++)
		if (blk->files[i].fd >= 0 && !file_is_in_memory(blk->files[i].fd))
			return false;
	return true;
}

/* Hosts forbid io_uring by sysctl, seccomp or a missing kernel option: that is no failure. */
int blk_io_create(struct blk *blk, struct error *err)
{
	int ret;

	if (is_in_memory(blk))
		return 0;
	ret = ring_create(blk);
	if (ret < 0) {
		log_debug("%s: no io_uring (%s), plain reads and writes instead", blk->dev.name,
			  strerror(-ret));
		return 0;
	}
	blk->uring = true;
	ret = loop_add(&blk->thread->loop, &blk->ring_watch, blk->ring.ring_fd, EPOLLIN,
		       ring_ready);
	if (ret < 0)
		return error_set(err, -ret, "%s: watch io_uring", blk->dev.name);
	return 0;
}

void blk_io_destroy(struct blk *blk)
{
	if (!blk->uring)
		return;
	loop_del(&blk->thread->loop, &blk->ring_watch);
	io_uring_queue_exit(&blk->ring);
}
