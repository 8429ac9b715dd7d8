/*
 * pause and resume: the container's cgroup in the guest is frozen, as runc freezes one on the host.
 * The guest's kernel and agent go on, so that a paused container can be looked at, updated and
 * killed, and no timer in it finds that time has jumped. An idle guest costs no CPU.
 */
#include "runtime/command.h"
#include "runtime/control_client.h"
#include "runtime/options.h"
#include "runtime/state.h"

#include <endian.h>
#include <string.h>

#define FREEZE_LIMIT 10000 /* ms; a process in the kernel's uninterruptible sleep holds it up */

static const struct command_line pause_line = {
	.arguments = "ID",
	.about = "Stops all processes of a container for a while.",
	.missing = "the container's id",
};

static const struct command_line resume_line = {
	.arguments = "ID",
	.about = "Lets the processes of a paused container go on.",
	.missing = "the container's id",
};

static int check(const char *status, bool freeze, struct error *err)
{
	bool lives = !strcmp(status, "running") || !strcmp(status, "created");

	if (freeze && !lives)
		return error_say(err, EINVAL,
				 "cannot pause a container that is %s: container not running",
				 status);
	if (!freeze && strcmp(status, "paused") != 0)
		return error_say(err, EINVAL,
				 "cannot resume a container that is %s: container not paused",
				 status);
	return 0;
}

static int ask(const struct state *state, bool freeze, struct error *err)
{
	const struct proto_freeze body = {.frozen = htole32(freeze)};
	struct control control = CONTROL_INIT;
	int ret = control_connect(&control, state->dir_fd, err);

	if (ret == 0)
		ret = control_request(&control, PROTO_FREEZE, &body, sizeof(body), FREEZE_LIMIT,
				      NULL, err);
	control_close(&control);
	return ret < 0 ? error_prefix(err, ret, "%s container %s", freeze ? "pause" : "resume",
				      state->id)
		       : 0;
}

static int freeze_or_thaw(const struct command_line *line, bool freeze, struct globals *globals,
			  int argc, char **argv, struct error *err)
{
	cleanup_state struct state state = STATE_INIT;
	const char *id = NULL;
	int ret = options_parse(line, argc, argv, options_take_id, &id, err);

	if (ret < 0)
		return ret;
	ret = state_open(&state, globals->root, id, err);
	if (ret == 0)
		ret = check(state_status(&state), freeze, err);
	return ret < 0 ? ret : ask(&state, freeze, err);
}

int cmd_pause(struct globals *globals, int argc, char **argv, struct error *err)
{
	return freeze_or_thaw(&pause_line, true, globals, argc, argv, err);
}

int cmd_resume(struct globals *globals, int argc, char **argv, struct error *err)
{
	return freeze_or_thaw(&resume_line, false, globals, argc, argv, err);
}
