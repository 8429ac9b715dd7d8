/* What create, run, start and delete have in common: a container from its bundle to its end. */
#ifndef RUNTIME_CONTAINER_H
#define RUNTIME_CONTAINER_H

#include "runtime/binds.h"
#include "runtime/bundle.h"
#include "runtime/command.h"
#include "runtime/console.h"
#include "runtime/control_client.h"
#include "runtime/disks.h"
#include "runtime/network.h"
#include "runtime/options.h"
#include "runtime/rates.h"
#include "runtime/placement.h"
#include "runtime/shared_root.h"
#include "runtime/shares.h"
#include "runtime/state.h"
#include "runtime/vm_size.h"
#include "runtime/vmm_files.h"

/* The options that create and run share. */
struct create_options {
	const char *id, *bundle, *pid_file, *console_socket;
	const char *image_path; /* of a snapshot to go on from, NULL: none */
	bool foreground;	/* the caller's streams serve a terminal too */
	bool stays;		/* after the command has returned */
};

extern const struct option_spec create_options[];
option_taker create_take; /* its input is a struct create_options */

struct container {
	struct state state;
	struct bundle bundle;
	struct vm_size size;
	struct network_slots slots;
	json_t *rates; /* rates.h: in the state, too, once all is known */
	struct binds binds;
	struct disks disks;
	struct shared_root shared_root;
	struct shares shares;
	struct vmm_files files;
	struct placement placement;
	struct control control;	       /* the VMM's first client */
	bool restored;		       /* from a snapshot: it runs already */
	bool delegated;		       /* another runtime's: the command is done */
	struct console *console;       /* the user's terminal, or NULL */
	int hold_fd;		       /* runtime/vm_hold.h; -1: none */
	uint64_t config_ns, images_ns; /* when these were ready */
};

#define CONTAINER_INIT                                                               \
	{                                                                            \
		.state = STATE_INIT, .bundle = BUNDLE_INIT, .control = CONTROL_INIT, \
		.placement = PLACEMENT_INIT, .hold_fd = -1, .shares = SHARES_INIT,   \
		.shared_root = SHARED_ROOT_INIT                                      \
	}

/*
 * Everything up to a VM whose workload waits for start. With isolation=process the whole command
 * is another runtime's, and its exit code is returned. On failure nothing is left: no process, no
 * state folder. The signals that would end the runtime must be blocked by the caller with
 * container_block_signals, so that they can be answered by cleaning up.
 */
int container_create(struct container *container, struct globals *globals,
		     const struct create_options *options, struct error *err);
int container_start(struct container *container, struct error *err);

/* Ends the VMM if it is alive and removes the state. What cannot be done about it is logged. */
void container_discard(struct container *container);
void container_destroy(struct container *container);

/*
 * What `run` does, for a bundle that somebody else made. created is called when it was read, or
 * could not be. Returns the exit code of the workload or -errno, or ends as the workload did.
 */
int run_bundle(struct globals *globals, const char *bundle, const char *id, bool keep,
	       void (*created)(void *ctx), void *ctx, struct error *err);

/* The same for one that goes on from create->image_path. */
int run_restored(struct globals *globals, const struct create_options *create, bool detach,
		 struct error *err);

/* Blocks INT, TERM, HUP and QUIT; they end a wait in container_create or container_start. */
int container_block_signals(struct container *container, struct error *err);

/* Start-up times at debug level, and as JSON to path unless it is NULL. */
int container_tell_timings(struct container *container, const struct globals *globals,
			   const char *path, struct error *err);

#endif
