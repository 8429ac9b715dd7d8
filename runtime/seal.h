/* Sealing a layer image: dm-verity's hash tree behind its data, by veritysetup. */
#ifndef RUNTIME_SEAL_H
#define RUNTIME_SEAL_H

#include "common/error.h"
#include "runtime/layer_cache.h"

/*
 * Appends the tree to the image fd and fills in *seal. The salt is random: who writes to the disk
 * cannot have prepared for it. Returns 0 or -errno.
 */
int seal_image(int fd, struct layer_seal *seal, struct error *err);

#endif
