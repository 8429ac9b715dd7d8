#include "runtime/bundle.h"
#include "runtime/compare.h"
#include "runtime/control_client.h"
#include "runtime/file.h"
#include "runtime/json.h"
#include "runtime/state.h"

#include "common/cleanup.h"
#include "common/clock.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ID	     "compare"
#define COMMAND_MAX  120000 /* ms */
#define SETTLE	     500    /* ms for a workload to get going before it is looked at */
#define STATUS_LIMIT 5000
#define OUTPUT	     "output"

/* --- our bundle --- */

static int write_json(const char *path, const json_t *doc, struct error *err)
{
	cleanup_free char *text = json_dumps(doc, JSON_INDENT(2));

	if (!text)
		return error_set(err, ENOMEM, "write %s", path);
	return file_replace(AT_FDCWD, path, 0600, text, strlen(text), err);
}

/* The same config for all, where there is no terminal and the root is found from elsewhere. */
static int adapt(struct compare *compare, const struct bundle *bundle)
{
	json_t *config = json_deep_copy(bundle->config);
	json_t *root = json_object_get(config, "root");
	json_t *process = json_object_get(config, "process");
	json_t *annotations = json_object_get(config, "annotations");

	if (!config)
		return -ENOMEM;
	if (!json_is_object(annotations)) {
		annotations = json_object();
		json_object_set_new(config, "annotations", annotations);
	}
	json_object_set_new(root, "path", json_string(bundle->rootfs));
	json_object_set_new(process, "terminal", json_false());
	json_object_del(process, "consoleSize");
	json_object_set_new(annotations, "io.bulkhead.isolation", json_string("vm"));
	/* Each makes a group of its own, named by the id. */
	json_object_del(json_object_get(config, "linux"), "cgroupsPath");
	compare->config = config;
	return 0;
}

int compare_prepare(struct compare *compare, struct error *err)
{
	cleanup_bundle struct bundle bundle = BUNDLE_INIT;
	cleanup_free char *path = NULL;
	int ret = bundle_read(&bundle, compare->bundle, err);

	if (ret == 0)
		ret = bundle_load(&bundle, err);
	if (ret < 0)
		return ret;
	ret = adapt(compare, &bundle);
	if (ret < 0)
		return error_set(err, -ret, "%s", compare->bundle);
	compare->root_bytes = compare_tree_size(bundle.rootfs_fd);
	compare->folder = strdup("/run/bulkhead-compare.XXXXXX");
	if (!compare->folder || !mkdtemp(compare->folder)) {
		ret = error_set(err, errno, "make a folder below /run");
		free(take_ptr(compare->folder));
		return ret;
	}
	path = format("%s/" CONFIG_FILE, compare->folder);
	return path ? write_json(path, compare->config, err) : -ENOMEM;
}

static void remove_below(int dir_fd, const char *name, int depth)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_dir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	while (dir && depth < 8 && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
		    unlinkat(fd, entry->d_name, 0) < 0)
			remove_below(fd, entry->d_name, depth + 1);
	unlinkat(dir_fd, name, AT_REMOVEDIR);
}

void compare_destroy(struct compare *compare)
{
	if (compare->folder)
		remove_below(AT_FDCWD, compare->folder, 0);
	free(take_ptr(compare->folder));
	json_decref(compare->config);
	for (unsigned int i = 0; i < compare->count; i++) {
		free(compare->subjects[i].path);
		free(compare->subjects[i].failure);
	}
}

/* --- one command of a subject --- */

