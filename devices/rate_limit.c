#include "devices/rate_limit.h"

#define SECOND 1000000000ull

static int64_t capacity(const struct rate_bucket *bucket)
{
	uint64_t most = bucket->rate.burst ? bucket->rate.burst : bucket->rate.per_second;

	return most > INT64_MAX ? INT64_MAX : (int64_t)most;
}

static void bucket_set(struct rate_bucket *bucket, struct rate rate, uint64_t now_ns)
{
	bucket->rate = rate;
	bucket->filled_ns = now_ns;
	bucket->tokens = capacity(bucket);
}

void rate_limit_set(struct rate_limit *limit, struct rate bytes, struct rate operations,
		    uint64_t now_ns)
{
	bucket_set(&limit->bytes, bytes, now_ns);
	bucket_set(&limit->operations, operations, now_ns);
}

static uint64_t bucket_wait(struct rate_bucket *bucket, uint64_t now_ns)
{
	unsigned __int128 rate = bucket->rate.per_second, added;

	if (!rate)
		return 0;
	added = rate * (now_ns - bucket->filled_ns) / SECOND;
	/* Time that was not worth a whole token yet goes on to count. */
	if (added) {
		unsigned __int128 room =
			(unsigned __int128)((__int128)capacity(bucket) - bucket->tokens);

		bucket->filled_ns += (uint64_t)(added * SECOND / rate);
		bucket->tokens += (int64_t)(added < room ? added : room);
	}
	if (bucket->tokens > 0)
		return 0;
	return (uint64_t)(((unsigned __int128)(1 - (__int128)bucket->tokens) * SECOND + rate - 1) /
			  rate);
}

uint64_t rate_limit_wait(struct rate_limit *limit, uint64_t now_ns)
{
	uint64_t bytes = bucket_wait(&limit->bytes, now_ns);
	uint64_t operations = bucket_wait(&limit->operations, now_ns);

	return bytes > operations ? bytes : operations;
}

static void bucket_take(struct rate_bucket *bucket, uint64_t count)
{
	if (bucket->rate.per_second)
		bucket->tokens -= (int64_t)(count > INT32_MAX ? INT32_MAX : count);
}

void rate_limit_take(struct rate_limit *limit, uint64_t bytes)
{
	bucket_take(&limit->bytes, bytes);
	bucket_take(&limit->operations, 1);
}
