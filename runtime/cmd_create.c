#include "runtime/container.h"

#include <string.h>

enum { OPT_PID_FILE = 256, OPT_CONSOLE, OPT_PRESERVE, OPT_NO_PIVOT, OPT_NO_KEYRING };

const struct option_spec create_options[] = {
	{'b', "bundle", "DIR", "The bundle (default: the working directory)"},
	{OPT_PID_FILE, "pid-file", "FILE", "Write the VMM's process id to FILE"},
	{OPT_CONSOLE, "console-socket", "SOCKET", "Send the terminal's master side there"},
	{OPT_PRESERVE, "preserve-fds", "N", "Only 0: open files cannot enter a VM"},
	{OPT_NO_PIVOT, "no-pivot", NULL, "Accepted for runc's sake"},
	{OPT_NO_KEYRING, "no-new-keyring", NULL, "Accepted for runc's sake"},
	{0},
};

int create_take(void *input, int key, char *value, struct error *err)
{
	struct create_options *o = input;

	switch (key) {
	case 'b':
		o->bundle = value;
		return 0;
	case OPT_PID_FILE:
		o->pid_file = value;
		return 0;
	case OPT_CONSOLE:
		o->console_socket = value;
		return 0;
	case OPT_PRESERVE:
		if (strcmp(value, "0") != 0)
			return error_say(err, ENOTSUP,
					 "--preserve-fds %s: open files cannot be handed into a VM",
					 value);
		return 0;
	case OPTION_ARGUMENT:
		return options_take_id(&o->id, key, value, err);
	default:
		return 0;
	}
}

static const struct command_line command_line = {
	.arguments = "ID",
	.about = "Makes a container from a bundle: a VM in which all is ready for start.",
	.options = create_options,
	.missing = "the container's id",
};

int cmd_create(struct globals *globals, int argc, char **argv, struct error *err)
{
	struct container container = CONTAINER_INIT;
	struct create_options create = {0};
	int ret;

	ret = options_parse(&command_line, argc, argv, create_take, &create, err);
	if (ret < 0)
		return ret;
	create.stays = true;
	ret = container_block_signals(&container, err);
	if (ret == 0)
		ret = container_create(&container, globals, &create, err);
	if (ret == 0 && !container.delegated)
		container_tell_timings(&container, globals, NULL, NULL);
	container_destroy(&container);
	return ret;
}
