#include "runtime/vmm_line.h"
#include "runtime/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void vmm_line_destroy(struct vmm_line *line)
{
	for (int i = 0; i < line->argc; i++)
		free(line->argv[i]);
	line->argc = 0;
}

static void push(struct vmm_line *line, char *text)
{
	if (!text || line->argc + 1 >= VMM_LINE_ARGS) {
		free(text);
		line->failed = true;
		return;
	}
	line->argv[line->argc++] = text;
}

void vmm_line_begin(struct vmm_line *line, const struct vmm_files *files, const char *id)
{
	push(line, strdup(files->vmm));
	vmm_line_text(line, "--id", id);
	vmm_line_text(line, "--kernel", files->kernel);
	vmm_line_text(line, "--initramfs", files->initramfs);
}

void vmm_line_value(struct vmm_line *line, const char *option, char *value)
{
	push(line, strdup(option));
	push(line, value);
}

void vmm_line_text(struct vmm_line *line, const char *option, const char *text)
{
	vmm_line_value(line, option, strdup(text));
}

void vmm_line_number(struct vmm_line *line, const char *option, uint32_t number)
{
	vmm_line_value(line, option, format("%u", number));
}

void vmm_line_flag(struct vmm_line *line, const char *option)
{
	push(line, strdup(option));
}

void vmm_line_fd(struct vmm_line *line, const char *option, int fd)
{
	vmm_line_value(line, option, format("%d", fd));
	vmm_line_inherit(line, fd);
}

void vmm_line_inherit(struct vmm_line *line, int fd)
{
	if (fd > STDERR_FILENO && line->fd_count < VMM_LINE_FDS)
		line->fds[line->fd_count++] = fd;
}

int vmm_line_exec(const struct vmm_line *line)
{
	char *environment[] = {NULL};

	for (int i = 0; i < line->fd_count; i++)
		if (fcntl(line->fds[i], F_SETFD, 0) < 0)
			return -errno;
	execve(line->argv[0], line->argv, environment);
	return -errno;
}
