#include "devices/rate_gate.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/event.h"

void rate_gate_init(struct rate_gate *gate, struct loop *loop, rate_gate_fn *opened)
{
	*gate = (struct rate_gate){.loop = loop, .opened = opened, .timer_fd = -1};
}

void rate_gate_destroy(struct rate_gate *gate)
{
	if (!gate->loop)
		return;
	loop_del(gate->loop, &gate->watch);
	close_fd(&gate->timer_fd);
}

static void time_has_come(struct loop_watch *watch, uint32_t events)
{
	struct rate_gate *gate = container_of(watch, struct rate_gate, watch);

	(void)events;
	if (event_take(gate->timer_fd))
		gate->opened(gate);
}

int rate_gate_set(struct rate_gate *gate, struct rate bytes, struct rate operations)
{
	if (gate->timer_fd < 0)
		gate->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (gate->timer_fd < 0)
		return -errno;
	rate_limit_set(&gate->limit, bytes, operations, monotonic_ns());
	rate_gate_hurry(gate);
	return 0;
}

void rate_gate_hurry(struct rate_gate *gate)
{
	const struct itimerspec now = {.it_value.tv_nsec = 1};

	/* Nobody has ever waited before that. */
	if (gate->watch.active && timerfd_settime(gate->timer_fd, 0, &now, NULL) < 0)
		return;
}

bool rate_gate_has_to_wait(struct rate_gate *gate)
{
	struct itimerspec when = {0};
	uint64_t wait;

	wait = rate_limit_wait(&gate->limit, monotonic_ns());
	if (!wait)
		return false;
	when.it_value.tv_sec = (time_t)(wait / 1000000000u);
	when.it_value.tv_nsec = (long)(wait % 1000000000u);
	/* A loop is changed by its own thread only: that is this one. */
	if ((!gate->watch.active &&
	     loop_add(gate->loop, &gate->watch, gate->timer_fd, EPOLLIN, time_has_come) < 0) ||
	    timerfd_settime(gate->timer_fd, 0, &when, NULL) < 0)
		return false;
	return true;
}
