/*
 * The config's mounts, made inside the container's mount namespace before the root is changed. Each
 * destination is walked once: it may be in a volume that another container changes at this moment,
 * and what options are set on, or copied into, must be what was mounted (CVE-2021-30465).
 */
#ifndef GUEST_AGENT_MOUNTS_H
#define GUEST_AGENT_MOUNTS_H

#include <jansson.h>
#include <stddef.h>

#include "common/error.h"

/* Mounts that are to be read-only once everything is in them. */
struct late_mounts {
	int *fds;
	size_t count;
};

/*
 * Makes every mount of config below the root open at root_fd; binds is CREATE's (binds.h). *late is
 * empty before. Returns 0 or -errno.
 */
int mounts_make(const json_t *config, const json_t *binds, int root_fd, struct late_mounts *late,
		struct error *err);

/* Makes them so, and closes them. Returns 0 or -errno. */
int mounts_make_readonly(struct late_mounts *late, struct error *err);

#endif
