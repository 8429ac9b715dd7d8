#include "runtime/container.h"

#include <string.h>

static const struct command_line command_line = {
	.arguments = "ID",
	.about = "Starts the workload of a created container.",
	.missing = "the container's id",
};

static int check_created(struct state *state, struct error *err)
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

	ret = options_parse(&command_line, argc, argv, options_take_id, &id, err);
	if (ret < 0)
		return ret;
	ret = state_open(&container.state, globals->root, id, err);
	/* Before the lock too: the creator of a container that is being made has it. */
	if (ret == 0)
		ret = check_created(&container.state, err);
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
