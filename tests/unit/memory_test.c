/* guest_memory and iov. */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "devices/guest_memory.h"
#include "devices/iov.h"
#include "tests/unit/suites.h"

static uint8_t low[64], high[64];

static struct guest_memory two_regions(void)
{
	struct guest_memory mem = {.count = 0};

	ck_assert_int_eq(guest_memory_add(&mem, 0x1000, sizeof(low), low), 0);
	/* Neighbours in the guest are none on the host. */
	ck_assert_int_eq(guest_memory_add(&mem, 0x1000 + sizeof(low), sizeof(high), high), 0);
	return mem;
}

START_TEST(ranges_are_found_or_refused)
{
	struct guest_memory mem = two_regions();

	ck_assert_ptr_eq(guest_memory_range(&mem, 0x1000, 64), low);
	ck_assert_ptr_eq(guest_memory_range(&mem, 0x103f, 1), low + 63);
	ck_assert_ptr_eq(guest_memory_range(&mem, 0x1040, 64), high);
	ck_assert_ptr_null(guest_memory_range(&mem, 0x1000, 0));
	ck_assert_ptr_null(guest_memory_range(&mem, 0xfff, 1));
	ck_assert_ptr_null(guest_memory_range(&mem, 0x103f, 2));
	ck_assert_ptr_null(guest_memory_range(&mem, 0x1000, 65));
	ck_assert_ptr_null(guest_memory_range(&mem, 0x1080, 1));
	ck_assert_ptr_null(guest_memory_range(&mem, UINT64_MAX, 2));
	ck_assert_ptr_null(guest_memory_range(&mem, 0x1001, UINT64_MAX));
}
END_TEST

START_TEST(bad_regions_are_refused)
{
	struct guest_memory mem = two_regions();

	ck_assert_int_eq(guest_memory_add(&mem, 0x2000, 0, low), -EINVAL);
	ck_assert_int_eq(guest_memory_add(&mem, 0x2000, 1, NULL), -EINVAL);
	ck_assert_int_eq(guest_memory_add(&mem, UINT64_MAX - 1, 4, low), -EINVAL);
	ck_assert_int_eq(guest_memory_add(&mem, 0x0fff, 2, low), -EINVAL);
	ck_assert_int_eq(guest_memory_add(&mem, 0x107f, 2, low), -EINVAL);
	ck_assert_int_eq(guest_memory_add(&mem, 0, 0x10000, low), -EINVAL);
	ck_assert_int_eq(guest_memory_add(&mem, 0x2000, 64, low), 0);
	ck_assert_int_eq(guest_memory_add(&mem, 0x3000, 64, low), 0);
	ck_assert_int_eq(guest_memory_add(&mem, 0x4000, 64, low), -ENOSPC);
}
END_TEST

START_TEST(a_region_that_grows_is_reached_as_far_as_it_has_grown)
{
	struct guest_memory mem = two_regions();
	static uint8_t more[4096];

	ck_assert_int_eq(guest_memory_reserve(&mem, 0x1070, sizeof(more), more, 7), -EINVAL);
	ck_assert_int_eq(guest_memory_reserve(&mem, 0x8000, sizeof(more), more, 7), 0);
	ck_assert_int_eq(guest_memory_add(&mem, 0x8fff, 64, more), -EINVAL);
	ck_assert_ptr_null(guest_memory_range(&mem, 0x8000, 1));
	guest_region_grow(&mem.regions[2], 64);
	ck_assert_ptr_eq(guest_memory_range(&mem, 0x8000, 64), more);
	ck_assert_ptr_null(guest_memory_range(&mem, 0x8000, 65));
	ck_assert_ptr_null(guest_memory_range(&mem, 0x8040, 1));
	guest_region_grow(&mem.regions[2], sizeof(more));
	ck_assert_ptr_eq(guest_memory_range(&mem, 0x8040, 1), more + 64);
}
END_TEST

START_TEST(copies_are_all_or_nothing)
{
	struct guest_memory mem = two_regions();
	char buf[4] = "....";

	ck_assert_int_eq(guest_memory_write(&mem, 0x1010, "data", 4), 0);
	ck_assert_mem_eq(low + 0x10, "data", 4);
	ck_assert_int_eq(guest_memory_read(&mem, 0x1010, buf, 4), 0);
	ck_assert_mem_eq(buf, "data", 4);
	ck_assert_int_eq(guest_memory_write(&mem, 0x103e, "data", 4), -EFAULT);
	ck_assert_uint_eq(low[0x3e], 0);
	ck_assert_int_eq(guest_memory_read(&mem, 0x107e, buf, 4), -EFAULT);
	ck_assert_mem_eq(buf, "data", 4);
}
END_TEST

START_TEST(lists_are_copied_and_cut)
{
	char a[] = "abc", b[] = "", c[] = "defgh", out[16] = "";
	struct iovec iov[3] = {{a, 3}, {b, 0}, {c, 5}}, cut[3];

	ck_assert_uint_eq(iov_len(iov, 3), 8);
	ck_assert_uint_eq(iov_read(iov, 3, 2, out, 4), 4);
	ck_assert_str_eq(out, "cdef");
	ck_assert_uint_eq(iov_read(iov, 3, 6, out, 16), 2);
	ck_assert_uint_eq(iov_read(iov, 3, 8, out, 16), 0);
	ck_assert_uint_eq(iov_write(iov, 3, 1, "XXXX", 4), 4);
	ck_assert_str_eq(a, "aXX");
	ck_assert_str_eq(c, "XXfgh");
	ck_assert_uint_eq(iov_slice(cut, iov, 3, 2, 3), 2);
	ck_assert_ptr_eq(cut[0].iov_base, a + 2);
	ck_assert_uint_eq(cut[0].iov_len, 1);
	ck_assert_ptr_eq(cut[1].iov_base, c);
	ck_assert_uint_eq(cut[1].iov_len, 2);
	ck_assert_uint_eq(iov_slice(cut, iov, 3, 8, 1), 0);
	ck_assert_uint_eq(iov_slice(cut, iov, 3, 3, 100), 1);
	ck_assert_uint_eq(cut[0].iov_len, 5);
}
END_TEST

Suite *memory_suite(void)
{
	Suite *suite = suite_create("memory");
	TCase *tcase = tcase_create("memory");

	tcase_add_test(tcase, ranges_are_found_or_refused);
	tcase_add_test(tcase, bad_regions_are_refused);
	tcase_add_test(tcase, a_region_that_grows_is_reached_as_far_as_it_has_grown);
	tcase_add_test(tcase, copies_are_all_or_nothing);
	tcase_add_test(tcase, lists_are_copied_and_cut);
	suite_add_tcase(suite, tcase);
	return suite;
}
