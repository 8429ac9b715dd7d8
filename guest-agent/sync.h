/*
 * What the agent and a process being set up tell each other, over a SOCK_SEQPACKET pair that the
 * exec closes: its end of file after SYNC_GO means that the exec succeeded.
 */
#ifndef GUEST_AGENT_SYNC_H
#define GUEST_AGENT_SYNC_H

#include "common/error.h"
#include "protocol/protocol.h"

enum sync_type {
	SYNC_MAPPED = 1, /* agent: the user namespace has its mappings */
	SYNC_GO,	 /* agent: on to the exec */
	SYNC_MASTER,	 /* process: carries the terminal's master */
	SYNC_READY,	 /* process: everything is set up, waiting for SYNC_GO */
	SYNC_FAILED,	 /* process: code and text say why; it exits */
};

struct sync_message {
	enum sync_type type;
	int code; /* positive errno */
	char text[PROTO_TEXT_MAX];
	int fd; /* SYNC_MASTER, else -1; the receiver's */
};

/* Returns 0 or -errno. */
int sync_send(int fd, enum sync_type type);
int sync_send_fd(int fd, enum sync_type type, int passed);

/* write(2) only: a seccomp filter may be in place that knows of no sendmsg. */
void sync_send_error(int fd, const struct error *err);

/* Returns 1 with *message filled in, 0 at the end of file, or -errno. */
int sync_receive(int fd, struct sync_message *message);

/* Waits for exactly this message; anything else is the agent's end. */
int sync_expect(int fd, enum sync_type type);

#endif
