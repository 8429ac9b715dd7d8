/*
 * The child's side: what a process of the container does between its clone and its exec. It runs
 * alone in its copy of the agent and never returns.
 */
#ifndef GUEST_AGENT_LAUNCH_H
#define GUEST_AGENT_LAUNCH_H

#include <jansson.h>
#include <stdbool.h>

struct launch {
	const json_t *document; /* CREATE's */
	const json_t *config;	/* the container's */
	const json_t *process;	/* the OCI process to become */
	const json_t *seccomp;	/* CREATE's, or NULL */
	const json_t *binds;	/* CREATE's, or NULL */
	int namespaces;		/* CLONE_NEW* of the container */
	int cgroup_fd;		/* where it is born */
	int init_pidfd;		/* process 0, whose namespaces to join; -1: become process 0 */
	int sync_fd;		/* see sync.h */
	int stdio[3];		/* ends of pipes, -1 with a terminal */
	bool terminal;
};

__attribute__((noreturn)) void launch_run(const struct launch *launch);

#endif
