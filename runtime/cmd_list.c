#include "runtime/command.h"
#include "runtime/options.h"
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

static const struct option_spec options[] = {
	{'q', "quiet", NULL, "Only the ids"},
	{'f', "format", "FORMAT", "table or json"},
	{0},
};

static int take(void *input, int key, char *value, struct error *err)
{
	struct arguments *a = input;

	switch (key) {
	case 'q':
		a->quiet = true;
		return 0;
	case 'f':
		a->json = !strcmp(value, "json");
		if (!a->json && strcmp(value, "table") != 0)
			return error_say(err, EINVAL, "--format: \"%s\" is not table or json",
					 value);
		return 0;
	default:
		return options_refuse(value, err);
	}
}

static const struct command_line command_line = {
	.about = "Lists the containers.",
	.options = options,
};

/* What disappears while it is looked at is left out. */
static json_t *describe(const char *root, const char *id)
{
	cleanup_state struct state state = STATE_INIT;
	struct error ignored = {0};

	if (state_peek(&state, root, id, &ignored) < 0)
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

static void print_json(json_t *list)
{
	json_dumpf(list, stdout, JSON_COMPACT);
	putchar('\n');
}

static json_t *collect(const char *root, struct error *err)
{
	struct dirent **entries = NULL;
	json_t *list = json_array();
	int count = scandir(root, &entries, NULL, alphasort);

	if (count < 0 && errno != ENOENT) {
		error_set(err, errno, "list %s", root);
		json_decref(list);
		return NULL;
	}
	for (int i = 0; i < count; i++) {
		json_t *doc = describe(root, entries[i]->d_name);

		if (doc)
			json_array_append_new(list, doc);
		free(entries[i]);
	}
	free(entries);
	return list;
}

int cmd_list(struct globals *globals, int argc, char **argv, struct error *err)
{
	struct arguments a = {0};
	json_t *list;
	int ret = options_parse(&command_line, argc, argv, take, &a, err);

	if (ret < 0)
		return ret;
	list = collect(globals->root, err);
	if (!list)
		return -EIO;
	if (a.quiet)
		print_ids(list);
	else if (a.json)
		print_json(list);
	else
		print_table(list);
	json_decref(list);
	return fflush(stdout) == EOF ? error_set(err, errno, "write the list") : 0;
}
