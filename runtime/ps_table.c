#include "runtime/ps_table.h"
#include "runtime/file.h"

#include "common/cleanup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CELL_MAX  64 /* of all columns but the last */
#define PID_WIDTH 7  /* at least, as ps has it */

struct row {
	struct proto_ps ps;
	char *name, *args;
};

typedef void cell_fn(const struct row *row, uint64_t memory, char *out, size_t size);

struct ps_column {
	const char *names; /* separated by commas */
	const char *title;
	bool number; /* aligned to the right */
	cell_fn *print;
};

static void print_pid(const struct row *row, uint64_t memory, char *out, size_t size)
{
	(void)memory;
	snprintf(out, size, "%u", row->ps.pid);
}

static void print_ppid(const struct row *row, uint64_t memory, char *out, size_t size)
{
	(void)memory;
	snprintf(out, size, "%u", row->ps.ppid);
}

static void print_uid(const struct row *row, uint64_t memory, char *out, size_t size)
{
	(void)memory;
	snprintf(out, size, "%u", row->ps.uid);
}

static void print_gid(const struct row *row, uint64_t memory, char *out, size_t size)
{
	(void)memory;
	snprintf(out, size, "%u", row->ps.gid);
}

/* Names are the image's affair, and it is not asked: but root is root everywhere. */
static void print_user(const struct row *row, uint64_t memory, char *out, size_t size)
{
	if (row->ps.uid)
		print_uid(row, memory, out, size);
	else
		snprintf(out, size, "root");
}

static void print_group(const struct row *row, uint64_t memory, char *out, size_t size)
{
	if (row->ps.gid)
		print_gid(row, memory, out, size);
	else
		snprintf(out, size, "root");
}

static double cpu_percent(const struct row *row)
{
	return row->ps.elapsed_ms ? 100.0 * (double)row->ps.cpu_ms / (double)row->ps.elapsed_ms : 0;
}

static void print_c(const struct row *row, uint64_t memory, char *out, size_t size)
{
	(void)memory;
	snprintf(out, size, "%.0f", cpu_percent(row));
}

static void print_pcpu(const struct row *row, uint64_t memory, char *out, size_t size)
{
	(void)memory;
	snprintf(out, size, "%.1f", cpu_percent(row));
}

static void print_pmem(const struct row *row, uint64_t memory, char *out, size_t size)
{
	double part = memory ? 100.0 * 1024 * (double)row->ps.rss_kib / (double)memory : 0;

	snprintf(out, size, "%.1f", part);
}

static void print_vsz(const struct row *row, uint64_t memory, char *out, size_t size)
{
	(void)memory;
	snprintf(out, size, "%llu", (unsigned long long)row->ps.vsz_kib);
}

static void print_rss(const struct row *row, uint64_t memory, char *out, size_t size)
{
	(void)memory;
	snprintf(out, size, "%llu", (unsigned long long)row->ps.rss_kib);
}

static void print_state(const struct row *row, uint64_t memory, char *out, size_t size)
{
	(void)memory;
	snprintf(out, size, "%c", (char)row->ps.state);
}

static void print_nice(const struct row *row, uint64_t memory, char *out, size_t size)
{
	(void)memory;
	snprintf(out, size, "%d", row->ps.nice);
}

static void print_threads(const struct row *row, uint64_t memory, char *out, size_t size)
{
	(void)memory;
	snprintf(out, size, "%u", row->ps.threads);
}

/* Device numbers as in /proc/PID/stat: major in bits 8 to 15; 136 and on are pts. */
static void print_tty(const struct row *row, uint64_t memory, char *out, size_t size)
{
	unsigned int major = row->ps.tty >> 8 & 0xfff;
	unsigned int minor = (row->ps.tty & 0xff) | (row->ps.tty >> 12 & 0xfff00);

	(void)memory;
	if (!row->ps.tty)
		snprintf(out, size, "?");
	else if (major >= 136 && major <= 143)
		snprintf(out, size, "pts/%u", (major - 136) * 256 + minor);
	else
		snprintf(out, size, "%u:%u", major, minor);
}

static void print_span(uint64_t seconds, bool hours, char *out, size_t size)
{
	unsigned long long days = seconds / 86400, h = seconds / 3600 % 24;
	unsigned long long m = seconds / 60 % 60, s = seconds % 60;

	if (days)
		snprintf(out, size, "%llu-%02llu:%02llu:%02llu", days, h, m, s);
	else if (h || hours)
		snprintf(out, size, "%02llu:%02llu:%02llu", h, m, s);
	else
		snprintf(out, size, "%02llu:%02llu", m, s);
}

