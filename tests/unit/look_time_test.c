#include <check.h>

#include "common/look_time.h"
#include "tests/unit/suites.h"

/* So many events come soon after the wait, each after a look in vain. Returns how many looks. */
static unsigned int looks_in_vain(struct look_time *time, unsigned int events)
{
	unsigned int looks = 0;

	for (unsigned int i = 0; i < events; i++) {
		looks += time->ns > 0;
		look_time_in_vain(time);
		look_time_woken(time, 1000);
	}
	return looks;
}

START_TEST(it_grows_while_work_comes_soon)
{
	struct look_time time = {0};

	look_time_woken(&time, 1000);
	ck_assert_uint_eq(time.ns, LOOK_MIN_NS);
	look_time_in_vain(&time);
	look_time_woken(&time, LOOK_SOON_NS - 1);
	ck_assert_uint_eq(time.ns, 2 * LOOK_MIN_NS);
	for (unsigned int i = 0; i < 20; i++)
		look_time_woken(&time, 1000);
	ck_assert_uint_eq(time.ns, LOOK_MAX_NS);
}
END_TEST

START_TEST(it_ends_while_work_comes_late)
{
	struct look_time time = {.ns = LOOK_MAX_NS};
	unsigned int events = 0;

	for (; time.ns; events++)
		look_time_woken(&time, LOOK_SOON_NS);
	ck_assert_uint_le(events, 5);
	look_time_woken(&time, LOOK_SOON_NS);
	ck_assert_uint_eq(time.ns, 0);
}
END_TEST

/* Whoever makes the work has no CPU meanwhile: of many events hardly one is looked for. */
START_TEST(what_is_never_found_is_seldom_looked_for)
{
	struct look_time time = {0};

	ck_assert_uint_ge(looks_in_vain(&time, 8), 4);
	looks_in_vain(&time, 4000);
	ck_assert_uint_le(looks_in_vain(&time, LOOK_PAUSE_MAX), 6);
	ck_assert_uint_ge(looks_in_vain(&time, LOOK_PAUSE_MAX + 1), 1);
}
END_TEST

/* Once it is found the pauses are short again, and looks of which one finds some are none in vain.
 */
START_TEST(what_is_found_is_looked_for_again)
{
	struct look_time time = {0};

	looks_in_vain(&time, 4000);
	ck_assert_uint_eq(time.pause, LOOK_PAUSE_MAX);
	while (time.pause)
		look_time_found(&time);
	look_time_in_vain(&time);
	looks_in_vain(&time, LOOK_PAUSE_MAX);
	ck_assert_uint_lt(time.pause, LOOK_PAUSE_MAX);
	time = (struct look_time){.ns = LOOK_MAX_NS, .pause = 8};
	look_time_found(&time);
	look_time_woken(&time, 1000);
	ck_assert_uint_eq(time.ns, LOOK_MAX_NS);
	ck_assert_uint_eq(time.pause, 4);
}
END_TEST

Suite *look_time_suite(void)
{
	Suite *suite = suite_create("look_time");
	TCase *tcase = tcase_create("look_time");

	tcase_add_test(tcase, it_grows_while_work_comes_soon);
	tcase_add_test(tcase, it_ends_while_work_comes_late);
	tcase_add_test(tcase, what_is_never_found_is_seldom_looked_for);
	tcase_add_test(tcase, what_is_found_is_looked_for_again);
	suite_add_tcase(suite, tcase);
	return suite;
}
