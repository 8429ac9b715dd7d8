#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "guest-agent/agent.h"
#include "guest-agent/cgroup.h"
#include "guest-agent/launch.h"
#include "guest-agent/namespaces.h"
#include "guest-agent/spec.h"
#include "guest-agent/sync.h"

static void task_settle(struct task *task);

int task_new(struct agent *agent, uint32_t number, struct task **out, struct error *err)
{
	struct task *task = calloc(1, sizeof(*task));

	if (!task)
		return error_set(err, ENOMEM, "process %u", number);
	task->agent = agent;
	task->number = number;
	task->pid = -1;
	task->pidfd = task->sync_fd = -1;
	for (int i = 0; i < PROTO_STREAMS; i++)
		channel_init(&task->channels[i]);
	agent->tasks[number] = task;
	*out = task;
	return 0;
}

struct task *task_find(struct agent *agent, uint32_t number)
{
	return number < PROTO_PROCESS_MAX ? agent->tasks[number] : NULL;
}

static void sync_close(struct task *task)
{
	loop_del(&task->agent->loop, &task->sync_watch);
	close_fd(&task->sync_fd);
}

void task_free(struct task *task)
{
	sync_close(task);
	for (int i = 0; i < PROTO_STREAMS; i++)
		channel_close(&task->channels[i]);
	close_fd(&task->pidfd);
	task->agent->tasks[task->number] = NULL;
	free(task);
}

/* Which task a channel belongs to follows from where it is in the task. */
static void channel_changed(struct channel *channel)
{
	struct agent *agent = container_of(channel->loop, struct agent, loop);

	for (uint32_t i = 0; i < PROTO_PROCESS_MAX; i++) {
		struct task *task = agent->tasks[i];

		if (task && channel >= task->channels && channel < task->channels + PROTO_STREAMS) {
			task_settle(task);
			return;
		}
	}
}

static int connect_stream(struct task *task, enum proto_stream stream, struct error *err)
{
	int fd = vsock_connect(proto_stdio_port(task->number, stream));

	if (fd < 0)
		return error_set(err, -fd, "connect stream %d of process %u to the host", stream,
				 task->number);
	return fd;
}

/* Makes a pipe for each stream; the child's ends go to ends[]. */
static int open_pipes(struct task *task, int ends[PROTO_STREAMS], struct error *err)
{
	for (int i = 0; i < PROTO_STREAMS; i++) {
		bool in = i == PROTO_STDIN;
		int remote = connect_stream(task, (enum proto_stream)i, err);
		int pipes[2], ret;

		if (remote < 0)
			return remote;
		if (pipe2(pipes, O_CLOEXEC) < 0) {
			ret = error_set(err, errno, "pipe");
			close(remote);
			return ret;
		}
		ends[i] = pipes[!in];
		ret = channel_open(&task->channels[i], &task->agent->loop,
				   in ? CHANNEL_IN : CHANNEL_OUT, pipes[in], remote,
				   channel_changed);
		if (ret < 0)
			return error_set(err, -ret, "relay stream %d", i);
	}
	return 0;
}

/* Puts the child into the cgroup from its first instruction on. */
static pid_t clone_in_cgroup(struct task *task, int namespaces, int cgroup_fd)
{
	struct clone_args args = {
		.flags = (uint64_t)(unsigned int)namespaces | CLONE_PIDFD | CLONE_INTO_CGROUP,
		.pidfd = (uint64_t)(uintptr_t)&task->pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = (uint64_t)cgroup_fd,
	};
	long pid = syscall(SYS_clone3, &args, sizeof(args));

	return pid < 0 ? -errno : (pid_t)pid;
}

/*
 * A cgroup whose controllers the workload has handed on to those below holds no processes any more;
 * then, as with runc, the new one joins process 0 where that has gone.
 */
static pid_t clone_child(struct task *task, const struct launch *launch, int namespaces)
{
	const struct agent *agent = task->agent;
	pid_t pid = clone_in_cgroup(task, namespaces, launch->cgroup_fd);
	cleanup_fd int fd = -1;

	if (pid != -EBUSY || launch->cgroup_fd != agent->container.cgroup_fd)
		return pid;
	fd = cgroup_of(agent->tasks[PROTO_PROCESS_INIT]->pid);
	return fd < 0 ? pid : clone_in_cgroup(task, namespaces, fd);
}

/*
 * A process for exec is born into process 0's pid namespace: the agent's children go there while
 * it has joined it. The other namespaces the child joins by itself.
 */
static pid_t clone_into(struct task *task, const struct launch *launch)
{
	bool own_pids = task->agent->container.namespaces & CLONE_NEWPID;
	pid_t pid;

	if (own_pids && setns(launch->init_pidfd, CLONE_NEWPID) < 0)
		return -errno;
	pid = clone_child(task, launch, 0);
	if (pid && own_pids && setns(task->agent->own_pid_ns, CLONE_NEWPID) < 0) {
		agent_log("can not return to my own pid namespace: %s", strerror(errno));
		agent_power_off();
	}
	return pid;
}

