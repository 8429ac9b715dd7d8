/* What is a packed ring's own (virtio 1.2, section 2.8); devices run on it in their own tests. */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "tests/unit/driver.h"
#include "tests/unit/dummy.h"
#include "tests/unit/suites.h"

#define FEATURES (VIRTIO_FEATURES_COMMON | 1ull << VIRTIO_F_RING_PACKED)
#define NO_EVENT (FEATURES & ~(1ull << VIRTIO_RING_F_EVENT_IDX))

static struct driver driver;
static struct loop loop;
static struct dummy dummy;
static struct virtqueue *vq;
static struct virtqueue_chain chain;

static void start(uint64_t features, uint16_t size)
{
	dummy.dev.features |= 1ull << VIRTIO_F_RING_PACKED;
	ck_assert(driver_negotiate(&driver, features));
	driver_queue_setup(&driver, 0, size);
	driver_ok(&driver);
	vq = &dummy.dev.queues[0];
	ck_assert(vq->state.ready && vq->state.packed);
}

static void setup(void)
{
	dummy_plug(&dummy, &driver, &loop);
}

static void teardown(void)
{
	dummy_unplug(&dummy, &driver, &loop);
}

static struct driver_buffer buffer(uint32_t len, bool writable)
{
	return (struct driver_buffer){driver_alloc(&driver, len), len, writable};
}

static struct vring_packed_desc *ring(void)
{
	return driver.queues[0].ring;
}

static void check_chain(uint16_t id, uint16_t slots)
{
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 1);
	ck_assert_uint_eq(chain.head.id, id);
	ck_assert_uint_eq(chain.head.slots, slots);
	ck_assert_uint_eq(chain.readable, 2);
	ck_assert_uint_eq(chain.readable_len, 5);
	ck_assert_uint_eq(chain.writable, 1);
	ck_assert_uint_eq(chain.writable_len, 7);
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 0);
}

START_TEST(a_chain_is_what_the_driver_described)
{
	struct driver_buffer buffers[] = {
		buffer(3, false), buffer(2, false), {0, 0, false}, buffer(7, true)};

	start(FEATURES, 16);
	check_chain(driver_submit(&driver, 0, buffers, 4), 4);
	check_chain(driver_submit_indirect(&driver, 0, buffers, 4), 1);
}
END_TEST

/* Chains of every length go over the end of rings of sizes that are no powers of two. */
START_TEST(positions_wrap_in_rings_of_any_size)
{
	struct driver_buffer buffers[] = {buffer(3, false), buffer(2, false), buffer(7, true)};
	struct vring_used_elem elem;

	start(FEATURES, (uint16_t)_i);
	for (unsigned int i = 0; i < 1000; i++) {
		unsigned int count = 1 + i % 3;
		uint16_t id = driver_submit(&driver, 0, buffers, count);

		ck_assert(virtqueue_pop(vq, &chain) == 1 && chain.head.id == id);
		ck_assert_uint_eq(chain.head.slots, count);
		ck_assert_int_eq(virtqueue_pop(vq, &chain), 0);
		virtqueue_push(vq, (struct virtqueue_head){id, (uint16_t)count}, i);
		ck_assert(virtqueue_wants_interrupt(vq));
		ck_assert(driver_collect(&driver, 0, &elem));
		ck_assert(elem.id == id && elem.len == i);
		ck_assert(!driver_collect(&driver, 0, &elem));
	}
}
END_TEST

/* Completed out of order, and shown by one store: the first of the batch comes last. */
START_TEST(a_batch_is_seen_as_a_whole)
{
	struct driver_buffer one = buffer(8, true);
	struct virtqueue_head heads[3];
	struct vring_used_elem elem;

	start(FEATURES, 16);
	for (unsigned int i = 0; i < 3; i++) {
		driver_submit(&driver, 0, &one, 1);
		ck_assert_int_eq(virtqueue_pop(vq, &chain), 1);
		heads[i] = chain.head;
	}
	for (unsigned int i = 3; i-- > 0;)
		virtqueue_put(vq, heads[i], 8);
	ck_assert(!driver_collect(&driver, 0, &elem));
	virtqueue_publish(vq);
	for (unsigned int i = 3; i-- > 0;) {
		ck_assert(driver_collect(&driver, 0, &elem));
		ck_assert_uint_eq(elem.id, heads[i].id);
	}
	ck_assert_uint_eq(vq->stats.batches[1], 1);
}
END_TEST

