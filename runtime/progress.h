/* Progress of what takes a while, on stderr when that is a terminal, and nowhere else. */
#ifndef RUNTIME_PROGRESS_H
#define RUNTIME_PROGRESS_H

#include <stdint.h>

/*
 * Shows how far it is, at most some times a second. total 0: not known. Nothing appears in the
 * first half second, so what is quick leaves no trace.
 */
void progress_show(const char *what, uint64_t done, uint64_t total);

/* Takes the line away. */
void progress_end(void);

#endif
