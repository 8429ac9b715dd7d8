/* run: create, start, stand for the workload until it ends, end as it did. */
#include "runtime/container.h"
#include "runtime/signals.h"
#include "runtime/teardown.h"
#include "runtime/vm_hold.h"

#include "common/cleanup.h"
#include "common/log.h"

#include <endian.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

struct arguments {
	struct create_options create;
	const char *timings;
	bool detach, keep;
	void (*created)(void *ctx); /* once the bundle is not needed any more; or NULL */
	void *ctx;
};

enum { OPT_KEEP = 512, OPT_TIMINGS };

static const struct option_spec options[] = {
	{'d', "detach", NULL, "Leave the container running in the background"},
	{OPT_KEEP, "keep", NULL, "Do not delete the container when it ends"},
	{OPT_TIMINGS, "timings", "FILE", "Write the times of the start-up to FILE, as JSON"},
	{0},
};

static int take(void *input, int key, char *value, struct error *err)
{
	struct arguments *a = input;

	switch (key) {
	case 'd':
		a->detach = true;
		return 0;
	case OPT_KEEP:
		a->keep = true;
		return 0;
	case OPT_TIMINGS:
		a->timings = value;
		return 0;
	default:
		return create_take(&a->create, key, value, err);
	}
}

static const struct command_line command_line = {
	.arguments = "ID",
	.about = "Creates and starts a container, and waits for its end.",
	.options = options,
	.inherited = create_options,
	.missing = "the container's id",
};

/* While the workload runs: the VMM's end, its messages, and signals to pass on. */
struct watch {
	struct container *container;
	struct console *console;
	struct error failure; /* what the VMM said about its own failure */
	uint32_t wait_id;
	int process_fd, signal_fd;
};

static void send_size(struct watch *watch)
{
	struct proto_resize body = {.process = htole32(PROTO_PROCESS_INIT)};
	uint16_t rows, columns;
	uint32_t id;

	if (!console_size(watch->console, &rows, &columns))
		return;
	body.rows = htole16(rows);
	body.columns = htole16(columns);
	control_post(&watch->container->control, PROTO_RESIZE, &body, sizeof(body), &id, NULL);
}

static void forward_signal(struct watch *watch)
{
	struct proto_signal body = {.process = htole32(PROTO_PROCESS_INIT)};
	struct signalfd_siginfo info;
	uint32_t id;

	if (read(watch->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGWINCH && watch->console->fd >= 0) {
		send_size(watch);
		return;
	}
	body.signal = htole32(info.ssi_signo);
	control_post(&watch->container->control, PROTO_SIGNAL, &body, sizeof(body), &id, NULL);
}

/* Reads what the VMM sent. Returns whether there can be more. */
static bool read_messages(struct watch *watch)
{
	struct control *control = &watch->container->control;
	struct proto_frame frame;

	if (proto_reader_fill(&control->reader, control->fd) <= 0)
		return false;
	while (proto_reader_next(&control->reader, &frame) > 0)
		if (frame.type == PROTO_ERROR && (frame.id == 0 || frame.id == watch->wait_id))
			control_check(&frame, &watch->failure);
	return true;
}

static void drain_messages(struct watch *watch)
{
	struct pollfd control = {.fd = watch->container->control.fd, .events = POLLIN};

	while (poll(&control, 1, 0) > 0 && read_messages(watch))
		;
}

static void watch_container(struct watch *watch)
{
	struct pollfd fds[3] = {
		{.fd = watch->process_fd, .events = POLLIN},
		{.fd = watch->container->control.fd, .events = POLLIN},
		{.fd = watch->signal_fd, .events = POLLIN},
	};

	while (!fds[0].revents) {
		if (poll(fds, 3, -1) < 0 && errno != EINTR)
			break;
		if (fds[1].revents && !read_messages(watch))
			fds[1].fd = -1;
		if (fds[2].revents)
			forward_signal(watch);
	}
	if (fds[1].fd >= 0)
		drain_messages(watch);
}

static int post_wait(struct watch *watch)
{
	struct proto_process body = {.process = htole32(PROTO_PROCESS_INIT)};

	return control_post(&watch->container->control, PROTO_WAIT, &body, sizeof(body),
			    &watch->wait_id, NULL);
}

static int start(struct container *container, const struct globals *globals,
		 const struct arguments *a, struct error *err)
{
	int ret;

	if (container->console)
		console_set_raw(container->console);
	ret = container_start(container, err);
	if (ret == 0)
		ret = container_tell_timings(container, globals, a->timings, err);
	return ret;
}

/* Returns the VMM's status as waitpid gives it. */
static int wait_for_end(struct container *container, struct watch *watch)
{
	int status = 0xff00;

	post_wait(watch);
	watch_container(watch);
	while (waitpid(container->state.pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static int run_foreground(struct container *container, const struct globals *globals,
			  const struct arguments *a, struct error *err)
{
	struct watch watch = {.container = container, .console = container->console};
	int ret, status;

	watch.signal_fd = signals_open();
	watch.process_fd = state_open_process(&container->state);
	ret = start(container, globals, a, err);
	if (ret < 0) {
		console_close(container->console);
		container_discard(container);
		return ret;
	}
	leave_streams();
	state_unlock(&container->state);
	status = wait_for_end(container, &watch);
	console_close(container->console);
	if (watch.failure.code && WIFEXITED(status))
		command_report(globals, &watch.failure);
	/* Before the control group goes: a thread of KVM's stays in it as long as the VM is there.
	 */
	vm_hold_release(take_fd(&container->hold_fd));
	if (!a->keep && state_lock(&container->state, NULL) == 0)
		container_discard(container);
	if (WIFSIGNALED(status))
		end_as(status);
	return WEXITSTATUS(status);
}

static int run_detached(struct container *container, const struct globals *globals,
			const struct arguments *a, struct error *err)
{
	int ret = start(container, globals, a, err);

	if (ret < 0)
		container_discard(container);
	return ret;
}

static int run(struct globals *globals, struct arguments a, struct error *err)
{
	struct container container = CONTAINER_INIT;
	struct console console = CONSOLE_INIT;
	sigset_t set;
	int ret;

	a.create.foreground = !a.detach;
	a.create.stays = a.detach || a.keep;
	if (!a.detach) {
		/* From the beginning: what comes while the VM boots reaches the workload. */
		signals_to_forward(&set);
		sigprocmask(SIG_BLOCK, &set, NULL);
		container.console = &console;
	}
	ret = container_block_signals(&container, err);
	if (ret == 0)
		ret = container_create(&container, globals, &a.create, err);
	if (a.created)
		a.created(a.ctx);
	if (ret == 0 && !container.delegated)
		ret = a.detach ? run_detached(&container, globals, &a, err)
			       : run_foreground(&container, globals, &a, err);
	console_close(&console);
	container_destroy(&container);
	return ret;
}

int run_bundle(struct globals *globals, const char *bundle, const char *id, bool keep,
	       void (*created)(void *ctx), void *ctx, struct error *err)
{
	struct arguments a = {
		.create = {.id = id, .bundle = bundle},
		.keep = keep,
		.created = created,
		.ctx = ctx,
	};

	return run(globals, a, err);
}

int run_restored(struct globals *globals, const struct create_options *create, bool detach,
		 struct error *err)
{
	return run(globals, (struct arguments){.create = *create, .detach = detach}, err);
}

int cmd_run(struct globals *globals, int argc, char **argv, struct error *err)
{
	struct arguments a = {0};
	int ret = options_parse(&command_line, argc, argv, take, &a, err);

	return ret < 0 ? ret : run(globals, a, err);
}
