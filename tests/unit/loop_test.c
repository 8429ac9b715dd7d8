#include <check.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/clock.h"
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

static void add(struct loop *loop, struct worker *worker)
{
	worker->poll = (struct loop_poll){look, rest, NULL};
	worker->loop = loop;
	loop_poll_add(loop, &worker->poll);
}

/* As after work that came by an event; but for long, so that a busy machine comes to look. */
static void begin_to_look(struct loop *loop, uint32_t ns)
{
	loop->looking.time.ns = ns;
	loop->looking.until_ns = monotonic_ns() + 200000000;
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
	struct worker worker = {.work = 5, .rests_max = 1};
	struct loop loop;

	ck_assert_int_eq(loop_init(&loop), 0);
	add(&loop, &worker);
	begin_to_look(&loop, 20000);
	ck_assert_int_eq(loop_run(&loop), 0);
	ck_assert_uint_eq(worker.work, 0);
	ck_assert_uint_ge(worker.looks, 6);
	ck_assert_uint_eq(worker.rests, 1);
	ck_assert_uint_eq(loop.looking.time.ns, 20000);
	loop_destroy(&loop);
}
END_TEST

START_TEST(an_idle_loop_stops_looking)
{
	struct worker worker = {.rests_max = 1};
	struct loop loop;

	ck_assert_int_eq(loop_init(&loop), 0);
	add(&loop, &worker);
	begin_to_look(&loop, LOOK_MAX_NS);
	ck_assert_int_eq(loop_run(&loop), 0);
	ck_assert_uint_ge(worker.looks, 1);
	ck_assert_uint_eq(loop.looking.time.ns, 0);
	loop_destroy(&loop);
}
END_TEST

/* Work that never ends must not keep the rest from having its turn. */
START_TEST(others_have_their_turn_while_there_is_work)
{
	struct worker worker = {.work = UINT32_MAX};
	struct counter a = {0};
	struct loop loop;

	ck_assert_int_eq(loop_init(&loop), 0);
	a.loop = &loop;
	add(&loop, &worker);
	begin_to_look(&loop, 50000);
	ck_assert_int_eq(loop_add(&loop, &a.watch, ready_eventfd(), EPOLLIN, stop_when_called), 0);
	ck_assert_int_eq(loop_run(&loop), 0);
	ck_assert_int_ge(a.calls, 1);
	ck_assert_uint_eq(worker.rests, 0);
	close(a.watch.fd);
	loop_destroy(&loop);
}
END_TEST

/* Nor one that looks another one that does. */
START_TEST(all_that_look_have_their_turn)
{
	struct worker busy[2] = {{.work = UINT32_MAX}, {.work = UINT32_MAX}};
	struct worker other = {.work = 5};
	struct counter a = {0};
	struct loop loop;

	ck_assert_int_eq(loop_init(&loop), 0);
	a.loop = &loop;
	add(&loop, &busy[0]);
	add(&loop, &other);
	add(&loop, &busy[1]);
	begin_to_look(&loop, 50000);
	ck_assert_int_eq(loop_add(&loop, &a.watch, ready_eventfd(), EPOLLIN, stop_when_called), 0);
	ck_assert_int_eq(loop_run(&loop), 0);
	ck_assert_uint_eq(other.work, 0);
	ck_assert_uint_eq(other.looks, busy[0].looks);
	ck_assert_uint_eq(other.looks, busy[1].looks);
	close(a.watch.fd);
	loop_destroy(&loop);
}
END_TEST

/* On a shared loop others do not wait for the end of a look in vain. */
START_TEST(a_look_on_a_shared_loop_is_short)
{
	struct worker worker = {0};
	struct counter a = {0};
	struct loop loop;

	ck_assert_int_eq(loop_init(&loop), 0);
	loop.shared = true;
	a.loop = &loop;
	add(&loop, &worker);
	begin_to_look(&loop, 50000);
	loop.looking.until_ns = UINT64_MAX;
	ck_assert_int_eq(loop_add(&loop, &a.watch, ready_eventfd(), EPOLLIN, stop_when_called), 0);
	ck_assert_int_eq(loop_run(&loop), 0);
	ck_assert_int_ge(a.calls, 1);
	ck_assert_uint_ge(worker.looks, 1);
	ck_assert_uint_eq(worker.rests, 0);
	close(a.watch.fd);
	loop_destroy(&loop);
}
END_TEST

/* Its event is ready from the beginning on: so the wait for it is short. */
static void wake_up(struct worker *worker, loop_fn *fn)
{
	struct counter a = {0};
	struct loop loop;

	ck_assert_int_eq(loop_init(&loop), 0);
	a.loop = &loop;
	add(&loop, worker);
	ck_assert_int_eq(loop_add(&loop, &a.watch, ready_eventfd(), EPOLLIN, fn), 0);
	ck_assert_int_eq(loop_run(&loop), 0);
	ck_assert_int_ge(a.calls, 1);
	close(a.watch.fd);
	loop_destroy(&loop);
}

static void work_when_called(struct loop_watch *watch, uint32_t events)
{
	struct counter *counter = container_of(watch, struct counter, watch);
	uint64_t count;

	(void)events;
	counter->calls++;
	ck_assert_int_eq(read(watch->fd, &count, sizeof(count)), sizeof(count));
	loop_poll_worked(counter->loop);
}

START_TEST(only_work_that_is_looked_for_is_a_reason_to_look)
{
	struct worker idle = {0};
	unsigned int looks = 0;

	wake_up(&idle, stop_when_called);
	ck_assert_uint_eq(idle.looks, 0);
	ck_assert_uint_eq(idle.rests, 1);
	/* It rests before the wait, and after having looked. On a busy machine not every wait is
	 * short. */
	for (unsigned int i = 0; i < 100 && !looks; i++) {
		struct worker worker = {.rests_max = 2};

		wake_up(&worker, work_when_called);
		looks = worker.looks;
	}
	ck_assert_uint_ge(looks, 1);
}
END_TEST

START_TEST(who_has_gone_is_not_looked_at)
{
	struct worker gone = {.work = 1}, worker = {.rests_max = 1};
	struct loop loop;

	ck_assert_int_eq(loop_init(&loop), 0);
	add(&loop, &gone);
	add(&loop, &worker);
	loop_poll_del(&loop, &gone.poll);
	loop_poll_del(&loop, &gone.poll);
	begin_to_look(&loop, 4000);
	ck_assert_int_eq(loop_run(&loop), 0);
	ck_assert_uint_eq(gone.looks + gone.rests, 0);
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
	tcase_add_test(tcase, all_that_look_have_their_turn);
	tcase_add_test(tcase, a_look_on_a_shared_loop_is_short);
	tcase_add_test(tcase, only_work_that_is_looked_for_is_a_reason_to_look);
	tcase_add_test(tcase, who_has_gone_is_not_looked_at);
	suite_add_tcase(suite, tcase);
	return suite;
}
