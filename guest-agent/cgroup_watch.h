/*
 * What the kernel says about the container's cgroup without being asked: that all of it is frozen
 * or goes on, and that it has killed for want of memory.
 */
#ifndef GUEST_AGENT_CGROUP_WATCH_H
#define GUEST_AGENT_CGROUP_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/loop.h"

struct cgroup_watch_events {
	void (*frozen)(void *ctx, uint32_t request);
	void (*oom)(void *ctx, uint64_t kills);
};

struct cgroup_watch {
	const struct cgroup_watch_events *events;
	void *ctx;
	struct loop *loop;
	int cgroup_fd; /* not owned */
	int state_fd, memory_fd;
	struct loop_watch state_watch, memory_watch;
	uint32_t request; /* waits until the state is as it is wanted, 0: none */
	bool wanted;
	uint64_t oom_kills;
};

#define CGROUP_WATCH_INIT                       \
	{                                       \
		.state_fd = -1, .memory_fd = -1 \
	}

/* Returns 0 or -errno. The cgroup's descriptor must outlive the watch. */
int cgroup_watch_start(struct cgroup_watch *watch, struct loop *loop, int cgroup_fd,
		       const struct cgroup_watch_events *events, void *ctx, struct error *err);
void cgroup_watch_stop(struct cgroup_watch *watch);

/* Looks for kills that have not been told yet: before an end is told that they may explain. */
void cgroup_watch_check(struct cgroup_watch *watch);

/*
 * Freezes it, or lets it go on; frozen is called with the request once that is so for all of it.
 * Returns 0 or -errno.
 */
int cgroup_watch_freeze(struct cgroup_watch *watch, bool freeze, uint32_t request,
			struct error *err);

#endif
