/*
 * The identity of a directory tree: a digest over what the kernel says of every entry (name, inode,
 * type, mode, owner, size, time of change). No content is read. Whatever happens to an entry sets
 * its ctime, which nothing but the clock chooses, so a tree that was changed has another identity.
 */
#ifndef RUNTIME_TREE_H
#define RUNTIME_TREE_H

#include "common/error.h"
#include "runtime/digest.h"

#include <stdbool.h>
#include <stdint.h>

struct tree {
	char digest[DIGEST_HEX + 1];
	uint64_t entries; /* without the root itself */
	uint64_t bytes;	  /* of its regular files, holes included */
	bool sparse;	  /* much of that is holes */
};

/* Walks the tree below dir_fd. Returns 0 or -errno. */
int tree_identify(int dir_fd, struct tree *out, struct error *err);

#endif
