#include <check.h>
#include <string.h>

#include "devices/console.h"
#include "tests/unit/driver.h"
#include "tests/unit/suites.h"

#define RX 0
#define TX 1

static struct driver driver;
static struct loop loop;
static struct console *console;
static uint8_t got[256 * 1024];
static size_t got_len;

static void output(void *ctx, const void *bytes, size_t len)
{
	ck_assert_ptr_eq(ctx, &driver);
	ck_assert_uint_gt(len, 0);
	ck_assert_uint_le(got_len + len, sizeof(got));
	memcpy(got + got_len, bytes, len);
	got_len += len;
}

static void setup(void)
{
	ck_assert_int_eq(loop_init(&loop), 0);
	driver_init(&driver);
	ck_assert_int_eq(console_create(&console, &driver.mem, output, &driver, NULL), 0);
	driver_attach(&driver, console_device(console), &loop, true);
	driver_start(&driver, DRIVER_FEATURES);
	got_len = 0;
}

static void teardown(void)
{
	driver_detach(&driver);
	console_destroy(console);
	driver_destroy(&driver);
	loop_destroy(&loop);
}

START_TEST(output_arrives_in_order)
{
	struct driver_buffer buffers[2] = {{driver_alloc(&driver, 6), 6, false},
					   {driver_alloc(&driver, 1000), 1000, false}};

	memcpy(driver_at(&driver, buffers[0].gpa), "hello ", 6);
	memset(driver_at(&driver, buffers[1].gpa), 'x', 1000);
	ck_assert_uint_eq(driver_run(&driver, TX, driver_submit(&driver, TX, buffers, 2)), 0);
	ck_assert_uint_eq(got_len, 1006);
	ck_assert_mem_eq(got, "hello xxx", 9);
	ck_assert_uint_eq(got[1005], 'x');
	ck_assert(driver_interrupted(&driver));
}
END_TEST

START_TEST(a_chain_is_bounded_and_its_writable_part_left_alone)
{
	struct driver_buffer buffers[2] = {{driver_alloc(&driver, 1 << 20), 1 << 20, false},
					   {driver_alloc(&driver, 4), 4, true}};

	memcpy(driver_at(&driver, buffers[1].gpa), "keep", 4);
	ck_assert_uint_eq(driver_run(&driver, TX, driver_submit(&driver, TX, buffers, 2)), 0);
	ck_assert_uint_eq(got_len, 64 * 1024);
	ck_assert_mem_eq(driver_at(&driver, buffers[1].gpa), "keep", 4);
}
END_TEST

START_TEST(receive_buffers_are_kept)
{
	struct driver_buffer buffer = {driver_alloc(&driver, 64), 64, true};
	struct vring_used_elem elem;

	driver_submit(&driver, RX, &buffer, 1);
	driver_kick(&driver, RX);
	driver_idle(&driver);
	ck_assert(!driver_collect(&driver, RX, &elem));
	ck_assert_uint_eq(got_len, 0);
}
END_TEST

START_TEST(goes_on_after_a_broken_ring_and_a_reset)
{
	struct driver_buffer buffer = {driver_alloc(&driver, 4), 4, false};
	const struct driver_buffer nowhere = {0, 1, false};

	driver_submit(&driver, TX, &nowhere, 1);
	driver_kick(&driver, TX);
	driver_idle(&driver);
	ck_assert(driver_read(&driver, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
	driver_reset(&driver);
	driver_start(&driver, DRIVER_FEATURES);
	memcpy(driver_at(&driver, buffer.gpa), "back", 4);
	driver_run(&driver, TX, driver_submit(&driver, TX, &buffer, 1));
	ck_assert_uint_eq(got_len, 4);
	ck_assert_mem_eq(got, "back", 4);
}
END_TEST

Suite *console_suite(void)
{
	Suite *suite = suite_create("console");
	TCase *tcase = tcase_create("console");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, output_arrives_in_order);
	tcase_add_test(tcase, a_chain_is_bounded_and_its_writable_part_left_alone);
	tcase_add_test(tcase, receive_buffers_are_kept);
	tcase_add_test(tcase, goes_on_after_a_broken_ring_and_a_reset);
	suite_add_tcase(suite, tcase);
	return suite;
}
