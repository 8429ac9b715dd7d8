/*
 * Block devices of the host that a container is given (--device of engines): each becomes a disk of
 * the VM.
 */
#ifndef RUNTIME_DISKS_H
#define RUNTIME_DISKS_H

#include "common/error.h"
#include "runtime/bundle.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define DISKS_MAX 8

struct disk {
	int fd;
	bool readonly;
};

struct disks {
	struct disk disks[DISKS_MAX];
	size_t count;
	json_t *how; /* CREATE's "devices" (docs/protocol.md), once disks_describe was called */
	size_t entries[DISKS_MAX]; /* of linux.devices */
};

/*
 * Opens every block device of linux.devices that a rule of linux.resources.devices allows by its
 * number. One that is not named there is a node without a device behind it, as all of the host's
 * are that an engine lists for --privileged. Returns 0 or -errno.
 */
int disks_open(struct disks *disks, const struct bundle *bundle, struct error *err);

/* Where the guest finds them, when so many disks come before. Returns 0 or -ENOMEM. */
int disks_describe(struct disks *disks, const struct bundle *bundle, size_t before);

void disks_close(struct disks *disks);

#endif
