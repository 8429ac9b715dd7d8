/* What the command line says (docs/interfaces.md). */
#ifndef VMM_OPTIONS_H
#define VMM_OPTIONS_H

#include <stdbool.h>

#include "devices/blk.h"

#define VMM_DISKS_MAX 16
#define VMM_CPUS_MAX  64  /* the guest kernel's NR_CPUS */
#define VMM_FDS_MAX   320 /* some 256 of image layers */

struct vmm_disk {
	int fd;	       /* -1: an empty drive, for a template */
	int *more_fds; /* the files that follow it: blk_options */
	unsigned int more_count;
	bool read_only;
	bool direct;			 /* past the page cache */
	char serial[BLK_SERIAL_LEN + 1]; /* empty: none */
};

/* The two files of a saved machine (vmm/snapshot.h). */
struct vmm_template {
	int state_fd; /* -1: none */
	int memory_fd;
	int pages_fd; /* of those that a clone writes, a bit each; -1: not known */
	/*
	 * What it booted with, has room for beside that, and had got of that when it was saved; in
	 * MiB. What is missing to the machine's own memory comes while it runs.
	 */
	unsigned long boot_mib, room_mib, grown_mib;
};

#define VMM_NICS_MAX 8

struct vmm_options {
	const char *id;
	const char *kernel;
	const char *initramfs; /* NULL: none */
	const char *cmdline;   /* appended; NULL: nothing */
	unsigned long memory_mib;
	unsigned long memory_max_mib; /* what it can grow to; 0: not at all */
	unsigned int cpus;
	struct vmm_disk disks[VMM_DISKS_MAX];
	unsigned int disk_count;
	bool nic_stream[VMM_NICS_MAX]; /* its back end will be a stream of frames, not a tap */
	unsigned int nic_count;
	bool own_io_threads; /* each disk and NIC has one; else all of them one */
	int vsock_fd;	     /* -1: none, as below */
	int fs_fd;
	int fs_log_fd;
	int fs_activity_fd; /* devices/activity.h */
	bool fs_records_inflight;
	bool fs_empty; /* the device without a back end */
	int control_fd;
	int parent_fd;
	int hold_fd; /* a socket that is sent the VM's descriptor; whoever has its end holds the VM
		      */
	int root_fd; /* the jail's namespace has this mount as its root */
	int stdio[3];
	int oom_fd;
	int log_fd;
	bool log_json;
	bool debug;
	bool probe;
	bool list_calls; /* only print what the filters let through */
	unsigned long agent_timeout_ms;
	struct vmm_template load; /* start from it, if it fits; else boot */
	bool restore;		  /* it is a snapshot, and there is no else */
	struct vmm_template save; /* boot, save once the agent waits for work, and end */
	unsigned int relaxed;	  /* layers of the jail that are left out */

	/* Every descriptor named above: all others are closed. */
	int fds[VMM_FDS_MAX];
	unsigned int fd_count;
};

/* Parses argv, or ends the program with one line on stderr and exit code 2. */
void options_parse(struct vmm_options *options, int argc, char **argv);

#endif
