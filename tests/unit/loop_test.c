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

Suite *loop_suite(void)
{
	Suite *suite = suite_create("loop");
	TCase *tcase = tcase_create("loop");

	tcase_add_test(tcase, a_watch_removed_in_the_batch_is_not_called);
	tcase_add_test(tcase, stop_ends_the_run_and_mod_silences);
	suite_add_tcase(suite, tcase);
	return suite;
}
