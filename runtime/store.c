#include "runtime/store.h"
#include "runtime/file.h"
#include "runtime/scratch.h"
#include "runtime/user.h"

#include "common/cleanup.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define SYSTEM_PATH "/var/lib/bulkhead"

static char *path_set;
static uint64_t limit_set = 50ull << 30;

/* Where XDG's specification has an ordinary user's data. */
static char *usual_path(void)
{
	const char *data = getenv("XDG_DATA_HOME");

	if (user_is_root())
		return strdup(SYSTEM_PATH);
	return data && *data == '/' ? format("%s/bulkhead", data)
				    : format("%s/.local/share/bulkhead", user_home());
}

int store_set(const struct settings *settings, struct error *err)
{
	const char *path = settings_text(settings, "data-root");
	const char *size = settings_text(settings, "cache-size");
	int ret = size ? scratch_parse_size(size, &limit_set, err) : 0;

	if (ret == 0) {
		free(path_set);
		path_set = path ? strdup(path) : usual_path();
		if (!path_set)
			return error_set(err, ENOMEM, "data-root");
	}
	return error_prefix(err, ret, "cache-size");
}

const char *store_path(void)
{
	return path_set ?: SYSTEM_PATH;
}

uint64_t store_limit(void)
{
	return limit_set;
}

int store_open(const char *name, struct error *err)
{
	cleanup_free char *path = format("%s/%s", store_path(), name);
	int fd, ret;

	if (!path)
		return error_set(err, ENOMEM, "open %s/%s", store_path(), name);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT && (ret = make_directories(path, 0700, err)) < 0)
		return ret;
	if (fd < 0)
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? error_set(err, errno, "open %s", path) : fd;
}

int store_lock(const char *name, struct error *err)
{
	cleanup_fd int dir_fd = store_open("locks", err);
	cleanup_fd int fd = -1;
	uint8_t sum = 0;
	char file[8];

	if (dir_fd < 0)
		return dir_fd;
	for (const char *c = name; *c; c++)
		sum = (uint8_t)(sum * 31 + *c);
	snprintf(file, sizeof(file), "%02x", sum);
	fd = openat(dir_fd, file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_set(err, errno, "open %s/locks/%s", store_path(), file);
	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return error_set(err, errno, "lock %s/locks/%s", store_path(), file);
	return take_fd(&fd);
}

int store_unnamed(struct error *err)
{
	cleanup_free char *name = format("%s/.disk-XXXXXX", store_path());
	int fd;

	if (!name)
		return error_set(err, ENOMEM, "make a disk image");
	fd = open(store_path(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0 && errno == ENOENT && make_directories(store_path(), 0700, err) < 0)
		return -err->code;
	if (fd < 0)
		fd = open(store_path(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0)
		return fd;
	/* Some file systems have no O_TMPFILE. */
	fd = mkostemp(name, O_CLOEXEC);
	if (fd < 0)
		return error_set(err, errno, "make a disk image in %s", store_path());
	unlink(name);
	return fd;
}

int store_remove_directory(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_dir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
		    unlinkat(fd, entry->d_name, 0) < 0 && errno == EISDIR)
			store_remove_directory(fd, entry->d_name);
	return unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

/* The lock is held until it is gone: who has just made it sees that, and makes another. */
static void remove_abandoned(int dir_fd, const char *name)
{
	cleanup_fd int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return;
	if (unlinkat(dir_fd, name, 0) < 0 && errno == EISDIR)
		store_remove_directory(dir_fd, name);
}

void store_remove_unfinished(int dir_fd)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		const char *name = entry->d_name;

		if (!strncmp(name, STORE_UNFINISHED, strlen(STORE_UNFINISHED)))
			remove_abandoned(dir_fd, name);
	}
}
