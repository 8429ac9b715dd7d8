#include "runtime/orphan.h"

#include <errno.h>
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
