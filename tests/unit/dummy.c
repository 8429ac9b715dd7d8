#include "tests/unit/dummy.h"

#include <string.h>

#include "common/loop.h"

static struct dummy *to_dummy(struct virtio_device *dev)
{
	return container_of(dev, struct dummy, dev);
}

static void dummy_config_read(struct virtio_device *dev, uint32_t offset, void *buf, size_t len)
{
	(void)dev;
	virtio_config_copy(DUMMY_CONFIG, strlen(DUMMY_CONFIG), offset, buf, len);
}

static void dummy_config_write(struct virtio_device *dev, uint32_t offset, const void *buf,
			       size_t len)
{
	struct dummy *dummy = to_dummy(dev);

	dummy->written_offset = offset;
	dummy->written_len = len;
	dummy->written = 0;
	memcpy(&dummy->written, buf, len);
}

static void dummy_activate(struct virtio_device *dev)
{
	to_dummy(dev)->activated++;
}

static void dummy_reset(struct virtio_device *dev)
{
	struct dummy *dummy = to_dummy(dev);

	dummy->reset++;
	if (dummy->waiting) {
		pthread_mutex_unlock(&dev->lock);
		dummy->waiting();
		pthread_mutex_lock(&dev->lock);
	}
}

static void dummy_kicked(struct virtio_device *dev, unsigned int queue)
{
	to_dummy(dev)->kicked[queue]++;
}

static const struct virtio_device_ops dummy_ops = {
	.config_read = dummy_config_read,
	.config_write = dummy_config_write,
	.activate = dummy_activate,
	.reset = dummy_reset,
	.queue_kicked = dummy_kicked,
};

void dummy_plug(struct dummy *dummy, struct driver *driver, struct loop *loop)
{
	driver_check(loop_init(loop) == 0);
	driver_init(driver);
	memset(dummy, 0, sizeof(*dummy));
	dummy->dev.ops = &dummy_ops;
	dummy->dev.name = "dummy";
	dummy->dev.id = VIRTIO_ID_NET;
	virtio_device_init(&dummy->dev, &driver->mem, 1ull << 5, DUMMY_QUEUES, DUMMY_QUEUE_SIZE);
	driver_attach(driver, &dummy->dev, loop, true);
}

void dummy_unplug(struct dummy *dummy, struct driver *driver, struct loop *loop)
{
	driver_detach(driver);
	virtio_device_destroy(&dummy->dev);
	driver_destroy(driver);
	loop_destroy(loop);
}
