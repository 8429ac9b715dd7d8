#include <check.h>

#include "common/error.h"
#include "tests/unit/suites.h"

START_TEST(names_the_step_and_the_cause)
{
	struct error err = {0};

	ck_assert_int_eq(error_set(&err, ENOENT, "open %s", "/x"), -ENOENT);
	ck_assert_str_eq(err.message, "open /x: No such file or directory");
	ck_assert_int_eq(err.code, ENOENT);
}
END_TEST

START_TEST(first_message_wins_and_prefixes_stack)
{
	struct error err = {0};

	error_say(&err, EINVAL, "too short");
	error_set(&err, EIO, "later");
	ck_assert_int_eq(error_prefix(&err, -EINVAL, "disk %d", 1), -EINVAL);
	ck_assert_str_eq(err.message, "disk 1: too short");
}
END_TEST

START_TEST(works_without_an_error_and_can_be_cleared)
{
	struct error err = {0};

	ck_assert_int_eq(error_set(NULL, EIO, "x"), -EIO);
	error_say(&err, EIO, "x");
	error_clear(&err);
	ck_assert_int_eq(err.code, 0);
	ck_assert_str_eq(err.message, "");
}
END_TEST

Suite *error_suite(void)
{
	Suite *suite = suite_create("error");
	TCase *tcase = tcase_create("error");

	tcase_add_test(tcase, names_the_step_and_the_cause);
	tcase_add_test(tcase, first_message_wins_and_prefixes_stack);
	tcase_add_test(tcase, works_without_an_error_and_can_be_cleared);
	suite_add_tcase(suite, tcase);
	return suite;
}
