/* Terminals: the pair made for an engine's console socket, and the user's own for `run`. */
#ifndef RUNTIME_CONSOLE_H
#define RUNTIME_CONSOLE_H

#include "common/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <termios.h>

/*
 * Makes a pseudo-terminal, sends its master side to the engine's socket at path, and puts the other
 * side, raw, into *tty_fd: the guest's own terminal does the line discipline.
 */
int console_send(const char *path, int *tty_fd, struct error *err);

/* The user's terminal while a container has it. */
struct console {
	int fd; /* -1: not a terminal */
	struct termios saved;
	bool raw;
	pid_t relay; /* 0: none */
};

#define CONSOLE_INIT     \
	{                \
		.fd = -1 \
	}

/*
 * The terminal of a process that its caller waits for: stdin, when it is one, and *tty_fd stays as
 * it is. Else a pair is made, whose one end goes to *tty_fd, the caller's to close as soon as the
 * VMM has it, and between whose other end and our stdin and stdout a process of its own passes all
 * bytes on.
 */
int console_open(struct console *console, int *tty_fd, struct error *err);
void console_set_raw(struct console *console);
bool console_size(const struct console *console, uint16_t *rows, uint16_t *columns);

/* The first size goes with the process: it may look before any other message reaches the guest. */
void console_describe_size(const struct console *console, json_t *process);

/* Puts the terminal back as it was; waits until what the workload wrote to a pair has been passed
 * on. */
void console_close(struct console *console);

#endif
