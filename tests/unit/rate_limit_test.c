#include <check.h>

#include "devices/rate_limit.h"
#include "tests/unit/suites.h"

#define SECOND 1000000000ull

static struct rate_limit limit;

static void set(uint64_t bytes, uint64_t burst, uint64_t operations)
{
	rate_limit_set(&limit, (struct rate){bytes, burst}, (struct rate){operations, 0}, SECOND);
}

START_TEST(without_limits_all_passes)
{
	set(0, 0, 0);
	ck_assert(!rate_limit_is_set(&limit));
	for (int i = 0; i < 1000; i++) {
		rate_limit_take(&limit, 1u << 30);
		ck_assert_uint_eq(rate_limit_wait(&limit, SECOND), 0);
	}
}
END_TEST

/* What passes in ten seconds, asked for in steps of any size, is the burst and ten times the rate.
 */
START_TEST(the_rate_holds_whatever_the_steps)
{
	static const uint64_t packets[] = {1, 60, 1500, 65000, 300000};
	uint64_t passed = 0, now = SECOND, end = 11 * SECOND, size = packets[_i];

	set(1000000, 200000, 0);
	while (now < end) {
		uint64_t wait = rate_limit_wait(&limit, now);

		if (wait) {
			now += wait;
			continue;
		}
		rate_limit_take(&limit, size);
		passed += size;
		now += 100;
	}
	ck_assert_uint_le(passed, 200000 + 10 * 1000000 + size);
	ck_assert_uint_ge(passed + size, 10 * 1000000 - size);
}
END_TEST

START_TEST(operations_count_too)
{
	set(0, 0, 10);
	for (int i = 0; i < 10; i++) {
		ck_assert_uint_eq(rate_limit_wait(&limit, SECOND), 0);
		rate_limit_take(&limit, 1);
	}
	ck_assert_uint_eq(rate_limit_wait(&limit, SECOND), SECOND / 10);
	ck_assert_uint_eq(rate_limit_wait(&limit, SECOND + SECOND / 10), 0);
}
END_TEST

/* One that is larger than the bucket passes too, and is paid for afterwards. */
START_TEST(nothing_is_too_large)
{
	set(1000, 100, 0);
	ck_assert_uint_eq(rate_limit_wait(&limit, SECOND), 0);
	rate_limit_take(&limit, 5099);
	ck_assert_uint_eq(rate_limit_wait(&limit, SECOND), 5 * SECOND);
	ck_assert_uint_gt(rate_limit_wait(&limit, 5 * SECOND), 0);
	ck_assert_uint_eq(rate_limit_wait(&limit, 6 * SECOND), 0);
}
END_TEST

START_TEST(a_rest_fills_no_more_than_the_bucket)
{
	set(1000, 100, 0);
	rate_limit_take(&limit, 100);
	ck_assert_uint_eq(rate_limit_wait(&limit, 1000000 * SECOND), 0);
	rate_limit_take(&limit, 100);
	ck_assert_uint_gt(rate_limit_wait(&limit, 1000000 * SECOND), 0);
	set(UINT64_MAX, UINT64_MAX, UINT64_MAX);
	rate_limit_take(&limit, UINT64_MAX);
	ck_assert_uint_eq(rate_limit_wait(&limit, UINT64_MAX), 0);
}
END_TEST

Suite *rate_limit_suite(void)
{
	Suite *suite = suite_create("rate_limit");
	TCase *tcase = tcase_create("rate_limit");

	tcase_add_test(tcase, without_limits_all_passes);
	tcase_add_loop_test(tcase, the_rate_holds_whatever_the_steps, 0, 5);
	tcase_add_test(tcase, operations_count_too);
	tcase_add_test(tcase, nothing_is_too_large);
	tcase_add_test(tcase, a_rest_fills_no_more_than_the_bucket);
	suite_add_tcase(suite, tcase);
	return suite;
}
