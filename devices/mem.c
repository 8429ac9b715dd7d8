#include "devices/mem.h"

#include <errno.h>
#include <linux/virtio_mem.h>
#include <stdlib.h>
#include <string.h>

#include "common/loop.h"
#include "devices/iov.h"
#include "devices/virtio_state.h"

#define MEM_QUEUE_SIZE 16

struct mem {
	struct virtio_device dev;
	const struct guest_region *region;
	mem_release_fn *release;
	void *ctx;
	uint64_t requested; /* bytes */
	uint64_t plugged;   /* bytes: of the blocks whose bit is set */
	uint8_t *blocks;    /* a bit each */
	struct virtqueue_chain chain;
};

static struct mem *to_mem(struct virtio_device *dev)
{
	return container_of(dev, struct mem, dev);
}

/* --- blocks --- */

struct range {
	uint64_t first, count; /* blocks */
};

static bool is_plugged(const struct mem *mem, uint64_t block)
{
	return mem->blocks[block / 8] >> block % 8 & 1;
}

static uint64_t count_plugged(const struct mem *mem, struct range range)
{
	uint64_t count = 0;

	for (uint64_t i = 0; i < range.count; i++)
		count += is_plugged(mem, range.first + i);
	return count;
}

static void set_plugged(struct mem *mem, struct range range, bool plugged)
{
	for (uint64_t i = range.first; i < range.first + range.count; i++)
		if (plugged)
			mem->blocks[i / 8] |= (uint8_t)(1u << i % 8);
		else
			mem->blocks[i / 8] &= (uint8_t) ~(1u << i % 8);
	if (plugged)
		mem->plugged += range.count * MEM_BLOCK;
	else
		mem->plugged -= range.count * MEM_BLOCK;
}

static void unplug(struct mem *mem, struct range range)
{
	set_plugged(mem, range, false);
	mem->release(mem->ctx, mem->region->bytes + range.first * MEM_BLOCK,
		     range.count * MEM_BLOCK);
}

static void unplug_all(struct mem *mem)
{
	uint64_t usable = guest_region_len(mem->region) / MEM_BLOCK, end;

	for (uint64_t at = 0; at < usable; at = end + 1) {
		for (end = at; end < usable && is_plugged(mem, end); end++)
			;
		if (end > at)
			unplug(mem, (struct range){at, end - at});
	}
}

/* --- requests --- */

/* 5.15.6: aligned, not empty, and all of it within the usable region. */
static bool find_range(const struct mem *mem, uint64_t gpa, uint16_t count, struct range *range)
{
	uint64_t usable = guest_region_len(mem->region) / MEM_BLOCK;
	/* Below the region it wraps, and is beyond every length. */
	uint64_t offset = gpa - mem->region->gpa;

	*range = (struct range){offset / MEM_BLOCK, count};
	return offset % MEM_BLOCK == 0 && count && range->first < usable &&
	       count <= usable - range->first;
}

static uint16_t request_plug(struct mem *mem, struct range range)
{
	if (count_plugged(mem, range))
		return VIRTIO_MEM_RESP_ERROR;
	/* Less than what is plugged may be asked for, until the driver has unplugged so much. */
	if (mem->plugged + range.count * MEM_BLOCK > mem->requested)
		return VIRTIO_MEM_RESP_NACK;
	set_plugged(mem, range, true);
	return VIRTIO_MEM_RESP_ACK;
}

static uint16_t request_unplug(struct mem *mem, struct range range)
{
	if (count_plugged(mem, range) != range.count)
		return VIRTIO_MEM_RESP_ERROR;
	unplug(mem, range);
	return VIRTIO_MEM_RESP_ACK;
}

static uint16_t state_of(const struct mem *mem, struct range range)
{
	uint64_t count = count_plugged(mem, range);

	if (count == range.count)
		return VIRTIO_MEM_STATE_PLUGGED;
	return count ? VIRTIO_MEM_STATE_MIXED : VIRTIO_MEM_STATE_UNPLUGGED;
}

static struct virtio_mem_resp answer(struct mem *mem, const struct virtio_mem_req *req)
{
	struct virtio_mem_resp resp = {.type = VIRTIO_MEM_RESP_ERROR};
	struct range range;

	if (req->type == VIRTIO_MEM_REQ_UNPLUG_ALL) {
		unplug_all(mem);
		resp.type = VIRTIO_MEM_RESP_ACK;
		return resp;
	}
	/* Address and number of blocks are at the same place in the other three. */
	if (!find_range(mem, req->u.plug.addr, req->u.plug.nb_blocks, &range))
		return resp;
	switch (req->type) {
	case VIRTIO_MEM_REQ_PLUG:
		resp.type = request_plug(mem, range);
		break;
	case VIRTIO_MEM_REQ_UNPLUG:
		resp.type = request_unplug(mem, range);
		break;
	case VIRTIO_MEM_REQ_STATE:
		resp.type = VIRTIO_MEM_RESP_ACK;
		resp.u.state.state = state_of(mem, range);
		break;
	default:
		break;
	}
	return resp;
}

/* Nothing is done for a request whose answer has no place. */
static uint32_t handle(struct virtio_device *dev, unsigned int queue, struct virtqueue_chain *chain)
{
	struct mem *mem = to_mem(dev);
	struct virtio_mem_req req = {0};
	struct virtio_mem_resp resp = {.type = VIRTIO_MEM_RESP_ERROR};

	(void)queue;
	if (chain->writable_len < sizeof(resp))
		return 0;
	if (iov_read(chain->iov, chain->readable, 0, &req, sizeof(req)) == sizeof(req))
		resp = answer(mem, &req);
	return (uint32_t)iov_write(virtqueue_chain_writable(chain), chain->writable, 0, &resp,
				   sizeof(resp));
}

