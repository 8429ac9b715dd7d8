#include <check.h>
#include <string.h>

#include "devices/rng.h"
#include "tests/unit/driver.h"
#include "tests/unit/suites.h"

static struct driver driver;
static struct loop loop;
static struct rng *rng;

static void setup(void)
{
	ck_assert_int_eq(loop_init(&loop), 0);
	driver_init(&driver);
	ck_assert_int_eq(rng_create(&rng, &driver.mem, NULL), 0);
	driver_attach(&driver, rng_device(rng), &loop, true);
	driver_start(&driver, DRIVER_FEATURES);
}

static void teardown(void)
{
	driver_detach(&driver);
	rng_destroy(rng);
	driver_destroy(&driver);
	loop_destroy(&loop);
}

static bool all_zero(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i])
			return false;
	return true;
}

START_TEST(fills_all_buffers_with_different_bytes)
{
	struct driver_buffer buffers[2] = {{driver_alloc(&driver, 64), 64, true},
					   {driver_alloc(&driver, 64), 64, true}};
	const uint8_t *a = driver_at(&driver, buffers[0].gpa);
	const uint8_t *b = driver_at(&driver, buffers[1].gpa);
	uint16_t head = driver_submit(&driver, 0, buffers, 2);

	ck_assert_uint_eq(driver_run(&driver, 0, head), 128);
	/* 2^-512 that this goes wrong by chance. */
	ck_assert(!all_zero(a, 64) && !all_zero(b, 64));
	ck_assert_mem_ne(a, b, 64);
	ck_assert(driver_interrupted(&driver));
}
END_TEST

START_TEST(a_request_is_bounded)
{
	struct driver_buffer buffer = {driver_alloc(&driver, 8192), 8192, true};
	uint32_t len = driver_run(&driver, 0, driver_submit(&driver, 0, &buffer, 1));

	ck_assert_uint_eq(len, 1024);
	ck_assert(all_zero((uint8_t *)driver_at(&driver, buffer.gpa) + len, 8192 - len));
}
END_TEST

START_TEST(nothing_writable_gets_nothing)
{
	struct driver_buffer buffer = {driver_alloc(&driver, 64), 64, false};

	ck_assert_uint_eq(driver_run(&driver, 0, driver_submit(&driver, 0, &buffer, 1)), 0);
	ck_assert(all_zero(driver_at(&driver, buffer.gpa), 64));
}
END_TEST

START_TEST(more_requests_than_a_round_takes_are_all_served)
{
	struct driver_buffer buffer = {driver_alloc(&driver, 4), 4, true};

	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < 8; i++)
			driver_submit(&driver, 0, &buffer, 1);
		driver_kick(&driver, 0);
		for (unsigned int i = 0; i < 8; i++)
			ck_assert_uint_eq(driver_wait(&driver, 0).len, 4);
	}
}
END_TEST

Suite *rng_suite(void)
{
	Suite *suite = suite_create("rng");
	TCase *tcase = tcase_create("rng");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, fills_all_buffers_with_different_bytes);
	tcase_add_test(tcase, a_request_is_bounded);
	tcase_add_test(tcase, nothing_writable_gets_nothing);
	tcase_add_test(tcase, more_requests_than_a_round_takes_are_all_served);
	suite_add_tcase(suite, tcase);
	return suite;
}
