#include "runtime/file.h"

#include "common/cleanup.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int make_directories(const char *path, mode_t mode, struct error *err)
{
	cleanup_free char *copy = strdup(path);
	struct stat st;

	if (!copy)
		return error_set(err, ENOMEM, "mkdir %s", path);
	if (!*copy)
		return error_say(err, EINVAL, "an empty path cannot be a directory");
	for (char *end = copy + 1;; end++) {
		char c = *end;

		if (c != '/' && c != '\0')
			continue;
		*end = '\0';
		if (mkdir(copy, mode) < 0 && errno != EEXIST)
			return error_set(err, errno, "mkdir %s", copy);
		*end = c;
		if (c == '\0')
			break;
	}
	if (stat(path, &st) < 0)
		return error_set(err, errno, "%s", path);
	if (!S_ISDIR(st.st_mode))
		return error_set(err, ENOTDIR, "%s", path);
	return 0;
}

int write_all(int fd, const void *bytes, size_t len)
{
	const char *at = bytes;

	while (len > 0) {
		ssize_t n = write(fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

int file_make(int dir_fd, const char *name, struct error *err)
{
	int fd;

	unlinkat(dir_fd, name, 0);
	fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? error_set(err, errno, "make %s", name) : fd;
}

bool file_is_ours(const struct stat *st, mode_t type, mode_t others)
{
	return (st->st_mode & S_IFMT) == type && st->st_uid == geteuid() && !(st->st_mode & others);
}

int file_open_ours(int dir_fd, const char *name, mode_t others)
{
	cleanup_fd int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!file_is_ours(&st, S_IFREG, others) || st.st_nlink != 1)
		return -EPERM;
	return take_fd(&fd);
}

int file_replace(int dir_fd, const char *path, mode_t mode, const void *bytes, size_t len,
		 struct error *err)
{
	const char *slash = strrchr(path, '/');
	int dir_len = slash ? (int)(slash - path + 1) : 0;
	cleanup_free char *tmp = format("%.*s.%s.%d", dir_len, path, path + dir_len, getpid());
	cleanup_fd int fd = -1;
	int ret;

	if (!tmp)
		return error_set(err, ENOMEM, "write %s", path);
	fd = openat(dir_fd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return error_set(err, errno, "write %s", path);
	ret = write_all(fd, bytes, len);
	if (ret == 0 && renameat(dir_fd, tmp, dir_fd, path) < 0)
		ret = -errno;
	if (ret < 0) {
		unlinkat(dir_fd, tmp, 0);
		return error_set(err, -ret, "write %s", path);
	}
	return 0;
}

ssize_t file_read(int dir_fd, const char *path, size_t max, char **out, struct error *err)
{
	cleanup_fd int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	cleanup_free char *text = NULL;
	size_t used = 0, size = 0;

	if (fd < 0)
		return error_set(err, errno, "open %s", path);
	for (;;) {
		ssize_t n;

		if (used + 1 >= size) {
			char *more = realloc(text, size = size ? size * 2 : 16384);

			if (!more)
				return error_set(err, ENOMEM, "read %s", path);
			text = more;
		}
		n = read(fd, text + used, size - used - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set(err, errno, "read %s", path);
		if (n == 0)
			break;
		used += (size_t)n;
		if (used > max)
			return error_set(err, EFBIG, "read %s", path);
	}
	text[used] = '\0';
	*out = take_ptr(text);
	return (ssize_t)used;
}

char *format(const char *fmt, ...)
{
	char *text;
	va_list args;

	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		text = NULL;
	va_end(args);
	return text;
}
