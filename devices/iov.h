/* Scatter-gather lists: moving bytes between them and buffers, and cutting them. */
#ifndef DEVICES_IOV_H
#define DEVICES_IOV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

size_t iov_len(const struct iovec *iov, unsigned int count);

/* What iov_read and iov_write do where it is not all in the first element. */
size_t iov_read_parts(const struct iovec *iov, unsigned int count, size_t offset, void *buf,
		      size_t len);
size_t iov_write_parts(const struct iovec *iov, unsigned int count, size_t offset, const void *buf,
		       size_t len);

static inline bool iov_is_in_first(const struct iovec *iov, unsigned int count, size_t offset,
				   size_t len)
{
	return count && offset <= iov->iov_len && len <= iov->iov_len - offset;
}

/* Copy len bytes at offset; return how many there were. */
static inline size_t iov_read(const struct iovec *iov, unsigned int count, size_t offset, void *buf,
			      size_t len)
{
	if (!iov_is_in_first(iov, count, offset, len))
		return iov_read_parts(iov, count, offset, buf, len);
	memcpy(buf, (const uint8_t *)iov->iov_base + offset, len);
	/* What was copied is from now on the only truth: the source may be guest memory. */
	__asm__ volatile("" ::: "memory");
	return len;
}

static inline size_t iov_write(const struct iovec *iov, unsigned int count, size_t offset,
			       const void *buf, size_t len)
{
	if (!iov_is_in_first(iov, count, offset, len))
		return iov_write_parts(iov, count, offset, buf, len);
	memcpy((uint8_t *)iov->iov_base + offset, buf, len);
	return len;
}

/* Describe [offset, offset + len) of iov in out, which has room for count. Returns the elements. */
unsigned int iov_slice(struct iovec *out, const struct iovec *iov, unsigned int count,
		       size_t offset, size_t len);

#endif
