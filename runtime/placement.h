/*
 * Where on the host the VMM is put before it starts: its control groups, its network namespace and
 * its OOM score. The child does it between fork and exec, or the kernel at the fork
 * (CLONE_INTO_CGROUP, CLONE_NEWNET).
 */
#ifndef RUNTIME_PLACEMENT_H
#define RUNTIME_PLACEMENT_H

#include "runtime/cgroup.h"

#include <stdbool.h>

struct placement {
	enum cgroup_manager manager;
	struct cgroup cgroup;
	int netns_fd; /* to enter, or -1 */
	bool new_netns;
	bool lo_alone;		/* neither: an ordinary user asked for a new one */
	char oom_score_adj[16]; /* "": as inherited */
};

#define PLACEMENT_INIT         \
	{                      \
		.netns_fd = -1 \
	}

/* Opens the namespace and finds out about the groups; cgroup_make makes them. */
int placement_prepare(struct placement *placement, enum cgroup_manager manager,
		      const json_t *config, const char *id, struct error *err);

/*
 * The child's part. async-signal-safe. in_cgroup: the clone was into the group. Returns 0, or
 * -errno with *step a static text.
 */
int placement_enter(const struct placement *placement, bool in_cgroup, const char **step);

void placement_destroy(struct placement *placement);

#endif
