#include "runtime/container.h"

#include "common/log.h"

#include <stdlib.h>

enum { OPT_PID_FILE = 256, OPT_CONSOLE, OPT_PRESERVE, OPT_NO_PIVOT, OPT_NO_KEYRING };

static const struct argp_option options[] = {
	{"bundle", 'b', "DIR", 0, "The bundle (default: the working directory)", 0},
	{"pid-file", OPT_PID_FILE, "FILE", 0, "Write the VMM's process id to FILE", 0},
	{"console-socket", OPT_CONSOLE, "SOCKET", 0, "Send the terminal's master side there", 0},
	{"preserve-fds", OPT_PRESERVE, "N", 0, "Only 0: open files cannot enter a VM", 0},
	{"no-pivot", OPT_NO_PIVOT, NULL, 0, "Accepted for runc's sake", 1},
	{"no-new-keyring", OPT_NO_KEYRING, NULL, 0, "Accepted for runc's sake", 1},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct create_options *o = state->input;
	char *end;

	switch (key) {
	case 'b':
		o->bundle = arg;
		return 0;
	case OPT_PID_FILE:
		o->pid_file = arg;
		return 0;
	case OPT_CONSOLE:
		o->console_socket = arg;
		return 0;
	case OPT_PRESERVE:
		o->preserve_fds = strtol(arg, &end, 10);
		if (*end || !*arg || o->preserve_fds < 0)
			argp_error(state, "--preserve-fds: \"%s\" is not a number", arg);
		return 0;
	case OPT_NO_PIVOT:
	case OPT_NO_KEYRING:
		return 0;
	default:
		return command_take_id(&o->id, key, arg, state);
	}
}

const struct argp create_argp = {options, parse, "ID", "Makes a container from a bundle.",
				 NULL,	  NULL,	 NULL};

int cmd_create(struct globals *globals, int argc, char **argv, struct error *err)
{
	struct container container = CONTAINER_INIT;
	struct create_options create = {0};
	int ret;

	argp_parse(&create_argp, argc, argv, 0, NULL, &create);
	ret = container_block_signals(&container, err);
	if (ret == 0)
		ret = container_create(&container, globals, &create, err);
	if (ret == 0)
		container_tell_timings(&container, globals, NULL, NULL);
	container_destroy(&container);
	return ret;
}
