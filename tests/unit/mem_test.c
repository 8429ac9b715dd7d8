/* Memory that grows: what a driver may plug and unplug, and what is left of it for the host. */
#include <check.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/mem.h"
#include "devices/virtio_state.h"
#include "tests/unit/driver.h"
#include "tests/unit/suites.h"

#include <linux/virtio_mem.h>

#define REGION 0x200000000ull
#define ROOM   (64 * MEM_BLOCK)
#define USABLE (16 * MEM_BLOCK)

static struct driver driver;
static struct loop loop;
static struct mem *mem;
static struct guest_region *region;
static struct records saved;
static struct {
	uint64_t block, count;
} released[8];
static unsigned int released_count;

static void release(void *ctx, void *bytes, size_t len)
{
	(void)ctx;
	ck_assert_uint_lt(released_count, 8);
	released[released_count].block = (uint64_t)((uint8_t *)bytes - region->bytes) / MEM_BLOCK;
	released[released_count++].count = len / MEM_BLOCK;
}

static void create_device(void)
{
	ck_assert_int_eq(mem_create(&mem, &driver.mem, region, release, NULL, NULL), 0);
	driver_attach(&driver, mem_device(mem), &loop, true);
}

static void setup(void)
{
	int fd = memfd_create("region", MFD_CLOEXEC);
	void *bytes;

	released_count = 0;
	saved = (struct records){0};
	ck_assert_int_eq(ftruncate(fd, ROOM), 0);
	bytes = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(bytes, MAP_FAILED);
	ck_assert_int_eq(loop_init(&loop), 0);
	driver_init(&driver);
	ck_assert_int_eq(guest_memory_reserve(&driver.mem, REGION, ROOM, bytes, fd), 0);
	region = &driver.mem.regions[driver.mem.count - 1];
	create_device();
	driver_start(&driver, DRIVER_FEATURES);
	guest_region_grow(region, USABLE);
	ck_assert_int_eq(mem_request(mem, 8 * MEM_BLOCK), 0);
}

static void teardown(void)
{
	driver_detach(&driver);
	mem_destroy(mem);
	close(region->fd);
	munmap(region->bytes, ROOM);
	driver_destroy(&driver);
	loop_destroy(&loop);
	records_destroy(&saved);
}

/* Sends so much of a request, with room for so much of an answer. Returns the answer's length. */
static uint32_t send(const struct virtio_mem_req *req, uint32_t req_len,
		     struct virtio_mem_resp *resp, uint32_t resp_len)
{
	struct driver_buffer buffers[2] = {
		{driver_alloc(&driver, sizeof(*req)), req_len, false},
		{driver_alloc(&driver, sizeof(*resp)), resp_len, true},
	};
	uint32_t len;

	memcpy(driver_at(&driver, buffers[0].gpa), req, sizeof(*req));
	memset(driver_at(&driver, buffers[1].gpa), 0xee, sizeof(*resp));
	len = driver_run(&driver, 0, driver_submit(&driver, 0, buffers, 2));
	memcpy(resp, driver_at(&driver, buffers[1].gpa), sizeof(*resp));
	return len;
}

static struct virtio_mem_resp ask_at(uint16_t type, uint64_t gpa, uint16_t count)
{
	struct virtio_mem_req req = {.type = type, .u.plug = {.addr = gpa, .nb_blocks = count}};
	struct virtio_mem_resp resp;

	ck_assert_uint_eq(send(&req, sizeof(req), &resp, sizeof(resp)), sizeof(resp));
	return resp;
}

static unsigned int ask(uint16_t type, uint64_t block, uint16_t count)
{
	return ask_at(type, REGION + block * MEM_BLOCK, count).type;
}

static unsigned int state(uint64_t block, uint16_t count)
{
	struct virtio_mem_resp resp = ask_at(VIRTIO_MEM_REQ_STATE, REGION + block * MEM_BLOCK,
					     count);

	ck_assert_uint_eq(resp.type, VIRTIO_MEM_RESP_ACK);
	return resp.u.state.state;
}

static uint64_t plugged(void)
{
	uint64_t is_requested, is_plugged;

	mem_sizes(mem, &is_requested, &is_plugged);
	return is_plugged / MEM_BLOCK;
}

static uint64_t config(size_t offset)
{
	return driver_read(&driver, VIRTIO_MMIO_CONFIG + (uint32_t)offset) |
	       (uint64_t)driver_read(&driver, VIRTIO_MMIO_CONFIG + (uint32_t)offset + 4) << 32;
}

#define CONFIG(field) config(offsetof(struct virtio_mem_config, field))

