/*
 * Processes that live beside a VMM: its children, made in the process that is about to become it.
 * What that has entered by now (control groups) is theirs too. Each has to see for itself that it
 * ends with the VMM, however that ends.
 */
#ifndef RUNTIME_COMPANION_H
#define RUNTIME_COMPANION_H

#include <stdint.h>

struct companion {
	const char *step; /* what failed, should run return; a text that parent and child have */
	int status_fd;
};

/*
 * Forks with new namespaces (CLONE_NEW...) and calls run there, which returns only when something
 * failed, with errno set. Returns 0 once it is under way (it has executed something, or called
 * companion_ready), or a negative errno and the step that failed.
 */
int companion_start(uint64_t namespaces, void (*run)(struct companion *companion, void *ctx),
		    void *ctx, const char **step);

/* In run: all that can fail has been done. */
void companion_ready(struct companion *companion);

#endif
