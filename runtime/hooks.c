#include "runtime/hooks.h"
#include "runtime/signals.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_MAX 1024 /* bytes of what a hook that fails has said */

static const char *const kinds[] = {
	"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop",
};

static int check_hook(const json_t *hook, const char *kind, size_t i, struct error *err)
{
	const char *path = json_string_value(json_object_get(hook, "path"));
	const json_t *timeout = json_object_get(hook, "timeout");

	if (!path || *path != '/')
		return error_say(err, EINVAL, "hooks.%s[%zu].path: must be an absolute path", kind,
				 i);
	if (json_is_integer(timeout) && json_integer_value(timeout) <= 0)
		return error_say(err, EINVAL, "hooks.%s[%zu].timeout: must be greater than zero",
				 kind, i);
	return 0;
}

int hooks_check(json_t *config, struct error *err)
{
	json_t *list, *hook;
	const char *name;
	size_t i;

	json_object_foreach (json_object_get(config, "hooks"), name, list) {
		bool known = false;

		for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
			known = known || !strcmp(kinds[k], name);
		if (!known)
			return error_say(err, EINVAL, "hooks.%s: there is no such kind of hook",
					 name);
		json_array_foreach (list, i, hook) {
			int ret = check_hook(hook, name, i, err);

			if (ret < 0)
				return ret;
		}
	}
	return 0;
}

/* The state as the specification has it, in a file that every hook can read from the start. */
static int make_input(const struct state *state, const char *status, struct error *err)
{
	cleanup_fd int fd = memfd_create("state", MFD_CLOEXEC);
	json_t *doc = json_pack("{s:s, s:s, s:O?, s:O?, s:O?}", "id", state->id, "status", status,
				"ociVersion", json_object_get(state->doc, "ociVersion"), "bundle",
				json_object_get(state->doc, "bundle"), "annotations",
				json_object_get(state->doc, "annotations"));
	int ret = fd < 0 || !doc ? -1 : 0;

	if (ret == 0 && strcmp(status, "stopped") != 0)
		json_object_set_new(doc, "pid", json_integer(state->pid));
	if (ret == 0)
		ret = json_dumpfd(doc, fd, JSON_COMPACT);
	json_decref(doc);
	return ret < 0 ? error_set(err, errno ? errno : ENOMEM, "make the state for hooks")
		       : take_fd(&fd);
}

/* A list of strings for exec, the caller's. NULL in *out stands for an absent list. */
static char **strings(const json_t *array, const char *instead)
{
	size_t count = json_array_size(array), n = 0;
	char **list = calloc(count + 2, sizeof(*list));

	for (size_t i = 0; list && i < count; i++)
		list[n++] = (char *)json_string_value(json_array_get(array, i));
	if (list && !n && instead)
		list[0] = (char *)instead;
	return list;
}

struct run {
	const char *path, *bundle;
	char **args, **env;
	int input_fd;
	int netns_fd; /* -1: the runtime's */
	int output_fd, status_fd;
};

static void __attribute__((noreturn)) run_child(const struct run *run)
{
	ssize_t ignored __attribute__((unused));
	int code;

	signals_reset();
	/* Its bundle may be gone when poststop comes. */
	if (!run->bundle || chdir(run->bundle) < 0)
		ignored = chdir("/");
	if ((run->netns_fd < 0 || setns(run->netns_fd, CLONE_NEWNET) == 0) &&
	    lseek(run->input_fd, 0, SEEK_SET) == 0 && dup2(run->input_fd, 0) == 0 &&
	    dup2(run->output_fd, 1) == 1 && dup2(run->output_fd, 2) == 2 &&
	    syscall(SYS_close_range, 3, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */) == 0)
		execve(run->path, run->args, run->env);
	code = errno;
	ignored = write(run->status_fd, &code, sizeof(code));
	_exit(127);
}

struct waiting {
	int end_fd, output_fd, interrupt_fd;
	char output[OUTPUT_MAX + 1];
	size_t used;
};

/* Never blocks: something that the hook left behind may hold the pipe. */
static bool read_output(struct waiting *w)
{
	char spare[OUTPUT_MAX];
	size_t room = OUTPUT_MAX - w->used;
	ssize_t n = read(w->output_fd, room ? w->output + w->used : spare,
			 room ? room : sizeof(spare));

	if (n > 0 && room)
		w->used += (size_t)n;
	return n > 0;
}

/* Returns 0 when the process has ended, -ETIMEDOUT or -EINTR. */
static int wait_end(struct waiting *w, int64_t timeout_ms)
{
	uint64_t end = monotonic_ns() + (uint64_t)timeout_ms * 1000000u;
	struct pollfd fds[3] = {
		{.fd = w->end_fd, .events = POLLIN},
		{.fd = w->output_fd, .events = POLLIN},
		{.fd = w->interrupt_fd, .events = POLLIN},
	};

	for (;;) {
		uint64_t now = monotonic_ns();

		if (timeout_ms && now >= end)
			return -ETIMEDOUT;
		if (poll(fds, 3, timeout_ms ? (int)((end - now) / 1000000u) + 1 : -1) < 0 &&
		    errno != EINTR)
			return -errno;
		if (fds[1].revents && !read_output(w))
			fds[1].fd = -1;
		if (fds[0].revents) {
			while (read_output(w))
				;
			return 0;
		}
		if (fds[2].revents)
			return -EINTR;
	}
}

