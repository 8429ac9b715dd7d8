/* Terminals: the pair made for an engine's console socket, and the user's own for `run`. */
#ifndef RUNTIME_CONSOLE_H
#define RUNTIME_CONSOLE_H

#include "common/error.h"

#include <stdbool.h>
#include <stdint.h>
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
};

#define CONSOLE_INIT     \
	{                \
		.fd = -1 \
	}

/* Takes stdin when it is a terminal; otherwise does nothing. */
void console_open(struct console *console);
void console_set_raw(struct console *console);
bool console_size(const struct console *console, uint16_t *rows, uint16_t *columns);

/* Puts the terminal back as it was. */
void console_close(struct console *console);

#endif
