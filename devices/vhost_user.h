/*
 * vhost-user, the front end's side (QEMU's docs/interop/vhost-user): another process serves a
 * device's queues, and is told over a Unix socket where they are. Memory and queues are named to
 * it by guest addresses: it learns nothing of where ours are mapped.
 *
 * The back end is not trusted: of what it says only the replies that were asked for are read, each
 * of one known length; descriptors that it sends are closed. All calls wait, VHOST_USER_TIMEOUT_MS
 * at most for each reply; after a failure the connection is of no use any more.
 */
#ifndef DEVICES_VHOST_USER_H
#define DEVICES_VHOST_USER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "devices/guest_memory.h"
#include "devices/virtqueue.h"

#define VHOST_USER_TIMEOUT_MS 10000

/* Protocol features. */
#define VHOST_USER_MQ	    (1ull << 0)
#define VHOST_USER_ACK	    (1ull << 3)	 /* REPLY_ACK */
#define VHOST_USER_INFLIGHT (1ull << 12) /* INFLIGHT_SHMFD */
#define VHOST_USER_REGIONS  (1ull << 15) /* CONFIGURE_MEM_SLOTS */

/* Regions of memory that any back end has places for; of libvhost-user it is the number. */
#define VHOST_USER_REGIONS_MAX 32

struct vhost_user {
	int fd; /* not owned */
	const char *name;
	int timeout_ms;
	uint64_t features; /* of the device, as the back end offers them */
	uint64_t protocol; /* agreed upon */
	/* Memory that it has been told of: bytes of each region, and in how many pieces. */
	uint64_t told[GUEST_MEMORY_REGIONS_MAX];
	unsigned int pieces;
};

/* fd: a connected stream socket; it is made non-blocking. name is for messages. */
int vhost_user_init(struct vhost_user *vu, int fd, const char *name, struct error *err);

/*
 * Makes acquaintance: features, and that it serves queue_count queues. unsaid are protocol features
 * that this back end is known to have although it does not offer them.
 */
int vhost_user_open(struct vhost_user *vu, unsigned int queue_count, uint64_t unsaid,
		    struct error *err);

/* The features that the driver accepted, and all guest memory, which must be file-backed. */
int vhost_user_configure(struct vhost_user *vu, uint64_t features, const struct guest_memory *mem,
			 struct error *err);

/*
 * Memory that has come to regions since then, a piece for each, while it goes on with its requests.
 * Only where it can be told so.
 */
int vhost_user_more_memory(struct vhost_user *vu, const struct guest_memory *mem,
			   struct error *err);
bool vhost_user_takes_memory(const struct vhost_user *vu);

/*
 * The back end notes in this memory, len zeroed bytes of fd, which requests it has taken and not
 * answered. See inflight.h. Before the first vring is started.
 */
int vhost_user_set_inflight(struct vhost_user *vu, int fd, uint64_t len, uint16_t queue_count,
			    uint16_t queue_size, struct error *err);

/* A ready queue goes to the back end; kick_fd and call_fd are eventfds. */
int vhost_user_vring_start(struct vhost_user *vu, uint32_t index, const struct virtqueue *vq,
			   int kick_fd, int call_fd, struct error *err);

/* Takes it back, with nothing in flight. *next_avail is the next entry to be taken. */
int vhost_user_vring_stop(struct vhost_user *vu, uint32_t index, uint16_t *next_avail,
			  struct error *err);

#endif
