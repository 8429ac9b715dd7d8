#include <check.h>

#include "devices/pace.h"
#include "tests/unit/suites.h"

#define SMALL 76u
#define LARGE 65000u

static struct pace pace;
static uint64_t now; /* ns */

static void setup(void)
{
	pace = (struct pace){0};
	now = 1000000000;
}

/* So many wake-ups, each for so many packets, a few microseconds after the other. */
static void wakes(unsigned int times, enum pace_way way, unsigned int count, uint64_t bytes)
{
	for (unsigned int i = 0; i < times; i++)
		pace_woken(&pace, now += 5000, way, count, count * bytes);
}

START_TEST(a_stream_of_small_packets_is_one)
{
	wakes(PACE_WAKES_MIN - 1, PACE_OUT, 1, SMALL);
	ck_assert(!pace.gives_way);
	wakes(1, PACE_OUT, 2, SMALL);
	ck_assert(pace.gives_way);
	wakes(1000, PACE_OUT, 20, SMALL);
	ck_assert(pace.gives_way);
}
END_TEST

START_TEST(the_other_way_too)
{
	/* The first is a turn. */
	wakes(PACE_WAKES_MIN + 1, PACE_IN, 1, SMALL);
	ck_assert(pace.gives_way);
}
END_TEST

START_TEST(requests_and_answers_take_turns)
{
	for (unsigned int i = 0; i < 1000; i++) {
		wakes(1, PACE_IN, 1, SMALL);
		wakes(1 + i % 2, PACE_OUT, 1, SMALL);
		ck_assert(!pace.gives_way);
	}
}
END_TEST

/* Acknowledgements are no answers that somebody waits for. */
START_TEST(large_packets_are_a_stream)
{
	for (unsigned int i = 0; i < PACE_WAKES_MIN; i++) {
		wakes(1, PACE_OUT, 1, LARGE);
		wakes(1, PACE_IN, 1, SMALL);
	}
	ck_assert(pace.gives_way);
	/* Of the acknowledgements there may be one each time. */
	for (unsigned int i = 0; i < 100; i++) {
		wakes(1, PACE_OUT, 2, LARGE);
		wakes(1, PACE_IN, 1, SMALL);
	}
	ck_assert(pace.gives_way);
}
END_TEST

/* It finds many by itself: there is nothing to be gained. */
START_TEST(who_finds_many_need_not_give_way)
{
	wakes(1000, PACE_OUT, PACE_FEW + 1, SMALL);
	ck_assert(!pace.gives_way);
}
END_TEST

static unsigned int wakes_until_it_gives_way(void)
{
	unsigned int count = 0;

	for (; !pace.gives_way; count++)
		wakes(1, PACE_OUT, 1, SMALL);
	return count;
}

/* A packet now and then: hardly any of them has to wait. */
START_TEST(who_finds_no_more_gives_way_less_and_less)
{
	unsigned int first = wakes_until_it_gives_way(), last = 0;

	for (unsigned int i = 0; i < 20; i++) {
		while (pace.gives_way)
			wakes(1, PACE_OUT, 1, SMALL);
		last = wakes_until_it_gives_way();
	}
	ck_assert_uint_ge(last, 100 * first / 2);
	/* A stream after all. */
	wakes(100, PACE_OUT, 20, SMALL);
	while (pace.gives_way)
		wakes(1, PACE_OUT, 1, SMALL);
	ck_assert_uint_le(wakes_until_it_gives_way(), 2 * first);
}
END_TEST

/* A pause in a stream is not its end. */
START_TEST(a_single_packet_is_no_disappointment)
{
	wakes_until_it_gives_way();
	for (unsigned int i = 0; i < 100; i++) {
		wakes(1, PACE_OUT, 1, SMALL);
		wakes(1, PACE_OUT, 9, SMALL);
		ck_assert(pace.gives_way);
	}
}
END_TEST

/* Whatever comes then. */
START_TEST(a_stream_that_has_stopped_is_over)
{
	wakes_until_it_gives_way();
	now += PACE_PAUSE_NS + 1;
	wakes(1, PACE_IN, 1, SMALL);
	ck_assert(!pace.gives_way);
	ck_assert_uint_eq(pace.doublings, 0);
}
END_TEST

Suite *pace_suite(void)
{
	Suite *suite = suite_create("pace");
	TCase *tcase = tcase_create("pace");

	tcase_add_checked_fixture(tcase, setup, NULL);
	tcase_add_test(tcase, a_stream_of_small_packets_is_one);
	tcase_add_test(tcase, the_other_way_too);
	tcase_add_test(tcase, requests_and_answers_take_turns);
	tcase_add_test(tcase, large_packets_are_a_stream);
	tcase_add_test(tcase, who_finds_many_need_not_give_way);
	tcase_add_test(tcase, who_finds_no_more_gives_way_less_and_less);
	tcase_add_test(tcase, a_single_packet_is_no_disappointment);
	tcase_add_test(tcase, a_stream_that_has_stopped_is_over);
	suite_add_tcase(suite, tcase);
	return suite;
}
