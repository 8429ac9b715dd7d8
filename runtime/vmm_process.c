#include "runtime/vmm_process.h"
#include "runtime/file.h"
#include "runtime/root_keeper.h"

#include "common/cleanup.h"
#include "common/kvm.h"

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGV_MAX 96
#define FDS_MAX	 (IMAGES_LAYERS_MAX + 16)

static char *find_file(const char *variable, const char *set, const char *beside,
		       const char *installed)
{
	const char *override = getenv(variable);
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *path;

	if (override && *override)
		return access(override, R_OK) == 0 ? realpath(override, NULL) : NULL;
	if (set)
		return strdup(set);
	if (len < 0)
		return NULL;
	self[len] = '\0';
	*strrchr(self, '/') = '\0';
	for (int i = 0; i < 3; i++) {
		path = i == 0 ? format("%s/%s", self, beside)
			      : format("%s/../%s/bulkhead/%s", self, i == 1 ? "libexec" : "lib",
				       installed);
		if (path && access(path, R_OK) == 0)
			return path;
		free(path);
	}
	return NULL;
}

void vmm_find_files(struct vmm_files *files, const struct settings *settings)
{
	files->vmm = find_file("BULKHEAD_VMM", settings_text(settings, "vmm"), "bulkhead-vmm",
			       "bulkhead-vmm");
	files->kernel = find_file("BULKHEAD_KERNEL", settings_text(settings, "kernel"),
				  "guest/vmlinux", "vmlinux");
	files->initramfs = find_file("BULKHEAD_INITRAMFS", settings_text(settings, "initramfs"),
				     "guest/initramfs.cpio", "initramfs.cpio");
}

char *vmm_find_program(const char *name)
{
	return find_file("BULKHEAD_UNPACK", NULL, name, name);
}

void vmm_files_destroy(struct vmm_files *files)
{
	free(files->vmm);
	free(files->kernel);
	free(files->initramfs);
}

/* The command line under construction, and the descriptors it names. */
struct command_line {
	char *argv[ARGV_MAX];
	int argc;
	int fds[FDS_MAX];
	int fd_count;
	bool failed;
};

static void push(struct command_line *line, char *text)
{
	if (!text || line->argc + 1 >= ARGV_MAX) {
		free(text);
		line->failed = true;
		return;
	}
	line->argv[line->argc++] = text;
}

static void push_option(struct command_line *line, const char *name, const char *value)
{
	push(line, strdup(name));
	if (value)
		push(line, strdup(value));
}

static void push_number(struct command_line *line, const char *name, uint32_t value)
{
	push(line, strdup(name));
	push(line, format("%u", value));
}

static void inherit(struct command_line *line, int fd)
{
	if (fd > STDERR_FILENO && line->fd_count < FDS_MAX)
		line->fds[line->fd_count++] = fd;
}

static void push_fd(struct command_line *line, const char *name, int fd)
{
	push(line, strdup(name));
	push(line, format("%d", fd));
	inherit(line, fd);
}

/* All layers are one disk: its files follow each other. */
static void push_layers(struct command_line *line, const struct images *images)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out) {
		line->failed = true;
		return;
	}
	for (size_t i = 0; i < images->count; i++) {
		fprintf(out, "%s%d", i ? ":" : "fd=", images->layers[i].layer.fd);
		inherit(line, images->layers[i].layer.fd);
	}
	fputs(",ro,serial=layers", out);
	push(line, strdup("--disk"));
	push(line, fclose(out) == 0 ? text : NULL);
}

static const char *how(bool direct)
{
	return direct ? ",direct" : "";
}

static void push_scratch(struct command_line *line, int fd, bool direct)
{
	if (fd < 0)
		return;
	push(line, strdup("--disk"));
	push(line, format("fd=%d%s,serial=scratch", fd, how(direct)));
	inherit(line, fd);
}

/* Behind the VM's own. */
static void push_disks(struct command_line *line, const struct disks *disks, bool direct)
{
	for (size_t i = 0; i < disks->count; i++) {
		push(line, strdup("--disk"));
		push(line, format("fd=%d%s%s,serial=device%zu", disks->disks[i].fd,
				  disks->disks[i].readonly ? ",ro" : "", how(direct), i));
		inherit(line, disks->disks[i].fd);
	}
}

