#include "runtime/shared_root.h"
#include "runtime/confine.h"
#include "runtime/file.h"
#include "runtime/overlay.h"
#include "runtime/shares.h"
#include "runtime/tool.h"

#include "common/cleanup.h"
#include "common/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

/* Engines keep a handful of things beside the upper directory, and each is covered (shares.h). */
#define ENTRIES_MAX 32

/* Why a root cannot be shared; what to do instead is said by who asks. */
static int cannot(struct error *err, const char *why)
{
	return error_say(err, ENOTSUP, "root=shared: %s; root=scratch works", why);
}

/* What goes into the mount options of the guest's overlay as it is. */
static bool is_plain(const char *name)
{
	return *name && !name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					   "0123456789._-")];
}

/* Only the engine may put anything into the folder, and it is one for this container. */
static int check_folder(int dir_fd, const char *upper, struct error *err)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	unsigned int count = 0;
	struct stat st;

	if (!dir || fstat(dir_fd, &st) < 0)
		return error_set(err, errno, "root=shared: read the folder of the upper directory");
	if (st.st_uid != geteuid() || (st.st_mode & 0022))
		return cannot(err,
			      "others may write to the folder of the overlay's upper directory");
	while ((entry = readdir(dir)) != NULL) {
		if (++count > ENTRIES_MAX ||
		    fstatat(dir_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)))
			return cannot(err, "the folder of the overlay's upper directory is not for "
					   "one container alone");
	}
	return is_plain(upper) ? 0
			       : cannot(err, "the upper directory's name has special characters");
}

