#include <check.h>
#include <errno.h>
#include <string.h>

#include "tests/unit/driver.h"
#include "tests/unit/dummy.h"
#include "tests/unit/suites.h"

static struct driver driver;
static struct loop loop;
static struct dummy dummy;
static struct virtqueue *vq;
static struct virtqueue_chain chain;

static void setup_with(uint64_t features, uint16_t size)
{
	ck_assert(driver_negotiate(&driver, features));
	driver_queue_setup(&driver, 0, size);
	driver_ok(&driver);
	vq = &dummy.dev.queues[0];
	ck_assert(vq->state.ready);
}

static void setup(void)
{
	dummy_plug(&dummy, &driver, &loop);
}

static void teardown(void)
{
	dummy_unplug(&dummy, &driver, &loop);
}

static struct virtqueue_head chain_of(uint16_t id)
{
	return (struct virtqueue_head){.id = id, .slots = 1};
}

static uint64_t filled(const char *text)
{
	uint64_t gpa = driver_alloc(&driver, (uint32_t)strlen(text));

	memcpy(driver_at(&driver, gpa), text, strlen(text));
	return gpa;
}

static void check_abc(uint16_t head)
{
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 1);
	ck_assert_uint_eq(chain.head.id, head);
	ck_assert_uint_eq(chain.readable, 2);
	ck_assert_uint_eq(chain.readable_len, 5);
	ck_assert_uint_eq(chain.writable, 1);
	ck_assert_uint_eq(chain.writable_len, 7);
	ck_assert_mem_eq(chain.iov[0].iov_base, "abc", 3);
	ck_assert_uint_eq(chain.iov[0].iov_len, 3);
	ck_assert_mem_eq(chain.iov[1].iov_base, "de", 2);
	ck_assert_uint_eq(virtqueue_chain_writable(&chain)->iov_len, 7);
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 0);
}

START_TEST(a_chain_is_what_the_driver_described)
{
	struct driver_buffer buffers[4];

	setup_with(DRIVER_FEATURES, 16);
	buffers[0] = (struct driver_buffer){filled("abc"), 3, false};
	buffers[1] = (struct driver_buffer){filled("de"), 2, false};
	buffers[2] = (struct driver_buffer){0, 0, false}; /* empty: left out */
	buffers[3] = (struct driver_buffer){driver_alloc(&driver, 7), 7, true};
	check_abc(driver_submit(&driver, 0, buffers, 4));
	check_abc(driver_submit_indirect(&driver, 0, buffers, 4));
}
END_TEST

START_TEST(used_entries_come_back_in_order)
{
	struct driver_buffer buffer = {driver_alloc(&driver, 8), 8, true};
	struct vring_used_elem elem;
	uint16_t a, b;

	setup_with(DRIVER_FEATURES, 16);
	a = driver_submit(&driver, 0, &buffer, 1);
	b = driver_submit(&driver, 0, &buffer, 1);
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 1);
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 1);
	virtqueue_push(vq, chain_of(b), 3);
	virtqueue_push(vq, chain_of(a), 8);
	ck_assert(driver_collect(&driver, 0, &elem));
	ck_assert_uint_eq(elem.id, b);
	ck_assert_uint_eq(elem.len, 3);
	ck_assert(driver_collect(&driver, 0, &elem));
	ck_assert_uint_eq(elem.id, a);
	ck_assert_uint_eq(elem.len, 8);
	ck_assert(!driver_collect(&driver, 0, &elem));
}
END_TEST

START_TEST(indexes_wrap)
{
	struct driver_buffer buffer = {driver_alloc(&driver, 8), 8, true};
	struct vring_used_elem elem;

	setup_with(DRIVER_FEATURES, 4);
	for (unsigned int i = 0; i < 70000; i++) {
		uint16_t head = driver_submit(&driver, 0, &buffer, 1);

		ck_assert(virtqueue_pop(vq, &chain) == 1 && chain.head.id == head);
		virtqueue_push(vq, chain_of(head), i);
		ck_assert(virtqueue_wants_interrupt(vq));
		ck_assert(driver_collect(&driver, 0, &elem) && elem.len == i);
	}
}
END_TEST

START_TEST(a_chain_given_back_comes_again)
{
	struct driver_buffer buffer = {driver_alloc(&driver, 8), 8, true};
	uint16_t head;

	setup_with(DRIVER_FEATURES, 16);
	head = driver_submit(&driver, 0, &buffer, 1);
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 1);
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 0);
	virtqueue_unpop(vq, chain.head, chain.readable_len);
	ck_assert_uint_eq(vq->stats.requests, 0);
	ck_assert_uint_eq(vq->stats.bytes_out, 0);
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 1);
	ck_assert_uint_eq(chain.head.id, head);
	ck_assert_uint_eq(vq->stats.requests, 1);
}
END_TEST

