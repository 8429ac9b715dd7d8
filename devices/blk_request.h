/* One virtio-blk request, parsed and checked (virtio 1.2, section 5.2.6). Internal to blk. */
#ifndef DEVICES_BLK_REQUEST_H
#define DEVICES_BLK_REQUEST_H

#include "devices/virtqueue.h"

#define BLK_SECTOR_SIZE		     512u
#define BLK_DISCARD_MAX_SECTORS	     (1u << 22) /* 2 GiB a request */
#define BLK_WRITE_ZEROES_MAX_SECTORS (1u << 15) /* 16 MiB: it may have to be written */

/* What is to be done to the file. BLK_NONE: nothing any more, the status is known. */
enum blk_op { BLK_NONE, BLK_READ, BLK_WRITE, BLK_SYNC, BLK_PUNCH, BLK_ZERO, BLK_WRITE_ZEROES };

struct blk_request {
	struct virtqueue_chain chain;
	unsigned int queue; /* it came by */
	uint8_t *status;    /* last writable byte of the chain, in guest memory */
	uint8_t result;	    /* what goes there: VIRTIO_BLK_S_* */
	enum blk_op op;
	uint64_t offset;  /* where in the file, bytes */
	uint64_t len;	  /* bytes still to do */
	uint32_t written; /* bytes of the writable part that were filled */
	bool hint;	  /* may be left undone */
	bool bounced;	  /* this step's buffer is not the guest's */
	size_t done;	  /* bytes of the buffers that are done with */
	struct iovec iov[VIRTQUEUE_SEGMENTS_MAX];
	struct blk_request *next; /* of the free ones, or of those that wait */
};

struct blk_limits {
	uint64_t capacity;   /* bytes */
	uint32_t block_size; /* what a transfer's place and length are whole multiples of */
	bool read_only;
	const char *serial; /* BLK_SERIAL_LEN bytes */
};

/*
 * Understands request->chain. Returns 0, or -EPROTO when there is no place even for a status.
 * Everything else that is wrong becomes BLK_NONE and a result.
 */
int blk_request_parse(struct blk_request *request, const struct blk_limits *limits);

/* Sets request->iov to the buffers of the next step, at most max bytes; returns its length. */
unsigned int blk_request_buffers(struct blk_request *request, uint64_t max);

/*
 * Takes the outcome of a step: bytes done, or a negative errno. Returns true when the request is
 * finished; false when what is left, or another way to do it, is to be tried.
 */
bool blk_request_step_done(struct blk_request *request, int outcome);

#endif
