#include "guest-agent/path.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/cleanup.h"

int path_open(int root_fd, const char *path, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC),
		.resolve = RESOLVE_IN_ROOT,
	};
	long fd;

	/* An empty path would be refused; it means the root. */
	do
		fd = syscall(SYS_openat2, root_fd, *path ? path : "/", &how, sizeof(how));
	while (fd < 0 && (errno == EINTR || errno == EAGAIN));
	return fd < 0 ? -errno : (int)fd;
}

/* Opens the directory path, which is prefix/name, making it in dir_fd when it is not there. */
static int step_into(int root_fd, int dir_fd, const char *path, const char *name)
{
	int fd = path_open(root_fd, path, O_PATH | O_DIRECTORY);

	if (fd != -ENOENT)
		return fd;
	if (mkdirat(dir_fd, name, 0755) < 0)
		return -errno;
	return path_open(root_fd, path, O_PATH | O_DIRECTORY);
}

/* Walks the directories of path, which is cut at each slash on the way and restored. */
static int make_dirs(int root_fd, char *path)
{
	cleanup_fd int dir_fd = path_open(root_fd, "/", O_PATH | O_DIRECTORY);
	char *name = path;

	if (dir_fd < 0)
		return dir_fd;
	while (*name) {
		char *end = strchrnul(name, '/');
		char slash = *end;
		int next;

		*end = '\0';
		if (*name && strcmp(name, ".") != 0) {
			next = step_into(root_fd, dir_fd, path, name);
			if (next < 0)
				return next;
			close(dir_fd);
			dir_fd = next;
		}
		*end = slash;
		name = slash ? end + 1 : end;
	}
	return take_fd(&dir_fd);
}

int path_make_dir(int root_fd, const char *path, struct error *err)
{
	char copy[PATH_MAX];
	int fd = path_open(root_fd, path, O_PATH | O_DIRECTORY);

	if (fd != -ENOENT)
		return fd < 0 ? error_set(err, -fd, "open %s", path) : fd;
	if (strlen(path) >= sizeof(copy))
		return error_set(err, ENAMETOOLONG, "%.64s...", path);
	strcpy(copy, path);
	fd = make_dirs(root_fd, copy);
	if (fd < 0)
		return error_set(err, -fd, "mkdir %s", path);
	return fd;
}

int path_make_parent(int root_fd, const char *path, char *name, size_t name_size, struct error *err)
{
	char parent[PATH_MAX];
	const char *slash;
	size_t len = strlen(path);

	while (len && path[len - 1] == '/')
		len--;
	if (!len || len >= sizeof(parent))
		return error_say(err, EINVAL, "\"%.64s\" names no file", path);
	memcpy(parent, path, len);
	parent[len] = '\0';
	slash = strrchr(parent, '/');
	slash = slash ? slash + 1 : parent;
	if (strlen(slash) >= name_size || !strcmp(slash, ".") || !strcmp(slash, ".."))
		return error_say(err, EINVAL, "\"%s\" names no file", path);
	strcpy(name, slash);
	parent[slash - parent] = '\0';
	return path_make_dir(root_fd, parent, err);
}

int path_make_file(int root_fd, const char *path, struct error *err)
{
	char name[NAME_MAX + 1] = "";
	cleanup_fd int dir_fd = -1;
	int fd = path_open(root_fd, path, O_PATH);

	if (fd != -ENOENT)
		return fd < 0 ? error_set(err, -fd, "open %s", path) : fd;
	dir_fd = path_make_parent(root_fd, path, name, sizeof(name), err);
	if (dir_fd < 0)
		return dir_fd;
	fd = openat(dir_fd, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, 0644);
	if (fd < 0)
		return error_set(err, errno, "create %s", path);
	close(fd);
	fd = path_open(dir_fd, name, O_PATH | O_NOFOLLOW);
	return fd < 0 ? error_set(err, -fd, "open %s", path) : fd;
}

const char *path_of_fd(int fd, char out[FD_PATH_SIZE])
{
	snprintf(out, FD_PATH_SIZE, "/proc/self/fd/%d", fd);
	return out;
}

int path_write(const char *path, const char *text)
{
	cleanup_fd int fd = open(path, O_WRONLY | O_CLOEXEC);
	size_t len = strlen(text);

	if (fd < 0 || write(fd, text, len) != (ssize_t)len)
		return errno ? -errno : -EIO;
	return 0;
}