START_TEST(a_readable_buffer_after_a_writable_one_is_refused)
{
	struct driver_buffer buffers[2] = {{driver_alloc(&driver, 8), 8, true},
					   {driver_alloc(&driver, 8), 8, false}};

	setup_with(DRIVER_FEATURES, 16);
	driver_submit(&driver, 0, buffers, 2);
	ck_assert_int_eq(virtqueue_pop(vq, &chain), -EPROTO);
}
END_TEST

/* Each row is a buffer that lies at least partly outside of memory. */
static const struct driver_buffer outside[] = {
	{0, 1, false},
	{DRIVER_MEMORY_GPA - 1, 2, true},
	{DRIVER_MEMORY_GPA + DRIVER_MEMORY_LEN - 1, 2, false},
	{DRIVER_MEMORY_GPA + DRIVER_MEMORY_LEN, 1, true},
	{DRIVER_MEMORY_GPA, UINT32_MAX, true},
	{UINT64_MAX, 1, false},
	{UINT64_MAX - 3, UINT32_MAX, false},
};

START_TEST(addresses_outside_of_memory_are_refused)
{
	setup_with(DRIVER_FEATURES, 16);
	driver_submit(&driver, 0, &outside[_i], 1);
	ck_assert_int_eq(virtqueue_pop(vq, &chain), -EPROTO);
}
END_TEST

START_TEST(a_loop_ends)
{
	struct driver_buffer buffer = {driver_alloc(&driver, 8), _i ? 8 : 0, false};
	uint16_t head;

	setup_with(DRIVER_FEATURES, 16);
	head = driver_submit(&driver, 0, &buffer, 1);
	driver.queues[0].desc[head].flags = VRING_DESC_F_NEXT;
	driver.queues[0].desc[head].next = head;
	ck_assert_int_eq(virtqueue_pop(vq, &chain), -EPROTO);
}
END_TEST

START_TEST(indexes_out_of_range_are_refused)
{
	struct driver_buffer buffer = {driver_alloc(&driver, 8), 8, false};
	uint16_t head;

	setup_with(DRIVER_FEATURES, 16);
	if (_i == 0) {
		driver_offer(&driver, 0, 16);
	} else if (_i == 1) {
		head = driver_submit(&driver, 0, &buffer, 1);
		driver.queues[0].desc[head].flags = VRING_DESC_F_NEXT;
		driver.queues[0].desc[head].next = 16;
	} else {
		/* More entries than there can be. */
		driver_submit(&driver, 0, &buffer, 1);
		driver.queues[0].avail->idx = 17;
	}
	ck_assert_int_eq(virtqueue_pop(vq, &chain), -EPROTO);
}
END_TEST

enum {
	NOT_NEGOTIATED,
	NESTED,
	ODD_LENGTH,
	NO_LENGTH,
	WITH_NEXT,
	NEXT_BEYOND,
	TABLE_OUTSIDE,
	KINDS
};

START_TEST(indirect_tables_that_break_the_rules_are_refused)
{
	uint64_t features = DRIVER_FEATURES;
	struct driver_buffer buffer = {driver_alloc(&driver, 8), 8, false};
	struct vring_desc *desc, *table;

	if (_i == NOT_NEGOTIATED)
		features &= ~(1ull << VIRTIO_RING_F_INDIRECT_DESC);
	setup_with(features, 16);
	desc = &driver.queues[0].desc[driver_submit_indirect(&driver, 0, &buffer, 1)];
	table = driver_at(&driver, desc->addr);
	if (_i == NESTED)
		table->flags = VRING_DESC_F_INDIRECT;
	else if (_i == ODD_LENGTH)
		desc->len = 17;
	else if (_i == NO_LENGTH)
		desc->len = 0;
	else if (_i == WITH_NEXT)
		desc->flags |= VRING_DESC_F_NEXT;
	else if (_i == NEXT_BEYOND)
		*table = (struct vring_desc){buffer.gpa, 8, VRING_DESC_F_NEXT, 1};
	else if (_i == TABLE_OUTSIDE)
		desc->addr = DRIVER_MEMORY_GPA + DRIVER_MEMORY_LEN - 8;
	ck_assert_int_eq(virtqueue_pop(vq, &chain), -EPROTO);
}
END_TEST

