#include "runtime/command.h"
#include "runtime/state.h"

#include <stdio.h>

static error_t parse(int key, char *arg, struct argp_state *state)
{
	return command_take_id(state->input, key, arg, state);
}

static const struct argp argp = {NULL, parse, "ID", "Prints the state of a container as JSON.",
				 NULL, NULL,  NULL};

int cmd_state(struct globals *globals, int argc, char **argv, struct error *err)
{
	cleanup_state struct state state = STATE_INIT;
	const char *id = NULL;
	json_t *doc;
	int ret;

	argp_parse(&argp, argc, argv, 0, NULL, &id);
	ret = state_open(&state, globals->root, id, err);
	if (ret < 0)
		return ret;
	doc = state_describe(&state);
	ret = json_dumpf(doc, stdout, JSON_INDENT(2));
	json_decref(doc);
	if (ret < 0 || putchar('\n') == EOF || fflush(stdout) == EOF)
		return error_set(err, errno ? errno : EIO, "write the state");
	return 0;
}
