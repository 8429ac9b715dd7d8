/*
 * Joins one end inside the guest (a pipe's or a terminal's) to one vsock connection. Each direction
 * has a buffer of its own; a side that does not take its bytes stops the other side's reading, so
 * flow control works end to end. Ends as a pipe does: end of file goes on as end of file, a broken
 * pipe as a broken pipe.
 */
#ifndef GUEST_AGENT_STDIO_H
#define GUEST_AGENT_STDIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/loop.h"

enum channel_kind {
	CHANNEL_IN,   /* vsock -> workload */
	CHANNEL_OUT,  /* workload -> vsock */
	CHANNEL_BOTH, /* a terminal */
};

struct flow {
	uint8_t *buffer; /* NULL when this direction is not used */
	size_t start, used;
	bool ended;   /* the source has no more */
	bool drained; /* at the last look the source had nothing */
};

struct channel;
typedef void channel_fn(struct channel *channel);

struct channel {
	struct loop *loop;
	struct loop_watch local_watch, remote_watch;
	int local, remote; /* owned, non-blocking; -1 when closed */
	bool terminal;
	struct flow in, out;
	channel_fn *changed; /* after every step, also the last; may not free the channel */
};

/* Takes both descriptors, also when it fails. Returns 0 or -errno. */
int channel_open(struct channel *channel, struct loop *loop, enum channel_kind kind, int local,
		 int remote, channel_fn *changed);

/* Closes both ends. Harmless twice, and on zeroed memory that channel_init has seen. */
void channel_close(struct channel *channel);
void channel_init(struct channel *channel);

bool channel_is_open(const struct channel *channel);

/* Moves what can be moved now. */
void channel_pump(struct channel *channel);

/* Whether all output that was there has been accepted by the other side. */
bool channel_is_drained(const struct channel *channel);

#endif
