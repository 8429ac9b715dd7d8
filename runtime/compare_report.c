#include "runtime/compare.h"
#include "runtime/file.h"

#include "common/cleanup.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LABEL_WIDTH 28
#define CELL_MAX    96

static const struct {
	enum compare_moment moment;
	const char *key, *words;
	bool always; /* every subject has it */
} moments[] = {
	{COMPARE_VMM_STARTED, "vmm_started", "VMM started", false},
	{COMPARE_VM_CREATED, "vm_created", "VM created", false},
	{COMPARE_KERNEL_ENTERED, "kernel_entered", "kernel entered", false},
	{COMPARE_AGENT_READY, "agent_ready", "agent ready", false},
	{COMPARE_CREATED, "created", "created", true},
	{COMPARE_STARTED, "started", "started", true},
};

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The value below which that part of all lies; NAN when there is none. Nearest rank. */
static double quantile(const struct compare_subject *subject, enum compare_moment moment,
		       double part)
{
	double sorted[COMPARE_RUNS_MAX];
	unsigned int count = 0;

	for (unsigned int i = 0; i < subject->runs; i++)
		if (!isnan(subject->moments[moment][i]))
			sorted[count++] = subject->moments[moment][i];
	if (!count)
		return NAN;
	qsort(sorted, count, sizeof(sorted[0]), compare_doubles);
	if (part == 0.5 && count % 2 == 0)
		return (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
	return sorted[((unsigned int)(part * 100) * count + 99) / 100 - 1];
}

/* --- the table --- */

typedef void cell_fn(const struct compare *compare, const struct compare_subject *subject,
		     char *out);

static void print_ms(char *out, double ms)
{
	if (isnan(ms))
		snprintf(out, CELL_MAX, "-");
	else
		snprintf(out, CELL_MAX, "%.1f", ms);
}

static void print_mib(char *out, uint64_t bytes)
{
	snprintf(out, CELL_MAX, "%.1f", (double)bytes / (1 << 20));
}

static void cell_median(const struct compare *compare, const struct compare_subject *subject,
			char *out)
{
	(void)compare;
	print_ms(out, quantile(subject, COMPARE_STARTED, 0.5));
}

static void cell_p95(const struct compare *compare, const struct compare_subject *subject,
		     char *out)
{
	(void)compare;
	print_ms(out, quantile(subject, COMPARE_STARTED, 0.95));
}

static void cell_pss(const struct compare *compare, const struct compare_subject *subject,
		     char *out)
{
	(void)compare;
	print_mib(out, subject->footprint.host_pss);
}

static void cell_processes(const struct compare *compare, const struct compare_subject *subject,
			   char *out)
{
	(void)compare;
	snprintf(out, CELL_MAX, "%u", subject->footprint.host_processes);
}

static void cell_guest(const struct compare *compare, const struct compare_subject *subject,
		       char *out)
{
	const struct compare_footprint *footprint = &subject->footprint;

	(void)compare;
	if (subject->vm)
		snprintf(out, CELL_MAX, "%.1f of %.0f", (double)footprint->guest_used / (1 << 20),
			 (double)footprint->guest_total / (1 << 20));
	else
		snprintf(out, CELL_MAX, "-");
}

static void cell_disk(const struct compare *compare, const struct compare_subject *subject,
		      char *out)
{
	print_mib(out, compare->root_bytes + subject->footprint.disk_images);
}

static void cell_kernel(const struct compare *compare, const struct compare_subject *subject,
			char *out)
{
	(void)compare;
	snprintf(out, CELL_MAX, "%s", subject->footprint.kernel);
}

static void cell_surface(const struct compare *compare, const struct compare_subject *subject,
			 char *out)
{
	struct compare_surface surface = compare_surface(compare, subject->vm);

	if (surface.open)
		snprintf(out, CELL_MAX, "%u of %u", surface.open, surface.all);
	else
		snprintf(out, CELL_MAX, "-");
}

static void cell_shared_kernel(const struct compare *compare, const struct compare_subject *subject,
			       char *out)
{
	(void)compare;
	snprintf(out, CELL_MAX, "%s", subject->vm ? "no" : "yes");
}

static void cell_namespaces(const struct compare *compare, const struct compare_subject *subject,
			    char *out)
{
	size_t used = 0;

	(void)compare;
	snprintf(out, CELL_MAX, "none");
	for (int i = 0; i < COMPARE_NAMESPACES; i++)
		if (subject->footprint.shares_namespace[i])
			used += (size_t)snprintf(out + used, CELL_MAX - used, "%s%s",
						 used ? " " : "", compare_namespaces[i]);
}

static void cell_users(const struct compare *compare, const struct compare_subject *subject,
		       char *out)
{
	(void)compare;
	snprintf(out, CELL_MAX, "%s", subject->footprint.shares_users ? "yes" : "no");
}

static const struct {
	const char *label; /* NULL: an empty line */
	cell_fn *cell;
} rows_before[] =
	{
		{"start-up, median ms", cell_median},
		{"start-up, p95 ms", cell_p95},
},
  rows_after[] = {
	  {"memory on the host, MiB", cell_pss},
	  {"processes on the host", cell_processes},
	  {"memory in the guest, MiB", cell_guest},
	  {"disk, MiB", cell_disk},
	  {"kernel seen", cell_kernel},
	  {"calls to the host's kernel", cell_surface},
	  {"shares the host's kernel", cell_shared_kernel},
	  {"shares its namespaces", cell_namespaces},
	  {"root is the host's root", cell_users},
};

static void print_row(const struct compare *compare, const char *label, cell_fn *cell,
		      const int widths[])
{
	char text[CELL_MAX];

	printf("%-*s", LABEL_WIDTH, label);
	for (unsigned int i = 0; i < compare->count; i++) {
		const struct compare_subject *subject = &compare->subjects[i];

		if (subject->failure)
			continue;
		cell(compare, subject, text);
		printf("  %*s", widths[i], text);
	}
	putchar('\n');
}

static void widen(const struct compare *compare, cell_fn *cell, int widths[])
{
	char text[CELL_MAX];

	for (unsigned int i = 0; i < compare->count; i++) {
		int len;

		cell(compare, &compare->subjects[i], text);
		len = (int)strlen(text);
		widths[i] = len > widths[i] ? len : widths[i];
	}
}

static void cell_name(const struct compare *compare, const struct compare_subject *subject,
		      char *out)
{
	(void)compare;
	snprintf(out, CELL_MAX, "%s%s", subject->name, subject->vm ? " (VM)" : "");
}

static void print_phases(const struct compare *compare, const int widths[])
{
	char text[CELL_MAX];

	for (size_t m = 0; m < sizeof(moments) / sizeof(moments[0]); m++) {
		printf("  %-*s", LABEL_WIDTH - 2, moments[m].words);
		for (unsigned int i = 0; i < compare->count; i++) {
			if (compare->subjects[i].failure)
				continue;
			print_ms(text, quantile(&compare->subjects[i], moments[m].moment, 0.5));
			printf("  %*s", widths[i], text);
		}
		putchar('\n');
	}
}

static void print_notes(const struct compare *compare)
{
	struct compare_surface vm = compare_surface(compare, true);
	struct compare_surface other = compare_surface(compare, false);
	bool running = true;

	for (unsigned int i = 0; i < compare->count; i++)
		running &= compare->subjects[i].footprint.running || compare->subjects[i].failure;
	printf("\n%u starts of each in turn. Start-up: create and start, until the workload runs; "
	       "phases are medians\nfrom the beginning. Memory: PSS of all processes%s. Disk: the "
	       "root, and a VM's images of it.\nCalls to the host's kernel: %s; in a VM %s.\n",
	       compare->runs, running ? " while the workload runs" : " before the workload starts",
	       other.whose, vm.whose);
	for (unsigned int i = 0; i < compare->count; i++)
		if (compare->subjects[i].failure)
			printf("Left out: %s\n", compare->subjects[i].failure);
}

int compare_print_table(const struct compare *compare, struct error *err)
{
	int widths[COMPARE_SUBJECTS_MAX] = {0};

	widen(compare, cell_name, widths);
	for (size_t i = 0; i < sizeof(rows_before) / sizeof(rows_before[0]); i++)
		widen(compare, rows_before[i].cell, widths);
	for (size_t i = 0; i < sizeof(rows_after) / sizeof(rows_after[0]); i++)
		widen(compare, rows_after[i].cell, widths);
	print_row(compare, "", cell_name, widths);
	for (size_t i = 0; i < sizeof(rows_before) / sizeof(rows_before[0]); i++)
		print_row(compare, rows_before[i].label, rows_before[i].cell, widths);
	print_phases(compare, widths);
	for (size_t i = 0; i < sizeof(rows_after) / sizeof(rows_after[0]); i++)
		print_row(compare, rows_after[i].label, rows_after[i].cell, widths);
	print_notes(compare);
	return fflush(stdout) == EOF ? error_set(err, errno, "write the table") : 0;
}

/* --- JSON --- */

static json_t *ms(double value)
{
	return isnan(value) ? json_null()
			    : json_real((double)(long long)(value * 1000 + 0.5) / 1000);
}

static json_t *phases_json(const struct compare_subject *subject)
{
	json_t *out = json_object();

	for (size_t m = 0; m < sizeof(moments) / sizeof(moments[0]); m++) {
		double median = quantile(subject, moments[m].moment, 0.5);

		if (!isnan(median) || moments[m].always)
			json_object_set_new(out, moments[m].key, ms(median));
	}
	return out;
}

static json_t *shared_json(const struct compare_subject *subject)
{
	json_t *namespaces = json_array();

	for (int i = 0; i < COMPARE_NAMESPACES; i++)
		if (subject->footprint.shares_namespace[i])
			json_array_append_new(namespaces, json_string(compare_namespaces[i]));
	return json_pack("{s:b, s:o, s:b}", "kernel", !subject->vm, "namespaces", namespaces,
			 "users", subject->footprint.shares_users);
}

static json_t *subject_json(const struct compare *compare, const struct compare_subject *subject)
{
	const struct compare_footprint *footprint = &subject->footprint;
	struct compare_surface surface = compare_surface(compare, subject->vm);
	json_t *values = json_array(), *memory, *out;

	if (subject->failure)
		return json_pack("{s:s, s:s}", "name", subject->name, "failure", subject->failure);
	for (unsigned int i = 0; i < subject->runs; i++)
		json_array_append_new(values, ms(subject->moments[COMPARE_STARTED][i]));
	memory = json_pack("{s:I, s:i, s:b}", "host_pss_bytes", (json_int_t)footprint->host_pss,
			   "host_processes", (int)footprint->host_processes, "workload_running",
			   footprint->running);
	if (subject->vm) {
		json_object_set_new(memory, "guest_used_bytes",
				    json_integer((json_int_t)footprint->guest_used));
		json_object_set_new(memory, "guest_total_bytes",
				    json_integer((json_int_t)footprint->guest_total));
	}
	out = json_pack("{s:s, s:s, s:b, s:{s:o, s:o, s:o}, s:o, s:o, s:{s:I, s:I}, s:s, "
			"s:{s:i, s:i, s:s}, s:o}",
			"name", subject->name, "path", subject->path, "vm", subject->vm,
			"startup_ms", "median", ms(quantile(subject, COMPARE_STARTED, 0.5)), "p95",
			ms(quantile(subject, COMPARE_STARTED, 0.95)), "runs", values, "phases_ms",
			phases_json(subject), "memory", memory, "disk", "root_bytes",
			(json_int_t)compare->root_bytes, "image_bytes",
			(json_int_t)footprint->disk_images, "kernel", footprint->kernel,
			"host_syscalls", "open", (int)surface.open, "of", (int)surface.all, "whose",
			surface.whose, "shared_with_host", shared_json(subject));
	return out;
}

int compare_print_json(const struct compare *compare, struct error *err)
{
	json_t *subjects = json_array();
	json_t *doc;
	int ret;

	for (unsigned int i = 0; i < compare->count; i++)
		json_array_append_new(subjects, subject_json(compare, &compare->subjects[i]));
	doc = json_pack("{s:s, s:i, s:o}", "bundle", compare->bundle, "runs", (int)compare->runs,
			"subjects", subjects);
	ret = doc ? json_dumpf(doc, stdout, JSON_INDENT(2)) : -1;
	json_decref(doc);
	if (ret < 0 || putchar('\n') == EOF || fflush(stdout) == EOF)
		return error_set(err, errno ? errno : EIO, "write the results");
	return 0;
}
