/* Direct I/O: what a file asks of those who read and write it past the host's page cache. */
#ifndef COMMON_DIRECT_IO_H
#define COMMON_DIRECT_IO_H

#include <stdint.h>

struct direct_io {
	uint32_t block;	 /* bytes: places in the file and lengths are multiples of it */
	uint32_t memory; /* bytes: addresses are */
};

/*
 * Both are powers of two, up to a page. -EOPNOTSUPP when the file has no such I/O, or asks for
 * more than that.
 */
int direct_io_find(int fd, struct direct_io *out);

/* Turns it on for the open file, so for all who share it. Returns 0 or a negative errno. */
int direct_io_enable(int fd);

#endif
