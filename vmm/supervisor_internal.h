/*
 * What the parts of the supervisor share: supervisor.c, which runs the loop; supervisor_snapshot.c
 * for saved machines; supervisor_end.c for how all of it ends.
 */
#ifndef VMM_SUPERVISOR_INTERNAL_H
#define VMM_SUPERVISOR_INTERNAL_H

#include "common/records.h"
#include "vmm/control.h"
#include "vmm/daemon_log.h"
#include "vmm/machine.h"
#include "vmm/supervisor.h"

enum timer_purpose { TIMER_NONE, TIMER_AGENT, TIMER_LOST, TIMER_DRAIN, TIMER_IDLE, TIMER_HOLD };

struct supervisor {
	const struct vmm_options *options;
	struct stdio *stdio;
	uint64_t started_ns;
	struct loop loop;
	struct machine *machine;
	struct control *control;

	int resolver_fd; /* -1: none */
	struct daemon_log network_log;
	int signal_fd;
	struct loop_watch signal_watch;
	int timer_fd;
	struct loop_watch timer_watch;
	enum timer_purpose timer_purpose;

	enum proto_template_use template_use;
	unsigned int idle_tries;

	/* A snapshot: all but the memory, while the machine rests. */
	bool held;
	struct records held_state;
	unsigned int hold_tries;

	enum machine_end machine_end;
	char machine_detail[200];
	char lost_why[200];

	/* How it ends, set once. */
	bool over;
	bool failed; /* by the VM's own fault; told: and who waits knows it */
	bool told;
	int status;
	char why[PROTO_TEXT_MAX + 64];
};

/* --- supervisor.c --- */

/* One timer for all purposes: setting it forgets what it was set for before. */
void supervisor_set_timer(struct supervisor *sup, enum timer_purpose purpose, unsigned long ms);

/* Lets everything that is ready now happen, but waits for nothing. */
void supervisor_run_pending(struct supervisor *sup);

/* --- supervisor_snapshot.c --- */

/*
 * Makes the machine from the snapshot or the template that the options name, or anew. Returns 0, or
 * a negative errno and why. A template is never a reason to fail, a snapshot that does not fit is.
 */
int supervisor_build_machine(struct supervisor *sup, struct error *err);

/*
 * The agent waits for work: if the options want a template, TIMER_IDLE comes in a while. Then the
 * machine becomes one, or runs on for a moment because it is not at rest yet.
 */
void supervisor_plan_template(struct supervisor *sup);
void supervisor_save_when_idle(struct supervisor *sup);

/* What control_events promises. hold sets TIMER_HOLD. */
void supervisor_hold(void *ctx);
int supervisor_save(void *ctx, const struct vmm_template *to, struct error *err);
void supervisor_release(void *ctx);

/* TIMER_HOLD: the machine rests, or runs on for a moment because something is under way. */
void supervisor_hold_when_quiet(struct supervisor *sup);

/* --- supervisor_end.c --- */

/* Whether the workload has ended. */
bool supervisor_stopped(const struct supervisor *sup);

/*
 * It ends: with this status, as waitpid would give it; or by a fault of the VM's own, for which see
 * control_events' failed. Only the first end counts.
 */
void supervisor_end(struct supervisor *sup, int status);
void supervisor_fail(struct supervisor *sup, bool told, const char *why);

/* The machine has ended before the workload: whether that is a fault, and which. */
void supervisor_judge_machine(struct supervisor *sup);

/* Tells all who wait how it ended; then gives them a moment to read that. */
void supervisor_report(struct supervisor *sup);
void supervisor_flush(struct supervisor *sup);

#endif
