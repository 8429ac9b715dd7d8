#include "vmm/stdio.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/cleanup.h"

static int replace_by_null(int fd)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int ret = 0;

	if (null < 0)
		return -errno;
	if (dup2(null, fd) < 0)
		ret = -errno;
	close(null);
	return ret;
}

int stdio_take(struct stdio *stdio, const int fds[PROTO_STREAMS], struct error *err)
{
	*stdio = (struct stdio)STDIO_INIT;
	for (int i = 0; i < PROTO_STREAMS; i++) {
		stdio->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
		if (stdio->fds[i] < 0)
			return error_set(err, errno, "stdio descriptor %d", fds[i]);
	}
	/* One descriptor may be named twice (2>&1): each is closed or replaced after all copies. */
	for (int i = 0; i < PROTO_STREAMS; i++) {
		int ret = 0;

		if (fds[i] <= STDERR_FILENO)
			ret = replace_by_null(fds[i]);
		else if ((i < 1 || fds[i] != fds[0]) && (i < 2 || fds[i] != fds[1]))
			close(fds[i]);
		if (ret < 0)
			return error_set(err, -ret, "open /dev/null");
	}
	return 0;
}

void stdio_adopt(struct stdio *stdio, uint32_t process, const int *fds, unsigned int count)
{
	*stdio = (struct stdio)STDIO_INIT;
	stdio->process = process;
	for (unsigned int i = 0; i < count && i < PROTO_STREAMS; i++)
		stdio->fds[i] = fds[i];
}

void stdio_destroy(struct stdio *stdio)
{
	for (int i = 0; i < PROTO_STREAMS; i++)
		close_fd(&stdio->fds[i]);
	close_fd(&stdio->terminal_fd);
}

int stdio_connect(struct stdio *stdio, uint32_t port, struct vsock_endpoint *endpoint)
{
	uint32_t stream = port - proto_stdio_port(stdio->process, PROTO_STDIN);
	int fd;

	if (stream >= PROTO_STREAMS)
		return -ENOENT;
	if (stdio->states[stream] != STDIO_WAITING || stdio->fds[stream] < 0)
		return -ECONNREFUSED;
	stdio->states[stream] = STDIO_OPEN;
	fd = take_fd(&stdio->fds[stream]);
	endpoint->in_fd = stream == PROTO_STDIN ? fd : -1;
	/* A terminal's one connection carries both directions. */
	endpoint->out_fd = stream != PROTO_STDIN || isatty(fd) ? fd : -1;
	if (stream == PROTO_STDIN && endpoint->out_fd >= 0)
		stdio->terminal_fd = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	return 0;
}

void stdio_closed(struct stdio *stdio, uint32_t port)
{
	uint32_t stream = port - proto_stdio_port(stdio->process, PROTO_STDIN);

	if (stream >= PROTO_STREAMS)
		return;
	stdio->states[stream] = STDIO_CLOSED;
	if (stream == PROTO_STDIN)
		close_fd(&stdio->terminal_fd);
}

void stdio_close_waiting(struct stdio *stdio)
{
	for (int i = 0; i < PROTO_STREAMS; i++) {
		if (stdio->states[i] != STDIO_WAITING)
			continue;
		stdio->states[i] = STDIO_CLOSED;
		close_fd(&stdio->fds[i]);
	}
}

void stdio_buffered(struct stdio *stdio, uint32_t port, bool buffered)
{
	uint32_t stream = port - proto_stdio_port(stdio->process, PROTO_STDIN);

	if (stream < PROTO_STREAMS)
		stdio->buffered[stream] = buffered;
}

bool stdio_has_output(const struct stdio *stdio)
{
	for (int i = 0; i < PROTO_STREAMS; i++)
		if (stdio->states[i] == STDIO_OPEN && stdio->buffered[i])
			return true;
	return false;
}

bool stdio_is_open(const struct stdio *stdio)
{
	for (int i = 0; i < PROTO_STREAMS; i++)
		if (stdio->states[i] == STDIO_OPEN)
			return true;
	return false;
}

bool stdio_size(const struct stdio *stdio, struct proto_resize *size)
{
	struct winsize window;

	if (stdio->terminal_fd < 0 || ioctl(stdio->terminal_fd, TIOCGWINSZ, &window) < 0 ||
	    (!window.ws_row && !window.ws_col))
		return false;
	size->process = stdio->process;
	size->rows = window.ws_row;
	size->columns = window.ws_col;
	return true;
}

bool stdio_drained(const struct stdio *stdio)
{
	bool separate = stdio->states[PROTO_STDOUT] != STDIO_WAITING ||
			stdio->states[PROTO_STDERR] != STDIO_WAITING;

	/* With streams of its own for output, an input that is still open holds nothing up. */
	if (separate)
		return stdio->states[PROTO_STDOUT] != STDIO_OPEN &&
		       stdio->states[PROTO_STDERR] != STDIO_OPEN;
	return stdio->states[PROTO_STDIN] != STDIO_OPEN;
}
