/* The counts of eventfds and timerfds that do not block. */
#ifndef COMMON_EVENT_H
#define COMMON_EVENT_H

#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

/* Signals an eventfd. One that is full was signalled already, so a failed write loses nothing. */
static inline void event_signal(int fd)
{
	uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) < 0)
		return;
}

/*
 * Takes what was counted: quiet until there is more. Returns false when there is nothing, because
 * somebody else took it or the timer was set anew in the meantime.
 */
static inline bool event_take(int fd)
{
	uint64_t count;

	return read(fd, &count, sizeof(count)) > 0;
}

#endif
