/* The OCI process that exec starts: from a file, or the container's own with changes. */
#ifndef RUNTIME_EXEC_PROCESS_H
#define RUNTIME_EXEC_PROCESS_H

#include "common/error.h"

#include <jansson.h>
#include <stdbool.h>

#define EXEC_LIST_MAX 256

struct exec_list {
	const char *at[EXEC_LIST_MAX];
	int count;
};

/* What the command line asks for; NULL and false where it says nothing. */
struct exec_wishes {
	const char *process_file;
	const char *cwd, *user;
	const char *cgroup; /* in the VM, below the container's */
	struct exec_list env, gids, caps;
	bool tty, no_new_privileges;
	char **args; /* ended by NULL */
};

/*
 * Returns 0 with *process, checked and the caller's, or a negative errno. bundle is where the
 * container's config.json is.
 */
int exec_process_make(json_t **process, const char *bundle, const struct exec_wishes *wishes,
		      struct error *err);

#endif
