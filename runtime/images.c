#include "runtime/images.h"
#include "runtime/file.h"

#include "common/cleanup.h"

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SCRATCH_BYTES (8ull << 30)
#define OUTPUT_MAX    16384

/* Engines call some commands without PATH. */
#define USUAL_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

char *find_tool(const char *name)
{
	const char *lists[] = {getenv("PATH"), USUAL_PATH};

	for (int i = 0; i < 2; i++) {
		const char *at = lists[i];

		while (at && *at) {
			int len = (int)strcspn(at, ":");
			char *path = format("%.*s/%s", len, at, name);

			if (path && len > 0 && access(path, X_OK) == 0)
				return path;
			free(path);
			at += len + (at[len] == ':');
		}
	}
	return NULL;
}

static int open_unnamed(struct error *err)
{
	char name[] = IMAGES_DIR "/image.XXXXXX";
	int fd, ret;

	ret = make_directories(IMAGES_DIR, 0700, err);
	if (ret < 0)
		return ret;
	fd = open(IMAGES_DIR, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0)
		return fd;
	/* Some file systems have no O_TMPFILE. */
	fd = mkostemp(name, O_CLOEXEC);
	if (fd < 0)
		return error_set(err, errno, "make a disk image in %s", IMAGES_DIR);
	unlink(name);
	return fd;
}

/* In the child: only what the tool needs, and its output to the pipe. */
static void __attribute__((noreturn))
exec_tool(const char *path, char **argv, int output_fd, const int *fds)
{
	sigset_t none;
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(null_fd, STDIN_FILENO);
	dup2(output_fd, STDOUT_FILENO);
	dup2(output_fd, STDERR_FILENO);
	for (; *fds >= 0; fds++)
		fcntl(*fds, F_SETFD, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv(path, argv);
	dprintf(STDERR_FILENO, "%s: %s\n", path, strerror(errno));
	_exit(127);
}

/* Reads all that the tool says; keeps the beginning of it. */
static void drain(int fd, char *text, size_t size)
{
	size_t used = 0;
	char rest[512];
	ssize_t n;

	for (;;) {
		bool full = used + 1 >= size;

		n = full ? read(fd, rest, sizeof(rest)) : read(fd, text + used, size - used - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		if (!full)
			used += (size_t)n;
	}
	text[used] = '\0';
}

static const char *last_line(char *text)
{
	size_t len = strlen(text);
	char *start;

	while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ' '))
		text[--len] = '\0';
	start = strrchr(text, '\n');
	return start ? start + 1 : text;
}

/* A tool on its way. */
struct tool {
	const char *name;
	pid_t pid;
	int output_fd;
};

/* Starts a tool with fds (ended by -1) inherited at their own numbers. */
static int tool_start(struct tool *tool, char **argv, const int *fds, struct error *err)
{
	cleanup_free char *path = find_tool(argv[0]);
	int ends[2];

	if (!path)
		return error_say(err, ENOENT, "%s is missing: install %s", argv[0],
				 strcmp(argv[0], "mkfs.erofs") ? "e2fsprogs" : "erofs-utils");
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_set(err, errno, "run %s", argv[0]);
	tool->name = argv[0];
	tool->pid = fork();
	if (tool->pid == 0)
		exec_tool(path, argv, ends[1], fds);
	close(ends[1]);
	tool->output_fd = ends[0];
	if (tool->pid > 0)
		return 0;
	close_fd(&tool->output_fd);
	return error_set(err, errno, "run %s", argv[0]);
}

static int tool_finish(struct tool *tool, struct error *err)
{
	char text[OUTPUT_MAX];
	const char *said;
	int status;

	drain(tool->output_fd, text, sizeof(text));
	close_fd(&tool->output_fd);
	while (waitpid(tool->pid, &status, 0) < 0)
		if (errno != EINTR)
			return error_set(err, errno, "run %s", tool->name);
	if (WIFSIGNALED(status))
		return error_say(err, EIO, "%s was ended by signal %d", tool->name,
				 WTERMSIG(status));
	if (WEXITSTATUS(status) == 0)
		return 0;
	said = last_line(text);
	/* Some tools begin with their own name. */
	if (!strncmp(said, tool->name, strlen(tool->name)))
		return error_say(err, EIO, "%s", said);
	return error_say(err, EIO, "%s: %s", tool->name, said);
}

static int start_lower(struct tool *tool, int fd, int rootfs_fd, struct error *err)
{
	char image[32], source[32];
	char *argv[] = {"mkfs.erofs", "--quiet", image, source, NULL};

	snprintf(image, sizeof(image), "/proc/self/fd/%d", fd);
	snprintf(source, sizeof(source), "/proc/self/fd/%d", rootfs_fd);
	return tool_start(tool, argv, (const int[]){fd, rootfs_fd, -1}, err);
}

static int start_scratch(struct tool *tool, int fd, struct error *err)
{
	char image[32];
	char *argv[] = {"mkfs.ext4",
			"-q",
			"-F",
			"-O",
			"^has_journal,^resize_inode",
			"-m",
			"0",
			"-E",
			"lazy_itable_init=1,nodiscard",
			image,
			NULL};

	if (ftruncate(fd, (off_t)SCRATCH_BYTES) < 0)
		return error_set(err, errno, "make it %llu bytes large", SCRATCH_BYTES);
	snprintf(image, sizeof(image), "/proc/self/fd/%d", fd);
	return tool_start(tool, argv, (const int[]){fd, -1}, err);
}

/* The two tools run at the same time. */
static int make_both(struct images *images, int rootfs_fd, struct error *err)
{
	struct error why = {0};
	struct tool lower, scratch;
	int ret = start_lower(&lower, images->lower_fd, rootfs_fd, err);
	int other = 0;

	if (ret < 0)
		return ret;
	if (images->scratch_fd >= 0) {
		other = start_scratch(&scratch, images->scratch_fd, &why);
		if (other == 0)
			other = tool_finish(&scratch, &why);
	}
	ret = tool_finish(&lower, err);
	if (ret == 0 && other < 0)
		ret = error_say(err, -other, "%s", why.message);
	return ret;
}

int images_make(struct images *images, int rootfs_fd, bool readonly, struct error *err)
{
	int ret;

	images->lower_fd = open_unnamed(err);
	if (images->lower_fd < 0)
		return images->lower_fd;
	if (!readonly) {
		images->scratch_fd = open_unnamed(err);
		if (images->scratch_fd < 0)
			return images->scratch_fd;
	}
	ret = make_both(images, rootfs_fd, err);
	return error_prefix(err, ret, "make a disk image in %s", IMAGES_DIR);
}

void images_destroy(struct images *images)
{
	close_fd(&images->lower_fd);
	close_fd(&images->scratch_fd);
}
