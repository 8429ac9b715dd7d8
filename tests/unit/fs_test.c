#include <check.h>
#include <string.h>
#include <unistd.h>

#include "devices/fs.h"
#include "devices/vhost_user.h"
#include "tests/unit/back_end.h"
#include "tests/unit/driver.h"
#include "tests/unit/suites.h"

#include <linux/fuse.h>
#include <linux/virtio_fs.h>

#define HIPRIO	0
#define REQUEST 1

#define OFFERED (1ull << 30 | DRIVER_FEATURES)

static struct driver driver;
static struct back_end back_end;
static struct fs *fs;

static void create(int fd, bool records)
{
	struct fs_options options = {
		.tag = "tag", .fd = fd, .records_inflight = records, .activity_fd = -1};

	driver_init(&driver);
	ck_assert_int_eq(fs_create(&fs, &options, &driver.mem, NULL), 0);
	driver_attach(&driver, fs_device(fs), fs_loop(fs), false);
}

static void setup_back_end(void)
{
	memset(&back_end, 0, sizeof(back_end));
	back_end.features = OFFERED;
	back_end.protocol = VHOST_USER_MQ | VHOST_USER_ACK;
	back_end.queue_count = BACK_END_QUEUES;
}

static void setup(void)
{
	setup_back_end();
	create(back_end_start(&back_end), false);
}

static void setup_recorded(void)
{
	setup_back_end();
	back_end.keeps_record = true;
	create(back_end_start(&back_end), true);
}

static void setup_late(void)
{
	setup_back_end();
	create(-1, false);
}

/* A back end that each test makes. */
static void setup_none(void)
{
	setup_back_end();
}

static void teardown(void)
{
	driver_detach(&driver);
	fs_destroy(fs);
	driver_destroy(&driver);
	if (back_end.fd)
		back_end_destroy(&back_end);
}

/* A FUSE request. Returns its head; *out_gpa is where the answer comes. */
static uint16_t submit(uint64_t unique, uint64_t *out_gpa)
{
	struct fuse_in_header in = {.len = sizeof(in), .opcode = FUSE_INIT, .unique = unique};
	struct driver_buffer buffers[2] = {
		{driver_alloc(&driver, sizeof(in)), sizeof(in), false},
		{driver_alloc(&driver, 64), 64, true},
	};

	memcpy(driver_at(&driver, buffers[0].gpa), &in, sizeof(in));
	*out_gpa = buffers[1].gpa;
	return driver_submit(&driver, REQUEST, buffers, 2);
}

static void refused(uint64_t gpa, uint64_t unique)
{
	const struct fuse_out_header *out = driver_at(&driver, gpa);

	ck_assert_uint_eq(out->len, sizeof(*out));
	ck_assert_int_eq(out->error, -ENOTCONN);
	ck_assert_uint_eq(out->unique, unique);
}

