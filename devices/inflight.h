/*
 * The record in which a vhost-user back end notes the requests that it has taken from a queue and
 * not answered yet (vhost-user, "Inflight I/O tracking"). When it dies, this is what tells who
 * still waits: the rings do not.
 *
 * The memory is ours and cannot shrink; what the back end writes there is bounded when it is read.
 */
#ifndef DEVICES_INFLIGHT_H
#define DEVICES_INFLIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/virtqueue.h"

struct inflight {
	int fd;
	uint8_t *bytes;
	size_t len;
	uint16_t queue_count, queue_size;
};

/* Returns 0 or a negative errno. */
int inflight_create(struct inflight *inflight, uint16_t queue_count, uint16_t queue_size);
void inflight_destroy(struct inflight *inflight);

/* Back to zero, for a back end that starts. */
void inflight_clear(struct inflight *inflight);

/* Whether the back end has taken up the record, once it was handed over. */
bool inflight_is_kept(const struct inflight *inflight);

/*
 * The heads of the requests of a queue that were taken and not answered; used_idx is the index in
 * the used ring. Returns how many, queue_size at most.
 */
unsigned int inflight_heads(const struct inflight *inflight, unsigned int queue, uint16_t used_idx,
			    uint16_t heads[VIRTQUEUE_SIZE_MAX]);

#endif
