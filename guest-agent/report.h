/* What the host asks about the container: its processes, and what it uses. */
#ifndef GUEST_AGENT_REPORT_H
#define GUEST_AGENT_REPORT_H

#include "common/error.h"
#include "protocol/ps.h"
#include "protocol/stats.h"

/* The processes of the cgroup. The writer's bytes are the caller's. Returns 0 or -errno. */
int report_processes(int cgroup_fd, struct proto_ps_writer *writer, struct error *err);

/* The counters of the cgroup and of the guest. What the kernel does not have is 0. */
void report_stats(int cgroup_fd, struct proto_stats_full *stats);

#endif
