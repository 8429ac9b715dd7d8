/* Processes that outlive the command that starts them, and are nobody's children. */
#ifndef RUNTIME_ORPHAN_H
#define RUNTIME_ORPHAN_H

#include <stddef.h>

/*
 * Calls run in a process of a session of its own, which must not return from it. It has all of the
 * caller's descriptors; to let go of them is its affair. Returns 0 or a negative errno.
 */
int orphan_start(void (*run)(void *ctx), void *ctx);

/*
 * For a process that stays: its streams are /dev/null, fds[i] is 3 + i, and it has nothing else
 * open. (Engines wait for the end of the container's streams.) Returns 0, or -1 with errno.
 */
int orphan_keep(const int *fds, size_t count);

#endif