static pid_t task_clone(struct task *task, struct launch *launch)
{
	/* The cgroup namespace is made later, its root is where the process is then. */
	if (launch->init_pidfd < 0)
		return clone_child(task, launch, launch->namespaces & ~CLONE_NEWCGROUP);
	return clone_into(task, launch);
}

static void sync_ready(struct loop_watch *watch, uint32_t events);

static int after_clone(struct task *task, int init_pidfd, struct error *err)
{
	const struct container *container = &task->agent->container;
	int ret;

	if (init_pidfd < 0 && (container->namespaces & CLONE_NEWUSER)) {
		ret = namespaces_map_users(container->config, task->pid, err);
		if (ret < 0)
			return ret;
		sync_send(task->sync_fd, SYNC_MAPPED);
	}
	ret = loop_add(&task->agent->loop, &task->sync_watch, task->sync_fd, EPOLLIN, sync_ready);
	return ret < 0 ? error_set(err, -ret, "watch process %u", task->number) : 0;
}

static int spawn(struct task *task, struct launch *launch, struct error *err)
{
	cleanup_fd int child_sync = -1;
	int pair[2], ret;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return error_set(err, errno, "socketpair");
	task->sync_fd = pair[0];
	child_sync = launch->sync_fd = pair[1];
	task->pid = task_clone(task, launch);
	if (task->pid == 0)
		launch_run(launch);
	if (task->pid < 0) {
		ret = task->pid;
		task->pid = -1;
		return error_set(err, -ret, "clone");
	}
	ret = after_clone(task, launch->init_pidfd, err);
	if (ret < 0) {
		/* It is reaped as a process that nobody knows. */
		kill(task->pid, SIGKILL);
		task->pid = -1;
	}
	return ret;
}

/* "cgroup" is exec's, and a path below the container's; without it the container's own it is. */
static int find_cgroup(const struct task *task, const json_t *process, int *below,
		       struct error *err)
{
	const struct container *container = &task->agent->container;
	const char *path = NULL;
	int ret = 0;

	if (task->number != PROTO_PROCESS_INIT)
		ret = spec_string(process, "process", "cgroup", &path, err);
	if (ret <= 0)
		return ret < 0 ? ret : container->cgroup_fd;
	*below = cgroup_below(container->cgroup_fd, path);
	return *below < 0 ? error_set(err, -*below, "open cgroup %s", path) : *below;
}

/* Starts the set-up of process; request is answered later, unless this fails. */
int task_start(struct task *task, const json_t *process, uint32_t request, struct error *err)
{
	struct container *container = &task->agent->container;
	const struct task *init = task->agent->tasks[PROTO_PROCESS_INIT];
	struct launch launch = {
		.document = container->document,
		.config = container->config,
		.process = process,
		.seccomp = container->seccomp,
		.binds = container->binds,
		.namespaces = container->namespaces,
		.init_pidfd = task == init ? -1 : init->pidfd,
		.stdio = {-1, -1, -1},
	};
	cleanup_fd int below = -1;
	int ret = spec_bool(process, "process", "terminal", &launch.terminal, err);

	if (ret < 0 || (ret = launch.cgroup_fd = find_cgroup(task, process, &below, err)) < 0)
		return ret;
	task->terminal = launch.terminal;
	if (!launch.terminal)
		ret = open_pipes(task, launch.stdio, err);
	if (ret >= 0)
		ret = spawn(task, &launch, err);
	for (int i = 0; i < PROTO_STREAMS; i++)
		close_fd(&launch.stdio[i]);
	if (ret < 0)
		return ret;
	task->request = request;
	task->state = TASK_SETTING_UP;
	return 0;
}

static void answer(struct task *task)
{
	struct proto_process body = {task->number};
	uint32_t request = task->request;

	task->request = 0;
	if (request)
		control_reply(task->agent, request, &body,
			      task->number == PROTO_PROCESS_INIT ? 0 : sizeof(body));
}

static void answer_failure(struct task *task, int code, const char *text)
{
	static char message[PROTO_TEXT_MAX + 64];

	snprintf(message, sizeof(message), "unable to start container process: %s", text);
	if (task->request)
		control_reply_error(task->agent, task->request, code > 0 ? code : EIO, message);
	task->request = 0;
	/* A process 0 that fails at START has been created, and so its end is news. */
	task->failed = task->number != PROTO_PROCESS_INIT || task->state == TASK_SETTING_UP;
	sync_close(task);
}

static void take_master(struct task *task, int master)
{
	struct error err = {0};
	int remote = connect_stream(task, PROTO_STDIN, &err);

	if (remote < 0) {
		/* Its terminal hangs up. */
		agent_log("%s", err.message);
		close(master);
		return;
	}
	channel_open(&task->channels[PROTO_STDIN], &task->agent->loop, CHANNEL_BOTH, master, remote,
		     channel_changed);
}

