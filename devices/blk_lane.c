/*
 * A disk's rates. Each direction has its own: what waits for one is taken out of the queue, so that
 * the other direction's requests behind it go on.
 */

#include "common/cleanup.h"
#include "devices/blk_internal.h"

/* Or NULL for what comes to nothing on the disk. */
static struct blk_lane *lane_of(struct blk *blk, const struct blk_request *request)
{
	if (request->op == BLK_NONE)
		return NULL;
	return &blk->lanes[request->op == BLK_READ ? BLK_LANE_READ : BLK_LANE_WRITE];
}

/* A discard moves no bytes, however long it is. */
static void pass(struct blk *blk, struct blk_lane *lane, struct blk_request *request)
{
	rate_gate_count(&lane->gate, request->hint ? 0 : request->len);
	blk_io_start(blk, request);
}

static struct blk_request *take_first(struct blk_lane *lane)
{
	struct blk_request *request = lane->first;

	if (request)
		lane->first = request->next;
	return request;
}

static void wait_behind(struct blk_lane *lane, struct blk_request *request)
{
	request->next = NULL;
	if (lane->first)
		lane->last->next = request;
	else
		lane->first = request;
	lane->last = request;
}

void blk_lane_start(struct blk *blk, struct blk_request *request)
{
	struct blk_lane *lane = lane_of(blk, request);

	if (!lane)
		blk_io_start(blk, request);
	else if (lane->first || rate_gate_is_closed(&lane->gate))
		wait_behind(lane, request);
	else
		pass(blk, lane, request);
}

/* A machine that comes to rest has nothing in flight: it is counted, but nothing waits. */
static void let_go(struct blk *blk, struct blk_lane *lane)
{
	while (lane->first && (blk->dev.held || !rate_gate_is_closed(&lane->gate)))
		pass(blk, lane, take_first(lane));
}

static void time_has_come(struct blk *blk, struct blk_lane *lane)
{
	pthread_mutex_lock(&blk->dev.lock);
	if (blk_is_served(blk)) {
		let_go(blk, lane);
		blk_io_submit(blk);
		/* Without io_uring some have been answered: their places are free. */
		if (blk->starved)
			blk_drain(blk);
		blk_interrupt(blk);
	}
	pthread_mutex_unlock(&blk->dev.lock);
}

static void reads_go_on(struct rate_gate *gate)
{
	struct blk *blk = container_of(gate, struct blk, lanes[BLK_LANE_READ].gate);

	time_has_come(blk, &blk->lanes[BLK_LANE_READ]);
}

static void writes_go_on(struct rate_gate *gate)
{
	struct blk *blk = container_of(gate, struct blk, lanes[BLK_LANE_WRITE].gate);

	time_has_come(blk, &blk->lanes[BLK_LANE_WRITE]);
}

void blk_lanes_clear(struct blk *blk)
{
	struct blk_request *request;

	for (unsigned int i = 0; i < BLK_LANES; i++) {
		struct blk_lane *lane = &blk->lanes[i];

		if (blk_is_served(blk) && lane->first)
			rate_gate_hurry(&lane->gate);
		/* A guest that resets its disk gets nothing done by it that its rate forbids. */
		while (!blk_is_served(blk) && (request = take_first(lane))) {
			request->result = VIRTIO_BLK_S_IOERR;
			blk_finish(blk, request);
		}
	}
}

int blk_limit(struct blk *blk, const struct rate reads[2], const struct rate writes[2],
	      struct error *err)
{
	int ret;

	pthread_mutex_lock(&blk->dev.lock);
	ret = rate_gate_set(&blk->lanes[BLK_LANE_READ].gate, reads[0], reads[1]);
	if (ret == 0)
		ret = rate_gate_set(&blk->lanes[BLK_LANE_WRITE].gate, writes[0], writes[1]);
	pthread_mutex_unlock(&blk->dev.lock);
	return ret < 0 ? error_set(err, -ret, "%s: timer", blk->dev.name) : 0;
}

void blk_lanes_init(struct blk *blk)
{
	rate_gate_init(&blk->lanes[BLK_LANE_READ].gate, &blk->thread->loop, reads_go_on);
	rate_gate_init(&blk->lanes[BLK_LANE_WRITE].gate, &blk->thread->loop, writes_go_on);
}

void blk_lanes_destroy(struct blk *blk)
{
	for (unsigned int i = 0; i < BLK_LANES; i++)
		rate_gate_destroy(&blk->lanes[i].gate);
}
