/*
 * Keeps a process, and what it executes, to parts of the host's files by Landlock: for virtiofsd,
 * where a mount of its own has to hold more than the guest may touch.
 */
#ifndef RUNTIME_CONFINE_H
#define RUNTIME_CONFINE_H

#include <stdbool.h>

/* Whether this host's Landlock lets renames between directories through (ABI 2). */
bool confine_is_possible(void);

/* An empty set of rules: nothing may be opened or changed. Returns a descriptor or -errno. */
int confine_new(void);

/* Everything, or reading alone, beneath fd: a directory, or a file. Returns 0 or -errno. */
int confine_allow(int rules_fd, int fd, bool readonly);

/* From now on, for this thread and its children, without a way back. Returns 0 or -errno. */
int confine_enter(int rules_fd);

#endif
