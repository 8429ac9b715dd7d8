#include "guest-agent/mounts.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <linux/mount.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "guest-agent/binds.h"
#include "guest-agent/copy.h"
#include "guest-agent/mount_options.h"
#include "guest-agent/new_mount.h"
#include "guest-agent/path.h"
#include "guest-agent/spec.h"

#define BIND_KEEPS (MS_BIND | MS_REC)

struct mount_entry {
	size_t number; /* in config.mounts */
	const char *type, *source, *destination;
	struct mount_options options;
};

/* What was not said when the mount was made. */
static int after_mount(int mount_fd, const struct mount_options *options, bool remount_flags)
{
	char target[FD_PATH_SIZE];
	int ret = 0;

	path_of_fd(mount_fd, target);
	if (remount_flags &&
	    mount(NULL, target, NULL, options->flags | MS_REMOUNT | MS_BIND, NULL) < 0)
		return -errno;
	if (options->recursive_readonly)
		ret = new_mount_set_readonly(mount_fd, true);
	if (!ret && options->propagation && mount(NULL, target, NULL, options->propagation, NULL))
		ret = -errno;
	return ret;
}

/* source_fd is what the host has put into the VM for this mount. */
static int mount_bind(int root_fd, int source_fd, const char *destination,
		      const struct mount_options *options, struct error *err)
{
	unsigned int flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH;
	cleanup_fd int target_fd = -1, mount_fd = -1;
	struct stat st;
	int ret;

	if (fstat(source_fd, &st) < 0)
		return error_set(err, errno, "stat the source");
	target_fd = S_ISDIR(st.st_mode) ? path_make_dir(root_fd, destination, err)
					: path_make_file(root_fd, destination, err);
	if (target_fd < 0)
		return target_fd;
	mount_fd = open_tree(source_fd, "", options->flags & MS_REC ? flags | AT_RECURSIVE : flags);
	ret = mount_fd < 0 ? -errno : new_mount_attach(mount_fd, target_fd);
	if (ret < 0)
		return error_set(err, -ret, "bind");
	ret = after_mount(mount_fd, options, options->flags & ~BIND_KEEPS);
	return ret < 0 ? error_set(err, -ret, "set options") : 0;
}

/*
 * What the agent sees, all but its cgroups: they are not the container's, which its own could not
 * even be mounted over, being of the same file system. Returns the mount.
 */
