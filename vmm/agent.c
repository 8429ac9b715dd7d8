#include "vmm/agent.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/cleanup.h"

void agent_init(struct agent *agent, struct loop *loop, const struct agent_events *events,
		void *ctx)
{
	memset(agent, 0, sizeof(*agent));
	agent->loop = loop;
	agent->events = events;
	agent->ctx = ctx;
	agent->peer.fd = -1;
}

void agent_destroy(struct agent *agent)
{
	peer_destroy(&agent->peer);
	agent->ready = false;
}

static struct agent *agent_of(struct peer *peer)
{
	return container_of(peer, struct agent, peer);
}

static void agent_gone(struct peer *peer, int reason)
{
	struct agent *agent = agent_of(peer);
	char why[160];

	agent->ready = false;
	if (reason == 0)
		snprintf(why, sizeof(why), "the guest's agent has closed its connection");
	else
		snprintf(why, sizeof(why), "the guest's agent broke the control protocol: %s",
			 strerror(-reason));
	agent->events->lost(agent->ctx, why);
}

static struct agent_request *find_request(struct agent *agent, uint32_t id)
{
	for (unsigned int i = 0; id && i < AGENT_REQUESTS_MAX; i++)
		if (agent->requests[i].id == id)
			return &agent->requests[i];
	return NULL;
}

static void handle_hello(struct agent *agent, const struct proto_frame *frame)
{
	struct proto_hello hello, answer = {.version = PROTO_VERSION};

	if (frame->type != PROTO_HELLO || frame->id != 0 || proto_decode_hello(frame, &hello) < 0) {
		peer_close(&agent->peer, -EPROTO);
		return;
	}
	if (hello.version != PROTO_VERSION) {
		peer_close(&agent->peer, -EPROTONOSUPPORT);
		return;
	}
	if (peer_send(&agent->peer, PROTO_HELLO, 0, &answer, sizeof(answer)) < 0) {
		peer_close(&agent->peer, -EPIPE);
		return;
	}
	agent->ready = true;
	agent->events->hello(agent->ctx);
}

static void handle_reply(struct agent *agent, const struct proto_frame *frame)
{
	struct agent_request *slot = find_request(agent, frame->id);
	struct agent_request request;

	if (!slot) {
		peer_close(&agent->peer, -EPROTO);
		return;
	}
	request = *slot;
	slot->id = 0;
	agent->events->reply(agent->ctx, &request, frame);
}

static void agent_frame(struct peer *peer, const struct proto_frame *frame)
{
	struct agent *agent = agent_of(peer);
	struct proto_exited exited;
	struct proto_oom oom;

	if (!agent->ready) {
		handle_hello(agent, frame);
		return;
	}
	switch (frame->type) {
	case PROTO_OK:
	case PROTO_ERROR:
		handle_reply(agent, frame);
		return;
	case PROTO_EXITED:
		if (frame->id == 0 && proto_decode_exited(frame, &exited) == 0) {
			agent->events->exited(agent->ctx, &exited);
			return;
		}
		break;
	case PROTO_OOM:
		if (frame->id == 0 && proto_decode_oom(frame, &oom) == 0) {
			agent->events->oom(agent->ctx, &oom);
			return;
		}
		break;
	default:
		break;
	}
	peer_close(peer, -EPROTO);
}

int agent_connect(struct agent *agent, struct vsock_endpoint *endpoint)
{
	int pair[2];
	int ret;

	if (agent->connected)
		return -ECONNREFUSED;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	ret = peer_init(&agent->peer, agent->loop, pair[0], agent_frame, agent_gone);
	if (ret < 0) {
		close(pair[0]);
		close(pair[1]);
		return ret;
	}
	agent->connected = true;
	endpoint->in_fd = pair[1];
	endpoint->out_fd = pair[1];
	return 0;
}

void agent_resume(struct agent *agent)
{
	agent->ready = agent->connected;
}

int agent_ask(struct agent *agent, const struct agent_request *request, const void *body,
	      size_t len)
{
	struct agent_request *slot = NULL;
	int ret;

	if (!agent->ready)
		return -ENOTCONN;
	for (unsigned int i = 0; i < AGENT_REQUESTS_MAX && !slot; i++)
		if (agent->requests[i].id == 0)
			slot = &agent->requests[i];
	if (!slot)
		return -ENOBUFS;
	do
		agent->last_id++;
	while (agent->last_id == 0 || find_request(agent, agent->last_id));
	ret = peer_send(&agent->peer, request->type, agent->last_id, body, len);
	if (ret < 0)
		return ret;
	*slot = *request;
	slot->id = agent->last_id;
	return 0;
}

void agent_forget(struct agent *agent, const void *client)
{
	for (unsigned int i = 0; i < AGENT_REQUESTS_MAX; i++)
		if (agent->requests[i].client == client)
			agent->requests[i].client = NULL;
}

bool agent_take_request(struct agent *agent, struct agent_request *out)
{
	for (unsigned int i = 0; i < AGENT_REQUESTS_MAX; i++) {
		if (agent->requests[i].id == 0)
			continue;
		*out = agent->requests[i];
		agent->requests[i].id = 0;
		return true;
	}
	return false;
}
