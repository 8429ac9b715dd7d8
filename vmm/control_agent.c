/* What the agent says, and what is said to one that goes on in a saved machine. */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "vmm/control_internal.h"

static void agent_said_hello(void *ctx)
{
	struct control *control = ctx;

	control->agent_ready_ns = monotonic_ns();
	control->config.events->agent_ready(control->config.ctx);
	if (control->early.id) {
		control->early.id = 0;
		control_relay(control, &control->early, control->early_body, control->early_len);
		free(take_ptr(control->early_body));
	}
}

/* Failing to become one of its own is the end of a clone: it would share its secrets. */
static void agent_has_resumed(struct control *control, bool ok, const char *text)
{
	char why[PROTO_TEXT_MAX + 64];

	if (ok) {
		control->agent_ready_ns = monotonic_ns();
		return;
	}
	snprintf(why, sizeof(why), "the guest cannot go on from where it was saved: %s", text);
	control->config.events->failed(control->config.ctx, false, why);
}

static void agent_replied(void *ctx, const struct agent_request *request,
			  const struct proto_frame *frame)
{
	struct control *control = ctx;
	char text[PROTO_TEXT_MAX + 1];
	bool ok = frame->type == PROTO_OK;
	int code = 0;

	/* Decoding and making it anew cleans the text of what could upset a terminal. */
	if (!ok && (proto_decode_error(frame, &code, text, sizeof(text)) < 0 || !*text))
		snprintf(text, sizeof(text), "the guest's agent sent an error without a reason");
	if (request->type == PROTO_RESUMED) {
		agent_has_resumed(control, ok, text);
		return;
	}
	if (ok && request->type == PROTO_CREATE) {
		control->state = PROTO_STATE_CREATED;
		control->created_ns = monotonic_ns();
	} else if (ok && request->type == PROTO_START && control->state == PROTO_STATE_CREATED) {
		control->state = PROTO_STATE_RUNNING;
		control->started_ns = monotonic_ns();
	} else if (ok && request->type == PROTO_FREEZE) {
		control->paused = request->process;
	}
	if (request->type == PROTO_EXEC)
		control_exec_answered(control, request, ok);
	else if (ok)
		control_answer(request->client, request->client_id, PROTO_OK, frame->body,
			       frame->body_len);
	if (!ok)
		control_answer_error(request->client, request->client_id, code ? code : EIO, text);
	if (!ok && (request->type == PROTO_CREATE || request->type == PROTO_START))
		control->config.events->failed(control->config.ctx, true, text);
}

static void agent_reported_exit(void *ctx, const struct proto_exited *exited)
{
	struct control *control = ctx;

	if (exited->process != PROTO_PROCESS_INIT) {
		exec_exited(&control->execs, exited->process, exited->status);
		return;
	}
	if (control->state == PROTO_STATE_STOPPED)
		return;
	control->state = PROTO_STATE_STOPPED;
	control->exit_status = exited->status;
	control->config.events->workload_ended(control->config.ctx, exited->status);
}

static void agent_reported_oom(void *ctx, const struct proto_oom *oom)
{
	struct control *control = ctx;
	struct proto_oom body = {.kills = htole64(oom->kills)};

	if (oom->kills <= control->oom_kills)
		return;
	/* What is in the file outlives us: `state` knows of it when the container has stopped. */
	if (!control->oom_kills && control->config.oom_fd >= 0 &&
	    write(control->config.oom_fd, "1\n", 2) < 0)
		log_warn("what the guest has killed for memory cannot be noted: %s",
			 strerror(errno));
	control->oom_kills = oom->kills;
	for (struct client *client = control->clients, *next; client; client = next) {
		next = client->next;
		if (client->wants_events)
			control_answer(client, 0, PROTO_OOM, &body, sizeof(body));
	}
}

static void agent_was_lost(void *ctx, const char *why)
{
	struct control *control = ctx;

	control->config.events->agent_lost(control->config.ctx, why);
}

static const struct agent_events agent_events = {
	.hello = agent_said_hello,
	.reply = agent_replied,
	.exited = agent_reported_exit,
	.oom = agent_reported_oom,
	.lost = agent_was_lost,
};

int control_agent_connect(struct control *control, struct vsock_endpoint *endpoint)
{
	return agent_connect(&control->agent, endpoint);
}

void control_agent_init(struct control *control)
{
	agent_init(&control->agent, control->config.loop, &agent_events, control);
}

void control_reset(struct control *control)
{
	agent_destroy(&control->agent);
	control_agent_init(control);
}

int control_resume(struct control *control, uint64_t memory_more)
{
	struct agent_request request = {.type = PROTO_RESUMED};
	struct proto_resumed body = {0};
	int ret;

	control->resumed = true;
	control->memory_more = memory_more;
	body.realtime_ns = htole64(clock_ns(CLOCK_REALTIME));
	if (getrandom(body.entropy, sizeof(body.entropy), 0) != (ssize_t)sizeof(body.entropy))
		return -EIO;
	agent_resume(&control->agent);
	ret = agent_ask(&control->agent, &request, &body, sizeof(body));
	explicit_bzero(body.entropy, sizeof(body.entropy));
	if (ret < 0)
		return ret;
	agent_said_hello(control);
	/* A container that ran before has connected its streams by now, as many as it has left. */
	if (control->state == PROTO_STATE_RUNNING) {
		control->create_seen = true;
		stdio_close_waiting(control->config.stdio);
		control_tell_size(control, PROTO_PROCESS_INIT);
	}
	return 0;
}
