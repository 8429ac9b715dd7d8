/*
 * The layers of a root that an engine has joined by overlayfs: read from the mount's own options in
 * /proc/self/mountinfo, which podman, docker and containerd all end up in.
 */
#ifndef RUNTIME_OVERLAY_H
#define RUNTIME_OVERLAY_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct overlay {
	char **lower; /* paths as the mount has them, the top layer first */
	size_t count;
	char *upper, *work; /* NULL: mounted read-only */
	char *mount_point;
	bool metacopy, userxattr;
};

/*
 * Finds the mount in the text of a mountinfo file and reads its options. Returns 1, 0 when that is
 * no overlay or one that cannot be taken apart (data-only layers), or -errno. Pure.
 */
int overlay_parse(const char *mountinfo, uint64_t mount_id, struct overlay *out);

/* The same for the open directory root_fd, if that is the root of its mount. */
int overlay_find(int root_fd, struct overlay *out, struct error *err);

/*
 * Opens a layer by its path. Relative ones (engines shorten what would not fit in a page) are
 * looked for from the folder that has upper. Returns a descriptor or -errno.
 */
int overlay_open(const struct overlay *overlay, const char *path);

void overlay_destroy(struct overlay *overlay);
#define cleanup_overlay __attribute__((cleanup(overlay_destroy)))

#endif
