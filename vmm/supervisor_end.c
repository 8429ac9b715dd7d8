/* How a container ends, and what is said of it. */
#include <errno.h>
#include <stdio.h>

#include "common/log.h"
#include "vmm/exit.h"
#include "vmm/supervisor_internal.h"

/* What clients may take to read the last that is said to them. */
#define FLUSH_MS 1000

/* Of the guest's console, behind why it failed. */
#define TAIL_LINES 20
#define TAIL_SIZE  3072

bool supervisor_stopped(const struct supervisor *sup)
{
	return control_state(sup->control) == PROTO_STATE_STOPPED;
}

void supervisor_end(struct supervisor *sup, int status)
{
	if (sup->over)
		return;
	sup->over = true;
	sup->status = status;
}

void supervisor_fail(struct supervisor *sup, bool told, const char *why)
{
	if (sup->over)
		return;
	supervisor_end(sup, EXIT_VMM_FAILED << 8);
	sup->failed = true;
	sup->told = told;
	snprintf(sup->why, sizeof(sup->why), "%.*s", PROTO_TEXT_MAX, why);
}

void supervisor_judge_machine(struct supervisor *sup)
{
	char why[300];

	switch (sup->machine_end) {
	case MACHINE_POWER_OFF:
		if (control_shutting_down(sup->control)) {
			supervisor_end(sup, 0);
			return;
		}
		snprintf(why, sizeof(why), "the guest has powered off %s",
			 control_state(sup->control) == PROTO_STATE_CREATING
				 ? "before the container was made"
				 : "under the container");
		break;
	case MACHINE_RESET:
		snprintf(why, sizeof(why), "the guest's kernel has reset the machine");
		break;
	case MACHINE_PANIC:
		snprintf(why, sizeof(why), "the guest's kernel has panicked");
		break;
	case MACHINE_TRIPLE_FAULT:
		snprintf(why, sizeof(why), "the guest's kernel has crashed (%s)",
			 sup->machine_detail);
		break;
	default:
		snprintf(
			why, sizeof(why),
			"KVM cannot go on (%s); bulkhead check tells whether this host can run guests",
			sup->machine_detail);
		break;
	}
	supervisor_fail(sup, false, why);
}

void supervisor_report(struct supervisor *sup)
{
	char text[sizeof(sup->why) + TAIL_SIZE + 2];
	uint32_t status = (uint32_t)sup->status;
	size_t len;

	if (!sup->failed) {
		control_finish(sup->control, &status, ESRCH, "the container has stopped");
		return;
	}
	len = (size_t)snprintf(text, sizeof(text), "%s", sup->why);
	if (!sup->told && sup->machine) {
		text[len++] = '\n';
		if (console_ring_tail(machine_console(sup->machine), TAIL_LINES, text + len,
				      sizeof(text) - len) == 0)
			text[--len] = '\0';
	}
	/* One line for one failure: a parent logs what it is told. */
	log_write(control_has_parent(sup->control) ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR, "%s: %s",
		  sup->options->id, text);
	/* The caller, who is in no jail, can look at what is wrong with the host. */
	control_finish(sup->control, NULL, sup->machine_end == MACHINE_KVM_ERROR ? ENODEV : EIO,
		       text);
}

void supervisor_flush(struct supervisor *sup)
{
	for (int waited = 0; waited < FLUSH_MS && !control_flushed(sup->control); waited += 10)
		loop_step(&sup->loop, 10);
}
