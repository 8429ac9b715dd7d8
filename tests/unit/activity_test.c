#include <check.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "devices/activity.h"
#include "tests/unit/suites.h"

#define SPAN_MS	 30
#define QUIET_MS (4 * SPAN_MS)

static struct loop loop;
static struct activity activity;
static int kick_fd, tell_fd;

static void setup(void)
{
	ck_assert_int_eq(loop_init(&loop), 0);
	kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	tell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ck_assert_int_eq(activity_init(&activity, &loop, dup(tell_fd)), 0);
	activity.span_ms = SPAN_MS;
	ck_assert_int_eq(activity_begin(&activity, kick_fd), 0);
}

static void teardown(void)
{
	activity_end(&activity);
	loop_destroy(&loop);
	activity_destroy(&activity);
	close(kick_fd);
	close(tell_fd);
}

/* The driver's kick, and a back end that is faster than we are. */
static void work(unsigned int times)
{
	uint64_t count = 1;

	while (times-- > 0) {
		ck_assert_int_eq(write(kick_fd, &count, sizeof(count)), sizeof(count));
		ck_assert_int_eq(read(kick_fd, &count, sizeof(count)), sizeof(count));
	}
}

/* How often it was told until nothing has woken the loop for a while. */
static unsigned int told(void)
{
	unsigned int total = 0, wakes = 0;
	uint64_t count;

	for (;;) {
		/* This does not take the event. */
		struct pollfd waiting = {.fd = loop.epoll_fd, .events = POLLIN};

		if (poll(&waiting, 1, QUIET_MS) == 0)
			return total;
		ck_assert_uint_lt(wakes++, 20);
		ck_assert_int_eq(loop_step(&loop, 0), 0);
		if (read(tell_fd, &count, sizeof(count)) > 0)
			total += (unsigned int)count;
	}
}

START_TEST(is_told_after_work_and_sleeps_without)
{
	/* What came while the watch was set up. */
	ck_assert_uint_eq(told(), 1);
	ck_assert_uint_eq(told(), 0);
	work(1);
	ck_assert_uint_eq(told(), 2);
	ck_assert_uint_eq(told(), 0);
}
END_TEST

START_TEST(much_work_is_told_once_a_span)
{
	told();
	work(1000);
	ck_assert_uint_eq(told(), 2);
	/* Within the span that follows the first one: another two. */
	work(1);
	while (activity.kick_watch.active)
		ck_assert_int_eq(loop_step(&loop, -1), 0);
	while (!activity.kick_watch.active)
		ck_assert_int_eq(loop_step(&loop, -1), 0);
	ck_assert_int_eq(loop_step(&loop, 0), 0); /* the watch's own event */
	work(1);
	ck_assert_uint_eq(told(), 3);
}
END_TEST

START_TEST(nothing_is_watched_after_the_end)
{
	told();
	work(1);
	activity_end(&activity);
	work(10);
	ck_assert_uint_le(told(), 1);
	ck_assert(!activity.kick_watch.active);
	ck_assert_int_eq(activity_begin(&activity, kick_fd), 0);
	ck_assert_uint_eq(told(), 1);
	work(1);
	ck_assert_uint_eq(told(), 2);
}
END_TEST

Suite *activity_suite(void)
{
	Suite *suite = suite_create("activity");
	TCase *tc = tcase_create("activity");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, is_told_after_work_and_sleeps_without);
	tcase_add_test(tc, much_work_is_told_once_a_span);
	tcase_add_test(tc, nothing_is_watched_after_the_end);
	suite_add_tcase(suite, tc);
	return suite;
}
