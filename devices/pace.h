/*
 * Whether a device's thread should give way to who makes its work, on a single CPU (io_thread.h).
 * There it is woken for the first packet of a stream, has the CPU at once, does that one packet and
 * sleeps again: a switch there and back for each. If it lets the other go on, it finds many. But
 * who waits for an answer, waits for longer then.
 *
 * So it is a matter of which it is, and that shows: requests and answers take turns, while a stream
 * comes the same way again and again, or in large packets. Finds the thread that has given way
 * nothing more than before, then it was none, and it takes twice as many wake-ups to believe it
 * again.
 */
#ifndef DEVICES_PACE_H
#define DEVICES_PACE_H

#include <stdbool.h>
#include <stdint.h>

enum pace_way { PACE_OUT, PACE_IN };

#define PACE_PAUSE_NS  20000000u /* without a packet of it, then a stream is over */
#define PACE_WAKES_MIN 4u	 /* that are few before it gives way */
#define PACE_DOUBLINGS 8u	 /* of that, at most */
#define PACE_FEW       2u	 /* packets */
#define PACE_LARGE     8192u
/* Wake-ups for a single packet, more than for several, before it ends. */
#define PACE_DISAPPOINTED 4u

/* Zeroes at the beginning. */
struct pace {
	bool gives_way;
	enum pace_way way; /* of the last wake-up; while it gives way, of the stream */
	bool large;	   /* the last one's packets together */
	uint64_t last_ns;  /* the last one; while it gives way, of the stream */
	uint32_t wakes;	   /* for few packets of what looks like a stream */
	uint32_t doublings;
	uint32_t disappointed;
};

/* Now, by CLOCK_MONOTONIC, so many packets, 1 or more, of so many bytes in all, were found. */
static inline void pace_woken(struct pace *pace, uint64_t now, enum pace_way way,
			      unsigned int count, uint64_t bytes)
{
	bool large = bytes >= PACE_LARGE, turned = way != pace->way;

	if (pace->gives_way && now - pace->last_ns > PACE_PAUSE_NS) {
		pace->gives_way = false;
		pace->wakes = 0;
	}
	if (pace->gives_way) {
		if (turned)
			return;
		pace->last_ns = now;
		if (count > 1) {
			if (pace->disappointed)
				pace->disappointed--;
			else if (pace->doublings)
				pace->doublings--;
		} else if (++pace->disappointed > PACE_DISAPPOINTED) {
			pace->gives_way = false;
			pace->wakes = 0;
			if (pace->doublings < PACE_DOUBLINGS)
				pace->doublings++;
		}
		return;
	}
	/* What comes back for large ones are acknowledgements. */
	if (turned && !large && pace->large)
		return;
	if (count > PACE_FEW || (turned && !large))
		pace->wakes = 0;
	else if (++pace->wakes >= PACE_WAKES_MIN << pace->doublings)
		pace->gives_way = true;
	pace->disappointed = 0;
	pace->last_ns = now;
	pace->way = way;
	pace->large = large;
}

#endif
