#include "vmm/resolver.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "protocol/protocol.h"

int resolver_connect(struct vsock_endpoint *endpoint)
{
	const struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(PROTO_RESOLVER_PORT),
		.sin_addr.s_addr = htonl(PROTO_RESOLVER_ADDRESS),
	};
	cleanup_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	/* To loopback this is done or refused at once, or the first write finds out. */
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 &&
	    errno != EINPROGRESS)
		return -errno;
	endpoint->in_fd = endpoint->out_fd = take_fd(&fd);
	return 0;
}
