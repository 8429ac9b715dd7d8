/*
 * What a VM shares with the host: one virtiofsd for all of it, in a mount namespace of its own,
 * whose root has nothing but the entries 0, 1, ...: share N is entry N. It is a child of the VMM
 * and ends with it, however that ends; so it needs no state of its own.
 *
 * The root's upper directory (shared_root.h), when it is shared, comes last. Its entry is the whole
 * folder that it is in, for the guest renames between it and its work directory, which the kernel
 * allows within one mount only. So what else is in there is covered by read-only mounts, and the
 * daemon is kept by Landlock from changing the folder itself.
 */
#ifndef RUNTIME_SHARES_H
#define RUNTIME_SHARES_H

#include "common/error.h"
#include "runtime/binds.h"
#include "runtime/shared_root.h"

#include <stdbool.h>
#include <stddef.h>

struct shared_tree {
	int fd; /* a mount of its own, in no namespace yet */
	bool directory;
	bool readonly;
};

struct shares {
	struct shared_tree *trees;
	size_t count;
	const struct shared_root *root; /* the last one is its folder; NULL: none is */
	char *daemon;			/* virtiofsd */
	int listen_fd;			/* the daemon's */
	int vmm_fd;			/* connected to it: the VMM's */
	int error_fd;			/* the daemon's standard error */
	int log_fd;			/* the other end: the VMM's */
};

#define SHARES_INIT                                                         \
	{                                                                   \
		.listen_fd = -1, .vmm_fd = -1, .error_fd = -1, .log_fd = -1 \
	}

/* The path of virtiofsd, malloc'ed; out may be NULL. Returns 0 or -errno. */
int shares_find_daemon(char **out, struct error *err);

/*
 * Finds virtiofsd and clones the mounts. Without anything to be shared there is nothing to do. root
 * is used again by shares_start.
 */
int shares_prepare(struct shares *shares, const struct binds *binds, const struct shared_root *root,
		   struct error *err);

/*
 * Starts virtiofsd, in the process that is about to become the VMM: what it has entered by now
 * (control groups) is the daemon's too. Returns 0 once it has been executed, or a negative errno
 * and the step that failed.
 */
int shares_start(const struct shares *shares, const char **step);

void shares_destroy(struct shares *shares);
#define cleanup_shares __attribute__((cleanup(shares_destroy)))

#endif