START_TEST(direct_descriptors_may_precede_an_indirect_table)
{
	struct driver_buffer first = {filled("abc"), 3, false};
	struct driver_buffer second = {filled("de"), 2, false};
	uint16_t head, indirect;

	setup_with(DRIVER_FEATURES, 16);
	indirect = driver_submit_indirect(&driver, 0, &second, 1);
	head = driver_submit(&driver, 0, &first, 1);
	driver.queues[0].desc[head].flags = VRING_DESC_F_NEXT;
	driver.queues[0].desc[head].next = indirect;
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 1);
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 1);
	ck_assert_uint_eq(chain.head.id, head);
	ck_assert_uint_eq(chain.readable_len, 5);
	ck_assert_mem_eq(chain.iov[1].iov_base, "de", 2);
}
END_TEST

START_TEST(segments_are_bounded)
{
	struct driver_buffer buffers[VIRTQUEUE_SEGMENTS_MAX + 1];
	uint64_t gpa = driver_alloc(&driver, 8);

	for (unsigned int i = 0; i <= VIRTQUEUE_SEGMENTS_MAX; i++)
		buffers[i] = (struct driver_buffer){gpa, 8, true};
	setup_with(DRIVER_FEATURES, 16);
	driver_submit_indirect(&driver, 0, buffers, VIRTQUEUE_SEGMENTS_MAX);
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 1);
	ck_assert_uint_eq(chain.writable, VIRTQUEUE_SEGMENTS_MAX);
	driver_submit_indirect(&driver, 0, buffers, VIRTQUEUE_SEGMENTS_MAX + 1);
	ck_assert_int_eq(virtqueue_pop(vq, &chain), -EPROTO);
}
END_TEST

/* The field behind the used ring, 2.7.10. */
static uint16_t avail_event(const struct driver_queue *dq)
{
	uint16_t event;

	memcpy(&event, &dq->used->ring[dq->size], sizeof(event));
	return event;
}

START_TEST(notifications_are_asked_for_when_the_ring_is_empty)
{
	struct driver_buffer buffer = {driver_alloc(&driver, 8), 8, true};
	struct driver_queue *dq = &driver.queues[0];

	setup_with(DRIVER_FEATURES, 16);
	driver_submit(&driver, 0, &buffer, 1);
	driver_submit(&driver, 0, &buffer, 1);
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 1);
	ck_assert_uint_eq(avail_event(dq), 0);
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 1);
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 0);
	ck_assert_uint_eq(avail_event(dq), 2);
}
END_TEST

START_TEST(a_polled_queue_asks_when_it_rests)
{
	struct driver_buffer buffer = {driver_alloc(&driver, 8), 8, true};
	struct driver_queue *dq = &driver.queues[0];

	setup_with(DRIVER_FEATURES, 16);
	virtqueue_poll(vq);
	driver_submit(&driver, 0, &buffer, 1);
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 1);
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 0);
	ck_assert_uint_eq(avail_event(dq), 0);
	ck_assert(!virtqueue_rest(vq));
	ck_assert_uint_eq(avail_event(dq), 1);
	virtqueue_poll(vq);
	driver_submit(&driver, 0, &buffer, 1);
	ck_assert(virtqueue_rest(vq));
}
END_TEST

START_TEST(what_came_later_is_seen_by_the_next_look)
{
	struct driver_buffer buffer = {driver_alloc(&driver, 8), 8, true};
	struct driver_queue *dq = &driver.queues[0];

	setup_with(DRIVER_FEATURES, 16);
	ck_assert(!virtqueue_has_next(vq));
	driver_submit(&driver, 0, &buffer, 1);
	driver_submit(&driver, 0, &buffer, 1);
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 1);
	ck_assert(virtqueue_has_next(vq));
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 1);
	driver_submit(&driver, 0, &buffer, 1);
	ck_assert(!virtqueue_has_next(vq));
	ck_assert_uint_eq(avail_event(dq), 0);
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 1);
}
END_TEST

START_TEST(notifications_follow_the_flag_without_event_idx)
{
	struct driver_buffer buffer = {driver_alloc(&driver, 8), 8, true};
	const struct vring_used *used;

	setup_with(1ull << VIRTIO_F_VERSION_1, 16);
	used = driver.queues[0].used;
	driver_submit(&driver, 0, &buffer, 1);
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 1);
	ck_assert_uint_eq(used->flags, VRING_USED_F_NO_NOTIFY);
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 0);
	ck_assert_uint_eq(used->flags, 0);
}
END_TEST