START_TEST(the_driver_is_told_what_there_is)
{
	ck_assert_uint_eq(ask(VIRTIO_MEM_REQ_PLUG, 0, 3), VIRTIO_MEM_RESP_ACK);
	ck_assert_uint_eq(CONFIG(block_size), MEM_BLOCK);
	ck_assert_uint_eq(CONFIG(addr), REGION);
	ck_assert_uint_eq(CONFIG(region_size), ROOM);
	ck_assert_uint_eq(CONFIG(usable_region_size), USABLE);
	ck_assert_uint_eq(CONFIG(plugged_size), 3 * MEM_BLOCK);
	ck_assert_uint_eq(CONFIG(requested_size), 8 * MEM_BLOCK);
}
END_TEST

START_TEST(a_request_is_announced)
{
	driver_interrupted(&driver);
	ck_assert_int_eq(mem_request(mem, MEM_BLOCK), 0);
	ck_assert(driver_interrupted(&driver));
	ck_assert_uint_eq(CONFIG(requested_size), MEM_BLOCK);
}
END_TEST

START_TEST(what_the_region_has_not_got_is_not_requested)
{
	ck_assert_int_eq(mem_request(mem, USABLE + MEM_BLOCK), -EINVAL);
	ck_assert_int_eq(mem_request(mem, MEM_BLOCK + 4096), -EINVAL);
	ck_assert_uint_eq(CONFIG(requested_size), 8 * MEM_BLOCK);
}
END_TEST

START_TEST(no_more_is_plugged_than_requested)
{
	ck_assert_uint_eq(ask(VIRTIO_MEM_REQ_PLUG, 4, 9), VIRTIO_MEM_RESP_NACK);
	ck_assert_uint_eq(plugged(), 0);
	ck_assert_uint_eq(ask(VIRTIO_MEM_REQ_PLUG, 4, 8), VIRTIO_MEM_RESP_ACK);
	ck_assert_uint_eq(ask(VIRTIO_MEM_REQ_PLUG, 0, 1), VIRTIO_MEM_RESP_NACK);
	ck_assert_uint_eq(plugged(), 8);
	/* What is there stays there when less is wanted, and nothing comes to it. */
	ck_assert_int_eq(mem_request(mem, 2 * MEM_BLOCK), 0);
	ck_assert_uint_eq(plugged(), 8);
	ck_assert_uint_eq(ask(VIRTIO_MEM_REQ_UNPLUG, 4, 1), VIRTIO_MEM_RESP_ACK);
	ck_assert_uint_eq(ask(VIRTIO_MEM_REQ_PLUG, 4, 1), VIRTIO_MEM_RESP_NACK);
	ck_assert_uint_eq(plugged(), 7);
}
END_TEST

