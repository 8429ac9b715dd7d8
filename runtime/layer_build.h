/* Layer images from directories, by mkfs.erofs. */
#ifndef RUNTIME_LAYER_BUILD_H
#define RUNTIME_LAYER_BUILD_H

#include "common/error.h"
#include "runtime/layer_cache.h"
#include "runtime/tree.h"

#include <stdbool.h>

/* For messages and for `cache ls`; dir_fd stays the caller's. */
struct layer_directory {
	int dir_fd;
	const char *path;
	bool sealed; /* by dm-verity: another image than one that is not */
};

/*
 * The layer of a directory as it is now: from the cache, or made. The tree's identity is its key.
 * Returns 0 or -errno.
 */
int layer_of_directory(struct layer *layer, const struct layer_directory *from, struct error *err);

/*
 * The same without reading the tree, if it was known before and its own inode is unchanged. Returns
 * 1, 0 when it has to be read, or -errno. What lies below may have changed: layer_confirm says.
 */
int layer_recall(struct layer *layer, const struct layer_directory *from, struct error *err);

/* Reads the tree. Returns 0, -ESTALE when it is not what the layer was made of, or -errno. */
int layer_confirm(const struct layer *layer, const struct layer_directory *from, struct error *err);

/* Writes the EROFS of a tree to the empty file fd. tree may be NULL. Returns 0 or -errno. */
int layer_write(int fd, const struct layer_directory *from, const struct tree *tree,
		struct error *err);

/* Forgets what layer_recall goes by, where the layer is no more. */
void layer_recall_clean(void);

#endif
