/*
 * Who stands on the host for a process that exec started in the VM: signals sent to it reach the
 * process, it ends as the process does, and its own end ends the process. The process's streams are
 * the VMM's; no byte of them passes here.
 */
#ifndef RUNTIME_HOLDER_H
#define RUNTIME_HOLDER_H

#include "common/error.h"
#include "runtime/console.h"
#include "runtime/control_client.h"

#include <jansson.h>

struct holder {
	struct control control;
	uint32_t process;
	int signal_fd;
	int terminal_fd; /* whose size is told to the guest; -1: none */
};

#define HOLDER_INIT                                                         \
	{                                                                   \
		.control = CONTROL_INIT, .signal_fd = -1, .terminal_fd = -1 \
	}

/*
 * Starts process in the VM whose state folder is dir_fd, with these streams: three, or one of a
 * terminal. From now on signals are kept for it. Returns 0 or a negative errno.
 */
int holder_start(struct holder *holder, int dir_fd, const json_t *process, const int *fds,
		 unsigned int fd_count, struct error *err);

/* Waits for the end. Returns its wait status: SIGKILL when the VM ended under it. */
int holder_wait(struct holder *holder);
void holder_destroy(struct holder *holder);

#endif
