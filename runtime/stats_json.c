#include "runtime/stats_json.h"

#include <stdlib.h>
#include <string.h>

/* What cgroup v1 calls no limit: engines know it, and it fits where 2^64-1 does not. */
#define NO_LIMIT 9223372036854771712LL

static json_t *number(uint64_t value)
{
	return json_integer(value > NO_LIMIT ? NO_LIMIT : (json_int_t)value);
}

static json_t *memory_entry(uint64_t limit, uint64_t usage, uint64_t max, uint64_t failures)
{
	return json_pack("{s:o, s:o, s:o, s:o}", "limit", number(limit), "usage", number(usage),
			 "max", number(max), "failcnt", number(failures));
}

/* memory.stat's lines, as far as they are a name and a number. */
static json_t *memory_raw(const char *text)
{
	json_t *raw = json_object();

	for (const char *line = text; line && *line; line = strchr(line, '\n')) {
		char key[64], *end;
		size_t len;
		unsigned long long value;

		line += *line == '\n';
		len = strspn(line, "abcdefghijklmnopqrstuvwxyz0123456789_");
		if (!len || len >= sizeof(key) || line[len] != ' ')
			continue;
		memcpy(key, line, len);
		key[len] = '\0';
		value = strtoull(line + len + 1, &end, 10);
		if (end != line + len + 1)
			json_object_set_new(raw, key, number(value));
	}
	return raw;
}

static json_t *memory(const struct proto_stats_full *full)
{
	const struct proto_stats *stats = &full->stats;
	json_t *raw = memory_raw(full->memory_stat);
	json_t *out = json_object();

	json_object_set_new(out, "usage",
			    memory_entry(stats->memory_max, stats->memory, stats->memory_peak,
					 stats->memory_failures));
	json_object_set_new(out, "swap", memory_entry(stats->swap_max, stats->swap, 0, 0));
	json_object_set_new(out, "kernel", memory_entry(0, 0, 0, 0));
	json_object_set_new(out, "kernelTCP", memory_entry(0, 0, 0, 0));
	if (json_object_get(raw, "file"))
		json_object_set(out, "cache", json_object_get(raw, "file"));
	json_object_set_new(out, "raw", raw);
	return out;
}

static json_t *cpu(const struct proto_stats *stats)
{
	return json_pack(
		"{s:{s:o, s:o, s:o}, s:{s:o, s:o, s:o}}", "usage", "total",
		number(stats->cpu_us * 1000), "kernel", number(stats->cpu_system_us * 1000), "user",
		number(stats->cpu_user_us * 1000), "throttling", "periods", number(stats->periods),
		"throttledPeriods", number(stats->throttled_periods), "throttledTime",
		number(stats->throttled_us * 1000));
}

static void add_io(json_t *list, const struct proto_disk *disk, const char *op, uint64_t value)
{
	json_array_append_new(list, json_pack("{s:o, s:o, s:s, s:o}", "major", number(disk->major),
					      "minor", number(disk->minor), "op", op, "value",
					      number(value)));
}

static json_t *blkio(const struct proto_stats_full *full)
{
	json_t *bytes = json_array(), *operations = json_array();

	for (uint32_t i = 0; i < full->stats.disk_count; i++) {
		const struct proto_disk *disk = &full->disks[i];

		add_io(bytes, disk, "Read", disk->read_bytes);
		add_io(bytes, disk, "Write", disk->write_bytes);
		add_io(bytes, disk, "Discard", disk->discard_bytes);
		add_io(operations, disk, "Read", disk->reads);
		add_io(operations, disk, "Write", disk->writes);
		add_io(operations, disk, "Discard", disk->discards);
	}
	return json_pack("{s:o, s:o}", "ioServiceBytesRecursive", bytes, "ioServicedRecursive",
			 operations);
}

json_t *stats_to_json(const char *id, const struct proto_stats_full *full)
{
	const struct proto_stats *stats = &full->stats;
	/* runc has 0 for no limit here. */
	uint64_t pids_max = stats->pids_max == PROTO_UNLIMITED ? 0 : stats->pids_max;

	return json_pack("{s:s, s:s, s:{s:o, s:{}, s:o, s:{s:o, s:o}, s:o, s:{}, s:{}, s:n}}",
			 "type", "stats", "id", id, "data", "cpu", cpu(stats), "cpuset", "memory",
			 memory(full), "pids", "current", number(stats->pids), "limit",
			 number(pids_max), "blkio", blkio(full), "hugetlb", "intel_rdt",
			 "network_interfaces");
}
