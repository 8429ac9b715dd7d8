#include "runtime/vmm_process.h"
#include "runtime/file.h"

#include "common/cleanup.h"

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGV_MAX 64
#define FDS_MAX	 16

static char *find_file(const char *variable, const char *beside, const char *installed)
{
	const char *override = getenv(variable);
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *path;

	if (override && *override)
		return access(override, R_OK) == 0 ? realpath(override, NULL) : NULL;
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

void vmm_find_files(struct vmm_files *files)
{
	files->vmm = find_file("BULKHEAD_VMM", "bulkhead-vmm", "bulkhead-vmm");
	files->kernel = find_file("BULKHEAD_KERNEL", "guest/vmlinux", "vmlinux");
	files->initramfs = find_file("BULKHEAD_INITRAMFS", "guest/initramfs.cpio",
				     "initramfs.cpio");
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

static void push_disk(struct command_line *line, int fd, const char *rest)
{
	if (fd < 0)
		return;
	push(line, strdup("--disk"));
	push(line, format("fd=%d%s", fd, rest));
	inherit(line, fd);
}

static void build_command_line(struct command_line *line, const struct vmm_files *files,
			       const struct vmm_options *options)
{
	push(line, strdup(files->vmm));
	push_option(line, "--id", options->id);
	push_option(line, "--kernel", files->kernel);
	push_option(line, "--initramfs", files->initramfs);
	push_number(line, "--memory", options->size->memory_mib);
	push_number(line, "--cpus", options->size->vcpus);
	push_disk(line, options->images->lower_fd, ",ro,serial=lower0");
	push_disk(line, options->images->scratch_fd, ",serial=scratch");
	if (options->size->agent_timeout_ms)
		push_number(line, "--agent-timeout", options->size->agent_timeout_ms);
	push_fd(line, "--vsock-fd", options->vsock_fd);
	push_fd(line, "--control-fd", options->control_fd);
	push_fd(line, "--parent-fd", options->parent_fd);
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

/* Between fork and exec: whatever fails is told through status_fd as an errno. */
static void __attribute__((noreturn))
child(const struct command_line *line, int tty_fd, int status_fd)
{
	/* An empty environment: the engine's may hold secrets. */
	char *environment[] = {NULL};
	ssize_t ignored __attribute__((unused));
	int code;

	reset_signals();
	if (enter_session(tty_fd) < 0 || chdir("/") < 0 ||
	    close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
		goto failed;
	for (int i = 0; i < line->fd_count; i++)
		if (fcntl(line->fds[i], F_SETFD, 0) < 0)
			goto failed;
	execve(line->argv[0], line->argv, environment);
failed:
	code = errno;
	ignored = write(status_fd, &code, sizeof(code));
	_exit(127);
}

static pid_t spawn(const struct command_line *line, int tty_fd, struct error *err)
{
	cleanup_fd int status_fd = -1;
	int ends[2], code = 0;
	ssize_t n;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_set(err, errno, "start %s", line->argv[0]);
	status_fd = ends[0];
	pid = fork();
	if (pid == 0)
		child(line, tty_fd, ends[1]);
	close(ends[1]);
	if (pid < 0)
		return error_set(err, errno, "start %s", line->argv[0]);
	do
		n = read(status_fd, &code, sizeof(code));
	while (n < 0 && errno == EINTR);
	if (n == 0)
		return pid;
	waitpid(pid, NULL, 0);
	return error_set(err, n == sizeof(code) ? code : EIO, "start %s", line->argv[0]);
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
	return 0;
}

pid_t vmm_start(const struct vmm_files *files, const struct vmm_options *options, struct error *err)
{
	struct command_line line = {0};
	pid_t pid;

	build_command_line(&line, files, options);
	pid = line.failed ? error_set(err, ENOMEM, "start the VMM")
			  : spawn(&line, options->tty_fd, err);
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
