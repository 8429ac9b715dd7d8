/*
 * Tells another process some time after a back end has taken requests out of a queue: for who must
 * know that something may have changed, without waking up while nothing does.
 *
 * What the back end takes it is told of by an eventfd, which becomes writable when it reads that:
 * so the event is there to see however fast it was. One that arrives while the watch is set up is
 * not told from that, and for one that has just been taken it would be too early to tell; so each
 * span is followed by another one, and it is told at the end of both.
 */
#ifndef DEVICES_ACTIVITY_H
#define DEVICES_ACTIVITY_H

#include "common/loop.h"

#define ACTIVITY_SPAN_MS 1000

struct activity {
	struct loop *loop;
	struct loop_watch kick_watch, timer_watch;
	int kick_fd;	       /* not owned */
	int timer_fd, tell_fd; /* -1: nobody wants to know */
	bool set_up;	       /* the next event is the watch's own */
	unsigned int span_ms;  /* set by activity_init */
};

#define ACTIVITY_INIT                         \
	{                                     \
		.timer_fd = -1, .tell_fd = -1 \
	}

/* tell_fd, an eventfd, is taken over. The other functions run in the loop's thread. */
int activity_init(struct activity *activity, struct loop *loop, int tell_fd);

/* From now on kick_fd is read by a back end; until activity_end, which comes before its close. */
int activity_begin(struct activity *activity, int kick_fd);
void activity_end(struct activity *activity);

/* When the loop does not run any more. */
void activity_destroy(struct activity *activity);

#endif
