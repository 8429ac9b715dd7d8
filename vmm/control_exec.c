/* Processes of exec: who asked for one, its number, its streams, and its end. */
#include <endian.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "vmm/control_internal.h"

/* The body goes on with the number that is chosen here. */
static int ask_exec(struct control *control, struct agent_request *request, uint32_t number,
		    const char *json, size_t json_len)
{
	const struct proto_exec head = {.process = number};
	cleanup_free char *body = malloc(sizeof(head) + json_len);

	if (!body)
		return -ENOMEM;
	memcpy(body, &head, sizeof(head));
	memcpy(body + sizeof(head), json, json_len);
	request->process = number;
	return agent_ask(&control->agent, request, body, sizeof(head) + json_len);
}

void control_exec_request(struct control *control, struct agent_request *request,
			  const struct proto_frame *frame)
{
	struct client *client = request->client;
	int fds[PROTO_STREAMS], number, ret;
	struct proto_exec head;
	const char *json;
	size_t json_len;

	if (proto_decode_exec(frame, &head, &json, &json_len) < 0 ||
	    (frame->fd_count != 1 && frame->fd_count != PROTO_STREAMS)) {
		control_answer_error(client, request->client_id, EPROTO, "EXEC: malformed");
		return;
	}
	for (unsigned int i = 0; i < frame->fd_count; i++)
		fds[i] = take_fd(&frame->fds[i]);
	number = exec_add(&control->execs, client, head.holder, fds, frame->fd_count);
	if (number < 0) {
		for (unsigned int i = 0; i < frame->fd_count; i++)
			close(fds[i]);
		control_answer_error(client, request->client_id, EAGAIN,
				     "too many processes were started by exec");
		return;
	}
	ret = ask_exec(control, request, (uint32_t)number, json, json_len);
	if (ret < 0) {
		exec_answered(&control->execs, (uint32_t)number, false);
		control_answer_error(client, request->client_id, -ret,
				     "the guest's agent cannot be asked for a process");
	}
}

void control_holders_request(struct control *control, const struct agent_request *request)
{
	uint32_t pids[PROTO_PROCESS_MAX];
	size_t count = 0;

	for (uint32_t i = 1; i < PROTO_PROCESS_MAX; i++) {
		const struct exec_process *process = exec_find(&control->execs, i);

		if (process->state != EXEC_FREE && process->owner && process->holder)
			pids[count++] = htole32(process->holder);
	}
	control_answer(request->client, request->client_id, PROTO_OK, pids,
		       count * sizeof(pids[0]));
}

/* The number is ours: what the agent repeats of it is of no interest. */
void control_exec_answered(struct control *control, const struct agent_request *request, bool ok)
{
	struct proto_process body = {.process = request->process};

	if (ok)
		control_answer(request->client, request->client_id, PROTO_OK, &body, sizeof(body));
	exec_answered(&control->execs, request->process, ok);
}

void control_exec_kill_of(struct control *control, struct client *client)
{
	uint32_t number = 0;

	while ((number = exec_next_of(&control->execs, client, number))) {
		struct agent_request request = {.type = PROTO_SIGNAL};
		struct proto_signal body = {.process = number, .signal = SIGKILL};

		exec_find(&control->execs, number)->owner = NULL;
		agent_ask(&control->agent, &request, &body, sizeof(body));
	}
}

static void exec_ended(void *ctx, void *owner, uint32_t process, uint32_t status)
{
	struct proto_exited body = {.process = process, .status = status};

	(void)ctx;
	control_answer(owner, 0, PROTO_EXITED, &body, sizeof(body));
}

static struct stdio *stdio_of(struct control *control, uint32_t process)
{
	struct exec_process *exec = exec_find(&control->execs, process);

	return exec ? &exec->stdio : control->config.stdio;
}

void control_tell_size(struct control *control, uint32_t process)
{
	struct agent_request request = {.type = PROTO_RESIZE};
	struct proto_resize size;

	if (stdio_size(stdio_of(control, process), &size))
		agent_ask(&control->agent, &request, &size, sizeof(size));
}

int control_stdio_connect(struct control *control, uint32_t port, struct vsock_endpoint *endpoint)
{
	struct exec_process *exec = exec_of_port(&control->execs, port);
	struct stdio *stdio = exec ? &exec->stdio : control->config.stdio;
	int ret = stdio_connect(stdio, port, endpoint);

	/* Its size may have been set while nobody could be told. */
	if (ret == 0)
		control_tell_size(control, stdio->process);
	return ret;
}

void control_stdio_closed(struct control *control, uint32_t port)
{
	struct exec_process *exec = exec_of_port(&control->execs, port);

	stdio_closed(exec ? &exec->stdio : control->config.stdio, port);
	if (exec)
		exec_settle(&control->execs, exec->stdio.process);
}

void control_stdio_buffered(struct control *control, uint32_t port, bool buffered)
{
	struct exec_process *exec = exec_of_port(&control->execs, port);

	stdio_buffered(exec ? &exec->stdio : control->config.stdio, port, buffered);
	if (exec && !buffered)
		exec_settle(&control->execs, exec->stdio.process);
}

void control_exec_init(struct control *control)
{
	exec_table_init(&control->execs);
	control->execs.ended = exec_ended;
	control->execs.ctx = control;
}
