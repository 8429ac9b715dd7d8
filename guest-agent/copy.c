#include "guest-agent/copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include "common/cleanup.h"

#define DEPTH_MAX 64

static int copy_dir(int from, int to, int depth);

static int copy_file(int from, int to, const char *name, const struct stat *st)
{
	cleanup_fd int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	cleanup_fd int out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ssize_t len;

	(void)st;
	if (in < 0 || out < 0)
		return -errno;
	do
		len = sendfile(out, in, NULL, 1 << 20);
	while (len > 0 || (len < 0 && errno == EINTR));
	return len < 0 ? -errno : 0;
}

static int copy_link(int from, int to, const char *name)
{
	char target[PATH_MAX];
	ssize_t len = readlinkat(from, name, target, sizeof(target) - 1);

	if (len < 0)
		return -errno;
	target[len] = '\0';
	return symlinkat(target, to, name) < 0 ? -errno : 0;
}

static int copy_subdir(int from, int to, const char *name, int depth)
{
	cleanup_fd int in = -1, out = -1;

	if (mkdirat(to, name, 0700) < 0)
		return -errno;
	in = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	out = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (in < 0 || out < 0)
		return -errno;
	return copy_dir(in, out, depth + 1);
}

static int copy_entry(int from, int to, const char *name, int depth)
{
	struct stat st;
	int ret;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		ret = copy_subdir(from, to, name, depth);
	else if (S_ISLNK(st.st_mode))
		ret = copy_link(from, to, name);
	else if (S_ISREG(st.st_mode))
		ret = copy_file(from, to, name, &st);
	else
		ret = mknodat(to, name, st.st_mode, st.st_rdev) < 0 ? -errno : 0;
	if (ret < 0)
		return ret;
	/* The owner first: changing it clears set-id bits. */
	if (fchownat(to, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISLNK(st.st_mode) && fchmodat(to, name, st.st_mode & 07777, 0) < 0)
		return -errno;
	return 0;
}

static int copy_attributes(int from, int to)
{
	struct stat st;

	if (fstat(from, &st) < 0 || fchown(to, st.st_uid, st.st_gid) < 0 ||
	    fchmod(to, st.st_mode & 07777) < 0)
		return -errno;
	return 0;
}

static int copy_dir(int from, int to, int depth)
{
	int list_fd = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *dir = list_fd < 0 ? NULL : fdopendir(list_fd);
	struct dirent *entry;
	int ret = 0;

	if (!dir)
		return -errno;
	if (depth > DEPTH_MAX)
		return -ELOOP;
	while (!ret && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			ret = copy_entry(from, to, entry->d_name, depth);
	return ret;
}

int copy_tree(int from, int to)
{
	int ret = copy_attributes(from, to);

	return ret < 0 ? ret : copy_dir(from, to, 0);
}
