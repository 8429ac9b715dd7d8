/*
 * seccomp: a running VMM's threads can make the system calls of vmm/filters/rules.h and no others.
 * One that makes another writes a line that names thread and call to the log, and the process ends
 * by SIGSYS.
 */
#ifndef VMM_FILTER_H
#define VMM_FILTER_H

#include "common/error.h"
#include "vmm/filters/kinds.h"

/* Once per process, before any filter: what says the last word. */
int filter_prepare(struct error *err);

/*
 * Confines the calling thread for ever, and those that it makes; so it is called when there are no
 * more to make. Needs no_new_privs. A process that cannot be confined does not go on: it ends.
 */
void filter_enter(enum filter_kind kind);

/* Prints the names of the system calls that some thread can make, one a line. */
void filter_print_calls(void);

#endif
