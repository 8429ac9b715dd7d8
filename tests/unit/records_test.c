#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/records.h"
#include "tests/unit/suites.h"

#define VERSION 7

static struct records out;
static int fd;

static void setup(void)
{
	out = (struct records){0};
	fd = memfd_create("state", MFD_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	records_put(&out, 1, 0, "hello", 5);
	records_put(&out, 1, 1, "", 0);
	records_put(&out, 2, 0, "12345678", 8);
	ck_assert_int_eq(records_write(&out, VERSION, fd, NULL), 0);
}

static void teardown(void)
{
	records_destroy(&out);
	close(fd);
}

static int reread(uint32_t version)
{
	struct records in;
	int ret = records_read(&in, version, fd, NULL);

	records_destroy(&in);
	return ret;
}

START_TEST(what_was_written_is_read)
{
	struct records in;
	char bytes[8];
	size_t len = 99;

	ck_assert_int_eq(records_read(&in, VERSION, fd, NULL), 0);
	ck_assert_int_eq(records_get(&in, 1, 0, bytes, 5), 0);
	ck_assert_mem_eq(bytes, "hello", 5);
	ck_assert_ptr_nonnull(records_find(&in, 1, 1, &len));
	ck_assert_uint_eq(len, 0);
	ck_assert_int_eq(records_get(&in, 2, 0, bytes, 8), 0);
	ck_assert_mem_eq(bytes, "12345678", 8);
	ck_assert_int_eq(records_get(&in, 2, 1, bytes, 8), -ENOENT);
	ck_assert_int_eq(records_get(&in, 2, 0, bytes, 7), -EPROTO);
	records_destroy(&in);
}
END_TEST

START_TEST(many_records_grow)
{
	char block[1000] = "x";
	struct records in;

	for (uint32_t i = 0; i < 300; i++)
		records_put(&out, 3, i, block, sizeof(block));
	ck_assert_int_eq(records_write(&out, VERSION, fd, NULL), 0);
	ck_assert_int_eq(records_read(&in, VERSION, fd, NULL), 0);
	ck_assert_int_eq(records_get(&in, 3, 299, block, sizeof(block)), 0);
	records_destroy(&in);
}
END_TEST

START_TEST(too_much_is_an_error)
{
	struct records big = {0};
	static char block[1 << 20];

	for (int i = 0; i < 17; i++)
		records_put(&big, 1, 0, block, sizeof(block));
	ck_assert_int_eq(records_write(&big, VERSION, fd, NULL), -EFBIG);
	records_destroy(&big);
}
END_TEST

START_TEST(another_version_is_refused)
{
	ck_assert_int_eq(reread(VERSION), 0);
	ck_assert_int_eq(reread(VERSION + 1), -EPROTO);
}
END_TEST

START_TEST(cut_anywhere_it_is_refused)
{
	for (off_t len = (off_t)out.len - 1; len >= 0; len--) {
		ck_assert_int_eq(ftruncate(fd, len), 0);
		ck_assert_int_lt(reread(VERSION), 0);
	}
}
END_TEST

START_TEST(altered_anywhere_it_is_refused)
{
	for (size_t i = 0; i < out.len; i++) {
		uint8_t byte = out.bytes[i] ^ 0x10;

		/* Bytes 12 to 15 of the header mean nothing. */
		if (i >= 12 && i < 16)
			continue;
		ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)i), 1);
		ck_assert_int_lt(reread(VERSION), 0);
		ck_assert_int_eq(pwrite(fd, &out.bytes[i], 1, (off_t)i), 1);
	}
	ck_assert_int_eq(reread(VERSION), 0);
}
END_TEST

START_TEST(longer_than_it_says_it_is_refused)
{
	ck_assert_int_eq(pwrite(fd, "x", 1, (off_t)out.len), 1);
	ck_assert_int_lt(reread(VERSION), 0);
}
END_TEST

START_TEST(what_is_no_file_is_refused)
{
	struct records in;
	int ends[2];

	ck_assert_int_eq(pipe(ends), 0);
	ck_assert_int_lt(records_read(&in, VERSION, ends[0], NULL), 0);
	close(ends[0]);
	close(ends[1]);
}
END_TEST

Suite *records_suite(void)
{
	Suite *suite = suite_create("records");
	TCase *tcase = tcase_create("records");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, what_was_written_is_read);
	tcase_add_test(tcase, many_records_grow);
	tcase_add_test(tcase, too_much_is_an_error);
	tcase_add_test(tcase, another_version_is_refused);
	tcase_add_test(tcase, cut_anywhere_it_is_refused);
	tcase_add_test(tcase, altered_anywhere_it_is_refused);
	tcase_add_test(tcase, longer_than_it_says_it_is_refused);
	tcase_add_test(tcase, what_is_no_file_is_refused);
	suite_add_tcase(suite, tcase);
	return suite;
}
