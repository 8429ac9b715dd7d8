/* What the host shares with the VM: one virtio-fs with an entry for each share, 0, 1, ... */
#ifndef GUEST_AGENT_SHARES_H
#define GUEST_AGENT_SHARES_H

#include <jansson.h>

#include "common/error.h"

/* Mounts it at ROOTFS_SHARES, in the agent, if CREATE's body has a use for it. */
int shares_mount(const json_t *rootfs, const json_t *binds, struct error *err);
void shares_unmount(void);

/*
 * Opens a share with O_PATH; also in a process of the container, before it leaves the agent's root.
 * Returns a descriptor or -errno.
 */
int share_open(long long number, struct error *err);

#endif
