/* bulkhead cache: the layer images that are kept. */
#include "runtime/command.h"
#include "runtime/layer_build.h"
#include "runtime/layer_cache.h"
#include "runtime/options.h"
#include "runtime/progress.h"
#include "runtime/scratch.h"
#include "runtime/store.h"

#include "common/cleanup.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { OPT_MAX = 256, OPT_ALL, OPT_JSON };

static const struct option_spec options[] = {
	{OPT_MAX, "max-size", "SIZE", "gc: how much may be left (default: the cache's bound)"},
	{OPT_ALL, "all", NULL, "gc: all that no VM uses"},
	{OPT_JSON, "json", NULL, "ls: as JSON"},
	{0},
};

static const struct command_line command_line = {
	.arguments = "ls|gc|verify",
	.about =
		"Layers of roots and images are kept as disk images, which VMs share. ls lists them,\n"
		"gc removes what was not used for the longest time, verify reads all of them and\n"
		"removes those that are damaged.",
	.options = options,
	.missing = "ls, gc or verify",
};

struct arguments {
	const char *verb;
	uint64_t max;
	bool json;
};

static int take(void *input, int key, char *value, struct error *err)
{
	struct arguments *a = input;

	switch (key) {
	case OPT_MAX:
		return error_prefix(err, scratch_parse_size(value, &a->max, err), "--max-size");
	case OPT_ALL:
		a->max = 0;
		return 0;
	case OPT_JSON:
		a->json = true;
		return 0;
	default:
		if (a->verb)
			return options_refuse(value, err);
		a->verb = value;
		return 0;
	}
}

static void print_json(const struct layer_entry *entries, ssize_t count)
{
	json_t *list = json_array();
	cleanup_free char *text = NULL;

	for (ssize_t i = 0; i < count; i++)
		json_array_append_new(
			list, json_pack("{s:s, s:s, s:I, s:I, s:b, s:b}", "key", entries[i].key,
					"source", entries[i].source ? entries[i].source : "",
					"size", (json_int_t)entries[i].size, "lastUsed",
					(json_int_t)entries[i].last_used, "inUse",
					entries[i].in_use, "sealed", entries[i].sealed));
	text = json_dumps(list, JSON_INDENT(2));
	puts(text ? text : "[]");
	json_decref(list);
}

static void print_table(const struct layer_entry *entries, ssize_t count)
{
	printf("%-18s %10s  %-16s %-7s %s\n", "KEY", "KIB", "LAST USED", "STATE", "SOURCE");
	for (ssize_t i = 0; i < count; i++) {
		const struct layer_entry *entry = &entries[i];
		char when[32];
		struct tm tm;

		strftime(when, sizeof(when), "%Y-%m-%d %H:%M", localtime_r(&entry->last_used, &tm));
		printf("%-18.18s %10llu  %-16s %-7s %s\n", entry->key,
		       (unsigned long long)(entry->size >> 10), when,
		       entry->in_use   ? "in use"
		       : entry->sealed ? "sealed"
				       : "",
		       entry->source ? entry->source : "?");
	}
}

static int list(const struct arguments *a, struct error *err)
{
	struct layer_entry *entries;
	ssize_t count = layer_list(&entries, err);

	if (count < 0)
		return (int)count;
	if (a->json)
		print_json(entries, count);
	else
		print_table(entries, count);
	layer_list_free(entries, (size_t)count);
	return 0;
}

static int collect(const struct arguments *a, struct error *err)
{
	uint64_t freed, left;
	int ret = layer_evict(a->max, &freed, &left, err);

	if (ret < 0)
		return ret;
	layer_recall_clean();
	printf("%llu KiB removed, %llu KiB left\n", (unsigned long long)(freed >> 10),
	       (unsigned long long)(left >> 10));
	return 0;
}

/* Damaged ones are removed; one that a VM reads right now stays for it, and is told. */
static int verify(struct error *err)
{
	struct layer_entry *entries;
	ssize_t count = layer_list(&entries, err);
	unsigned int damaged = 0;

	if (count < 0)
		return (int)count;
	for (ssize_t i = 0; i < count; i++) {
		struct error why = {0};

		progress_show("layers verified", (uint64_t)i << 20, (uint64_t)count << 20);
		if (layer_verify(entries[i].key, &why) == 0)
			continue;
		progress_end();
		damaged++;
		printf("%s: %s: %s\n", entries[i].key, why.message,
		       layer_remove(entries[i].key, NULL) < 0 ? "in use, not removed" : "removed");
	}
	progress_end();
	layer_list_free(entries, (size_t)count);
	printf("%zd layers, %u damaged\n", count, damaged);
	return damaged ? error_say(err, EUCLEAN, "cache: %u layers were damaged", damaged) : 0;
}

int cmd_cache(struct globals *globals, int argc, char **argv, struct error *err)
{
	struct arguments a = {.max = store_limit()};
	int ret = options_parse(&command_line, argc, argv, take, &a, err);

	(void)globals;
	if (ret < 0)
		return ret;
	if (!strcmp(a.verb, "ls"))
		ret = list(&a, err);
	else if (!strcmp(a.verb, "gc"))
		ret = collect(&a, err);
	else if (!strcmp(a.verb, "verify"))
		ret = verify(err);
	else
		return error_say(err, EINVAL, "cache: \"%s\" is not one of ls, gc, verify", a.verb);
	if (fflush(stdout) == EOF && ret == 0)
		ret = error_set(err, errno, "write the list");
	return ret;
}
