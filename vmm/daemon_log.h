/*
 * What a helper process says on its standard error becomes entries of the log. It may be in an
 * attacker's hands: lines are cut and cleaned, and after a hundred within an hour there is silence
 * for the rest of it.
 */
#ifndef VMM_DAEMON_LOG_H
#define VMM_DAEMON_LOG_H

#include <stddef.h>
#include <time.h>

#include "common/loop.h"

#define DAEMON_LINE_MAX	 512
#define DAEMON_LINES_MAX 100

struct daemon_log {
	const char *name;
	struct loop *loop;
	struct loop_watch watch;
	int fd;		    /* read end of a pipe, owned */
	unsigned int lines; /* since hour */
	time_t hour;	    /* when they began, of CLOCK_MONOTONIC */
	size_t used;
	char line[DAEMON_LINE_MAX];
};

/* Takes fd over; -1: there is nothing to be heard. Returns 0 or a negative errno. */
int daemon_log_open(struct daemon_log *log, const char *name, int fd, struct loop *loop);

/* Logs what is still there, and closes. Harmless twice, and on a zeroed one with fd -1. */
void daemon_log_close(struct daemon_log *log);

#endif
