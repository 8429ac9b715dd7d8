#include "runtime/confine.h"

#include <errno.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ull << 14) /* ABI 3 */
#endif

#define FILE_READ (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE)
#define FILE_ALL  (FILE_READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE)
#define READ	  (FILE_READ | LANDLOCK_ACCESS_FS_READ_DIR)

/* All rights up to ABI 2, and truncate. */
#define ALL (((LANDLOCK_ACCESS_FS_REFER << 1) - 1) | LANDLOCK_ACCESS_FS_TRUNCATE)

static long version(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

static uint64_t known(uint64_t rights)
{
	return version() >= 3 ? rights : rights & ~LANDLOCK_ACCESS_FS_TRUNCATE;
}

bool confine_is_possible(void)
{
	return version() >= 2;
}

int confine_new(void)
{
	struct landlock_ruleset_attr attr = {.handled_access_fs = known(ALL)};
	int fd = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);

	return fd < 0 ? -errno : fd;
}

int confine_allow(int rules_fd, int fd, bool readonly)
{
	struct landlock_path_beneath_attr rule = {.parent_fd = fd};
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		rule.allowed_access = known(readonly ? READ : ALL);
	else
		rule.allowed_access = known(readonly ? FILE_READ : FILE_ALL);
	if (syscall(SYS_landlock_add_rule, rules_fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		return -errno;
	return 0;
}

int confine_enter(int rules_fd)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    syscall(SYS_landlock_restrict_self, rules_fd, 0) < 0)
		return -errno;
	return 0;
}
