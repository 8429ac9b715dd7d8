/* What is known about one entry of the layer cache (entry.json), and the checks against it. */
#ifndef RUNTIME_LAYER_ENTRY_H
#define RUNTIME_LAYER_ENTRY_H

#include "runtime/layer_cache.h"

#define ENTRY_IMAGE "image"
#define ENTRY_FILE  "entry.json"

/* Notes everything about the finished image fd. */
int entry_write(int dir_fd, int fd, const char *source, const struct layer_seal *seal,
		struct error *err);

/* Whether the image is what was noted; fills in layer's size and seal. Returns 0 or -errno. */
int entry_check(int dir_fd, int fd, struct layer *layer, struct error *err);

/* The whole digest. Returns 0, -EUCLEAN for another content, or -errno. */
int entry_verify(int dir_fd, int fd, struct error *err);

/* Where the layer came from (malloc'ed, may be NULL), and its seal. */
char *entry_source(int dir_fd, struct layer_seal *seal);

#endif