START_TEST(chains_given_back_come_again)
{
	struct driver_buffer buffers[] = {buffer(3, false), buffer(2, false), buffer(7, true)};
	static struct virtqueue_chain first, second;

	start(FEATURES, 5);
	/* So that the first one goes over the end. */
	driver_submit(&driver, 0, buffers, 3);
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 1);
	virtqueue_push(vq, chain.head, 0);
	driver_submit(&driver, 0, buffers, 3);
	driver_submit(&driver, 0, buffers, 2);
	ck_assert_int_eq(virtqueue_pop(vq, &first), 1);
	ck_assert_int_eq(virtqueue_pop(vq, &second), 1);
	virtqueue_unpop(vq, second.head, second.readable_len);
	virtqueue_unpop(vq, first.head, first.readable_len);
	ck_assert(virtqueue_pop(vq, &chain) == 1 && chain.head.id == first.head.id);
	ck_assert(virtqueue_pop(vq, &chain) == 1 && chain.head.id == second.head.id);
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 0);
}
END_TEST

enum {
	NO_END,
	READABLE_LAST,
	OUTSIDE,
	TABLE_AND_NEXT,
	TABLE_IN_CHAIN,
	TABLE_NOT_NEGOTIATED,
	TABLE_ODD,
	TABLE_EMPTY,
	TABLE_LONG,
	TABLE_OUTSIDE,
	BREAKS
};

START_TEST(rings_that_break_the_rules_are_refused)
{
	struct driver_buffer buffers[] = {buffer(8, true), buffer(8, true)};
	uint64_t features = FEATURES;

	if (_i == TABLE_NOT_NEGOTIATED)
		features &= ~(1ull << VIRTIO_RING_F_INDIRECT_DESC);
	start(features, 2);
	if (_i > OUTSIDE && _i != TABLE_IN_CHAIN)
		driver_submit_indirect(&driver, 0, buffers, 1);
	else
		driver_submit(&driver, 0, buffers, 2);
	if (_i == NO_END)
		ring()[1].flags |= VRING_DESC_F_NEXT;
	else if (_i == READABLE_LAST)
		ring()[1].flags &= (uint16_t)~VRING_DESC_F_WRITE;
	else if (_i == OUTSIDE)
		ring()[1].addr = DRIVER_MEMORY_GPA + DRIVER_MEMORY_LEN - 7;
	else if (_i == TABLE_AND_NEXT)
		ring()[0].flags |= VRING_DESC_F_NEXT;
	else if (_i == TABLE_IN_CHAIN)
		ring()[1].flags |= VRING_DESC_F_INDIRECT;
	else if (_i == TABLE_ODD)
		ring()[0].len = 17;
	else if (_i == TABLE_EMPTY)
		ring()[0].len = 0;
	else if (_i == TABLE_LONG)
		ring()[0].len = (VIRTQUEUE_SEGMENTS_MAX + 1) * 16;
	else if (_i == TABLE_OUTSIDE)
		ring()[0].addr = DRIVER_MEMORY_GPA + DRIVER_MEMORY_LEN - 8;
	ck_assert_int_eq(virtqueue_pop(vq, &chain), -EPROTO);
}
END_TEST

/* The driver asks for one wherever the device will be, which uses so many at once. */
START_TEST(interrupts_follow_the_event_wherever_it_is)
{
	struct driver_buffer one = buffer(8, true);
	unsigned int step = (unsigned int)_i, size = 5;

	start(FEATURES, (uint16_t)size);
	for (unsigned int at = 0; at < 40; at += step) {
		unsigned int event = at + step - 1, wrap = !(event / size % 2);

		driver.queues[0].driver_event->off_wrap =
			(uint16_t)(event % size | wrap << VRING_PACKED_EVENT_F_WRAP_CTR);
		driver.queues[0].driver_event->flags = VRING_PACKED_EVENT_FLAG_DESC;
		ck_assert(!virtqueue_wants_interrupt(vq));
		for (unsigned int i = 0; i < step; i++) {
			driver_submit(&driver, 0, &one, 1);
			ck_assert_int_eq(virtqueue_pop(vq, &chain), 1);
			virtqueue_push(vq, chain.head, 0);
			/* Looked at each time, and in every other round all at once. */
			if (at / step % 2)
				ck_assert_int_eq(virtqueue_wants_interrupt(vq), i == step - 1);
		}
		ck_assert_int_eq(virtqueue_wants_interrupt(vq), !(at / step % 2));
	}
}
END_TEST

