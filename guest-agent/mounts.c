#include "guest-agent/mounts.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <linux/mount.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "common/cleanup.h"
#include "guest-agent/binds.h"
#include "guest-agent/copy.h"
#include "guest-agent/path.h"
#include "guest-agent/spec.h"

#define BIND_KEEPS (MS_BIND | MS_REC)

struct flag_name {
	const char *name;
	unsigned long set;
	unsigned long clear;
};

#define ATIMES (MS_RELATIME | MS_NOATIME | MS_STRICTATIME)

static const struct flag_name flag_names[] = {
	{"async", 0, MS_SYNCHRONOUS},
	{"atime", 0, MS_NOATIME},
	{"bind", MS_BIND, 0},
	{"defaults", 0, 0},
	{"dev", 0, MS_NODEV},
	{"diratime", 0, MS_NODIRATIME},
	{"dirsync", MS_DIRSYNC, 0},
	{"exec", 0, MS_NOEXEC},
	{"iversion", MS_I_VERSION, 0},
	{"lazytime", MS_LAZYTIME, 0},
	{"loud", 0, MS_SILENT},
	{"mand", MS_MANDLOCK, 0},
	{"noatime", MS_NOATIME, ATIMES},
	{"nodev", MS_NODEV, 0},
	{"nodiratime", MS_NODIRATIME, 0},
	{"noexec", MS_NOEXEC, 0},
	{"noiversion", 0, MS_I_VERSION},
	{"nolazytime", 0, MS_LAZYTIME},
	{"nomand", 0, MS_MANDLOCK},
	{"norelatime", 0, MS_RELATIME},
	{"nostrictatime", 0, MS_STRICTATIME},
	{"nosuid", MS_NOSUID, 0},
	{"nosymfollow", MS_NOSYMFOLLOW, 0},
	{"rbind", MS_BIND | MS_REC, 0},
	{"relatime", MS_RELATIME, ATIMES},
	{"remount", MS_REMOUNT, 0},
	{"ro", MS_RDONLY, 0},
	{"rw", 0, MS_RDONLY},
	{"silent", MS_SILENT, 0},
	{"strictatime", MS_STRICTATIME, ATIMES},
	{"suid", 0, MS_NOSUID},
	{"symfollow", 0, MS_NOSYMFOLLOW},
	{"sync", MS_SYNCHRONOUS, 0},
};

static const struct flag_name propagation_names[] = {
	{"private", MS_PRIVATE, 0},
	{"rprivate", MS_PRIVATE | MS_REC, 0},
	{"rshared", MS_SHARED | MS_REC, 0},
	{"rslave", MS_SLAVE | MS_REC, 0},
	{"runbindable", MS_UNBINDABLE | MS_REC, 0},
	{"shared", MS_SHARED, 0},
	{"slave", MS_SLAVE, 0},
	{"unbindable", MS_UNBINDABLE, 0},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct flag_name *find(const struct flag_name *names, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(names[i].name, name))
			return &names[i];
	return NULL;
}

unsigned long mount_propagation(const char *name)
{
	const struct flag_name *found = find(propagation_names, COUNT(propagation_names), name);

	return found ? found->set : 0;
}

static int option_parse(const char *option, struct mount_options *out)
{
	const struct flag_name *flag = find(flag_names, COUNT(flag_names), option);
	unsigned long propagation = mount_propagation(option);
	size_t used = strlen(out->data);

	if (flag) {
		out->flags = (out->flags & ~flag->clear) | flag->set;
	} else if (propagation) {
		out->propagation |= propagation;
	} else if (!strcmp(option, "rro")) {
		out->recursive_readonly = true;
	} else if (!strcmp(option, "tmpcopyup")) {
		out->copy_up = true;
	} else if (!strcmp(option, "idmap") || !strcmp(option, "ridmap")) {
		return -EOPNOTSUPP;
	} else if (*option) {
		if (used + strlen(option) + 2 > sizeof(out->data))
			return -E2BIG;
		if (used)
			out->data[used++] = ',';
		strcpy(out->data + used, option);
	}
	return 0;
}

int mount_options_parse(const json_t *mount, const char *where, struct mount_options *out,
			struct error *err)
{
	cleanup_free const char **options = NULL;
	int ret = spec_strings(mount, where, "options", &options, err);

