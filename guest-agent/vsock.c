#include <errno.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* after sys/socket.h, which it needs */
#include <linux/vm_sockets.h>

#include "common/cleanup.h"
#include "guest-agent/agent.h"

/* The kernel's own is 2 s, which a VMM may be without a CPU where many VMs start at once. */
#define CONNECT_LIMIT 30 /* s */

/* Returns a connection to the host or -errno. */
int vsock_connect(uint32_t port)
{
	struct sockaddr_vm address = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_HOST,
		.svm_port = port,
	};
	const struct timeval limit = {.tv_sec = CONNECT_LIMIT};
	cleanup_fd int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &limit, sizeof(limit)) < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return take_fd(&fd);
}
