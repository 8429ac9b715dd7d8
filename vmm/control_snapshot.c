/*
 * A snapshot of a container that runs: who asks for it, and what of the control side is part of it:
 * the container's state, and what it still owes.
 */
#include <errno.h>
#include <string.h>

#include "vmm/control_internal.h"
#include "vmm/state_tags.h"

struct saved_control {
	uint64_t oom_kills;
	uint32_t paused;
	uint32_t last_id; /* of a request to the agent */
};

/* A WAIT that the agent will answer, though nobody is there any more to be told. */
struct saved_request {
	uint32_t id;
	uint32_t process;
};

static bool execs_run(const struct control *control)
{
	for (uint32_t i = 1; i < PROTO_PROCESS_MAX; i++)
		if (control->execs.at[i].state != EXEC_FREE ||
		    stdio_is_open(&control->execs.at[i].stdio))
			return true;
	return false;
}

int control_save(const struct control *control, struct records *out, struct error *err)
{
	const struct agent *agent = &control->agent;
	struct saved_control saved = {
		.oom_kills = control->oom_kills,
		.paused = control->paused,
		.last_id = agent->last_id,
	};
	struct saved_request requests[AGENT_REQUESTS_MAX];
	size_t count = 0;

	if (control->state != PROTO_STATE_RUNNING || control->shutting_down)
		return error_say(err, ESRCH, "the container does not run any more");
	if (execs_run(control))
		return error_say(err, ENOTSUP,
				 "a process of exec that runs in it cannot be carried");
	if (!agent->ready || agent->peer.out_len ||
	    agent->peer.reader.used != agent->peer.reader.taken)
		return error_say(err, EBUSY, "the guest's agent is busy");
	for (unsigned int i = 0; i < AGENT_REQUESTS_MAX; i++) {
		if (!agent->requests[i].id)
			continue;
		if (agent->requests[i].type != PROTO_WAIT)
			return error_say(err, EBUSY, "the guest's agent is busy");
		requests[count++] = (struct saved_request){
			.id = agent->requests[i].id,
			.process = agent->requests[i].process,
		};
	}
	/* Which goes on has one more to ask first of all. */
	if (count == AGENT_REQUESTS_MAX)
		return error_say(err, EBUSY, "too many wait for processes of the container");
	records_put(out, STATE_CONTROL, 0, &saved, sizeof(saved));
	records_put(out, STATE_REQUESTS, 0, requests, count * sizeof(requests[0]));
	return 0;
}

int control_load(struct control *control, const struct records *in, struct error *err)
{
	struct agent *agent = &control->agent;
	struct saved_control saved;
	struct saved_request request;
	size_t len = 0;
	const char *requests = records_find(in, STATE_REQUESTS, 0, &len);

	if (records_get(in, STATE_CONTROL, 0, &saved, sizeof(saved)) < 0 || saved.paused > 1 ||
	    !requests || len % sizeof(request) || len >= AGENT_REQUESTS_MAX * sizeof(request))
		return error_say(err, EPROTO, "the state of the container makes no sense");
	for (size_t i = 0; i < len / sizeof(request); i++) {
		memcpy(&request, requests + i * sizeof(request), sizeof(request));
		agent->requests[i] = (struct agent_request){
			.id = request.id,
			.type = PROTO_WAIT,
			.process = request.process,
		};
	}
	agent->last_id = saved.last_id;
	control->state = PROTO_STATE_RUNNING;
	control->paused = saved.paused;
	control->oom_kills = saved.oom_kills;
	control->start_seen = true;
	return 0;
}

/* --- who asks --- */

void control_hold_request(struct control *control, const struct agent_request *request)
{
	if (control->holder || control->state != PROTO_STATE_RUNNING) {
		control_answer_error(request->client, request->client_id,
				     control->holder ? EBUSY : EINVAL,
				     control->holder ? "a checkpoint is being made already"
						     : "the container does not run");
		return;
	}
	control->holder = request->client;
	control->hold_id = request->client_id;
	control->config.events->hold(control->config.ctx);
}

void control_held(struct control *control, int ret, const char *why)
{
	struct client *holder = control->holder;

	if (!holder)
		return;
	if (ret < 0)
		control->holder = NULL;
	control_answer_outcome(holder, control->hold_id, ret, why);
	control->hold_id = 0;
}

void control_holder_gone(struct control *control, const struct client *client)
{
	if (control->holder != client)
		return;
	control->holder = NULL;
	control->config.events->release(control->config.ctx);
}

void control_save_request(struct control *control, const struct agent_request *request,
			  const struct proto_frame *frame)
{
	struct vmm_template to = {.state_fd = -1, .memory_fd = -1, .pages_fd = -1};
	struct error err = {0};
	int ret = 0;

	if (control->holder != request->client || control->hold_id || frame->fd_count < 2 ||
	    frame->fd_count > 3)
		ret = error_say(&err, EPROTO, "SAVE: malformed, or without HOLD");
	if (ret == 0) {
		to.state_fd = frame->fds[0];
		to.memory_fd = frame->fds[1];
		if (frame->fd_count > 2)
			to.pages_fd = frame->fds[2];
		ret = control->config.events->save(control->config.ctx, &to, &err);
	}
	control_answer_outcome(request->client, request->client_id, ret, err.message);
}
