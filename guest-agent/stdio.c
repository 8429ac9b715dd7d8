#include "guest-agent/stdio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER_SIZE 65536u

/* A hostile writer may never let the source run dry; others must have their turn. */
#define ROUNDS_MAX 8

static bool would_block(ssize_t n)
{
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

static void flow_read(struct flow *flow, int fd)
{
	ssize_t n;

	if (flow->start == flow->used)
		flow->start = flow->used = 0;
	flow->drained = false;
	if (flow->ended || flow->used == BUFFER_SIZE)
		return;
	n = read(fd, flow->buffer + flow->used, BUFFER_SIZE - flow->used);
	if (n > 0)
		flow->used += (size_t)n;
	else if (would_block(n))
		flow->drained = true;
	else
		flow->ended = true; /* EIO is how a terminal ends, ECONNRESET how vsock may */
}

/* Returns whether the sink still lives. */
static bool flow_write(struct flow *flow, int fd, bool socket)
{
	while (flow->start < flow->used) {
		const uint8_t *from = flow->buffer + flow->start;
		size_t len = flow->used - flow->start;
		ssize_t n = socket ? send(fd, from, len, MSG_NOSIGNAL) : write(fd, from, len);

		if (n < 0)
			return would_block(n);
		flow->start += (size_t)n;
	}
	return true;
}

static bool flow_holds(const struct flow *flow)
{
	return flow->start < flow->used;
}

static bool flow_finished(const struct flow *flow)
{
	return flow->ended && !flow_holds(flow);
}

/* Returns whether the sink still lives. */
static bool flow_step(struct flow *flow, int from, int to, bool socket)
{
	for (int i = 0; flow->buffer && i < ROUNDS_MAX; i++) {
		flow_read(flow, from);
		if (!flow_write(flow, to, socket))
			return false;
		if (flow_holds(flow) || flow->drained || flow->ended)
			break;
	}
	return true;
}

static bool flow_wants_input(const struct flow *flow)
{
	return flow->buffer && !flow->ended && !flow_holds(flow);
}

static bool flow_wants_output(const struct flow *flow)
{
	return flow->buffer && flow_holds(flow);
}

/*
 * Errors and hang-ups are always reported, so a source that is not read now must not be watched at
 * all or it would spin. A sink is: its hang-up is the news that nobody reads any more.
 */
static void watch_set(struct channel *channel, struct loop_watch *watch, int fd, uint32_t events,
		      bool sink, loop_fn *fn)
{
	if (!events && !sink)
		loop_del(channel->loop, watch);
	else if (watch->active)
		loop_mod(channel->loop, watch, events);
	else
		loop_add(channel->loop, watch, fd, events, fn);
}

static void local_ready(struct loop_watch *watch, uint32_t events);
static void remote_ready(struct loop_watch *watch, uint32_t events);

static void channel_watch(struct channel *channel)
{
	uint32_t local = 0, remote = 0;

	if (flow_wants_output(&channel->in))
		local |= EPOLLOUT;
	if (flow_wants_input(&channel->out))
		local |= EPOLLIN;
	if (flow_wants_output(&channel->out))
		remote |= EPOLLOUT;
	if (flow_wants_input(&channel->in))
		remote |= EPOLLIN;
	watch_set(channel, &channel->local_watch, channel->local, local, !channel->out.buffer,
		  local_ready);
	watch_set(channel, &channel->remote_watch, channel->remote, remote, channel->out.buffer,
		  remote_ready);
}

void channel_pump(struct channel *channel)
{
	bool alive;

	if (!channel_is_open(channel))
		return;
	alive = flow_step(&channel->out, channel->local, channel->remote, true);
	/* A terminal that takes no input any more may still have output. */
	if (!flow_step(&channel->in, channel->remote, channel->local, false)) {
		if (channel->terminal)
			channel->in.start = channel->in.used = 0;
		else
			alive = false;
	}
	if (channel->out.buffer ? flow_finished(&channel->out) : flow_finished(&channel->in))
		alive = false;
	if (alive)
		channel_watch(channel);
	else
		channel_close(channel);
}

static void local_ready(struct loop_watch *watch, uint32_t events)
{
	struct channel *channel = container_of(watch, struct channel, local_watch);

	/* The workload has closed its stdin: whoever writes to it must get EPIPE. */
	if (!channel->out.buffer && (events & (EPOLLERR | EPOLLHUP)))
		channel_close(channel);
	else
		channel_pump(channel);
	channel->changed(channel);
}

static void remote_ready(struct loop_watch *watch, uint32_t events)
{
	struct channel *channel = container_of(watch, struct channel, remote_watch);

	/* Nobody reads the output: the workload gets SIGPIPE, or its terminal hangs up. */
	if (channel->out.buffer && (events & (EPOLLERR | EPOLLHUP)))
		channel_close(channel);
	else
		channel_pump(channel);
	channel->changed(channel);
}

void channel_init(struct channel *channel)
{
	memset(channel, 0, sizeof(*channel));
	channel->local = channel->remote = -1;
}

static int set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

int channel_open(struct channel *channel, struct loop *loop, enum channel_kind kind, int local,
		 int remote, channel_fn *changed)
{
	int ret;

	channel_init(channel);
	channel->loop = loop;
	channel->local = local;
	channel->remote = remote;
	channel->terminal = kind == CHANNEL_BOTH;
	channel->changed = changed;
	if (kind != CHANNEL_OUT)
		channel->in.buffer = malloc(BUFFER_SIZE);
	if (kind != CHANNEL_IN)
		channel->out.buffer = malloc(BUFFER_SIZE);
	ret = (kind != CHANNEL_OUT && !channel->in.buffer) ||
			      (kind != CHANNEL_IN && !channel->out.buffer)
		      ? -ENOMEM
		      : 0;
	if (!ret)
		ret = set_nonblocking(local);
	if (!ret)
		ret = set_nonblocking(remote);
	if (ret < 0)
		channel_close(channel);
	else
		channel_watch(channel);
	return ret;
}

void channel_close(struct channel *channel)
{
	if (channel->local < 0)
		return;
	loop_del(channel->loop, &channel->local_watch);
	loop_del(channel->loop, &channel->remote_watch);
	close(channel->local);
	close(channel->remote);
	channel->local = channel->remote = -1;
	free(channel->in.buffer);
	free(channel->out.buffer);
	memset(&channel->in, 0, sizeof(channel->in));
	memset(&channel->out, 0, sizeof(channel->out));
}

bool channel_is_open(const struct channel *channel)
{
	return channel->local >= 0;
}

bool channel_is_drained(const struct channel *channel)
{
	if (!channel_is_open(channel) || !channel->out.buffer)
		return true;
	return channel->out.drained && !flow_holds(&channel->out);
}
