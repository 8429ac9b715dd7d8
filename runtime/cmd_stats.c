/* stats: what a container's VMM counts, of its vCPUs and virtqueues. */
#include "runtime/command.h"
#include "runtime/control_client.h"
#include "runtime/counters_print.h"
#include "runtime/options.h"
#include "runtime/state.h"

#include <stdio.h>
#include <string.h>

#define LIMIT 10000 /* ms */

struct arguments {
	const char *id;
	counters_print_fn *print;
};

static const struct option_spec options[] = {
	{'f', "format", "FORMAT", "table (the default), json or prometheus"},
	{0},
};

static int take(void *input, int key, char *value, struct error *err)
{
	struct arguments *a = input;

	if (key != 'f')
		return options_take_id(&a->id, key, value, err);
	a->print = counters_printer(value);
	if (!a->print)
		return error_say(err, EINVAL, "--format: \"%s\" is not table, json or prometheus",
				 value);
	return 0;
}

static const struct command_line command_line = {
	.arguments = "ID",
	.about = "Prints what the VMM of a container counts: exits of its vCPUs, traffic of its "
		 "queues.",
	.options = options,
	.missing = "the container's id",
};

int cmd_stats(struct globals *globals, int argc, char **argv, struct error *err)
{
	static struct proto_counters counters;
	cleanup_state struct state state = STATE_INIT;
	struct control control = CONTROL_INIT;
	struct arguments a = {.print = counters_printer("table")};
	struct proto_frame reply;
	int ret = options_parse(&command_line, argc, argv, take, &a, err);

	if (ret < 0)
		return ret;
	ret = state_open_running(&state, globals->root, a.id, err);
	if (ret == 0)
		ret = control_connect(&control, state.dir_fd, err);
	if (ret == 0)
		ret = control_request(&control, PROTO_COUNTERS, NULL, 0, LIMIT, &reply, err);
	if (ret == 0 && proto_decode_counters(&reply, &counters) < 0)
		ret = error_say(err, EPROTO, "the VMM's counters are malformed");
	if (ret == 0)
		ret = a.print(a.id, &counters, err);
	control_close(&control);
	return ret;
}
