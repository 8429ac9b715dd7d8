/* The commands of the command line, one file each, and what they share. */
#ifndef RUNTIME_COMMAND_H
#define RUNTIME_COMMAND_H

#include "runtime/cgroup.h"
#include "runtime/settings.h"

#include "common/error.h"

#include <stdbool.h>
#include <stdint.h>

#define BULKHEAD_VERSION "0.1.0"
#define OCI_VERSION	 "1.0.2"

struct globals {
	char *root; /* absolute; states live here */
	int log_fd; /* for the VMM to append to */
	bool log_json;
	bool debug;
	enum cgroup_manager cgroup_manager;
	struct settings settings;
	uint64_t started_ns; /* CLOCK_MONOTONIC at main() */
};

/*
 * A command gets argv[0] = "bulkhead NAME". It returns the exit code, or a negative errno with err
 * filled in, which main reports.
 */
typedef int command_fn(struct globals *globals, int argc, char **argv, struct error *err);

command_fn cmd_cache, cmd_check, cmd_checkpoint, cmd_compare, cmd_create, cmd_delete, cmd_events,
	cmd_exec, cmd_features, cmd_image, cmd_kill, cmd_launch, cmd_list, cmd_pause, cmd_ps,
	cmd_restore, cmd_resume, cmd_stats, cmd_run, cmd_spec, cmd_start, cmd_state, cmd_template,
	cmd_update;

/* Tells an error as main does: for a command whose exit code is the workload's. */
void command_report(const struct globals *globals, struct error *err);

#endif