static void mem_kicked(struct virtio_device *dev, unsigned int queue)
{
	struct mem *mem = to_mem(dev);

	virtio_queue_serve(dev, queue, &mem->chain, handle);
}

/* --- the device --- */

static void mem_config_read(struct virtio_device *dev, uint32_t offset, void *buf, size_t len)
{
	const struct mem *mem = to_mem(dev);
	const struct virtio_mem_config config = {
		.block_size = MEM_BLOCK,
		.addr = mem->region->gpa,
		.region_size = mem->region->room,
		.usable_region_size = guest_region_len(mem->region),
		.plugged_size = mem->plugged,
		.requested_size = mem->requested,
	};

	virtio_config_copy(&config, sizeof(config), offset, buf, len);
}

/* 5.15.5.2: a reset leaves every block as it is. A driver that begins anew unplugs them all. */
static void mem_reset(struct virtio_device *dev)
{
	(void)dev;
}

/*
 * What was saved. The blocks follow in a record of their own, as many as were usable: none, where
 * there is nothing in them, as if the region had never grown.
 */
struct saved_mem {
	uint64_t gpa, room, usable, requested;
};

static size_t bitmap_len(uint64_t bytes)
{
	return (bytes / MEM_BLOCK + 7) / 8;
}

static int mem_save(struct virtio_device *dev, struct records *out, uint32_t number,
		    struct error *err)
{
	const struct mem *mem = to_mem(dev);
	struct saved_mem saved = {
		.gpa = mem->region->gpa,
		.room = mem->region->room,
		.usable = mem->requested || mem->plugged ? guest_region_len(mem->region) : 0,
		.requested = mem->requested,
	};

	(void)err;
	records_put(out, VIRTIO_STATE_MEM, number, &saved, sizeof(saved));
	records_put(out, VIRTIO_STATE_MEM_BLOCKS, number, mem->blocks, bitmap_len(saved.usable));
	return 0;
}

static int load(struct mem *mem, const struct records *in, uint32_t number)
{
	const struct guest_region *region = mem->region;
	struct saved_mem saved;
	const uint8_t *blocks;
	size_t len;

	if (records_get(in, VIRTIO_STATE_MEM, number, &saved, sizeof(saved)) < 0)
		return -EPROTO;
	blocks = records_find(in, VIRTIO_STATE_MEM_BLOCKS, number, &len);
	/* The owner has made the region as large again, or larger. */
	if (!blocks || saved.gpa != region->gpa || saved.room != region->room ||
	    saved.usable > guest_region_len(region) || saved.requested % MEM_BLOCK ||
	    saved.requested > saved.usable || len != bitmap_len(saved.usable))
		return -EPROTO;
	memcpy(mem->blocks, blocks, len);
	for (uint64_t i = saved.usable / MEM_BLOCK; i < len * 8; i++)
		if (is_plugged(mem, i))
			return -EPROTO;
	mem->requested = saved.requested;
	mem->plugged = count_plugged(mem, (struct range){0, saved.usable / MEM_BLOCK}) * MEM_BLOCK;
	return 0;
}

static int mem_load(struct virtio_device *dev, const struct records *in, uint32_t number,
		    struct error *err)
{
	return load(to_mem(dev), in, number) < 0
		       ? error_say(err, EPROTO, "%s: the saved state does not fit", dev->name)
		       : 0;
}

static const struct virtio_device_ops mem_ops = {
	.config_read = mem_config_read,
	.reset = mem_reset,
	.queue_kicked = mem_kicked,
	.save = mem_save,
	.load = mem_load,
};

int mem_request(struct mem *mem, uint64_t size)
{
	int ret = 0;

	pthread_mutex_lock(&mem->dev.lock);
	if (size % MEM_BLOCK || size > guest_region_len(mem->region))
		ret = -EINVAL;
	else
		mem->requested = size;
	if (ret == 0)
		virtio_config_interrupt(&mem->dev);
	pthread_mutex_unlock(&mem->dev.lock);
	return ret;
}

void mem_sizes(struct mem *mem, uint64_t *requested, uint64_t *plugged)
{
	pthread_mutex_lock(&mem->dev.lock);
	*requested = mem->requested;
	*plugged = mem->plugged;
	pthread_mutex_unlock(&mem->dev.lock);
}

int mem_create(struct mem **out, const struct guest_memory *guest,
	       const struct guest_region *region, mem_release_fn *release, void *ctx,
	       struct error *err)
{
	struct mem *mem = calloc(1, sizeof(*mem));

	if (mem)
		mem->blocks = calloc(1, bitmap_len(region->room) + 1);
	if (!mem || !mem->blocks) {
		free(mem);
		return error_set(err, ENOMEM, "mem");
	}
	mem->region = region;
	mem->release = release;
	mem->ctx = ctx;
	mem->dev.ops = &mem_ops;
	mem->dev.name = "mem";
	mem->dev.id = VIRTIO_ID_MEM;
	virtio_device_init(&mem->dev, guest, VIRTIO_FEATURES_IN_ORDER, 1, MEM_QUEUE_SIZE);
	*out = mem;
	return 0;
}

void mem_destroy(struct mem *mem)
{
	if (!mem)
		return;
	virtio_device_destroy(&mem->dev);
	free(mem->blocks);
	free(mem);
}

struct virtio_device *mem_device(struct mem *mem)
{
	return &mem->dev;
}
