#include "common/extent.h"

#include <errno.h>
#include <unistd.h>

int extent_next(int fd, off_t from, off_t limit, struct extent *out)
{
	if (from >= limit)
		return 0;
	out->start = lseek(fd, from, SEEK_DATA);
	if (out->start < 0)
		return errno == ENXIO ? 0 : -errno;
	if (out->start >= limit)
		return 0;
	out->end = lseek(fd, out->start, SEEK_HOLE);
	if (out->end < 0)
		return -errno;
	out->end = out->end < limit ? out->end : limit;
	return 1;
}
