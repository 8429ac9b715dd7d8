#include <check.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/suites.h"
#include "vmm/memory.h"

#define SIZE (16ull << 20)

static struct vm_memory memory, copy;
static int file_fd;
static uint64_t saved_sum;

static void setup(void)
{
	file_fd = memfd_create("template", MFD_CLOEXEC);
	ck_assert_int_eq(ftruncate(file_fd, SIZE), 0);
	ck_assert_int_eq(vm_memory_create(&memory, SIZE, NULL), 0);
	memset(memory.base, 1, 5000);
	memory.base[(5 << 20) + 17] = 2;
	memory.base[SIZE - 1] = 3;
	ck_assert_int_eq(vm_memory_save(&memory, file_fd, -1, -1, &saved_sum, NULL), 0);
}

static void teardown(void)
{
	vm_memory_destroy(&memory);
	close(file_fd);
}

START_TEST(a_copy_has_what_was_saved_and_no_more)
{
	struct stat st;
	uint64_t sum;

	ck_assert_int_eq(vm_memory_copy(&copy, SIZE, file_fd, &sum, NULL), 0);
	ck_assert_uint_eq(sum, saved_sum);
	/* Holes stay holes; the host may have huge pages. Looking at one fills it. */
	ck_assert_int_eq(fstat(copy.fd, &st), 0);
	ck_assert_int_le(st.st_blocks * 512, 3 * (2 << 20));
	ck_assert(!memcmp(copy.base, memory.base, SIZE));
	/* A file of its own: nobody sees what the other writes. */
	copy.base[100] = 9;
	ck_assert_uint_eq(memory.base[100], 1);
	vm_memory_destroy(&copy);
	ck_assert_int_eq(vm_memory_clone(&copy, SIZE, file_fd, -1, NULL), 0);
	ck_assert(!memcmp(copy.base, memory.base, SIZE));
	vm_memory_destroy(&copy);
}
END_TEST

/* What was written, what the template has, and nothing else; wherever the holes are in the file. */
START_TEST(a_clone_is_saved_by_what_is_its_own)
{
	uint8_t bits[SIZE / 4096 / 8] = {[SIZE / 4096 / 16] = 4};
	int out_fd = memfd_create("snapshot", MFD_CLOEXEC);
	int pages_fd = memfd_create("pages", MFD_CLOEXEC);
	uint64_t offset = SIZE / 2 + 2 * 4096 + 5, sum, other;
	struct vm_memory clone;
	uint8_t zeroes[4096] = {0};

	ck_assert_int_eq(ftruncate(out_fd, SIZE), 0);
	ck_assert_int_eq(vm_memory_clone(&clone, SIZE, file_fd, -1, NULL), 0);
	clone.base[offset] = 7;
	ck_assert_int_eq(vm_memory_save(&clone, out_fd, file_fd, pages_fd, &sum, NULL), -EINVAL);
	ck_assert_int_eq(write(pages_fd, bits, sizeof(bits)), (ssize_t)sizeof(bits));
	ck_assert_int_eq(vm_memory_save(&clone, out_fd, file_fd, pages_fd, &sum, NULL), 0);
	ck_assert_uint_ne(sum, saved_sum);
	ck_assert_int_eq(pwrite(out_fd, zeroes, 4096, 3 << 20), 4096);
	ck_assert_int_eq(vm_memory_copy(&copy, SIZE, out_fd, &other, NULL), 0);
	ck_assert_uint_eq(other, sum);
	ck_assert(!memcmp(copy.base, clone.base, SIZE));
	vm_memory_destroy(&copy);
	ck_assert_int_eq(pwrite(out_fd, "x", 1, (5 << 20) + 18), 1);
	ck_assert_int_eq(vm_memory_copy(&copy, SIZE, out_fd, &other, NULL), 0);
	ck_assert_uint_ne(other, sum);
	vm_memory_destroy(&copy);
	vm_memory_destroy(&clone);
	close(out_fd);
	close(pages_fd);
}
END_TEST

/* Behind the rest, and only what there is something in. */
START_TEST(what_came_later_is_saved_too)
{
	const uint64_t room = 2 * MEMORY_MORE_STEP;
	uint64_t sum, other;
	struct stat st;

	ck_assert_int_eq(vm_memory_reserve(&memory, room, NULL), 0);
	guest_region_grow(memory.more, MEMORY_MORE_STEP);
	memory.more->bytes[4096] = 4;
	memory.more->bytes[MEMORY_MORE_STEP - 1] = 5;
	ck_assert_int_eq(ftruncate(file_fd, SIZE + MEMORY_MORE_STEP), 0);
	ck_assert_int_eq(vm_memory_save(&memory, file_fd, -1, -1, &sum, NULL), 0);
	ck_assert_uint_ne(sum, saved_sum);

	ck_assert_int_eq(vm_memory_copy(&copy, SIZE, file_fd, &other, NULL), 0);
	ck_assert_uint_eq(other, saved_sum);
	ck_assert_int_eq(vm_memory_reserve(&copy, room, NULL), 0);
	guest_region_grow(copy.more, MEMORY_MORE_STEP);
	ck_assert_int_eq(vm_memory_copy_more(&copy, file_fd, &other, NULL), 0);
	ck_assert_uint_eq(other, sum);
	ck_assert_int_eq(fstat(copy.more_fd, &st), 0);
	ck_assert_int_le(st.st_blocks * 512, 2 * (2 << 20));
	ck_assert(!memcmp(copy.more->bytes, memory.more->bytes, MEMORY_MORE_STEP));
	vm_memory_destroy(&copy);
}
END_TEST

/* Whoever altered the file: what is beyond the guest's memory is nobody's. */
START_TEST(a_file_of_another_size_stays_within_the_memory)
{
	ck_assert_int_eq(ftruncate(file_fd, 2 * SIZE), 0);
	ck_assert_int_eq(pwrite(file_fd, "beyond", 6, SIZE), 6);
	ck_assert_int_eq(vm_memory_copy(&copy, SIZE, file_fd, NULL, NULL), 0);
	ck_assert(!memcmp(copy.base, memory.base, SIZE));
	vm_memory_destroy(&copy);
	ck_assert_int_eq(ftruncate(file_fd, 4096), 0);
	ck_assert_int_eq(vm_memory_copy(&copy, SIZE, file_fd, NULL, NULL), 0);
	ck_assert(!memcmp(copy.base, memory.base, 4096));
	ck_assert_uint_eq(copy.base[4096], 0);
	vm_memory_destroy(&copy);
}
END_TEST

START_TEST(what_cannot_be_read_is_an_error)
{
	struct error err = {0};
	int ends[2];

	ck_assert_int_eq(pipe(ends), 0);
	ck_assert_int_eq(vm_memory_copy(&copy, SIZE, ends[0], NULL, &err), -ESPIPE);
	ck_assert_str_eq(err.message, "guest memory: look for data: Illegal seek");
	close(ends[0]);
	close(ends[1]);
}
END_TEST

Suite *vm_memory_suite(void)
{
	Suite *suite = suite_create("vm_memory");
	TCase *tc = tcase_create("vm_memory");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_copy_has_what_was_saved_and_no_more);
	tcase_add_test(tc, a_clone_is_saved_by_what_is_its_own);
	tcase_add_test(tc, what_came_later_is_saved_too);
	tcase_add_test(tc, a_file_of_another_size_stays_within_the_memory);
	tcase_add_test(tc, what_cannot_be_read_is_an_error);
	suite_add_tcase(suite, tc);
	return suite;
}
