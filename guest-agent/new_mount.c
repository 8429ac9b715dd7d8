#include "guest-agent/new_mount.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#include "common/cleanup.h"
#include "common/count.h"

/* What mount(2) says by bits is said by name to the file system and by an attribute to the mount.
 */
static const struct {
	unsigned long flag;
	const char *name;
	unsigned int attribute;
} flags[] = {
	{MS_RDONLY, "ro", MOUNT_ATTR_RDONLY},
	{MS_SYNCHRONOUS, "sync", 0},
	{MS_DIRSYNC, "dirsync", 0},
	{MS_LAZYTIME, "lazytime", 0},
	{MS_MANDLOCK, "mand", 0},
	{MS_NOSUID, NULL, MOUNT_ATTR_NOSUID},
	{MS_NODEV, NULL, MOUNT_ATTR_NODEV},
	{MS_NOEXEC, NULL, MOUNT_ATTR_NOEXEC},
	{MS_NOATIME, NULL, MOUNT_ATTR_NOATIME},
	{MS_STRICTATIME, NULL, MOUNT_ATTR_STRICTATIME},
	{MS_NODIRATIME, NULL, MOUNT_ATTR_NODIRATIME},
	{MS_NOSYMFOLLOW, NULL, MOUNT_ATTR_NOSYMFOLLOW},
};

static int set(int fs_fd, const char *name, const char *value)
{
	unsigned int command = value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG;

	return fsconfig(fs_fd, command, name, value, 0) < 0 ? -errno : 0;
}

/* Each "name=value" or "name" of what the options left to the file system. */
static int set_data(int fs_fd, const char *data)
{
	char copy[sizeof(((struct mount_options *)NULL)->data)], *rest = copy, *option;
	int ret = 0;

	strcpy(copy, data);
	while (!ret && (option = strsep(&rest, ","))) {
		char *value = strchr(option, '=');

		if (value)
			*value++ = '\0';
		if (*option)
			ret = set(fs_fd, option, value);
	}
	return ret;
}

static int configure(int fs_fd, const char *source, const struct mount_options *options,
		     unsigned int *attributes)
{
	int ret = source && *source ? set(fs_fd, "source", source) : 0;

	*attributes = 0;
	for (size_t i = 0; !ret && i < COUNT(flags); i++) {
		if (!(options->flags & flags[i].flag))
			continue;
		*attributes |= flags[i].attribute;
		if (flags[i].name)
			ret = set(fs_fd, flags[i].name, NULL);
	}
	if (!ret)
		ret = set_data(fs_fd, options->data);
	if (!ret && fsconfig(fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		ret = -errno;
	return ret;
}

/* The file system's own word: "e tmpfs: Bad value for 'size'". */
static int failed(int fs_fd, int ret, const char *type, struct error *err)
{
	char said[256];
	ssize_t len = fs_fd < 0 ? -1 : read(fs_fd, said, sizeof(said) - 1);

	if (len <= 2)
		return error_set(err, -ret, "mount %s", type);
	said[len] = '\0';
	said[strcspn(said, "\n")] = '\0';
	return error_say(err, -ret, "mount %s", said + 2);
}

int new_mount(const char *type, const char *source, const struct mount_options *options,
	      struct error *err)
{
	cleanup_fd int fs_fd = -1;
	unsigned int attributes;
	int ret, fd;

	/* There is nothing yet to mount again. */
	if (options->flags & MS_REMOUNT)
		return error_set(err, EINVAL, "remount %s", type);
	fs_fd = fsopen(type, FSOPEN_CLOEXEC);
	if (fs_fd < 0)
		return failed(-1, -errno, type, err);
	ret = configure(fs_fd, source, options, &attributes);
	if (ret < 0)
		return failed(fs_fd, ret, type, err);
	fd = fsmount(fs_fd, FSMOUNT_CLOEXEC, attributes);
	return fd < 0 ? failed(fs_fd, -errno, type, err) : fd;
}

int new_mount_attach(int mount_fd, int target_fd)
{
	unsigned int empty = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;

	return move_mount(mount_fd, "", target_fd, "", empty) < 0 ? -errno : 0;
}

int new_mount_set_readonly(int mount_fd, bool below)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
	unsigned int at = AT_EMPTY_PATH | (below ? AT_RECURSIVE : 0);

	return mount_setattr(mount_fd, "", at, &attr, sizeof(attr)) < 0 ? -errno : 0;
}
