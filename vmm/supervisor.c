#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#include "common/cleanup.h"
#include "common/event.h"
#include "common/log.h"
#include "vmm/exit.h"
#include "vmm/jail.h"
#include "vmm/resolver.h"
#include "vmm/supervisor_internal.h"

/* After the agent's connection broke: time for the machine to say why (a panic, a power-off). */
#define LOST_GRACE_MS 500
/* What the VMM's own buffers may take to empty once the guest is gone. */
#define DRAIN_MS 5000

void supervisor_set_timer(struct supervisor *sup, enum timer_purpose purpose, unsigned long ms)
{
	struct itimerspec when = {
		.it_value = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000},
	};

	sup->timer_purpose = purpose;
	timerfd_settime(sup->timer_fd, 0, &when, NULL);
}

/* --- the workload's end --- */

static void end_when_drained(struct supervisor *sup)
{
	if (supervisor_stopped(sup) && stdio_drained(sup->stdio))
		sup->over = true;
}

static void workload_ended(void *ctx, uint32_t status)
{
	struct supervisor *sup = ctx;

	if (sup->over)
		return;
	sup->status = (int)status;
	end_when_drained(sup);
}

/* --- what the control side says --- */

static void agent_ready(void *ctx)
{
	struct supervisor *sup = ctx;

	if (sup->timer_purpose == TIMER_AGENT)
		supervisor_set_timer(sup, TIMER_NONE, 0);
	supervisor_plan_template(sup);
}

static void control_failed(void *ctx, bool told, const char *why)
{
	supervisor_fail(ctx, told, why);
}

static void agent_lost(void *ctx, const char *why)
{
	struct supervisor *sup = ctx;

	if (sup->over || supervisor_stopped(sup) || control_shutting_down(sup->control))
		return;
	snprintf(sup->lost_why, sizeof(sup->lost_why), "%s", why);
	supervisor_set_timer(sup, TIMER_LOST, LOST_GRACE_MS);
}

static void shutdown_without_agent(void *ctx)
{
	supervisor_end(ctx, 0);
}

static void fill_marks(void *ctx, struct proto_status *status)
{
	struct supervisor *sup = ctx;
	struct machine_marks marks = {0};
	struct machine_memory memory = {0};

	if (sup->machine) {
		machine_marks(sup->machine, &marks);
		machine_memory(sup->machine, &memory);
	}
	status->vmm_started_ns = sup->started_ns;
	status->vm_created_ns = marks.vm_created_ns;
	status->kernel_entered_ns = marks.kernel_entered_ns;
	status->template_use = sup->template_use;
	status->memory_boot = memory.boot;
	status->memory_room = memory.room;
	status->memory_grown = memory.grown;
	status->memory_requested = memory.requested;
	status->memory_plugged = memory.plugged;
}

/* Of the process that follows the network while the guest runs. A second one takes its place. */
static int attach_log(struct supervisor *sup, const struct proto_frame *frame, struct error *err)
{
	int ret;

	if (frame->fd_count != 1)
		return error_say(err, EINVAL, "ATTACH: a log is one descriptor");
	daemon_log_close(&sup->network_log);
	ret = daemon_log_open(&sup->network_log, "network", take_fd(&frame->fds[0]), &sup->loop);
	return ret < 0 ? error_set(err, -ret, "ATTACH: log") : 0;
}

static int attach(void *ctx, const struct proto_attach *what, const void *parameters, size_t len,
		  const struct proto_frame *frame, struct error *err)
{
	struct supervisor *sup = ctx;

	if (!sup->machine)
		return error_say(err, ENOTCONN, "there is no machine to attach anything to");
	if (what->kind == PROTO_ATTACH_RESOLVER && len == 0)
		return resolver_attach(&sup->resolver_fd, frame, err);
	if (what->kind == PROTO_ATTACH_LOG && len == 0)
		return attach_log(sup, frame, err);
	return machine_attach(sup->machine, what, parameters, len, frame, err);
}

static int fill_counters(void *ctx, struct proto_counters *counters)
{
	struct supervisor *sup = ctx;

	if (!sup->machine)
		return -ENOTCONN;
	machine_counters(sup->machine, counters);
	return 0;
}

static const struct control_events control_events = {
	.agent_ready = agent_ready,
	.workload_ended = workload_ended,
	.failed = control_failed,
	.agent_lost = agent_lost,
	.shutdown = shutdown_without_agent,
	.attach = attach,
	.counters = fill_counters,
	.hold = supervisor_hold,
	.save = supervisor_save,
	.release = supervisor_release,
	.marks = fill_marks,
};

