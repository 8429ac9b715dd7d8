#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/proc.h"
#include "guest-agent/cgroup.h"
#include "guest-agent/report.h"

#define PIDS_MAX 16384 /* more do not fit into a frame */

struct pids {
	pid_t outer[PIDS_MAX]; /* as we see them */
	uint32_t inner[PIDS_MAX];
	unsigned int count;
	bool cut;
};

static const char *line_of(const char *text, const char *key)
{
	const char *line = text;
	size_t len = strlen(key);

	while (line && strncmp(line, key, len) != 0) {
		line = strchr(line, '\n');
		line += line ? 1 : 0;
	}
	return line ? line + len : NULL;
}

/* Its number one level below us is the container's; without a pid namespace they are the same. */
static uint32_t inner_pid(pid_t pid, const char *status)
{
	const char *line = line_of(status, "NSpid:");
	unsigned int outer = (unsigned int)pid, inner = (unsigned int)pid;

	if (line)
		sscanf(line, "%u%*[\t]%u", &outer, &inner);
	return inner;
}

static void collect(void *ctx, pid_t pid)
{
	struct pids *pids = ctx;

	if (pids->count == PIDS_MAX) {
		pids->cut = true;
		return;
	}
	pids->outer[pids->count++] = pid;
}

static uint32_t parent_of(const struct pids *pids, int ppid)
{
	for (unsigned int i = 0; i < pids->count; i++)
		if (pids->outer[i] == ppid)
			return pids->inner[i];
	return 0;
}

/* /proc/PID/stat; the name in it may hold anything, so its end is looked for from behind. */
static bool parse_stat(const char *text, struct proto_ps *ps, int *ppid, char *name)
{
	const char *open = strchr(text, '('), *close = strrchr(text, ')');
	unsigned long long user, system, start, vsize;
	long ticks = sysconf(_SC_CLK_TCK), rss;
	size_t len;
	char state;
	int tty;

	if (!open || !close || close < open ||
	    sscanf(close + 1,
		   " %c %d %*d %*d %d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %d %u %*d %llu "
		   "%llu %ld",
		   &state, ppid, &tty, &user, &system, &ps->nice, &ps->threads, &start, &vsize,
		   &rss) != 10)
		return false;
	len = (size_t)(close - open - 1);
	ps->name_len = (uint16_t)(len < PROTO_PS_NAME_MAX ? len : PROTO_PS_NAME_MAX);
	memcpy(name, open + 1, ps->name_len);
	ps->state = (uint32_t)state;
	ps->tty = (uint32_t)tty;
	ps->cpu_ms = (user + system) * 1000 / (unsigned long long)ticks;
	ps->elapsed_ms = clock_ns(CLOCK_BOOTTIME) / 1000000;
	start = start * 1000 / (unsigned long long)ticks;
	ps->elapsed_ms = ps->elapsed_ms > start ? ps->elapsed_ms - start : 0;
	ps->vsz_kib = vsize / 1024;
	ps->rss_kib = (uint64_t)rss * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
	return true;
}

static void parse_ids(const char *status, struct proto_ps *ps)
{
	const char *uid = line_of(status, "Uid:"), *gid = line_of(status, "Gid:");

	/* real, effective, saved, of files: ps shows the effective ones. */
	if (uid)
		sscanf(uid, "%*u %u", &ps->uid);
	if (gid)
		sscanf(gid, "%*u %u", &ps->gid);
}

static int add(struct proto_ps_writer *writer, const struct pids *pids, unsigned int i)
{
	static char status[4096], stat[1024], args[PROTO_PS_ARGS_MAX + 1];
	char name[PROTO_PS_NAME_MAX];
	struct proto_ps ps = {.pid = pids->inner[i]};
	ssize_t len;
	int ppid;

	/* One that has just ended is left out. */
	if (proc_read(pids->outer[i], "stat", stat, sizeof(stat)) < 0 ||
	    proc_read(pids->outer[i], "status", status, sizeof(status)) < 0 ||
	    !parse_stat(stat, &ps, &ppid, name))
		return 0;
	parse_ids(status, &ps);
	ps.ppid = parent_of(pids, ppid);
	len = proc_read(pids->outer[i], "cmdline", args, sizeof(args));
	while (len > 0 && !args[len - 1])
		len--;
	for (ssize_t at = 0; at < len; at++)
		if (!args[at])
			args[at] = ' ';
	ps.args_len = (uint16_t)(len > 0 ? len : 0);
	return proto_ps_add(writer, &ps, name, args);
}

int report_processes(int cgroup_fd, struct proto_ps_writer *writer, struct error *err)
{
	static struct pids pids;
	static char status[4096];
	int ret;

	pids.count = 0;
	pids.cut = false;
	ret = cgroup_each(cgroup_fd, collect, &pids);
	if (ret < 0)
		return error_set(err, -ret, "cgroup: read cgroup.procs");
	for (unsigned int i = 0; i < pids.count; i++) {
		proc_read(pids.outer[i], "status", status, sizeof(status));
		pids.inner[i] = inner_pid(pids.outer[i], status);
	}
	for (unsigned int i = 0; ret == 0 && i < pids.count; i++)
		ret = add(writer, &pids, i);
	return ret < 0 ? error_set(err, -ret, "list the processes") : 0;
}
