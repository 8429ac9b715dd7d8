/*
 * exec: one more process in a running container. It is born in the VM; on the host this process, or
 * with --detach a child of it, stands for it (holder.h).
 */
#include "runtime/cgroup.h"
#include "runtime/command.h"
#include "runtime/exec_process.h"
#include "runtime/file.h"
#include "runtime/holder.h"
#include "runtime/options.h"
#include "runtime/signals.h"
#include "runtime/state.h"

#include "common/cleanup.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXIT_EXEC_FAILED 255 /* runc's, for whatever goes wrong before there is a process */

enum {
	OPT_CONSOLE = 256,
	OPT_CWD,
	OPT_PID_FILE,
	OPT_LABEL,
	OPT_APPARMOR,
	OPT_NNP,
	OPT_PRESERVE,
	OPT_CGROUP,
	OPT_PAUSED,
	OPT_SUBREAPER,
};

struct arguments {
	struct exec_wishes wishes;
	const char *id, *pid_file, *console_socket;
	bool detach, ignore_paused;
};

static const struct option_spec options[] = {
	{'p', "process", "FILE", "The process as JSON, instead of a command"},
	{'d', "detach", NULL, "Return once it runs"},
	{OPT_PID_FILE, "pid-file", "FILE", "Write the id of who stands for it on the host to FILE"},
	{'t', "tty", NULL, "Give it a terminal"},
	{OPT_CONSOLE, "console-socket", "SOCKET", "Send the terminal's master side there"},
	{'u', "user", "UID[:GID]", "Run as this user"},
	{'g', "additional-gids", "GID", "One more group; may be repeated"},
	{OPT_CWD, "cwd", "DIR", "The working directory"},
	{'e', "env", "NAME=VALUE", "Set a variable; may be repeated"},
	{'c', "cap", "CAPABILITY", "One more capability; may be repeated"},
	{OPT_NNP, "no-new-privs", NULL, "It can gain no privileges by exec"},
	{OPT_PAUSED, "ignore-paused", NULL, "In a paused container: wait until it is resumed"},
	{OPT_PRESERVE, "preserve-fds", "N", "Only 0: open files cannot enter a VM"},
	{OPT_LABEL, "process-label", "LABEL", "Only empty: the guest's kernel has no SELinux"},
	{OPT_APPARMOR, "apparmor", "PROFILE", "Only empty: the guest's kernel has no AppArmor"},
	{OPT_CGROUP, "cgroup", "PATH", "Start it in this cgroup, below the container's in the VM"},
	{OPT_SUBREAPER, "no-subreaper", NULL, "Accepted for runc's sake"},
	{0},
};

static int add(struct exec_list *list, const char *value, struct error *err)
{
	if (list->count == EXEC_LIST_MAX)
		return error_say(err, E2BIG, "more than %d of one option", EXEC_LIST_MAX);
	list->at[list->count++] = value;
	return 0;
}

static int only(const char *value, const char *allowed, const char *why, struct error *err)
{
	return strcmp(value, allowed) ? error_say(err, ENOTSUP, "%s: %s", value, why) : 0;
}

static int take(void *input, int key, char *value, struct error *err)
{
	struct arguments *a = input;

	switch (key) {
	case 'p':
		a->wishes.process_file = value;
		return 0;
	case 'd':
		a->detach = true;
		return 0;
	case OPT_PID_FILE:
		a->pid_file = value;
		return 0;
	case 't':
		a->wishes.tty = true;
		return 0;
	case OPT_CONSOLE:
		a->console_socket = value;
		return 0;
	case 'u':
		a->wishes.user = value;
		return 0;
	case 'g':
		return add(&a->wishes.gids, value, err);
	case OPT_CWD:
		a->wishes.cwd = value;
		return 0;
	case 'e':
		return add(&a->wishes.env, value, err);
	case 'c':
		return add(&a->wishes.caps, value, err);
	case OPT_NNP:
		a->wishes.no_new_privileges = true;
		return 0;
	case OPT_PAUSED:
		a->ignore_paused = true;
		return 0;
	case OPT_PRESERVE:
		return only(value, "0", "open files cannot be handed into a VM", err);
	case OPT_LABEL:
		return only(value, "", "the guest's kernel has no SELinux", err);
	case OPT_APPARMOR:
		return only(value, "", "the guest's kernel has no AppArmor", err);
	case OPT_CGROUP:
		a->wishes.cgroup = value;
		return 0;
	default:
		return 0;
	}
}