static int bind_sysfs(int target_fd, const struct mount_options *options, struct error *err)
{
	cleanup_fd int fd = open_tree(AT_FDCWD, "/sys",
				      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	char path[FD_PATH_SIZE], cgroups[FD_PATH_SIZE + 16];
	int ret = fd < 0 ? -errno : new_mount_attach(fd, target_fd);

	if (ret < 0)
		return error_set(err, -ret, "bind /sys");
	snprintf(cgroups, sizeof(cgroups), "%s/fs/cgroup", path_of_fd(fd, path));
	if (mount("tmpfs", cgroups, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=0,mode=755"))
		return error_set(err, errno, "cover /sys/fs/cgroup");
	ret = options->flags & MS_RDONLY ? new_mount_set_readonly(fd, true) : 0;
	return ret < 0 ? error_set(err, -ret, "make /sys read-only") : take_fd(&fd);
}

/*
 * As runc and crun: without a mode of its own a tmpfs has the one of the directory that it covers.
 * First among the options, so that a mode which is there counts.
 */
static int tmpfs_keep_mode(int target_fd, struct mount_options *options)
{
	char data[sizeof(options->data)];
	struct stat st;
	int len;

	if (fstat(target_fd, &st) < 0)
		return -errno;
	len = snprintf(data, sizeof(data), "mode=%o%s%s", st.st_mode & 07777,
		       *options->data ? "," : "", options->data);
	if (len >= (int)sizeof(data))
		return -E2BIG;
	strcpy(options->data, data);
	return 0;
}

static bool is_kernels_own(const char *type)
{
	return !strcmp(type, "proc") || !strcmp(type, "sysfs");
}

/*
 * Where the kernel's own files are looked for, and masked, is where they have to be: not where the
 * image says (CVE-2019-19921). *existed tells whether the image has the directory.
 */
static int open_target(int root_fd, const char *type, const char *destination, bool *existed,
		       struct error *err)
{
	int nofollow = is_kernels_own(type) ? O_NOFOLLOW : 0;
	cleanup_fd int fd = path_open(root_fd, destination, O_PATH | nofollow);
	struct stat st;

	*existed = fd >= 0;
	if (fd == -ENOENT)
		return path_make_dir(root_fd, destination, err);
	if (fd < 0)
		return error_set(err, -fd, "open %s", destination);
	if (fstat(fd, &st) < 0)
		return error_set(err, errno, "stat %s", destination);
	if (S_ISLNK(st.st_mode))
		return error_say(
			err, ELOOP,
			"%s must be mounted on an ordinary directory, and %s is a symbolic "
			"link",
			type, destination);
	if (!S_ISDIR(st.st_mode))
		return error_set(err, ENOTDIR, "open %s", destination);
	return take_fd(&fd);
}

static int copy_up(int below_fd, int mount_fd, struct error *err)
{
	cleanup_fd int top = openat(mount_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int ret = top < 0 ? -errno : copy_tree(below_fd, top);

	return ret < 0 ? error_set(err, -ret, "copy up") : 0;
}

/* Returns the mount, in its place. */
static int put_new_mount(int target_fd, const char *type, const char *source,
			 const struct mount_options *options, struct error *err)
{
	cleanup_fd int fd = new_mount(type, source, options, err);
	int ret;

	/* A user namespace may own no network to make a sysfs for. */
	if (fd == -EPERM && !strcmp(type, "sysfs")) {
		error_clear(err);
		return bind_sysfs(target_fd, options, err);
	}
	if (fd < 0)
		return fd;
	ret = new_mount_attach(fd, target_fd);
	return ret < 0 ? error_set(err, -ret, "mount %s", type) : take_fd(&fd);
}

static int mount_fs(int root_fd, struct mount_entry *entry, struct late_mounts *late,
		    struct error *err)
{
	const char *type = strcmp(entry->type, "cgroup") ? entry->type : "cgroup2";
	struct mount_options *options = &entry->options;
	bool is_tmpfs = !strcmp(type, "tmpfs"), existed;
	/* A tmpfs gets files after it was mounted: mount points, device nodes, the image's copy. */
	bool is_late = is_tmpfs && (options->flags & MS_RDONLY);
	cleanup_fd int target_fd = open_target(root_fd, type, entry->destination, &existed, err);
	cleanup_fd int mount_fd = -1;
	int ret = 0;

	if (target_fd < 0)
		return target_fd;
	if (is_tmpfs && existed && (ret = tmpfs_keep_mode(target_fd, options)) < 0)
		return error_set(err, -ret, "find the mode");
	if (is_late)
		options->flags &= ~MS_RDONLY;
	mount_fd = put_new_mount(target_fd, type, entry->source ? entry->source : type, options,
				 err);
	if (mount_fd < 0)
		return mount_fd;
	if (options->copy_up && existed && (ret = copy_up(target_fd, mount_fd, err)) < 0)
		return ret;
	ret = after_mount(mount_fd, options, false);
	if (ret < 0)
		return error_set(err, -ret, "set options");
	if (is_late)
		late->fds[late->count++] = take_fd(&mount_fd);
	return 0;
}

static int entry_parse(const json_t *mount, size_t i, struct mount_entry *out, struct error *err)
{
	char where[64];
	int ret;

	out->number = i;
	out->type = out->source = out->destination = NULL;
	snprintf(where, sizeof(where), "config.mounts[%zu]", i);
	if ((ret = spec_string(mount, where, "type", &out->type, err)) < 0 ||
	    (ret = spec_string(mount, where, "source", &out->source, err)) < 0 ||
	    (ret = spec_string(mount, where, "destination", &out->destination, err)) < 0 ||
	    (ret = mount_options_parse(mount, where, &out->options, err)) < 0)
		return ret;
	if (!out->destination)
		return error_say(err, EINVAL, "%s.destination: is missing", where);
	if (out->type && !strcmp(out->type, "bind"))
		out->options.flags |= MS_BIND;
	if (!out->type && !(out->options.flags & MS_BIND))
		return error_say(err, EINVAL, "%s.type: is missing", where);
	return 0;
}

static int entry_mount(struct mount_entry *entry, const json_t *binds, int root_fd,
		       struct late_mounts *late, struct error *err)
{
	if (entry->options.flags & MS_BIND) {
		cleanup_fd int fd = bind_open(binds, entry->number, err);

		return fd < 0 ? fd
			      : mount_bind(root_fd, fd, entry->destination, &entry->options, err);
	}
	return mount_fs(root_fd, entry, late, err);
}

int mounts_make(const json_t *config, const json_t *binds, int root_fd, struct late_mounts *late,
		struct error *err)
{
	const json_t *mounts = NULL, *mount;
	int ret = spec_array(config, "config", "mounts", &mounts, err);

	if (ret < 0)
		return ret;
	late->fds = calloc(json_array_size(mounts) + 1, sizeof(*late->fds));
	if (!late->fds)
		return error_set(err, ENOMEM, "config.mounts");
	for (size_t i = 0; i < json_array_size(mounts); i++) {
		struct mount_entry entry;

		if ((ret = spec_element(mounts, "config.mounts", i, &mount, err)) < 0 ||
		    (ret = entry_parse(mount, i, &entry, err)) < 0)
			return ret;
		ret = entry_mount(&entry, binds, root_fd, late, err);
		if (ret < 0)
			return error_prefix(err, ret, "error mounting \"%s\" to rootfs at \"%s\"",
					    entry.source ? entry.source : "", entry.destination);
	}
	return 0;
}

int mounts_make_readonly(struct late_mounts *late, struct error *err)
{
	int ret = 0;

	for (size_t i = 0; i < late->count; i++) {
		if (!ret)
			ret = new_mount_set_readonly(late->fds[i], false);
		close(late->fds[i]);
	}
	free(late->fds);
	*late = (struct late_mounts){0};
	return ret < 0 ? error_set(err, -ret, "make a tmpfs read-only") : 0;
}
