/* Processes that outlive the command that starts them, and are nobody's children. */
#ifndef RUNTIME_ORPHAN_H
#define RUNTIME_ORPHAN_H

/*
 * Calls run in a process of a session of its own, which must not return from it. It has all of the
 * caller's descriptors; to let go of them is its affair. Returns 0 or a negative errno.
 */
int orphan_start(void (*run)(void *ctx), void *ctx);

#endif
