/* bulkhead: the OCI command line. Global options, the command table, and how errors are told. */
#include "runtime/command.h"
#include "runtime/delegate.h"
#include "runtime/file.h"
#include "runtime/options.h"
#include "runtime/store.h"
#include "runtime/user.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_ROOT "/run/bulkhead"

static const struct {
	const char *name;
	command_fn *run;
} commands[] = {
	{"cache", cmd_cache},	  {"check", cmd_check},	      {"checkpoint", cmd_checkpoint},
	{"compare", cmd_compare}, {"create", cmd_create},     {"delete", cmd_delete},
	{"events", cmd_events},	  {"exec", cmd_exec},	      {"features", cmd_features},
	{"image", cmd_image},	  {"kill", cmd_kill},	      {"launch", cmd_launch},
	{"list", cmd_list},	  {"pause", cmd_pause},	      {"ps", cmd_ps},
	{"restore", cmd_restore}, {"resume", cmd_resume},     {"run", cmd_run},
	{"spec", cmd_spec},	  {"start", cmd_start},	      {"state", cmd_state},
	{"stats", cmd_stats},	  {"template", cmd_template}, {"update", cmd_update},
};

enum {
	OPT_CONFIG = 256,
	OPT_LOG,
	OPT_LOG_FORMAT,
	OPT_DEBUG,
	OPT_SYSTEMD,
	OPT_MANAGER,
	OPT_ROOTLESS,
	OPT_ROOT
};

static const struct option_spec options[] = {
	{OPT_ROOT, "root", "DIR", "Where states are kept (" DEFAULT_ROOT ")"},
	{OPT_CONFIG, "config", "FILE", "Settings (" SETTINGS_FILE ")"},
	{OPT_LOG, "log", "FILE", "Append the log to FILE instead of stderr"},
	{OPT_LOG_FORMAT, "log-format", "FORMAT", "text or json"},
	{OPT_DEBUG, "debug", NULL, "Log more, start-up times among it"},
	{'v', "version", NULL, "Print the version"},
	{OPT_SYSTEMD, "systemd-cgroup", NULL, "The same as --cgroup-manager systemd"},
	{OPT_MANAGER, "cgroup-manager", "NAME", "cgroupfs, systemd or disabled"},
	{OPT_ROOTLESS, "rootless", "WHEN", "true, false or auto: accepted for runc's sake"},
	{0},
};

static const struct command_line command_line = {
	.arguments = "COMMAND [ARGUMENT]...",
	.about = "Runs OCI containers, each in a virtual machine of its own.",
	.options = options,
	.missing = "the command",
	.epilogue =
		"Commands (bulkhead COMMAND --help has the options of each):\n"
		"  create ID         make a container from a bundle, and its VM\n"
		"  start ID          start the workload of a created container\n"
		"  run ID            create, start, wait and delete\n"
		"  exec ID COMMAND   run one more process in a container\n"
		"  ps ID             list the processes of a container\n"
		"  pause ID          stop all processes of a container\n"
		"  resume ID         let them go on\n"
		"  update ID         change the limits of a container\n"
		"  events ID         print statistics and events of a container\n"
		"  stats ID          print what the VMM counts: exits, requests, interrupts\n"
		"  state ID          print the state as JSON\n"
		"  kill ID [SIGNAL]  send a signal to the workload\n"
		"  delete ID         remove a stopped container\n"
		"  list              list the containers\n"
		"  spec              write a config.json to begin with\n"
		"  features          print what is supported, as JSON\n"
		"  image VERB        pull, import, list, remove or unpack images\n"
		"  launch IMAGE      run a command in a VM from an image or a directory, without a bundle\n"
		"  cache VERB        list, shrink or verify the layer images that VMs share\n"
		"  template VERB     list, wait for or clear the saved VMs that others start from\n"
		"  compare BUNDLE    run a bundle in a VM and in namespaces, and show the difference\n"
		"  check             say whether this machine can run containers",
	.in_order = true,
};

struct arguments {
	const char *root, *log, *config;
	enum cgroup_manager manager;
	bool json, debug;
};

static void print_version(void)
{
	printf("bulkhead version %s\nspec: %s\n", BULKHEAD_VERSION, OCI_VERSION);
	exit(fflush(stdout) == EOF);
}

static int one_of(const char *option, const char *word, const char *const *words, struct error *err)
{
	char list[64] = "";

	for (; *words; words++) {
		if (!strcmp(word, *words))
			return 0;
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s",
			 *list ? ", " : "", *words);
	}
	return error_say(err, EINVAL, "%s: \"%s\" is not one of %s", option, word, list);
}

static int take_manager(struct arguments *a, const char *value, struct error *err)
{
	/* In the order of enum cgroup_manager. */
	static const char *const managers[] = {"cgroupfs", "systemd", "disabled", NULL};

	for (int i = 0; managers[i]; i++)
		if (!strcmp(value, managers[i]))
			a->manager = (enum cgroup_manager)i;
	return one_of("--cgroup-manager", value, managers, err);
}

