#include "vmm/resolver.h"

#include <errno.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "common/pass_fd.h"

int resolver_attach(int *link_fd, const struct proto_frame *frame, struct error *err)
{
	if (frame->fd_count != 1 || *link_fd >= 0)
		return error_say(err, EINVAL, "ATTACH: a VM has one socket to a resolver");
	*link_fd = frame->fds[0];
	frame->fds[0] = -1;
	return 0;
}

int resolver_connect(int link_fd, struct vsock_endpoint *endpoint)
{
	char answer;
	int fd;

	if (link_fd < 0 || send(link_fd, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return -ECONNREFUSED;
	/* Answered at once: all that is done for it is a connect that does not wait. */
	if (receive_fd(link_fd, &fd, &answer, 1) != 1 || fd < 0)
		return -ECONNREFUSED;
	endpoint->in_fd = endpoint->out_fd = fd;
	return 0;
}
