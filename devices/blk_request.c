#include "devices/blk_request.h"

#include <errno.h>
#include <string.h>

#include "devices/blk.h"
#include "devices/iov.h"

#include <linux/virtio_blk.h>

#define ZEROES_LEN (64u * 1024)
/*
 * Bytes of a transfer done at once. A chain can have 4 GiB, all of them the same page, and between
 * steps a reset can end it. What drivers ask for fits.
 */
#define STEP_MAX (4u << 20)

/* Written where the file can neither punch holes nor zero ranges. Never written to. */
static const uint8_t zeroes[ZEROES_LEN] __attribute__((aligned(4096)));

static void finish(struct blk_request *request, uint8_t result)
{
	request->op = BLK_NONE;
	request->result = result;
}

/* Whether [sector, sector + len bytes) is on the disk; sets offset. */
static bool in_capacity(struct blk_request *request, const struct blk_limits *limits,
			uint64_t sector, uint64_t len)
{
	uint64_t offset;

	if (__builtin_mul_overflow(sector, (uint64_t)BLK_SECTOR_SIZE, &offset))
		return false;
	if (offset > limits->capacity || len > limits->capacity - offset)
		return false;
	request->offset = offset;
	return true;
}

static void parse_transfer(struct blk_request *request, const struct blk_limits *limits,
			   uint64_t sector, enum blk_op op, uint64_t len)
{
	if (len % limits->block_size || !in_capacity(request, limits, sector, len) ||
	    request->offset % limits->block_size) {
		finish(request, VIRTIO_BLK_S_IOERR);
		return;
	}
	request->len = len;
	request->op = len ? op : BLK_NONE;
}

static void parse_id(struct blk_request *request, const struct blk_limits *limits)
{
	struct virtqueue_chain *chain = &request->chain;
	size_t room = chain->writable_len - 1;
	size_t len = room < BLK_SERIAL_LEN ? room : BLK_SERIAL_LEN;

	request->written = (uint32_t)iov_write(virtqueue_chain_writable(chain), chain->writable, 0,
					       limits->serial, len);
}

/* 5.2.6: discard and write-zeroes carry a list of segments; one is what we allow (max_*_seg). */
static void parse_ranges(struct blk_request *request, const struct blk_limits *limits, bool discard)
{
	const struct virtqueue_chain *chain = &request->chain;
	struct virtio_blk_discard_write_zeroes range;
	uint32_t max = discard ? BLK_DISCARD_MAX_SECTORS : BLK_WRITE_ZEROES_MAX_SECTORS;
	uint32_t unmap = VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
	size_t header = sizeof(struct virtio_blk_outhdr);

	if (chain->readable_len != header + sizeof(range)) {
		finish(request, VIRTIO_BLK_S_IOERR);
		return;
	}
	iov_read(chain->iov, chain->readable, header, &range, sizeof(range));
	/* 5.2.6.2: an unknown flag, or unmap with a discard, is unsupported. */
	if (range.flags & ~(discard ? 0 : unmap)) {
		finish(request, VIRTIO_BLK_S_UNSUPP);
		return;
	}
	if (range.num_sectors > max) {
		finish(request, VIRTIO_BLK_S_IOERR);
		return;
	}
	parse_transfer(request, limits, range.sector,
		       discard || (range.flags & unmap) ? BLK_PUNCH : BLK_ZERO,
		       (uint64_t)range.num_sectors * BLK_SECTOR_SIZE);
	/* A hole that cannot be punched is no error for a discard: it is a hint. */
	request->hint = discard;
}

static bool writes(uint32_t type)
{
	return type == VIRTIO_BLK_T_OUT || type == VIRTIO_BLK_T_DISCARD ||
	       type == VIRTIO_BLK_T_WRITE_ZEROES;
}

