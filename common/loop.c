#include "common/loop.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/clock.h"

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

#define POLL_A_TURN  16 /* pieces of work, then whatever else there is has its turn */
#define LOOKS_A_TIME 8	/* between two looks at the clock */
/* On a shared loop others have their turn after that. */
#define POLL_SHARED_NS 5000u

void loop_poll_add(struct loop *loop, struct loop_poll *poll)
{
	poll->next = loop->looking.first;
	loop->looking.first = poll;
}

void loop_poll_del(struct loop *loop, struct loop_poll *poll)
{
	struct loop_poll **link = &loop->looking.first;

	while (*link && *link != poll)
		link = &(*link)->next;
	if (*link)
		*link = poll->next;
}

/* Each once, however much the first of them finds. */
static bool look_at_all(struct loop *loop)
{
	bool some = false;

	for (struct loop_poll *poll = loop->looking.first; poll; poll = poll->next)
		some |= poll->look(poll);
	return some;
}

static bool look_a_while(struct loop *loop)
{
	for (unsigned int i = 0; i < LOOKS_A_TIME; i++) {
		if (look_at_all(loop))
			return true;
		__builtin_ia32_pause();
	}
	return false;
}

static bool all_rest(struct loop *loop)
{
	bool some = false;

	for (struct loop_poll *poll = loop->looking.first; poll; poll = poll->next)
		some |= poll->rest(poll);
	return some;
}

/* Returns whether the loop has something to do, so that it must not wait. */
static bool look_for_work(struct loop *loop)
{
	struct loop_looking *looking = &loop->looking;
	uint64_t now, turn_ends;
	unsigned int found = 0;

	if (looking->rested)
		return false;
	now = monotonic_ns();
	turn_ends = loop->shared ? now + POLL_SHARED_NS : UINT64_MAX;
	while (now < looking->until_ns && now < turn_ends && found < POLL_A_TURN) {
		bool some = look_a_while(loop);

		looking->looked = true;
		now = monotonic_ns();
		if (!some)
			continue;
		found++;
		if (!looking->found)
			look_time_found(&looking->time);
		looking->found = true;
		looking->until_ns = now + looking->time.ns;
	}
	if (now < looking->until_ns)
		return true;
	if (looking->looked && !looking->found)
		look_time_in_vain(&looking->time);
	looking->until_ns = 0;
	looking->rested = true;
	return all_rest(loop);
}

/* Has come by an event: it is looked for more. */
static void look_again(struct loop_looking *looking)
{
	uint64_t now = monotonic_ns();

	if (looking->waits_ns)
		look_time_woken(&looking->time, now - looking->waits_ns);
	looking->waits_ns = 0;
	looking->worked = looking->looked = looking->found = looking->rested = false;
	looking->until_ns = now + looking->time.ns;
}

static int step_and_look(struct loop *loop)
{
	struct loop_looking *looking = &loop->looking;
	bool must_wait = !look_for_work(loop);
	int ret;

	if (must_wait && !looking->waits_ns)
		looking->waits_ns = monotonic_ns();
	ret = loop_step(loop, must_wait ? -1 : 0);
	if (looking->worked)
		look_again(looking);
	return ret;
}

int loop_run(struct loop *loop)
{
	int ret = 0;

	loop->looking.runs = loop->looking.first != NULL;
	while (!loop->stopped && ret == 0)
		ret = loop->looking.runs ? step_and_look(loop) : loop_step(loop, -1);
	return ret;
}

void loop_stop(struct loop *loop)
{
	uint64_t one = 1;

	/* The counter cannot overflow in practice, and an already signalled loop stops anyway. */
	if (write(loop->stop_fd, &one, sizeof(one)) < 0)
		loop->stopped = true;
}
