/*
 * What a VM shares with the host: one virtiofsd for all of it, in a mount namespace of its own,
 * whose root has nothing but the entries 0, 1, ...: share N is entry N. It is a child of the VMM
 * and ends with it, however that ends; so it needs no state of its own.
 */
#ifndef RUNTIME_SHARES_H
#define RUNTIME_SHARES_H

#include "common/error.h"
#include "runtime/binds.h"

#include <stdbool.h>
#include <stddef.h>

struct shared_tree {
	int fd; /* a mount of its own, in no namespace yet */
	bool directory;
};

struct shares {
	struct shared_tree *trees;
	size_t count;
	char *daemon;  /* virtiofsd */
	int listen_fd; /* the daemon's */
	int vmm_fd;    /* connected to it: the VMM's */
	int error_fd;  /* the daemon's standard error */
	int log_fd;    /* the other end: the VMM's */
};

#define SHARES_INIT                                                         \
	{                                                                   \
		.listen_fd = -1, .vmm_fd = -1, .error_fd = -1, .log_fd = -1 \
	}

/* Finds virtiofsd and clones the mounts. Without anything to be shared there is nothing to do. */
int shares_prepare(struct shares *shares, const struct binds *binds, struct error *err);

/*
 * Starts virtiofsd, in the process that is about to become the VMM: what it has entered by now
 * (control groups) is the daemon's too. Returns 0 once it has been executed, or a negative errno
 * and the step that failed.
 */
int shares_start(const struct shares *shares, const char **step);

void shares_destroy(struct shares *shares);
#define cleanup_shares __attribute__((cleanup(shares_destroy)))

#endif
