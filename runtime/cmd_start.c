#include "runtime/container.h"

#include <string.h>

static error_t parse(int key, char *arg, struct argp_state *state)
{
	return command_take_id(state->input, key, arg, state);
}

static const struct argp argp = {NULL, parse, "ID", "Starts the workload of a created container.",
				 NULL, NULL,  NULL};

static int check_created(const struct state *state, struct error *err)
{
	const char *status = state_status(state);

	if (!strcmp(status, "created"))
		return 0;
	if (!strcmp(status, "stopped"))
		return error_say(err, EINVAL, "cannot start a container that has stopped");
	if (!strcmp(status, "running"))
		return error_say(err, EINVAL, "cannot start an already running container");
	return error_say(err, EINVAL, "cannot start a container in the %s state", status);
}

int cmd_start(struct globals *globals, int argc, char **argv, struct error *err)
{
	struct container container = CONTAINER_INIT;
	const char *id = NULL;
	int ret;

	argp_parse(&argp, argc, argv, 0, NULL, &id);
	ret = state_open(&container.state, globals->root, id, err);
	if (ret == 0)
		ret = state_lock(&container.state, err);
	if (ret == 0)
		ret = check_created(&container.state, err);
	if (ret == 0)
		ret = control_connect(&container.control, container.state.dir_fd, err);
	if (ret == 0)
		ret = container_start(&container, err);
	if (ret == 0)
		container_tell_timings(&container, globals, NULL, NULL);
	container_destroy(&container);
	return ret;
}
