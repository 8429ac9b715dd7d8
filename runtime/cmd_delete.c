#include "runtime/command.h"
#include "runtime/state.h"

#include <string.h>

#define DRAIN_LIMIT 10000 /* ms for the VMM of an ended workload to end too */

struct arguments {
	const char *id;
	bool force;
};

static const struct argp_option options[] = {
	{"force", 'f', NULL, 0, "End the container if it is not stopped; none is no error", 0},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *a = state->input;

	if (key == 'f') {
		a->force = true;
		return 0;
	}
	return command_take_id(&a->id, key, arg, state);
}

static const struct argp argp = {options, parse, "ID", "Removes a stopped container.",
				 NULL,	  NULL,	 NULL};

static int delete_stopped(struct state *state, const char *root, const char *id, struct error *err)
{
	const char *status;
	int ret = state_open(state, root, id, err);

	if (ret < 0)
		return ret;
	status = state_status(state);
	if (strcmp(status, "stopped") != 0)
		return error_say(err, EBUSY, "cannot delete container %s that is not stopped: %s",
				 id, status);
	if (state_wait_process(state, DRAIN_LIMIT) < 0) {
		ret = state_kill_process(state, err);
		if (ret < 0)
			return ret;
	}
	ret = state_lock(state, err);
	return ret < 0 ? ret : state_remove(state, err);
}

/*
 * The VMM is ended before the lock is waited for: whoever holds it may be waiting for that VMM. A
 * folder whose creator was killed may have no state.json.
 */
static int delete_anyway(struct state *state, const char *root, const char *id, struct error *err)
{
	struct error why = {0};
	int ret = state_open_folder(state, root, id, &why);

	if (ret == -ENOENT)
		return 0;
	if (ret < 0)
		return error_say(err, -ret, "%s", why.message);
	ret = state_kill_process(state, err);
	if (ret < 0)
		return ret;
	ret = state_lock(state, &why);
	if (ret == -ENOENT && state_is_gone(state))
		return 0;
	ret = state_kill_process(state, err);
	return ret < 0 ? ret : state_remove(state, err);
}

int cmd_delete(struct globals *globals, int argc, char **argv, struct error *err)
{
	cleanup_state struct state state = STATE_INIT;
	struct arguments a = {0};

	argp_parse(&argp, argc, argv, 0, NULL, &a);
	return a.force ? delete_anyway(&state, globals->root, a.id, err)
		       : delete_stopped(&state, globals->root, a.id, err);
}
