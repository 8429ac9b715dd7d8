/*
 * Scratch disks: what a container writes. An empty ext4 is made once for each size and kept; a
 * container's is a sparse copy of its few extents in a file without a name.
 */
#ifndef RUNTIME_SCRATCH_H
#define RUNTIME_SCRATCH_H

#include "common/error.h"

#include <stdint.h>

#define SCRATCH_DEFAULT_BYTES (20ull << 30)
#define SCRATCH_MIN_BYTES     (16ull << 20)
#define SCRATCH_MAX_BYTES     (16ull << 40)

/* A scratch disk of that size. Returns its descriptor, read-write, or -errno. */
int scratch_make(uint64_t bytes, struct error *err);

/*
 * How much memory of the host's the disk may come to: its size where it lies on tmpfs, whose pages
 * belong to the group of who writes them and cannot be written back; 0 elsewhere.
 */
uint64_t scratch_memory(int fd);

/* "512M", "20G", "1T" or plain bytes. Returns 0 or -EINVAL with the reason. */
int scratch_parse_size(const char *text, uint64_t *bytes, struct error *err);

/* Copies the data of a file to an empty one of the same length, and leaves the holes. */
int copy_extents(int from_fd, int to_fd, uint64_t len);

#endif
