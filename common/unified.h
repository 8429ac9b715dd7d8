/* linux.resources as cgroup v2 has it, on the host and in the guest. */
#ifndef COMMON_UNIFIED_H
#define COMMON_UNIFIED_H

#include <stdbool.h>

/*
 * linux.resources.unified: memory.* and pids.* are the workload's, so the agent sets them in the
 * guest; all others the runtime sets on the host. What a guest would swap to is the host's.
 */
bool unified_is_guests(const char *key);

/* cpu.weight, 1 to 10000, for cgroup v1's shares, 2 to 262144: as runc and systemd convert. */
long long unified_cpu_weight(long long shares);

#endif
