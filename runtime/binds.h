/*
 * Bind mounts: what stands on the host has to get into the VM. Each bind mount of the config
 * becomes one of
 *
 *	a copy		a small file that its engine wrote for this container, in CREATE
 *	a device	one that every Linux has (/dev/null and the like): the guest's own
 *	another mount	where the guest's own is what is meant: an engine's /dev/shm, sysfs, procfs
 *	a share		everything else: by virtio-fs
 *
 * docs/storage.md says what each promises.
 */
#ifndef RUNTIME_BINDS_H
#define RUNTIME_BINDS_H

#include "common/error.h"
#include "runtime/bundle.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct bind_share {
	char *source; /* for messages */
	int fd;	      /* O_PATH */
	bool directory;
	bool readonly;
	bool recursive; /* with what is mounted below */
	bool follows;	/* and with what will be (rslave) */
};

struct binds {
	json_t *mounts; /* config.mounts as the guest is to make them */
	json_t *how;	/* CREATE's "binds" (docs/protocol.md) */
	json_t *copies; /* for copies.h */
	struct bind_share *shares;
	size_t share_count;
	size_t copied; /* bytes */
};

/*
 * Looks at every source and opens what is shared; changes nothing. A source that cannot be had in
 * a VM is refused with the mount's number.
 */
int binds_prepare(struct binds *binds, const struct bundle *bundle, struct error *err);
void binds_destroy(struct binds *binds);

#endif
