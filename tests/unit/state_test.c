/* A device is saved in the middle of its life and another one goes on from there. */
#include <check.h>
#include <string.h>

#include "devices/rng.h"
#include "devices/virtio_state.h"
#include "tests/unit/driver.h"
#include "tests/unit/suites.h"

static struct driver driver;
static struct loop loop;
static struct rng *rng;
static struct records saved;

static void setup(void)
{
	ck_assert_int_eq(loop_init(&loop), 0);
	driver_init(&driver);
	ck_assert_int_eq(rng_create(&rng, &driver.mem, NULL), 0);
	driver_attach(&driver, rng_device(rng), &loop, true);
	saved = (struct records){0};
}

static void teardown(void)
{
	driver_detach(&driver);
	rng_destroy(rng);
	driver_destroy(&driver);
	loop_destroy(&loop);
	records_destroy(&saved);
}

/* The same memory, and the driver's own knowledge, with a device fresh from the factory. */
static int exchange_device(void)
{
	struct driver_queue queues[VIRTIO_QUEUES_MAX];

	memcpy(queues, driver.queues, sizeof(queues));
	ck_assert_int_eq(virtio_mmio_save(&driver.mmio, &saved, 3, NULL), 0);
	driver_detach(&driver);
	rng_destroy(rng);
	ck_assert_int_eq(rng_create(&rng, &driver.mem, NULL), 0);
	driver_attach(&driver, rng_device(rng), &loop, true);
	memcpy(driver.queues, queues, sizeof(queues));
	return virtio_mmio_load(&driver.mmio, &saved, 3, NULL);
}

static void run_one(void)
{
	struct driver_buffer buffer = {driver_alloc(&driver, 64), 64, true};

	ck_assert_uint_eq(driver_run(&driver, 0, driver_submit(&driver, 0, &buffer, 1)), 64);
}

START_TEST(a_running_device_goes_on)
{
	driver_start(&driver, DRIVER_FEATURES);
	run_one();
	run_one();
	ck_assert_int_eq(exchange_device(), 0);
	ck_assert_uint_eq(driver_read(&driver, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_DRIVER_OK,
			  VIRTIO_CONFIG_S_DRIVER_OK);
	run_one();
}
END_TEST

START_TEST(what_was_offered_before_is_served_after)
{
	struct driver_buffer buffer;

	driver_start(&driver, DRIVER_FEATURES);
	buffer = (struct driver_buffer){driver_alloc(&driver, 64), 64, true};
	driver_submit(&driver, 0, &buffer, 1);
	ck_assert_int_eq(exchange_device(), 0);
	ck_assert_uint_eq(driver_wait(&driver, 0).len, 64);
}
END_TEST

START_TEST(a_device_nobody_uses_stays_so)
{
	ck_assert_int_eq(exchange_device(), 0);
	ck_assert_uint_eq(driver_read(&driver, VIRTIO_MMIO_STATUS), 0);
	driver_start(&driver, DRIVER_FEATURES);
	run_one();
}
END_TEST

START_TEST(an_interrupt_that_was_not_taken_comes_again)
{
	driver_start(&driver, DRIVER_FEATURES);
	run_one();
	driver_interrupted(&driver);
	ck_assert_uint_ne(driver_read(&driver, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	ck_assert_int_eq(exchange_device(), 0);
	ck_assert(driver_interrupted(&driver));
}
END_TEST

START_TEST(a_broken_device_is_not_saved)
{
	const struct driver_buffer nowhere = {0, 1, false};

	driver_start(&driver, DRIVER_FEATURES);
	driver_submit(&driver, 0, &nowhere, 1);
	driver_kick(&driver, 0);
	driver_idle(&driver);
	ck_assert_int_lt(virtio_mmio_save(&driver.mmio, &saved, 3, NULL), 0);
}
END_TEST

START_TEST(the_state_of_another_slot_is_not_ours)
{
	ck_assert_int_eq(virtio_mmio_save(&driver.mmio, &saved, 4, NULL), 0);
	ck_assert_int_lt(virtio_mmio_load(&driver.mmio, &saved, 3, NULL), 0);
}
END_TEST

/* Every byte of it in turn is something else: refused or not, nothing may go wrong. */
START_TEST(nonsense_does_no_harm)
{
	size_t len;
	const uint8_t *data;
	uint8_t bytes[1024];

	driver_start(&driver, DRIVER_FEATURES);
	run_one();
	ck_assert_int_eq(virtio_mmio_save(&driver.mmio, &saved, 3, NULL), 0);
	data = records_find(&saved, VIRTIO_STATE_TRANSPORT, 3, &len);
	ck_assert_uint_le(len, sizeof(bytes));
	for (size_t i = 0; i < len; i++) {
		struct records altered = {0};

		memcpy(bytes, data, len);
		bytes[i] ^= 0xff;
		records_put(&altered, VIRTIO_STATE_TRANSPORT, 3, bytes, len);
		driver_detach(&driver);
		rng_destroy(rng);
		ck_assert_int_eq(rng_create(&rng, &driver.mem, NULL), 0);
		driver_attach(&driver, rng_device(rng), &loop, true);
		if (virtio_mmio_load(&driver.mmio, &altered, 3, NULL) == 0)
			driver_idle(&driver);
		records_destroy(&altered);
	}
}
END_TEST

Suite *state_suite(void)
{
	Suite *suite = suite_create("state");
	TCase *tcase = tcase_create("state");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, a_running_device_goes_on);
	tcase_add_test(tcase, what_was_offered_before_is_served_after);
	tcase_add_test(tcase, a_device_nobody_uses_stays_so);
	tcase_add_test(tcase, an_interrupt_that_was_not_taken_comes_again);
	tcase_add_test(tcase, a_broken_device_is_not_saved);
	tcase_add_test(tcase, the_state_of_another_slot_is_not_ours);
	tcase_add_test(tcase, nonsense_does_no_harm);
	suite_add_tcase(suite, tcase);
	return suite;
}
