#include "runtime/command.h"
#include "runtime/control_client.h"
#include "runtime/options.h"
#include "runtime/state.h"

#include "common/log.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

/*
 * ms until SIGKILL goes to the VMM itself: without the agent's answer, and after it. The second is
 * longer than the VMM waits for who reads the last output; engines then wait 5 s for the end.
 */
#define KILL_LIMIT   2000
#define END_LIMIT    6000
#define SIGNAL_LIMIT 10000

struct arguments {
	const char *id, *signal;
	bool all;
};

static const struct option_spec options[] = {
	{'a', "all", NULL, "To every process of the container"},
	{0},
};

static int take(void *input, int key, char *value, struct error *err)
{
	struct arguments *a = input;

	if (key == 'a')
		a->all = true;
	else if (!a->id)
		a->id = value;
	else if (!a->signal)
		a->signal = value;
	else
		return options_refuse(value, err);
	return 0;
}

static const struct command_line command_line = {
	.arguments = "ID [SIGNAL]",
	.about = "Sends a signal, SIGTERM if not told otherwise.",
	.options = options,
	.missing = "the container's id",
};

static int find_signal(const char *text, struct error *err)
{
	const char *name = strncasecmp(text, "SIG", 3) ? text : text + 3;
	char *end;
	long number = strtol(text, &end, 10);

	if (end != text && !*end && number >= 0 && number <= 64)
		return (int)number;
	for (int i = 1; i < SIGRTMIN; i++) {
		const char *known = sigabbrev_np(i);

		if (known && !strcasecmp(name, known))
			return i;
	}
	if (!strncasecmp(name, "RTMIN", 5) || !strncasecmp(name, "RTMAX", 5)) {
		number = strtol(name + 5, &end, 10);
		number += strncasecmp(name, "RTMIN", 5) ? SIGRTMAX : SIGRTMIN;
		if (!*end && number >= SIGRTMIN && number <= SIGRTMAX)
			return (int)number;
	}
	return error_say(err, EINVAL, "unknown signal \"%s\"", text);
}

static int end_vm(const struct state *state, const char *why, struct error *err)
{
	log_warn("ending the VM of container %s: %s", state->id, why);
	return state_kill_process(state, err);
}

static int send_signal(const struct state *state, int number, bool all, struct error *err)
{
	struct control control = CONTROL_INIT;
	struct error why = {0};
	int ret = control_connect(&control, state->dir_fd, &why);

	if (ret == 0)
		ret = control_signal(&control, number, all,
				     number == SIGKILL ? KILL_LIMIT : SIGNAL_LIMIT, &why);
	control_close(&control);
	if (ret == 0 && number == SIGKILL && state_wait_process(state, END_LIMIT) == -ETIMEDOUT)
		return end_vm(state, "it does not end", err);
	if (ret == 0)
		return 0;
	if (ret == -ESRCH || state_wait_process(state, 0) == 0)
		return all ? 0 : error_say(err, ESRCH, "container not running");
	if (number == SIGKILL)
		return end_vm(state, why.message, err);
	return error_say(err, -ret, "signal container %s: %s", state->id, why.message);
}

int cmd_kill(struct globals *globals, int argc, char **argv, struct error *err)
{
	cleanup_state struct state state = STATE_INIT;
	struct arguments a = {0};
	int ret, number;

	ret = options_parse(&command_line, argc, argv, take, &a, err);
	if (ret < 0)
		return ret;
	number = a.signal ? find_signal(a.signal, err) : SIGTERM;
	if (number < 0)
		return number;
	ret = state_open(&state, globals->root, a.id, err);
	if (ret < 0)
		return ret;
	if (!strcmp(state_status(&state), "stopped"))
		return a.all ? 0 : error_say(err, ESRCH, "container not running");
	/* As with kill(2): only whether there is somebody. */
	return number == 0 ? 0 : send_signal(&state, number, a.all, err);
}