	memset(out, 0, sizeof(*out));
	for (const char **option = options; ret > 0 && *option; option++) {
		ret = option_parse(*option, out);
		if (ret < 0)
			return error_set(err, -ret, "%s.options: \"%s\"", where, *option);
		ret = 1;
	}
	return ret < 0 ? ret : 0;
}

static int set_readonly_below(const char *target)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};

	if (syscall(SYS_mount_setattr, AT_FDCWD, target, AT_RECURSIVE, &attr, sizeof(attr)) < 0)
		return -errno;
	return 0;
}

/* What mount(2) did not take at once. fd is the mount itself. */
static int after_mount(int fd, const struct mount_options *options, bool remount_flags)
{
	char target[FD_PATH_SIZE];
	int ret = 0;

	path_of_fd(fd, target);
	if (remount_flags &&
	    mount(NULL, target, NULL, options->flags | MS_REMOUNT | MS_BIND, NULL) < 0)
		return -errno;
	if (options->recursive_readonly)
		ret = set_readonly_below(target);
	if (!ret && options->propagation && mount(NULL, target, NULL, options->propagation, NULL))
		ret = -errno;
	return ret;
}

/* The descriptor from before a mount still means what is below. */
static int after_mount_at(int root_fd, const char *destination, const struct mount_options *options,
			  bool remount_flags)
{
	cleanup_fd int fd = path_open(root_fd, destination, O_PATH);

	return fd < 0 ? fd : after_mount(fd, options, remount_flags);
}

