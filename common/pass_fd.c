#include "common/pass_fd.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

union control {
	char space[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

static struct msghdr message_of(struct iovec *iov, union control *control)
{
	return (struct msghdr){
		.msg_iov = iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(*control),
	};
}

int pass_fd(int socket_fd, int fd, const void *bytes, size_t len, int flags)
{
	struct iovec iov = {(void *)bytes, len};
	union control control = {0};
	struct msghdr message = message_of(&iov, &control);
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(int));
	return sendmsg(socket_fd, &message, flags | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

ssize_t receive_fd(int socket_fd, int *fd, void *bytes, size_t len)
{
	struct iovec iov = {bytes, len};
	union control control = {0};
	struct msghdr message = message_of(&iov, &control);
	struct cmsghdr *header;
	ssize_t got;

	*fd = -1;
	do
		got = recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	header = CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(header), sizeof(int));
	return got;
}