/* The end of file: the exec has closed it, or the process has ended before. */
static void sync_ended(struct task *task)
{
	sync_close(task);
	if (task->state == TASK_STARTING) {
		task->state = TASK_RUNNING;
		answer(task);
	} else if (task->state == TASK_SETTING_UP) {
		answer_failure(task, ECHILD, "it ended while it was being set up");
	}
}

void task_go(struct task *task, uint32_t request)
{
	task->request = request;
	task->state = TASK_STARTING;
	sync_send(task->sync_fd, SYNC_GO);
}

static void sync_message(struct task *task, const struct sync_message *message)
{
	if (message->type == SYNC_MASTER && message->fd >= 0) {
		take_master(task, message->fd);
	} else if (message->type == SYNC_READY && task->state == TASK_SETTING_UP) {
		task->state = TASK_CREATED;
		if (task->number == PROTO_PROCESS_INIT)
			answer(task);
		else
			task_go(task, task->request);
	} else if (message->type == SYNC_FAILED) {
		answer_failure(task, message->code, message->text);
	}
}

static void sync_ready(struct loop_watch *watch, uint32_t events)
{
	struct task *task = container_of(watch, struct task, sync_watch);
	static struct sync_message message;
	int ret = sync_receive(task->sync_fd, &message);

	(void)events;
	if (ret == 1)
		sync_message(task, &message);
	else if (ret != -EAGAIN)
		sync_ended(task);
}

static bool ends_by_default(int sig)
{
	switch (sig) {
	case SIGCHLD:
	case SIGCONT:
	case SIGURG:
	case SIGWINCH:
	case SIGSTOP:
	case SIGTSTP:
	case SIGTTIN:
	case SIGTTOU:
		return false;
	default:
		return true;
	}
}

int task_signal(struct task *task, int sig)
{
	if (task->pid < 0)
		return -ESRCH;
	/* As the first of its pid namespace it would be deaf to all but SIGKILL until it runs. */
	if (task->state < TASK_STARTING && ends_by_default(sig)) {
		task->early_signal = sig;
		sig = SIGKILL;
	}
	return syscall(SYS_pidfd_send_signal, task->pidfd, sig, NULL, 0) < 0 ? -errno : 0;
}

int task_resize(struct task *task, unsigned short rows, unsigned short columns)
{
	struct winsize size = {.ws_row = rows, .ws_col = columns};
	int master = task->channels[PROTO_STDIN].local;

	if (!task->terminal)
		return -ENOTTY;
	if (master < 0)
		return -ESRCH;
	return ioctl(master, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}

int task_wait(struct task *task, uint32_t request)
{
	struct proto_exited body = {task->number, (uint32_t)task->status};

	if (task->state == TASK_REPORTED) {
		control_reply(task->agent, request, &body, sizeof(body));
		return 0;
	}
	for (int i = 0; i < WAITERS_MAX; i++) {
		if (!task->waiters[i]) {
			task->waiters[i] = request;
			return 0;
		}
	}
	return -EBUSY;
}

static void report(struct task *task)
{
	struct proto_exited body = {task->number, (uint32_t)task->status};

	task->state = TASK_REPORTED;
	/* Who still has the terminal of a process of exec loses it, as when its master closes. */
	if (task->terminal)
		channel_close(&task->channels[PROTO_STDIN]);
	for (int i = 0; i < WAITERS_MAX; i++)
		if (task->waiters[i])
			control_reply(task->agent, task->waiters[i], &body, sizeof(body));
	memset(task->waiters, 0, sizeof(task->waiters));
	control_exited(task->agent, task->number, task->status);
}

/*
 * Process 0 takes all of the container with it, so the end of its output is the end of file. A
 * process of exec may leave others behind that hold its pipes: what it left in them counts.
 */
static bool output_has_left(const struct task *task)
{
	for (int i = 0; i < PROTO_STREAMS; i++) {
		const struct channel *channel = &task->channels[i];

		if (!channel->out.buffer)
			continue;
		if (task->number == PROTO_PROCESS_INIT ? channel_is_open(channel)
						       : !channel_is_drained(channel))
			return false;
	}
	return true;
}

static void task_settle(struct task *task)
{
	if (task->pid < 0 && !task->failed && task->state != TASK_REPORTED && output_has_left(task))
		report(task);
}

void task_reaped(struct task *task, int status)
{
	struct agent *agent = task->agent;

	/* What it has said last may still be unread. */
	while (task->sync_fd >= 0)
		sync_ready(&task->sync_watch, EPOLLIN);
	task->pid = -1;
	task->status = status;
	if (task->early_signal && WIFSIGNALED(status))
		task->status = task->early_signal;
	cgroup_watch_check(&agent->container.watch);
	if (task->number == PROTO_PROCESS_INIT) {
		agent->container.ended = true;
		cgroup_kill(agent->container.cgroup_fd);
	}
	if (task->failed) {
		if (task->number == PROTO_PROCESS_INIT)
			container_destroy(agent);
		else
			task_free(task);
		return;
	}
	for (int i = 0; i < PROTO_STREAMS; i++)
		channel_pump(&task->channels[i]);
	task_settle(task);
}
