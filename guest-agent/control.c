#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "guest-agent/agent.h"
#include "guest-agent/binds.h"
#include "guest-agent/cgroup.h"
#include "guest-agent/identity.h"
#include "guest-agent/memory.h"
#include "guest-agent/network.h"
#include "guest-agent/report.h"
#include "guest-agent/resolver.h"
#include "guest-agent/rootfs.h"
#include "guest-agent/spec.h"

/* The host is gone, and with it everybody who could want this VM. */
static void control_lost(struct agent *agent, int code)
{
	(void)agent;
	agent_log("lost the control connection: %s", code ? strerror(code) : "end of file");
	agent_power_off();
}

void control_reply(struct agent *agent, uint32_t id, const void *body, size_t len)
{
	int ret = proto_send(agent->control_fd, PROTO_OK, id, body, len);

	if (ret < 0)
		control_lost(agent, -ret);
}

void control_reply_error(struct agent *agent, uint32_t id, int code, const char *text)
{
	int ret = proto_send_error(agent->control_fd, id, code, text);

	if (ret < 0)
		control_lost(agent, -ret);
}

void control_exited(struct agent *agent, uint32_t number, int status)
{
	struct proto_exited body = {number, (uint32_t)status};
	int ret = proto_send(agent->control_fd, PROTO_EXITED, 0, &body, sizeof(body));

	if (ret < 0)
		control_lost(agent, -ret);
}

void control_oom(struct agent *agent, uint64_t kills)
{
	struct proto_oom body = {kills};
	int ret = proto_send(agent->control_fd, PROTO_OOM, 0, &body, sizeof(body));

	if (ret < 0)
		control_lost(agent, -ret);
}

/*
 * Each handler returns 1 when it has answered or will, 0 when OK is to be sent, or a negative errno
 * with what is to be said.
 */
typedef int request_fn(struct agent *agent, const struct proto_frame *frame, struct error *err);

static json_t *parse_json(const char *text, size_t len, struct error *err)
{
	json_error_t at;
	json_t *body = json_loadb(text, len, JSON_REJECT_DUPLICATES, &at);

	if (!body)
		error_say(err, EINVAL, "the request's JSON: %s (byte %d)", at.text, at.position);
	return body;
}

static json_t *parse_body(const struct proto_frame *frame, struct error *err)
{
	return parse_json((const char *)frame->body, frame->body_len, err);
}

static int on_create(struct agent *agent, const struct proto_frame *frame, struct error *err)
{
	json_t *body = parse_body(frame, err);
	int ret;

	if (!body)
		return -EINVAL;
	ret = container_create(agent, body, frame->id, err);
	return ret < 0 ? ret : 1;
}

static int on_start(struct agent *agent, const struct proto_frame *frame, struct error *err)
{
	struct task *task = task_find(agent, PROTO_PROCESS_INIT);
	struct proto_time now;
	int ret;

	if (!task || task->state != TASK_CREATED || task->pid < 0)
		return error_say(err, EINVAL, "cannot start a container that is not created");
	/* The first time that it was told may have been long under way: it was the first thing
	 * done. */
	if (frame->body_len && proto_decode_time(frame, &now) < 0)
		return error_say(err, EPROTO, "START: malformed");
	if (frame->body_len &&
	    ((ret = identity_set_time(now.realtime_ns, err)) < 0 ||
	     (ret = memory_await(agent->memory_at_boot + now.memory_more, err)) < 0))
		return ret;
	task_go(task, frame->id);
	return 1;
}

static int on_exec(struct agent *agent, const struct proto_frame *frame, struct error *err)
{
	struct proto_exec head;
	const json_t *process = NULL;
	const char *json;
	size_t json_len;
	json_t *body;
	int ret = proto_decode_exec(frame, &head, &json, &json_len);

	if (ret < 0 || head.process == PROTO_PROCESS_INIT)
		return error_say(err, EPROTO, "EXEC: malformed");
	body = parse_json(json, json_len, err);
	if (!body)
		return -EINVAL;
	ret = spec_object(body, "body", "process", &process, err);
	if (!ret)
		ret = error_say(err, EINVAL, "body.process: is missing");
	rootfs_changed();
	if (ret > 0)
		ret = container_exec(agent, head.process, process, frame->id, err);
	json_decref(body);
	return ret < 0 ? ret : 1;
}

