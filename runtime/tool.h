/* Other programs that do a piece of work for us: mkfs.erofs, skopeo, ... */
#ifndef RUNTIME_TOOL_H
#define RUNTIME_TOOL_H

#include "common/error.h"

#include <sys/types.h>

/* The path of a tool, looked for in PATH and in the usual places. NULL when it is missing. */
char *find_tool(const char *name);

/* A tool on its way. */
struct tool {
	const char *name;
	pid_t pid;
	int output_fd; /* what it says on stdout and stderr; readable until it ends */
};

/*
 * Starts argv[0] with fds (ended by -1; NULL: none) inherited at their own numbers. package is what
 * the message tells to install when it is missing. It dies with us.
 */
int tool_start(struct tool *tool, char **argv, const int *fds, const char *package,
	       struct error *err);

/* Waits for its end. A failure is told by the last line that it said. */
int tool_finish(struct tool *tool, struct error *err);

/* Both, one after the other. argv[0] may be a path. */
int tool_run(char **argv, const int *fds, const char *package, struct error *err);

/* The same with its stdout in *out (malloc'ed, terminated, at most max bytes); stderr is for err.
 */
ssize_t tool_read(char **argv, const char *package, size_t max, char **out, struct error *err);

/* tool_run with a file as its stdin. */
int tool_run_input(char **argv, int input_fd, const char *package, struct error *err);

/* tool_run, and what it says is for the terminal. */
int tool_show(char **argv, const char *package, struct error *err);

#endif
