/* A terminal for a process, from the container's own devpts. */
#ifndef GUEST_AGENT_TERMINAL_H
#define GUEST_AGENT_TERMINAL_H

#include <jansson.h>

#include "common/error.h"

/*
 * Opens a new terminal below root_fd with process.consoleSize. Returns 0 and both ends, which are
 * the caller's, or -errno. The container may be hostile already.
 */
int terminal_open(const json_t *process, int root_fd, int *master, int *slave, struct error *err);

/* Makes /dev/console below root_fd this terminal. */
int terminal_bind_console(int root_fd, int slave, struct error *err);

/* Makes it stdin, stdout and stderr, and the controlling terminal of the calling session leader. */
int terminal_take(int slave, struct error *err);

#endif
