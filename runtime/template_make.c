/* Making a template: a VM is booted and saved, into a folder that gets its name when it is whole.
 */
#include "runtime/file.h"
#include "runtime/orphan.h"
#include "runtime/signals.h"
#include "runtime/store.h"
#include "runtime/template.h"
#include "runtime/vmm_line.h"

#include "common/cleanup.h"
#include "common/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RETRY_AFTER 3600 /* s after a failure */

/* --- the VMM that boots and saves --- */

static void build_line(struct vmm_line *line, const struct template_shape *shape, int state_fd,
		       int memory_fd)
{
	vmm_line_begin(line, shape->files, "template");
	vmm_line_number(line, "--memory", shape->size.boot_mib);
	vmm_line_number(line, "--memory-max", shape->size.boot_mib + shape->size.room_mib);
	vmm_line_number(line, "--cpus", shape->size.vcpus);
	for (unsigned int i = 0; i < shape->lowers; i++)
		vmm_line_text(line, "--disk", "empty,ro");
	if (shape->scratch)
		vmm_line_text(line, "--disk", "empty");
	for (unsigned int i = 0; i < shape->nics; i++)
		vmm_line_text(line, "--nic", shape->user_net ? "stream" : "tap");
	if (shape->shares)
		vmm_line_text(line, "--fs", "empty");
	if (shape->cmdline)
		vmm_line_text(line, "--cmdline", shape->cmdline);
	vmm_line_value(line, "--save-template", format("state=%d,memory=%d", state_fd, memory_fd));
	vmm_line_inherit(line, state_fd);
	vmm_line_inherit(line, memory_fd);
}

/* Between fork and exec. What the VMM says goes to output_fd. */
static void __attribute__((noreturn)) exec_maker(const struct vmm_line *line, int output_fd)
{
	int null_fd = open("/dev/null", O_RDWR);

	signals_reset();
	if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 || dup2(null_fd, STDOUT_FILENO) < 0 ||
	    dup2(output_fd, STDERR_FILENO) < 0 || close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
		_exit(127);
	vmm_line_exec(line);
	_exit(127);
}

/* Returns 0, or a negative errno with what the VMM said. */
static int run_maker(const struct vmm_line *line, struct error *err)
{
	char said[1024];
	size_t used = 0;
	int ends[2], status;
	ssize_t n;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_set(err, errno, "start %s", line->argv[0]);
	pid = fork();
	if (pid == 0)
		exec_maker(line, ends[1]);
	close(ends[1]);
	while (pid > 0 && used < sizeof(said) - 1 &&
	       (n = read(ends[0], said + used, sizeof(said) - 1 - used)) > 0)
		used += (size_t)n;
	close(ends[0]);
	if (pid < 0)
		return error_set(err, errno, "start %s", line->argv[0]);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return error_set(err, errno, "wait for %s", line->argv[0]);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	said[used] = '\0';
	said[strcspn(said, "\n")] = '\0';
	return error_say(err, EIO, "the VM could not be saved: %s", said);
}

static int boot_and_save(const struct template_shape *shape, int state_fd, int memory_fd,
			 struct error *err)
{
	cleanup_vmm_line struct vmm_line line = {0};

	build_line(&line, shape, state_fd, memory_fd);
	return line.failed ? error_set(err, ENOMEM, "template") : run_maker(&line, err);
}

/* --- the folder --- */

/*
 * NAME.new, locked: whoever holds the lock makes the template. What is found in an unlocked one was
 * left by somebody who did not get to the end.
 */
static int open_new(int parent_fd, const char *name, struct error *err)
{
	cleanup_fd int fd = -1;

	if (mkdirat(parent_fd, name, 0700) < 0 && errno != EEXIST)
		return error_set(err, errno, "mkdir %s/" TEMPLATES_DIR "/%s", store_path(), name);
	fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return error_set(err, errno, "open %s/" TEMPLATES_DIR "/%s", store_path(), name);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return error_say(err, EALREADY, "the template is being made already");
	return take_fd(&fd);
}

static int fill(int dir_fd, const struct template *template, const struct template_shape *shape,
		struct error *err)
{
	cleanup_fd int shape_fd = file_make(dir_fd, "shape", err);
	cleanup_fd int state_fd = file_make(dir_fd, "state", err);
	cleanup_fd int memory_fd = file_make(dir_fd, TEMPLATE_MEMORY, err);

