/* Where a sparse file has data (lseek(2), SEEK_DATA). */
#ifndef COMMON_EXTENT_H
#define COMMON_EXTENT_H

#include <sys/types.h>

struct extent {
	off_t start, end;
};

/* The first at or behind from, cut at limit. Returns 1, 0 when there is none, or a negative errno.
 */
int extent_next(int fd, off_t from, off_t limit, struct extent *out);

#endif
