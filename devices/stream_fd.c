#include "devices/stream_fd.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* A terminal that is writable may have room for little; what does not fit would block. */
#define TTY_PIECE 256

void stream_init(struct stream_fd *stream, int fd)
{
	struct stat st;

	stream->fd = fd;
	stream->kind = STREAM_ALWAYS;
	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	if (S_ISSOCK(st.st_mode))
		stream->kind = STREAM_SOCKET;
	else if (S_ISFIFO(st.st_mode))
		stream->kind = STREAM_NOWAIT;
	else if (S_ISCHR(st.st_mode))
		stream->kind = STREAM_POLLED;
}

static bool ready(int fd, short events)
{
	struct pollfd pfd = {.fd = fd, .events = events};

	return poll(&pfd, 1, 0) > 0;
}

static ssize_t socket_read(int fd, const struct iovec *iov, unsigned int count)
{
	struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = count};

	return recvmsg(fd, &msg, MSG_DONTWAIT);
}

static ssize_t socket_write(int fd, const struct iovec *iov, unsigned int count)
{
	struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = count};

	return sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* What POLLOUT promises: room for PIPE_BUF bytes in a pipe, for something in a terminal. */
static ssize_t polled_write(int fd, const struct iovec *iov)
{
	size_t len = iov->iov_len;
	size_t max = isatty(fd) ? TTY_PIECE : PIPE_BUF;

	if (!ready(fd, POLLOUT)) {
		errno = EAGAIN;
		return -1;
	}
	return write(fd, iov->iov_base, len < max ? len : max);
}

static ssize_t polled_read(int fd, const struct iovec *iov, unsigned int count)
{
	if (!ready(fd, POLLIN)) {
		errno = EAGAIN;
		return -1;
	}
	return preadv2(fd, iov, (int)count, -1, 0);
}

ssize_t stream_read(struct stream_fd *stream, const struct iovec *iov, unsigned int count)
{
	ssize_t ret = -1;

	do {
		errno = 0;
		if (stream->kind == STREAM_NOWAIT) {
			ret = preadv2(stream->fd, iov, (int)count, -1, RWF_NOWAIT);
			if (ret < 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
				stream->kind = STREAM_POLLED;
		}
		if (stream->kind == STREAM_SOCKET)
			ret = socket_read(stream->fd, iov, count);
		else if (stream->kind == STREAM_POLLED)
			ret = polled_read(stream->fd, iov, count);
		else if (stream->kind == STREAM_ALWAYS)
			ret = preadv2(stream->fd, iov, (int)count, -1, 0);
	} while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : ret;
}

ssize_t stream_write(struct stream_fd *stream, const struct iovec *iov, unsigned int count)
{
	ssize_t ret = -1;

	do {
		errno = 0;
		if (stream->kind == STREAM_NOWAIT) {
			ret = pwritev2(stream->fd, iov, (int)count, -1, RWF_NOWAIT);
			if (ret < 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
				stream->kind = STREAM_POLLED;
		}
		if (stream->kind == STREAM_SOCKET)
			ret = socket_write(stream->fd, iov, count);
		else if (stream->kind == STREAM_POLLED)
			ret = polled_write(stream->fd, iov);
		else if (stream->kind == STREAM_ALWAYS)
			ret = pwritev2(stream->fd, iov, (int)count, -1, 0);
	} while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : ret;
}
