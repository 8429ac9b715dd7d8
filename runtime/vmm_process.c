#include "runtime/vmm_process.h"
#include "runtime/file.h"
#include "runtime/root_keeper.h"
#include "runtime/signals.h"
#include "runtime/vmm_line.h"

#include "common/cleanup.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* All layers are one disk: its files follow each other. */
static void push_layers(struct vmm_line *line, const struct images *images)
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
		vmm_line_inherit(line, images->layers[i].layer.fd);
	}
	fputs(",ro,serial=layers", out);
	vmm_line_value(line, "--disk", fclose(out) == 0 ? text : NULL);
}

static const char *how(bool direct)
{
	return direct ? ",direct" : "";
}

static void push_scratch(struct vmm_line *line, int fd, bool direct)
{
	if (fd < 0)
		return;
	vmm_line_value(line, "--disk", format("fd=%d%s,serial=scratch", fd, how(direct)));
	vmm_line_inherit(line, fd);
}

/* Behind the VM's own. */
static void push_disks(struct vmm_line *line, const struct disks *disks, bool direct)
{
	for (size_t i = 0; i < disks->count; i++) {
		vmm_line_value(line, "--disk",
			       format("fd=%d%s%s,serial=device%zu", disks->disks[i].fd,
				      disks->disks[i].readonly ? ",ro" : "", how(direct), i));
		vmm_line_inherit(line, disks->disks[i].fd);
	}
}

static void push_template(struct vmm_line *line, const struct vmm_options *options)
{
	cleanup_free char *pages = options->pages_fd < 0 ? strdup("")
							 : format(",pages=%d", options->pages_fd);
	const struct vm_size *size = options->size;

	vmm_line_value(line, options->restore ? "--restore" : "--template",
		       pages ? format("state=%d,memory=%d%s,boot=%u,room=%u,grown=%u",
				      options->state_fd, options->memory_fd, pages, size->boot_mib,
				      size->room_mib, size->grown_mib)
			     : NULL);
	vmm_line_inherit(line, options->state_fd);
	vmm_line_inherit(line, options->memory_fd);
	vmm_line_inherit(line, options->pages_fd);
}

/* QEMU's virtiofsd keeps the record of requests in flight, but does not say so. */
static void push_shares(struct vmm_line *line, const struct shares *shares, int activity_fd)
{
	cleanup_free char *activity = activity_fd < 0 ? strdup("")
						      : format(",activity=%d", activity_fd);

	if (!shares->count)
		return;
	vmm_line_value(line, "--fs",
		       activity ? format("fd=%d,log=%d%s,inflight", shares->vmm_fd, shares->log_fd,
					 activity)
				: NULL);
	vmm_line_inherit(line, activity_fd);
	vmm_line_inherit(line, shares->vmm_fd);
	vmm_line_inherit(line, shares->log_fd);
}

static void build_command_line(struct vmm_line *line, const struct vmm_files *files,
			       const struct vmm_options *options)
{
	vmm_line_begin(line, files, options->id);
	vmm_line_number(line, "--memory", options->size->memory_mib);
	if (options->size->memory_max_mib)
		vmm_line_number(line, "--memory-max", options->size->memory_max_mib);
	vmm_line_number(line, "--cpus", options->size->vcpus);
	push_layers(line, options->images);
	push_scratch(line, options->images->scratch_fd, options->direct_io);
	push_disks(line, options->disks, options->direct_io);
	for (unsigned int i = 0; i < options->nics; i++)
		vmm_line_text(line, "--nic", options->user_net ? "stream" : "tap");
	if (options->io_threads)
		vmm_line_text(line, "--io-threads", options->io_threads);
	push_shares(line, options->shares, options->activity_fd);
	if (options->size->agent_timeout_ms)
		vmm_line_number(line, "--agent-timeout", options->size->agent_timeout_ms);
	vmm_line_fd(line, "--vsock-fd", options->vsock_fd);
	vmm_line_fd(line, "--control-fd", options->control_fd);
	vmm_line_fd(line, "--parent-fd", options->parent_fd);
	if (options->root_fd >= 0)
		vmm_line_fd(line, "--root-fd", options->root_fd);
	if (options->hold_fd >= 0)
		vmm_line_fd(line, "--hold-fd", options->hold_fd);
	if (options->oom_fd >= 0)
		vmm_line_fd(line, "--oom-fd", options->oom_fd);
	vmm_line_text(line, "--stdio", "0,1,2");
	if (options->log_fd > STDERR_FILENO)
		vmm_line_fd(line, "--log-fd", options->log_fd);
	if (options->log_json)
		vmm_line_text(line, "--log-format", "json");
	if (options->debug)
		vmm_line_flag(line, "--debug");
	if (options->cmdline)
		vmm_line_text(line, "--cmdline", options->cmdline);
	if (options->relax)
		vmm_line_text(line, "--relax", options->relax);
	if (options->state_fd >= 0)
		push_template(line, options);
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
	const struct vmm_line *line;
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
	ssize_t ignored __attribute__((unused));
	struct failure failure = {0};

	signals_reset();
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
	failure.code = -vmm_line_exec(birth->line);
	goto failed;
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

pid_t vmm_start(const struct vmm_files *files, const struct vmm_options *options, struct error *err)
{
	cleanup_vmm_line struct vmm_line line = {0};
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

	build_command_line(&line, files, options);
	return line.failed ? error_set(err, ENOMEM, "start the VMM") : spawn(&birth, options, err);
}
