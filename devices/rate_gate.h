/*
 * A rate limit with a timer: closed while too much has passed, and says when it opens again. Used
 * under the device's lock, on the device's loop; set from any thread.
 */
#ifndef DEVICES_RATE_GATE_H
#define DEVICES_RATE_GATE_H

#include "common/loop.h"
#include "devices/rate_limit.h"

struct rate_gate;

/* On the loop, without the lock. The gate may close again at once. */
typedef void rate_gate_fn(struct rate_gate *gate);

struct rate_gate {
	struct rate_limit limit;
	struct loop *loop;
	rate_gate_fn *opened;
	int timer_fd; /* -1 until there is a limit */
	struct loop_watch watch;
};

void rate_gate_init(struct rate_gate *gate, struct loop *loop, rate_gate_fn *opened);
void rate_gate_destroy(struct rate_gate *gate);

/* What waits goes by the new rates at once. Returns 0 or a negative errno. */
int rate_gate_set(struct rate_gate *gate, struct rate bytes, struct rate operations);

/* Of one that has a limit. */
bool rate_gate_has_to_wait(struct rate_gate *gate);

/* Whether what comes has to wait; opened is called once it need not. */
static inline bool rate_gate_is_closed(struct rate_gate *gate)
{
	return rate_limit_is_set(&gate->limit) && rate_gate_has_to_wait(gate);
}

/* Who waits is called at once, and asks again. For when the answer may be another one now. */
void rate_gate_hurry(struct rate_gate *gate);

/* Something of so many bytes has passed. */
static inline void rate_gate_count(struct rate_gate *gate, uint64_t bytes)
{
	if (rate_limit_is_set(&gate->limit))
		rate_limit_take(&gate->limit, bytes);
}

#endif
