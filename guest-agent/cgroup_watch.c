#include "guest-agent/cgroup_watch.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "guest-agent/cgroup.h"

/*
 * "key value" lines. Reading is also what makes the file ready again for the next change, so it is
 * the open one that is read.
 */
static bool read_value(int fd, const char *key, unsigned long long *value)
{
	char text[512];
	ssize_t len = pread(fd, text, sizeof(text) - 1, 0);
	size_t key_len = strlen(key);

	if (len < 0)
		return false;
	text[len] = '\0';
	for (char *line = text; line && *line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, key, key_len) && line[key_len] == ' ') {
			*value = strtoull(line + key_len, NULL, 10);
			return true;
		}
	}
	return false;
}

static void check_state(struct cgroup_watch *watch)
{
	uint32_t request = watch->request;
	unsigned long long frozen;

	if (!read_value(watch->state_fd, "frozen", &frozen) || !request ||
	    frozen != (watch->wanted ? 1 : 0))
		return;
	watch->request = 0;
	watch->events->frozen(watch->ctx, request);
}

static void state_changed(struct loop_watch *loop_watch, uint32_t events)
{
	(void)events;
	check_state(container_of(loop_watch, struct cgroup_watch, state_watch));
}

void cgroup_watch_check(struct cgroup_watch *watch)
{
	unsigned long long kills;

	if (!watch->loop || !read_value(watch->memory_fd, "oom_kill", &kills) ||
	    kills <= watch->oom_kills)
		return;
	watch->oom_kills = kills;
	watch->events->oom(watch->ctx, kills);
}

static void memory_changed(struct loop_watch *loop_watch, uint32_t events)
{
	(void)events;
	cgroup_watch_check(container_of(loop_watch, struct cgroup_watch, memory_watch));
}

static int watch_file(struct cgroup_watch *watch, const char *name, int *fd,
		      struct loop_watch *loop_watch, loop_fn *fn, struct error *err)
{
	int ret;

	*fd = openat(watch->cgroup_fd, name, O_RDONLY | O_CLOEXEC);
	if (*fd < 0)
		return error_set(err, errno, "cgroup: open %s", name);
	ret = loop_add(watch->loop, loop_watch, *fd, EPOLLPRI, fn);
	return ret < 0 ? error_set(err, -ret, "cgroup: watch %s", name) : 0;
}

int cgroup_watch_start(struct cgroup_watch *watch, struct loop *loop, int cgroup_fd,
		       const struct cgroup_watch_events *events, void *ctx, struct error *err)
{
	int ret;

	*watch = (struct cgroup_watch)CGROUP_WATCH_INIT;
	watch->loop = loop;
	watch->cgroup_fd = cgroup_fd;
	watch->events = events;
	watch->ctx = ctx;
	ret = watch_file(watch, "cgroup.events", &watch->state_fd, &watch->state_watch,
			 state_changed, err);
	if (ret < 0)
		return ret;
	ret = watch_file(watch, "memory.events", &watch->memory_fd, &watch->memory_watch,
			 memory_changed, err);
	if (ret < 0)
		cgroup_watch_stop(watch);
	return ret;
}

void cgroup_watch_stop(struct cgroup_watch *watch)
{
	if (!watch->loop)
		return;
	loop_del(watch->loop, &watch->state_watch);
	loop_del(watch->loop, &watch->memory_watch);
	close_fd(&watch->state_fd);
	close_fd(&watch->memory_fd);
	watch->loop = NULL;
}

int cgroup_watch_freeze(struct cgroup_watch *watch, bool freeze, uint32_t request,
			struct error *err)
{
	cleanup_fd int fd = -1;

	if (watch->request)
		return error_say(err, EBUSY, "the container is being paused or resumed already");
	fd = openat(watch->cgroup_fd, "cgroup.freeze", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, freeze ? "1" : "0", 1) < 0)
		return error_set(err, errno, "cgroup: write cgroup.freeze");
	watch->wanted = freeze;
	watch->request = request;
	check_state(watch);
	return 0;
}
