/*
 * The root mode "shared" (docs/storage.md): the upper directory of the container's overlay is that
 * of the overlay which its engine has mounted on the host, by virtio-fs. What the container writes
 * the engine's cp, commit, diff and export see, and the container sees what is copied in.
 *
 * The guest's overlay needs a work directory of its own on the same file system and, for renames,
 * in the same mount: it is made beside the engine's upper directory, in the engine's folder for
 * this container.
 */
#ifndef RUNTIME_SHARED_ROOT_H
#define RUNTIME_SHARED_ROOT_H

#include "common/error.h"
#include "runtime/bundle.h"
#include "runtime/settings.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define SHARED_ROOT_WORK "bulkhead" /* the guest's work directory */

struct shared_root {
	int dir_fd;  /* the engine's folder; -1: the mode is scratch */
	char *upper; /* the name of the upper directory in it */
	int work_fd; /* SHARED_ROOT_WORK, locked as long as a VM uses it; -1: not made yet */
};

#define SHARED_ROOT_INIT                    \
	{                                   \
		.dir_fd = -1, .work_fd = -1 \
	}

/*
 * Finds out the mode. Without a setting it is shared where it can be and where there is something
 * to be seen: a writable root that is a writable overlay. A mode that was asked for and cannot be
 * is an error. Changes nothing.
 */
int shared_root_find(struct shared_root *root, const struct bundle *bundle,
		     const struct settings *settings, struct error *err);

static inline bool shared_root_used(const struct shared_root *root)
{
	return root->dir_fd >= 0;
}

/* How much memory of the host's the upper directory may come to, as scratch_memory() has it. */
uint64_t shared_root_memory(const struct shared_root *root);

/* Makes the work directory. -EBUSY when a VM has this upper directory already. */
int shared_root_make(struct shared_root *root, struct error *err);

/* For the state: what shared_root_remove has to know. */
json_t *shared_root_save(const struct shared_root *root);

/* Removes the work directory, once the VM is gone. saved: of shared_root_save, or NULL. */
int shared_root_remove(const json_t *saved, struct error *err);

/* CREATE's "rootfs.upper" (docs/interfaces.md): the folder is share number share. */
json_t *shared_root_describe(const struct shared_root *root, size_t share);

/*
 * The engine's overlay as a mount of its own, in no namespace yet: where those who enter the VMM's
 * mount namespace (podman cp) look for the container's files. Returns a descriptor, -errno, or
 * -ENODATA without an error when the mode is scratch.
 */
int shared_root_clone(const struct shared_root *root, const struct bundle *bundle,
		      struct error *err);

void shared_root_destroy(struct shared_root *root);

#endif
