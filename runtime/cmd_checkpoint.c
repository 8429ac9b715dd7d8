/*
 * checkpoint: a running container becomes files, from which `restore` makes it again
 * (docs/snapshots.md). What CRIU does for runc the VMM does here, for the whole VM.
 */
#include "runtime/command.h"
#include "runtime/control_client.h"
#include "runtime/options.h"
#include "runtime/snapshot.h"
#include "runtime/state.h"
#include "runtime/teardown.h"

#include "common/cleanup.h"

#include <string.h>

enum {
	OPT_IMAGE = 256,
	OPT_LEAVE,
	OPT_WORK,
	OPT_ACCEPTED,
	OPT_MODE,
	OPT_PARENT,
	OPT_PRE_DUMP,
	OPT_LAZY,
	OPT_PAGE_SERVER,
	OPT_STATUS,
	OPT_AUTO_DEDUP,
};

static const struct option_spec options[] = {
	{OPT_IMAGE, "image-path", "DIR", "Where the files go (default: ./" SNAPSHOT_DEFAULT ")"},
	{OPT_LEAVE, "leave-running", NULL, "Let the container go on afterwards"},
	{OPT_WORK, "work-path", "DIR", "Accepted for runc's sake: nothing is written there"},
	{OPT_ACCEPTED, "tcp-established", NULL,
	 "Accepted: the guest's connections are carried anyway"},
	{OPT_ACCEPTED, "tcp-skip-in-flight", NULL, "Accepted, likewise"},
	{OPT_ACCEPTED, "ext-unix-sk", NULL, "Accepted, likewise"},
	{OPT_ACCEPTED, "shell-job", NULL, "Accepted: a terminal is attached anew"},
	{OPT_ACCEPTED, "file-locks", NULL, "Accepted: locks are carried anyway"},
	{OPT_MODE, "manage-cgroups-mode", "MODE",
	 "Accepted: the VM's are carried, the host's made"},
	{OPT_PARENT, "parent-path", "DIR", "Refused: a snapshot is whole"},
	{OPT_PRE_DUMP, "pre-dump", NULL, "Refused, likewise"},
	{OPT_AUTO_DEDUP, "auto-dedup", NULL, "Refused, likewise"},
	{OPT_LAZY, "lazy-pages", NULL, "Refused: all memory is saved at once"},
	{OPT_PAGE_SERVER, "page-server", "ADDRESS", "Refused: it is saved to files"},
	{OPT_STATUS, "status-fd", "N", "Refused: that is CRIU's"},
	{0},
};

struct arguments {
	const char *id, *image;
	bool leave_running;
};

static int take(void *input, int key, char *value, struct error *err)
{
	struct arguments *a = input;

	switch (key) {
	case OPT_IMAGE:
		a->image = value;
		return 0;
	case OPT_LEAVE:
		a->leave_running = true;
		return 0;
	case OPT_WORK:
	case OPT_ACCEPTED:
	case OPT_MODE:
		return 0;
	case OPT_PARENT:
	case OPT_PRE_DUMP:
	case OPT_AUTO_DEDUP:
		return error_say(err, ENOTSUP, "a snapshot is whole: there is nothing before it");
	case OPT_LAZY:
	case OPT_PAGE_SERVER:
	case OPT_STATUS:
		return error_say(err, ENOTSUP,
				 "--lazy-pages, --page-server and --status-fd are CRIU's, which is "
				 "not used here");
	default:
		return options_take_id(&a->id, key, value, err);
	}
}

static const struct command_line command_line = {
	.arguments = "ID",
	.about = "Saves a running container, with its memory and scratch disk, and ends it.",
	.options = options,
	.missing = "the container's id",
};

static int check(struct state *state, struct error *err)
{
	const char *status = state_status(state);

	if (strcmp(status, "running") != 0 && strcmp(status, "paused") != 0)
		return error_say(err, EINVAL, "cannot checkpoint a container that is %s", status);
	if (json_object_get(json_object_get(state->doc, "network"), "user"))
		return error_say(
			err, ENOTSUP,
			"cannot checkpoint container %s: its network by passt cannot be carried",
			state->id);
	return 0;
}

static int checkpoint(struct state *state, const struct arguments *a, struct error *err)
{
	struct control control = CONTROL_INIT;
	int ret = control_connect(&control, state->dir_fd, err);

	if (ret == 0)
		ret = snapshot_make(state, &control, a->image ?: SNAPSHOT_DEFAULT, err);
	if (ret < 0)
		ret = error_prefix(err, ret, "cannot checkpoint container %s", state->id);
	/* While it rests: it would go on with what is saved. */
	if (ret == 0 && !a->leave_running)
		ret = state_kill_process(state, err);
	control_close(&control);
	return ret < 0 || a->leave_running ? ret : teardown(state, err);
}

int cmd_checkpoint(struct globals *globals, int argc, char **argv, struct error *err)
{
	cleanup_state struct state state = STATE_INIT;
	struct arguments a = {0};
	int ret = options_parse(&command_line, argc, argv, take, &a, err);

	if (ret < 0)
		return ret;
	ret = state_open(&state, globals->root, a.id, err);
	if (ret == 0)
		ret = check(&state, err);
	if (ret == 0)
		ret = state_lock(&state, err);
	return ret < 0 ? ret : checkpoint(&state, &a, err);
}
