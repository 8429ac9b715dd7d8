/* Reads and writes that go on until all is done. */
#ifndef COMMON_WHOLE_H
#define COMMON_WHOLE_H

#include <sys/types.h>

/* Reads len bytes of a file from that place on. Returns how many, less only at its end, or a
 * negative errno. */
ssize_t pread_all(int fd, void *buf, size_t len, off_t at);

/* Writes len bytes to that place of a file. Returns 0 or a negative errno. */
int pwrite_all(int fd, const void *buf, size_t len, off_t at);

#endif
