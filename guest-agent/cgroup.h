/*
 * The container's cgroup in the guest. Its limits are a second line only, the VM's size is the
 * first; but the workload reads them, and cgroup.kill ends all of it at once.
 */
#ifndef GUEST_AGENT_CGROUP_H
#define GUEST_AGENT_CGROUP_H

#include <jansson.h>

#include "common/error.h"

/* Makes the cgroup with linux.resources of config. Returns its descriptor or -errno. */
int cgroup_make(const json_t *config, struct error *err);

/* SIGKILL to everything in it. */
void cgroup_kill(int cgroup_fd);

/* Any signal to everything in it, below it too. Returns 0 or -errno. */
int cgroup_signal(int cgroup_fd, int sig);

#endif
