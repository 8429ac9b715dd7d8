/*
 * compare: one bundle as a container in a VM and as a container in namespaces, side by side. What
 * is measured (compare_run.c, compare_measure.c) and how it is shown (compare_report.c).
 */
#ifndef RUNTIME_COMPARE_H
#define RUNTIME_COMPARE_H

#include "common/error.h"
#include "protocol/stats.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define COMPARE_SUBJECTS_MAX 3
#define COMPARE_RUNS_MAX     1000
#define COMPARE_NAMESPACES   8

/* Moments of one start, in ms from its beginning; NAN where there is none. */
enum compare_moment {
	COMPARE_VMM_STARTED,
	COMPARE_VM_CREATED,
	COMPARE_KERNEL_ENTERED,
	COMPARE_AGENT_READY,
	COMPARE_CREATED, /* `create` has returned */
	COMPARE_STARTED, /* `start` has returned: the workload runs */
	COMPARE_MOMENTS,
};

struct compare_footprint {
	bool running;	   /* the workload did still run when it was looked at */
	uint64_t host_pss; /* bytes, of all processes of the container */
	unsigned int host_processes;
	uint64_t guest_used, guest_total; /* 0 without a VM */
	uint64_t disk_images;		  /* bytes allocated for disks of its own, 0 without a VM */
	char kernel[96];
	bool shares_namespace[COMPARE_NAMESPACES]; /* with us; in the order of compare_namespaces */
	bool shares_users;			   /* its root is the host's */
};

extern const char *const compare_namespaces[COMPARE_NAMESPACES];

/* Somebody who can run the bundle. */
struct compare_subject {
	const char *name;
	char *path;
	bool vm;
	char *failure; /* why it is left out, NULL: it is not */
	struct compare_footprint footprint;
	unsigned int runs;
	double moments[COMPARE_MOMENTS][COMPARE_RUNS_MAX];
};

struct compare {
	const char *bundle; /* as given */
	char *vmm;	    /* bulkhead-vmm, or NULL */
	char *folder;	    /* of our own: the bundle's config as it is run, states, output */
	json_t *config;
	uint64_t root_bytes; /* allocated for the bundle's root */
	unsigned int runs;
	struct compare_subject subjects[COMPARE_SUBJECTS_MAX];
	unsigned int count;
};

/* Makes the folder with a bundle that can run without a terminal. */
int compare_prepare(struct compare *compare, struct error *err);
void compare_destroy(struct compare *compare);

/* Creates, starts and deletes the container once; measures what it takes when asked to. */
int compare_run(struct compare *compare, struct compare_subject *subject, bool measure,
		struct error *err);

/* What the container with this process takes. state_root: of the VM's state, or NULL. */
void compare_measure(struct compare_footprint *footprint, pid_t pid, const char *state_root,
		     const char *id);

/* Bytes that the files below a folder take; no link is followed. */
uint64_t compare_tree_size(int dir_fd);

/* System calls that reach the host's kernel: of the workload, or for a VM of its VMM. */
struct compare_surface {
	unsigned int open, all;
	const char *whose;
};
struct compare_surface compare_surface(const struct compare *compare, bool vm);

int compare_print_table(const struct compare *compare, struct error *err);
int compare_print_json(const struct compare *compare, struct error *err);

#endif