static const struct command_line command_line = {
	.arguments = "ID [COMMAND [ARGUMENT]...]",
	.about = "Runs one more process in a container.",
	.options = options,
	.missing = "the container's id",
	.in_order = true,
};

static int parse(struct arguments *a, int argc, char **argv, struct error *err)
{
	int at = options_parse(&command_line, argc, argv, take, a, err);

	if (at < 0)
		return at;
	a->id = argv[at];
	a->wishes.args = argv + at + 1;
	if (!a->wishes.process_file && !argv[at + 1])
		return error_say(err, EINVAL, "%s: the command is missing: see %s --help", argv[0],
				 argv[0]);
	return 0;
}

static int check_running(struct state *state, const struct arguments *a, struct error *err)
{
	const char *status = state_status(state);

	if (!strcmp(status, "stopped"))
		return error_say(err, ESRCH, "cannot exec in a stopped container");
	if (!strcmp(status, "creating"))
		return error_say(err, EAGAIN, "cannot exec in a container that is being created");
	if (!strcmp(status, "paused") && !a->ignore_paused)
		return error_say(err, EBUSY,
				 "cannot exec in a paused container (use --ignore-paused to "
				 "override)");
	return 0;
}

/* Which descriptors serve the process: three streams, or one terminal. */
struct streams {
	int fds[3];
	unsigned int count;
	int tty_fd; /* the engine's terminal; ours to close, -1: none */
};

static int prepare_streams(struct streams *streams, const struct arguments *a, bool terminal,
			   struct console *console, struct error *err)
{
	bool socket = a->console_socket;
	int ret;

	if (socket && !(a->detach && terminal))
		return error_say(err, EINVAL,
				 "cannot use console socket if bulkhead will not detach or "
				 "allocate tty");
	if (terminal && a->detach && !socket)
		return error_say(err, EINVAL,
				 "cannot allocate tty if bulkhead will detach without setting "
				 "console socket");
	if (!terminal)
		return 0;
	streams->count = 1;
	if (socket) {
		ret = console_send(a->console_socket, &streams->tty_fd, err);
		streams->fds[0] = streams->tty_fd;
		return ret;
	}
	ret = console_open(console, &streams->tty_fd, err);
	if (ret == 0 && streams->tty_fd >= 0)
		streams->fds[0] = streams->tty_fd;
	return ret;
}

static int write_pid(const char *path, pid_t pid, struct error *err)
{
	char text[16];

	if (!path)
		return 0;
	snprintf(text, sizeof(text), "%d", pid);
	return file_replace(AT_FDCWD, path, 0644, text, strlen(text), err);
}

static int run_attached(const struct state *state, const json_t *process, struct streams *streams,
			struct console *console, const struct arguments *a, struct error *err)
{
	struct holder holder = HOLDER_INIT;
	int status, ret;

	holder.terminal_fd = console->fd;
	console_set_raw(console);
	ret = holder_start(&holder, state->dir_fd, process, streams->fds, streams->count, err);
	/* The VMM has it: with its last copy the relay ends. */
	close_fd(&streams->tty_fd);
	if (ret == 0)
		ret = write_pid(a->pid_file, getpid(), err);
	if (ret < 0) {
		console_close(console);
		holder_destroy(&holder);
		return ret;
	}
	leave_streams();
	status = holder_wait(&holder);
	console_close(console);
	holder_destroy(&holder);
	if (WIFSIGNALED(status))
		end_as(status);
	return WEXITSTATUS(status);
}

