#include "vmm/options.h"

#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/jail.h"

#define MIB_MAX (1ul << 24)

enum option_key {
	KEY_ID = 256,
	KEY_KERNEL,
	KEY_INITRAMFS,
	KEY_MEMORY,
	KEY_MEMORY_MAX,
	KEY_CPUS,
	KEY_DISK,
	KEY_NIC,
	KEY_FS,
	KEY_IO_THREADS,
	KEY_VSOCK_FD,
	KEY_CONTROL_FD,
	KEY_PARENT_FD,
	KEY_HOLD_FD,
	KEY_ROOT_FD,
	KEY_STDIO,
	KEY_OOM_FD,
	KEY_LOG_FD,
	KEY_LOG_FORMAT,
	KEY_DEBUG,
	KEY_CMDLINE,
	KEY_AGENT_TIMEOUT,
	KEY_RELAX,
	KEY_TEMPLATE,
	KEY_SAVE_TEMPLATE,
	KEY_RESTORE,
	KEY_PROBE,
	KEY_SYSCALLS,
};

static const struct argp_option option_list[] = {
	{"id", KEY_ID, "ID", 0, "Name of the container, for messages", 0},
	{"kernel", KEY_KERNEL, "PATH", 0, "Uncompressed vmlinux (ELF, x86-64)", 0},
	{"initramfs", KEY_INITRAMFS, "PATH", 0, "cpio archive with the agent as /init", 0},
	{"memory", KEY_MEMORY, "MIB", 0, "Guest memory", 0},
	{"memory-max", KEY_MEMORY_MAX, "MIB", 0, "What it can grow to while the guest runs", 0},
	{"cpus", KEY_CPUS, "N", 0, "Virtual CPUs", 0},
	{"disk", KEY_DISK, "fd=N[:N...]|empty[,ro][,direct][,serial=TEXT]", 0,
	 "A disk, of one file or several that follow each other; vda, vdb, ... in this order; direct: "
	 "past the page cache",
	 0},
	{"nic", KEY_NIC, "tap|stream", 0, "A NIC without a link; what it is to be attached to", 0},
	{"fs", KEY_FS, "fd=N[,log=N][,activity=N][,inflight]|empty", 0,
	 "vhost-user socket of what serves the shares, what it says, an eventfd to be told that it has "
	 "worked; empty: for a template",
	 0},
	{"io-threads", KEY_IO_THREADS, "own|shared", 0,
	 "Whether each disk and each NIC has a thread, or all of them one (shared)", 0},
	{"vsock-fd", KEY_VSOCK_FD, "N", 0, "Listening Unix socket for CONNECT <port>", 0},
	{"control-fd", KEY_CONTROL_FD, "N", 0, "Listening Unix socket of the control protocol", 0},
	{"parent-fd", KEY_PARENT_FD, "N", 0, "The first control client, connected", 0},
	{"hold-fd", KEY_HOLD_FD, "N", 0,
	 "A socket to send the VM to: it is taken down when the other end has gone too", 0},
	{"root-fd", KEY_ROOT_FD, "N", 0,
	 "A mount that is the root of the VMM's mount namespace, out of its own reach", 0},
	{"stdio", KEY_STDIO, "A,B,C", 0, "Streams of process 0 (default 0,1,2)", 0},
	{"oom-fd", KEY_OOM_FD, "N", 0, "A file that is written to when the guest kills for memory",
	 0},
	{"log-fd", KEY_LOG_FD, "N", 0, "Where the log goes (default: stderr)", 0},
	{"log-format", KEY_LOG_FORMAT, "text|json", 0, "Format of the log", 0},
	{"debug", KEY_DEBUG, NULL, 0, "Log more", 0},
	{"cmdline", KEY_CMDLINE, "TEXT", 0, "Appended to the kernel's command line", 0},
	{"agent-timeout", KEY_AGENT_TIMEOUT, "MS", 0, "From start to the agent's HELLO (30000)", 0},
	{"relax", KEY_RELAX, "LAYER,...", 0,
	 "Leaves layers of the jail out, to debug: namespaces, user, limits, dumpable, landlock, "
	 "seccomp",
	 0},
	{"template", KEY_TEMPLATE, "state=N,memory=N[,pages=N][,boot=MIB][,room=MIB]", 0,
	 "Starts from this saved machine, if it fits; else boots", 0},
	{"save-template", KEY_SAVE_TEMPLATE, "state=N,memory=N", 0,
	 "Boots, saves the machine when its agent waits for work, and ends", 0},
	{"restore", KEY_RESTORE, "state=N,memory=N[,boot=MIB][,room=MIB][,grown=MIB]", 0,
	 "Goes on from this snapshot of a running container, or fails", 0},
	{"syscalls", KEY_SYSCALLS, NULL, 0, "Only print the system calls that the filters know", 0},
	{"probe", KEY_PROBE, NULL, 0, "Only find out whether KVM here can run a guest kernel", 0},
	{0},
};