/* --- what the machine says --- */

static int guest_connects(void *ctx, uint32_t port, struct vsock_endpoint *endpoint)
{
	struct supervisor *sup = ctx;

	if (port == PROTO_PORT_CONTROL)
		return control_agent_connect(sup->control, endpoint);
	if (port == PROTO_PORT_RESOLVER)
		return resolver_connect(sup->resolver_fd, endpoint);
	return control_stdio_connect(sup->control, port, endpoint);
}

static void guest_closed(void *ctx, uint32_t port)
{
	struct supervisor *sup = ctx;

	control_stdio_closed(sup->control, port);
	end_when_drained(sup);
}

static void guest_buffered(void *ctx, uint32_t port, bool buffered)
{
	struct supervisor *sup = ctx;

	control_stdio_buffered(sup->control, port, buffered);
}

/* Judged later, by judge_machine: what the guest said before may still be on its way to us. */
static void machine_ended(void *ctx, enum machine_end why, const char *detail)
{
	struct supervisor *sup = ctx;

	sup->machine_end = why;
	snprintf(sup->machine_detail, sizeof(sup->machine_detail), "%s", detail);
}

/* --- signals and time --- */

static bool ends_process(int sig)
{
	switch (sig) {
	case SIGCONT:
	case SIGTSTP:
	case SIGTTIN:
	case SIGTTOU:
	case SIGWINCH:
		return false;
	default:
		return true;
	}
}

static void handle_signal(struct supervisor *sup, int sig)
{
	int ret = control_signal(sup->control, sig);

	if (ret == 0 || !ends_process(sig))
		return;
	if (supervisor_stopped(sup))
		sup->over = true; /* no more patience for who does not read the output */
	else if (ret == -ESRCH || ret == -ENOTCONN)
		supervisor_end(sup, sig);
	else
		log_warn("signal %d did not reach the guest: %s", sig, strerror(-ret));
}

