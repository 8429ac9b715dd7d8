#include "runtime/command.h"
#include "runtime/state.h"

#include "common/cleanup.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS 6

struct arguments {
	bool quiet, json;
};

static const struct argp_option options[] = {
	{"quiet", 'q', NULL, 0, "Only the ids", 0},
	{"format", 'f', "FORMAT", 0, "table or json", 0},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *a = state->input;

	switch (key) {
	case 'q':
		a->quiet = true;
		return 0;
	case 'f':
		a->json = !strcmp(arg, "json");
		if (!a->json && strcmp(arg, "table") != 0)
			argp_error(state, "unknown format \"%s\"", arg);
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "too many arguments: \"%s\"", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {options, parse, NULL, "Lists the containers.", NULL, NULL, NULL};

/* What disappears while it is looked at is left out. */
static json_t *describe(const char *root, const char *id)
{
	cleanup_state struct state state = STATE_INIT;
	struct error ignored = {0};

	if (state_open(&state, root, id, &ignored) < 0)
		return NULL;
	return state_describe(&state);
}

static void print_table(json_t *list)
{
	static const char *const names[COLUMNS] = {"id",     "pid",	"status",
						   "bundle", "created", "owner"};
	static const char *const titles[COLUMNS] = {"ID",     "PID",	 "STATUS",
						    "BUNDLE", "CREATED", "OWNER"};
	int widths[COLUMNS];
	json_t *item;
	size_t i;

	for (int c = 0; c < COLUMNS; c++) {
		widths[c] = 12;
		json_array_foreach (list, i, item) {
			int len = (int)json_string_length(json_object_get(item, names[c])) + 3;

			if (len > widths[c])
				widths[c] = len;
		}
	}
	for (int c = 0; c < COLUMNS; c++)
		printf("%-*s", c + 1 < COLUMNS ? widths[c] : 0, titles[c]);
	putchar('\n');
	json_array_foreach (list, i, item) {
		for (int c = 0; c < COLUMNS; c++) {
			json_t *value = json_object_get(item, names[c]);
			int width = c + 1 < COLUMNS ? widths[c] : 0;

			if (json_is_integer(value))
				printf("%-*lld", width, (long long)json_integer_value(value));
			else
				printf("%-*s", width, json_string_value(value) ?: "");
		}
		putchar('\n');
	}
}

static void print_ids(json_t *list)
{
	json_t *item;
	size_t i;

	json_array_foreach (list, i, item)
		puts(json_string_value(json_object_get(item, "id")));
}

int cmd_list(struct globals *globals, int argc, char **argv, struct error *err)
{
	struct dirent **entries;
	struct arguments a = {0};
	json_t *list = json_array();
	int count;

	argp_parse(&argp, argc, argv, 0, NULL, &a);
	count = scandir(globals->root, &entries, NULL, alphasort);
	if (count < 0)
		return error_set(err, errno, "list %s", globals->root);
	for (int i = 0; i < count; i++) {
		json_t *doc = describe(globals->root, entries[i]->d_name);

		if (doc)
			json_array_append_new(list, doc);
		free(entries[i]);
	}
	free(entries);
	if (a.quiet)
		print_ids(list);
	else if (a.json)
		json_dumpf(list, stdout, JSON_COMPACT);
	else
		print_table(list);
	json_decref(list);
	return 0;
}
