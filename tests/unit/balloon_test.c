#include <check.h>
#include <string.h>

#include "devices/balloon.h"
#include "tests/unit/driver.h"
#include "tests/unit/suites.h"

#define REPORTING 2

static struct driver driver;
static struct loop loop;
static struct balloon *balloon;
static struct iovec released[8];
static unsigned int released_count;

static void release(void *ctx, void *bytes, size_t len)
{
	(void)ctx;
	ck_assert_uint_lt(released_count, 8);
	released[released_count++] = (struct iovec){bytes, len};
}

static void setup(void)
{
	released_count = 0;
	ck_assert_int_eq(loop_init(&loop), 0);
	driver_init(&driver);
	ck_assert_int_eq(balloon_create(&balloon, &driver.mem, release, NULL, NULL), 0);
	driver_attach(&driver, balloon_device(balloon), &loop, true);
	driver_start(&driver, DRIVER_FEATURES | 1ull << 5);
}

static void teardown(void)
{
	driver_detach(&driver);
	balloon_destroy(balloon);
	driver_destroy(&driver);
	loop_destroy(&loop);
}

START_TEST(reported_memory_is_released_and_not_touched)
{
	struct driver_buffer buffers[2] = {{driver_alloc(&driver, 65536), 65536, true},
					   {driver_alloc(&driver, 4096), 4096, true}};

	memset(driver_at(&driver, buffers[0].gpa), 0x55, 65536);
	driver_run(&driver, REPORTING, driver_submit(&driver, REPORTING, buffers, 2));
	ck_assert_uint_eq(released_count, 2);
	ck_assert_ptr_eq(released[0].iov_base, driver_at(&driver, buffers[0].gpa));
	ck_assert_uint_eq(released[0].iov_len, 65536);
	ck_assert_ptr_eq(released[1].iov_base, driver_at(&driver, buffers[1].gpa));
	ck_assert_int_eq(*(uint8_t *)driver_at(&driver, buffers[0].gpa), 0x55);
}
END_TEST

/* What the guest only offers for reading it still needs. */
START_TEST(memory_that_is_not_ours_to_write_is_left_alone)
{
	struct driver_buffer buffer = {driver_alloc(&driver, 4096), 4096, false};

	driver_run(&driver, REPORTING, driver_submit(&driver, REPORTING, &buffer, 1));
	ck_assert_uint_eq(released_count, 0);
}
END_TEST

START_TEST(the_balloon_stays_empty)
{
	struct driver_buffer buffer = {driver_alloc(&driver, 64), 64, false};

	ck_assert_uint_eq(driver_read(&driver, VIRTIO_MMIO_CONFIG), 0);
	driver_run(&driver, 0, driver_submit(&driver, 0, &buffer, 1));
	driver_run(&driver, 1, driver_submit(&driver, 1, &buffer, 1));
	ck_assert_uint_eq(released_count, 0);
}
END_TEST

Suite *balloon_suite(void)
{
	Suite *suite = suite_create("balloon");
	TCase *tcase = tcase_create("balloon");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, reported_memory_is_released_and_not_touched);
	tcase_add_test(tcase, memory_that_is_not_ours_to_write_is_left_alone);
	tcase_add_test(tcase, the_balloon_stays_empty);
	suite_add_tcase(suite, tcase);
	return suite;
}
