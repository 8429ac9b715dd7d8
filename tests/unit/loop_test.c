#include <check.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/loop.h"
#include "tests/unit/suites.h"

struct counter {
	struct loop_watch watch;
	struct loop *loop;
	struct counter *victim; /* unwatched by the first callback */
	int calls;
};

static void count(struct loop_watch *watch, uint32_t events)
{
	struct counter *counter = container_of(watch, struct counter, watch);

	ck_assert(events & EPOLLIN);
	counter->calls++;
	if (counter->victim)
		loop_del(counter->loop, &counter->victim->watch);
}

static int ready_eventfd(void)
{
	int fd = eventfd(1, EFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	return fd;
}

START_TEST(a_watch_removed_in_the_batch_is_not_called)
{
	struct counter a = {0}, b = {0};
	struct loop loop;

	ck_assert_int_eq(loop_init(&loop), 0);
	a.loop = b.loop = &loop;
	a.victim = &b;
	b.victim = &a;
	ck_assert_int_eq(loop_add(&loop, &a.watch, ready_eventfd(), EPOLLIN, count), 0);
	ck_assert_int_eq(loop_add(&loop, &b.watch, ready_eventfd(), EPOLLIN, count), 0);
	ck_assert_int_eq(loop_step(&loop, 0), 0);
	ck_assert_int_eq(a.calls + b.calls, 1);
	close(a.watch.fd);
	close(b.watch.fd);
	loop_destroy(&loop);
}
END_TEST

START_TEST(stop_ends_the_run_and_mod_silences)
{
	struct counter a = {0};
	struct loop loop;

	ck_assert_int_eq(loop_init(&loop), 0);
	a.loop = &loop;
	ck_assert_int_eq(loop_add(&loop, &a.watch, ready_eventfd(), EPOLLIN, count), 0);
	ck_assert_int_eq(loop_mod(&loop, &a.watch, 0), 0);
	ck_assert_int_eq(loop_step(&loop, 0), 0);
	ck_assert_int_eq(a.calls, 0);
	loop_stop(&loop);
	ck_assert_int_eq(loop_run(&loop), 0);
	close(a.watch.fd);
	loop_destroy(&loop);
}
END_TEST

/* Finds some work, then none; ends the run when it is told to rest so often. */
struct worker {
	struct loop_poll poll;
	struct loop *loop;
	unsigned int work, looks, rests, rests_max;
};

static bool look(struct loop_poll *poll)
{
	struct worker *worker = container_of(poll, struct worker, poll);

	worker->looks++;
	if (!worker->work)
		return false;
	worker->work--;
	return true;
}

static bool rest(struct loop_poll *poll)
{
	struct worker *worker = container_of(poll, struct worker, poll);

	if (++worker->rests == worker->rests_max)
		loop_stop(worker->loop);
	return false;
}

static void stop_when_called(struct loop_watch *watch, uint32_t events)
{
	struct counter *counter = container_of(watch, struct counter, watch);

	(void)events;
	counter->calls++;
	loop_stop(counter->loop);
}

START_TEST(work_is_looked_for_before_a_wait)
{
	struct worker worker = {.poll = {look, rest, 20000}, .work = 5, .rests_max = 1};
	struct loop loop;

	ck_assert_int_eq(loop_init(&loop), 0);
	worker.loop = &loop;
	loop.poll = &worker.poll;
	ck_assert_int_eq(loop_run(&loop), 0);
	ck_assert_uint_eq(worker.work, 0);
	ck_assert_uint_ge(worker.looks, 6);
	ck_assert_uint_eq(worker.rests, 1);
	loop_destroy(&loop);
}
END_TEST

/* A wake-up that brings no work, long after: no reason to look any more. */
START_TEST(an_idle_loop_stops_looking)
{
	struct worker worker = {.poll = {look, rest, 4000}, .rests_max = 1};
	struct loop loop;

	ck_assert_int_eq(loop_init(&loop), 0);
	worker.loop = &loop;
	loop.poll = &worker.poll;
	ck_assert_int_eq(loop_run(&loop), 0);
	ck_assert_uint_ge(worker.looks, 1);
	ck_assert_uint_eq(worker.work, 0);
	/* Nothing while looking; the stop came at once, which lets it try again, a little. */
	ck_assert_uint_le(worker.poll.ns, 4000);
	loop_destroy(&loop);
}
END_TEST

/* Work that never ends must not keep the rest from having its turn. */
START_TEST(others_have_their_turn_while_there_is_work)
{
	struct worker worker = {.poll = {look, rest, 50000}, .work = UINT32_MAX};
	struct counter a = {0};
	struct loop loop;

	ck_assert_int_eq(loop_init(&loop), 0);
	a.loop = worker.loop = &loop;
	loop.poll = &worker.poll;
	ck_assert_int_eq(loop_add(&loop, &a.watch, ready_eventfd(), EPOLLIN, stop_when_called), 0);
	ck_assert_int_eq(loop_run(&loop), 0);
	ck_assert_int_ge(a.calls, 1);
	ck_assert_uint_eq(worker.rests, 0);
	close(a.watch.fd);
	loop_destroy(&loop);
}
END_TEST

Suite *loop_suite(void)
{
	Suite *suite = suite_create("loop");
	TCase *tcase = tcase_create("loop");

	tcase_add_test(tcase, a_watch_removed_in_the_batch_is_not_called);
	tcase_add_test(tcase, stop_ends_the_run_and_mod_silences);
	tcase_add_test(tcase, work_is_looked_for_before_a_wait);
	tcase_add_test(tcase, an_idle_loop_stops_looking);
	tcase_add_test(tcase, others_have_their_turn_while_there_is_work);
	suite_add_tcase(suite, tcase);
	return suite;
}
