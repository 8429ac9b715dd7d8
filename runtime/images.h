/*
 * The disks of a VM: the layers of its root, read-only and shared by way of the cache, and a
 * scratch disk of its own.
 */
#ifndef RUNTIME_IMAGES_H
#define RUNTIME_IMAGES_H

#include "common/error.h"
#include "runtime/bundle.h"
#include "runtime/layer_cache.h"
#include "runtime/settings.h"
#include "runtime/shared_root.h"

#include <stdbool.h>

#define IMAGES_LAYERS_MAX 256 /* a root of more of them is imaged as a whole */

/* A layer, and the directory that it was made of. */
struct image_layer {
	struct layer layer;
	int dir_fd; /* -1: none, or nothing to be confirmed about it any more */
	char *path;
};

struct images {
	struct image_layer *layers; /* the top layer first; together they are the first disk */
	size_t count;
	/* Empty ext4, sparse, the second disk; -1 when the root is read-only, or shared. */
	int scratch_fd;
	bool metacopy, userxattr; /* how the layers have to be joined */
	bool sealed;		  /* the layers, by dm-verity */
	bool upper_shared;	  /* the engine's upper directory is not among them: no scratch */
};

#define IMAGES_INIT              \
	{                        \
		.scratch_fd = -1 \
	}

/*
 * Finds the layers of the bundle's root in the cache or makes them, and makes the scratch disk.
 * With quick, layers that were known before are taken without reading their directories again:
 * images_confirm has to be asked before anything of the guest's is believed.
 */
int images_make(struct images *images, const struct bundle *bundle, const struct settings *settings,
		const struct shared_root *root, bool quick, struct error *err);

/*
 * Reads the directories of the layers that were taken unread, while the VM boots. Returns 0,
 * -ESTALE when the images are not the root as it is now, or -errno.
 */
int images_confirm(struct images *images, struct error *err);

/* A further layer, below those that are there; takes dir_fd on success. NULL on failure. */
struct image_layer *images_add_layer(struct images *images, int dir_fd, const char *path,
				     struct error *err);

/* CREATE's "rootfs" (docs/interfaces.md). */
json_t *images_describe(const struct images *images);

void images_destroy(struct images *images);
#define cleanup_images __attribute__((cleanup(images_destroy)))

#endif
