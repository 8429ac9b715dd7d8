/*
 * The cache of layer images: EROFS files that are made once and shared by every VM, and by the
 * host's page cache. An entry is a directory layers/KEY with the image and what is known about it;
 * it appears complete or not at all. Who uses an image holds a shared flock on it, through the VM's
 * life (the VMM inherits the descriptor), and what is locked is never evicted.
 */
#ifndef RUNTIME_LAYER_CACHE_H
#define RUNTIME_LAYER_CACHE_H

#include "common/error.h"
#include "runtime/digest.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define LAYER_KEY_MAX 96

/* dm-verity's parameters: the hash tree lies behind the data. */
struct layer_seal {
	char root_hash[DIGEST_HEX + 1], salt[DIGEST_HEX + 1];
	uint64_t data_blocks; /* of 4096 bytes; 0: not sealed */
};

struct layer {
	int fd; /* read-only, with the lock that keeps it in the cache */
	uint64_t size;
	struct layer_seal seal;
	char key[LAYER_KEY_MAX];
};

#define LAYER_INIT       \
	{                \
		.fd = -1 \
	}

void layer_close(struct layer *layer);

/*
 * Opens an entry. It is checked against what was noted of it: length, times and inode; when those
 * differ, by its whole digest; an entry that is not what it was is removed, and told in the log.
 * Returns 1, 0 when there is none, or -errno.
 */
int layer_open(struct layer *layer, const char *key, struct error *err);

/* Writes the image to the empty file fd, its seal (if any) to *seal. Returns 0 or -errno. */
typedef int layer_builder(void *ctx, int fd, struct layer_seal *seal, struct error *err);

/*
 * The same, and makes the entry if there is none: many at once make it once. source is what `cache
 * ls` tells about it. Afterwards the cache is brought back to its bounds.
 */
int layer_make(struct layer *layer, const char *key, const char *source, layer_builder *build,
	       void *ctx, struct error *err);

/* One entry, as `cache ls` lists it. */
struct layer_entry {
	char key[LAYER_KEY_MAX];
	char *source;	   /* malloc'ed */
	uint64_t size;	   /* bytes on the disk */
	int64_t last_used; /* seconds since 1970; within a minute */
	bool in_use, sealed;
};

/* All entries, the one not used for the longest time first. *out is malloc'ed. Returns a count. */
ssize_t layer_list(struct layer_entry **out, struct error *err);
void layer_list_free(struct layer_entry *entries, size_t count);

/*
 * Removes entries that are not in use, the least recently used first, until what is left has at
 * most max bytes. *freed and *left (may be NULL) are bytes. Also removes what was left half-made.
 */
int layer_evict(uint64_t max, uint64_t *freed, uint64_t *left, struct error *err);

/* Compares the whole image with its digest. Returns 0, -EUCLEAN for another content, or -errno. */
int layer_verify(const char *key, struct error *err);

/* Removes an entry that is not in use; -EBUSY when it is. */
int layer_remove(const char *key, struct error *err);

#endif
