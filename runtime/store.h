/*
 * Where disks come from, below one directory (/var/lib/bulkhead):
 *
 *	layers/KEY/image, layers/KEY/entry.json	 the cache of layer images (layer_cache.h)
 *	scratch/ext4-SIZE			 empty file systems to copy (scratch.h)
 *	images/					 images that were pulled (image_store.h)
 *	locks/XX				 who makes something of that name holds its lock
 *
 * What is being made is called .new-SOMETHING, is locked by its maker, and gets its name by a
 *rename once all of it is on the disk.
 */
#ifndef RUNTIME_STORE_H
#define RUNTIME_STORE_H

#include "common/error.h"
#include "runtime/settings.h"

#include <stdint.h>

/*
 * Takes "data-root" and "cache-size" of the settings, which must outlive all use. Returns 0 or
 * -errno.
 */
int store_set(const struct settings *settings, struct error *err);

/* The directory: what store_set was told, or the usual one. */
const char *store_path(void);

/* How many bytes of layer images are kept. */
uint64_t store_limit(void);

/* Opens STORE/name as a directory, and makes it if need be. Returns a descriptor or -errno. */
int store_open(const char *name, struct error *err);

/*
 * Waits for the lock of a name, which is let go by closing the descriptor. Names share some 256
 * locks, which are never removed, so that nobody can hold one that is gone.
 */
int store_lock(const char *name, struct error *err);

/* A file without a name in STORE, read-write: gone with its last descriptor. */
int store_unnamed(struct error *err);

/* Removes a directory in dir_fd with the files in it. Returns 0 or -errno. */
int store_remove_directory(int dir_fd, const char *name);

/* Removes what makers that are no more have left half-made in dir_fd. */
void store_remove_unfinished(int dir_fd);

#define STORE_UNFINISHED ".new-"

#endif
