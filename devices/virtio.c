#include "devices/virtio.h"

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "common/log.h"

/* One spelling against the other is the point. NOLINTBEGIN(misc-redundant-expression) */
_Static_assert(VIRTIO_FEATURES_COMMON ==
			       (1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC |
				1ull << VIRTIO_RING_F_EVENT_IDX) &&
		       VIRTIO_FEATURES_IN_ORDER ==
			       (1ull << VIRTIO_F_RING_PACKED | 1ull << VIRTIO_F_IN_ORDER),
	       "feature bits of virtio 1.2, section 6");
/* NOLINTEND(misc-redundant-expression) */

void virtio_device_init(struct virtio_device *dev, const struct guest_memory *mem,
			uint64_t features, unsigned int queue_count, uint16_t queue_size)
{
	dev->mem = mem;
	dev->features = features | VIRTIO_FEATURES_COMMON;
	dev->queue_count = queue_count;
	for (unsigned int i = 0; i < queue_count; i++)
		virtqueue_init(&dev->queues[i], mem, queue_size);
	pthread_mutex_init(&dev->lock, NULL);
}

void virtio_device_destroy(struct virtio_device *dev)
{
	pthread_mutex_destroy(&dev->lock);
}

bool virtio_queue_pop(struct virtio_device *dev, unsigned int queue, struct virtqueue_chain *chain)
{
	int ret;

	if (!dev->active || dev->broken || dev->held)
		return false;
	ret = virtqueue_pop(&dev->queues[queue], chain);
	if (ret < 0) {
		stats_add(&dev->queues[queue].stats.errors, 1);
		virtio_device_broken(dev, "broken ring");
	}
	return ret > 0;
}

void virtio_queue_serve(struct virtio_device *dev, unsigned int queue,
			struct virtqueue_chain *chain, virtio_answer_fn *answer)
{
	struct virtqueue *vq = &dev->queues[queue];
	unsigned int budget = vq->max_size;

	while (budget && virtio_queue_pop(dev, queue, chain)) {
		virtqueue_put(vq, chain->head, answer(dev, queue, chain));
		budget--;
	}
	if (!budget)
		virtio_queue_again(dev, queue);
	virtio_queue_interrupt(dev, vq);
}

void virtio_queue_again(struct virtio_device *dev, unsigned int queue)
{
	if (dev->active && !dev->broken && dev->kick)
		dev->kick(dev->transport, queue);
}

void virtio_config_copy(const void *config, size_t config_len, uint32_t offset, void *buf,
			size_t len)
{
	memset(buf, 0, len);
	if (offset >= config_len)
		return;
	if (len > config_len - offset)
		len = config_len - offset;
	memcpy(buf, (const uint8_t *)config + offset, len);
}

void virtio_queue_interrupt(struct virtio_device *dev, struct virtqueue *vq)
{
	if (!dev->active || dev->broken)
		return;
	virtqueue_publish(vq);
	if (virtqueue_wants_interrupt(vq) && dev->interrupt)
		dev->interrupt(dev->transport, VIRTIO_MMIO_INT_VRING);
}

void virtio_config_interrupt(struct virtio_device *dev)
{
	if (dev->interrupt)
		dev->interrupt(dev->transport, VIRTIO_MMIO_INT_CONFIG);
}

void virtio_device_broken(struct virtio_device *dev, const char *what)
{
	if (dev->broken)
		return;
	dev->broken = true;
	log_debug("%s: guest error: %s", dev->name, what);
	if (dev->needs_reset)
		dev->needs_reset(dev->transport);
}
