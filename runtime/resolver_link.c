#include "runtime/resolver_link.h"
#include "runtime/orphan.h"

#include "common/capability.h"
#include "common/cleanup.h"
#include "common/pass_fd.h"
#include "protocol/protocol.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#define LINK	 0 /* its one descriptor */
#define PATIENCE 1 /* seconds that the VMM waits for it at most */

static int connect_to_resolver(void)
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
	return take_fd(&fd);
}

/* A request is a byte, whichever; so is the answer, with the connection or without. */
static void serve(void)
{
	char request;

	while (recv(LINK, &request, 1, 0) == 1) {
		cleanup_fd int fd = connect_to_resolver();
		int ret = fd < 0 ? (int)send(LINK, "", 1, MSG_NOSIGNAL)
				 : pass_fd(LINK, fd, "", 1, 0);

		if (ret < 0)
			return;
	}
}

static void run(void *ctx)
{
	const int *fd = ctx;

	if (chdir("/") < 0 || dup2(*fd, LINK) < 0 || close_range(LINK + 1, ~0u, 0) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
	    capabilities_drop() < 0)
		_exit(127);
	prctl(PR_SET_NAME, "bulkhead-dns");
	serve();
	_exit(0);
}

int resolver_link_start(struct error *err)
{
	const struct timeval limit = {.tv_sec = PATIENCE};
	cleanup_fd int ours = -1, theirs = -1;
	int pair[2], ret;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return error_set(err, errno, "socketpair");
	ours = pair[0];
	theirs = pair[1];
	if (setsockopt(ours, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0)
		return error_set(err, errno, "socketpair");
	ret = orphan_start(run, &theirs);
	return ret < 0 ? error_set(err, -ret, "start the link to the resolver") : take_fd(&ours);
}
