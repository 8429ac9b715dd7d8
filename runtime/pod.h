/*
 * Pods of Kubernetes as CRI hands them over: a sandbox (the pause container, which only holds
 * namespaces) and the containers that join it by /proc/PID/ns. A sandbox needs no VM; a container
 * has one of its own, whose kernel has its own pid, ipc and uts namespaces. The network namespace
 * is on the host, and shared.
 */
#ifndef RUNTIME_POD_H
#define RUNTIME_POD_H

#include <jansson.h>
#include <stdbool.h>

/* By the annotations of containerd's and CRI-O's CRI. */
bool pod_is_sandbox(const json_t *config);

/*
 * In the config of a pod's container, new namespaces take the place of the sandbox's, and the host
 * name and the sysctls, which would come with them, are set: the latter are in the sandbox's own
 * config, found by its state below root. Other configs stay as they are.
 */
void pod_adapt(json_t *config, const char *root);

#endif
