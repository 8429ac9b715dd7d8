/* A mount's "options" in config.json: the names that mount(8) knows, and runc's own. */
#ifndef GUEST_AGENT_MOUNT_OPTIONS_H
#define GUEST_AGENT_MOUNT_OPTIONS_H

#include <jansson.h>
#include <stdbool.h>

#include "common/error.h"

struct mount_options {
	unsigned long flags;	   /* MS_* for the mount */
	unsigned long propagation; /* MS_SHARED, ... with MS_REC, or 0 */
	bool recursive_readonly;
	bool copy_up;
	char data[4096]; /* what the file system parses, "name=value,name" */
};

/* Reads a mount's "options". Returns 0 or -errno. */
int mount_options_parse(const json_t *mount, const char *where, struct mount_options *out,
			struct error *err);

/* MS_* of a propagation name ("rslave"), 0 when it is none. */
unsigned long mount_propagation(const char *name);

#endif
