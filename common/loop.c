#include "common/loop.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

static void stop_requested(struct loop_watch *watch, uint32_t events)
{
	struct loop *loop = container_of(watch, struct loop, stop_watch);

	(void)events;
	loop->stopped = true;
}

int loop_init(struct loop *loop)
{
	int ret;

	memset(loop, 0, sizeof(*loop));
	loop->stop_fd = -1;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0)
		return -errno;
	loop->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->stop_fd < 0)
		ret = -errno;
	else
		ret = loop_add(loop, &loop->stop_watch, loop->stop_fd, EPOLLIN, stop_requested);
	if (ret < 0)
		loop_destroy(loop);
	return ret;
}

void loop_destroy(struct loop *loop)
{
	if (loop->stop_fd >= 0)
		close(loop->stop_fd);
	if (loop->epoll_fd >= 0)
		close(loop->epoll_fd);
	loop->stop_fd = -1;
	loop->epoll_fd = -1;
}

int loop_add(struct loop *loop, struct loop_watch *watch, int fd, uint32_t events, loop_fn *fn)
{
	struct epoll_event event = {.events = events, .data.ptr = watch};

	watch->fd = fd;
	watch->events = events;
	watch->fn = fn;
	watch->active = false;
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		return -errno;
	watch->active = true;
	return 0;
}

int loop_mod(struct loop *loop, struct loop_watch *watch, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = watch};

	if (!watch->active)
		return -EBADF;
	if (watch->events == events)
		return 0;
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event) < 0)
		return -errno;
	watch->events = events;
	return 0;
}

void loop_del(struct loop *loop, struct loop_watch *watch)
{
	if (!watch->active)
		return;
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
	watch->active = false;
	/* The watch may be freed now, so the batch under way must forget it. */
	for (int i = 0; i < loop->batch_count; i++)
		if (loop->batch[i].data.ptr == watch)
			loop->batch[i].data.ptr = NULL;
}

int loop_step(struct loop *loop, int timeout_ms)
{
	int count = epoll_wait(loop->epoll_fd, loop->batch, LOOP_BATCH, timeout_ms);

	if (count < 0)
		return errno == EINTR ? 0 : -errno;
	loop->batch_count = count;
	for (int i = 0; i < count; i++) {
		struct loop_watch *watch = loop->batch[i].data.ptr;

		if (watch)
			watch->fn(watch, loop->batch[i].events);
	}
	loop->batch_count = 0;
	return 0;
}

/*
 * Some wake-ups' worth: what comes later is cheaper waited for. Work that came by a wake-up has the
 * notification, the wake-up and the work itself in its time: so it is tried for what seems later.
 */
#define POLL_MAX_NS  50000u
#define POLL_MIN_NS  4000u
#define POLL_TRY_NS  (4 * POLL_MAX_NS)
#define POLL_A_TURN  16 /* pieces of work, then whatever else there is has its turn */
#define LOOKS_A_TIME 8	/* between two looks at the clock */

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static bool look_a_while(struct loop_poll *poll)
{
	for (unsigned int i = 0; i < LOOKS_A_TIME; i++) {
		if (poll->look(poll))
			return true;
		__builtin_ia32_pause();
	}
	return false;
}

/* Returns whether the loop has something to do, so that it must not wait. */
static bool poll_for_work(struct loop_poll *poll)
{
	uint64_t end = now_ns() + poll->ns;
	unsigned int found = 0;

	while (poll->ns && found < POLL_A_TURN) {
		if (look_a_while(poll)) {
			found++;
			end = now_ns() + poll->ns;
		} else if (now_ns() >= end) {
			break;
		}
	}
	if (!found)
		poll->ns = poll->ns > POLL_MIN_NS ? poll->ns / 2 : 0;
	return found == POLL_A_TURN || poll->rest(poll);
}

static int wait_and_adapt(struct loop *loop, struct loop_poll *poll)
{
	uint64_t start = now_ns();
	int ret = loop_step(loop, -1);

	if (now_ns() - start < POLL_TRY_NS)
		poll->ns = poll->ns ? poll->ns * 2 : POLL_MIN_NS;
	if (poll->ns > POLL_MAX_NS)
		poll->ns = POLL_MAX_NS;
	return ret;
}

int loop_run(struct loop *loop)
{
	int ret = 0;

	while (!loop->stopped && ret == 0) {
		if (!loop->poll)
			ret = loop_step(loop, -1);
		else if (poll_for_work(loop->poll))
			ret = loop_step(loop, 0);
		else
			ret = wait_and_adapt(loop, loop->poll);
	}
	return ret;
}

void loop_stop(struct loop *loop)
{
	uint64_t one = 1;

	/* The counter cannot overflow in practice, and an already signalled loop stops anyway. */
	if (write(loop->stop_fd, &one, sizeof(one)) < 0)
		loop->stopped = true;
}
