/*
 * Snapshots of running containers (`checkpoint`, `restore`): a folder with
 *
 *	state, memory	the VM (vmm/snapshot.h)
 *	scratch		its scratch disk, sparse; missing when the root is read-only
 *	snapshot.json	what the VM is made of, and digests of the rest; written last
 *
 * It may be moved and copied. As a template it is code that will run: it is taken only from the
 * user's own, and only whole.
 */
#ifndef RUNTIME_SNAPSHOT_H
#define RUNTIME_SNAPSHOT_H

#include "common/error.h"
#include "runtime/images.h"
#include "runtime/state.h"
#include "runtime/vm_size.h"

#include <jansson.h>

#define SNAPSHOT_DEFAULT "checkpoint" /* in the working directory, as with runc */

struct snapshot {
	int dir_fd;
	int state_fd, memory_fd;
	json_t *doc;
};

#define SNAPSHOT_INIT                                         \
	{                                                     \
		.dir_fd = -1, .state_fd = -1, .memory_fd = -1 \
	}

/* For state.json: what snapshot_make has to know of a VM that starts. */
json_t *snapshot_describe_vm(const struct vm_size *size, const struct images *images,
			     unsigned int nics);

/*
 * Saves a running container into path, which is made if need be. On success the VM rests as long
 * as control stands; on failure, nothing is left there and it goes on.
 */
struct control;
int snapshot_make(const struct state *state, struct control *control, const char *path,
		  struct error *err);

/* Opens one, and checks all that can be before there is a VM. size gets what the VM has to have. */
int snapshot_open(struct snapshot *snapshot, const char *path, struct vm_size *size,
		  struct error *err);

/*
 * The images are those that a container of this bundle gets: whether they are those it had. Its
 * scratch disk is put in place of the new one.
 */
int snapshot_put_disks(const struct snapshot *snapshot, struct images *images, struct error *err);

/* As many as the VM has to have. */
unsigned int snapshot_nics(const struct snapshot *snapshot);

void snapshot_close(struct snapshot *snapshot);

#endif
