/*
 * How long it is worth while to look for work before waiting for it (common/loop.h). It grows while
 * work comes so soon after the wait began that looking longer would have found it, and shrinks when
 * it comes late. Who has looked for as long as may be, and found none though it came right after,
 * takes the CPU from whoever makes the work: that is not tried again for a while, the longer the
 * more often it was so.
 */
#ifndef COMMON_LOOK_TIME_H
#define COMMON_LOOK_TIME_H

#include <stdint.h>

/* Some wake-ups' worth: what comes later is cheaper waited for. */
#define LOOK_MAX_NS 50000u
#define LOOK_MIN_NS 4000u
/* Work that came by an event has the notification, the wake-up and itself in its time. */
#define LOOK_SOON_NS   (4 * LOOK_MAX_NS)
#define LOOK_PAUSE_MAX 1024u

/* Zeroes at the beginning. */
struct look_time {
	uint32_t ns;	/* to look; 0: not at all */
	uint32_t skips; /* events, before it is tried again */
	uint32_t pause; /* so many of them the next time */
};

/* Looking has found something. */
static inline void look_time_found(struct look_time *time)
{
	time->pause /= 2;
}

/* It was looked for all of ns, and none was found. */
static inline void look_time_in_vain(struct look_time *time)
{
	if (time->ns < LOOK_MAX_NS)
		return;
	time->ns = 0;
	time->pause = time->pause ? time->pause * 2 : 1;
	if (time->pause > LOOK_PAUSE_MAX)
		time->pause = LOOK_PAUSE_MAX;
	time->skips = time->pause;
}

/* Work came by an event, so long after the wait for it began. */
static inline void look_time_woken(struct look_time *time, uint64_t waited_ns)
{
	if (waited_ns >= LOOK_SOON_NS)
		time->ns = time->ns > LOOK_MIN_NS ? time->ns / 2 : 0;
	else if (time->skips)
		time->skips--;
	else
		time->ns = time->ns ? time->ns * 2 : LOOK_MIN_NS;
	if (time->ns > LOOK_MAX_NS)
		time->ns = LOOK_MAX_NS;
}

#endif
