#include "runtime/orphan.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

int orphan_start(void (*run)(void *ctx), void *ctx)
{
	pid_t pid = fork();

	if (pid == 0) {
		setsid();
		/* Once more, so that it is nobody's child and leaves no zombie. */
		if (fork() == 0)
			run(ctx);
		_exit(0);
	}
	if (pid < 0)
		return -errno;
	while (waitpid(pid, NULL, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

#define KEEP_MAX 16

int orphan_keep(const int *fds, size_t count)
{
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	int high[KEEP_MAX];

	if (count > KEEP_MAX - 3 || chdir("/") < 0)
		return -1;
	/* Out of the way of each other first. */
	for (size_t i = 0; i < count + 3; i++) {
		high[i] = fcntl(i < 3 ? null_fd : fds[i - 3], F_DUPFD_CLOEXEC, KEEP_MAX);
		if (high[i] < 0)
			return -1;
	}
	for (size_t i = 0; i < count + 3; i++)
		if (dup2(high[i], (int)i) < 0)
			return -1;
	return close_range((unsigned int)count + 3, ~0u, 0);
}
