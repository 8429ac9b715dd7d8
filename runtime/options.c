#include "runtime/options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS_MAX 40
#define KEY_HELP    'h'

static const struct option_spec help_option[] = {{KEY_HELP, "help", NULL, "Print this help"}, {0}};

/* The tables of one command, in the order of its help. */
#define TABLES 3

struct tables {
	const struct option_spec *at[TABLES];
};

static struct tables list_tables(const struct command_line *line)
{
	return (struct tables){{line->options, line->inherited, help_option}};
}

/* For getopt: the long options, and the letters of the short ones. */
struct getopt_tables {
	struct option options[OPTIONS_MAX + 1];
	char letters[2 * OPTIONS_MAX + 3];
};

static void fill(struct getopt_tables *out, const struct command_line *line)
{
	struct tables tables = list_tables(line);
	size_t count = 0, used = 0;

	memset(out, 0, sizeof(*out));
	if (line->in_order)
		out->letters[used++] = '+';
	out->letters[used++] = ':';
	for (int t = 0; t < TABLES; t++)
		for (const struct option_spec *spec = tables.at[t]; spec && spec->name; spec++) {
			if (count == OPTIONS_MAX)
				abort();
			out->options[count++] = (struct option){
				spec->name, spec->value ? required_argument : no_argument, NULL,
				spec->key};
			if (spec->key > 255)
				continue;
			out->letters[used++] = (char)spec->key;
			if (spec->value)
				out->letters[used++] = ':';
		}
}

static void print_help(const struct command_line *line, const char *name)
{
	struct tables tables = list_tables(line);

	printf("usage: %s [OPTION]...%s%s\n%s\n\n", name, line->arguments ? " " : "",
	       line->arguments ? line->arguments : "", line->about);
	for (int t = 0; t < TABLES; t++)
		for (const struct option_spec *spec = tables.at[t]; spec && spec->name; spec++) {
			char letter[] = {'-', (char)spec->key, ',', '\0'};
			char left[64];

			snprintf(left, sizeof(left), "%3s --%s%s%s", spec->key > 255 ? "" : letter,
				 spec->name, spec->value ? " " : "",
				 spec->value ? spec->value : "");
			printf("  %-28s %s\n", left, spec->help);
		}
	if (line->epilogue)
		printf("\n%s\n", line->epilogue);
	exit(fflush(stdout) == EOF);
}

/* optopt is 0 for a long option that does not exist. */
static int refuse_option(char **argv, struct error *err)
{
	const char *text = argv[optind - 1];

	if (optopt == 0 || !strncmp(text, "--", 2))
		return error_say(err, EINVAL,
				 optopt ? "option %s takes no value" : "unknown option %s", text);
	return error_say(err, EINVAL, "unknown option -%c", optopt);
}

static int parse(const struct command_line *line, int argc, char **argv, option_taker *take,
		 void *input, struct error *err)
{
	struct getopt_tables tables;
	int key, ret = 0;

	fill(&tables, line);
	opterr = 0;
	optind = 0; /* begin anew, with glibc */
	while (ret == 0) {
		key = getopt_long(argc, argv, tables.letters, tables.options, NULL);
		if (key == -1)
			break;
		if (key == KEY_HELP)
			print_help(line, argv[0]);
		if (key == '?')
			ret = refuse_option(argv, err);
		else if (key == ':')
			ret = error_say(err, EINVAL, "option %s needs a value", argv[optind - 1]);
		else
			ret = take(input, key, optarg, err);
	}
	if (ret == 0 && line->missing && optind == argc)
		return error_say(err, EINVAL, "%s is missing", line->missing);
	while (ret == 0 && !line->in_order && optind < argc)
		ret = take(input, OPTION_ARGUMENT, argv[optind++], err);
	return ret;
}

int options_parse(const struct command_line *line, int argc, char **argv, option_taker *take,
		  void *input, struct error *err)
{
	struct error why = {0};
	int ret = parse(line, argc, argv, take, input, &why);

	if (ret < 0)
		return error_say(err, -ret, "%s: %s: see %s --help", argv[0], why.message, argv[0]);
	return optind;
}

int options_refuse(const char *argument, struct error *err)
{
	return error_say(err, EINVAL, "unexpected argument \"%s\"", argument);
}

int options_take_id(void *id, int key, char *value, struct error *err)
{
	char **out = id;

	if (key != OPTION_ARGUMENT || *out)
		return options_refuse(value, err);
	*out = value;
	return 0;
}

int options_take_nothing(void *input, int key, char *value, struct error *err)
{
	(void)input;
	(void)key;
	return options_refuse(value, err);
}
