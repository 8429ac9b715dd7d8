#include "vmm/control_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/cleanup.h"
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

void control_answer_outcome(void *client, uint32_t id, int ret, const char *why)
{
	if (ret < 0)
		control_answer_error(client, id, -ret, why);
	else
		control_answer(client, id, PROTO_OK, NULL, 0);
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
	control_holder_gone(control, client);
	if (control->early.client == client)
		control->early.client = NULL;
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
	ret = peer_init(&client->peer, control->config.loop, fd, control_client_frame, client_gone);
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
	control_agent_init(control);
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
	free(control->early_body);
	free(control->end_text);
	free(control);
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
	if (control->early.id) {
		request = control->early;
		control->early.id = 0;
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
