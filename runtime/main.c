/* bulkhead: the OCI command line. Global options, the command table, and how errors are told. */
#include "runtime/command.h"
#include "runtime/file.h"

#include "common/cleanup.h"
#include "common/log.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_ROOT "/run/bulkhead"

static const struct {
	const char *name;
	command_fn *run;
	bool needs_root;
} commands[] = {
	{"check", cmd_check, false},  {"create", cmd_create, true},
	{"delete", cmd_delete, true}, {"features", cmd_features, false},
	{"kill", cmd_kill, true},     {"list", cmd_list, true},
	{"run", cmd_run, true},	      {"spec", cmd_spec, false},
	{"start", cmd_start, true},   {"state", cmd_state, true},
};

static const char doc[] = "Runs OCI containers, each in a virtual machine of its own."
			  "\vCommands:\n"
			  "  create ID     make a container from a bundle, and its VM\n"
			  "  start ID      start the workload of a created container\n"
			  "  run ID        create, start, wait and delete\n"
			  "  state ID      print the state as JSON\n"
			  "  kill ID [SIG] send a signal to the workload\n"
			  "  delete ID     remove a stopped container\n"
			  "  list          list the containers\n"
			  "  spec          write a config.json to begin with\n"
			  "  features      print what is supported, as JSON\n"
			  "  check         say whether this machine can run containers\n\n"
			  "`bulkhead COMMAND --help' has the options of a command.";

enum { OPT_LOG = 256, OPT_LOG_FORMAT, OPT_DEBUG, OPT_SYSTEMD, OPT_MANAGER, OPT_ROOTLESS, OPT_ROOT };

static const struct argp_option options[] = {
	{"root", OPT_ROOT, "DIR", 0, "Where states are kept (" DEFAULT_ROOT ")", 0},
	{"log", OPT_LOG, "FILE", 0, "Append the log to FILE instead of stderr", 0},
	{"log-format", OPT_LOG_FORMAT, "FORMAT", 0, "text or json", 0},
	{"debug", OPT_DEBUG, NULL, 0, "Log more, start-up times among it", 0},
	{"version", 'v', NULL, 0, "Print the version", 0},
	{"systemd-cgroup", OPT_SYSTEMD, NULL, 0, "Accepted for runc's sake", 1},
	{"cgroup-manager", OPT_MANAGER, "NAME", 0, "cgroupfs, systemd or disabled", 1},
	{"rootless", OPT_ROOTLESS, "WHEN", 0, "true, false or auto: accepted for runc's sake", 1},
	{0},
};

struct arguments {
	const char *root, *log;
	bool json, debug;
	int command; /* index into argv */
};

static void print_version(void)
{
	printf("bulkhead version %s\nspec: %s\n", BULKHEAD_VERSION, OCI_VERSION);
	exit(0);
}

static bool one_of(const char *word, const char *const *words)
{
	for (; *words; words++)
		if (!strcmp(word, *words))
			return true;
	return false;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	static const char *const managers[] = {"cgroupfs", "systemd", "disabled", NULL};
	static const char *const whens[] = {"true", "false", "auto", NULL};
	struct arguments *a = state->input;

	switch (key) {
	case OPT_ROOT:
		a->root = arg;
		return 0;
	case OPT_LOG:
		a->log = arg;
		return 0;
	case OPT_LOG_FORMAT:
		a->json = !strcmp(arg, "json");
		if (!a->json && strcmp(arg, "text") != 0)
			argp_error(state, "unknown log-format \"%s\"", arg);
		return 0;
	case OPT_DEBUG:
		a->debug = true;
		return 0;
	case OPT_SYSTEMD:
		return 0;
	case OPT_MANAGER:
		if (!one_of(arg, managers))
			argp_error(state, "unknown cgroup manager \"%s\"", arg);
		return 0;
	case OPT_ROOTLESS:
		if (!one_of(arg, whens))
			argp_error(state, "--rootless: \"%s\" is not true, false or auto", arg);
		return 0;
	case 'v':
		print_version();
		return 0;
	case ARGP_KEY_ARG:
		/* What follows belongs to the command. */
		a->command = state->next - 1;
		state->next = state->argc;
		return 0;
	case ARGP_KEY_END:
		if (a->command == 0)
			argp_error(state, "which command?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

error_t command_take_id(const char **id, int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case ARGP_KEY_ARG:
		if (*id)
			argp_error(state, "too many arguments: \"%s\"", arg);
		*id = arg;
		return 0;
	case ARGP_KEY_END:
		if (!*id)
			argp_error(state, "the container's id is missing");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

uint64_t monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
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
	if (a->log) {
		int fd = open(a->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

		if (fd < 0)
			return error_set(err, errno, "open log %s", a->log);
		globals->log_fd = fd;
	}
	log_open(globals->log_fd, a->json, a->debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	return 0;
}

static int open_root(struct globals *globals, const char *root, struct error *err)
{
	int ret = make_directories(root, 0700, err);

	if (ret < 0)
		return ret;
	globals->root = realpath(root, NULL);
	if (!globals->root)
		return error_set(err, errno, "%s", root);
	return 0;
}

static int run_command(struct globals *globals, const struct arguments *a, int argc, char **argv,
		       struct error *err)
{
	char *name = argv[a->command];
	char title[64];
	int ret;

	ret = open_log(globals, a, err);
	if (ret < 0)
		return ret;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(name, commands[i].name) != 0)
			continue;
		if (commands[i].needs_root) {
			ret = open_root(globals, a->root, err);
			if (ret < 0)
				return ret;
		}
		snprintf(title, sizeof(title), "bulkhead %s", name);
		argv[a->command] = title;
		return commands[i].run(globals, argc - a->command, argv + a->command, err);
	}
	return error_say(err, EINVAL, "unknown command \"%s\"", name);
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
	static const struct argp argp = {options, parse, "COMMAND [ARGUMENT...]", doc, NULL,
					 NULL,	  NULL};
	struct globals globals = {.log_fd = STDERR_FILENO, .started_ns = monotonic_ns()};
	struct arguments a = {.root = DEFAULT_ROOT};
	static struct error err;
	int ret;

	open_standard_streams();
	argp_err_exit_status = 1;
	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &a);
	ret = run_command(&globals, &a, argc, argv, &err);
	if (ret < 0) {
		if (!err.code)
			error_set(&err, -ret, "bulkhead %s", argv[a.command]);
		command_report(&globals, &err);
		ret = 1;
	}
	free(globals.root);
	return ret;
}