START_TEST(ranges_that_are_none_are_refused)
{
	static const struct {
		uint64_t gpa;
		uint16_t count;
	} wrong[] = {
		{REGION, 0},
		{REGION + 1, 1},
		{REGION + MEM_BLOCK / 2, 1},
		{REGION - MEM_BLOCK, 1},
		{REGION - MEM_BLOCK, 2},
		{REGION + USABLE, 1},
		{REGION + USABLE - MEM_BLOCK, 2},
		{REGION, USABLE / MEM_BLOCK + 1},
		{REGION, UINT16_MAX},
		{REGION + ROOM, 1},
		{0, 1},
		{DRIVER_MEMORY_GPA, 1},
		{UINT64_MAX - MEM_BLOCK + 1, 1},
		{REGION + (1ull << 63), 1},
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		for (uint16_t type = VIRTIO_MEM_REQ_PLUG; type <= VIRTIO_MEM_REQ_STATE; type++)
			if (type != VIRTIO_MEM_REQ_UNPLUG_ALL)
				ck_assert_uint_eq(ask_at(type, wrong[i].gpa, wrong[i].count).type,
						  VIRTIO_MEM_RESP_ERROR);
	ck_assert_uint_eq(plugged(), 0);
	ck_assert_uint_eq(released_count, 0);
}
END_TEST

START_TEST(a_block_is_plugged_once)
{
	ck_assert_uint_eq(ask(VIRTIO_MEM_REQ_PLUG, 2, 1), VIRTIO_MEM_RESP_ACK);
	ck_assert_uint_eq(ask(VIRTIO_MEM_REQ_PLUG, 2, 1), VIRTIO_MEM_RESP_ERROR);
	ck_assert_uint_eq(ask(VIRTIO_MEM_REQ_PLUG, 1, 3), VIRTIO_MEM_RESP_ERROR);
	ck_assert_uint_eq(plugged(), 1);
}
END_TEST

START_TEST(what_is_unplugged_goes_back_to_the_host)
{
	ck_assert_uint_eq(ask(VIRTIO_MEM_REQ_PLUG, 3, 4), VIRTIO_MEM_RESP_ACK);
	ck_assert_uint_eq(ask(VIRTIO_MEM_REQ_UNPLUG, 2, 2), VIRTIO_MEM_RESP_ERROR);
	ck_assert_uint_eq(ask(VIRTIO_MEM_REQ_UNPLUG, 6, 2), VIRTIO_MEM_RESP_ERROR);
	ck_assert_uint_eq(released_count, 0);
	ck_assert_uint_eq(ask(VIRTIO_MEM_REQ_UNPLUG, 4, 2), VIRTIO_MEM_RESP_ACK);
	ck_assert_uint_eq(released_count, 1);
	ck_assert_uint_eq(released[0].block, 4);
	ck_assert_uint_eq(released[0].count, 2);
	ck_assert_uint_eq(ask(VIRTIO_MEM_REQ_UNPLUG, 4, 1), VIRTIO_MEM_RESP_ERROR);
	ck_assert_uint_eq(plugged(), 2);
}
END_TEST

START_TEST(all_is_unplugged_at_once)
{
	ck_assert_uint_eq(ask(VIRTIO_MEM_REQ_PLUG, 0, 2), VIRTIO_MEM_RESP_ACK);
	ck_assert_uint_eq(ask(VIRTIO_MEM_REQ_PLUG, 15, 1), VIRTIO_MEM_RESP_ACK);
	/* The range is not looked at. */
	ck_assert_uint_eq(ask(VIRTIO_MEM_REQ_UNPLUG_ALL, 99, 0), VIRTIO_MEM_RESP_ACK);
	ck_assert_uint_eq(plugged(), 0);
	ck_assert_uint_eq(released_count, 2);
	ck_assert_uint_eq(released[0].block, 0);
	ck_assert_uint_eq(released[0].count, 2);
	ck_assert_uint_eq(released[1].block, 15);
	ck_assert_uint_eq(released[1].count, 1);
	ck_assert_uint_eq(CONFIG(plugged_size), 0);
}
END_TEST

START_TEST(the_state_of_blocks_can_be_asked_for)
{
	ck_assert_uint_eq(ask(VIRTIO_MEM_REQ_PLUG, 2, 2), VIRTIO_MEM_RESP_ACK);
	ck_assert_uint_eq(state(0, 2), VIRTIO_MEM_STATE_UNPLUGGED);
	ck_assert_uint_eq(state(2, 2), VIRTIO_MEM_STATE_PLUGGED);
	ck_assert_uint_eq(state(3, 2), VIRTIO_MEM_STATE_MIXED);
}
END_TEST

START_TEST(requests_that_are_none_are_answered)
{
	struct virtio_mem_req req = {.type = VIRTIO_MEM_REQ_PLUG,
				     .u.plug = {.addr = REGION, .nb_blocks = 1}};
	struct virtio_mem_resp resp;

	ck_assert_uint_eq(ask(VIRTIO_MEM_REQ_STATE + 1, 0, 1), VIRTIO_MEM_RESP_ERROR);
	ck_assert_uint_eq(ask(UINT16_MAX, 0, 1), VIRTIO_MEM_RESP_ERROR);
	/* Cut short; and with too little room for an answer nothing is done. */
	ck_assert_uint_eq(send(&req, sizeof(req) - 1, &resp, sizeof(resp)), sizeof(resp));
	ck_assert_uint_eq(resp.type, VIRTIO_MEM_RESP_ERROR);
	ck_assert_uint_eq(send(&req, sizeof(req), &resp, sizeof(resp) - 1), 0);
	ck_assert_uint_eq(resp.type, 0xeeee);
	ck_assert_uint_eq(plugged(), 0);
}
END_TEST

START_TEST(a_reset_unplugs_nothing)
{
	ck_assert_uint_eq(ask(VIRTIO_MEM_REQ_PLUG, 0, 2), VIRTIO_MEM_RESP_ACK);
	driver_reset(&driver);
	driver_start(&driver, DRIVER_FEATURES);
	ck_assert_uint_eq(plugged(), 2);
	ck_assert_uint_eq(released_count, 0);
	ck_assert_uint_eq(ask(VIRTIO_MEM_REQ_UNPLUG_ALL, 0, 0), VIRTIO_MEM_RESP_ACK);
	ck_assert_uint_eq(plugged(), 0);
}
END_TEST

/* --- saved and loaded --- */

static int exchange_device(void)
{
	struct driver_queue queues[VIRTIO_QUEUES_MAX];

	memcpy(queues, driver.queues, sizeof(queues));
	driver_detach(&driver);
	mem_destroy(mem);
	create_device();
	memcpy(driver.queues, queues, sizeof(queues));
	return virtio_mmio_load(&driver.mmio, &saved, 3, NULL);
}

START_TEST(a_saved_device_goes_on)
{
	ck_assert_uint_eq(ask(VIRTIO_MEM_REQ_PLUG, 1, 5), VIRTIO_MEM_RESP_ACK);
	ck_assert_int_eq(virtio_mmio_save(&driver.mmio, &saved, 3, NULL), 0);
	ck_assert_int_eq(exchange_device(), 0);
	ck_assert_uint_eq(plugged(), 5);
	ck_assert_uint_eq(state(1, 5), VIRTIO_MEM_STATE_PLUGGED);
	ck_assert_uint_eq(ask(VIRTIO_MEM_REQ_PLUG, 6, 4), VIRTIO_MEM_RESP_NACK);
	ck_assert_uint_eq(ask(VIRTIO_MEM_REQ_PLUG, 6, 3), VIRTIO_MEM_RESP_ACK);
	ck_assert_uint_eq(released_count, 0);
}
END_TEST

/* Every byte of what was saved in turn is another one. What is taken must still be sound. */
START_TEST(nonsense_does_no_harm)
{
	struct {
		uint64_t gpa, room, usable, requested;
	} * record;
	uint8_t *blocks;
	size_t len, blocks_len;
	uint64_t is_requested, is_plugged;

	ck_assert_uint_eq(ask(VIRTIO_MEM_REQ_PLUG, 1, 5), VIRTIO_MEM_RESP_ACK);
	ck_assert_int_eq(virtio_mmio_save(&driver.mmio, &saved, 3, NULL), 0);
	record = (void *)(uintptr_t)records_find(&saved, VIRTIO_STATE_MEM, 3, &len);
	ck_assert_uint_eq(len, sizeof(*record));
	for (size_t i = 0; i < len; i++)
		for (unsigned int bit = 0; bit < 8; bit++) {
			((uint8_t *)record)[i] ^= (uint8_t)(1u << bit);
			if (exchange_device() == 0) {
				mem_sizes(mem, &is_requested, &is_plugged);
				ck_assert_uint_le(is_requested, USABLE);
				ck_assert_uint_eq(is_requested % MEM_BLOCK, 0);
			}
			((uint8_t *)record)[i] ^= (uint8_t)(1u << bit);
		}
	blocks = (void *)(uintptr_t)records_find(&saved, VIRTIO_STATE_MEM_BLOCKS, 3, &blocks_len);
	ck_assert_uint_eq(blocks_len, USABLE / MEM_BLOCK / 8);
	blocks[1] = 0x80;
	ck_assert_int_eq(exchange_device(), 0);
	ck_assert_uint_eq(plugged(), 6);
	/* A region that is smaller now. */
	region->len = USABLE - 4 * MEM_BLOCK;
	ck_assert_int_lt(exchange_device(), 0);
	record->usable = region->len;
	ck_assert_int_lt(exchange_device(), 0);
	blocks[1] = 0;
	ck_assert_int_eq(exchange_device(), 0);
	ck_assert_uint_eq(plugged(), 5);
}
END_TEST

Suite *mem_suite(void)
{
	Suite *suite = suite_create("mem");
	TCase *tcase = tcase_create("mem");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, the_driver_is_told_what_there_is);
	tcase_add_test(tcase, a_request_is_announced);
	tcase_add_test(tcase, what_the_region_has_not_got_is_not_requested);
	tcase_add_test(tcase, no_more_is_plugged_than_requested);
	tcase_add_test(tcase, ranges_that_are_none_are_refused);
	tcase_add_test(tcase, a_block_is_plugged_once);
	tcase_add_test(tcase, what_is_unplugged_goes_back_to_the_host);
	tcase_add_test(tcase, all_is_unplugged_at_once);
	tcase_add_test(tcase, the_state_of_blocks_can_be_asked_for);
	tcase_add_test(tcase, requests_that_are_none_are_answered);
	tcase_add_test(tcase, a_reset_unplugs_nothing);
	tcase_add_test(tcase, a_saved_device_goes_on);
	tcase_add_test(tcase, nonsense_does_no_harm);
	suite_add_tcase(suite, tcase);
	return suite;
}
