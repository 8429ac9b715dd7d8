#include "runtime/companion.h"

#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct failure {
	const char *step;
	int code;
};

/*
 * Takes the parent's place only if that still reads what we write: then it cannot be outlived. By
 * the signal that holds until the VMM is in its jail, where it has not the right to send it.
 */
static int end_with_parent(int status_fd)
{
	struct pollfd status = {.fd = status_fd};

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return -1;
	errno = ESRCH;
	return poll(&status, 1, 0) < 0 || (status.revents & POLLERR) ? -1 : 0;
}

static void __attribute__((noreturn))
child(int status_fd, void (*run)(struct companion *companion, void *ctx), void *ctx)
{
	struct companion companion = {.step = "tie it to the VMM", .status_fd = status_fd};
	ssize_t ignored __attribute__((unused));
	struct failure failure;

	/* Away from the terminal's signals. */
	if (end_with_parent(status_fd) == 0 && setpgid(0, 0) == 0)
		run(&companion, ctx);
	failure = (struct failure){companion.step, errno};
	ignored = write(status_fd, &failure, sizeof(failure));
	_exit(127);
}

void companion_ready(struct companion *companion)
{
	close_fd(&companion->status_fd);
}

int companion_start(uint64_t namespaces, void (*run)(struct companion *companion, void *ctx),
		    void *ctx, const char **step)
{
	struct clone_args args = {.flags = namespaces, .exit_signal = SIGCHLD};
	struct failure failure = {0};
	int ends[2];
	ssize_t n;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0) {
		close(ends[0]);
		child(ends[1], run, ctx);
	}
	close(ends[1]);
	if (pid < 0) {
		n = errno;
		close(ends[0]);
		return -(int)n;
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