static void parse_type(struct blk_request *request, const struct blk_limits *limits,
		       const struct virtio_blk_outhdr *header)
{
	const struct virtqueue_chain *chain = &request->chain;

	if (limits->read_only && writes(header->type)) {
		finish(request, VIRTIO_BLK_S_IOERR);
		return;
	}
	switch (header->type) {
	case VIRTIO_BLK_T_IN:
		parse_transfer(request, limits, header->sector, BLK_READ, chain->writable_len - 1);
		break;
	case VIRTIO_BLK_T_OUT:
		parse_transfer(request, limits, header->sector, BLK_WRITE,
			       chain->readable_len - sizeof(*header));
		break;
	case VIRTIO_BLK_T_FLUSH:
		request->op = BLK_SYNC;
		break;
	case VIRTIO_BLK_T_GET_ID:
		parse_id(request, limits);
		break;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		parse_ranges(request, limits, header->type == VIRTIO_BLK_T_DISCARD);
		break;
	default:
		finish(request, VIRTIO_BLK_S_UNSUPP);
	}
}

int blk_request_parse(struct blk_request *request, const struct blk_limits *limits)
{
	struct virtqueue_chain *chain = &request->chain;
	struct virtio_blk_outhdr header;
	const struct iovec *last;

	request->op = BLK_NONE;
	request->result = VIRTIO_BLK_S_OK;
	request->offset = request->len = 0;
	request->written = 0;
	request->done = 0;
	request->hint = request->bounced = false;
	if (!chain->writable)
		return -EPROTO;
	last = &chain->iov[chain->readable + chain->writable - 1];
	request->status = (uint8_t *)last->iov_base + last->iov_len - 1;
	/* 2.7.4.1: nothing may be assumed about how the parts are spread over descriptors. */
	if (iov_read(chain->iov, chain->readable, 0, &header, sizeof(header)) < sizeof(header)) {
		finish(request, VIRTIO_BLK_S_IOERR);
		return 0;
	}
	parse_type(request, limits, &header);
	return 0;
}

static unsigned int zero_buffers(struct blk_request *request)
{
	uint64_t left = request->len;
	unsigned int count = 0;

	/* 1 MiB a step. */
	while (left && count < 16) {
		size_t len = left < ZEROES_LEN ? (size_t)left : ZEROES_LEN;

		request->iov[count].iov_base = (uint8_t *)(uintptr_t)zeroes;
		request->iov[count].iov_len = len;
		left -= len;
		count++;
	}
	return count;
}

unsigned int blk_request_buffers(struct blk_request *request, uint64_t max)
{
	struct virtqueue_chain *chain = &request->chain;
	size_t len = request->len < STEP_MAX ? (size_t)request->len : STEP_MAX;

	if (len > max)
		len = (size_t)max;

	if (request->op == BLK_WRITE_ZEROES)
		return zero_buffers(request);
	if (request->op == BLK_READ)
		return iov_slice(request->iov, virtqueue_chain_writable(chain), chain->writable,
				 request->done, len);
	return iov_slice(request->iov, chain->iov, chain->readable,
			 sizeof(struct virtio_blk_outhdr) + request->done, len);
}

static bool transfer_done(struct blk_request *request, int outcome)
{
	/* Nothing read inside of the capacity: somebody truncated the file. */
	if (outcome <= 0 || (uint64_t)outcome > request->len) {
		request->result = VIRTIO_BLK_S_IOERR;
		return true;
	}
	request->done += (size_t)outcome;
	request->offset += (uint64_t)outcome;
	request->len -= (uint64_t)outcome;
	if (request->op == BLK_READ)
		request->written += (uint32_t)outcome;
	return request->len == 0;
}

/* File systems differ in what they can do to a range; each way has one that is more common. */
static bool range_done(struct blk_request *request, int outcome)
{
	if (outcome >= 0)
		return true;
	if (outcome != -EOPNOTSUPP && outcome != -ENODEV && outcome != -EINVAL) {
		request->result = VIRTIO_BLK_S_IOERR;
		return true;
	}
	if (request->hint)
		return true;
	/* A hole reads as zeroes as well. */
	request->op = request->op == BLK_ZERO ? BLK_PUNCH : BLK_WRITE_ZEROES;
	return false;
}

bool blk_request_step_done(struct blk_request *request, int outcome)
{
	if (outcome == -EINTR || outcome == -EAGAIN)
		return false;
	switch (request->op) {
	case BLK_READ:
	case BLK_WRITE:
	case BLK_WRITE_ZEROES:
		return transfer_done(request, outcome);
	case BLK_PUNCH:
	case BLK_ZERO:
		return range_done(request, outcome);
	case BLK_SYNC:
		if (outcome < 0)
			request->result = VIRTIO_BLK_S_IOERR;
		return true;
	default:
		return true;
	}
}
