/*
 * What an OCI "process" says about the process itself, applied by the process to itself. The steps
 * are in the order they have to be taken in; between them come the caller's.
 */
#ifndef GUEST_AGENT_PROCESS_H
#define GUEST_AGENT_PROCESS_H

#include <jansson.h>
#include <sys/types.h>

#include "common/error.h"

struct process_user {
	uid_t uid;
	gid_t gid;
	mode_t umask;
	gid_t *groups; /* malloc'ed */
	size_t group_count;
};

int process_user_parse(const json_t *process, struct process_user *out, struct error *err);

/* While /proc is the agent's. */
int process_set_oom(const json_t *process, struct error *err);

int process_set_limits(const json_t *process, struct error *err);
int process_set_no_new_privileges(const json_t *process, struct error *err);

/* Bounding set, ids and the other capability sets, and the working directory in between. */
int process_become_user(const json_t *process, const struct process_user *user, struct error *err);

/* CREATE's "seccomp". NULL installs nothing. */
int process_install_seccomp(const json_t *seccomp, struct error *err);

#endif
