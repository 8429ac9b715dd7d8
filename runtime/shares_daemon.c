/* The daemon's process: from the fork to virtiofsd's main. */
#include "runtime/companion.h"
#include "runtime/confine.h"
#include "runtime/shares.h"

#include "common/cleanup.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* Covered by the shares' root in the daemon's mount namespace. */
#define ROOT	 "/run"
#define PATH_LEN (sizeof(ROOT) + 24)

#define FILES_MAX 1000000 /* descriptors: one for each inode that the guest knows */

/*
 * docs/storage.md says why. Locks stay in the guest: virtiofsd refuses those that wait. Each mount
 * is announced, or files of two file systems with one inode number would be one in the guest.
 */
#define OPTIONS \
	"source=" ROOT ",cache=auto,xattr,no_posix_lock,no_flock,announce_submounts,log_level=warn"

/* By itself virtiofsd makes namespaces for itself and a root of its source. */
#define OPTIONS_ALONE OPTIONS ",sandbox=namespace"

/*
 * Under Landlock nothing can be mounted any more, so we make the namespaces, and it only changes
 * its root. CAP_SYS_ADMIN is for overlayfs's trusted.* attributes; Landlock and virtiofsd's own
 * seccomp filter keep it from mounts and all else.
 */
#define OPTIONS_CONFINED OPTIONS ",sandbox=chroot,modcaps=+sys_admin"

static int place(const struct shared_tree *tree, size_t number, char path[PATH_LEN])
{
	int fd;

	snprintf(path, PATH_LEN, ROOT "/%zu", number);
	if (tree->directory && mkdir(path, 0700) < 0)
		return -1;
	if (!tree->directory) {
		fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
		if (fd < 0)
			return -1;
		close(fd);
	}
	return move_mount(tree->fd, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH);
}

/* Another mount of an entry over itself, which nothing can be changed through. */
static int cover(int dir_fd, const char *name)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
	cleanup_fd int fd = open_tree(dir_fd, name,
				      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);

	if (fd < 0 || mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return -1;
	return move_mount(fd, "", dir_fd, name, MOVE_MOUNT_F_EMPTY_PATH);
}

static int cover_others(const char *path, const struct shared_root *root)
{
	cleanup_dir DIR *dir = opendir(path);
	const struct dirent *entry;

	if (!dir)
		return -1;
	while ((entry = readdir(dir)) != NULL) {
		const char *name = entry->d_name;

		if (!strcmp(name, ".") || !strcmp(name, "..") || !strcmp(name, root->upper) ||
		    !strcmp(name, SHARED_ROOT_WORK))
			continue;
		if (cover(dirfd(dir), name) < 0)
			return -1;
	}
	return 0;
}

/* The daemon makes this its root later, and lets go of everything else. */
static int make_root(const struct shares *shares)
{
	char path[PATH_LEN];

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("bulkhead-shares", ROOT, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  "mode=0755,size=1m") < 0)
		return -1;
	for (size_t i = 0; i < shares->count; i++)
		if (place(&shares->trees[i], i, path) < 0)
			return -1;
	if (shares->root && cover_others(path, shares->root) < 0)
		return -1;
	return mount(NULL, ROOT, NULL, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
		     NULL);
}

/* What virtiofsd needs to start; its /proc has no process but itself. */
static int allow_libraries(int rules_fd, const char *daemon)
{
	const char *const paths[] = {"/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/proc", daemon};

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		cleanup_fd int fd = open(paths[i], O_PATH | O_CLOEXEC);

		if (fd < 0 && errno != ENOENT)
			return -1;
		if (fd >= 0 && confine_allow(rules_fd, fd, true) < 0)
			return -1;
	}
	return 0;
}

static int allow_entry(int rules_fd, int dir_fd, const char *name)
{
	cleanup_fd int fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -1 : confine_allow(rules_fd, fd, false);
}

/* Of the last share only two directories, of the others all. */
static int confine(const struct shares *shares)
{
	cleanup_fd int rules_fd = confine_new();
	size_t last = shares->count - 1;

	if (rules_fd < 0 || allow_libraries(rules_fd, shares->daemon) < 0)
		return -1;
	for (size_t i = 0; i < last; i++)
		if (confine_allow(rules_fd, shares->trees[i].fd, shares->trees[i].readonly) < 0)
			return -1;
	if (allow_entry(rules_fd, shares->root->dir_fd, shares->root->upper) < 0 ||
	    allow_entry(rules_fd, shares->root->dir_fd, SHARED_ROOT_WORK) < 0)
		return -1;
	return confine_enter(rules_fd);
}

/* As many as may be; if they do not suffice, the guest gets ENFILE. */
static void raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= FILES_MAX)
		return;
	if (limit.rlim_max < FILES_MAX &&
	    setrlimit(RLIMIT_NOFILE, &(struct rlimit){FILES_MAX, FILES_MAX}) == 0)
		return;
	limit.rlim_cur = limit.rlim_max < FILES_MAX ? limit.rlim_max : FILES_MAX;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int set_streams(const struct shares *shares)
{
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 || dup2(null_fd, STDOUT_FILENO) < 0 ||
	    dup2(shares->error_fd, STDERR_FILENO) < 0)
		return -1;
	return fcntl(shares->listen_fd, F_SETFD, 0);
}

static void become_daemon(struct companion *companion, void *ctx)
{
	const struct shares *shares = ctx;
	char *options = shares->root ? OPTIONS_CONFINED : OPTIONS_ALONE;
	char *environment[] = {NULL};
	char socket[32];
	char *argv[] = {shares->daemon, socket, "-o", options, "--rlimit-nofile=0", NULL};

	snprintf(socket, sizeof(socket), "--fd=%d", shares->listen_fd);
	companion->step = "mount the shares";
	if (make_root(shares) < 0)
		return;
	raise_limit();
	companion->step = "start virtiofsd";
	if (set_streams(shares) < 0)
		return;
	companion->step = "confine virtiofsd";
	if (shares->root &&
	    (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0 ||
	     /* The lock lives as long as the daemon. */
	     fcntl(shares->root->work_fd, F_SETFD, 0) < 0 || confine(shares) < 0))
		return;
	companion->step = "start virtiofsd";
	umask(0);
	execve(shares->daemon, argv, environment);
}

int shares_start(const struct shares *shares, const char **step)
{
	/* What virtiofsd would make itself is made for one that will be confined. */
	uint64_t namespaces = CLONE_NEWNS | (shares->root ? CLONE_NEWPID | CLONE_NEWNET : 0);

	*step = "start virtiofsd";
	return shares->count ? companion_start(namespaces, become_daemon, (void *)shares, step) : 0;
}
