/* Starting bulkhead-vmm. */
#ifndef RUNTIME_VMM_PROCESS_H
#define RUNTIME_VMM_PROCESS_H

#include "common/error.h"
#include "runtime/disks.h"
#include "runtime/images.h"
#include "runtime/placement.h"
#include "runtime/shares.h"
#include "runtime/vm_size.h"
#include "runtime/vmm_files.h"

#include <stdbool.h>
#include <sys/types.h>

struct vmm_options {
	const char *id;
	const json_t *config;
	const struct vm_size *size;
	const struct images *images;
	const struct disks *disks;
	bool direct_io; /* of the disks that are this container's alone */
	struct placement *placement;
	unsigned int nics;
	bool user_net;		/* they are for passt */
	const char *io_threads; /* own or shared; NULL: the VMM's own default */
	const struct shares *shares;
	int root_fd; /* the mount of a shared root, for the VMM's namespace; negative: none */
	int dir_fd;  /* the state folder */
	/* An eventfd, through which the VMM tells the root's keeper that the guest is at its
	 * shares. */
	int activity_fd;
	int vsock_fd, control_fd, parent_fd;
	int hold_fd; /* of vm_hold_open; -1: none */
	int tty_fd;  /* becomes the VMM's controlling terminal and standard streams; -1: none */
	int oom_fd;  /* a file for what the guest kills for memory; -1: none */
	int log_fd;  /* STDERR_FILENO: the VMM's own default */
	bool log_json, debug;
	const char *cmdline;	 /* NULL: nothing to append */
	const char *relax;	 /* layers of the VMM's jail to leave out; NULL: none */
	int state_fd, memory_fd; /* of a template to start from; -1: none */
	int pages_fd;		 /* -1: none */
	bool restore;		 /* they are a snapshot's: from it, or not at all */
};

/*
 * Starts the VMM as a direct child in a session of its own, in its place, with exactly the
 * descriptors named above and 0, 1 and 2. Returns its pid or a negative errno.
 */
pid_t vmm_start(const struct vmm_files *files, const struct vmm_options *options,
		struct error *err);

#endif
