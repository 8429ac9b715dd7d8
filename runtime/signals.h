/* Standing for a workload: its signals go to it, and its end becomes ours. */
#ifndef RUNTIME_SIGNALS_H
#define RUNTIME_SIGNALS_H

#include <signal.h>

/* In a child that is to become another program: each does what it does by default, and none is
 * blocked. */
void signals_reset(void);

/*
 * All that can be caught, except the ones about this process itself: its child, its own faults, and
 * its being in the background of its terminal.
 */
void signals_to_forward(sigset_t *set);

/* Blocks them, and gives a descriptor to read them from, or a negative errno. */
int signals_open(void);

/* The same for those by which a user or a service manager gives up an attempt. */
int signals_open_ends(void);

/* Ends this process with a wait status: the same exit code, or by the same signal without a core.
 */
_Noreturn void end_as(int status);

/* stdin and stdout become /dev/null: their other ends must see the workload's closing, not ours. */
void leave_streams(void);

#endif