static void push_template(struct command_line *line, const struct vmm_options *options)
{
	cleanup_free char *pages = options->pages_fd < 0 ? strdup("")
							 : format(",pages=%d", options->pages_fd);
	const struct vm_size *size = options->size;

	push(line, strdup(options->restore ? "--restore" : "--template"));
	push(line, pages ? format("state=%d,memory=%d%s,boot=%u,room=%u,grown=%u",
				  options->state_fd, options->memory_fd, pages, size->boot_mib,
				  size->room_mib, size->grown_mib)
			 : NULL);
	inherit(line, options->state_fd);
	inherit(line, options->memory_fd);
	inherit(line, options->pages_fd);
}

/* QEMU's virtiofsd keeps the record of requests in flight, but does not say so. */
static void push_shares(struct command_line *line, const struct shares *shares, int activity_fd)
{
	cleanup_free char *activity = activity_fd < 0 ? strdup("")
						      : format(",activity=%d", activity_fd);

	if (!shares->count)
		return;
	push(line, strdup("--fs"));
	push(line,
	     activity ? format("fd=%d,log=%d%s,inflight", shares->vmm_fd, shares->log_fd, activity)
		      : NULL);
	inherit(line, activity_fd);
	inherit(line, shares->vmm_fd);
	inherit(line, shares->log_fd);
}

static void build_command_line(struct command_line *line, const struct vmm_files *files,
			       const struct vmm_options *options)
{
	push(line, strdup(files->vmm));
	push_option(line, "--id", options->id);
	push_option(line, "--kernel", files->kernel);
	push_option(line, "--initramfs", files->initramfs);
	push_number(line, "--memory", options->size->memory_mib);
	if (options->size->memory_max_mib)
		push_number(line, "--memory-max", options->size->memory_max_mib);
	push_number(line, "--cpus", options->size->vcpus);
	push_layers(line, options->images);
	push_scratch(line, options->images->scratch_fd, options->direct_io);
	push_disks(line, options->disks, options->direct_io);
	for (unsigned int i = 0; i < options->nics; i++)
		push_option(line, "--nic", options->user_net ? "stream" : "tap");
	if (options->io_threads)
		push_option(line, "--io-threads", options->io_threads);
	push_shares(line, options->shares, options->activity_fd);
	if (options->size->agent_timeout_ms)
		push_number(line, "--agent-timeout", options->size->agent_timeout_ms);
	push_fd(line, "--vsock-fd", options->vsock_fd);
	push_fd(line, "--control-fd", options->control_fd);
	push_fd(line, "--parent-fd", options->parent_fd);
	if (options->root_fd >= 0)
		push_fd(line, "--root-fd", options->root_fd);
	if (options->hold_fd >= 0)
		push_fd(line, "--hold-fd", options->hold_fd);
	if (options->oom_fd >= 0)
		push_fd(line, "--oom-fd", options->oom_fd);
	push_option(line, "--stdio", "0,1,2");
	if (options->log_fd > STDERR_FILENO)
		push_fd(line, "--log-fd", options->log_fd);
	if (options->log_json)
		push_option(line, "--log-format", "json");
	if (options->debug)
		push_option(line, "--debug", NULL);
	if (options->cmdline)
		push_option(line, "--cmdline", options->cmdline);
	if (options->relax)
		push_option(line, "--relax", options->relax);
	if (options->state_fd >= 0)
		push_template(line, options);
}

