#include "runtime/command.h"
#include "runtime/options.h"
#include "runtime/state.h"

#include <stdio.h>

static const struct command_line command_line = {
	.arguments = "ID",
	.about = "Prints the state of a container as JSON.",
	.missing = "the container's id",
};

int cmd_state(struct globals *globals, int argc, char **argv, struct error *err)
{
	cleanup_state struct state state = STATE_INIT;
	const char *id = NULL;
	json_t *doc;
	int ret;

	ret = options_parse(&command_line, argc, argv, options_take_id, &id, err);
	if (ret < 0)
		return ret;
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
