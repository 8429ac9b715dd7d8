/* One connection to a VMM's control socket, every request with a time limit. */
#ifndef RUNTIME_CONTROL_CLIENT_H
#define RUNTIME_CONTROL_CLIENT_H

#include "common/error.h"

#include <sys/types.h>

#include "protocol/protocol.h"

struct control {
	int fd;
	int interrupt_fd; /* signalfd: when it is readable a request ends with -EINTR; -1: none */
	uint32_t last_id;
	struct proto_reader reader;
};

#define CONTROL_INIT                         \
	{                                    \
		.fd = -1, .interrupt_fd = -1 \
	}

/* Connects to the socket in a state folder. */
int control_connect(struct control *control, int dir_fd, struct error *err);

/* Takes a connected socket. */
void control_adopt(struct control *control, int fd);
void control_close(struct control *control);

/*
 * Sends a request and waits for its answer, at most timeout_ms (-1: for ever). Returns 0 with
 * *reply (may be NULL) filled in, or a negative errno; the text of an ERROR becomes err's message.
 */
int control_request(struct control *control, enum proto_type type, const void *body,
		    size_t body_len, int timeout_ms, struct proto_frame *reply, struct error *err);

/* Descriptors that go with a request; they stay the caller's. */
struct control_fds {
	const int *fds;
	unsigned int count; /* at most PROTO_FDS_MAX */
};

/* The same with descriptors; fds may be NULL. */
int control_request_fds(struct control *control, enum proto_type type, const void *body,
			size_t body_len, const struct control_fds *fds, int timeout_ms,
			struct proto_frame *reply, struct error *err);

/* ATTACH: gives a device of the VMM a back end, as the kind says. parameters are in wire order. */
int control_attach(struct control *control, enum proto_attach_kind kind, uint32_t index,
		   const void *parameters, size_t len, const struct control_fds *fds,
		   struct error *err);

/* Sends a request without waiting; *id gets what the reply will carry. */
int control_post(struct control *control, enum proto_type type, const void *body, size_t body_len,
		 uint32_t *id, struct error *err);

int control_status(struct control *control, struct proto_status *status, int timeout_ms,
		   struct error *err);
int control_signal(struct control *control, int signal, bool all, int timeout_ms,
		   struct error *err);

/* Turns a reply into 0 or an error. */
int control_check(const struct proto_frame *reply, struct error *err);

#endif
