/* The config's mounts, made inside the container's mount namespace before the root is changed. */
#ifndef GUEST_AGENT_MOUNTS_H
#define GUEST_AGENT_MOUNTS_H

#include <jansson.h>
#include <stdbool.h>

#include "common/error.h"

struct mount_options {
	unsigned long flags;	   /* MS_* for the mount */
	unsigned long propagation; /* MS_SHARED, ... with MS_REC, or 0 */
	bool recursive_readonly;
	bool copy_up;
	char data[4096]; /* what the file system parses */
};

/* Reads a mount's "options". Returns 0 or -errno. */
int mount_options_parse(const json_t *mount, const char *where, struct mount_options *out,
			struct error *err);

/* MS_* of a propagation name ("rslave"), 0 when it is none. */
unsigned long mount_propagation(const char *name);

/*
 * Makes every mount of config below the root open at root_fd; binds is CREATE's (binds.h). Returns
 * 0 or -errno.
 */
int mounts_make(const json_t *config, const json_t *binds, int root_fd, struct error *err);

/* What of them is to be read-only only once everything is in its place. Returns 0 or -errno. */
int mounts_make_readonly(const json_t *config, int root_fd, struct error *err);

#endif
