/* A file system mounted nowhere as yet (fsopen(2)): what it is moved to is then looked for once. */
#ifndef GUEST_AGENT_NEW_MOUNT_H
#define GUEST_AGENT_NEW_MOUNT_H

#include "common/error.h"
#include "guest-agent/mount_options.h"

/*
 * Makes one of type with the flags and data of options; propagation and what else stands there is
 * the caller's. source may be NULL. Returns a descriptor of the mount (O_PATH) or -errno; the
 * kernel's own reason, where it gives one, is in err.
 */
int new_mount(const char *type, const char *source, const struct mount_options *options,
	      struct error *err);

/* Puts the mount in the place of what is open at target_fd. Returns 0 or -errno. */
int new_mount_attach(int mount_fd, int target_fd);

/* Makes the mount read-only, and with below set those in it too. Returns 0 or -errno. */
int new_mount_set_readonly(int mount_fd, bool below);

#endif
