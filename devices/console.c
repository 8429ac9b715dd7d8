#include "devices/console.h"

#include <linux/virtio_console.h>
#include <stdlib.h>

#include "common/loop.h"
#include "devices/iov.h"

#define CONSOLE_QUEUE_SIZE 32
#define CONSOLE_TX	   1   /* 5.3.2: transmitq of port 0 */
#define CONSOLE_PIECE	   512 /* bytes given to the sink at once */
/* Bytes of one chain that are passed on: the rest of a chain that claims more is dropped. */
#define CONSOLE_CHAIN_MAX (64u * 1024)

struct console {
	struct virtio_device dev;
	console_output_fn *output;
	void *ctx;
	struct virtqueue_chain chain;
};

static uint32_t console_drain(struct virtio_device *dev, unsigned int queue,
			      struct virtqueue_chain *chain)
{
	struct console *console = container_of(dev, struct console, dev);
	size_t offset = 0;

	(void)queue;
	while (offset < CONSOLE_CHAIN_MAX) {
		uint8_t bytes[CONSOLE_PIECE];
		size_t len = iov_read(chain->iov, chain->readable, offset, bytes, sizeof(bytes));

		if (!len)
			break;
		console->output(console->ctx, bytes, len);
		offset += len;
	}
	return 0;
}

static void console_kicked(struct virtio_device *dev, unsigned int queue)
{
	struct console *console = container_of(dev, struct console, dev);

	/* Nothing is ever typed: the buffers of the receiveq stay where they are. */
	if (queue == CONSOLE_TX)
		virtio_queue_serve(dev, queue, &console->chain, console_drain);
}

/* Neither SIZE nor MULTIPORT nor EMERG_WRITE is offered, so no field means anything (5.3.4). */
static void console_config_read(struct virtio_device *dev, uint32_t offset, void *buf, size_t len)
{
	static const struct virtio_console_config config;

	(void)dev;
	virtio_config_copy(&config, sizeof(config), offset, buf, len);
}

static const struct virtio_device_ops console_ops = {
	.config_read = console_config_read,
	.queue_kicked = console_kicked,
};

int console_create(struct console **out, const struct guest_memory *mem, console_output_fn *output,
		   void *ctx, struct error *err)
{
	struct console *console = calloc(1, sizeof(*console));

	if (!console)
		return error_set(err, ENOMEM, "console");
	console->output = output;
	console->ctx = ctx;
	console->dev.ops = &console_ops;
	console->dev.name = "console";
	console->dev.id = VIRTIO_ID_CONSOLE;
	virtio_device_init(&console->dev, mem, VIRTIO_FEATURES_IN_ORDER, 2, CONSOLE_QUEUE_SIZE);
	*out = console;
	return 0;
}

void console_destroy(struct console *console)
{
	if (!console)
		return;
	virtio_device_destroy(&console->dev);
	free(console);
}

struct virtio_device *console_device(struct console *console)
{
	return &console->dev;
}
