/* What the parts of container_create share. */
#ifndef RUNTIME_CONTAINER_INTERNAL_H
#define RUNTIME_CONTAINER_INTERNAL_H

#include "runtime/container.h"
#include "runtime/images.h"
#include "runtime/snapshot.h"
#include "runtime/template.h"

/* A VM on its way, from its images to a workload that waits. */
struct making {
	const struct globals *globals;
	json_t *seccomp; /* compiled, or NULL */
	struct images images;
	char *cmdline;
	struct template template; /* what it starts from, or what is to be made for the next */
	struct template_shape shape;
	bool use_template;
	struct template own_template; /* for this size alone, to be made while one of several serves
				       */
	struct template_shape own_shape;
	struct snapshot snapshot; /* open for a container that is restored */
	int tty_fd;		  /* -1: none */
};

/* container_terminal.c: which one there is: none, the engine's by socket, or the caller's own. */
int container_check_terminal(const struct container *container,
			     const struct create_options *options, struct error *err);
int container_open_terminal(struct container *container, const struct create_options *options,
			    int *tty_fd, struct error *err);

/* container_template.c: before the VMM starts, and once the workload waits. */
void container_choose_template(struct container *container, struct making *making);
void container_tend_template(struct container *container, const struct making *making);

/* container_launch.c: starts the VMM, with what layers and disks turn out to be. */
bool container_wants_direct_io(const struct settings *settings);
int container_launch(struct container *container, struct making *making, struct error *err);

/* container_restore.c: what is different for one that goes on from a snapshot. */
int container_open_snapshot(struct container *container, struct making *making, const char *path,
			    struct error *err);
int container_await_restored(struct container *container, struct error *err);

/* container_request.c: has the agent make the container. */
int container_request_create(struct container *container, const struct making *making,
			     struct error *err);

#endif
