/* What the root mode "shared" stands on, without a VM: the wall around virtiofsd, the work
 * directory, companions. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/companion.h"
#include "runtime/confine.h"
#include "runtime/shared_root.h"
#include "tests/unit/suites.h"

static char dir[] = "/tmp/bulkhead-roots-XXXXXX";
static int dir_fd;

static void setup(void)
{
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(mkdirat(dir_fd, "inside", 0755), 0);
	ck_assert_int_eq(mkdirat(dir_fd, "read", 0755), 0);
	close(openat(dir_fd, "outside", O_CREAT | O_WRONLY, 0644));
	close(openat(dir_fd, "read/file", O_CREAT | O_WRONLY, 0644));
}

static void teardown(void)
{
	char command[64];

	close(dir_fd);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	ck_assert_int_eq(system(command), 0);
}

/* --- confine --- */

static int try_open(const char *name, int flags)
{
	int fd = openat(dir_fd, name, flags | O_CLOEXEC, 0644);

	if (fd >= 0)
		close(fd);
	return fd < 0 ? -errno : 0;
}

/* In a process of its own, since there is no way back. Returns the number of the check that failed.
 */
static int try_confined(void)
{
	int rules_fd = confine_new();
	int inside_fd = openat(dir_fd, "inside", O_PATH | O_CLOEXEC);
	int read_fd = openat(dir_fd, "read", O_PATH | O_CLOEXEC);

	if (rules_fd < 0 || confine_allow(rules_fd, inside_fd, false) < 0 ||
	    confine_allow(rules_fd, read_fd, true) < 0 || confine_enter(rules_fd) < 0)
		return 1;
	if (try_open("inside/new", O_CREAT | O_RDWR) < 0 ||
	    mkdirat(dir_fd, "inside/sub", 0755) < 0 ||
	    renameat(dir_fd, "inside/new", dir_fd, "inside/sub/new") < 0)
		return 2;
	if (try_open("read/file", O_RDONLY) < 0 || try_open("read/file", O_RDWR) != -EACCES)
		return 3;
	if (try_open("outside", O_RDONLY) != -EACCES || try_open(".", O_RDONLY) != -EACCES)
		return 4;
	if (try_open("more", O_CREAT | O_RDWR) != -EACCES || unlinkat(dir_fd, "outside", 0) == 0)
		return 5;
	if (renameat(dir_fd, "inside/sub", dir_fd, "moved") == 0 ||
	    linkat(dir_fd, "read/file", dir_fd, "inside/link", 0) == 0 ||
	    try_open("inside/../outside", O_RDONLY) != -EACCES)
		return 6;
	if (symlinkat("../outside", dir_fd, "inside/soft") < 0 ||
	    try_open("inside/soft", O_RDONLY) != -EACCES)
		return 7;
	return 0;
}

START_TEST(confined_to_two_directories)
{
	int status;
	pid_t pid;

	if (!confine_is_possible())
		return;
	pid = fork();
	if (pid == 0)
		_exit(try_confined());
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

/* --- shared_root --- */

START_TEST(one_vm_has_the_work_directory)
{
	struct shared_root first = SHARED_ROOT_INIT, second = SHARED_ROOT_INIT;
	struct error err = {0};
	json_t *saved;

	/* The mode is scratch: nothing to do. */
	ck_assert_int_eq(shared_root_make(&first, &err), 0);
	ck_assert_ptr_null(shared_root_save(&first));
	ck_assert_int_eq(shared_root_remove(NULL, &err), 0);
	first.dir_fd = dup(dir_fd);
	second.dir_fd = dup(dir_fd);
	ck_assert_int_eq(shared_root_make(&first, &err), 0);
	ck_assert_int_eq(shared_root_make(&second, &err), -EBUSY);
	ck_assert_str_eq(err.message,
			 "root=shared: another VM has this root; root=scratch works for "
			 "several");
	error_clear(&err);
	saved = shared_root_save(&first);
	ck_assert_str_eq(json_string_value(saved), dir);
	/* A guest has left something there, with a way out. */
	ck_assert_int_eq(mkdirat(dir_fd, SHARED_ROOT_WORK "/work", 0), 0);
	ck_assert_int_eq(symlinkat("../../inside", dir_fd, SHARED_ROOT_WORK "/link"), 0);
	shared_root_destroy(&first);
	ck_assert_int_eq(shared_root_remove(saved, &err), 0);
	ck_assert_int_eq(faccessat(dir_fd, SHARED_ROOT_WORK, F_OK, 0), -1);
	ck_assert_int_eq(faccessat(dir_fd, "inside", F_OK, 0), 0);
	/* Twice is no harm, and then another may have it. */
	ck_assert_int_eq(shared_root_remove(saved, &err), 0);
	ck_assert_int_eq(shared_root_make(&second, &err), 0);
	shared_root_destroy(&second);
	json_decref(saved);
}
END_TEST

START_TEST(a_work_directory_that_is_a_link_is_refused)
{
	struct shared_root root = SHARED_ROOT_INIT;
	struct error err = {0};

	ck_assert_int_eq(symlinkat("inside", dir_fd, SHARED_ROOT_WORK), 0);
	root.dir_fd = dup(dir_fd);
	ck_assert_int_lt(shared_root_make(&root, &err), 0);
	ck_assert_int_eq(root.work_fd, -1);
	shared_root_destroy(&root);
}
END_TEST

/* --- companion --- */

static void wait_in_vain(struct companion *companion, void *ctx)
{
	close(*(int *)ctx);
	companion_ready(companion);
	pause();
}

static void fail_at_once(struct companion *companion, void *ctx)
{
	(void)ctx;
	companion->step = "do what it should";
	errno = ENOTTY;
}

START_TEST(companions_end_with_who_made_them)
{
	int ends[2], status;
	char byte;
	pid_t pid;

	ck_assert_int_eq(pipe(ends), 0);
	pid = fork();
	if (pid == 0) {
		const char *step;

		/* The companion keeps the writing end, and with it this pipe open. */
		_exit(companion_start(0, wait_in_vain, &ends[0], &step) != 0);
	}
	close(ends[1]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(read(ends[0], &byte, 1), 0);
	close(ends[0]);
}
END_TEST

START_TEST(what_a_companion_fails_at_is_told)
{
	const char *step = NULL;

	ck_assert_int_eq(companion_start(0, fail_at_once, NULL, &step), -ENOTTY);
	ck_assert_str_eq(step, "do what it should");
}
END_TEST

Suite *roots_suite(void)
{
	Suite *suite = suite_create("roots");
	TCase *tc = tcase_create("roots");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, confined_to_two_directories);
	tcase_add_test(tc, one_vm_has_the_work_directory);
	tcase_add_test(tc, a_work_directory_that_is_a_link_is_refused);
	tcase_add_test(tc, companions_end_with_who_made_them);
	tcase_add_test(tc, what_a_companion_fails_at_is_told);
	suite_add_tcase(suite, tc);
	return suite;
}
