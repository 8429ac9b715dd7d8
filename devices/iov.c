#include "devices/iov.h"

size_t iov_len(const struct iovec *iov, unsigned int count)
{
	size_t len = 0;

	for (unsigned int i = 0; i < count; i++)
		len += iov[i].iov_len;
	return len;
}

unsigned int iov_slice(struct iovec *out, const struct iovec *iov, unsigned int count,
		       size_t offset, size_t len)
{
	unsigned int used = 0;

	for (unsigned int i = 0; i < count && len; i++) {
		size_t part;

		if (offset >= iov[i].iov_len) {
			offset -= iov[i].iov_len;
			continue;
		}
		part = iov[i].iov_len - offset;
		if (part > len)
			part = len;
		out[used].iov_base = (uint8_t *)iov[i].iov_base + offset;
		out[used].iov_len = part;
		used++;
		len -= part;
		offset = 0;
	}
	return used;
}

enum direction { FROM_IOV, TO_IOV };

static size_t copy(const struct iovec *iov, unsigned int count, size_t offset, uint8_t *buf,
		   size_t len, enum direction direction)
{
	size_t done = 0;

	for (unsigned int i = 0; i < count && done < len; i++) {
		size_t part;
		uint8_t *base;

		if (offset >= iov[i].iov_len) {
			offset -= iov[i].iov_len;
			continue;
		}
		part = iov[i].iov_len - offset;
		if (part > len - done)
			part = len - done;
		base = (uint8_t *)iov[i].iov_base + offset;
		if (direction == FROM_IOV)
			memcpy(buf + done, base, part);
		else
			memcpy(base, buf + done, part);
		done += part;
		offset = 0;
	}
	/* What was copied is from now on the only truth: the source may be guest memory. */
	__asm__ volatile("" ::: "memory");
	return done;
}

size_t iov_read_parts(const struct iovec *iov, unsigned int count, size_t offset, void *buf,
		      size_t len)
{
	return copy(iov, count, offset, buf, len, FROM_IOV);
}

size_t iov_write_parts(const struct iovec *iov, unsigned int count, size_t offset, const void *buf,
		       size_t len)
{
	return copy(iov, count, offset, (uint8_t *)(uintptr_t)buf, len, TO_IOV);
}
