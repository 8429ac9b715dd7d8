/* What clients ask: answered here, or relayed to the agent. */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "vmm/control_internal.h"

void control_relay(struct control *control, const struct agent_request *request, const void *body,
		   size_t len)
{
	int ret = agent_ask(&control->agent, request, body, len);

	if (ret < 0)
		control_answer_error(request->client, request->client_id, -ret,
				     ret == -ENOTCONN ? "the guest's agent is not there"
						      : "the guest's agent has too much to do");
}

static void keep_create(struct control *control, const struct agent_request *request,
			const struct proto_frame *frame)
{
	control->early_body = malloc(frame->body_len ? frame->body_len : 1);
	if (!control->early_body) {
		control_answer_error(request->client, request->client_id, ENOMEM, "out of memory");
		return;
	}
	memcpy(control->early_body, frame->body, frame->body_len);
	control->early_len = frame->body_len;
	control->early = *request;
	control->early.id = 1;
}

static void request_create(struct control *control, const struct agent_request *request,
			   const struct proto_frame *frame)
{
	if (control->create_seen) {
		control_answer_error(request->client, request->client_id, EEXIST,
				     "the container was created already");
		return;
	}
	control->create_seen = true;
	if (control->agent.ready)
		control_relay(control, request, frame->body, frame->body_len);
	else
		keep_create(control, request, frame);
}

static enum proto_state reported_state(const struct control *control)
{
	return control->paused && control->state != PROTO_STATE_STOPPED ? PROTO_STATE_PAUSED
									: control->state;
}

static void request_status(struct control *control, const struct agent_request *request)
{
	struct proto_status status = {
		.state = reported_state(control),
		.exit_status = control->exit_status,
		.agent_ready_ns = control->agent_ready_ns,
		.created_ns = control->created_ns,
		.started_ns = control->started_ns,
		.oom_kills = control->oom_kills,
	};

	control->config.events->marks(control->config.ctx, &status);
	control_answer(request->client, request->client_id, PROTO_OK, &status, sizeof(status));
}

static void request_counters(struct control *control, const struct agent_request *request)
{
	static struct proto_counters counters;
	static uint8_t body[sizeof(counters)];
	int ret = control->config.events->counters(control->config.ctx, &counters);

	if (ret < 0)
		control_answer_error(request->client, request->client_id, -ret,
				     "there is no machine that counts anything");
	else
		control_answer(request->client, request->client_id, PROTO_OK, body,
			       proto_encode_counters(&counters, body));
}

static void request_attach(struct control *control, const struct agent_request *request,
			   const struct proto_frame *frame)
{
	struct proto_attach what;
	struct error err = {0};
	const void *parameters;
	size_t len;
	int ret = proto_decode_attach(frame, &what, &parameters, &len);

	if (ret < 0)
		error_say(&err, -ret, "ATTACH: malformed");
	else
		ret = control->config.events->attach(control->config.ctx, &what, parameters, len,
						     frame, &err);
	control_answer_outcome(request->client, request->client_id, ret, err.message);
}

static void request_shutdown(struct control *control, const struct agent_request *request)
{
	control->shutting_down = true;
	if (control->agent.ready) {
		control_relay(control, request, NULL, 0);
		return;
	}
	control_answer(request->client, request->client_id, PROTO_OK, NULL, 0);
	control->config.events->shutdown(control->config.ctx);
}

/* Returns NULL when the request can go to the agent, else why not, and *code. */
static const char *refusal(const struct control *control, enum proto_type type, int *code)
{
	*code = EINVAL;
	switch (control->state) {
	case PROTO_STATE_CREATING:
		return "the container is not created yet";
	case PROTO_STATE_CREATED:
		return type == PROTO_START && control->start_seen
			       ? "the container is being started already"
			       : NULL;
	case PROTO_STATE_RUNNING:
		return type == PROTO_START ? "the container is running already" : NULL;
	default:
		*code = ESRCH;
		return "the container has stopped";
	}
}

/* To a machine that resumed it comes with the time: now nothing holds the message up any more. */
static void relay_start(struct control *control, const struct agent_request *request)
{
	struct proto_time body = {.realtime_ns = htole64(clock_ns(CLOCK_REALTIME)),
				  .memory_more = htole64(control->memory_more)};

	control_relay(control, request, &body, sizeof(body));
}

static void request_events(const struct agent_request *request)
{
	struct client *client = request->client;

	client->wants_events = true;
	control_answer(client, request->client_id, PROTO_OK, NULL, 0);
}

static void request_other(struct control *control, struct agent_request *request,
			  const struct proto_frame *frame)
{
	struct proto_process process;
	struct proto_freeze freeze;
	const char *why;
	int code;

	why = refusal(control, frame->type, &code);
	if (why) {
		control_answer_error(request->client, request->client_id, code, why);
		return;
	}
	if (frame->type == PROTO_START) {
		control->start_seen = true;
		if (control->resumed) {
			relay_start(control, request);
			return;
		}
	}
	if (frame->type == PROTO_WAIT && proto_decode_process(frame, &process) == 0)
		request->process = process.process;
	if (frame->type == PROTO_FREEZE && proto_decode_freeze(frame, &freeze) == 0)
		request->process = freeze.frozen;
	if (frame->type == PROTO_EXEC) {
		control_exec_request(control, request, frame);
		return;
	}
	control_relay(control, request, frame->body, frame->body_len);
}

void control_client_frame(struct peer *peer, const struct proto_frame *frame)
{
	struct client *client = container_of(peer, struct client, peer);
	struct control *control = client->control;
	struct agent_request request = {
		.type = frame->type,
		.client = client,
		.client_id = frame->id,
	};

	if (frame->id == 0) {
		peer_close(peer, -EPROTO);
		return;
	}
	if (control->finished && frame->type != PROTO_STATUS) {
		control->create_seen |= client->parent || frame->type == PROTO_CREATE;
		control_answer_error(client, frame->id, control->end_code,
				     control->end_text ? control->end_text
						       : "the container has stopped");
		return;
	}
	switch (frame->type) {
	case PROTO_STATUS:
		request_status(control, &request);
		return;
	case PROTO_CREATE:
		request_create(control, &request, frame);
		return;
	case PROTO_SHUTDOWN:
		request_shutdown(control, &request);
		return;
	case PROTO_ATTACH:
		request_attach(control, &request, frame);
		return;
	case PROTO_START:
	case PROTO_EXEC:
	case PROTO_SIGNAL:
	case PROTO_WAIT:
	case PROTO_RESIZE:
	case PROTO_NETWORK:
	case PROTO_PS:
	case PROTO_STATS:
	case PROTO_FREEZE:
	case PROTO_UPDATE:
		request_other(control, &request, frame);
		return;
	case PROTO_HOLDERS:
		control_holders_request(control, &request);
		return;
	case PROTO_COUNTERS:
		request_counters(control, &request);
		return;
	case PROTO_EVENTS:
		request_events(&request);
		return;
	case PROTO_HOLD:
		control_hold_request(control, &request);
		return;
	case PROTO_SAVE:
		control_save_request(control, &request, frame);
		return;
	default:
		peer_close(peer, -EPROTO);
		return;
	}
}
