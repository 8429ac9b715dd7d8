#include "runtime/vm_hold.h"

#include <linux/close_range.h>
#include <sys/socket.h>
#include <unistd.h>

int vm_hold_open(int *vmm_fd)
{
	int pair[2];

	*vmm_fd = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	*vmm_fd = pair[1];
	return pair[0];
}

void vm_hold_release(int fd)
{
	pid_t pid;

	if (fd < 0)
		return;
	pid = fork();
	if (pid == 0) {
		/* Streams and locks first: somebody may wait for their end. */
		if (fd > 0)
			close_range(0, (unsigned int)fd - 1, 0);
		close_range((unsigned int)fd + 1, ~0u, 0);
		setsid();
		_exit(0);
	}
	close(fd);
}