START_TEST(interrupts_follow_used_event)
{
	struct driver_queue *dq = &driver.queues[0];

	setup_with(DRIVER_FEATURES, 16);
	ck_assert(!virtqueue_wants_interrupt(vq));
	dq->avail->ring[16] = 2; /* when the third one is used */
	virtqueue_push(vq, chain_of(0), 0);
	virtqueue_push(vq, chain_of(1), 0);
	ck_assert(!virtqueue_wants_interrupt(vq));
	virtqueue_push(vq, chain_of(2), 0);
	ck_assert(virtqueue_wants_interrupt(vq));
	ck_assert(!virtqueue_wants_interrupt(vq));
	virtqueue_push(vq, chain_of(3), 0);
	ck_assert(!virtqueue_wants_interrupt(vq));
}
END_TEST

START_TEST(interrupts_follow_the_flag_without_event_idx)
{
	setup_with(1ull << VIRTIO_F_VERSION_1, 16);
	ck_assert(!virtqueue_wants_interrupt(vq));
	virtqueue_push(vq, chain_of(0), 0);
	ck_assert(virtqueue_wants_interrupt(vq));
	driver.queues[0].avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	virtqueue_push(vq, chain_of(1), 0);
	ck_assert(!virtqueue_wants_interrupt(vq));
}
END_TEST

START_TEST(queues_are_checked_when_enabled)
{
	uint64_t at = DRIVER_MEMORY_GPA, end = DRIVER_MEMORY_GPA + DRIVER_MEMORY_LEN;
	const struct virtqueue_state states[] = {
		{.size = 0, .desc_gpa = at, .avail_gpa = at, .used_gpa = at},
		{.size = 3, .desc_gpa = at, .avail_gpa = at, .used_gpa = at},
		{.size = 32, .desc_gpa = at, .avail_gpa = at, .used_gpa = at},
		{.size = 16, .desc_gpa = at + 8, .avail_gpa = at, .used_gpa = at},
		{.size = 16, .desc_gpa = at, .avail_gpa = at + 1, .used_gpa = at},
		{.size = 16, .desc_gpa = at, .avail_gpa = at, .used_gpa = at + 2},
		{.size = 16, .desc_gpa = end - 240, .avail_gpa = at, .used_gpa = at},
		{.size = 16, .desc_gpa = at, .avail_gpa = end - 36, .used_gpa = at},
		{.size = 16, .desc_gpa = at, .avail_gpa = at, .used_gpa = end - 132},
		{.size = 16, .desc_gpa = 0, .avail_gpa = at, .used_gpa = at},
	};
	struct virtqueue queue;

	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		virtqueue_init(&queue, &driver.mem, 16);
		queue.state = states[i];
		ck_assert_int_eq(virtqueue_enable(&queue), -EINVAL);
		ck_assert(!queue.state.ready);
		ck_assert_int_eq(virtqueue_pop(&queue, &chain), 0);
	}
	queue.state = (struct virtqueue_state){
		.size = 16, .desc_gpa = end - 256, .avail_gpa = end - 38, .used_gpa = at};
	ck_assert_int_eq(virtqueue_enable(&queue), 0);
}
END_TEST

Suite *virtqueue_suite(void)
{
	Suite *suite = suite_create("virtqueue");
	TCase *tcase = tcase_create("virtqueue");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, a_chain_is_what_the_driver_described);
	tcase_add_test(tcase, used_entries_come_back_in_order);
	tcase_add_test(tcase, indexes_wrap);
	tcase_add_test(tcase, a_chain_given_back_comes_again);
	tcase_add_test(tcase, a_readable_buffer_after_a_writable_one_is_refused);
	tcase_add_loop_test(tcase, addresses_outside_of_memory_are_refused, 0,
			    (int)(sizeof(outside) / sizeof(outside[0])));
	tcase_add_loop_test(tcase, a_loop_ends, 0, 2);
	tcase_add_loop_test(tcase, indexes_out_of_range_are_refused, 0, 3);
	tcase_add_loop_test(tcase, indirect_tables_that_break_the_rules_are_refused, 0, KINDS);
	tcase_add_test(tcase, direct_descriptors_may_precede_an_indirect_table);
	tcase_add_test(tcase, segments_are_bounded);
	tcase_add_test(tcase, notifications_are_asked_for_when_the_ring_is_empty);
	tcase_add_test(tcase, a_polled_queue_asks_when_it_rests);
	tcase_add_test(tcase, what_came_later_is_seen_by_the_next_look);
	tcase_add_test(tcase, notifications_follow_the_flag_without_event_idx);
	tcase_add_test(tcase, interrupts_follow_used_event);
	tcase_add_test(tcase, interrupts_follow_the_flag_without_event_idx);
	tcase_add_test(tcase, queues_are_checked_when_enabled);
	suite_add_tcase(suite, tcase);
	return suite;
}
