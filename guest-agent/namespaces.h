/* Which namespaces the container has. */
#ifndef GUEST_AGENT_NAMESPACES_H
#define GUEST_AGENT_NAMESPACES_H

#include <jansson.h>
#include <sys/types.h>

#include "common/error.h"

/*
 * CLONE_NEW* of config's linux.namespaces. The network is left out: the VM's is the container's own
 * already. The mount namespace is always in. Paths to join are refused: they are the host's.
 */
int namespaces_parse(const json_t *config, int *flags, struct error *err);

/* Writes the mappings of a new user namespace, from outside. */
int namespaces_map_users(const json_t *config, pid_t pid, struct error *err);

#endif
