/* The container's root: read-only layers and a writable one, joined by overlayfs. */
#ifndef GUEST_AGENT_ROOTFS_H
#define GUEST_AGENT_ROOTFS_H

#include <jansson.h>

#include "common/error.h"

#define ROOTFS_BASE   "/run/bulkhead"
#define ROOTFS_PATH   ROOTFS_BASE "/rootfs"
#define ROOTFS_SHARES ROOTFS_BASE "/shares" /* what bind mounts may come from */

/* Mounts what CREATE's "rootfs" says at ROOTFS_PATH. Nothing stays mounted after an error. */
int rootfs_mount(const json_t *rootfs, struct error *err);

/*
 * Something may have changed the upper directory of a shared root on the host: names are looked for
 * again. Of no effect on another root.
 */
void rootfs_changed(void);

/* Takes it all down again. */
void rootfs_unmount(void);

#endif