static int compare_fds(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Nothing of the caller's stays open but these: who reads a pipe waits for the workload alone. */
static void leave_caller(int *kept, size_t count)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	unsigned int next = STDERR_FILENO + 1;

	for (int fd = 0; null >= 0 && fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	qsort(kept, count, sizeof(*kept), compare_fds);
	for (size_t i = 0; i < count; i++) {
		unsigned int fd = (unsigned int)kept[i];

		if (kept[i] < 0)
			continue;
		if (fd > next)
			close_range(next, fd - 1, 0);
		next = fd + 1;
	}
	close_range(next, ~0u, 0);
}

/* Where the VMM is, so that who ends a container by its control group ends this too. */
static int join_groups(const struct state *state, struct error *err)
{
	cleanup_cgroup struct cgroup cgroup = {0};
	int ret = cgroup_load(&cgroup, json_object_get(state->doc, "cgroup"), err);

	if (ret == 0 && (ret = cgroup_join(&cgroup)) < 0)
		error_set(err, -ret, "enter the container's control group");
	return ret;
}

/* The child that stays: it tells the parent over result_fd how the start went. */
static _Noreturn void hold(const struct state *state, const json_t *process,
			   const struct streams *streams, int result_fd)
{
	struct holder holder = HOLDER_INIT;
	struct error err = {0};
	int ret = join_groups(state, &err);

	setsid();
	holder.terminal_fd = streams->tty_fd;
	/* Its controlling terminal: so a resize of the engine's side reaches it as SIGWINCH. */
	if (ret == 0 && streams->tty_fd >= 0 && ioctl(streams->tty_fd, TIOCSCTTY, 0) < 0)
		ret = error_set(&err, errno, "take the terminal");
	if (ret == 0)
		ret = holder_start(&holder, state->dir_fd, process, streams->fds, streams->count,
				   &err);
	if (send(result_fd, &err, sizeof(err), MSG_NOSIGNAL) < 0 || ret < 0)
		_exit(1);
	leave_caller((int[]){holder.control.fd, holder.signal_fd, holder.terminal_fd}, 3);
	end_as(holder_wait(&holder));
}

static int run_detached(const struct state *state, const json_t *process,
			const struct streams *streams, const struct arguments *a, struct error *err)
{
	cleanup_fd int result_fd = -1;
	struct error result;
	int ends[2], ret;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return error_set(err, errno, "socketpair");
	result_fd = ends[0];
	pid = fork();
	if (pid == 0)
		hold(state, process, streams, ends[1]);
	close(ends[1]);
	if (pid < 0)
		return error_set(err, errno, "fork");
	if (read(result_fd, &result, sizeof(result)) != sizeof(result))
		ret = error_say(err, ECHILD, "who was to hold the process has ended");
	else
		ret = result.code ? error_say(err, result.code, "%s", result.message) : 0;
	if (ret == 0)
		ret = write_pid(a->pid_file, pid, err);
	if (ret < 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	return ret;
}

static int exec(struct state *state, const struct globals *globals, const struct arguments *a,
		struct error *err)
{
	struct streams streams = {{STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}, 3, -1};
	struct console console = CONSOLE_INIT;
	json_t *process = NULL;
	int ret = state_open(state, globals->root, a->id, err);

	if (ret == 0)
		ret = check_running(state, a, err);
	if (ret == 0)
		ret = exec_process_make(&process, state_bundle(state), &a->wishes, err);
	if (ret == 0)
		ret = prepare_streams(&streams, a,
				      json_is_true(json_object_get(process, "terminal")), &console,
				      err);
	if (ret == 0) {
		console_describe_size(&console, process);
		ret = a->detach ? run_detached(state, process, &streams, a, err)
				: run_attached(state, process, &streams, &console, a, err);
	}
	console_close(&console);
	close_fd(&streams.tty_fd);
	json_decref(process);
	return ret;
}

int cmd_exec(struct globals *globals, int argc, char **argv, struct error *err)
{
	cleanup_state struct state state = STATE_INIT;
	struct arguments a = {0};
	int ret = parse(&a, argc, argv, err);

	if (ret < 0)
		return ret;
	ret = exec(&state, globals, &a, err);
	if (ret >= 0)
		return ret;
	error_prefix(err, ret, "exec failed");
	command_report(globals, err);
	return EXIT_EXEC_FAILED;
}
