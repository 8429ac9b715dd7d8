#include "vmm/daemon_log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"

#define HOUR 3600 /* s */

static void count_line(struct daemon_log *log)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec - log->hour >= HOUR) {
		log->hour = now.tv_sec;
		log->lines = 0;
	}
	log->lines++;
}

static void line_end(struct daemon_log *log)
{
	if (!log->used)
		return;
	count_line(log);
	if (log->lines < DAEMON_LINES_MAX)
		log_warn("%s: %.*s", log->name, (int)log->used, log->line);
	else if (log->lines == DAEMON_LINES_MAX)
		log_warn("%s: says more, which is left out", log->name);
	log->used = 0;
}

static void add(struct daemon_log *log, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (bytes[i] == '\n')
			line_end(log);
		else if (log->used < sizeof(log->line))
			log->line[log->used++] = bytes[i] >= ' ' && bytes[i] < 127 ? bytes[i] : '?';
	}
}

/* Returns what read(2) does. */
static ssize_t read_some(struct daemon_log *log)
{
	char bytes[4096];
	ssize_t n = read(log->fd, bytes, sizeof(bytes));

	if (n > 0)
		add(log, bytes, (size_t)n);
	return n;
}

static void readable(struct loop_watch *watch, uint32_t events)
{
	struct daemon_log *log = container_of(watch, struct daemon_log, watch);
	ssize_t n = read_some(log);

	(void)events;
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		daemon_log_close(log);
}

int daemon_log_open(struct daemon_log *log, const char *name, int fd, struct loop *loop)
{
	int flags, ret;

	*log = (struct daemon_log){.name = name, .loop = loop, .fd = fd};
	if (fd < 0)
		return 0;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		ret = -errno;
	else
		ret = loop_add(loop, &log->watch, fd, EPOLLIN, readable);
	if (ret < 0)
		close_fd(&log->fd);
	return ret;
}

void daemon_log_close(struct daemon_log *log)
{
	if (log->fd < 0)
		return;
	loop_del(log->loop, &log->watch);
	/* Bounded: whoever still writes is not waited for. */
	for (int i = 0; i < 16 && read_some(log) > 0; i++)
		;
	line_end(log);
	close_fd(&log->fd);
}
