#include "guest-agent/hooks.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "guest-agent/spec.h"

#define WHERE "config.hooks.startContainer"

struct hook {
	const char *path;
	const char **args, **env;
	long long timeout_s; /* 0: none */
};

static int make_input(const json_t *document, struct error *err)
{
	const json_t *config = json_object_get(document, "config");
	cleanup_fd int fd = memfd_create("state", MFD_CLOEXEC);
	json_t *state = json_pack("{s:O?, s:O?, s:s, s:i, s:O?, s:O?}", "ociVersion",
				  json_object_get(config, "ociVersion"), "id",
				  json_object_get(document, "id"), "status", "created", "pid",
				  (int)getpid(), "bundle", json_object_get(document, "bundle"),
				  "annotations", json_object_get(config, "annotations"));
	int ret = fd < 0 || !state ? -1 : json_dumpfd(state, fd, JSON_COMPACT);

	json_decref(state);
	return ret < 0 ? error_set(err, errno ? errno : ENOMEM, WHERE ": make the state")
		       : take_fd(&fd);
}

static int parse(const json_t *object, struct hook *hook, struct error *err)
{
	static const char *const nothing[] = {NULL};
	int ret;

	if ((ret = spec_string(object, WHERE, "path", &hook->path, err)) < 0 ||
	    (ret = spec_strings(object, WHERE, "args", &hook->args, err)) < 0 ||
	    (ret = spec_strings(object, WHERE, "env", &hook->env, err)) < 0 ||
	    (ret = spec_int(object, WHERE, "timeout", 1, 86400, &hook->timeout_s, err)) < 0)
		return ret;
	if (!hook->path)
		return error_say(err, EINVAL, WHERE ".path: is missing");
	if (!hook->args || !hook->args[0]) {
		free(hook->args);
		hook->args = calloc(2, sizeof(*hook->args));
		if (!hook->args)
			return error_set(err, ENOMEM, WHERE);
		hook->args[0] = hook->path;
	}
	if (!hook->env) {
		hook->env = malloc(sizeof(nothing));
		if (!hook->env)
			return error_set(err, ENOMEM, WHERE);
		hook->env[0] = NULL;
	}
	return 0;
}

/* What it says goes where the workload's output goes. */
static void __attribute__((noreturn)) become(const struct hook *hook, int input_fd)
{
	if (lseek(input_fd, 0, SEEK_SET) == 0 && dup2(input_fd, STDIN_FILENO) == STDIN_FILENO)
		execve(hook->path, (char *const *)hook->args, (char *const *)hook->env);
	_exit(127);
}

static int wait_for(const struct hook *hook, pid_t pid, struct error *err)
{
	cleanup_fd int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd end = {.fd = fd, .events = POLLIN};
	int status, ready = 1;

	if (hook->timeout_s)
		while ((ready = poll(&end, 1, (int)hook->timeout_s * 1000)) < 0 && errno == EINTR)
			;
	if (ready <= 0)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (ready <= 0)
		return error_say(err, ETIMEDOUT, WHERE " (%s): not done after %lld s", hook->path,
				 hook->timeout_s);
	if (WIFSIGNALED(status))
		return error_say(err, ECANCELED, WHERE " (%s): ended by signal %d", hook->path,
				 WTERMSIG(status));
	if (WEXITSTATUS(status) == 127)
		return error_say(err, ENOENT, WHERE " (%s): cannot be run, or exit status 127",
				 hook->path);
	if (WEXITSTATUS(status))
		return error_say(err, ECANCELED, WHERE " (%s): exit status %d", hook->path,
				 WEXITSTATUS(status));
	return 0;
}

static int run(const json_t *object, int input_fd, struct error *err)
{
	struct hook hook = {0};
	int ret = parse(object, &hook, err);
	pid_t pid;

	if (ret == 0) {
		pid = fork();
		if (pid == 0)
			become(&hook, input_fd);
		ret = pid < 0 ? error_set(err, errno, WHERE ": fork") : wait_for(&hook, pid, err);
	}
	free(hook.args);
	free(hook.env);
	return ret;
}

int hooks_run(const json_t *document, struct error *err)
{
	const json_t *config = json_object_get(document, "config");
	const json_t *hooks = NULL, *list = NULL, *hook;
	cleanup_fd int input_fd = -1;
	int ret;

	if ((ret = spec_object(config, "config", "hooks", &hooks, err)) <= 0 ||
	    (ret = spec_array(hooks, "config.hooks", "startContainer", &list, err)) <= 0 ||
	    json_array_size(list) == 0)
		return ret < 0 ? ret : 0;
	input_fd = make_input(document, err);
	if (input_fd < 0)
		return input_fd;
	for (size_t i = 0; i < json_array_size(list); i++)
		if ((ret = spec_element(list, WHERE, i, &hook, err)) < 0 ||
		    (ret = run(hook, input_fd, err)) < 0)
			return ret;
	return 0;
}
