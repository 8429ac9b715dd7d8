#include "vmm/control_internal.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"

void control_answer(void *client, uint32_t id, enum proto_type type, const void *body, size_t len)
{
	struct client *to = client;

	if (to && peer_send(&to->peer, type, id, body, len) == -ENOBUFS)
		peer_close(&to->peer, -ENOBUFS);
}

void control_answer_error(void *client, uint32_t id, int code, const char *text)
{
	struct client *to = client;

	if (to && peer_send_error(&to->peer, id, code, text) == -ENOBUFS)
		peer_close(&to->peer, -ENOBUFS);
}

/* --- requests of clients --- */

static void relay(struct control *control, const struct agent_request *request, const void *body,
		  size_t len)
{
	int ret = agent_ask(&control->agent, request, body, len);

	if (ret < 0)
		control_answer_error(request->client, request->client_id, -ret,
				     ret == -ENOTCONN ? "the guest's agent is not there"
						      : "the guest's agent has too much to do");
}

static void hold_create(struct control *control, const struct agent_request *request,
			const struct proto_frame *frame)
{
	control->held_body = malloc(frame->body_len ? frame->body_len : 1);
	if (!control->held_body) {
		control_answer_error(request->client, request->client_id, ENOMEM, "out of memory");
		return;
	}
	memcpy(control->held_body, frame->body, frame->body_len);
	control->held_len = frame->body_len;
	control->held = *request;
	control->held.id = 1;
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
		relay(control, request, frame->body, frame->body_len);
	else
		hold_create(control, request, frame);
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
	if (ret < 0)
		control_answer_error(request->client, request->client_id, -ret, err.message);
	else
		control_answer(request->client, request->client_id, PROTO_OK, NULL, 0);
}

static void request_shutdown(struct control *control, const struct agent_request *request)
{
	control->shutting_down = true;
	if (control->agent.ready) {
		relay(control, request, NULL, 0);
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

	relay(control, request, &body, sizeof(body));
}

static void request_hold(struct control *control, const struct agent_request *request)
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
	if (ret < 0) {
		control->holder = NULL;
		control_answer_error(holder, control->hold_id, -ret, why);
	} else {
		control_answer(holder, control->hold_id, PROTO_OK, NULL, 0);
	}
	control->hold_id = 0;
}

static void request_save(struct control *control, const struct agent_request *request,
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
	if (ret < 0)
		control_answer_error(request->client, request->client_id, -ret, err.message);
	else
		control_answer(request->client, request->client_id, PROTO_OK, NULL, 0);
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
	relay(control, request, frame->body, frame->body_len);
}

static void client_frame(struct peer *peer, const struct proto_frame *frame)
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
		request_hold(control, &request);
		return;
	case PROTO_SAVE:
		request_save(control, &request, frame);
		return;
	default:
		peer_close(peer, -EPROTO);
		return;
	}
}

/* --- clients --- */

static void client_gone(struct peer *peer, int reason)
{
	struct client *client = container_of(peer, struct client, peer);
	struct control *control = client->control;
	struct client **at = &control->clients;
	bool parent = client->parent;

	if (reason < 0)
		log_debug("a control client is dropped: %s", strerror(-reason));
	while (*at != client)
		at = &(*at)->next;
	*at = client->next;
	control->client_count--;
	agent_forget(&control->agent, client);
	control_exec_kill_of(control, client);
	if (control->holder == client) {
		control->holder = NULL;
		control->config.events->release(control->config.ctx);
	}
	if (control->held.client == client)
		control->held.client = NULL;
	peer_destroy(peer);
	free(client);
	/* Nobody is left who could ever start this container. */
	if (parent && control->state == PROTO_STATE_CREATING && !control->finished)
		control->config.events->failed(control->config.ctx, true,
					       "who asked for this container has gone");
}

static int add_client(struct control *control, int fd, bool parent)
{
	struct client *client = calloc(1, sizeof(*client));
	int ret;

	if (!client)
		return -ENOMEM;
	ret = peer_init(&client->peer, control->config.loop, fd, client_frame, client_gone);
	if (ret < 0) {
		free(client);
		return ret;
	}
	client->peer.reader.takes_fds = true;
	client->control = control;
	client->parent = parent;
	client->next = control->clients;
	control->clients = client;
	control->client_count++;
	return 0;
}

static void listener_ready(struct loop_watch *watch, uint32_t events)
{
	struct control *control = container_of(watch, struct control, listen_watch);
	int fd = accept4(control->listen_fd, NULL, NULL, SOCK_CLOEXEC);

	(void)events;
	if (fd < 0)
		return;
	if (control->client_count >= CONTROL_CLIENTS_MAX || add_client(control, fd, false) < 0)
		close(fd);
}

