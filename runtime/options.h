/* Command lines as data: parsed by getopt_long, listed by --help, and told in one line when wrong.
 */
#ifndef RUNTIME_OPTIONS_H
#define RUNTIME_OPTIONS_H

#include "common/error.h"

#include <stdbool.h>

struct option_spec {
	int key; /* a letter: the short option; above 255: there is none */
	const char *name;
	const char *value; /* what the help calls its value; NULL: it takes none */
	const char *help;
};

struct command_line {
	const char *arguments; /* for the help: "ID [SIGNAL]", or NULL */
	const char *about;
	const struct option_spec *options;   /* ended by {0}; may be NULL */
	const struct option_spec *inherited; /* more of them; may be NULL */
	const char *missing;  /* what to call the argument that must be there, or NULL */
	const char *epilogue; /* the end of the help, or NULL */
	bool in_order; /* the first argument ends the options: all that follows is another's */
};

/* Takes an option's value, or with key OPTION_ARGUMENT an argument. Returns 0 or a negative errno.
 */
typedef int option_taker(void *input, int key, char *value, struct error *err);

#define OPTION_ARGUMENT 0

/*
 * Hands every option and argument to take. argv[0] is the command's name in messages. Returns the
 * index of the first argument not looked at, or a negative errno; --help is printed and ends the
 * process with 0.
 */
int options_parse(const struct command_line *line, int argc, char **argv, option_taker *take,
		  void *input, struct error *err);

/* The refusal of an argument too many, for a taker. */
int options_refuse(const char *argument, struct error *err);

/* A taker for a command without options whose only argument is the container's id. */
int options_take_id(void *id, int key, char *value, struct error *err);

/* A taker for a command without options or arguments. */
int options_take_nothing(void *input, int key, char *value, struct error *err);

#endif
