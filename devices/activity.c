#include "devices/activity.h"

#include <errno.h>
#include <stdint.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/event.h"

static void start_span(struct activity *activity)
{
	struct itimerspec when = {.it_value = {.tv_sec = activity->span_ms / 1000,
					       .tv_nsec = activity->span_ms % 1000 * 1000000}};

	timerfd_settime(activity->timer_fd, 0, &when, NULL);
}

/* Once is enough for a span: a busy queue does not wake us for each request. */
static void kicked(struct loop_watch *watch, uint32_t events)
{
	struct activity *activity = container_of(watch, struct activity, kick_watch);

	(void)events;
	if (activity->set_up) {
		activity->set_up = false;
		return;
	}
	loop_del(activity->loop, watch);
	start_span(activity);
}

static int watch_queue(struct activity *activity)
{
	activity->set_up = true;
	return loop_add(activity->loop, &activity->kick_watch, activity->kick_fd,
			EPOLLOUT | EPOLLET, kicked);
}

static void span_ends(struct loop_watch *watch, uint32_t events)
{
	struct activity *activity = container_of(watch, struct activity, timer_watch);
	uint64_t one = 1;

	(void)events;
	if (!event_take(activity->timer_fd))
		return;
	/* A full eventfd has been signalled. */
	if (write(activity->tell_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		return;
	if (activity->kick_fd >= 0 && !activity->kick_watch.active && watch_queue(activity) == 0)
		start_span(activity);
}

int activity_init(struct activity *activity, struct loop *loop, int tell_fd)
{
	*activity = (struct activity){.loop = loop,
				      .kick_fd = -1,
				      .timer_fd = -1,
				      .tell_fd = tell_fd,
				      .span_ms = ACTIVITY_SPAN_MS};
	activity->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (activity->timer_fd < 0)
		return -errno;
	return loop_add(loop, &activity->timer_watch, activity->timer_fd, EPOLLIN, span_ends);
}

int activity_begin(struct activity *activity, int kick_fd)
{
	int ret;

	if (activity->tell_fd < 0)
		return 0;
	activity->kick_fd = kick_fd;
	ret = watch_queue(activity);
	if (ret == 0)
		start_span(activity);
	return ret;
}

void activity_end(struct activity *activity)
{
	if (activity->tell_fd < 0)
		return;
	loop_del(activity->loop, &activity->kick_watch);
	activity->kick_fd = -1;
}

void activity_destroy(struct activity *activity)
{
	close_fd(&activity->timer_fd);
	close_fd(&activity->tell_fd);
}
