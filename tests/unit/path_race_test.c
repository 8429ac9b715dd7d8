/*
 * Paths in a container's root while somebody exchanges a directory for a link, again and again: as
 * another container can in a volume that both have (CVE-2021-30465). The agent's own code, here.
 */
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "common/cleanup.h"
#include "guest-agent/mounts.h"
#include "guest-agent/path.h"
#include "tests/unit/suites.h"

#define ROUNDS 300

static char dir[] = "/tmp/bulkhead-race-XXXXXX";
static int dir_fd, root_fd;
static atomic_bool stop;
static atomic_uint exchanges;

/* DIR/root is the container's, DIR/outside nobody's; root/swap is a directory or a link. */
static void setup(void)
{
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(mkdirat(dir_fd, "outside", 0755), 0);
	ck_assert_int_eq(mkdirat(dir_fd, "root", 0755), 0);
	root_fd = openat(dir_fd, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(mkdirat(root_fd, "swap", 0755), 0);
}

static void teardown(void)
{
	char command[64];

	close(root_fd);
	close(dir_fd);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	ck_assert_int_eq(system(command), 0);
}

static void *exchange(void *arg)
{
	(void)arg;
	while (!atomic_load(&stop)) {
		ck_assert_int_eq(renameat2(root_fd, "swap", root_fd, "link", RENAME_EXCHANGE), 0);
		atomic_fetch_add(&exchanges, 1);
	}
	return NULL;
}

static pthread_t start_exchange(const char *to)
{
	pthread_t thread;

	ck_assert_int_eq(symlinkat(to, root_fd, "link"), 0);
	atomic_store(&stop, false);
	atomic_store(&exchanges, 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, exchange, NULL), 0);
	while (!atomic_load(&exchanges))
		sched_yield();
	return thread;
}

static void end_exchange(pthread_t thread)
{
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
}

START_TEST(nothing_is_made_outside)
{
	pthread_t thread = start_exchange("../outside");
	char path[64];

	for (unsigned int made = 0, i = 0; made < ROUNDS || atomic_load(&exchanges) < ROUNDS; i++) {
		struct error err = {0};
		int fd;

		/* Where there is no such directory in the root it is refused. */
		snprintf(path, sizeof(path), "swap/%u/deep", i);
		fd = i % 2 ? path_make_dir(root_fd, path, &err)
			   : path_make_file(root_fd, path, &err);
		made += fd >= 0;
		close_fd(&fd);
	}
	end_exchange(thread);
	/* Empty: it can be removed. */
	ck_assert_int_eq(unlinkat(dir_fd, "outside", AT_REMOVEDIR), 0);
}
END_TEST

/* How many mounts of source have these options. */
static unsigned int count_mounts(const char *source, const char *wanted)
{
	cleanup_file FILE *file = fopen("/proc/self/mountinfo", "re");
	char line[1024], want[64];
	unsigned int count = 0;

	snprintf(want, sizeof(want), "- tmpfs %s ", source);
	while (file && fgets(line, sizeof(line), file)) {
		char *options = line, *end;

		if (!strstr(line, want))
			continue;
		for (int i = 0; i < 5; i++)
			options = strchr(options, ' ') + 1;
		end = strchr(options, ' ');
		*end = '\0';
		count += !!strstr(options, wanted);
	}
	return count;
}

/*
 * A read-only tmpfs on swap/x, where the link leads to a mount that is to stay as it is. In a
 * namespace of its own, where it ends with 0, or the number of what was wrong.
 */
static int try_mounts(void)
{
	json_t *config =
		json_loads("{\"mounts\": [{\"destination\": \"/swap/x\", \"type\": \"tmpfs\","
			   " \"source\": \"raced\", \"options\": [\"ro\", \"nosuid\"]}]}",
			   0, NULL);
	struct error err = {0};
	char kept[64], root[64];
	pthread_t thread;

	snprintf(root, sizeof(root), "%s/root", dir);
	snprintf(kept, sizeof(kept), "%s/root/kept/x", dir);
	/* The one from before is of another namespace. */
	root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mkdirat(root_fd, "swap/x", 0755) < 0 || mkdirat(root_fd, "kept", 0755) < 0 ||
	    mkdirat(root_fd, "kept/x", 0755) < 0 ||
	    mount("kept", kept, "tmpfs", MS_NOEXEC, NULL) < 0)
		return 2;
	thread = start_exchange("/kept");
	for (unsigned int i = 0; i < ROUNDS; i++) {
		struct late_mounts late = {0};

		if (mounts_make(config, NULL, root_fd, &late, &err) < 0 ||
		    mounts_make_readonly(&late, &err) < 0) {
			fprintf(stderr, "%s\n", err.message);
			return 3;
		}
	}
	end_exchange(thread);
	json_decref(config);
	if (count_mounts("raced", "ro,nosuid") != ROUNDS)
		return 4;
	return count_mounts("kept", "rw,noexec") == 1 ? 0 : 5;
}

START_TEST(options_are_for_the_mount_that_was_made)
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(unshare(CLONE_NEWNS) < 0 ? 0 : try_mounts());
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

Suite *path_race_suite(void)
{
	Suite *suite = suite_create("path_race");
	TCase *tcase = tcase_create("path_race");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, nothing_is_made_outside);
	/* Who is not root has no mount namespace to make. */
	if (geteuid() == 0)
		tcase_add_test(tcase, options_are_for_the_mount_that_was_made);
	suite_add_tcase(suite, tcase);
	return suite;
}
