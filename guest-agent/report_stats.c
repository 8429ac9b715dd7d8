#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "guest-agent/cgroup.h"
#include "guest-agent/report.h"

struct field {
	const char *key;
	uint64_t *to;
};

/* Lines of "key value". Keys are ended by {0}. */
static void read_fields(int cgroup_fd, const char *file, const struct field *fields)
{
	char text[1024], *rest = text, *line;

	cgroup_read(cgroup_fd, file, text, sizeof(text));
	while ((line = strsep(&rest, "\n"))) {
		char *value = strchr(line, ' ');

		if (!value)
			continue;
		*value++ = '\0';
		for (const struct field *field = fields; field->key; field++)
			if (!strcmp(line, field->key))
				*field->to = strtoull(value, NULL, 10);
	}
}

/* A file with one number, or "max". */
static uint64_t read_number(int cgroup_fd, const char *file)
{
	char text[32];

	if (cgroup_read(cgroup_fd, file, text, sizeof(text)) <= 0)
		return 0;
	return *text == 'm' ? PROTO_UNLIMITED : strtoull(text, NULL, 10);
}

/* "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6" */
static void read_disks(int cgroup_fd, struct proto_stats_full *full)
{
	char text[8192], *rest = text, *line;

	cgroup_read(cgroup_fd, "io.stat", text, sizeof(text));
	while ((line = strsep(&rest, "\n")) && full->stats.disk_count < PROTO_DISKS_MAX) {
		struct proto_disk *disk = &full->disks[full->stats.disk_count];
		struct proto_disk read = {0};

		if (sscanf(line,
			   "%" SCNu32 ":%" SCNu32 " rbytes=%" SCNu64 " wbytes=%" SCNu64
			   " rios=%" SCNu64 " wios=%" SCNu64 " dbytes=%" SCNu64 " dios=%" SCNu64,
			   &read.major, &read.minor, &read.read_bytes, &read.write_bytes,
			   &read.reads, &read.writes, &read.discard_bytes, &read.discards) != 8)
			continue;
		*disk = read;
		full->stats.disk_count++;
	}
}

static void read_guest(struct proto_stats *stats)
{
	cleanup_file FILE *file = fopen("/proc/meminfo", "re");
	unsigned long long kib;
	char line[128];

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "MemTotal: %llu", &kib) == 1)
			stats->guest_total = kib * 1024;
		if (sscanf(line, "MemAvailable: %llu", &kib) == 1)
			stats->guest_free = kib * 1024;
	}
}

void report_stats(int cgroup_fd, struct proto_stats_full *full)
{
	struct proto_stats *stats = &full->stats;
	uint64_t values[9] = {0};
	const struct field cpu[] = {
		{"usage_usec", &values[0]},
		{"user_usec", &values[1]},
		{"system_usec", &values[2]},
		{"nr_periods", &values[3]},
		{"nr_throttled", &values[4]},
		{"throttled_usec", &values[5]},
		{0},
	};
	const struct field memory[] = {
		{"max", &values[6]},
		{"oom", &values[7]},
		{"oom_kill", &values[8]},
		{0},
	};
	struct utsname kernel;
	int len;

	memset(full, 0, sizeof(*full));
	read_fields(cgroup_fd, "cpu.stat", cpu);
	read_fields(cgroup_fd, "memory.events", memory);
	stats->cpu_us = values[0];
	stats->cpu_user_us = values[1];
	stats->cpu_system_us = values[2];
	stats->periods = values[3];
	stats->throttled_periods = values[4];
	stats->throttled_us = values[5];
	stats->memory_failures = values[6];
	stats->ooms = values[7];
	stats->oom_kills = values[8];
	stats->memory = read_number(cgroup_fd, "memory.current");
	stats->memory_max = read_number(cgroup_fd, "memory.max");
	stats->memory_peak = read_number(cgroup_fd, "memory.peak");
	stats->swap = read_number(cgroup_fd, "memory.swap.current");
	stats->swap_max = read_number(cgroup_fd, "memory.swap.max");
	stats->pids = read_number(cgroup_fd, "pids.current");
	stats->pids_max = read_number(cgroup_fd, "pids.max");
	read_disks(cgroup_fd, full);
	stats->cpus = (uint64_t)sysconf(_SC_NPROCESSORS_ONLN);
	read_guest(stats);
	if (uname(&kernel) == 0)
		snprintf(stats->release, sizeof(stats->release), "%.63s", kernel.release);
	len = cgroup_read(cgroup_fd, "memory.stat", full->memory_stat, sizeof(full->memory_stat));
	stats->text_len = len > 0 ? (uint32_t)len : 0;
}