static unsigned long parse_number(struct argp_state *state, const char *what, const char *text,
				  unsigned long min, unsigned long max)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || value < min || value > max) {
		argp_failure(state, 2, 0, "%s: \"%s\" is not a number from %lu to %lu", what, text,
			     min, max);
		exit(2);
	}
	return value;
}

static int parse_fd(struct argp_state *state, const char *what, const char *text)
{
	struct vmm_options *options = state->input;
	int fd = (int)parse_number(state, what, text, 0, 1 << 20);

	if (fcntl(fd, F_GETFD) < 0)
		argp_failure(state, 2, errno, "%s %d", what, fd);
	if (options->fd_count == VMM_FDS_MAX)
		argp_failure(state, 2, 0, "%s %d: more than %d descriptors", what, fd, VMM_FDS_MAX);
	options->fds[options->fd_count++] = fd;
	return fd;
}

static void parse_relax(struct argp_state *state, struct vmm_options *options, const char *text)
{
	int layers = jail_parse_layers(text);

	if (layers < 0)
		argp_failure(state, 2, 0, "--relax: no such layer of the jail in \"%s\"", text);
	options->relaxed |= (unsigned int)layers;
}

static void parse_files(struct argp_state *state, struct vmm_disk *disk, char *text)
{
	char *item = strsep(&text, ":");

	disk->fd = parse_fd(state, "--disk fd", item);
	if (!text)
		return;
	/* As long as the process; a descriptor takes two characters at least. */
	disk->more_fds = calloc(strlen(text) / 2 + 1, sizeof(int));
	if (!disk->more_fds)
		argp_failure(state, 2, ENOMEM, "--disk");
	while (disk->more_fds && (item = strsep(&text, ":")) != NULL)
		disk->more_fds[disk->more_count++] = parse_fd(state, "--disk fd", item);
}

static void parse_disk(struct argp_state *state, struct vmm_options *options, char *text)
{
	struct vmm_disk *disk = &options->disks[options->disk_count];
	bool empty = false;
	char *item;

	if (options->disk_count == VMM_DISKS_MAX) {
		argp_failure(state, 2, 0, "--disk: at most %d disks", VMM_DISKS_MAX);
		return;
	}
	disk->fd = -1;
	while ((item = strsep(&text, ",")) != NULL) {
		if (strncmp(item, "fd=", 3) == 0)
			parse_files(state, disk, item + 3);
		else if (strcmp(item, "empty") == 0)
			empty = true;
		else if (strcmp(item, "ro") == 0)
			disk->read_only = true;
		else if (strcmp(item, "direct") == 0)
			disk->direct = true;
		else if (strncmp(item, "serial=", 7) == 0 && strlen(item + 7) <= BLK_SERIAL_LEN)
			strcpy(disk->serial, item + 7);
		else
			argp_failure(state, 2, 0, "--disk: cannot use \"%s\"", item);
	}
	if ((disk->fd < 0) != empty)
		argp_failure(state, 2, 0, "--disk: either fd=N or empty is needed");
	options->disk_count++;
}

static void parse_template(struct argp_state *state, const char *what,
			   struct vmm_template *template, char *text)
{
	char *item;