/*
 * source_fd is what the host has put into the VM for this mount. Its path is walked once: it may be
 * in a volume that another container changes at this moment, and what the options are set on must
 * be what was mounted (CVE-2021-30465).
 */
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
	if (mount_fd < 0 || move_mount(mount_fd, "", target_fd, "",
				       MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return error_set(err, errno, "bind");
	ret = after_mount(mount_fd, options, options->flags & ~BIND_KEEPS);
	return ret < 0 ? error_set(err, -ret, "set options") : 0;
}

/*
 * What the agent sees, all but its cgroups: they are not the container's, which its own could not
 * even be mounted over, being of the same file system.
 */
static int bind_sysfs(int target_fd, const struct mount_options *options)
{
	cleanup_fd int fd = open_tree(AT_FDCWD, "/sys",
				      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	char path[FD_PATH_SIZE], cgroups[FD_PATH_SIZE + 16];

	if (fd < 0 || move_mount(fd, "", target_fd, "",
				 MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return -errno;
	path_of_fd(fd, path);
	snprintf(cgroups, sizeof(cgroups), "%s/fs/cgroup", path);
	if (mount("tmpfs", cgroups, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=0,mode=755"))
		return -errno;
	return options->flags & MS_RDONLY ? set_readonly_below(path) : 0;
}

/* A user namespace may own no network to make a sysfs for. */
static int mount_sysfs(int target_fd, const struct mount_options *options)
{
	char target[FD_PATH_SIZE];

	if (!mount("sysfs", path_of_fd(target_fd, target), "sysfs", options->flags, options->data))
		return 0;
	return errno == EPERM ? bind_sysfs(target_fd, options) : -errno;
}

/*
 * As runc and crun: without a mode of its own a tmpfs has the one of the directory that it covers.
 * Returns 1, or 0 where there is none yet: then the tmpfs keeps its own, and has nothing to copy.
 */
static int tmpfs_keep_mode(int root_fd, const char *destination, struct mount_options *options)
{
	cleanup_fd int fd = path_open(root_fd, destination, O_PATH | O_DIRECTORY);
	char data[sizeof(options->data)];
	struct stat st;
	int len;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	/* First, so that a mode among the options counts. */
	len = snprintf(data, sizeof(data), "mode=%o%s%s", st.st_mode & 07777,
		       *options->data ? "," : "", options->data);
	if (len >= (int)sizeof(data))
		return -E2BIG;
	strcpy(options->data, data);
	return 1;
}

/* A tmpfs gets files after it was mounted: mount points, device nodes, the image's copy. */
static bool is_late_readonly(const char *type, const struct mount_options *options)
{
	return !strcmp(type, "tmpfs") && (options->flags & MS_RDONLY);
}

/*
 * Where the kernel's own files are looked for, and masked, is where they have to be: not where the
 * image says (CVE-2019-19921).
 */
static int check_ordinary(int root_fd, const char *type, const char *destination, struct error *err)
{
	cleanup_fd int fd = -1;
	struct stat st;

	if (strcmp(type, "proc") != 0 && strcmp(type, "sysfs") != 0)
		return 0;
	fd = path_open(root_fd, destination, O_PATH | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISLNK(st.st_mode))
		return 0;
	return error_say(err, ELOOP,
			 "%s must be mounted on an ordinary directory, and %s is a symbolic link",
			 type, destination);
}

static int mount_fs(int root_fd, const char *type, const char *source, const char *destination,
		    struct mount_options *options, struct error *err)
{
	int ret = strcmp(type, "tmpfs") ? 0 : tmpfs_keep_mode(root_fd, destination, options);
	cleanup_fd int target_fd = path_make_dir(root_fd, destination, err);
	bool copy_up = options->copy_up && ret > 0;
	char target[FD_PATH_SIZE];

	if (target_fd < 0)
		return target_fd;
	if (ret < 0)
		return error_set(err, -ret, "find the mode");
	ret = 0;
	path_of_fd(target_fd, target);
	if (!strcmp(type, "sysfs"))
		ret = mount_sysfs(target_fd, options);
	else if (mount(source ? source : type, target, type,
		       is_late_readonly(type, options) ? options->flags & ~MS_RDONLY
						       : options->flags,
		       options->data) < 0)
		ret = -errno;
	if (ret < 0)
		return error_set(err, -ret, "mount %s", type);
	if (copy_up) {
		cleanup_fd int top = path_open(root_fd, destination, O_RDONLY | O_DIRECTORY);

		ret = top < 0 ? top : copy_tree(target_fd, top);
		if (ret < 0)
			return error_set(err, -ret, "copy up");
	}
	ret = after_mount_at(root_fd, destination, options, false);
	return ret < 0 ? error_set(err, -ret, "set options") : 0;
}

struct mount_entry {
	size_t number; /* in config.mounts */
	const char *type, *source, *destination;
	struct mount_options options;
};

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
		       struct error *err)
{
	const char *type = entry->type;
	int ret;

	if (entry->options.flags & MS_BIND) {
		cleanup_fd int fd = bind_open(binds, entry->number, err);

		return fd < 0 ? fd
			      : mount_bind(root_fd, fd, entry->destination, &entry->options, err);
	}
	ret = check_ordinary(root_fd, type, entry->destination, err);
	if (ret < 0)
		return ret;
	return mount_fs(root_fd, strcmp(type, "cgroup") ? type : "cgroup2", entry->source,
			entry->destination, &entry->options, err);
}

static int entry_make_readonly(struct mount_entry *entry, const json_t *binds, int root_fd,
			       struct error *err)
{
	int ret;

	(void)binds;
	if ((entry->options.flags & MS_BIND) || !is_late_readonly(entry->type, &entry->options))
		return 0;
	ret = after_mount_at(root_fd, entry->destination, &entry->options, true);
	return ret < 0 ? error_set(err, -ret, "make it read-only") : 0;
}

typedef int entry_fn(struct mount_entry *entry, const json_t *binds, int root_fd,
		     struct error *err);

static int each_mount(const json_t *config, const json_t *binds, int root_fd, entry_fn *fn,
		      struct error *err)
{
	const json_t *mounts = NULL, *mount;
	int ret = spec_array(config, "config", "mounts", &mounts, err);

	for (size_t i = 0; ret >= 0 && i < json_array_size(mounts); i++) {
		struct mount_entry entry;

		if ((ret = spec_element(mounts, "config.mounts", i, &mount, err)) < 0 ||
		    (ret = entry_parse(mount, i, &entry, err)) < 0)
			return ret;
		ret = fn(&entry, binds, root_fd, err);
		if (ret < 0)
			return error_prefix(err, ret, "error mounting \"%s\" to rootfs at \"%s\"",
					    entry.source ? entry.source : "", entry.destination);
	}
	return ret < 0 ? ret : 0;
}

int mounts_make(const json_t *config, const json_t *binds, int root_fd, struct error *err)
{
	return each_mount(config, binds, root_fd, entry_mount, err);
}

int mounts_make_readonly(const json_t *config, int root_fd, struct error *err)
{
	return each_mount(config, NULL, root_fd, entry_make_readonly, err);
}
