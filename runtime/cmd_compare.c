/*
 * compare: the same bundle as a container in a VM, and in namespaces by crun and runc, in turn;
 * then a table of what people want to know about the difference.
 */
#include "runtime/command.h"
#include "runtime/compare.h"
#include "runtime/tool.h"
#include "runtime/options.h"
#include "runtime/vmm_files.h"

#include "common/cleanup.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RUNS_DEFAULT 10
#define BAR_WIDTH    30

struct arguments {
	const char *bundle;
	unsigned int runs;
	bool json;
};

enum { OPT_JSON = 256 };

static const struct option_spec options[] = {
	{'n', "runs", "N", "Starts of each (default 10)"},
	{OPT_JSON, "json", NULL, "Print JSON, with every single time"},
	{0},
};

static int take(void *input, int key, char *value, struct error *err)
{
	struct arguments *a = input;
	char *end;
	long number;

	switch (key) {
	case 'n':
		number = strtol(value, &end, 10);
		if (end == value || *end || number < 1 || number > COMPARE_RUNS_MAX)
			return error_say(err, EINVAL, "--runs %s: must be 1 to %d", value,
					 COMPARE_RUNS_MAX);
		a->runs = (unsigned int)number;
		return 0;
	case OPT_JSON:
		a->json = true;
		return 0;
	default:
		if (a->bundle)
			return options_refuse(value, err);
		a->bundle = value;
		return 0;
	}
}

static const struct command_line command_line = {
	.arguments = "BUNDLE",
	.about = "Runs a bundle in a VM and in namespaces, by turns, and shows the difference.",
	.options = options,
	.missing = "the bundle",
};

/* On a terminal: how far it is. */
static void show_progress(const struct compare *compare, unsigned int done, const char *doing)
{
	unsigned int all = (compare->runs + 1) * compare->count;
	unsigned int filled;

	if (!isatty(STDERR_FILENO) || !all)
		return;
	filled = done * BAR_WIDTH / all;
	if (!doing) {
		fprintf(stderr, "\r%*s\r", BAR_WIDTH + 40, "");
		return;
	}
	fprintf(stderr, "\r[%.*s%*s] %u/%u %-10s", (int)filled, "##############################",
		(int)(BAR_WIDTH - filled), "", done, all, doing);
	fflush(stderr);
}

static volatile sig_atomic_t interrupted;

static void interrupt(int sig)
{
	(void)sig;
	interrupted = 1;
}

/* A container that is being made is deleted before we go. */
static void watch_interrupts(void)
{
	struct sigaction action = {.sa_handler = interrupt, .sa_flags = SA_RESTART};

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
}

/* bulkhead itself must do; the others are left out, with a word, when they cannot. */
static int run_once(struct compare *compare, struct compare_subject *subject, bool measure,
		    struct error *err)
{
	struct error why = {0};
	int ret = compare_run(compare, subject, measure, &why);

	if (ret == 0)
		return 0;
	if (subject->vm || interrupted)
		return error_say(err, -ret, "%s", why.message);
	subject->failure = strdup(why.message);
	return 0;
}

/* The first round is not counted: it fills caches, and there is time to measure. */
static int run_all(struct compare *compare, struct error *err)
{
	unsigned int done = 0;

	for (unsigned int round = 0; round <= compare->runs; round++) {
		for (unsigned int i = 0; i < compare->count; i++, done++) {
			struct compare_subject *subject = &compare->subjects[i];
			int ret = 0;

			show_progress(compare, done, subject->name);
			if (!subject->failure)
				ret = run_once(compare, subject, round == 0, err);
			if (ret < 0 || interrupted) {
				show_progress(compare, done, NULL);
				return ret < 0 ? ret
					       : error_say(err, EINTR, "interrupted by a signal");
			}
		}
	}
	show_progress(compare, done, NULL);
	return 0;
}

static void add(struct compare *compare, const char *name, char *path, bool vm)
{
	struct compare_subject *subject = &compare->subjects[compare->count];

	if (!path)
		return;
	subject->name = name;
	subject->path = path;
	subject->vm = vm;
	compare->count++;
}

static int find_subjects(struct compare *compare, struct error *err)
{
	add(compare, "bulkhead", realpath("/proc/self/exe", NULL), true);
	if (!compare->count)
		return error_set(err, errno, "find myself");
	add(compare, "crun", find_tool("crun"), false);
	add(compare, "runc", find_tool("runc"), false);
	if (compare->count == 1)
		return error_say(err, ENOENT,
				 "there is neither crun nor runc to compare with: install one of "
				 "them");
	return 0;
}

int cmd_compare(struct globals *globals, int argc, char **argv, struct error *err)
{
	static struct compare compare;
	cleanup_vmm_files struct vmm_files files = {0};
	struct arguments a = {.runs = RUNS_DEFAULT};
	int ret = options_parse(&command_line, argc, argv, take, &a, err);

	if (ret < 0)
		return ret;
	compare.bundle = a.bundle;
	compare.runs = a.runs;
	vmm_find_files(&files, &globals->settings);
	compare.vmm = files.vmm;
	watch_interrupts();
	ret = find_subjects(&compare, err);
	if (ret == 0)
		ret = compare_prepare(&compare, err);
	if (ret == 0)
		ret = run_all(&compare, err);
	if (ret == 0)
		ret = a.json ? compare_print_json(&compare, err)
			     : compare_print_table(&compare, err);
	compare_destroy(&compare);
	return ret;
}
