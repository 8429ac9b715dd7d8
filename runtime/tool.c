#include "runtime/tool.h"
#include "runtime/file.h"

#include "common/cleanup.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_MAX 16384

/* Engines call some commands without PATH. */
#define USUAL_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

char *find_tool(const char *name)
{
	const char *lists[] = {getenv("PATH"), USUAL_PATH};

	if (strchr(name, '/'))
		return access(name, X_OK) == 0 ? strdup(name) : NULL;
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

/* The streams of a tool; -1: /dev/null. */
struct streams {
	int in, out, err;
};

/* In the child: only what the tool needs, and its output to the pipes. */
static void __attribute__((noreturn))
exec_tool(const char *path, char **argv, const struct streams *streams, const int *fds)
{
	sigset_t none;
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(streams->in >= 0 ? streams->in : null_fd, STDIN_FILENO);
	dup2(streams->out >= 0 ? streams->out : null_fd, STDOUT_FILENO);
	dup2(streams->err >= 0 ? streams->err : null_fd, STDERR_FILENO);
	for (; fds && *fds >= 0; fds++)
		fcntl(*fds, F_SETFD, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv(path, argv);
	dprintf(STDERR_FILENO, "%s: %s\n", path, strerror(errno));
	_exit(127);
}

/*
 * A stream of -1 is the usual: nothing to read, and what it says to us.
 */
static int start(struct tool *tool, char **argv, const int *fds, struct streams streams,
		 const char *package, struct error *err)
{
	cleanup_free char *path = find_tool(argv[0]);
	int ends[2];

	if (!path)
		return error_say(err, ENOENT, "%s is missing: install %s", argv[0], package);
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_set(err, errno, "run %s", argv[0]);
	tool->name = argv[0];
	tool->pid = fork();
	if (tool->pid == 0) {
		if (streams.out < 0)
			streams.out = ends[1];
		if (streams.err < 0)
			streams.err = ends[1];
		exec_tool(path, argv, &streams, fds);
	}
	close(ends[1]);
	tool->output_fd = ends[0];
	if (tool->pid > 0)
		return 0;
	close_fd(&tool->output_fd);
	return error_set(err, errno, "run %s", argv[0]);
}

int tool_start(struct tool *tool, char **argv, const int *fds, const char *package,
	       struct error *err)
{
	return start(tool, argv, fds, (struct streams){-1, -1, -1}, package, err);
}

/* Reads all that the tool says; keeps the end of it. */
static void drain(int fd, char *text, size_t size)
{
	size_t used = 0;
	ssize_t n;

	for (;;) {
		if (used > size / 2) {
			memmove(text, text + size / 4, used - size / 4);
			used -= size / 4;
		}
		n = read(fd, text + used, size - used - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		used += (size_t)n;
	}
	text[used] = '\0';
}

static const char *last_line(char *text)
{
	size_t len = strlen(text);
	char *line;

	while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ' '))
		text[--len] = '\0';
	line = strrchr(text, '\n');
	return line ? line + 1 : text;
}

int tool_finish(struct tool *tool, struct error *err)
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

int tool_run(char **argv, const int *fds, const char *package, struct error *err)
{
	struct tool tool;
	int ret = tool_start(&tool, argv, fds, package, err);

	return ret < 0 ? ret : tool_finish(&tool, err);
}

int tool_run_input(char **argv, int input_fd, const char *package, struct error *err)
{
	struct tool tool;
	int ret = start(&tool, argv, NULL, (struct streams){input_fd, -1, -1}, package, err);

	return ret < 0 ? ret : tool_finish(&tool, err);
}

int tool_show(char **argv, const char *package, struct error *err)
{
	struct streams streams = {-1, STDERR_FILENO, STDERR_FILENO};
	struct tool tool;
	int ret = start(&tool, argv, NULL, streams, package, err);

	return ret < 0 ? ret : tool_finish(&tool, err);
}

ssize_t tool_read(char **argv, const char *package, size_t max, char **out, struct error *err)
{
	cleanup_fd int out_fd = -1;
	cleanup_free char *text = NULL;
	char name[32];
	struct tool tool;
	ssize_t len;
	int ret;

	/* A file takes any amount at any speed; two pipes would have to be read in turn. */
	out_fd = memfd_create(argv[0], MFD_CLOEXEC);
	if (out_fd < 0)
		return error_set(err, errno, "run %s", argv[0]);
	ret = start(&tool, argv, NULL, (struct streams){-1, out_fd, -1}, package, err);
	if (ret == 0)
		ret = tool_finish(&tool, err);
	if (ret < 0)
		return ret;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", out_fd);
	len = file_read(AT_FDCWD, name, max, &text, err);
	if (len < 0)
		return error_prefix(err, (int)len, "%s", argv[0]);
	*out = take_ptr(text);
	return len;
}
