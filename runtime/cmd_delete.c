#include "runtime/command.h"
#include "runtime/options.h"
#include "runtime/state.h"
#include "runtime/teardown.h"

#include <string.h>

#define DRAIN_LIMIT 10000 /* ms for the VMM of an ended workload to end too */

struct arguments {
	const char *id;
	bool force;
};

static const struct option_spec options[] = {
	{'f', "force", NULL, "End the container if it is not stopped; none is no error"},
	{0},
};

static int take(void *input, int key, char *value, struct error *err)
{
	struct arguments *a = input;

	if (key != 'f')
		return options_take_id(&a->id, key, value, err);
	a->force = true;
	return 0;
}

static const struct command_line command_line = {
	.arguments = "ID",
	.about = "Removes a stopped container.",
	.options = options,
	.missing = "the container's id",
};

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
	if (ret == 0 && state_wait_process(state, 0) < 0)
		return error_say(err, EBUSY, "cannot delete container %s: it has just been made",
				 id);
	return ret < 0 ? ret : teardown(state, err);
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
	return ret < 0 ? ret : teardown(state, err);
}

int cmd_delete(struct globals *globals, int argc, char **argv, struct error *err)
{
	cleanup_state struct state state = STATE_INIT;
	struct arguments a = {0};
	int ret = options_parse(&command_line, argc, argv, take, &a, err);

	if (ret < 0)
		return ret;
	return a.force ? delete_anyway(&state, globals->root, a.id, err)
		       : delete_stopped(&state, globals->root, a.id, err);
}