static int take(void *input, int key, char *value, struct error *err)
{
	static const char *const formats[] = {"text", "json", NULL};
	static const char *const whens[] = {"true", "false", "auto", NULL};
	struct arguments *a = input;

	switch (key) {
	case OPT_ROOT:
		a->root = value;
		return 0;
	case OPT_CONFIG:
		a->config = value;
		return 0;
	case OPT_LOG:
		a->log = value;
		return 0;
	case OPT_LOG_FORMAT:
		a->json = !strcmp(value, "json");
		return one_of("--log-format", value, formats, err);
	case OPT_DEBUG:
		a->debug = true;
		return 0;
	case OPT_MANAGER:
		return take_manager(a, value, err);
	case OPT_ROOTLESS:
		return one_of("--rootless", value, whens, err);
	case 'v':
		print_version();
		return 0;
	default: /* OPT_SYSTEMD */
		a->manager = CGROUP_SYSTEMD;
		return 0;
	}
}

/*
 * The first line is the error; a VMM that failed to boot adds the tail of its guest's console. As
 * with runc the line goes to the log, and to stderr as plain text unless that is where the log is.
 */
void command_report(const struct globals *globals, struct error *err)
{
	char *rest = strchr(err->message, '\n');

	if (rest)
		*rest++ = '\0';
	log_error("%s", err->message);
	if (globals->log_fd != STDERR_FILENO)
		fprintf(stderr, "%s\n", err->message);
	if (rest && *rest)
		fprintf(stderr, "%s%s", rest, rest[strlen(rest) - 1] == '\n' ? "" : "\n");
}

static int open_log(struct globals *globals, const struct arguments *a, struct error *err)
{
	globals->log_fd = STDERR_FILENO;
	globals->log_json = a->json;
	globals->debug = a->debug;
	globals->cgroup_manager = a->manager;
	if (a->log) {
		int fd = open(a->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

		if (fd < 0)
			return error_set(err, errno, "open log %s", a->log);
		globals->log_fd = fd;
	}
	log_open(globals->log_fd, a->json, a->debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	return 0;
}

static int load_settings(struct globals *globals, const struct arguments *a, struct error *err)
{
	int ret = settings_load(&globals->settings, a->config, err);

	if (ret == 0)
		ret = store_set(&globals->settings, err);
	if (ret == 0 && !globals->debug && settings_true(&globals->settings, "debug")) {
		globals->debug = true;
		log_open(globals->log_fd, a->json, LOG_LEVEL_DEBUG);
	}
	return ret;
}

/* An ordinary user's is where systemd has made that user a folder. */
static char *usual_root(void)
{
	cleanup_free char *folder = user_is_root() ? NULL : user_runtime_dir();

	return user_is_root() ? strdup(DEFAULT_ROOT)
	       : folder	      ? format("%s/bulkhead", folder)
			      : NULL;
}

/* The folder is made with the first container. The VMM gets its path, and works elsewhere. */
static int name_root(struct globals *globals, const char *root, struct error *err)
{
	cleanup_free char *here = NULL;

	if (root && !*root)
		return error_say(err, EINVAL, "--root: the path is empty");
	if (root && *root != '/') {
		here = getcwd(NULL, 0);
		if (!here)
			return error_set(err, errno, "the working directory");
	}
	globals->root = here ? format("%s/%s", here, root) : root ? strdup(root) : usual_root();
	return globals->root ? 0 : error_set(err, ENOMEM, "--root");
}

static int run_command(struct globals *globals, const struct arguments *a, int argc, char **argv,
		       struct error *err)
{
	const char *name = argv[0];
	char title[64];
	int ret;

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(name, commands[i].name) != 0)
			continue;
		ret = name_root(globals, a->root, err);
		if (ret < 0)
			return ret;
		delegate_remember(globals, argc, argv);
		snprintf(title, sizeof(title), "bulkhead %s", name);
		argv[0] = title;
		return commands[i].run(globals, argc, argv, err);
	}
	return error_say(err, EINVAL, "unknown command \"%s\": see bulkhead --help", name);
}

/* A descriptor among the first three that is closed would be taken by the next file opened. */
static void open_standard_streams(void)
{
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) < 0)
			_exit(1);
}

int main(int argc, char **argv)
{
	struct globals globals = {.log_fd = STDERR_FILENO, .started_ns = monotonic_ns()};
	/* An ordinary user may make no control group. */
	struct arguments a = {.manager = user_is_root() ? CGROUP_FS : CGROUP_DISABLED};
	static struct error err;
	char title[] = "bulkhead";
	int ret, at;

	open_standard_streams();
	argv[0] = title;
	at = ret = options_parse(&command_line, argc, argv, take, &a, &err);
	if (ret >= 0) {
		/* The log first: it is told about settings that are wrong. */
		ret = open_log(&globals, &a, &err);
		if (ret == 0)
			ret = load_settings(&globals, &a, &err);
	}
	if (ret == 0)
		ret = run_command(&globals, &a, argc - at, argv + at, &err);
	if (ret < 0) {
		if (!err.code)
			error_set(&err, -ret, "bulkhead");
		command_report(&globals, &err);
		ret = 1;
	}
	free(globals.root);
	settings_destroy(&globals.settings);
	return ret;
}
