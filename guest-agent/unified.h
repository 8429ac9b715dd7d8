/* linux.resources.unified, as far as it is about the workload: memory.* and pids.*. The host's side
 * has the others. */
#ifndef GUEST_AGENT_UNIFIED_H
#define GUEST_AGENT_UNIFIED_H

#include "common/error.h"

#include <jansson.h>

/* Writes them to the container's cgroup. Returns 0 or a negative errno. */
int unified_apply(const json_t *resources, int cgroup_fd, struct error *err);

#endif
