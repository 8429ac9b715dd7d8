/* What /proc tells of a process. */
#ifndef COMMON_PROC_H
#define COMMON_PROC_H

#include <sys/types.h>

/*
 * Reads the file of that name, as far as it fits; text is terminated, and empty on failure.
 * Returns its length or a negative errno.
 */
ssize_t proc_read(pid_t pid, const char *name, char *text, size_t size);

#endif
