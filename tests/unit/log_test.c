#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "tests/unit/suites.h"
#include "vmm/daemon_log.h"

/* A helper's end of its pipe, the log that its lines become entries of, and what is in that. */
static struct loop loop;
static struct daemon_log helper;
static int helper_fd, log_fds[2];
static char text[65536];

static void set_up(void)
{
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(log_fds, O_CLOEXEC | O_NONBLOCK), 0);
	ck_assert_int_eq(loop_init(&loop), 0);
	ck_assert_int_eq(daemon_log_open(&helper, "helper", fds[0], &loop), 0);
	helper_fd = fds[1];
	log_open(log_fds[1], false, LOG_LEVEL_INFO);
}

static void tear_down(void)
{
	log_open(STDERR_FILENO, false, LOG_LEVEL_INFO);
	close(helper_fd);
	daemon_log_close(&helper);
	loop_destroy(&loop);
	close(log_fds[0]);
	close(log_fds[1]);
}

/* Returns how many entries there are in text, now that it was heard. */
static unsigned int hear(void)
{
	unsigned int entries = 0;
	ssize_t len;

	ck_assert_int_eq(loop_step(&loop, 0), 0);
	len = read(log_fds[0], text, sizeof(text) - 1);
	text[len > 0 ? len : 0] = '\0';
	for (const char *at = text; (at = strchr(at, '\n')); at++)
		entries++;
	return entries;
}

START_TEST(a_helper_logs_into_a_pipe)
{
	log_open_pipe(helper_fd, LOG_LEVEL_WARN);
	log_info("not so important");
	log_warn("%s has come\nin \"two\" lines", "eth1");
	log_open(log_fds[1], false, LOG_LEVEL_INFO);
	ck_assert_uint_eq(hear(), 1);
	ck_assert_ptr_eq(strstr(text, "level=warning msg=\"helper: eth1 has come in \\\"two\\\" "
				      "lines\" time="),
			 text);
}
END_TEST

START_TEST(lines_are_cut_cleaned_and_no_more_than_a_hundred_an_hour)
{
	char longest[2 * DAEMON_LINE_MAX];

	memset(longest, '\033', sizeof(longest));
	longest[sizeof(longest) - 1] = '\n';
	ck_assert_int_eq(write(helper_fd, longest, sizeof(longest)), sizeof(longest));
	ck_assert_uint_eq(hear(), 1);
	ck_assert_ptr_null(strchr(text, '\033'));
	ck_assert_uint_lt(strlen(text), DAEMON_LINE_MAX + 100);
	for (int i = 0; i < 200; i++)
		ck_assert_int_eq(write(helper_fd, "line\n", 5), 5);
	ck_assert_uint_eq(hear(), DAEMON_LINES_MAX - 1);
	ck_assert_ptr_nonnull(strstr(text, "helper: says more, which is left out"));
	helper.hour -= 3600;
	ck_assert_int_eq(write(helper_fd, "again\n", 6), 6);
	ck_assert_uint_eq(hear(), 1);
	ck_assert_ptr_nonnull(strstr(text, "helper: again"));
}
END_TEST

Suite *log_suite(void)
{
	Suite *suite = suite_create("log");
	TCase *tcase = tcase_create("log");

	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, a_helper_logs_into_a_pipe);
	tcase_add_test(tcase, lines_are_cut_cleaned_and_no_more_than_a_hundred_an_hour);
	suite_add_tcase(suite, tcase);
	return suite;
}