static bool is_mount_point(int fd)
{
	struct statx st;

	return statx(fd, "", AT_EMPTY_PATH, 0, &st) == 0 &&
	       (st.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

static int find_folder(struct shared_root *root, const struct overlay *overlay, struct error *err)
{
	cleanup_fd int upper_fd = overlay_open(overlay, overlay->upper);
	cleanup_fd int dir_fd = -1;
	const char *slash = strrchr(overlay->upper, '/');
	struct stat upper, there;
	int ret;

	if (upper_fd < 0)
		return error_set(err, -upper_fd, "root=shared: open %s", overlay->upper);
	dir_fd = openat(upper_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(root->upper);
	root->upper = strdup(slash ? slash + 1 : overlay->upper);
	if (dir_fd < 0 || !root->upper)
		return error_set(err, errno, "root=shared: open the folder of %s", overlay->upper);
	if (fstat(upper_fd, &upper) < 0 ||
	    fstatat(dir_fd, root->upper, &there, AT_SYMLINK_NOFOLLOW) < 0 ||
	    upper.st_ino != there.st_ino || upper.st_dev != there.st_dev ||
	    is_mount_point(upper_fd))
		return cannot(err, "the overlay's upper directory is a mount of its own");
	ret = check_folder(dir_fd, root->upper, err);
	if (ret == 0)
		root->dir_fd = take_fd(&dir_fd);
	return ret;
}

static int find(struct shared_root *root, const struct overlay *overlay, struct error *err)
{
	int ret;

	if (!overlay->upper)
		return cannot(err, "root.path is no writable overlay, as engines mount them");
	if (overlay->userxattr)
		return cannot(err, "the overlay was mounted with userxattr");
	if (!confine_is_possible())
		return cannot(err, "this host has no Landlock (Linux 5.19, in its list of LSMs), "
				   "which keeps virtiofsd to the container's files");
	ret = shares_find_daemon(NULL, err);
	return ret < 0 ? ret : find_folder(root, overlay, err);
}

int shared_root_find(struct shared_root *root, const struct bundle *bundle,
		     const struct settings *settings, struct error *err)
{
	static const char unseen[] = "the engine's cp, commit, diff and export do not see what "
				     "this container writes";
	cleanup_overlay struct overlay overlay = {0};
	const char *mode = settings_text(settings, "root");
	struct error why = {0};
	int ret;

	/* The image of the settings is the root, whatever root.path has. */
	if (!settings_text(settings, "image")) {
		ret = overlay_find(bundle->rootfs_fd, &overlay, err);
		if (ret < 0)
			return ret;
	}
	if (mode && !strcmp(mode, "shared"))
		return find(root, &overlay, err);
	if (!overlay.upper || json_is_true(json_at(bundle->config, "root", "readonly", NULL)))
		return 0;
	if (mode)
		log_info("root=scratch: %s; root=shared has them see it", unseen);
	else if (find(root, &overlay, &why) < 0)
		log_warn("%s, but %s", why.message, unseen);
	return 0;
}

uint64_t shared_root_memory(const struct shared_root *root)
{
	struct statfs fs;

	if (!shared_root_used(root) || fstatfs(root->dir_fd, &fs) < 0 || fs.f_type != TMPFS_MAGIC)
		return 0;
	return (uint64_t)fs.f_blocks * (uint64_t)fs.f_bsize;
}

json_t *shared_root_save(const struct shared_root *root)
{
	cleanup_free char *link = format("/proc/self/fd/%d", root->dir_fd);
	char path[PATH_MAX];
	ssize_t len = link && shared_root_used(root) ? readlink(link, path, sizeof(path)) : -1;

	return len > 0 && len < PATH_MAX ? json_stringn(path, (size_t)len) : NULL;
}

int shared_root_make(struct shared_root *root, struct error *err)
{
	cleanup_fd int fd = -1;

	if (!shared_root_used(root) || root->work_fd >= 0)
		return 0;
	if (mkdirat(root->dir_fd, SHARED_ROOT_WORK, 0700) < 0 && errno != EEXIST)
		return error_set(err, errno, "root=shared: make a work directory");
	fd = openat(root->dir_fd, SHARED_ROOT_WORK,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return error_set(err, errno, "root=shared: open the work directory");
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return error_say(err, EBUSY,
				 "root=shared: another VM has this root; root=scratch works for "
				 "several");
	root->work_fd = take_fd(&fd);
	return 0;
}

/*
 * What a guest that did not end by itself has left there, or made to annoy: rm follows no link in
 * it.
 */
static int remove_tree(const char *dir, struct error *err)
{
	cleanup_free char *path = format("%s/" SHARED_ROOT_WORK, dir);
	char *argv[] = {"rm", "-rf", "--one-file-system", "--", path, NULL};

	return path ? tool_run(argv, NULL, "coreutils", err)
		    : error_set(err, ENOMEM, "remove the work directory");
}

/* virtiofsd ends when the VMM has ended; until then it has the lock. */
static void await_daemon(int work_fd)
{
	const struct timespec step = {.tv_nsec = 5000000};

	for (int i = 0; i < 200 && flock(work_fd, LOCK_EX | LOCK_NB) < 0; i++)
		nanosleep(&step, NULL);
}

int shared_root_remove(const json_t *saved, struct error *err)
{
	const char *dir = json_string_value(saved);
	cleanup_fd int dir_fd = -1, fd = -1;

	if (!dir)
		return 0;
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = dir_fd < 0 ? -1
			: openat(dir_fd, SHARED_ROOT_WORK,
				 O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	/* The engine may have removed its folder before. */
	if (fd < 0)
		return errno == ENOENT ? 0 : error_set(err, errno, "open %s", dir);
	await_daemon(fd);
	/* All that is in there as a rule. */
	unlinkat(fd, "work", AT_REMOVEDIR);
	if (unlinkat(dir_fd, SHARED_ROOT_WORK, AT_REMOVEDIR) == 0)
		return 0;
	return remove_tree(dir, err);
}

json_t *shared_root_describe(const struct shared_root *root, size_t share)
{
	return json_pack("{s:I, s:s, s:s}", "share", (json_int_t)share, "directory", root->upper,
			 "work", SHARED_ROOT_WORK);
}

int shared_root_clone(const struct shared_root *root, const struct bundle *bundle,
		      struct error *err)
{
	struct mount_attr attr = {
		.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
		.propagation = MS_PRIVATE,
	};
	cleanup_fd int fd = -1;

	if (!shared_root_used(root))
		return -ENODATA;
	fd = open_tree(bundle->rootfs_fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	if (fd < 0 || mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return error_set(err, errno, "root=shared: clone the mount of %s", bundle->rootfs);
	return take_fd(&fd);
}

void shared_root_destroy(struct shared_root *root)
{
	close_fd(&root->dir_fd);
	close_fd(&root->work_fd);
	free(root->upper);
	root->upper = NULL;
}