	if (shape_fd < 0 || state_fd < 0 || memory_fd < 0)
		return err ? -err->code : -EIO;
	if (write_all(shape_fd, template->shape, strlen(template->shape)) < 0)
		return error_set(err, errno, "write the shape");
	return boot_and_save(shape, state_fd, memory_fd, err);
}

static void mark_failed(int dir_fd)
{
	int fd;

	unlinkat(dir_fd, "state", 0);
	unlinkat(dir_fd, TEMPLATE_MEMORY, 0);
	unlinkat(dir_fd, "failed", 0);
	fd = openat(dir_fd, "failed", O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0)
		close(fd);
}

static bool failed_lately(int parent_fd, const char *name)
{
	cleanup_free char *path = format("%s/failed", name);
	struct stat st;

	return path && fstatat(parent_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       time(NULL) - st.st_mtime < RETRY_AFTER;
}

/* Keeps the number of templates in bounds, with room for one more. */
static void remove_oldest(int parent_fd)
{
	cleanup_fd int fd = openat(parent_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	char oldest[NAME_MAX + 1] = "";
	const struct dirent *entry;
	struct timespec when = {0};
	unsigned int count = 0;

	if (!dir)
		return;
	take_fd(&fd);
	while ((entry = readdir(dir)) != NULL) {
		struct stat st;

		if (strlen(entry->d_name) != TEMPLATE_NAME_LEN ||
		    fstatat(parent_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (!count++ || st.st_mtim.tv_sec < when.tv_sec ||
		    (st.st_mtim.tv_sec == when.tv_sec && st.st_mtim.tv_nsec < when.tv_nsec)) {
			strcpy(oldest, entry->d_name);
			when = st.st_mtim;
		}
	}
	if (count >= TEMPLATES_MAX)
		template_remove(parent_fd, oldest);
}

static int make(int parent_fd, int dir_fd, const struct template *template,
		const struct template_shape *shape, struct error *err)
{
	cleanup_free char *name = format("%s.new", template->name);
	int ret = name ? fill(dir_fd, template, shape, err) : -ENOMEM;

	if (ret < 0) {
		mark_failed(dir_fd);
		return ret;
	}
	unlinkat(dir_fd, "failed", 0);
	remove_oldest(parent_fd);
	template_remove(parent_fd, template->name);
	if (renameat(parent_fd, name, parent_fd, template->name) < 0)
		return error_set(err, errno, "rename %s/" TEMPLATES_DIR "/%s", store_path(), name);
	return 0;
}

/* --- in the background --- */

/* Only when nobody else has anything to do. */
static void step_back(void)
{
	const struct sched_param idle = {0};

	setpriority(PRIO_PROCESS, 0, 19);
	sched_setscheduler(0, SCHED_IDLE, &idle);
}

/* Engines wait for the end of the pipes that we were given, and others for our locks. */
static int close_others(int one, int other)
{
	int low = one < other ? one : other, high = one < other ? other : one;
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; fd < 3; fd++)
		if (null_fd < 0 || dup2(null_fd, fd) < 0)
			return -1;
	if (low > 3)
		close_range(3, (unsigned int)low - 1, 0);
	if (high > low + 1)
		close_range((unsigned int)low + 1, (unsigned int)high - 1, 0);
	close_range((unsigned int)high + 1, ~0u, 0);
	return chdir("/");
}

struct later {
	int parent_fd, dir_fd;
	const struct template *template;
	const struct template_shape *shape;
};

static void make_in_background(void *ctx)
{
	const struct later *later = ctx;
	struct error err = {0};

	if (close_others(later->parent_fd, later->dir_fd) < 0)
		_exit(1);
	step_back();
	_exit(make(later->parent_fd, later->dir_fd, later->template, later->shape, &err) < 0);
}

void template_make_later(const struct template *template, const struct template_shape *shape)
{
	cleanup_free char *name = format("%s.new", template->name);
	cleanup_fd int parent_fd = template_open_dir(NULL);
	cleanup_fd int dir_fd = -1;

	if (parent_fd < 0 || !name || failed_lately(parent_fd, name))
		return;
	dir_fd = open_new(parent_fd, name, NULL);
	if (dir_fd >= 0)
		orphan_start(make_in_background,
			     &(struct later){parent_fd, dir_fd, template, shape});
}