/* --- what the agent says --- */

static void agent_said_hello(void *ctx)
{
	struct control *control = ctx;

	control->agent_ready_ns = monotonic_ns();
	control->config.events->agent_ready(control->config.ctx);
	if (control->held.id) {
		control->held.id = 0;
		relay(control, &control->held, control->held_body, control->held_len);
		free(take_ptr(control->held_body));
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

/* --- for the owner --- */

int control_create(struct control **out, const struct control_config *config, struct error *err)
{
	struct control *control = calloc(1, sizeof(*control));
	int ret = 0;

	if (!control)
		return error_set(err, ENOMEM, "control");
	control->config = *config;
	control->state = PROTO_STATE_CREATING;
	control->listen_fd = config->listen_fd;
	agent_init(&control->agent, config->loop, &agent_events, control);
	control_exec_init(control);
	if (config->listen_fd >= 0) {
		fcntl(config->listen_fd, F_SETFL, fcntl(config->listen_fd, F_GETFL) | O_NONBLOCK);
		ret = loop_add(config->loop, &control->listen_watch, config->listen_fd, EPOLLIN,
			       listener_ready);
	}
	if (ret == 0 && config->parent_fd >= 0)
		ret = add_client(control, config->parent_fd, true);
	if (ret < 0) {
		control_destroy(control);
		return error_set(err, -ret, "control socket");
	}
	*out = control;
	return 0;
}

void control_destroy(struct control *control)
{
	if (!control)
		return;
	while (control->clients) {
		struct client *client = control->clients;

		control->clients = client->next;
		peer_destroy(&client->peer);
		free(client);
	}
	agent_destroy(&control->agent);
	exec_table_destroy(&control->execs);
	loop_del(control->config.loop, &control->listen_watch);
	close_fd(&control->listen_fd);
	close_fd(&control->config.oom_fd);
	free(control->held_body);
	free(control->end_text);
	free(control);
}

int control_agent_connect(struct control *control, struct vsock_endpoint *endpoint)
{
	return agent_connect(&control->agent, endpoint);
}

void control_reset(struct control *control)
{
	agent_destroy(&control->agent);
	agent_init(&control->agent, control->config.loop, &agent_events, control);
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

enum proto_state control_state(const struct control *control)
{
	return control->state;
}

int control_signal(struct control *control, int sig)
{
	struct agent_request request = {.type = PROTO_SIGNAL};
	struct proto_signal body = {.process = PROTO_PROCESS_INIT, .signal = (uint32_t)sig};

	if (control->state != PROTO_STATE_CREATED && control->state != PROTO_STATE_RUNNING)
		return -ESRCH;
	/* A change of a terminal's size comes to us, whose controlling terminal it is. */
	if (sig == SIGWINCH && control->config.stdio->terminal_fd >= 0) {
		control_tell_size(control, PROTO_PROCESS_INIT);
		return 0;
	}
	return agent_ask(&control->agent, &request, &body, sizeof(body));
}

bool control_shutting_down(const struct control *control)
{
	return control->shutting_down;
}

static void finish_request(const struct control *control, const struct agent_request *request,
			   const uint32_t *exit_status, const char *text)
{
	struct proto_exited exited = {.process = request->process};

	if (!exit_status || request->type != PROTO_WAIT) {
		control_answer_error(request->client, request->client_id, control->end_code, text);
		return;
	}
	/* With the container's init every other process was killed. */
	exited.status = request->process == PROTO_PROCESS_INIT ? *exit_status : SIGKILL;
	control_answer(request->client, request->client_id, PROTO_OK, &exited, sizeof(exited));
}

void control_finish(struct control *control, const uint32_t *exit_status, int code,
		    const char *text)
{
	struct agent_request request;

	if (control->finished)
		return;
	control->finished = true;
	control->end_code = code;
	control->end_text = strdup(text);
	if (control->held.id) {
		request = control->held;
		control->held.id = 0;
		finish_request(control, &request, exit_status, text);
	}
	while (agent_take_request(&control->agent, &request))
		finish_request(control, &request, exit_status, text);
	/* With the container's init every other process was killed. */
	exec_end_all(&control->execs, SIGKILL);
}

bool control_has_parent(const struct control *control)
{
	for (const struct client *client = control->clients; client; client = client->next)
		if (client->parent)
			return true;
	return false;
}

bool control_flushed(const struct control *control)
{
	for (const struct client *client = control->clients; client; client = client->next) {
		if (!peer_flushed(&client->peer))
			return false;
		/* Its CREATE is on the way, and we know already what to say to it. */
		if (client->parent && !control->create_seen)
			return false;
	}
	return true;
}
