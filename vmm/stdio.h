/* The streams of a process: which descriptor serves which vsock port, each once. */
#ifndef VMM_STDIO_H
#define VMM_STDIO_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "devices/vsock.h"
#include "protocol/protocol.h"

struct stdio {
	uint32_t process;
	int fds[PROTO_STREAMS]; /* -1 once given away, or for none */
	enum stdio_state { STDIO_WAITING, STDIO_OPEN, STDIO_CLOSED } states[PROTO_STREAMS];
	bool buffered[PROTO_STREAMS]; /* something waits for its descriptor */
	int terminal_fd; /* while a terminal's connection is open: to ask for its size; else -1 */
};

#define STDIO_INIT                                     \
	{                                              \
		.fds = {-1, -1, -1}, .terminal_fd = -1 \
	}

/*
 * For process 0. Takes the descriptors over. Those among 0, 1, 2 are replaced by /dev/null, because
 * who reads a stream's other end waits until the last copy of ours is closed.
 */
int stdio_take(struct stdio *stdio, const int fds[PROTO_STREAMS], struct error *err);

/* For a process of exec: takes three descriptors over, or one of a terminal. */
void stdio_adopt(struct stdio *stdio, uint32_t process, const int *fds, unsigned int count);
void stdio_destroy(struct stdio *stdio);

/* Returns 0, -ENOENT when the port is not one of ours, -ECONNREFUSED for a second time. */
int stdio_connect(struct stdio *stdio, uint32_t port, struct vsock_endpoint *endpoint);

/* The connection for this port is over. */
void stdio_closed(struct stdio *stdio, uint32_t port);

/* What is not connected by now will not be. */
void stdio_close_waiting(struct stdio *stdio);

void stdio_buffered(struct stdio *stdio, uint32_t port, bool buffered);

/* Whether something that was written before waits for a descriptor. */
bool stdio_has_output(const struct stdio *stdio);

/* Whether no output of the process is under way any more. */
bool stdio_drained(const struct stdio *stdio);

/* Whether the guest has any of the streams still open. */
bool stdio_is_open(const struct stdio *stdio);

/* The size of its terminal on the host. False when there is none, or it was never set. */
bool stdio_size(const struct stdio *stdio, struct proto_resize *size);

#endif
