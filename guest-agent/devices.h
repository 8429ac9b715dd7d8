/* /dev of the container: the nodes that every container has, the config's, and the usual links. */
#ifndef GUEST_AGENT_DEVICES_H
#define GUEST_AGENT_DEVICES_H

#include <jansson.h>

#include "common/error.h"

/* Below the root open at root_fd. Returns 0 or -errno. */
int devices_make(const json_t *config, int root_fd, struct error *err);

#endif