static _Noreturn void child(const struct compare *compare, char *const argv[])
{
	int null = open("/dev/null", O_RDWR);
	int output = -1;
	sigset_t none;

	if (compare->folder && chdir(compare->folder) == 0)
		output = open(OUTPUT, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
	if (null >= 0 && output >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(output, STDOUT_FILENO);
		dup2(output, STDERR_FILENO);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		execv(argv[0], argv);
	}
	_exit(127);
}

static void last_line(const struct compare *compare, char *out, size_t size)
{
	cleanup_free char *path = format("%s/" OUTPUT, compare->folder);
	cleanup_free char *text = NULL;
	char *line;
	ssize_t len = path ? file_read(AT_FDCWD, path, 1u << 20, &text, NULL) : -1;

	snprintf(out, size, "it said nothing");
	if (len <= 0)
		return;
	while (len > 0 && text[len - 1] == '\n')
		text[--len] = '\0';
	line = strrchr(text, '\n');
	snprintf(out, size, "%s", line ? line + 1 : text);
}

/* Waits for a child, but not for ever. Returns its wait status. */
static int wait_for(pid_t pid)
{
	cleanup_fd int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd end = {.fd = fd, .events = POLLIN};
	int status = -1;

	if (fd >= 0 && poll(&end, 1, COMMAND_MAX) == 0)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static int command(struct compare *compare, const struct compare_subject *subject,
		   char *const arguments[], struct error *err)
{
	cleanup_free char *root = format("%s/%s", compare->folder, subject->name);
	char *argv[16] = {subject->path, "--root", root};
	char why[400];
	int argc = 3, status;
	pid_t pid;

	while (*arguments && argc < 15)
		argv[argc++] = *arguments++;
	pid = root ? fork() : -1;
	if (pid == 0)
		child(compare, argv);
	if (pid < 0)
		return error_set(err, errno, "start %s", subject->path);
	status = wait_for(pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	last_line(compare, why, sizeof(why));
	return error_say(err, ECANCELED, "%s %s: %s", subject->name, argv[3], why);
}

/* --- a run --- */

static double ms_since(uint64_t begin_ns, uint64_t ns)
{
	return ns > begin_ns ? (double)(ns - begin_ns) / 1e6 : NAN;
}

/* What only the VMM knows. It is asked while the workload waits, and so takes no time of it. */
static void ask_vmm(const struct compare *compare, const struct compare_subject *subject,
		    uint64_t begin_ns, double moments[COMPARE_MOMENTS])
{
	cleanup_free char *root = format("%s/%s", compare->folder, subject->name);
	cleanup_state struct state state = STATE_INIT;
	struct control control = CONTROL_INIT;
	struct proto_status status;

	if (subject->vm && root && state_open(&state, root, ID, NULL) == 0 &&
	    control_connect(&control, state.dir_fd, NULL) == 0 &&
	    control_status(&control, &status, STATUS_LIMIT, NULL) == 0) {
		moments[COMPARE_VMM_STARTED] = ms_since(begin_ns, status.vmm_started_ns);
		moments[COMPARE_VM_CREATED] = ms_since(begin_ns, status.vm_created_ns);
		moments[COMPARE_KERNEL_ENTERED] = ms_since(begin_ns, status.kernel_entered_ns);
		moments[COMPARE_AGENT_READY] = ms_since(begin_ns, status.agent_ready_ns);
	}
	control_close(&control);
}

static pid_t read_pid(const struct compare *compare)
{
	cleanup_free char *path = format("%s/pid", compare->folder);
	cleanup_free char *text = NULL;

	if (!path || file_read(AT_FDCWD, path, 64, &text, NULL) <= 0)
		return -1;
	return (pid_t)strtol(text, NULL, 10);
}

/*
 * A workload that goes on is looked at while it runs; of one that is over at once there is what the
 * container took while it waited to be started.
 */
static void measure_running(const struct compare *compare, struct compare_subject *subject,
			    pid_t pid)
{
	cleanup_free char *root = format("%s/%s", compare->folder, subject->name);
	cleanup_fd int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd end = {.fd = fd, .events = POLLIN};
	struct compare_footprint running = {0};

	if (fd < 0 || poll(&end, 1, SETTLE) != 0)
		return;
	compare_measure(&running, pid, subject->vm ? root : NULL, ID);
	running.running = true;
	if (poll(&end, 1, 0) == 0 && running.host_pss && *running.kernel)
		subject->footprint = running;
}

static int start_and_measure(struct compare *compare, struct compare_subject *subject, bool measure,
			     double moments[COMPARE_MOMENTS], struct error *err)
{
	cleanup_free char *root = format("%s/%s", compare->folder, subject->name);
	uint64_t begin_ns = monotonic_ns(), before_ns, spent_ns;
	pid_t pid;
	int ret = command(
		compare, subject,
		(char *[]){"create", "--bundle", compare->folder, "--pid-file", "pid", ID, NULL},
		err);

	if (ret < 0)
		return ret;
	moments[COMPARE_CREATED] = ms_since(begin_ns, monotonic_ns());
	before_ns = monotonic_ns();
	pid = read_pid(compare);
	ask_vmm(compare, subject, begin_ns, moments);
	if (measure && pid > 0)
		compare_measure(&subject->footprint, pid, subject->vm ? root : NULL, ID);
	/* What we did in between is not its time. */
	spent_ns = monotonic_ns() - before_ns;
	ret = command(compare, subject, (char *[]){"start", ID, NULL}, err);
	if (ret < 0)
		return ret;
	moments[COMPARE_STARTED] = ms_since(begin_ns, monotonic_ns() - spent_ns);
	if (measure && pid > 0)
		measure_running(compare, subject, pid);
	return 0;
}

int compare_run(struct compare *compare, struct compare_subject *subject, bool measure,
		struct error *err)
{
	double moments[COMPARE_MOMENTS];
	struct error ignored = {0};
	int ret;

	for (int i = 0; i < COMPARE_MOMENTS; i++)
		moments[i] = NAN;
	ret = start_and_measure(compare, subject, measure, moments, err);
	command(compare, subject, (char *[]){"delete", "--force", ID, NULL},
		ret < 0 ? &ignored : err);
	if (ret < 0 || measure || subject->runs == COMPARE_RUNS_MAX)
		return ret;
	for (int i = 0; i < COMPARE_MOMENTS; i++)
		subject->moments[i][subject->runs] = moments[i];
	subject->runs++;
	return 0;
}