START_TEST(an_event_further_on_is_waited_for)
{
	struct driver_buffer one = buffer(8, true);

	start(FEATURES, 8);
	driver.queues[0].driver_event->off_wrap = 2 | 1u << VRING_PACKED_EVENT_F_WRAP_CTR;
	driver.queues[0].driver_event->flags = VRING_PACKED_EVENT_FLAG_DESC;
	for (unsigned int i = 0; i < 4; i++) {
		driver_submit(&driver, 0, &one, 1);
		ck_assert_int_eq(virtqueue_pop(vq, &chain), 1);
		virtqueue_push(vq, chain.head, 0);
		ck_assert_int_eq(virtqueue_wants_interrupt(vq), i == 2);
	}
	ck_assert_uint_eq(vq->stats.interrupts, 1);
	ck_assert_uint_eq(vq->stats.suppressed, 3);
}
END_TEST

START_TEST(flags_alone_say_it_without_event_idx)
{
	struct vring_packed_desc_event *from_driver, *from_device;
	struct driver_buffer one = buffer(8, true);

	start(NO_EVENT, 8);
	from_driver = driver.queues[0].driver_event;
	from_device = driver.queues[0].device_event;
	driver_submit(&driver, 0, &one, 1);
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 1);
	ck_assert_uint_eq(from_device->flags, VRING_PACKED_EVENT_FLAG_DISABLE);
	virtqueue_push(vq, chain.head, 0);
	ck_assert(virtqueue_wants_interrupt(vq));
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 0);
	ck_assert_uint_eq(from_device->flags, VRING_PACKED_EVENT_FLAG_ENABLE);
	from_driver->flags = VRING_PACKED_EVENT_FLAG_DISABLE;
	driver_submit(&driver, 0, &one, 1);
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 1);
	virtqueue_push(vq, chain.head, 0);
	ck_assert(!virtqueue_wants_interrupt(vq));
}
END_TEST

START_TEST(notifications_are_asked_for_where_the_device_waits)
{
	struct driver_buffer one = buffer(8, true);
	const struct vring_packed_desc_event *event;

	start(FEATURES, 8);
	event = driver.queues[0].device_event;
	driver_submit(&driver, 0, &one, 1);
	driver_submit(&driver, 0, &one, 1);
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 1);
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 1);
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 0);
	ck_assert_uint_eq(event->flags, VRING_PACKED_EVENT_FLAG_DESC);
	ck_assert_uint_eq(event->off_wrap, 2 | 1u << VRING_PACKED_EVENT_F_WRAP_CTR);
}
END_TEST

START_TEST(a_polled_queue_asks_when_it_rests)
{
	struct driver_buffer one = buffer(8, true);
	const struct vring_packed_desc_event *event;

	start(FEATURES, 8);
	event = driver.queues[0].device_event;
	virtqueue_poll(vq);
	driver_submit(&driver, 0, &one, 1);
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 1);
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 0);
	ck_assert_uint_eq(event->off_wrap, 1u << VRING_PACKED_EVENT_F_WRAP_CTR);
	ck_assert(!virtqueue_rest(vq));
	ck_assert_uint_eq(event->off_wrap, 1 | 1u << VRING_PACKED_EVENT_F_WRAP_CTR);
	virtqueue_poll(vq);
	driver_submit(&driver, 0, &one, 1);
	ck_assert(virtqueue_rest(vq));
	/* It did not poll. */
	ck_assert(!virtqueue_rest(vq));
}
END_TEST

