#include "devices/blk.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "devices/blk_internal.h"

#define BLK_SEG_MAX (BLK_QUEUE_SIZE - 2) /* header and status take two descriptors */

static struct blk *to_blk(struct virtio_device *dev)
{
	return container_of(dev, struct blk, dev);
}

/* What was used is used again first, and memory that is never needed is never touched. */
static struct blk_request *request_get(struct blk *blk)
{
	struct blk_request *request = blk->free;

	if (request)
		blk->free = request->next;
	else if (blk->requests_used < BLK_REQUESTS_MAX)
		request = &blk->requests[blk->requests_used++];
	return request;
}

static void request_put(struct blk *blk, struct blk_request *request)
{
	request->next = blk->free;
	blk->free = request;
}

/* The answer: the status byte, then the chain. */
void blk_finish(struct blk *blk, struct blk_request *request)
{
	*(volatile uint8_t *)request->status = request->result;
	virtqueue_put(&blk->dev.queues[request->queue], request->chain.head, request->written + 1);
	request_put(blk, request);
	if (--blk->in_flight == 0)
		pthread_cond_broadcast(&blk->idle);
}

void blk_interrupt(struct blk *blk)
{
	for (unsigned int i = 0; i < blk->dev.queue_count; i++)
		virtio_queue_interrupt(&blk->dev, &blk->dev.queues[i]);
}

/* Begins what a queue offers, as far as there are free requests. Returns how many. */
static unsigned int drain_queue(struct blk *blk, unsigned int queue)
{
	unsigned int budget = BLK_REQUESTS_MAX;
	size_t left = blk->uring ? SIZE_MAX : BLK_BYTES_AT_ONCE;
	struct blk_request *request = NULL;

	while (budget) {
		request = request_get(blk);
		if (!request) {
			blk->starved = true;
			break;
		}
		if (!virtio_queue_pop(&blk->dev, queue, &request->chain))
			break;
		if (blk_request_parse(request, &blk->limits) < 0) {
			virtio_device_broken(&blk->dev, "request without a status byte");
			break;
		}
		request->queue = queue;
		left -= left < request->len ? left : request->len;
		blk->in_flight++;
		blk_lane_start(blk, request);
		request = NULL;
		budget--;
		if (!left)
			break;
	}
	if (request)
		request_put(blk, request);
	if (!budget || !left)
		virtio_queue_again(&blk->dev, queue);
	return BLK_REQUESTS_MAX - budget;
}

/* Who is first changes: requests may not last for all. */
unsigned int blk_drain(struct blk *blk)
{
	unsigned int count = blk->dev.queue_count, first = blk->next_queue++, taken = 0;

	blk->starved = false;
	for (unsigned int i = 0; i < count; i++)
		taken += drain_queue(blk, (first + i) % count);
	if (taken)
		blk_io_submit(blk);
	return taken;
}

static void blk_kicked(struct virtio_device *dev, unsigned int queue)
{
	struct blk *blk = to_blk(dev);

	io_thread_woken(blk->thread);
	/* Even without a chain: a release has the queues rest again. */
	loop_poll_worked(&blk->thread->loop);
	if (drain_queue(blk, queue))
		blk_io_submit(blk);
	blk_interrupt(blk);
}

bool blk_is_served(const struct blk *blk)
{
	return blk->dev.active && !blk->dev.broken;
}

static bool blk_look(struct loop_poll *poll)
{
	struct blk *blk = container_of(poll, struct blk, poll);
	bool some;

	pthread_mutex_lock(&blk->dev.lock);
	some = blk_io_complete(blk);
	if (blk_is_served(blk)) {
		for (unsigned int i = 0; i < blk->dev.queue_count; i++)
			virtqueue_poll(&blk->dev.queues[i]);
		some |= blk_drain(blk) > 0;
		blk_interrupt(blk);
	}
	pthread_mutex_unlock(&blk->dev.lock);
	return some;
}

