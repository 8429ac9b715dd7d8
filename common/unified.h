/* linux.resources.unified: files of cgroup v2 by name, some of the guest's and some of the host's.
 */
#ifndef COMMON_UNIFIED_H
#define COMMON_UNIFIED_H

#include <stdbool.h>

/*
 * memory.* and pids.* are the workload's, so the agent sets them in the guest; all others the
 * runtime sets on the host. What a guest would swap to is the host's.
 */
bool unified_is_guests(const char *key);

#endif
