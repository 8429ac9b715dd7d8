/* Scatter-gather lists: moving bytes between them and buffers, and cutting them. */
#ifndef DEVICES_IOV_H
#define DEVICES_IOV_H

#include <stddef.h>
#include <sys/uio.h>

size_t iov_len(const struct iovec *iov, unsigned int count);

/* Copy len bytes at offset; return how many there were. */
size_t iov_read(const struct iovec *iov, unsigned int count, size_t offset, void *buf, size_t len);
size_t iov_write(const struct iovec *iov, unsigned int count, size_t offset, const void *buf,
		 size_t len);

/* Describe [offset, offset + len) of iov in out, which has room for count. Returns the elements. */
unsigned int iov_slice(struct iovec *out, const struct iovec *iov, unsigned int count,
		       size_t offset, size_t len);

#endif
