#include "guest-agent/terminal.h"

#include <fcntl.h>
#include <stdint.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "guest-agent/path.h"
#include "guest-agent/spec.h"

/*
 * After exec it is the workload that made /dev/pts/ptmx: only a real devpts is talked to. What is
 * opened is what is looked at, so nothing can be exchanged in between; O_NONBLOCK is for a FIFO.
 */
static int open_ptmx(int root_fd)
{
	cleanup_fd int fd = path_open(root_fd, "/dev/pts/ptmx",
				      O_RDWR | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK);
	struct statfs fs;
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0)
		return -errno;
	if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(5, 2) || fs.f_type != DEVPTS_SUPER_MAGIC)
		return -ENODEV;
	return take_fd(&fd);
}

static int set_size(const json_t *process, int master, struct error *err)
{
	static const char where[] = "process.consoleSize";
	long long height = 0, width = 0;
	const json_t *size = NULL;
	struct winsize window = {0};
	int ret;

	if ((ret = spec_object(process, "process", "consoleSize", &size, err)) < 0 ||
	    (ret = spec_int(size, where, "height", 0, UINT16_MAX, &height, err)) < 0 ||
	    (ret = spec_int(size, where, "width", 0, UINT16_MAX, &width, err)) < 0)
		return ret;
	window.ws_row = (unsigned short)height;
	window.ws_col = (unsigned short)width;
	if ((height || width) && ioctl(master, TIOCSWINSZ, &window) < 0)
		return error_set(err, errno, "set the console's size");
	return 0;
}

int terminal_open(const json_t *process, int root_fd, int *master, int *slave, struct error *err)
{
	cleanup_fd int master_fd = open_ptmx(root_fd);
	cleanup_fd int slave_fd = -1;
	int unlock = 0, ret;

	if (master_fd < 0)
		return error_set(err, -master_fd, "open /dev/pts/ptmx");
	if (ioctl(master_fd, TIOCSPTLCK, &unlock) < 0)
		return error_set(err, errno, "unlock the terminal");
	slave_fd = ioctl(master_fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave_fd < 0)
		return error_set(err, errno, "open the terminal");
	if ((ret = set_size(process, master_fd, err)) < 0)
		return ret;
	*master = take_fd(&master_fd);
	*slave = take_fd(&slave_fd);
	return 0;
}

/* The terminal would hide, and keep writable, what an image's link leads to (CVE-2025-52565). */
static int check_console(int root_fd, struct error *err)
{
	cleanup_fd int fd = path_open(root_fd, "/dev/console", O_PATH | O_NOFOLLOW);
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISLNK(st.st_mode))
		return error_say(err, ELOOP, "mount console: /dev/console is a symbolic link");
	return 0;
}

int terminal_bind_console(int root_fd, int slave, struct error *err)
{
	int ret = check_console(root_fd, err);
	cleanup_fd int fd = ret < 0 ? ret : path_make_file(root_fd, "/dev/console", err);
	char from[FD_PATH_SIZE], to[FD_PATH_SIZE];

	if (fd < 0)
		return fd;
	if (mount(path_of_fd(slave, from), path_of_fd(fd, to), NULL, MS_BIND, NULL) < 0)
		return error_set(err, errno, "mount console");
	return 0;
}

int terminal_take(int slave, struct error *err)
{
	for (int fd = 0; fd < 3; fd++)
		if (dup2(slave, fd) < 0)
			return error_set(err, errno, "dup the terminal");
	if (ioctl(0, TIOCSCTTY, 0) < 0)
		return error_set(err, errno, "set the controlling terminal");
	return 0;
}