static void signal_ready(struct loop_watch *watch, uint32_t events)
{
	struct supervisor *sup = container_of(watch, struct supervisor, signal_watch);
	struct signalfd_siginfo info;

	(void)events;
	if (read(sup->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		handle_signal(sup, (int)info.ssi_signo);
}

void supervisor_run_pending(struct supervisor *sup)
{
	for (int i = 0; i < 64 && !sup->over; i++)
		loop_step(&sup->loop, 0);
}

static void timer_ready(struct loop_watch *watch, uint32_t events)
{
	struct supervisor *sup = container_of(watch, struct supervisor, timer_watch);
	char why[120];

	(void)events;
	if (!event_take(sup->timer_fd))
		return;
	switch (sup->timer_purpose) {
	case TIMER_AGENT:
		snprintf(why, sizeof(why), "the guest's agent did not report within %lu ms",
			 sup->options->agent_timeout_ms);
		supervisor_fail(sup, false, why);
		break;
	case TIMER_LOST:
		supervisor_fail(sup, false, sup->lost_why);
		break;
	case TIMER_DRAIN:
		sup->over = true;
		break;
	case TIMER_IDLE:
		supervisor_save_when_idle(sup);
		break;
	case TIMER_HOLD:
		supervisor_hold_when_quiet(sup);
		break;
	case TIMER_NONE:
		break;
	}
}

static int watch_signals(struct supervisor *sup, struct error *err)
{
	/* Not ours to see: faults of our own, the kick of the vCPUs, children (there are none). */
	static const int skipped[] = {SIGSEGV, SIGBUS,	SIGFPE,	 SIGILL, SIGTRAP,
				      SIGSYS,  SIGABRT, SIGCHLD, SIGURG, SIGPIPE};
	sigset_t set;
	int ret;

	sigfillset(&set);
	for (size_t i = 0; i < sizeof(skipped) / sizeof(skipped[0]); i++)
		sigdelset(&set, skipped[i]);
	sup->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (sup->signal_fd < 0)
		return error_set(err, errno, "signalfd");
	ret = loop_add(&sup->loop, &sup->signal_watch, sup->signal_fd, EPOLLIN, signal_ready);
	return ret < 0 ? error_set(err, -ret, "epoll") : 0;
}

static int watch_time(struct supervisor *sup, struct error *err)
{
	int ret;

	sup->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (sup->timer_fd < 0)
		return error_set(err, errno, "timerfd");
	ret = loop_add(&sup->loop, &sup->timer_watch, sup->timer_fd, EPOLLIN, timer_ready);
	if (ret < 0)
		return error_set(err, -ret, "epoll");
	supervisor_set_timer(sup, TIMER_AGENT, sup->options->agent_timeout_ms);
	return 0;
}

/* --- the whole --- */

static int start(struct supervisor *sup, struct error *err)
{
	struct machine_config machine = {
		.options = sup->options,
		.loop = &sup->loop,
		.connect = guest_connects,
		.closed = guest_closed,
		.buffered = guest_buffered,
		.ended = machine_ended,
		.ctx = sup,
	};
	int ret = watch_signals(sup, err);

	if (ret == 0)
		ret = watch_time(sup, err);
	if (ret == 0)
		ret = machine_create(&sup->machine, &machine, err);
	/* Nothing that a guest or an image has a say in was read before this. */
	if (ret == 0)
		ret = jail_enter(sup->options->relaxed, sup->options->root_fd, err);
	if (ret == 0)
		ret = supervisor_build_machine(sup, err);
	if (ret == 0)
		ret = machine_start(sup->machine, err);
	if (ret == 0 && sup->template_use == PROTO_TEMPLATE_USED) {
		ret = control_resume(sup->control, machine_memory_to_come(sup->machine));
		if (ret < 0)
			error_set(err, -ret, "go on from where it was saved");
	}
	return ret;
}

static void run(struct supervisor *sup)
{
	bool judged = false;

	while (!sup->over) {
		int ret = loop_step(&sup->loop, -1);

		if (ret < 0)
			supervisor_fail(sup, false, "epoll failed");
		if (sup->machine_end == MACHINE_RUNNING || judged)
			continue;
		judged = true;
		machine_stop(sup->machine);
		supervisor_run_pending(sup);
		/* A guest that is gone closes no connection: only our own buffers are left. */
		if (supervisor_stopped(sup))
			supervisor_set_timer(sup, TIMER_DRAIN, DRAIN_MS);
		else
			supervisor_judge_machine(sup);
	}
}

static void log_marks(const struct supervisor *sup)
{
	struct machine_marks marks = {0};

	if (!sup->machine || !log_enabled(LOG_LEVEL_DEBUG))
		return;
	machine_marks(sup->machine, &marks);
	log_debug("VM created after %llu us, kernel entered after %llu us",
		  (unsigned long long)(marks.vm_created_ns - sup->started_ns) / 1000,
		  (unsigned long long)(marks.kernel_entered_ns - sup->started_ns) / 1000);
}

int supervisor_run(const struct vmm_options *options, struct stdio *stdio, uint64_t started_ns)
{
	struct supervisor sup = {
		.options = options,
		.stdio = stdio,
		.started_ns = started_ns,
		.signal_fd = -1,
		.resolver_fd = -1,
		.network_log.fd = -1,
		.timer_fd = -1,
	};
	struct control_config control = {
		.loop = &sup.loop,
		.listen_fd = options->control_fd,
		.parent_fd = options->parent_fd,
		.oom_fd = options->oom_fd,
		.stdio = stdio,
		.events = &control_events,
		.ctx = &sup,
	};
	struct error err = {0};
	int ret = loop_init(&sup.loop);

	if (ret < 0)
		error_set(&err, -ret, "epoll");
	else
		ret = control_create(&sup.control, &control, &err);
	if (ret < 0) {
		log_error("%s: %s", options->id, err.message);
		return EXIT_VMM_FAILED << 8;
	}
	if (start(&sup, &err) < 0)
		supervisor_fail(&sup, false, err.message);
	run(&sup);
	log_marks(&sup);
	if (sup.machine)
		machine_stop(sup.machine);
	records_destroy(&sup.held_state);
	supervisor_report(&sup);
	supervisor_flush(&sup);
	machine_destroy(sup.machine);
	control_destroy(sup.control);
	daemon_log_close(&sup.network_log);
	loop_del(&sup.loop, &sup.signal_watch);
	loop_del(&sup.loop, &sup.timer_watch);
	close_fd(&sup.signal_fd);
	close_fd(&sup.resolver_fd);
	close_fd(&sup.timer_fd);
	loop_destroy(&sup.loop);
	return sup.status;
}
