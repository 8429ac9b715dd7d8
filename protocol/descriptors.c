#include "protocol/descriptors.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "common/cleanup.h"

union control_bytes {
	struct cmsghdr header; /* for its alignment */
	char bytes[CMSG_SPACE(PROTO_FDS_MAX * sizeof(int))];
};

void proto_fds_drop(struct proto_reader *reader, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		close_fd(&reader->fds[i]);
	reader->fd_count -= count;
	memmove(reader->fds, reader->fds + count, reader->fd_count * sizeof(int));
	reader->fds_taken = 0;
}

/* Returns whether all of them could be kept. */
static bool keep(struct proto_reader *reader, const struct cmsghdr *header)
{
	size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	bool fits = count <= PROTO_FDS_MAX - reader->fd_count;

	for (size_t i = 0; i < count; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
		if (fits)
			reader->fds[reader->fd_count++] = fd;
		else
			close(fd);
	}
	return fits;
}

ssize_t proto_fds_read(struct proto_reader *reader, int fd)
{
	union control_bytes control;
	struct iovec iov = {reader->buffer + reader->used, reader->size - reader->used};
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t len = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	bool all = !(message.msg_flags & MSG_CTRUNC);

	if (len < 0)
		return len;
	/* The frame before is over: what it left is closed before more is added. */
	proto_fds_drop(reader, reader->fds_taken);
	for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header;
	     header = CMSG_NXTHDR(&message, header))
		if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
			all = keep(reader, header) && all;
	if (all)
		return len;
	proto_fds_drop(reader, reader->fd_count);
	errno = EPROTO;
	return -1;
}

ssize_t proto_fds_write(int fd, const void *bytes, size_t len, const int *fds,
			unsigned int fd_count)
{
	union control_bytes control;
	struct iovec iov = {(void *)bytes, len};
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = CMSG_SPACE(fd_count * sizeof(int)),
	};
	struct cmsghdr *header;

	memset(&control, 0, sizeof(control));
	header = CMSG_FIRSTHDR(&message);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
	memcpy(CMSG_DATA(header), fds, fd_count * sizeof(int));
	return sendmsg(fd, &message, MSG_NOSIGNAL);
}
