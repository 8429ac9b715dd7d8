/*
 * An epoll event loop. One thread runs a loop; watches belong to their owners, who embed them.
 * Only loop_stop may be called from another thread. Level-triggered, unless a watch asks for
 * EPOLLET.
 */
#ifndef COMMON_LOOP_H
#define COMMON_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "common/look_time.h"

struct loop_watch;

/* events: EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP as they came. */
typedef void loop_fn(struct loop_watch *watch, uint32_t events);

struct loop_watch {
	int fd; /* not owned */
	uint32_t events;
	loop_fn *fn;
	bool active;
};

/*
 * Looking instead of waiting, for a loop_run of who does not want to be woken for each piece of
 * work: before it waits, look is called again and again for a time that adapts (look_time.h). So an
 * idle loop does not burn its CPU. Of several all are looked at in turn, and who does not look has
 * its turn in between.
 */
struct loop_poll {
	/* Does what there is to do, if anything; returns whether there was. */
	bool (*look)(struct loop_poll *poll);
	/* Nothing came: has itself woken for what comes now. Returns whether something has come. */
	bool (*rest)(struct loop_poll *poll);
	struct loop_poll *next; /* the loop's */
};

/* How the loop looks just now. Times by CLOCK_MONOTONIC. */
struct loop_looking {
	struct loop_poll *first; /* NULL: it waits at once */
	struct look_time time;	 /* how long */
	uint64_t until_ns;	 /* in vain, from the last work on */
	uint64_t waits_ns;	 /* since when it waits for such work; 0: it does not */
	bool worked;		 /* loop_poll_worked, since it was last asked */
	bool rested;		 /* all of them, and none has worked since */
	bool looked, found;	 /* since it last began to */
	bool runs;		 /* by loop_run: it looks, and lets them rest before it waits */
};

#define LOOP_BATCH 32

struct loop {
	int epoll_fd;
	int stop_fd;
	bool stopped;
	struct epoll_event batch[LOOP_BATCH];
	int batch_count;
	struct loop_watch stop_watch;
	struct loop_looking looking;
	bool shared; /* by who looks with others: they have their turn soon; set before loop_run */
};

/* Returns 0 or a negative errno. */
int loop_init(struct loop *loop);
void loop_destroy(struct loop *loop);

/*
 * Starts watching fd. The watch must stay where it is until loop_del. events may be 0: errors and
 * hang-ups are reported all the same. Returns 0 or a negative errno.
 */
int loop_add(struct loop *loop, struct loop_watch *watch, int fd, uint32_t events, loop_fn *fn);

/* Changes what is waited for; cheap when nothing changes. */
int loop_mod(struct loop *loop, struct loop_watch *watch, uint32_t events);

/*
 * Stops watching; no callback for this watch comes afterwards, not even from the batch being
 * dispatched, so the caller may free it. Must come before the fd is closed. Harmless twice.
 */
void loop_del(struct loop *loop, struct loop_watch *watch);

/*
 * poll stays the caller's and where it is, until loop_poll_del. Both while the loop does not run.
 */
void loop_poll_add(struct loop *loop, struct loop_poll *poll);
void loop_poll_del(struct loop *loop, struct loop_poll *poll);

/* Who looks was woken for work, by an event: on the loop. What wakes others is no reason to look.
 */
static inline void loop_poll_worked(struct loop *loop)
{
	loop->looking.worked = true;
}

/* Whether they are let rest, before it waits, after they have worked. */
static inline bool loop_poll_runs(const struct loop *loop)
{
	return loop->looking.runs;
}

/* Waits up to timeout_ms (-1: forever) and dispatches once. Returns 0 or a negative errno. */
int loop_step(struct loop *loop, int timeout_ms);

/* Dispatches until loop_stop. Returns 0 or a negative errno. */
int loop_run(struct loop *loop);

/* Makes loop_run return after the callback in progress; callable from any thread. */
void loop_stop(struct loop *loop);

/* The struct of type that contains member, given a pointer to the member. */
#define container_of(ptr, type, member) ((type *)((char *)(ptr) - __builtin_offsetof(type, member)))

#endif
