/* What the config takes away from the container: masked and read-only paths; and its sysctls. */
#ifndef GUEST_AGENT_PROTECT_H
#define GUEST_AGENT_PROTECT_H

#include <jansson.h>

#include "common/error.h"

/* All before the root is changed, below root_fd. Each returns 0 or -errno. */
int protect_mask_paths(const json_t *config, int root_fd, struct error *err);
int protect_readonly_paths(const json_t *config, int root_fd, struct error *err);

/* Writes linux.sysctl; the caller is in the container's namespaces already. */
int protect_sysctl(const json_t *config, struct error *err);

#endif
