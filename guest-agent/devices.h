/* /dev of the container: the nodes that every container has, the config's, and the usual links. */
#ifndef GUEST_AGENT_DEVICES_H
#define GUEST_AGENT_DEVICES_H

#include <jansson.h>

#include "common/error.h"

/*
 * Below the root open at root_fd. disks is CREATE's "devices", or NULL: beside linux.devices, the
 * disk that stands behind each, or null. Returns 0 or -errno.
 */
int devices_make(const json_t *config, const json_t *disks, int root_fd, struct error *err);

#endif
