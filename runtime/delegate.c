#include "runtime/delegate.h"
#include "runtime/file.h"
#include "runtime/settings.h"

#include "common/cleanup.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FOLDER	 "process" /* in the state folder: the other runtime's --root */
#define ARGS_MAX 256

static const char *const usual_runtimes[] = {
	"/usr/bin/crun", "/usr/local/bin/crun",	 "/usr/sbin/runc",
	"/usr/bin/runc", "/usr/local/sbin/runc",
};

static struct {
	const struct globals *globals;
	char **argv; /* from the command's name on */
	int argc;
} remembered;

void delegate_remember(const struct globals *globals, int argc, char **argv)
{
	remembered.globals = globals;
	remembered.argc = argc;
	remembered.argv = calloc((size_t)argc + 1, sizeof(*argv));
	if (remembered.argv)
		memcpy(remembered.argv, argv, (size_t)argc * sizeof(*argv));
}

static const char *find_runtime(const struct globals *globals, struct error *err)
{
	const char *wanted = settings_text(&globals->settings, "process-runtime");

	if (wanted) {
		if (*wanted == '/' && access(wanted, X_OK) == 0)
			return wanted;
		error_say(err, ENOENT, "process-runtime: %s is not an executable file", wanted);
		return NULL;
	}
	for (size_t i = 0; i < sizeof(usual_runtimes) / sizeof(usual_runtimes[0]); i++)
		if (access(usual_runtimes[i], X_OK) == 0)
			return usual_runtimes[i];
	error_say(err, ENOENT,
		  "io.bulkhead.isolation=process needs crun or runc: install one, or name it by "
		  "process-runtime in the settings");
	return NULL;
}

/* runc and crun share these; the cgroup manager they call differently. */
static int build_argv(const struct state *state, const char **argv)
{
	static char log[32];
	const struct globals *globals = remembered.globals;
	const char *runtime = json_string_value(json_object_get(state->doc, "runtime"));
	const char *root = json_string_value(json_object_get(state->doc, "root"));
	int n = 0;

	argv[n++] = runtime;
	argv[n++] = "--root";
	argv[n++] = root;
	if (globals->log_fd != STDERR_FILENO) {
		snprintf(log, sizeof(log), "/proc/self/fd/%d", globals->log_fd);
		fcntl(globals->log_fd, F_SETFD, 0);
		argv[n++] = "--log";
		argv[n++] = log;
	}
	if (globals->log_json) {
		argv[n++] = "--log-format";
		argv[n++] = "json";
	}
	if (globals->cgroup_manager == CGROUP_SYSTEMD)
		argv[n++] = "--systemd-cgroup";
	if (globals->cgroup_manager == CGROUP_DISABLED && runtime && strstr(runtime, "crun"))
		argv[n++] = "--cgroup-manager=disabled";
	for (int i = 0; i < remembered.argc && n < ARGS_MAX - 1; i++)
		argv[n++] = remembered.argv[i];
	argv[n] = NULL;
	return runtime && root ? 0 : -EBADMSG;
}

static void __attribute__((noreturn)) become(const char **argv)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv(argv[0], (char *const *)argv);
	fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
	_exit(1);
}

/* Stands for the child until it ends: what is sent here goes there. */
static int wait_for(pid_t pid, const sigset_t *all)
{
	int status;

	for (;;) {
		int number = sigwaitinfo(all, NULL);

		if (number > 0 && number != SIGCHLD)
			kill(pid, number);
		if (number == SIGCHLD && waitpid(pid, &status, WNOHANG) == pid)
			break;
	}
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int run(const char **argv, struct error *err)
{
	sigset_t all;
	pid_t pid;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	pid = fork();
	if (pid < 0)
		return error_set(err, errno, "start %s", argv[0]);
	if (pid == 0)
		become(argv);
	return wait_for(pid, &all);
}

static void remove_all(struct state *state)
{
	/* Empty: the other runtime has removed what it had there. */
	unlinkat(state->dir_fd, FOLDER, AT_REMOVEDIR);
	state_remove(state, NULL);
}

static int describe(struct state *state, const struct globals *globals, const char *bundle,
		    struct error *err)
{
	const char *runtime = find_runtime(globals, err);

	if (!runtime)
		return -ENOENT;
	json_object_set_new(state->doc, "isolation", json_string("process"));
	json_object_set_new(state->doc, "runtime", json_string(runtime));
	json_object_set_new(state->doc, "bundle", json_string(bundle));
	json_object_set_new(state->doc, "root",
			    json_sprintf("%s/%s/" FOLDER, globals->root, state->id));
	if (mkdirat(state->dir_fd, FOLDER, 0700) < 0)
		return error_set(err, errno, "make the state of container %s", state->id);
	return state_save(state, err);
}

int delegate_create(const struct globals *globals, const char *id, const char *bundle, bool keep,
		    struct error *err)
{
	cleanup_state struct state state = STATE_INIT;
	const char *argv[ARGS_MAX];
	int ret = state_create(&state, globals->root, id, err);

	if (ret < 0)
		return ret;
	ret = describe(&state, globals, bundle, err);
	if (ret == 0)
		ret = build_argv(&state, argv);
	state_unlock(&state);
	if (ret == 0)
		ret = run(argv, err);
	if (ret != 0 || !keep)
		remove_all(&state);
	return ret;
}

static bool is_delegated(const struct state *state)
{
	const char *isolation = json_string_value(json_object_get(state->doc, "isolation"));

	return isolation && !strcmp(isolation, "process");
}

int delegate_command(struct state *state, struct error *err)
{
	const char *argv[ARGS_MAX];
	int ret;

	if (!is_delegated(state) || remembered.argc == 0)
		return 0;
	ret = build_argv(state, argv);
	if (ret < 0)
		return error_say(err, EBADMSG, "state.json of container %s is damaged", state->id);
	if (strcmp(remembered.argv[0], "delete") != 0)
		become(argv);
	ret = run(argv, err);
	if (ret == 0)
		remove_all(state);
	if (ret >= 0)
		exit(ret);
	return ret;
}

json_t *delegate_describe(const struct state *state)
{
	const char *runtime = json_string_value(json_object_get(state->doc, "runtime"));
	const char *root = json_string_value(json_object_get(state->doc, "root"));
	int output[2];
	json_t *doc;
	pid_t pid;

	if (!is_delegated(state) || !runtime || !root || pipe2(output, O_CLOEXEC) < 0)
		return NULL;
	pid = fork();
	if (pid == 0) {
		dup2(output[1], STDOUT_FILENO);
		execl(runtime, runtime, "--root", root, "state", state->id, NULL);
		_exit(127);
	}
	close(output[1]);
	doc = pid > 0 ? json_loadfd(output[0], JSON_DISABLE_EOF_CHECK, NULL) : NULL;
	close(output[0]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return doc;
}