START_TEST(a_look_at_the_next_chain_asks_for_nothing)
{
	struct driver_buffer one = buffer(8, true);
	const struct vring_packed_desc_event *event;

	start(FEATURES, 8);
	event = driver.queues[0].device_event;
	ck_assert(!virtqueue_has_next(vq));
	driver_submit(&driver, 0, &one, 1);
	driver_submit(&driver, 0, &one, 1);
	ck_assert(virtqueue_has_next(vq));
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 1);
	ck_assert(virtqueue_has_next(vq));
	ck_assert_int_eq(virtqueue_pop(vq, &chain), 1);
	ck_assert(!virtqueue_has_next(vq));
	ck_assert_uint_eq(event->off_wrap, 1u << VRING_PACKED_EVENT_F_WRAP_CTR);
}
END_TEST

START_TEST(a_queue_goes_on_where_it_was_saved)
{
	struct driver_buffer buffers[] = {buffer(3, false), buffer(2, false), buffer(7, true)};
	struct virtqueue saved;
	struct vring_used_elem elem;

	start(FEATURES, 7);
	for (unsigned int i = 0; i < 50; i++) {
		uint16_t id = driver_submit(&driver, 0, buffers, 3);

		saved = *vq;
		virtqueue_init(vq, &driver.mem, DUMMY_QUEUE_SIZE);
		vq->state = saved.state;
		vq->state.ready = false;
		ck_assert_int_eq(virtqueue_enable(vq), 0);
		ck_assert(virtqueue_pop(vq, &chain) == 1 && chain.head.id == id);
		virtqueue_push(vq, chain.head, 7);
		ck_assert(driver_collect(&driver, 0, &elem) && elem.id == id);
	}
}
END_TEST

START_TEST(queues_are_checked_when_enabled)
{
	uint64_t at = DRIVER_MEMORY_GPA, end = DRIVER_MEMORY_GPA + DRIVER_MEMORY_LEN;
	const struct virtqueue_state good = {.size = 7,
					     .desc_gpa = end - 112,
					     .avail_gpa = end - 4,
					     .used_gpa = at,
					     .next_avail = 6 | 0x8000,
					     .packed = true};
	struct virtqueue_state states[10];
	struct virtqueue queue;

	for (unsigned int i = 0; i < 10; i++)
		states[i] = good;
	states[0].size = 0;
	states[1].size = 17;
	states[2].next_avail = 7;
	states[3].next_used = 0x7fff;
	states[4].signalled = 7 | 0x8000;
	states[5].desc_gpa += 8;
	states[6].desc_gpa += 16;
	states[7].avail_gpa -= 2;
	states[8].avail_gpa += 4;
	states[9].used_gpa = 0;
	for (unsigned int i = 0; i < 10; i++) {
		virtqueue_init(&queue, &driver.mem, 16);
		queue.state = states[i];
		ck_assert_int_eq(virtqueue_enable(&queue), -EINVAL);
		ck_assert_int_eq(virtqueue_pop(&queue, &chain), 0);
	}
	queue.state = good;
	ck_assert_int_eq(virtqueue_enable(&queue), 0);
}
END_TEST

Suite *packed_suite(void)
{
	Suite *suite = suite_create("packed");
	TCase *tcase = tcase_create("packed");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, a_chain_is_what_the_driver_described);
	tcase_add_loop_test(tcase, positions_wrap_in_rings_of_any_size, 3, 9);
	tcase_add_test(tcase, a_batch_is_seen_as_a_whole);
	tcase_add_test(tcase, chains_given_back_come_again);
	tcase_add_loop_test(tcase, rings_that_break_the_rules_are_refused, 0, BREAKS);
	tcase_add_loop_test(tcase, interrupts_follow_the_event_wherever_it_is, 1, 6);
	tcase_add_test(tcase, an_event_further_on_is_waited_for);
	tcase_add_test(tcase, flags_alone_say_it_without_event_idx);
	tcase_add_test(tcase, notifications_are_asked_for_where_the_device_waits);
	tcase_add_test(tcase, a_polled_queue_asks_when_it_rests);
	tcase_add_test(tcase, a_look_at_the_next_chain_asks_for_nothing);
	tcase_add_test(tcase, a_queue_goes_on_where_it_was_saved);
	tcase_add_test(tcase, queues_are_checked_when_enabled);
	suite_add_tcase(suite, tcase);
	return suite;
}