static void reset_signals(void)
{
	sigset_t none;

	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static int enter_session(int tty_fd)
{
	if (setsid() < 0)
		return -1;
	if (tty_fd < 0)
		return 0;
	/* Its controlling terminal: so a resize of the engine's side reaches it as SIGWINCH. */
	if (ioctl(tty_fd, TIOCSCTTY, 0) < 0)
		return -1;
	for (int fd = 0; fd < 3; fd++)
		if (dup2(tty_fd, fd) < 0)
			return -1;
	return 0;
}

/* What a child that could not become the VMM says. The step is a text that both have. */
struct failure {
	const char *step;
	int code;
};

struct birth {
	const struct command_line *line;
	struct placement *placement;
	const struct shares *shares;
	int root_fd, dir_fd, activity_fd;
	int tty_fd;
	int status_fd; /* takes a struct failure */
	int hold_fd;   /* gives a byte when the child may go on; -1: at once */
	int go_fd;     /* its other end, the parent's */
	bool in_cgroup;
};

static int wait_for_scope(const struct birth *birth)
{
	char byte;

	if (birth->hold_fd >= 0)
		close(birth->go_fd);
	return birth->hold_fd < 0 || read(birth->hold_fd, &byte, 1) == 1 ? 0 : -1;
}

/* Between fork and exec. */
static void __attribute__((noreturn)) child(const struct birth *birth)
{
	/* An empty environment: the engine's may hold secrets. */
	char *environment[] = {NULL};
	ssize_t ignored __attribute__((unused));
	struct failure failure = {0};

	reset_signals();
	if (wait_for_scope(birth) < 0)
		_exit(127);
	failure.code = -placement_enter(birth->placement, birth->in_cgroup, &failure.step);
	if (failure.code)
		goto failed;
	if (enter_session(birth->tty_fd) < 0 || chdir("/") < 0 ||
	    close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
		goto failed_errno;
	failure.code = -shares_start(birth->shares, &failure.step);
	if (failure.code)
		goto failed;
	failure.code = -root_keeper_start(birth->root_fd, birth->dir_fd, birth->activity_fd,
					  &failure.step);
	if (failure.code)
		goto failed;
	failure.step = NULL;
	for (int i = 0; i < birth->line->fd_count; i++)
		if (fcntl(birth->line->fds[i], F_SETFD, 0) < 0)
			goto failed_errno;
	execve(birth->line->argv[0], birth->line->argv, environment);
failed_errno:
	failure.code = errno;
failed:
	ignored = write(birth->status_fd, &failure, sizeof(failure));
	_exit(127);
}

/* Into the group from its first instruction on: moving a process later costs a grace period. */
static pid_t clone_into_group(int cgroup_fd)
{
	struct clone_args args = {
		.flags = CLONE_INTO_CGROUP,
		.exit_signal = SIGCHLD,
		.cgroup = (uint64_t)cgroup_fd,
	};

	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

static pid_t give_birth(struct birth *birth)
{
	int cgroup_fd = cgroup_clone_fd(&birth->placement->cgroup);
	pid_t pid;

	birth->in_cgroup = cgroup_fd >= 0;
	pid = birth->in_cgroup ? clone_into_group(cgroup_fd) : fork();
	/* Before Linux 5.7, or under an engine's seccomp filter. */
	if (pid < 0 && birth->in_cgroup && (errno == ENOSYS || errno == EINVAL || errno == EPERM)) {
		birth->in_cgroup = false;
		pid = fork();
	}
	if (pid == 0)
		child(birth);
	return pid;
}

static int read_failure(int fd, const char *path, struct error *err)
{
	struct failure failure = {0};
	ssize_t n;

	do
		n = read(fd, &failure, sizeof(failure));
	while (n < 0 && errno == EINTR);
	if (n == 0)
		return 0;
	if (n == sizeof(failure) && failure.step)
		return error_set(err, failure.code, "%s", failure.step);
	return error_set(err, n == sizeof(failure) ? failure.code : EIO, "start %s", path);
}

static pid_t spawn(struct birth *birth, const struct vmm_options *options, struct error *err)
{
	const char *path = birth->line->argv[0];
	bool scope = birth->placement->manager == CGROUP_SYSTEMD;
	cleanup_fd int status_fd = -1, go_fd = -1;
	int status[2], hold[2] = {-1, -1}, ret = 0;
	pid_t pid;

	if (pipe2(status, O_CLOEXEC) < 0)
		return error_set(err, errno, "start %s", path);
	status_fd = status[0];
	birth->status_fd = status[1];
	if (scope && pipe2(hold, O_CLOEXEC) < 0)
		ret = error_set(err, errno, "start %s", path);
	birth->hold_fd = hold[0];
	go_fd = birth->go_fd = hold[1];
	pid = ret == 0 ? give_birth(birth) : -1;
	if (pid < 0 && ret == 0)
		ret = error_set(err, errno, "start %s", path);
	close(status[1]);
	close_fd(&hold[0]);
	if (ret == 0 && scope)
		ret = cgroup_make_scope(&birth->placement->cgroup, options->config, options->id,
					pid, vm_size_host_memory(options->size), err);
	if (ret == 0 && scope && write(go_fd, "", 1) != 1)
		ret = error_set(err, errno, "start %s", path);
	/* Without its byte the child ends. */
	close_fd(&go_fd);
	if (ret == 0)
		ret = read_failure(status_fd, path, err);
	if (ret == 0)
		return pid;
	if (pid > 0)
		waitpid(pid, NULL, 0);
	return ret;
}

/* Tells about the first file that was not found. */
static int explain_missing(const char *what, const char *variable, struct error *err)
{
	const char *override = getenv(variable);

	if (override && *override)
		return error_set(err, access(override, R_OK) < 0 ? errno : EIO, "%s: %s=%s", what,
				 variable, override);
	return error_say(err, ENOENT,
			 "%s is missing: run make, or set %s; bulkhead check shows what is needed",
			 what, variable);
}

static int check_beginning(const char *path, const void *magic, size_t len, const char *problem,
			   struct error *err)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char bytes[8];
	ssize_t n;

	if (fd < 0)
		return error_set(err, errno, "open %s", path);
	n = read(fd, bytes, sizeof(bytes));
	if (n < 0)
		return error_set(err, errno, "read %s", path);
	if (n < (ssize_t)len || memcmp(bytes, magic, len) != 0)
		return error_say(err, ENOEXEC, "%s is not %s", path, problem);
	return 0;
}

int vmm_check_kernel(const char *path, struct error *err)
{
	return check_beginning(path, ELFMAG, SELFMAG, "an uncompressed kernel (an ELF vmlinux)",
			       err);
}

int vmm_check_initramfs(const char *path, struct error *err)
{
	return check_beginning(path, "070701", 6, "an uncompressed cpio archive (newc)", err);
}

int vmm_files_check(const struct vmm_files *files, struct error *err)
{
	if (!files->vmm)
		return explain_missing("bulkhead-vmm", "BULKHEAD_VMM", err);
	if (!files->kernel)
		return explain_missing("the guest's kernel", "BULKHEAD_KERNEL", err);
	if (!files->initramfs)
		return explain_missing("the guest's initramfs", "BULKHEAD_INITRAMFS", err);
	if (vmm_check_kernel(files->kernel, err) < 0 ||
	    vmm_check_initramfs(files->initramfs, err) < 0)
		return -ENOEXEC;
	/* Before anything else is refused to this user. What else is wrong with it the VMM says. */
	if (access("/dev/kvm", R_OK | W_OK) < 0 && errno == EACCES)
		return error_say(err, EACCES, KVM_NO_PERMISSION);
	return 0;
}

pid_t vmm_start(const struct vmm_files *files, const struct vmm_options *options, struct error *err)
{
	struct command_line line = {0};
	struct birth birth = {
		.line = &line,
		.placement = options->placement,
		.shares = options->shares,
		.root_fd = options->root_fd,
		.dir_fd = options->dir_fd,
		.activity_fd = options->activity_fd,
		.tty_fd = options->tty_fd,
		.hold_fd = -1,
	};
	pid_t pid;

	build_command_line(&line, files, options);
	pid = line.failed ? error_set(err, ENOMEM, "start the VMM") : spawn(&birth, options, err);
	for (int i = 0; i < line.argc; i++)
		free(line.argv[i]);
	return pid;
}

int vmm_probe(const char *vmm, struct error *err)
{
	char text[1024];
	size_t used;
	FILE *output;
	int status;
	/* Only an engineer's own path can hold a quote; none of those is worth a parser. */
	cleanup_free char *command = strchr(vmm, '\'') ? NULL : format("'%s' --probe 2>&1", vmm);

	output = command ? popen(command, "re") : NULL;
	if (!output)
		return error_say(err, EINVAL, "cannot run %s", vmm);
	used = fread(text, 1, sizeof(text) - 1, output);
	status = pclose(output);
	text[used] = '\0';
	text[strcspn(text, "\n")] = '\0';
	if (status == 0)
		return 0;
	return error_say(err, ENODEV, "%s", *text ? text : "bulkhead-vmm --probe failed");
}
