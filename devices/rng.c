#include "devices/rng.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/loop.h"
#include "devices/iov.h"

#define RNG_QUEUE_SIZE	8
#define RNG_REQUEST_MAX 1024 /* a request for more gets this much: the driver asks again */

struct rng {
	struct virtio_device dev;
	struct virtqueue_chain chain;
};

static uint32_t rng_fill(struct virtio_device *dev, unsigned int queue,
			 struct virtqueue_chain *chain)
{
	uint8_t bytes[RNG_REQUEST_MAX];
	size_t len = chain->writable_len;
	ssize_t got;

	(void)dev;
	(void)queue;
	if (len > sizeof(bytes))
		len = sizeof(bytes);
	/* The host's pool was initialised long ago: this does not block. */
	got = getrandom(bytes, len, 0);
	if (got <= 0)
		return 0;
	len = iov_write(virtqueue_chain_writable(chain), chain->writable, 0, bytes, (size_t)got);
	explicit_bzero(bytes, sizeof(bytes));
	return (uint32_t)len;
}

static void rng_kicked(struct virtio_device *dev, unsigned int queue)
{
	struct rng *rng = container_of(dev, struct rng, dev);

	virtio_queue_serve(dev, queue, &rng->chain, rng_fill);
}

static void rng_config_read(struct virtio_device *dev, uint32_t offset, void *buf, size_t len)
{
	(void)dev;
	virtio_config_copy(NULL, 0, offset, buf, len);
}

static const struct virtio_device_ops rng_ops = {
	.config_read = rng_config_read,
	.queue_kicked = rng_kicked,
};

int rng_create(struct rng **out, const struct guest_memory *mem, struct error *err)
{
	struct rng *rng = calloc(1, sizeof(*rng));

	if (!rng)
		return error_set(err, ENOMEM, "rng");
	rng->dev.ops = &rng_ops;
	rng->dev.name = "rng";
	rng->dev.id = VIRTIO_ID_ENTROPY;
	virtio_device_init(&rng->dev, mem, VIRTIO_FEATURES_IN_ORDER, 1, RNG_QUEUE_SIZE);
	*out = rng;
	return 0;
}

void rng_destroy(struct rng *rng)
{
	if (!rng)
		return;
	virtio_device_destroy(&rng->dev);
	free(rng);
}

struct virtio_device *rng_device(struct rng *rng)
{
	return &rng->dev;
}