static void print_time(const struct row *row, uint64_t memory, char *out, size_t size)
{
	(void)memory;
	print_span(row->ps.cpu_ms / 1000, true, out, size);
}

static void print_etime(const struct row *row, uint64_t memory, char *out, size_t size)
{
	(void)memory;
	print_span(row->ps.elapsed_ms / 1000, false, out, size);
}

static void print_etimes(const struct row *row, uint64_t memory, char *out, size_t size)
{
	(void)memory;
	snprintf(out, size, "%llu", (unsigned long long)(row->ps.elapsed_ms / 1000));
}

static void print_start(const struct row *row, uint64_t memory, char *out, size_t size)
{
	uint64_t elapsed = row->ps.elapsed_ms / 1000;
	time_t start = time(NULL) - (time_t)(elapsed < INT32_MAX ? elapsed : INT32_MAX);
	struct tm tm;

	(void)memory;
	localtime_r(&start, &tm);
	strftime(out, size, elapsed < 86400 ? "%H:%M" : "%b%d", &tm);
}

static void print_name(const struct row *row, uint64_t memory, char *out, size_t size)
{
	(void)memory;
	snprintf(out, size, "%s", row->name);
}

/* A process without arguments (a zombie) is shown by its name, as ps does. */
static void print_args(const struct row *row, uint64_t memory, char *out, size_t size)
{
	(void)memory;
	if (*row->args)
		snprintf(out, size, "%s", row->args);
	else
		snprintf(out, size, "[%s]", row->name);
}

static const struct ps_column columns[] = {
	{"pid,tgid", "PID", true, print_pid},
	{"ppid", "PPID", true, print_ppid},
	{"uid,euid", "UID", true, print_uid},
	{"user,uname,euser", "USER", false, print_user},
	{"gid,egid", "GID", true, print_gid},
	{"group,egroup", "GROUP", false, print_group},
	{"c", "C", true, print_c},
	{"pcpu,%cpu", "%CPU", true, print_pcpu},
	{"pmem,%mem", "%MEM", true, print_pmem},
	{"vsz,vsize", "VSZ", true, print_vsz},
	{"rss,rssize,rsz", "RSS", true, print_rss},
	{"s,state", "S", false, print_state},
	{"stat", "STAT", false, print_state},
	{"ni,nice", "NI", true, print_nice},
	{"nlwp,thcount", "NLWP", true, print_threads},
	{"tty,tt,tname", "TTY", false, print_tty},
	{"time,cputime", "TIME", true, print_time},
	{"etime", "ELAPSED", true, print_etime},
	{"etimes", "ELAPSED", true, print_etimes},
	{"stime", "STIME", true, print_start},
	{"start,start_time,bsdstart", "START", true, print_start},
	{"comm,ucmd,ucomm", "COMMAND", false, print_name},
	{"cmd", "CMD", false, print_args},
	{"args,command", "COMMAND", false, print_args},
};

static const struct ps_column *find_column(const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
		const char *at = columns[i].names;

		while (at) {
			size_t own = strcspn(at, ",");

			if (own == len && !strncmp(at, name, len))
				return &columns[i];
			at = at[own] ? at + own + 1 : NULL;
		}
	}
	return NULL;
}

/* "pid,user=WHO args": separated by commas or blanks; a title of one's own goes to the end. */
static int add_columns(struct ps_format *format, const char *list, struct error *err)
{
	while (*(list += strspn(list, ", "))) {
		size_t len = strcspn(list, ", =");
		const struct ps_column *column = find_column(list, len);

		if (!column)
			return error_say(err, EINVAL, "ps: unknown column \"%.*s\"", (int)len,
					 list);
		if (format->count == PS_COLUMNS_MAX)
			return error_say(err, E2BIG, "ps: more than %d columns", PS_COLUMNS_MAX);
		format->needs_memory |= column->print == print_pmem;
		format->columns[format->count] = column;
		list += len;
		if (*list == '=') {
			format->titles[format->count++] = list + 1;
			return 0;
		}
		format->count++;
	}
	return 0;
}

#define FULL "user=UID"
static const char bsd_user[] = "user,pid,pcpu,pmem,vsz,rss,tty,stat,start,time,command";
static const char bsd[] = "pid,tty,stat,time,command", plain[] = "pid,tty,time,comm";

static int add_full(struct ps_format *format, struct error *err)
{
	static const char *const own[] = {FULL, "pid,ppid,c,stime,tty,time,cmd"};
	int ret = add_columns(format, own[0], err);

	return ret < 0 ? ret : add_columns(format, own[1], err);
}

