/*
 * Token buckets: how many bytes and operations a second a device lets pass, and how many at once
 * after a rest. Plain data; callers hold their device's lock and give the time (CLOCK_MONOTONIC).
 */
#ifndef DEVICES_RATE_LIMIT_H
#define DEVICES_RATE_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

struct rate {
	uint64_t per_second; /* 0: no limit */
	uint64_t burst;	     /* 0: as many as in a second */
};

struct rate_bucket {
	struct rate rate;
	int64_t tokens; /* negative: what was let pass on credit */
	uint64_t filled_ns;
};

struct rate_limit {
	struct rate_bucket bytes;
	struct rate_bucket operations;
};

/* Sets new rates; both buckets are full afterwards. */
void rate_limit_set(struct rate_limit *limit, struct rate bytes, struct rate operations,
		    uint64_t now_ns);

static inline bool rate_limit_is_set(const struct rate_limit *limit)
{
	return limit->bytes.rate.per_second || limit->operations.rate.per_second;
}

/*
 * Returns 0 when something may pass now, else in how many nanoseconds it may. What passes is
 * counted by rate_limit_take, however much it is: so nothing is too large to ever pass.
 */
uint64_t rate_limit_wait(struct rate_limit *limit, uint64_t now_ns);
void rate_limit_take(struct rate_limit *limit, uint64_t bytes);

#endif