START_TEST(says_what_it_is)
{
	struct virtio_fs_config config;

	for (uint32_t i = 0; i < sizeof(config); i += 4) {
		uint32_t word = driver_read(&driver, VIRTIO_MMIO_CONFIG + i);

		memcpy((uint8_t *)&config + i, &word, 4);
	}
	ck_assert_mem_eq(config.tag, "tag\0\0", 5);
	ck_assert_uint_eq(config.num_request_queues, 1);
	ck_assert_uint_eq(driver_read(&driver, VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_FS);
}
END_TEST

#define MORE 0x200000000ull

/* Where nothing is yet there is nothing to be told of; what comes is told in pieces. */
START_TEST(tells_the_back_end_of_memory_that_comes)
{
	struct guest_region *region;

	ck_assert_int_eq(
		guest_memory_reserve(&driver.mem, MORE, 0x10000, &back_end, driver.memory_fd), 0);
	region = &driver.mem.regions[driver.mem.count - 1];
	back_end.protocol |= VHOST_USER_REGIONS;
	driver_start(&driver, DRIVER_FEATURES);
	back_end_wait_enabled(&back_end, REQUEST);
	ck_assert_uint_eq(back_end.region_count, 1);
	ck_assert(fs_takes_memory(fs));
	for (unsigned int i = 1; i < 3; i++) {
		guest_region_grow(region, 0x4000 * i);
		fs_memory_grown(fs);
		ck_assert_uint_eq(back_end.region_count, 1 + i);
		ck_assert_uint_eq(back_end.regions[i].gpa, MORE + 0x4000 * (i - 1));
		ck_assert_uint_eq(back_end.regions[i].user_addr, MORE + 0x4000 * (i - 1));
		ck_assert_uint_eq(back_end.regions[i].len, 0x4000);
		ck_assert_uint_eq(back_end.regions[i].fd_offset, 0x4000 * (i - 1));
	}
	/* A driver that begins anew: all of it at once. */
	driver_reset(&driver);
	driver_start(&driver, DRIVER_FEATURES);
	back_end_wait_enabled(&back_end, REQUEST);
	ck_assert_uint_eq(back_end.region_count, 2);
	ck_assert_uint_eq(back_end.regions[1].len, 0x8000);
}
END_TEST

START_TEST(knows_a_back_end_that_cannot_be_told_of_memory)
{
	driver_start(&driver, DRIVER_FEATURES);
	back_end_wait_enabled(&back_end, REQUEST);
	ck_assert(!fs_takes_memory(fs));
}
END_TEST

START_TEST(hands_the_queues_to_the_back_end)
{
	struct virtqueue_chain chain;
	uint64_t gpa;
	uint16_t head;

	driver_start(&driver, DRIVER_FEATURES);
	back_end_wait_enabled(&back_end, REQUEST);
	ck_assert_uint_eq(back_end.acked, OFFERED);
	ck_assert_uint_eq(back_end.acked_protocol, back_end.protocol);
	ck_assert_uint_eq(back_end.region_count, 1);
	ck_assert_uint_eq(back_end.regions[0].gpa, DRIVER_MEMORY_GPA);
	/* Nothing of where it is mapped here. */
	ck_assert_uint_eq(back_end.regions[0].user_addr, DRIVER_MEMORY_GPA);
	ck_assert_uint_eq(back_end.regions[0].len, DRIVER_MEMORY_LEN);
	ck_assert_uint_eq(back_end.vrings[REQUEST].desc, driver.queues[REQUEST].desc_gpa);
	ck_assert_uint_eq(back_end.vrings[HIPRIO].used, driver.queues[HIPRIO].used_gpa);

	head = submit(7, &gpa);
	driver_kick(&driver, REQUEST);
	ck_assert(back_end_kicked(&back_end, REQUEST));
	ck_assert(back_end_pop(&back_end, &driver.mem, REQUEST, &chain));
	ck_assert_uint_eq(chain.head.id, head);
	back_end_push(&back_end, REQUEST, &chain, 5);
	ck_assert_uint_eq(driver_wait(&driver, REQUEST).len, 5);
	ck_assert_uint_eq(driver_read(&driver, VIRTIO_MMIO_INTERRUPT_STATUS) &
				  VIRTIO_MMIO_INT_VRING,
			  VIRTIO_MMIO_INT_VRING);
}
END_TEST

START_TEST(a_reset_takes_the_queues_back_and_they_can_go_again)
{
	struct virtqueue_chain chain;
	uint64_t gpa;

	for (unsigned int round = 1; round <= 3; round++) {
		driver_start(&driver, DRIVER_FEATURES);
		back_end_wait_enabled(&back_end, REQUEST);
		ck_assert_uint_eq(back_end.vrings[REQUEST].base, 0);
		back_end.vrings[REQUEST].vq.state.ready = false;
		submit(round, &gpa);
		ck_assert(back_end_pop(&back_end, &driver.mem, REQUEST, &chain));
		back_end_push(&back_end, REQUEST, &chain, 0);
		driver_reset(&driver);
		ck_assert_uint_eq(back_end.vrings[HIPRIO].stops, round);
		ck_assert_uint_eq(back_end.vrings[REQUEST].stops, round);
		driver_forget(&driver);
	}
}
END_TEST

START_TEST(without_its_back_end_it_answers_with_errors)
{
	uint64_t gpa[3];

	driver_start(&driver, DRIVER_FEATURES);
	back_end_wait_enabled(&back_end, REQUEST);
	back_end_end(&back_end);
	for (unsigned int i = 0; i < 3; i++) {
		driver_run(&driver, REQUEST, submit(i + 1, &gpa[i]));
		refused(gpa[i], i + 1);
	}
	ck_assert_uint_eq(driver_read(&driver, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET,
			  0);
	/* And stays so. */
	driver_reset(&driver);
	driver_start(&driver, DRIVER_FEATURES);
	driver_run(&driver, REQUEST, submit(9, &gpa[0]));
	refused(gpa[0], 9);
}
END_TEST

START_TEST(who_waits_for_a_dead_back_end_is_answered)
{
	struct virtqueue_chain chain, forget;
	struct driver_buffer buffer = {driver_alloc(&driver, 40), 40, false};
	uint64_t gpa[4];
	bool answered[4] = {false};
	uint16_t heads[4];

	driver_start(&driver, DRIVER_FEATURES);
	back_end_wait_enabled(&back_end, REQUEST);
	driver_submit(&driver, HIPRIO, &buffer, 1);
	for (unsigned int i = 0; i < 4; i++)
		heads[i] = submit(100 + i, &gpa[i]);
	/* It takes three, answers the second, and dies. */
	ck_assert(back_end_pop(&back_end, &driver.mem, REQUEST, &chain));
	ck_assert(back_end_pop(&back_end, &driver.mem, REQUEST, &chain));
	back_end_push(&back_end, REQUEST, &chain, 1);
	ck_assert(back_end_pop(&back_end, &driver.mem, REQUEST, &chain));
	ck_assert(back_end_pop(&back_end, &driver.mem, HIPRIO, &forget));
	back_end_end(&back_end);

	for (unsigned int i = 0; i < 4; i++) {
		struct vring_used_elem elem = driver_wait(&driver, REQUEST);

		for (unsigned int k = 0; k < 4; k++)
			if (elem.id == heads[k]) {
				ck_assert(!answered[k]);
				answered[k] = true;
			}
	}
	ck_assert(answered[0] && answered[1] && answered[2] && answered[3]);
	refused(gpa[0], 100);
	refused(gpa[2], 102);
	refused(gpa[3], 103);
	ck_assert_uint_eq(driver_wait(&driver, HIPRIO).len, 0);
	driver_run(&driver, REQUEST, submit(104, &gpa[0]));
	refused(gpa[0], 104);
}
END_TEST

static bool needs_reset(void *ctx)
{
	(void)ctx;
	return driver_read(&driver, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

START_TEST(without_a_record_nobody_can_be_answered)
{
	struct virtqueue_chain chain;
	uint64_t gpa;

	driver_start(&driver, DRIVER_FEATURES);
	back_end_wait_enabled(&back_end, REQUEST);
	submit(1, &gpa);
	ck_assert(back_end_pop(&back_end, &driver.mem, REQUEST, &chain));
	back_end_end(&back_end);
	driver_until(&driver, needs_reset, NULL);
	/* After a reset it is as any device whose back end is gone. */
	driver_reset(&driver);
	driver_start(&driver, DRIVER_FEATURES);
	driver_run(&driver, REQUEST, submit(2, &gpa));
	refused(gpa, 2);
}
END_TEST

START_TEST(requests_wait_for_a_late_back_end)
{
	struct virtqueue_chain chain;
	struct error err = {0};
	uint64_t gpa;
	int fd;

	driver_start(&driver, DRIVER_FEATURES);
	submit(1, &gpa);
	driver_kick(&driver, REQUEST);
	fd = back_end_start(&back_end);
	ck_assert_int_eq(fs_attach(fs, fd, NULL), 0);
	back_end_wait_enabled(&back_end, REQUEST);
	ck_assert(back_end_kicked(&back_end, REQUEST));
	ck_assert(back_end_pop(&back_end, &driver.mem, REQUEST, &chain));
	back_end_push(&back_end, REQUEST, &chain, 3);
	ck_assert_uint_eq(driver_wait(&driver, REQUEST).len, 3);
	ck_assert_int_eq(fs_attach(fs, 0, &err), -EBUSY);
}
END_TEST

START_TEST(no_late_back_end_and_a_reset_is_nothing)
{
	uint64_t gpa;

	driver_start(&driver, DRIVER_FEATURES);
	submit(1, &gpa);
	driver_reset(&driver);
	driver_start(&driver, DRIVER_FEATURES);
}
END_TEST

/* What a broken back end may say, where; each is one that answers no request. */
static const struct {
	uint32_t at;
	enum back_end_fault fault;
} faults[] = {
	{BACK_END_GET_FEATURES, BACK_END_WRONG_REQUEST},
	{BACK_END_GET_FEATURES, BACK_END_TOO_LONG},
	{BACK_END_GET_FEATURES, BACK_END_CLOSES},
	{BACK_END_GET_PROTOCOL_FEATURES, BACK_END_TOO_SHORT},
	{BACK_END_GET_PROTOCOL_FEATURES, BACK_END_HALF},
	{BACK_END_GET_QUEUE_NUM, BACK_END_NO_REPLY_FLAG},
	{BACK_END_SET_MEM_TABLE, BACK_END_REFUSES},
	{BACK_END_SET_MEM_TABLE, BACK_END_CLOSES},
	{BACK_END_SET_VRING_ENABLE, BACK_END_REFUSES},
	{BACK_END_SET_VRING_ENABLE, BACK_END_TOO_LONG},
};

START_TEST(a_broken_back_end_is_a_dead_one)
{
	uint64_t gpa;

	back_end.fault_at = faults[_i].at;
	back_end.fault = faults[_i].fault;
	create(back_end_start(&back_end), false);
	driver_start(&driver, DRIVER_FEATURES);
	driver_run(&driver, REQUEST, submit(1, &gpa));
	refused(gpa, 1);
}
END_TEST

START_TEST(a_back_end_must_offer_what_the_driver_has_accepted)
{
	uint64_t gpa;

	back_end.features &= ~(1ull << VIRTIO_RING_F_EVENT_IDX);
	create(back_end_start(&back_end), false);
	driver_start(&driver, DRIVER_FEATURES);
	driver_run(&driver, REQUEST, submit(1, &gpa));
	refused(gpa, 1);
}
END_TEST

START_TEST(a_back_end_that_fails_to_stop_is_a_dead_one)
{
	uint64_t gpa;

	back_end.fault_at = BACK_END_GET_VRING_BASE;
	back_end.fault = BACK_END_TOO_SHORT;
	create(back_end_start(&back_end), false);
	driver_start(&driver, DRIVER_FEATURES);
	back_end_wait_enabled(&back_end, REQUEST);
	driver_reset(&driver);
	driver_start(&driver, DRIVER_FEATURES);
	driver_run(&driver, REQUEST, submit(1, &gpa));
	refused(gpa, 1);
}
END_TEST

static void setup_connection(struct vhost_user *vu, int *fd)
{
	driver_init(&driver);
	*fd = back_end_start(&back_end);
	ck_assert_int_eq(vhost_user_init(vu, *fd, "test", NULL), 0);
}

START_TEST(silence_is_not_waited_for_for_ever)
{
	struct vhost_user vu;
	int fd;

	back_end.fault_at = BACK_END_GET_QUEUE_NUM;
	back_end.fault = BACK_END_SILENT;
	setup_connection(&vu, &fd);
	vu.timeout_ms = 50;
	ck_assert_int_eq(vhost_user_open(&vu, 2, 0, NULL), -ETIMEDOUT);
	close(fd);
	driver_destroy(&driver);
	back_end_destroy(&back_end);
}
END_TEST

START_TEST(descriptors_from_the_back_end_are_closed)
{
	struct vhost_user vu;
	int fd, next = dup(0), after;

	back_end.fault_at = BACK_END_GET_FEATURES;
	back_end.fault = BACK_END_SENDS_FDS;
	close(next);
	setup_connection(&vu, &fd);
	ck_assert_int_eq(vhost_user_open(&vu, 2, 0, NULL), 0);
	close(fd);
	driver_destroy(&driver);
	back_end_destroy(&back_end);
	after = dup(0);
	ck_assert_int_eq(after, next);
	close(after);
}
END_TEST

START_TEST(memory_without_a_file_cannot_be_shared)
{
	struct error err = {0};
	struct vhost_user vu;
	int fd;

	setup_connection(&vu, &fd);
	guest_memory_set_file(&driver.mem, -1, driver.bytes);
	ck_assert_int_eq(vhost_user_open(&vu, 2, 0, NULL), 0);
	ck_assert_int_eq(vhost_user_configure(&vu, DRIVER_FEATURES, &driver.mem, &err), -EINVAL);
	ck_assert_str_eq(err.message, "test: guest memory cannot be shared");
	close(fd);
	driver_destroy(&driver);
	back_end_destroy(&back_end);
}
END_TEST

static TCase *add(Suite *suite, const char *name, SFun set_up, SFun tear_down)
{
	TCase *tcase = tcase_create(name);

	tcase_add_checked_fixture(tcase, set_up, tear_down);
	suite_add_tcase(suite, tcase);
	return tcase;
}

Suite *fs_suite(void)
{
	Suite *suite = suite_create("fs");
	TCase *tcase = add(suite, "back end", setup, teardown);

	tcase_add_test(tcase, says_what_it_is);
	tcase_add_test(tcase, hands_the_queues_to_the_back_end);
	tcase_add_test(tcase, tells_the_back_end_of_memory_that_comes);
	tcase_add_test(tcase, knows_a_back_end_that_cannot_be_told_of_memory);
	tcase_add_test(tcase, a_reset_takes_the_queues_back_and_they_can_go_again);
	tcase_add_test(tcase, without_a_record_nobody_can_be_answered);
	tcase = add(suite, "record", setup_recorded, teardown);
	tcase_add_test(tcase, without_its_back_end_it_answers_with_errors);
	tcase_add_test(tcase, who_waits_for_a_dead_back_end_is_answered);
	tcase = add(suite, "late", setup_late, teardown);
	tcase_add_test(tcase, requests_wait_for_a_late_back_end);
	tcase_add_test(tcase, no_late_back_end_and_a_reset_is_nothing);
	tcase = add(suite, "faults", setup_none, teardown);
	tcase_add_loop_test(tcase, a_broken_back_end_is_a_dead_one, 0,
			    sizeof(faults) / sizeof(faults[0]));
	tcase_add_test(tcase, a_back_end_must_offer_what_the_driver_has_accepted);
	tcase_add_test(tcase, a_back_end_that_fails_to_stop_is_a_dead_one);
	tcase = add(suite, "connection", setup_none, NULL);
	tcase_add_test(tcase, silence_is_not_waited_for_for_ever);
	tcase_add_test(tcase, descriptors_from_the_back_end_are_closed);
	tcase_add_test(tcase, memory_without_a_file_cannot_be_shared);
	return suite;
}