static int no_process(struct error *err, uint32_t number)
{
	return error_say(err, ESRCH, "process %u is not running", number);
}

static int on_signal(struct agent *agent, const struct proto_frame *frame, struct error *err)
{
	struct proto_signal body;
	struct task *task;
	int ret = proto_decode_signal(frame, &body);

	if (ret < 0)
		return error_say(err, -ret, "SIGNAL: malformed");
	task = task_find(agent, body.process);
	if (!task || task->pid < 0)
		return no_process(err, body.process);
	/* As a signal to read the configuration that was copied in. */
	rootfs_changed();
	if ((body.flags & PROTO_SIGNAL_ALL) && task->state >= TASK_STARTING)
		ret = cgroup_signal(agent->container.cgroup_fd, (int)body.signal);
	else
		ret = task_signal(task, (int)body.signal);
	if (ret == -ESRCH)
		return no_process(err, body.process);
	return ret < 0 ? error_set(err, -ret, "signal %u", body.signal) : 0;
}

static int on_wait(struct agent *agent, const struct proto_frame *frame, struct error *err)
{
	struct proto_process body;
	struct task *task;
	int ret = proto_decode_process(frame, &body);

	if (ret < 0)
		return error_say(err, -ret, "WAIT: malformed");
	task = task_find(agent, body.process);
	if (!task)
		return error_say(err, ESRCH, "there is no process %u", body.process);
	ret = task_wait(task, frame->id);
	return ret < 0 ? error_say(err, -ret, "too many wait for process %u", body.process) : 1;
}

static int on_resize(struct agent *agent, const struct proto_frame *frame, struct error *err)
{
	struct proto_resize body;
	struct task *task;
	int ret = proto_decode_resize(frame, &body);

	if (ret < 0)
		return error_say(err, -ret, "RESIZE: malformed");
	task = task_find(agent, body.process);
	if (!task)
		return no_process(err, body.process);
	ret = task_resize(task, body.rows, body.columns);
	return ret < 0 ? error_set(err, -ret, "resize the terminal of process %u", body.process)
		       : 0;
}

static int on_network(struct agent *agent, const struct proto_frame *frame, struct error *err)
{
	json_t *body = parse_body(frame, err);
	bool resolver = false;
	int ret = body ? network_apply(body, err) : -EINVAL;

	if (ret == 0)
		ret = binds_refresh(body, err);
	if (ret == 0)
		ret = spec_bool(body, "body", "resolver", &resolver, err);
	if (ret >= 0 && resolver)
		ret = resolver_start(&agent->loop, err);
	ret = ret < 0 ? ret : 0;
	json_decref(body);
	return ret;
}

static int need_container(const struct agent *agent, struct error *err)
{
	return agent->container.cgroup_fd < 0 ? error_say(err, ESRCH, "there is no container") : 0;
}

static int on_ps(struct agent *agent, const struct proto_frame *frame, struct error *err)
{
	struct proto_ps_writer writer = {0};
	static const struct proto_ps_list none;
	int ret = need_container(agent, err);

	if (ret == 0)
		ret = report_processes(agent->container.cgroup_fd, &writer, err);
	if (ret == 0 && writer.used)
		control_reply(agent, frame->id, writer.bytes, writer.used);
	else if (ret == 0)
		control_reply(agent, frame->id, &none, sizeof(none));
	free(writer.bytes);
	return ret < 0 ? ret : 1;
}

static int on_stats(struct agent *agent, const struct proto_frame *frame, struct error *err)
{
	static struct proto_stats_full stats;
	static uint8_t bytes[sizeof(stats)];
	int ret = need_container(agent, err);

	if (ret < 0)
		return ret;
	report_stats(agent->container.cgroup_fd, &stats);
	control_reply(agent, frame->id, bytes, proto_encode_stats(&stats, bytes));
	return 1;
}

static int on_freeze(struct agent *agent, const struct proto_frame *frame, struct error *err)
{
	struct proto_freeze body;
	int ret = proto_decode_freeze(frame, &body);

	if (ret < 0)
		return error_say(err, -ret, "FREEZE: malformed");
	ret = need_container(agent, err);
	if (ret == 0)
		ret = cgroup_watch_freeze(&agent->container.watch, body.frozen, frame->id, err);
	return ret < 0 ? ret : 1;
}