static bool blk_rest(struct loop_poll *poll)
{
	struct blk *blk = container_of(poll, struct blk, poll);
	bool some = false;

	pthread_mutex_lock(&blk->dev.lock);
	/* To ask is to write to guest memory. A release kicks, and it rests again. */
	for (unsigned int i = 0; i < blk->dev.queue_count && !blk->dev.held; i++) {
		/* What waits for a free request is not news. */
		if (!virtqueue_rest(&blk->dev.queues[i]) || !blk_is_served(blk) || blk->starved)
			continue;
		virtio_queue_again(&blk->dev, i);
		some = true;
	}
	pthread_mutex_unlock(&blk->dev.lock);
	return some;
}

static int blk_start(struct virtio_device *dev)
{
	struct blk *blk = to_blk(dev);

	return blk->thread == &blk->own_thread ? io_thread_start(blk->thread) : 0;
}

static void blk_hold(struct virtio_device *dev)
{
	struct blk *blk = to_blk(dev);

	blk_lanes_clear(blk);
	while (blk->in_flight)
		pthread_cond_wait(&blk->idle, &dev->lock);
}

/* The I/O thread goes on and completes what is in flight; nothing new starts, as active is off. */
static void blk_reset(struct virtio_device *dev)
{
	blk_hold(dev);
	to_blk(dev)->starved = false;
}

static void blk_stop(struct virtio_device *dev)
{
	struct blk *blk = to_blk(dev);

	pthread_mutex_lock(&dev->lock);
	dev->active = false;
	blk_reset(dev);
	pthread_mutex_unlock(&dev->lock);
	io_thread_stop(&blk->own_thread);
}

static void blk_config_read(struct virtio_device *dev, uint32_t offset, void *buf, size_t len)
{
	struct blk *blk = to_blk(dev);

	virtio_config_copy(&blk->config, sizeof(blk->config), offset, buf, len);
}

static const struct virtio_device_ops blk_ops = {
	.config_read = blk_config_read,
	.start = blk_start,
	.reset = blk_reset,
	.queue_kicked = blk_kicked,
	.hold = blk_hold,
	.stop = blk_stop,
};

static int find_length(struct blk *blk, int fd, uint64_t *out, struct error *err)
{
	struct stat st;
	uint64_t len;

	if (fd < 0) /* requests end with an error, as any outside of the capacity does */
		return 0;
	if (fstat(fd, &st) < 0)
		return error_set(err, errno, "%s: stat", blk->dev.name);
	len = (uint64_t)st.st_size;
	if (S_ISBLK(st.st_mode)) {
		if (ioctl(fd, BLKGETSIZE64, &len) < 0)
			return error_set(err, errno, "%s: BLKGETSIZE64", blk->dev.name);
	} else if (!S_ISREG(st.st_mode)) {
		return error_say(err, EINVAL, "%s: neither a file nor a block device",
				 blk->dev.name);
	}
	*out = len - len % BLK_SECTOR_SIZE;
	return 0;
}

/* The descriptors become the disk's own only when all else has worked. */
static int find_capacity(struct blk *blk, const struct blk_options *options, struct error *err)
{
	uint64_t len = 0;
	int ret;

	if (options->more_count && !options->read_only)
		return error_say(err, EINVAL, "%s: only a read-only disk can be several files",
				 blk->dev.name);
	blk->files = calloc(options->more_count + 1, sizeof(*blk->files));
	if (!blk->files)
		return error_set(err, ENOMEM, "%s", blk->dev.name);
	for (unsigned int i = 0; i <= options->more_count; i++) {
		int fd = i ? options->more_fds[i - 1] : options->fd;

		ret = find_length(blk, fd, &len, err);
		if (ret < 0)
			return ret;
		if (__builtin_add_overflow(blk->limits.capacity, len, &blk->limits.capacity))
			return error_say(err, EFBIG, "%s: too large", blk->dev.name);
		blk->files[i] = (struct blk_file){.fd = fd, .end = blk->limits.capacity};
	}
	return 0;
}

static void fill_config(struct blk *blk)
{
	struct virtio_blk_config *config = &blk->config;

	config->capacity = blk->limits.capacity / BLK_SECTOR_SIZE;
	config->seg_max = BLK_SEG_MAX;
	config->blk_size = blk->limits.block_size;
	config->num_queues = (uint16_t)blk->dev.queue_count;
	if (blk->limits.read_only)
		return;
	config->max_discard_sectors = BLK_DISCARD_MAX_SECTORS;
	config->max_discard_seg = 1;
	config->discard_sector_alignment = 4096 / BLK_SECTOR_SIZE;
	config->max_write_zeroes_sectors = BLK_WRITE_ZEROES_MAX_SECTORS;
	config->max_write_zeroes_seg = 1;
	config->write_zeroes_may_unmap = 1;
}

