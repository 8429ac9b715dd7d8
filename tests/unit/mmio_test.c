#include <check.h>
#include <string.h>

#include "tests/unit/driver.h"
#include "tests/unit/dummy.h"
#include "tests/unit/suites.h"

#define STATUS_READY (DRIVER_ACKNOWLEDGE | VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK)

static struct driver driver;
static struct loop loop;
static struct dummy dummy;

static void setup(void)
{
	dummy_plug(&dummy, &driver, &loop);
}

static void teardown(void)
{
	dummy_unplug(&dummy, &driver, &loop);
}

static uint32_t status(void)
{
	return driver_read(&driver, VIRTIO_MMIO_STATUS);
}

START_TEST(identifies_itself)
{
	ck_assert_uint_eq(driver_read(&driver, VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
	ck_assert_uint_eq(driver_read(&driver, VIRTIO_MMIO_VERSION), 2);
	ck_assert_uint_eq(driver_read(&driver, VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_NET);
	driver_write(&driver, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	ck_assert_uint_eq(driver_read(&driver, VIRTIO_MMIO_DEVICE_FEATURES),
			  1u << 28 | 1u << 29 | 1u << 5);
	driver_write(&driver, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	ck_assert_uint_eq(driver_read(&driver, VIRTIO_MMIO_DEVICE_FEATURES), 1);
	driver_write(&driver, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
	ck_assert_uint_eq(driver_read(&driver, VIRTIO_MMIO_DEVICE_FEATURES), 0);
	ck_assert_uint_eq(driver_read(&driver, VIRTIO_MMIO_SHM_LEN_LOW), UINT32_MAX);
}
END_TEST

START_TEST(negotiation_needs_version_1_and_nothing_unknown)
{
	const uint64_t version_1 = 1ull << VIRTIO_F_VERSION_1;

	ck_assert(!driver_negotiate(&driver, 0));
	ck_assert(!driver_negotiate(&driver, version_1 | 1ull << 6));
	ck_assert(!driver_negotiate(&driver, version_1 | 1ull << 63));
	/* Without features there is no DRIVER_OK. */
	driver_write(&driver, VIRTIO_MMIO_STATUS, DRIVER_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER_OK);
	ck_assert_uint_eq(status(), DRIVER_ACKNOWLEDGE);
	ck_assert(driver_negotiate(&driver, version_1 | 1ull << 5));
	ck_assert_uint_eq(dummy.dev.negotiated, version_1 | 1ull << 5);
	/* Too late to change one's mind. */
	driver_write(&driver, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	driver_write(&driver, VIRTIO_MMIO_DRIVER_FEATURES, 0);
	ck_assert_uint_eq(driver.mmio.state.driver_features, version_1 | 1ull << 5);
	ck_assert_uint_eq(dummy.activated, 0);
}
END_TEST

START_TEST(starts_once_and_resets)
{
	driver_start(&driver, DRIVER_FEATURES);
	ck_assert_uint_eq(status(), STATUS_READY);
	ck_assert_uint_eq(dummy.activated, 1);
	driver_ok(&driver);
	ck_assert_uint_eq(dummy.activated, 1);
	/* Bits are only ever added. */
	driver_write(&driver, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	ck_assert_uint_eq(status(), STATUS_READY);
	driver_reset(&driver);
	ck_assert_uint_eq(status(), 0);
	ck_assert_uint_eq(dummy.reset, 1);
	ck_assert(!dummy.dev.active);
	driver_write(&driver, VIRTIO_MMIO_QUEUE_SEL, 0);
	ck_assert_uint_eq(driver_read(&driver, VIRTIO_MMIO_QUEUE_READY), 0);
	driver_start(&driver, DRIVER_FEATURES);
	ck_assert_uint_eq(dummy.activated, 2);
}
END_TEST

START_TEST(kicks_reach_an_active_device_only)
{
	ck_assert(driver_negotiate(&driver, DRIVER_FEATURES));
	driver_queue_setup(&driver, 1, 16);
	driver_kick(&driver, 1);
	driver_idle(&driver);
	ck_assert_uint_eq(dummy.kicked[1], 0);
	/* What came before DRIVER_OK is not forgotten. */
	driver_ok(&driver);
	driver_idle(&driver);
	ck_assert_uint_eq(dummy.kicked[1], 1);
	driver_kick(&driver, 1);
	driver_kick(&driver, 2);
	driver_kick(&driver, UINT32_MAX);
	driver_idle(&driver);
	ck_assert_uint_eq(dummy.kicked[1], 2);
	ck_assert_uint_eq(dummy.kicked[0], 0);
	virtio_queue_again(&dummy.dev, 1);
	driver_idle(&driver);
	ck_assert_uint_eq(dummy.kicked[1], 3);
}
END_TEST

START_TEST(queues_are_fixed_once_ready)
{
	struct virtqueue_state before;

	driver_write(&driver, VIRTIO_MMIO_QUEUE_SEL, 7);
	ck_assert_uint_eq(driver_read(&driver, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
	ck_assert(driver_negotiate(&driver, DRIVER_FEATURES));
	driver_queue_setup(&driver, 0, 16);
	ck_assert_uint_eq(driver_read(&driver, VIRTIO_MMIO_QUEUE_NUM_MAX), DUMMY_QUEUE_SIZE);
	ck_assert_uint_eq(driver_read(&driver, VIRTIO_MMIO_QUEUE_READY), 1);
	before = dummy.dev.queues[0].state;
	driver_write(&driver, VIRTIO_MMIO_QUEUE_NUM, 32);
	driver_write(&driver, VIRTIO_MMIO_QUEUE_DESC_LOW, 0);
	driver_write(&driver, VIRTIO_MMIO_QUEUE_USED_HIGH, 1);
	ck_assert_mem_eq(&before, &dummy.dev.queues[0].state, sizeof(before));
	driver_ok(&driver);
	driver_write(&driver, VIRTIO_MMIO_QUEUE_READY, 0);
	ck_assert_uint_eq(driver_read(&driver, VIRTIO_MMIO_QUEUE_READY), 1);
}
END_TEST

static void reset_and_start_again(void)
{
	driver_reset(&driver);
	ck_assert_uint_eq(status(), STATUS_READY);
	driver_write(&driver, VIRTIO_MMIO_STATUS, STATUS_READY);
}

START_TEST(a_reset_that_waits_is_not_begun_or_overtaken_by_another_vcpu)
{
	driver_start(&driver, DRIVER_FEATURES);
	dummy.waiting = reset_and_start_again;
	driver_reset(&driver);
	ck_assert_uint_eq(dummy.reset, 1);
	ck_assert_uint_eq(dummy.activated, 1);
	ck_assert(!dummy.dev.active);
	ck_assert_uint_eq(status(), 0);
}
END_TEST

START_TEST(a_bad_queue_asks_for_a_reset)
{
	ck_assert(driver_negotiate(&driver, DRIVER_FEATURES));
	driver_write(&driver, VIRTIO_MMIO_QUEUE_SEL, 0);
	/* Not cut to 16 bits, which would make it 16. */
	driver_write(&driver, VIRTIO_MMIO_QUEUE_NUM, 0x10010);
	driver_write(&driver, VIRTIO_MMIO_QUEUE_READY, 1);
	ck_assert_uint_eq(driver_read(&driver, VIRTIO_MMIO_QUEUE_READY), 0);
	ck_assert(status() & VIRTIO_CONFIG_S_NEEDS_RESET);
	driver_reset(&driver);
	ck_assert_uint_eq(status(), 0);
}
END_TEST

START_TEST(a_broken_ring_asks_for_a_reset)
{
	struct virtqueue_chain chain;

	driver_start(&driver, DRIVER_FEATURES);
	driver_interrupted(&driver);
	driver_offer(&driver, 0, 60000);
	ck_assert(!virtio_queue_pop(&dummy.dev, 0, &chain));
	ck_assert(status() & VIRTIO_CONFIG_S_NEEDS_RESET);
	ck_assert(driver_interrupted(&driver));
	ck_assert(driver_read(&driver, VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_MMIO_INT_CONFIG);
	/* Dead until the reset. */
	driver_kick(&driver, 0);
	driver_idle(&driver);
	ck_assert_uint_eq(dummy.kicked[0], 0);
	driver_reset(&driver);
	driver_start(&driver, DRIVER_FEATURES);
	driver_idle(&driver);
	ck_assert_uint_eq(dummy.kicked[0], 1);
}
END_TEST

START_TEST(interrupts_are_raised_and_acknowledged)
{
	driver_start(&driver, DRIVER_FEATURES);
	virtio_queue_interrupt(&dummy.dev, &dummy.dev.queues[0]);
	ck_assert(!driver_interrupted(&driver));
	virtqueue_push(&dummy.dev.queues[0], (struct virtqueue_head){0}, 0);
	virtio_queue_interrupt(&dummy.dev, &dummy.dev.queues[0]);
	virtio_config_interrupt(&dummy.dev);
	ck_assert(driver_interrupted(&driver));
	ck_assert_uint_eq(driver_read(&driver, VIRTIO_MMIO_INTERRUPT_STATUS), 3);
	driver_write(&driver, VIRTIO_MMIO_INTERRUPT_ACK, 1);
	ck_assert_uint_eq(driver_read(&driver, VIRTIO_MMIO_INTERRUPT_STATUS), 2);
}
END_TEST

START_TEST(config_space_takes_every_width)
{
	uint64_t first, end = 0;

	memcpy(&first, DUMMY_CONFIG, 8);
	memcpy(&end, DUMMY_CONFIG + 8, 2);
	ck_assert_uint_eq(virtio_mmio_read(&driver.mmio, 0x100, 8), first);
	ck_assert_uint_eq(virtio_mmio_read(&driver.mmio, 0x100, 4), first & 0xffffffff);
	ck_assert_uint_eq(virtio_mmio_read(&driver.mmio, 0x101, 2), '1' | '2' << 8);
	ck_assert_uint_eq(virtio_mmio_read(&driver.mmio, 0x109, 1), '9');
	ck_assert_uint_eq(virtio_mmio_read(&driver.mmio, 0x108, 8), end);
	ck_assert_uint_eq(virtio_mmio_read(&driver.mmio, 0x1f8, 8), 0);
	virtio_mmio_write(&driver.mmio, 0x103, 0xabcd, 2);
	ck_assert_uint_eq(dummy.written_offset, 3);
	ck_assert_uint_eq(dummy.written_len, 2);
	ck_assert_uint_eq(dummy.written, 0xabcd);
}
END_TEST

START_TEST(odd_accesses_do_nothing)
{
	ck_assert_uint_eq(virtio_mmio_read(&driver.mmio, VIRTIO_MMIO_MAGIC_VALUE, 2), 0);
	ck_assert_uint_eq(virtio_mmio_read(&driver.mmio, VIRTIO_MMIO_MAGIC_VALUE, 8), 0);
	ck_assert_uint_eq(virtio_mmio_read(&driver.mmio, 2, 4), 0);
	ck_assert_uint_eq(virtio_mmio_read(&driver.mmio, 0x1ff, 2), 0);
	ck_assert_uint_eq(virtio_mmio_read(&driver.mmio, 0x200, 1), 0);
	ck_assert_uint_eq(virtio_mmio_read(&driver.mmio, UINT32_MAX, 8), 0);
	ck_assert_uint_eq(virtio_mmio_read(&driver.mmio, 0x100, 3), 0);
	virtio_mmio_write(&driver.mmio, VIRTIO_MMIO_STATUS, 1, 1);
	virtio_mmio_write(&driver.mmio, VIRTIO_MMIO_STATUS + 1, 1, 4);
	virtio_mmio_write(&driver.mmio, 0x1fd, 1, 4);
	virtio_mmio_write(&driver.mmio, UINT32_MAX, 1, 4);
	ck_assert_uint_eq(status(), 0);
	ck_assert_uint_eq(dummy.written_len, 0);
}
END_TEST

Suite *mmio_suite(void)
{
	Suite *suite = suite_create("mmio");
	TCase *tcase = tcase_create("mmio");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, identifies_itself);
	tcase_add_test(tcase, negotiation_needs_version_1_and_nothing_unknown);
	tcase_add_test(tcase, starts_once_and_resets);
	tcase_add_test(tcase, kicks_reach_an_active_device_only);
	tcase_add_test(tcase, queues_are_fixed_once_ready);
	tcase_add_test(tcase, a_reset_that_waits_is_not_begun_or_overtaken_by_another_vcpu);
	tcase_add_test(tcase, a_bad_queue_asks_for_a_reset);
	tcase_add_test(tcase, a_broken_ring_asks_for_a_reset);
	tcase_add_test(tcase, interrupts_are_raised_and_acknowledged);
	tcase_add_test(tcase, config_space_takes_every_width);
	tcase_add_test(tcase, odd_accesses_do_nothing);
	suite_add_tcase(suite, tcase);
	return suite;
}
