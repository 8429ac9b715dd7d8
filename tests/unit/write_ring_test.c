#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "devices/write_ring.h"
#include "tests/unit/suites.h"

#define PAGE 4096

static struct write_ring *ring;
static int ends[2];
static struct iovec elements[WRITE_RING_MAX][2];
static struct write_op ops[WRITE_RING_MAX];
static uint8_t bytes[WRITE_RING_MAX][PAGE], got[WRITE_RING_MAX * PAGE];

/* Each op writes len bytes of its own number, every other one in two pieces. */
static void make_ops(size_t len)
{
	for (unsigned int i = 0; i < WRITE_RING_MAX; i++) {
		memset(bytes[i], (int)i + 1, len);
		elements[i][0] = (struct iovec){bytes[i], i % 2 ? len : len / 2};
		elements[i][1] = (struct iovec){bytes[i] + len / 2, len - len / 2};
		ops[i] = (struct write_op){.iov = elements[i], .count = i % 2 ? 1 : 2};
	}
}

static void setup(void)
{
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	ring = write_ring_create();
	ck_assert_ptr_nonnull(ring);
}

static void teardown(void)
{
	write_ring_destroy(ring);
	close_fd(&ends[0]);
	close_fd(&ends[1]);
}

static void all_are_read(unsigned int first, unsigned int count, size_t len)
{
	ck_assert_int_eq(read(ends[0], got, sizeof(got)), (ssize_t)(count * len));
	for (unsigned int i = 0; i < count; i++)
		ck_assert_mem_eq(got + i * len, bytes[first + i], len);
	ck_assert_int_eq(read(ends[0], got, sizeof(got)), -1);
}

START_TEST(all_are_written_in_their_order)
{
	for (unsigned int round = 0; round < 3; round++) {
		make_ops(100);
		ck_assert(write_ring_write(ring, ends[1], ops, WRITE_RING_MAX));
		for (unsigned int i = 0; i < WRITE_RING_MAX; i++)
			ck_assert_int_eq(ops[i].result, 100);
		all_are_read(0, WRITE_RING_MAX, 100);
	}
}
END_TEST

/* When there is room again nobody may be left that waited for it. */
START_TEST(nothing_is_on_its_way_to_what_was_full)
{
	unsigned int room = (unsigned int)fcntl(ends[1], F_SETPIPE_SZ, 4 * PAGE) / PAGE;

	ck_assert_uint_lt(room, WRITE_RING_MAX);
	for (unsigned int round = 0; round < 3; round++) {
		make_ops(PAGE);
		ck_assert(write_ring_write(ring, ends[1], ops, WRITE_RING_MAX));
		for (unsigned int i = 0; i < WRITE_RING_MAX; i++)
			ck_assert_int_eq(ops[i].result, i < room ? PAGE : -EAGAIN);
		all_are_read(0, room, PAGE);
	}
	ck_assert(write_ring_write(ring, ends[1], ops + 5, 2));
	ck_assert_int_eq(ops[5].result, PAGE);
	all_are_read(5, 2, PAGE);
}
END_TEST

START_TEST(one_that_is_refused_does_not_keep_the_others)
{
	make_ops(100);
	elements[3][0].iov_base = NULL;
	ck_assert(write_ring_write(ring, ends[1], ops, 8));
	for (unsigned int i = 0; i < 8; i++)
		ck_assert_int_eq(ops[i].result, i == 3 ? -EFAULT : 100);
	ck_assert_int_eq(read(ends[0], got, sizeof(got)), 700);
	/* What is no place to write at all. */
	ck_assert(write_ring_write(ring, ends[0], ops, 2));
	ck_assert_int_eq(ops[0].result, -EBADF);
	ck_assert_int_eq(ops[1].result, -EBADF);
}
END_TEST

Suite *write_ring_suite(void)
{
	Suite *suite = suite_create("write_ring");
	TCase *tcase = tcase_create("write_ring");
	struct write_ring *one = write_ring_create();

	suite_add_tcase(suite, tcase);
	/* A host that forbids io_uring has nothing to be tested. */
	if (!one)
		return suite;
	write_ring_destroy(one);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, all_are_written_in_their_order);
	tcase_add_test(tcase, nothing_is_on_its_way_to_what_was_full);
	tcase_add_test(tcase, one_that_is_refused_does_not_keep_the_others);
	return suite;
}
