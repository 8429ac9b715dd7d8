#include "guest-agent/binds.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "guest-agent/rootfs.h"
#include "guest-agent/shares.h"
#include "guest-agent/spec.h"
#include "protocol/base64.h"
#include "protocol/protocol.h"

#define FILES	  ROOTFS_BASE "/files"
#define PLACE_MAX (sizeof(FILES) + 24)

static const char *file_place(size_t i, char out[PLACE_MAX])
{
	snprintf(out, PLACE_MAX, FILES "/%zu", i);
	return out;
}

static int make_dir(const char *path, struct error *err)
{
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return error_set(err, errno, "mkdir %s", path);
	return 0;
}

static int write_content(int fd, const char *text, const char *where, struct error *err)
{
	size_t len = strlen(text);
	cleanup_free char *bytes = malloc(len / 4 * 3 + 1);
	ssize_t count;

	if (!bytes)
		return error_set(err, ENOMEM, "%s", where);
	count = base64_decode(text, len, bytes);
	if (count < 0)
		return error_say(err, EINVAL, "%s.file: is not base64", where);
	/* Memory takes a small file as a whole or not at all. */
	if (write(fd, bytes, (size_t)count) != count)
		return error_set(err, errno ? errno : EIO, "write a copy for %s", where);
	return 0;
}

static int make_file(const json_t *bind, size_t i, const char *where, struct error *err)
{
	long long mode = 0644, uid = 0, gid = 0, mtime = 0;
	struct timespec times[2] = {0};
	cleanup_fd int fd = -1;
	const char *text = "";
	char place[PLACE_MAX];
	int ret;

	if ((ret = spec_string(bind, where, "file", &text, err)) <= 0 ||
	    (ret = spec_int(bind, where, "mode", 0, 07777, &mode, err)) < 0 ||
	    (ret = spec_int(bind, where, "uid", 0, UINT32_MAX - 1, &uid, err)) < 0 ||
	    (ret = spec_int(bind, where, "gid", 0, UINT32_MAX - 1, &gid, err)) < 0 ||
	    (ret = spec_int(bind, where, "mtime", INT64_MIN, INT64_MAX, &mtime, err)) < 0 ||
	    (ret = make_dir(FILES, err)) < 0)
		return ret;
	fd = open(file_place(i, place), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_set(err, errno, "create %s", place);
	if ((ret = write_content(fd, text, where, err)) < 0)
		return ret;
	times[0].tv_sec = times[1].tv_sec = (time_t)mtime;
	/* The owner first: changing it clears set-id bits. */
	if (fchown(fd, (uid_t)uid, (gid_t)gid) < 0 || fchmod(fd, (mode_t)mode) < 0 ||
	    futimens(fd, times) < 0)
		return error_set(err, errno, "set the attributes of %s", place);
	return 0;
}

int binds_make(const json_t *binds, struct error *err)
{
	int ret = 0;

	for (size_t i = 0; ret >= 0 && i < json_array_size(binds); i++) {
		const json_t *bind = json_array_get(binds, i);
		char where[32];

		snprintf(where, sizeof(where), "binds[%zu]", i);
		if (json_is_object(bind))
			ret = make_file(bind, i, where, err);
	}
	return ret < 0 ? ret : 0;
}

static int refresh(const json_t *file, const char *where, struct error *err)
{
	struct timespec times[2] = {0};
	long long bind = 0, mtime = 0;
	cleanup_fd int fd = -1;
	const char *text = "";
	char place[PLACE_MAX];
	int ret;

	if ((ret = spec_int(file, where, "bind", 0, INT_MAX, &bind, err)) < 0 ||
	    (ret = spec_string(file, where, "file", &text, err)) < 0 ||
	    (ret = spec_int(file, where, "mtime", INT64_MIN, INT64_MAX, &mtime, err)) < 0)
		return ret;
	fd = open(file_place((size_t)bind, place), O_WRONLY | O_TRUNC | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return error_set(err, errno, "open %s", place);
	if ((ret = write_content(fd, text, where, err)) < 0)
		return ret;
	times[0].tv_sec = times[1].tv_sec = (time_t)mtime;
	return futimens(fd, times) < 0 ? error_set(err, errno, "set the times of %s", place) : 0;
}

int binds_refresh(const json_t *body, struct error *err)
{
	const json_t *files = NULL;
	int ret = spec_array(body, "body", "files", &files, err);

	for (size_t i = 0; ret >= 0 && i < json_array_size(files); i++) {
		const json_t *file;
		char where[32];

		snprintf(where, sizeof(where), "files[%zu]", i);
		ret = spec_element(files, "files", i, &file, err);
		if (ret >= 0)
			ret = refresh(file, where, err);
	}
	return ret < 0 ? ret : 0;
}

void binds_remove(const json_t *binds)
{
	char place[PLACE_MAX];

	for (size_t i = 0; i < json_array_size(binds); i++)
		if (json_object_get(json_array_get(binds, i), "file"))
			unlink(file_place(i, place));
}

static int open_device(const char *name, struct error *err)
{
	char path[32];
	int fd;

	if (strchr(name, '/') ||
	    (size_t)snprintf(path, sizeof(path), "/dev/%s", name) >= sizeof(path))
		return error_say(err, EINVAL, "\"%.64s\" is no name of a device", name);
	fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? error_set(err, errno, "open %s", path) : fd;
}

int bind_open(const json_t *binds, size_t i, struct error *err)
{
	const json_t *bind = json_array_get(binds, i);
	const char *device = NULL;
	char place[PLACE_MAX], where[32];
	long long share = 0;
	int fd, ret;

	snprintf(where, sizeof(where), "binds[%zu]", i);
	ret = spec_string(bind, where, "device", &device, err);
	if (ret)
		return ret < 0 ? ret : open_device(device, err);
	ret = spec_int(bind, where, "share", 0, INT_MAX, &share, err);
	if (ret)
		return ret < 0 ? ret : share_open(share, err);
	if (!json_object_get(bind, "file"))
		return error_say(err, EINVAL, "%s: nothing was passed into the VM for this mount",
				 where);
	fd = open(file_place(i, place), O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? error_set(err, errno, "open %s", place) : fd;
}
