/*
 * Reading and writing descriptors that somebody handed in, without ever blocking on them and
 * without setting O_NONBLOCK, which all holders of the file would share.
 */
#ifndef DEVICES_STREAM_FD_H
#define DEVICES_STREAM_FD_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

enum stream_kind {
	STREAM_SOCKET, /* MSG_DONTWAIT */
	STREAM_NOWAIT, /* pipes of newer kernels: RWF_NOWAIT; becomes STREAM_POLLED when refused */
	STREAM_POLLED, /* terminals and the rest: poll first, then little at a time */
	STREAM_ALWAYS, /* files: always ready, epoll refuses them */
};

struct stream_fd {
	int fd;
	enum stream_kind kind;
};

/* Finds out what fd is; -1 is allowed. Takes nothing over. */
void stream_init(struct stream_fd *stream, int fd);

/*
 * Return bytes, or a negative errno; -EAGAIN when it is not ready now. A read of 0 bytes is the
 * end. Writing to a pipe nobody reads gives -EPIPE if the process ignores SIGPIPE.
 */
ssize_t stream_read(struct stream_fd *stream, const struct iovec *iov, unsigned int count);
ssize_t stream_write(struct stream_fd *stream, const struct iovec *iov, unsigned int count);

#endif
