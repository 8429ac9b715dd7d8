/*
 * A container's state folder ROOT/ID: state.json, the VMM's sockets, and a lock (flock on the
 * folder itself). state.json is replaced in one step, so reading it needs no lock.
 */
#ifndef RUNTIME_STATE_H
#define RUNTIME_STATE_H

#include "common/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define STATE_CONTROL_SOCKET "control.sock"
#define STATE_VSOCK_SOCKET   "vsock.sock"

struct state {
	char *id;
	int root_fd;
	int dir_fd;
	pid_t pid;	     /* the VMM; 0 while there is none */
	uint64_t start_time; /* field 22 of its /proc/PID/stat, so that a reused pid is noticed */
	json_t *doc;	     /* state.json */
};

/* runc's rule for ids. */
int state_check_id(const char *id, struct error *err);

/* Makes the folder and locks it. Fails when the id is taken. */
int state_create(struct state *state, const char *root, const char *id, struct error *err);

/*
 * Opens and reads an existing state for a command on it: one of another runtime's containers is
 * handed over to that (delegate.h). -ENOENT with runc's message when there is none.
 */
int state_open(struct state *state, const char *root, const char *id, struct error *err);

/* The same where a container of another runtime (delegate.h) is not handed over to that. */
int state_peek(struct state *state, const char *root, const char *id, struct error *err);

/* The same for a folder that may lack state.json, because its creator was killed. */
int state_open_folder(struct state *state, const char *root, const char *id, struct error *err);

/* state_open for a command that asks the VM: -ESRCH with runc's message when it has ended. */
int state_open_running(struct state *state, const char *root, const char *id, struct error *err);

/* Waits for the lock and reads the state again; -ENOENT when the container went away meanwhile. */
int state_lock(struct state *state, struct error *err);

void state_unlock(struct state *state);

/* Whether the folder that was opened is no longer the container's. */
bool state_is_gone(const struct state *state);

int state_save(struct state *state, struct error *err);

/* Removes the folder and everything in it. The lock must be held. */
int state_remove(struct state *state, struct error *err);

void state_destroy(struct state *state);
#define cleanup_state __attribute__((cleanup(state_destroy)))
#define STATE_INIT                          \
	{                                   \
		.root_fd = -1, .dir_fd = -1 \
	}

/* state_process.c. Remembers the VMM's pid and start time. */
int state_set_process(struct state *state, pid_t pid, struct error *err);

/*
 * A pidfd of the VMM, or -ESRCH when it has ended (a zombie has), or is another process by now.
 */
int state_open_process(const struct state *state);

/* Waits up to timeout_ms for the VMM to end. Returns 0 or -ETIMEDOUT. */
int state_wait_process(const struct state *state, int timeout_ms);

/* SIGKILL to the VMM, and waits for its end. */
int state_kill_process(const struct state *state, struct error *err);

/* What is said of it while it does not answer. */
void state_set_phase(struct state *state, const char *phase);

/* "creating", "created", "running", "paused" or "stopped": asks the VMM, but waits no more than 2
 * s. */
const char *state_status(struct state *state);

/* The bundle's folder; never NULL. */
const char *state_bundle(const struct state *state);

/* The file in which the VMM notes that the guest has killed for want of memory, or -1. */
int state_open_oom(const struct state *state);

/* What `state` and `list` print. The caller's to json_decref. */
json_t *state_describe(struct state *state);

#endif
