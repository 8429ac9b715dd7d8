/*
 * The empty room around a running VMM (docs/security.md): whoever takes it over through a device
 * finds no file, no right and no other process to go on with. What the VMM needs has been opened
 * before, or comes as a descriptor over its control socket.
 */
#ifndef VMM_JAIL_H
#define VMM_JAIL_H

#include <stddef.h>

#include "common/error.h"

/* Layers that can be left out by name (--relax), to look at something: never for strangers' code.
 */
enum jail_layer {
	JAIL_NAMESPACES = 1 << 0, /* mount namespace with an empty root; ipc, uts */
	JAIL_USER = 1 << 1,	  /* a user id of its own; no capability */
	JAIL_LIMITS = 1 << 2,	  /* resource limits */
	JAIL_DUMPABLE = 1 << 3,	  /* not dumpable, not traceable */
	JAIL_LANDLOCK = 1 << 4,
	JAIL_SECCOMP = 1 << 5,
};

/* Reads "NAME,NAME"; returns the layers, or -EINVAL. */
int jail_parse_layers(const char *list);

/* Closes every descriptor above stderr that is not in keep (of count, any order). */
int jail_close_others(const int *keep, unsigned int count, struct error *err);

/*
 * Enters the jail but for its seccomp filters, which each thread installs for itself
 * (vmm/filter.h). The process must have one thread. relaxed: layers to leave out. A step that
 * this host does not offer is logged and left out; one that fails where it should not is an error.
 *
 * root_fd, unless negative, is a mount that becomes the root of the mount namespace, for others who
 * enter it; taken over. The process itself has its empty root all the same, and no way from there.
 */
int jail_enter(unsigned int relaxed, int root_fd, struct error *err);

/* A part of it: lets the C library do what would open a file, or ask for much, in there. */
void jail_prepare_libc(void);

#endif
