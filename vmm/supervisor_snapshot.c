/* Saved machines: how this one becomes a template or a snapshot, and how it is made from one. */
#include <errno.h>

#include "common/log.h"
#include "vmm/snapshot.h"
#include "vmm/supervisor_internal.h"

/*
 * A template is saved when the guest has nothing to do: looked at so often, for so long. What the
 * kernel puts off while booting, the reporting of free pages above all, begins after 2 s: better
 * once here than in every clone.
 */
#define SETTLE_MS  2500
#define IDLE_MS	   20
#define IDLE_TRIES 250

/* For a snapshot it only has to have nothing under way: looked at so often, each time anew. */
#define HOLD_MS	   20
#define HOLD_TRIES 250

/* --- made from a saved one --- */

/* Opens the template, if there is one that fits. */
static bool open_template(struct supervisor *sup, struct records *state)
{
	const struct vmm_options *options = sup->options;
	struct error err = {0};

	if (options->load.state_fd < 0)
		return false;
	if (snapshot_open_template(state, &options->load, &err) == 0)
		return true;
	sup->template_use = PROTO_TEMPLATE_REFUSED;
	log_warn("%s: the template is refused: %s", options->id, err.message);
	return false;
}

static int restore_machine(struct supervisor *sup, struct error *err)
{
	struct records state = {0};
	struct error why = {0};
	int ret = snapshot_open(&state, &sup->options->load, &why);

	if (ret == 0)
		ret = control_load(sup->control, &state, &why);
	if (ret == 0)
		ret = machine_build(sup->machine, &state, &why);
	records_destroy(&state);
	if (ret < 0)
		return error_say(err, -ret, "the snapshot is refused: %s", why.message);
	sup->template_use = PROTO_TEMPLATE_USED;
	return 0;
}

int supervisor_build_machine(struct supervisor *sup, struct error *err)
{
	struct records state = {0};
	struct error why = {0};
	int ret;

	if (sup->options->restore)
		return restore_machine(sup, err);
	if (!open_template(sup, &state))
		return machine_build(sup->machine, NULL, err);
	ret = machine_build(sup->machine, &state, &why);
	records_destroy(&state);
	if (ret == 0) {
		sup->template_use = PROTO_TEMPLATE_USED;
		return 0;
	}
	sup->template_use = PROTO_TEMPLATE_REFUSED;
	log_warn("%s: the template is refused: %s", sup->options->id, why.message);
	control_reset(sup->control);
	return machine_build(sup->machine, NULL, err);
}

/* --- a template --- */

void supervisor_plan_template(struct supervisor *sup)
{
	if (sup->options->save.state_fd >= 0)
		supervisor_set_timer(sup, TIMER_IDLE, SETTLE_MS);
}

void supervisor_save_when_idle(struct supervisor *sup)
{
	const struct vmm_template *to = &sup->options->save;
	struct error err = {0};
	int ret;

	machine_stop(sup->machine);
	supervisor_run_pending(sup);
	if (!machine_is_idle(sup->machine) && ++sup->idle_tries < IDLE_TRIES) {
		supervisor_set_timer(sup, TIMER_IDLE, IDLE_MS);
		ret = machine_start(sup->machine, &err);
	} else {
		ret = machine_save_template(sup->machine, to, &err);
		if (ret == 0)
			supervisor_end(sup, 0);
	}
	if (ret < 0)
		supervisor_fail(sup, false, err.message);
}

/* --- a snapshot --- */

void supervisor_hold(void *ctx)
{
	struct supervisor *sup = ctx;

	if (sup->timer_purpose != TIMER_NONE) {
		control_held(sup->control, -EBUSY, "the container is just starting or ending");
		return;
	}
	sup->hold_tries = 0;
	supervisor_set_timer(sup, TIMER_HOLD, 1);
}

void supervisor_release(void *ctx)
{
	struct supervisor *sup = ctx;

	if (sup->timer_purpose == TIMER_HOLD)
		supervisor_set_timer(sup, TIMER_NONE, 0);
	if (!sup->held)
		return;
	sup->held = false;
	records_destroy(&sup->held_state);
	machine_release(sup->machine);
}

int supervisor_save(void *ctx, const struct vmm_template *to, struct error *err)
{
	struct supervisor *sup = ctx;
	int ret;

	if (!sup->held || !sup->held_state.len)
		return error_say(err, EINVAL, "SAVE: the machine does not rest, or was saved");
	ret = machine_write(sup->machine, &sup->held_state, to, err);
	records_destroy(&sup->held_state);
	return ret;
}

static int try_hold(struct supervisor *sup, struct error *err)
{
	int ret = machine_hold(sup->machine, err);

	if (ret < 0)
		return ret;
	sup->held = true;
	supervisor_run_pending(sup);
	/* Who asked may have gone, the machine may have ended. */
	if (!sup->held)
		return -ECANCELED;
	machine_hold_devices(sup->machine);
	ret = sup->machine_end == MACHINE_RUNNING
		      ? control_save(sup->control, &sup->held_state, err)
		      : error_say(err, ESRCH, "the container has ended");
	if (ret == 0)
		ret = machine_save(sup->machine, &sup->held_state, err);
	if (ret < 0)
		supervisor_release(sup);
	return ret;
}

void supervisor_hold_when_quiet(struct supervisor *sup)
{
	struct error err = {0};
	int ret;

	supervisor_set_timer(sup, TIMER_NONE, 0);
	ret = try_hold(sup, &err);
	if (ret == -ECANCELED)
		return;
	if (ret == -EBUSY && ++sup->hold_tries < HOLD_TRIES)
		supervisor_set_timer(sup, TIMER_HOLD, HOLD_MS);
	else
		control_held(sup->control, ret, err.message);
}
