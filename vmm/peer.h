/* One end of a stream of protocol frames, non-blocking, on a loop. */
#ifndef VMM_PEER_H
#define VMM_PEER_H

#include <stdbool.h>

#include "common/loop.h"
#include "protocol/protocol.h"

/* What a peer may leave unread before it is given up: four of the largest frames. */
#define PEER_OUT_MAX (4 * (size_t)PROTO_BODY_MAX)

struct peer;

/* The frame is valid during the call, in which the peer may be closed. */
typedef void peer_frame_fn(struct peer *peer, const struct proto_frame *frame);

/*
 * The connection is over: 0 for an end of file, else a negative errno (-EPROTO, -EMSGSIZE for
 * frames that break the rules). Comes once, last, and not for peer_destroy; the callee may free the
 * peer after destroying it.
 */
typedef void peer_gone_fn(struct peer *peer, int reason);

struct peer {
	struct loop *loop;
	struct loop_watch watch;
	int fd;
	struct proto_reader reader;
	uint8_t *out;
	size_t out_len;
	size_t out_size;
	peer_frame_fn *frame;
	peer_gone_fn *gone;
	bool open;
	bool dispatching;
	int reason;
};

/* Takes fd over on success. */
int peer_init(struct peer *peer, struct loop *loop, int fd, peer_frame_fn *frame,
	      peer_gone_fn *gone);
void peer_destroy(struct peer *peer);

/*
 * Sends a frame, later if it must be. Returns 0, or -ENOBUFS when too much waits already, -EPIPE
 * when the connection is over.
 */
int peer_send(struct peer *peer, enum proto_type type, uint32_t id, const void *body, size_t len);
int peer_send_error(struct peer *peer, uint32_t id, int code, const char *text);

/* Whether nothing waits to be sent. */
bool peer_flushed(const struct peer *peer);

/* Ends the connection with this reason: gone is called, at once or after the frame in hand. */
void peer_close(struct peer *peer, int reason);

#endif