	while ((item = strsep(&text, ",")) != NULL) {
		if (strncmp(item, "state=", 6) == 0)
			template->state_fd = parse_fd(state, what, item + 6);
		else if (strncmp(item, "memory=", 7) == 0)
			template->memory_fd = parse_fd(state, what, item + 7);
		else if (strncmp(item, "pages=", 6) == 0)
			template->pages_fd = parse_fd(state, what, item + 6);
		else if (strncmp(item, "boot=", 5) == 0)
			template->boot_mib = parse_number(state, what, item + 5, 1, MIB_MAX);
		else if (strncmp(item, "room=", 5) == 0)
			template->room_mib = parse_number(state, what, item + 5, 0, MIB_MAX);
		else if (strncmp(item, "grown=", 6) == 0)
			template->grown_mib = parse_number(state, what, item + 6, 0, MIB_MAX);
		else
			argp_failure(state, 2, 0, "%s: cannot use \"%s\"", what, item);
	}
	if (template->state_fd < 0 || template->memory_fd < 0)
		argp_failure(state, 2, 0, "%s: state=N and memory=N are needed", what);
}

static void parse_nic(struct argp_state *state, struct vmm_options *options, const char *text)
{
	bool stream = strcmp(text, "stream") == 0;

	if (!stream && strcmp(text, "tap") != 0)
		argp_failure(state, 2, 0, "--nic: \"%s\" is neither tap nor stream", text);
	else if (options->nic_count == VMM_NICS_MAX)
		argp_failure(state, 2, 0, "--nic: at most %d NICs", VMM_NICS_MAX);
	else
		options->nic_stream[options->nic_count++] = stream;
}

static void parse_fs(struct argp_state *state, struct vmm_options *options, char *text)
{
	char *item;

	while ((item = strsep(&text, ",")) != NULL) {
		if (strncmp(item, "fd=", 3) == 0)
			options->fs_fd = parse_fd(state, "--fs fd", item + 3);
		else if (strncmp(item, "log=", 4) == 0)
			options->fs_log_fd = parse_fd(state, "--fs log", item + 4);
		else if (strncmp(item, "activity=", 9) == 0)
			options->fs_activity_fd = parse_fd(state, "--fs activity", item + 9);
		else if (strcmp(item, "inflight") == 0)
			options->fs_records_inflight = true;
		else if (strcmp(item, "empty") == 0)
			options->fs_empty = true;
		else
			argp_failure(state, 2, 0, "--fs: cannot use \"%s\"", item);
	}
	if ((options->fs_fd < 0) != options->fs_empty)
		argp_failure(state, 2, 0, "--fs: either fd=N or empty is needed");
}

static void parse_stdio(struct argp_state *state, struct vmm_options *options, char *text)
{
	for (int i = 0; i < 3; i++) {
		char *item = strsep(&text, ",");

		if (!item || (i == 2 && text)) {
			argp_failure(state, 2, 0, "--stdio: three descriptors are needed");
			return;
		}
		options->stdio[i] = parse_fd(state, "--stdio", item);
	}
}

/* Without a word about it, what was saved is as large as what would be booted. */
static void complete_template(const struct vmm_options *options, struct vmm_template *template)
{
	if (template->boot_mib)
		return;
	template->boot_mib = options->memory_mib;
	if (options->memory_max_mib > options->memory_mib)
		template->room_mib = options->memory_max_mib - options->memory_mib;
}

static void check_memory(struct argp_state *state, struct vmm_options *options)
{
	struct vmm_template *load = &options->load;
	unsigned long more;

	complete_template(options, load);
	more = options->restore ? load->grown_mib : options->memory_mib - load->boot_mib;
	if (load->boot_mib > options->memory_mib || more > load->room_mib)
		argp_failure(state, 2, 0,
			     "--memory: %lu MiB cannot be had from %lu and room for %lu",
			     options->memory_mib, load->boot_mib, load->room_mib);
}

