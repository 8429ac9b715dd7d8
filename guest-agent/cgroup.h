/*
 * The container's cgroup in the guest. Its limits are a second line only, the VM's size is the
 * first; but the workload reads them, and cgroup.kill ends all of it at once.
 */
#ifndef GUEST_AGENT_CGROUP_H
#define GUEST_AGENT_CGROUP_H

#include <jansson.h>
#include <sys/types.h>

#include "common/error.h"

/* Makes the cgroup with linux.resources of config. Returns its descriptor or -errno. */
int cgroup_make(const json_t *config, struct error *err);

/* Sets the limits that an OCI linux.resources names (NULL: none). Returns 0 or -errno. */
int cgroup_apply(int cgroup_fd, const json_t *resources, struct error *err);

/* Reads one of its files as text, cut to size. Returns its length or -errno. */
int cgroup_read(int cgroup_fd, const char *name, char *text, size_t size);

/* Calls fn for every process in it, below it too. Returns 0 or -errno. */
typedef void cgroup_each_fn(void *ctx, pid_t pid);
int cgroup_each(int cgroup_fd, cgroup_each_fn *fn, void *ctx);

/* Opens the one that a process is in; one below another. Both return a descriptor or -errno. */
int cgroup_of(pid_t pid);
int cgroup_below(int cgroup_fd, const char *path);

/* SIGKILL to everything in it. */
void cgroup_kill(int cgroup_fd);

/* Any signal to everything in it, below it too. Returns 0 or -errno. */
int cgroup_signal(int cgroup_fd, int sig);

#endif
