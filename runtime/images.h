/* The disks of a VM: files without a name, so that nothing of them can be left behind. */
#ifndef RUNTIME_IMAGES_H
#define RUNTIME_IMAGES_H

#include "common/error.h"

#include <stdbool.h>

#define IMAGES_DIR "/var/lib/bulkhead"

struct images {
	int lower_fd;	/* EROFS of the bundle's root, read-only */
	int scratch_fd; /* empty ext4, sparse; -1 when the root is read-only */
};

#define IMAGES_INIT                              \
	{                                        \
		.lower_fd = -1, .scratch_fd = -1 \
	}

int images_make(struct images *images, int rootfs_fd, bool readonly, struct error *err);
void images_destroy(struct images *images);
#define cleanup_images __attribute__((cleanup(images_destroy)))

/* The path of a tool, looked for in PATH and in the usual places. NULL when it is missing. */
char *find_tool(const char *name);

#endif