static void check_required(struct argp_state *state, const struct vmm_options *options)
{
	const char *missing = NULL;

	if (options->probe || options->list_calls)
		return;
	if (!options->id)
		missing = "--id";
	else if (!options->kernel)
		missing = "--kernel";
	else if (!options->memory_mib)
		missing = "--memory";
	else if (!options->cpus)
		missing = "--cpus";
	if (missing)
		argp_failure(state, 2, 0, "%s is missing", missing);
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct vmm_options *options = state->input;

	switch (key) {
	case KEY_ID:
		options->id = arg;
		return 0;
	case KEY_KERNEL:
		options->kernel = arg;
		return 0;
	case KEY_INITRAMFS:
		options->initramfs = arg;
		return 0;
	case KEY_MEMORY:
		options->memory_mib = parse_number(state, "--memory", arg, 1, MIB_MAX);
		return 0;
	case KEY_MEMORY_MAX:
		options->memory_max_mib = parse_number(state, "--memory-max", arg, 1, MIB_MAX);
		return 0;
	case KEY_CPUS:
		options->cpus = (unsigned int)parse_number(state, "--cpus", arg, 1, VMM_CPUS_MAX);
		return 0;
	case KEY_DISK:
		parse_disk(state, options, arg);
		return 0;
	case KEY_NIC:
		parse_nic(state, options, arg);
		return 0;
	case KEY_FS:
		parse_fs(state, options, arg);
		return 0;
	case KEY_IO_THREADS:
		options->own_io_threads = strcmp(arg, "own") == 0;
		if (!options->own_io_threads && strcmp(arg, "shared") != 0)
			argp_failure(state, 2, 0, "--io-threads: \"%s\" is neither own nor shared",
				     arg);
		return 0;
	case KEY_VSOCK_FD:
		options->vsock_fd = parse_fd(state, "--vsock-fd", arg);
		return 0;
	case KEY_CONTROL_FD:
		options->control_fd = parse_fd(state, "--control-fd", arg);
		return 0;
	case KEY_PARENT_FD:
		options->parent_fd = parse_fd(state, "--parent-fd", arg);
		return 0;
	case KEY_HOLD_FD:
		options->hold_fd = parse_fd(state, "--hold-fd", arg);
		return 0;
	case KEY_ROOT_FD:
		options->root_fd = parse_fd(state, "--root-fd", arg);
		return 0;
	case KEY_STDIO:
		parse_stdio(state, options, arg);
		return 0;
	case KEY_OOM_FD:
		options->oom_fd = parse_fd(state, "--oom-fd", arg);
		return 0;
	case KEY_LOG_FD:
		options->log_fd = parse_fd(state, "--log-fd", arg);
		return 0;
	case KEY_LOG_FORMAT:
		options->log_json = strcmp(arg, "json") == 0;
		if (!options->log_json && strcmp(arg, "text") != 0)
			argp_failure(state, 2, 0, "--log-format: \"%s\" is neither text nor json",
				     arg);
		return 0;
	case KEY_DEBUG:
		options->debug = true;
		return 0;
	case KEY_CMDLINE:
		options->cmdline = arg;
		return 0;
	case KEY_AGENT_TIMEOUT:
		options->agent_timeout_ms = parse_number(state, "--agent-timeout", arg, 1,
							 24ul * 3600 * 1000);
		return 0;
	case KEY_RELAX:
		parse_relax(state, options, arg);
		return 0;
	case KEY_TEMPLATE:
		parse_template(state, "--template", &options->load, arg);
		return 0;
	case KEY_SAVE_TEMPLATE:
		parse_template(state, "--save-template", &options->save, arg);
		return 0;
	case KEY_RESTORE:
		parse_template(state, "--restore", &options->load, arg);
		options->restore = true;
		return 0;
	case KEY_PROBE:
		options->probe = true;
		return 0;
	case KEY_SYSCALLS:
		options->list_calls = true;
		return 0;
	case ARGP_KEY_ARG:
		argp_failure(state, 2, 0, "unexpected argument \"%s\"", arg);
		return 0;
	case ARGP_KEY_SUCCESS:
		check_required(state, options);
		check_memory(state, options);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

void options_parse(struct vmm_options *options, int argc, char **argv)
{
	static const struct argp argp = {
		.options = option_list,
		.parser = parse_option,
		.doc = "Runs one container in a VM of its own.",
	};

	*options = (struct vmm_options){
		.vsock_fd = -1,
		.fs_fd = -1,
		.fs_log_fd = -1,
		.fs_activity_fd = -1,
		.control_fd = -1,
		.parent_fd = -1,
		.hold_fd = -1,
		.root_fd = -1,
		.stdio = {0, 1, 2},
		.oom_fd = -1,
		.log_fd = -1,
		.agent_timeout_ms = 30000,
		.load = {.state_fd = -1, .memory_fd = -1, .pages_fd = -1},
		.save = {.state_fd = -1, .memory_fd = -1, .pages_fd = -1},
	};
	argp_err_exit_status = 2;
	if (argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, options))
		exit(2);
}
