#include "devices/balloon.h"

#include <linux/virtio_balloon.h>
#include <stdlib.h>

#include "common/loop.h"

/* 5.5.2: the queues of features that are not offered do not exist, the next ones move up. */
enum balloon_queue { BALLOON_INFLATE, BALLOON_DEFLATE, BALLOON_REPORTING, BALLOON_QUEUES };

#define BALLOON_QUEUE_SIZE 64

struct balloon {
	struct virtio_device dev;
	balloon_release_fn *release;
	void *ctx;
	struct virtqueue_chain chain;
};

/* The buffers are the free memory itself. 5.5.6.7.2: it is not read or written here. */
static uint32_t report(struct virtio_device *dev, unsigned int queue, struct virtqueue_chain *chain)
{
	struct balloon *balloon = container_of(dev, struct balloon, dev);
	const struct iovec *iov = virtqueue_chain_writable(chain);

	/* Nobody asked for the other queues' pages, but who offers them gets an answer. */
	if (queue != BALLOON_REPORTING)
		return 0;
	for (unsigned int i = 0; i < chain->writable; i++)
		balloon->release(balloon->ctx, iov[i].iov_base, iov[i].iov_len);
	return 0;
}

static void balloon_kicked(struct virtio_device *dev, unsigned int queue)
{
	struct balloon *balloon = container_of(dev, struct balloon, dev);

	virtio_queue_serve(dev, queue, &balloon->chain, report);
}

/* Zeroes: a balloon of no pages is wanted. */
static void balloon_config_read(struct virtio_device *dev, uint32_t offset, void *buf, size_t len)
{
	static const struct virtio_balloon_config config;

	(void)dev;
	virtio_config_copy(&config, sizeof(config), offset, buf, len);
}

static const struct virtio_device_ops balloon_ops = {
	.config_read = balloon_config_read,
	.queue_kicked = balloon_kicked,
};

int balloon_create(struct balloon **out, const struct guest_memory *mem,
		   balloon_release_fn *release, void *ctx, struct error *err)
{
	struct balloon *balloon = calloc(1, sizeof(*balloon));

	if (!balloon)
		return error_set(err, ENOMEM, "balloon");
	balloon->release = release;
	balloon->ctx = ctx;
	balloon->dev.ops = &balloon_ops;
	balloon->dev.name = "balloon";
	balloon->dev.id = VIRTIO_ID_BALLOON;
	virtio_device_init(&balloon->dev, mem,
			   1ull << VIRTIO_BALLOON_F_REPORTING | VIRTIO_FEATURES_IN_ORDER,
			   BALLOON_QUEUES, BALLOON_QUEUE_SIZE);
	*out = balloon;
	return 0;
}

void balloon_destroy(struct balloon *balloon)
{
	if (!balloon)
		return;
	virtio_device_destroy(&balloon->dev);
	free(balloon);
}

struct virtio_device *balloon_device(struct balloon *balloon)
{
	return &balloon->dev;
}