static int on_update(struct agent *agent, const struct proto_frame *frame, struct error *err)
{
	json_t *body = parse_body(frame, err);
	const json_t *resources = NULL;
	const char *root = NULL;
	int ret = body ? need_container(agent, err) : -EINVAL;

	if (ret == 0)
		ret = spec_string(body, "body", "root", &root, err);
	if (ret > 0)
		rootfs_changed();
	if (ret >= 0)
		ret = spec_object(body, "body", "resources", &resources, err);
	if (ret > 0)
		ret = cgroup_apply(agent->container.cgroup_fd, resources, err);
	json_decref(body);
	return ret < 0 ? ret : 0;
}

static int on_shutdown(struct agent *agent, const struct proto_frame *frame, struct error *err)
{
	(void)err;
	cgroup_kill(agent->container.cgroup_fd);
	sync();
	control_reply(agent, frame->id, NULL, 0);
	agent_power_off();
}

static int on_resumed(struct agent *agent, const struct proto_frame *frame, struct error *err)
{
	struct proto_resumed body;
	int ret;

	(void)agent;
	if (proto_decode_resumed(frame, &body) < 0)
		return error_say(err, EPROTO, "RESUMED: malformed");
	ret = identity_renew(&body, err);
	explicit_bzero(&body, sizeof(body));
	return ret;
}

static int on_hello(struct agent *agent, const struct proto_frame *frame, struct error *err)
{
	struct proto_hello hello;

	(void)err;
	if (proto_decode_hello(frame, &hello) < 0 || hello.version != PROTO_VERSION) {
		agent_log("the host speaks another version of the protocol");
		agent_power_off();
	}
	(void)agent;
	return 1;
}

static request_fn *handler_of(enum proto_type type)
{
	switch (type) {
	case PROTO_HELLO:
		return on_hello;
	case PROTO_RESUMED:
		return on_resumed;
	case PROTO_CREATE:
		return on_create;
	case PROTO_START:
		return on_start;
	case PROTO_EXEC:
		return on_exec;
	case PROTO_SIGNAL:
		return on_signal;
	case PROTO_WAIT:
		return on_wait;
	case PROTO_RESIZE:
		return on_resize;
	case PROTO_NETWORK:
		return on_network;
	case PROTO_SHUTDOWN:
		return on_shutdown;
	case PROTO_PS:
		return on_ps;
	case PROTO_STATS:
		return on_stats;
	case PROTO_FREEZE:
		return on_freeze;
	case PROTO_UPDATE:
		return on_update;
	default:
		return NULL;
	}
}

static void handle(struct agent *agent, const struct proto_frame *frame)
{
	request_fn *handler = handler_of(frame->type);
	static struct error err;
	int ret;

	error_clear(&err);
	ret = handler ? handler(agent, frame, &err)
		      : error_say(&err, EOPNOTSUPP, "the agent has no request %d", frame->type);
	if (ret < 0)
		control_reply_error(agent, frame->id, err.code ? err.code : -ret, err.message);
	else if (!ret)
		control_reply(agent, frame->id, NULL, 0);
}

static void control_ready(struct loop_watch *watch, uint32_t events)
{
	struct agent *agent = container_of(watch, struct agent, control_watch);
	struct proto_frame frame;
	int ret = proto_reader_fill(&agent->reader, agent->control_fd);

	(void)events;
	if (ret == -EAGAIN)
		return;
	if (ret <= 0)
		control_lost(agent, -ret);
	while ((ret = proto_reader_next(&agent->reader, &frame)) == 1)
		handle(agent, &frame);
	if (ret < 0)
		control_lost(agent, -ret);
}

/* Says hello; requests come when the loop runs. */
int control_open(struct agent *agent, struct error *err)
{
	struct proto_hello hello = {.version = PROTO_VERSION, .uptime_ns = agent->started_ns};
	int ret;

	agent->control_fd = vsock_connect(PROTO_PORT_CONTROL);
	if (agent->control_fd < 0)
		return error_set(err, -agent->control_fd, "connect to the host");
	ret = proto_send(agent->control_fd, PROTO_HELLO, 0, &hello, sizeof(hello));
	if (ret < 0)
		return error_set(err, -ret, "send HELLO");
	ret = loop_add(&agent->loop, &agent->control_watch, agent->control_fd, EPOLLIN,
		       control_ready);
	return ret < 0 ? error_set(err, -ret, "watch the host") : 0;
}