static int tell(const struct waiting *w, const char *problem, int code, struct error *err)
{
	char said[OUTPUT_MAX + 1];

	memcpy(said, w->output, w->used);
	said[w->used] = '\0';
	for (char *c = said; *c; c++)
		if (*c == '\n')
			*c = c[1] ? ' ' : '\0';
	return error_say(err, code, "%s%s%s", problem, *said ? ": " : "", said);
}

static int finish(struct waiting *w, pid_t pid, int status_fd, int64_t timeout_s, struct error *err)
{
	char problem[128];
	int status, code = 0;
	int ret = wait_end(w, timeout_s * 1000);

	if (ret < 0)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (ret == -EINTR)
		return error_say(err, EINTR, "interrupted by a signal");
	if (ret < 0) {
		snprintf(problem, sizeof(problem), "not done after %lld s", (long long)timeout_s);
		return tell(w, problem, -ret, err);
	}
	if (read(status_fd, &code, sizeof(code)) == sizeof(code))
		return error_set(err, code, "cannot be run");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (WIFEXITED(status))
		snprintf(problem, sizeof(problem), "exit status %d", WEXITSTATUS(status));
	else
		snprintf(problem, sizeof(problem), "ended by signal %d", WTERMSIG(status));
	return tell(w, problem, ECANCELED, err);
}

static int spawn(const struct run *run, pid_t *pid, struct error *err)
{
	*pid = fork();
	if (*pid == 0)
		run_child(run);
	return *pid < 0 ? error_set(err, errno, "fork") : 0;
}

static int run_hook(const json_t *hook, struct run *run, int interrupt_fd, struct error *err)
{
	cleanup_fd int output_fd = -1, status_fd = -1, end_fd = -1;
	struct waiting w = {.interrupt_fd = interrupt_fd};
	int output[2], status[2], ret;
	pid_t pid;

	if (pipe2(output, O_CLOEXEC | O_NONBLOCK) < 0)
		return error_set(err, errno, "pipe");
	output_fd = output[0];
	if (pipe2(status, O_CLOEXEC) < 0) {
		ret = error_set(err, errno, "pipe");
		close(output[1]);
		return ret;
	}
	status_fd = status[0];
	run->output_fd = output[1];
	run->status_fd = status[1];
	ret = spawn(run, &pid, err);
	close(output[1]);
	close(status[1]);
	if (ret < 0)
		return ret;
	w.output_fd = output_fd;
	w.end_fd = end_fd = (int)syscall(SYS_pidfd_open, pid, 0);
	return finish(&w, pid, status_fd, json_integer_value(json_object_get(hook, "timeout")),
		      err);
}

static int prepare_and_run(const struct state *state, const json_t *hook, int input_fd,
			   int netns_fd, int interrupt_fd, struct error *err)
{
	const char *path = json_string_value(json_object_get(hook, "path"));
	cleanup_free char **args = strings(json_object_get(hook, "args"), path);
	cleanup_free char **env = strings(json_object_get(hook, "env"), NULL);
	struct run run = {
		.path = path,
		.bundle = json_string_value(json_object_get(state->doc, "bundle")),
		.args = args,
		.env = env,
		.input_fd = input_fd,
		.netns_fd = netns_fd,
	};

	if (!path || !args || !env)
		return error_set(err, ENOMEM, "run it");
	return run_hook(hook, &run, interrupt_fd, err);
}

static const json_t *hooks_of(const struct state *state, const char *kind)
{
	return json_object_get(json_object_get(state->doc, "hooks"), kind);
}

int hooks_run(const struct state *state, const char *kind, const char *status, bool in_netns,
	      int interrupt_fd, struct error *err)
{
	const json_t *list = hooks_of(state, kind);
	cleanup_fd int input_fd = -1, netns_fd = -1;
	char path[64];
	json_t *hook;
	size_t i;

	if (json_array_size(list) == 0)
		return 0;
	input_fd = make_input(state, status, err);
	if (input_fd < 0)
		return input_fd;
	if (in_netns) {
		snprintf(path, sizeof(path), "/proc/%d/ns/net", state->pid);
		netns_fd = open(path, O_RDONLY | O_CLOEXEC);
		if (netns_fd < 0)
			return error_set(err, errno, "hooks.%s: open %s", kind, path);
	}
	json_array_foreach (list, i, hook) {
		int ret = prepare_and_run(state, hook, input_fd, netns_fd, interrupt_fd, err);

		if (ret < 0)
			return error_prefix(err, ret, "hooks.%s[%zu] (%s)", kind, i,
					    json_string_value(json_object_get(hook, "path")));
	}
	return 0;
}

void hooks_run_anyway(const struct state *state, const char *kind, const char *status)
{
	const json_t *list = hooks_of(state, kind);
	cleanup_fd int input_fd = -1;
	json_t *hook;
	size_t i;

	if (json_array_size(list) == 0)
		return;
	input_fd = make_input(state, status, NULL);
	json_array_foreach (list, i, hook) {
		struct error why = {0};

		if (input_fd < 0 || prepare_and_run(state, hook, input_fd, -1, -1, &why) < 0)
			log_warn("hooks.%s[%zu] (%s): %s", kind, i,
				 json_string_value(json_object_get(hook, "path")), why.message);
	}
}
