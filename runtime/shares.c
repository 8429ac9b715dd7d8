#include "runtime/shares.h"
#include "runtime/file.h"

#include "common/cleanup.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define DAEMON "/usr/lib/qemu/virtiofsd" /* in Debian's qemu-system-common */

/* Covered by the shares' root in the daemon's mount namespace. */
#define ROOT "/run"

#define FILES_MAX 1000000 /* descriptors: one for each inode that the guest knows */

/*
 * docs/storage.md says why. Locks stay in the guest: virtiofsd refuses those that wait. Each mount
 * is announced, or files of two file systems with one inode number would be one in the guest.
 */
#define OPTIONS                                                                          \
	"source=" ROOT                                                                   \
	",sandbox=namespace,cache=auto,xattr,no_posix_lock,no_flock,announce_submounts," \
	"log_level=warn"

static int find_daemon(struct shares *shares, struct error *err)
{
	const char *override = getenv("BULKHEAD_VIRTIOFSD");
	const char *path = override && *override ? override : DAEMON;

	if (access(path, X_OK) < 0)
		return error_say(err, errno,
				 "virtiofsd is missing: %s: %s: install qemu-system-common, or set "
				 "BULKHEAD_VIRTIOFSD; volumes need it",
				 path, strerror(errno));
	shares->daemon = strdup(path);
	return shares->daemon ? 0 : error_set(err, ENOMEM, "shares");
}

/* The daemon listens, as it wants to, and its only client is there before anybody else can be. */
static int connect_both(struct shares *shares, struct error *err)
{
	cleanup_fd int listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cleanup_fd int vmm_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t len = sizeof(address);
	int ends[2];

	/* Bound without a name: the kernel chooses one, in no file system. */
	if (listen_fd < 0 || vmm_fd < 0 ||
	    bind(listen_fd, (struct sockaddr *)&address, sizeof(address.sun_family)) < 0 ||
	    getsockname(listen_fd, (struct sockaddr *)&address, &len) < 0 ||
	    listen(listen_fd, 1) < 0 || connect(vmm_fd, (struct sockaddr *)&address, len) < 0)
		return error_set(err, errno, "socket of virtiofsd");
	shares->listen_fd = take_fd(&listen_fd);
	shares->vmm_fd = take_fd(&vmm_fd);
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_set(err, errno, "pipe of virtiofsd");
	shares->log_fd = ends[0];
	shares->error_fd = ends[1];
	return 0;
}

/*
 * A mount like the source's, of which only the daemon will know. Nothing in it is a device or a
 * program for the host, whatever the guest makes of it.
 */
static int clone_tree(struct shared_tree *tree, const struct bind_share *share, struct error *err)
{
	unsigned int recursive = share->recursive ? AT_RECURSIVE : 0;
	struct mount_attr attr = {
		.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC |
			    (share->readonly ? MOUNT_ATTR_RDONLY : 0),
		.propagation = share->follows ? MS_SLAVE : MS_PRIVATE,
	};

	tree->directory = share->directory;
	tree->fd = open_tree(share->fd, "",
			     OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | recursive);
	if (tree->fd < 0 ||
	    mount_setattr(tree->fd, "", AT_EMPTY_PATH | recursive, &attr, sizeof(attr)) < 0)
		return error_set(err, errno, "share %s", share->source);
	return 0;
}

int shares_prepare(struct shares *shares, const struct binds *binds, struct error *err)
{
	int ret;

	if (!binds->share_count)
		return 0;
	ret = find_daemon(shares, err);
	if (ret < 0)
		return ret;
	shares->trees = calloc(binds->share_count, sizeof(*shares->trees));
	if (!shares->trees)
		return error_set(err, ENOMEM, "shares");
	for (; ret == 0 && shares->count < binds->share_count; shares->count++)
		ret = clone_tree(&shares->trees[shares->count], &binds->shares[shares->count], err);
	return ret < 0 ? ret : connect_both(shares, err);
}

/* --- the daemon's process --- */

struct failure {
	const char *step; /* a text that parent and child both have */
	int code;
};

/* Takes the parent's place only if that still lives: from then on it cannot be outlived. */
static int end_with(pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return -1;
	errno = ESRCH;
	return getppid() == parent ? 0 : -1;
}

static int place(const struct shared_tree *tree, size_t number)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), ROOT "/%zu", number);
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

/* The daemon makes this its root later, and lets go of everything else. */
static int make_root(const struct shares *shares)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("bulkhead-shares", ROOT, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  "mode=0755,size=1m") < 0)
		return -1;
	for (size_t i = 0; i < shares->count; i++)
		if (place(&shares->trees[i], i) < 0)
			return -1;
	return mount(NULL, ROOT, NULL, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
		     NULL);
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

static void __attribute__((noreturn))
become_daemon(const struct shares *shares, pid_t parent, int status_fd)
{
	char *environment[] = {NULL};
	char socket[32], options[] = OPTIONS;
	char *argv[] = {shares->daemon, socket, "-o", options, "--rlimit-nofile=0", NULL};
	ssize_t ignored __attribute__((unused));
	struct failure failure = {.step = "tie virtiofsd to the VMM"};

	snprintf(socket, sizeof(socket), "--fd=%d", shares->listen_fd);
	/* Away from the terminal's signals. */
	if (end_with(parent) < 0 || setpgid(0, 0) < 0)
		goto failed;
	failure.step = "mount the shares";
	if (make_root(shares) < 0)
		goto failed;
	raise_limit();
	failure.step = "start virtiofsd";
	if (set_streams(shares) < 0)
		goto failed;
	umask(0);
	execve(shares->daemon, argv, environment);
failed:
	failure.code = errno;
	ignored = write(status_fd, &failure, sizeof(failure));
	_exit(127);
}

int shares_start(const struct shares *shares, const char **step)
{
	struct failure failure = {0};
	pid_t self = getpid(), pid;
	int ends[2];
	ssize_t n;

	*step = "start virtiofsd";
	if (!shares->count)
		return 0;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		become_daemon(shares, self, ends[1]);
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		return -errno;
	}
	do
		n = read(ends[0], &failure, sizeof(failure));
	while (n < 0 && errno == EINTR);
	close(ends[0]);
	if (n == 0)
		return 0;
	waitpid(pid, NULL, 0);
	if (n != (ssize_t)sizeof(failure))
		return -EIO;
	*step = failure.step;
	return -failure.code;
}

void shares_destroy(struct shares *shares)
{
	for (size_t i = 0; i < shares->count; i++)
		close_fd(&shares->trees[i].fd);
	free(shares->trees);
	free(shares->daemon);
	close_fd(&shares->listen_fd);
	close_fd(&shares->vmm_fd);
	close_fd(&shares->error_fd);
	close_fd(&shares->log_fd);
	shares->trees = NULL;
	shares->daemon = NULL;
	shares->count = 0;
}
