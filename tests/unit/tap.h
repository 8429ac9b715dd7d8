/* A tap for tests, in a network namespace of the test's own, which has to run as root. */
#ifndef TESTS_UNIT_TAP_H
#define TESTS_UNIT_TAP_H

#include <stdbool.h>

#define TAP_ETHERTYPE 0x88b5 /* for experiments: the host's kernel sends none of its own */

/* Whether this host and this user can have one. */
bool tap_is_possible(void);

/* Enters a new namespace, and has it be silent. */
void tap_enter_namespace(void);
/* The tap, with headers, and a packet socket on the host's side of it, which is up. */
int tap_open(void);
int tap_open_outside(void);

#endif
