/*
 * An epoll event loop. One thread runs a loop; watches belong to their owners, who embed them.
 * Only loop_stop may be called from another thread. Level-triggered.
 */
#ifndef COMMON_LOOP_H
#define COMMON_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

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
 * work: before it waits, look is called again and again for a time that adapts: it grows while work
 * comes so soon after the wait began that looking a little longer would have found it, and shrinks
 * to nothing while looking finds none. So an idle loop does not burn its CPU.
 */
struct loop_poll {
	/* Does what there is to do, if anything; returns whether there was. */
	bool (*look)(struct loop_poll *poll);
	/* Nothing came: has itself woken for what comes now. Returns whether something has come. */
	bool (*rest)(struct loop_poll *poll);
	uint32_t ns; /* how long is looked just now; 0: not at all */
};

#define LOOP_BATCH 32

struct loop {
	int epoll_fd;
	int stop_fd;
	bool stopped;
	struct epoll_event batch[LOOP_BATCH];
	int batch_count;
	struct loop_watch stop_watch;
	struct loop_poll *poll; /* NULL: it waits at once; not owned; set before loop_run */
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

/* Waits up to timeout_ms (-1: forever) and dispatches once. Returns 0 or a negative errno. */
int loop_step(struct loop *loop, int timeout_ms);

/* Dispatches until loop_stop. Returns 0 or a negative errno. */
int loop_run(struct loop *loop);

/* Makes loop_run return after the callback in progress; callable from any thread. */
void loop_stop(struct loop *loop);

/* The struct of type that contains member, given a pointer to the member. */
#define container_of(ptr, type, member) ((type *)((char *)(ptr) - __builtin_offsetof(type, member)))

#endif