static int refuse(const char *option, struct error *err)
{
	return error_say(
		err, EINVAL,
		"ps: unknown option %s: the guest's processes are shown by -ef, aux, or -o "
		"with columns",
		option);
}

/* Letters after each other; every process is always shown, so those that choose say nothing. */
static int take_letters(struct ps_format *format, const char *word, char ***rest, struct error *err)
{
	bool dash = *word == '-';

	for (const char *at = word + dash; *at; at++) {
		format->bsd |= !dash || *at == 'x';
		if (strchr(dash ? "eAadxwH" : "axwh", *at))
			continue;
		if (*at == 'o' || *at == 'O') {
			const char *list = at[1] ? at + 1 : *++*rest;

			return list ? add_columns(format, list, err)
				    : error_say(err, EINVAL, "ps: -o needs a list of columns");
		}
		if (*at == 'u' && !format->count) {
			if (add_columns(format, bsd_user, err) < 0)
				return -EINVAL;
		} else if ((*at == 'f' || *at == 'F') && dash && !format->count) {
			if (add_full(format, err) < 0)
				return -EINVAL;
		} else {
			return refuse(word, err);
		}
	}
	return 0;
}

int ps_format_parse(struct ps_format *format, char **options, struct error *err)
{
	int ret = 0;

	memset(format, 0, sizeof(*format));
	if (!*options)
		return add_full(format, err);
	for (; ret == 0 && *options; options++) {
		if (!strncmp(*options, "--", 2))
			return refuse(*options, err);
		ret = take_letters(format, *options, &options, err);
		if (ret == 0 && !*options)
			break;
	}
	if (ret == 0 && !format->count)
		ret = add_columns(format, format->bsd ? bsd : plain, err);
	return ret;
}

static const char *title(const struct ps_format *format, int c)
{
	return format->titles[c] ? format->titles[c] : format->columns[c]->title;
}

/* A column's text in a row, or without one its title. The last column alone may be long. */
static const char *cell(const struct ps_format *format, int c, const struct row *row,
			uint64_t memory)
{
	static char text[PROTO_PS_ARGS_MAX + 3];

	if (!row)
		return title(format, c);
	format->columns[c]->print(row, memory, text,
				  c == format->count - 1 ? sizeof(text) : CELL_MAX);
	return text;
}

static void print_rows(const struct ps_format *format, const struct row *rows, size_t count,
		       uint64_t memory)
{
	int widths[PS_COLUMNS_MAX], last = format->count - 1;

	/* Row 0 is the titles. */
	for (int c = 0; c < last; c++) {
		widths[c] = format->columns[c]->print == print_pid ||
					    format->columns[c]->print == print_ppid
				    ? PID_WIDTH
				    : 0;
		for (size_t i = 0; i <= count; i++) {
			int len = (int)strlen(cell(format, c, i ? &rows[i - 1] : NULL, memory));

			widths[c] = len > widths[c] ? len : widths[c];
		}
	}
	for (size_t i = 0; i <= count; i++) {
		const struct row *row = i ? &rows[i - 1] : NULL;

		for (int c = 0; c < last; c++)
			printf("%*s ", format->columns[c]->number ? widths[c] : -widths[c],
			       cell(format, c, row, memory));
		puts(cell(format, last, row, memory));
	}
}

int ps_table_print(const struct ps_format *format, const struct proto_frame *answer,
		   uint64_t memory, struct error *err)
{
	struct proto_ps_reader reader = {0};
	static struct proto_ps_entry entry;
	cleanup_free struct row *rows = NULL;
	size_t count = 0;
	int ret = answer ? proto_ps_begin(&reader, answer) : 0;

	if (ret == 0)
		rows = calloc(reader.count + 1, sizeof(*rows));
	while (ret == 0 && rows && answer && (ret = proto_ps_next(&reader, &entry)) > 0) {
		rows[count].ps = entry.ps;
		rows[count].name = strdup(entry.name);
		rows[count].args = strdup(entry.args);
		ret = rows[count].name && rows[count].args ? 0 : -ENOMEM;
		count++;
	}
	if (ret == 0 && rows)
		print_rows(format, rows, count, memory);
	for (size_t i = 0; i < count; i++) {
		free(rows[i].name);
		free(rows[i].args);
	}
	if (ret < 0 || !rows)
		return error_set(err, ret < 0 ? -ret : ENOMEM, "the guest's list of processes");
	if (reader.cut)
		fputs("bulkhead ps: the guest has more processes than it could tell of\n", stderr);
	return fflush(stdout) == EOF ? error_set(err, errno, "write the list") : 0;
}