static uint64_t blk_features(bool read_only, unsigned int queues)
{
	uint64_t features = 1ull << VIRTIO_BLK_F_SEG_MAX | 1ull << VIRTIO_BLK_F_BLK_SIZE |
			    1ull << VIRTIO_BLK_F_FLUSH | VIRTIO_FEATURES_OWN;

	if (queues > 1)
		features |= 1ull << VIRTIO_BLK_F_MQ;
	if (read_only)
		return features | 1ull << VIRTIO_BLK_F_RO;
	return features | 1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES;
}

static int requests_create(struct blk *blk, struct error *err)
{
	blk->requests = calloc(BLK_REQUESTS_MAX, sizeof(*blk->requests));
	if (!blk->requests)
		return error_set(err, ENOMEM, "%s", blk->dev.name);
	return 0;
}

int blk_create(struct blk **out, const struct blk_options *options, const struct guest_memory *mem,
	       struct error *err)
{
	unsigned int queues = options->queues ? options->queues : 1;
	struct blk *blk;
	int ret = 0;

	if (queues > BLK_QUEUES_MAX)
		return error_say(err, EINVAL, "%s: 1 to %u queues", options->name, BLK_QUEUES_MAX);
	blk = calloc(1, sizeof(*blk));
	if (!blk)
		return error_set(err, ENOMEM, "%s", options->name);
	blk->dev.ops = &blk_ops;
	blk->dev.name = options->name;
	blk->dev.id = VIRTIO_ID_BLOCK;
	pthread_cond_init(&blk->idle, NULL);
	virtio_device_init(&blk->dev, mem, blk_features(options->read_only, queues), queues,
			   BLK_QUEUE_SIZE);
	blk->limits.block_size = BLK_SECTOR_SIZE;
	blk->limits.read_only = options->read_only;
	blk->limits.serial = blk->serial;
	blk->thread = options->thread ? options->thread : &blk->own_thread;
	if (options->serial)
		memcpy(blk->serial, options->serial, strnlen(options->serial, BLK_SERIAL_LEN));
	blk_lanes_init(blk);
	blk->poll = (struct loop_poll){.look = blk_look, .rest = blk_rest};
	if (!options->thread)
		ret = io_thread_init(&blk->own_thread, options->name, options->thread_begins);
	if (ret == 0)
		io_thread_looks(blk->thread, &blk->poll);
	if (ret < 0)
		error_set(err, -ret, "%s: event loop", options->name);
	else
		ret = find_capacity(blk, options, err);
	if (ret == 0)
		ret = requests_create(blk, err);
	blk->file_count = options->more_count + 1;
	if (ret == 0 && options->direct)
		ret = blk_direct_create(blk, err);
	if (ret == 0)
		ret = blk_io_create(blk, err);
	if (ret < 0) {
		/* The descriptors stay the caller's. */
		blk->file_count = 0;
		blk_destroy(blk);
		return ret;
	}
	fill_config(blk);
	*out = blk;
	return 0;
}

void blk_destroy(struct blk *blk)
{
	if (!blk)
		return;
	blk_stop(&blk->dev);
	blk_io_destroy(blk);
	blk_direct_destroy(blk);
	blk_lanes_destroy(blk);
	loop_poll_del(&blk->thread->loop, &blk->poll);
	io_thread_destroy(&blk->own_thread);
	for (unsigned int i = 0; i < blk->file_count; i++)
		close_fd(&blk->files[i].fd);
	free(blk->files);
	free(blk->requests);
	pthread_cond_destroy(&blk->idle);
	virtio_device_destroy(&blk->dev);
	free(blk);
}

struct virtio_device *blk_device(struct blk *blk)
{
	return &blk->dev;
}

struct loop *blk_loop(struct blk *blk)
{
	return &blk->thread->loop;
}
