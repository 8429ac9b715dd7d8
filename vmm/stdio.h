/* The streams of process 0: which descriptor serves which vsock port, each once. */
#ifndef VMM_STDIO_H
#define VMM_STDIO_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "devices/vsock.h"
#include "protocol/protocol.h"

struct stdio {
	int fds[PROTO_STREAMS]; /* -1 once given away */
	enum stdio_state { STDIO_WAITING, STDIO_OPEN, STDIO_CLOSED } states[PROTO_STREAMS];
};

/*
 * Takes the descriptors over. Those among 0, 1, 2 are replaced by /dev/null, because who reads a
 * stream's other end waits until the last copy of ours is closed.
 */
int stdio_take(struct stdio *stdio, const int fds[PROTO_STREAMS], struct error *err);
void stdio_destroy(struct stdio *stdio);

/* Returns 0, -ENOENT when the port is not one of ours, -ECONNREFUSED for a second time. */
int stdio_connect(struct stdio *stdio, uint32_t port, struct vsock_endpoint *endpoint);

/* The connection for this port is over. */
void stdio_closed(struct stdio *stdio, uint32_t port);

/* Whether no output of process 0 is under way any more. */
bool stdio_drained(const struct stdio *stdio);

#endif
