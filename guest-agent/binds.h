/*
 * What bind mounts show: CREATE's "binds", an array beside config.mounts. An item is null where the
 * mount is no bind mount, else what the host has put into the VM for it: a copy of a file, a device
 * that the guest has itself, or an entry of the shares.
 */
#ifndef GUEST_AGENT_BINDS_H
#define GUEST_AGENT_BINDS_H

#include <jansson.h>

#include "common/error.h"

/* Puts copies into their place, in the agent. Returns 0 or -errno. */
int binds_make(const json_t *binds, struct error *err);

/*
 * Writes what has a newer content on the host: NETWORK's "files" (docs/network.md), in place, so
 * that whoever has mounted a copy sees it. Returns 0 or -errno.
 */
int binds_refresh(const json_t *body, struct error *err);

/*
 * Opens what mount number i is to show, with O_PATH; also in a process of the container, before it
 * leaves the agent's root. Returns a descriptor or -errno.
 */
int bind_open(const json_t *binds, size_t i, struct error *err);

/* Removes what binds_make has made. */
void binds_remove(const json_t *binds);

#endif
