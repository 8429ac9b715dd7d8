/* The agent's lists of processes and statistics. The first byte chooses which. */
#include <string.h>

#include "protocol/ps.h"
#include "protocol/counters.h"
#include "protocol/stats.h"
#include "tests/fuzz/input.h"
#include "tests/unit/driver.h"

static bool shows_well(const char *text, size_t max)
{
	size_t len = strnlen(text, max + 1);

	for (size_t i = 0; i < len; i++)
		if ((uint8_t)text[i] < 0x20 || text[i] == 0x7f)
			return false;
	return len <= max;
}

static void read_processes(const struct proto_frame *frame)
{
	static struct proto_ps_entry entry;
	struct proto_ps_reader reader;
	uint32_t count = 0;
	int ret = proto_ps_begin(&reader, frame);

	while (ret == 0 && (ret = proto_ps_next(&reader, &entry)) == 1) {
		driver_check(shows_well(entry.name, PROTO_PS_NAME_MAX));
		driver_check(shows_well(entry.args, PROTO_PS_ARGS_MAX));
		count++;
		ret = 0;
	}
	driver_check(count <= frame->body_len / sizeof(struct proto_ps));
}

static void read_stats(const struct proto_frame *frame)
{
	static struct proto_stats_full stats;
	static uint8_t again[sizeof(stats)];

	if (proto_decode_stats(frame, &stats) < 0)
		return;
	driver_check(stats.stats.disk_count <= PROTO_DISKS_MAX);
	driver_check(strnlen(stats.memory_stat, sizeof(stats.memory_stat)) <=
		     PROTO_MEMORY_STAT_MAX);
	driver_check(strnlen(stats.stats.release, sizeof(stats.stats.release)) <
		     sizeof(stats.stats.release));
	driver_check(proto_encode_stats(&stats, again) == frame->body_len);
}

static void read_counters(const struct proto_frame *frame)
{
	static struct proto_counters counters;
	static uint8_t again[sizeof(counters)];

	if (proto_decode_counters(frame, &counters) < 0)
		return;
	for (uint32_t i = 0; i < counters.queue_count; i++)
		driver_check(strnlen(counters.queues[i].device, 16) < 16);
	driver_check(proto_encode_counters(&counters, again) == frame->body_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	uint8_t kind = input_u8(&input);
	struct proto_frame frame = {
		.type = PROTO_OK, .id = 1, .body = input.at, .body_len = input.left};

	if (kind & 2)
		read_counters(&frame);
	else if (kind & 1)
		read_stats(&frame);
	else
		read_processes(&frame);
	return 0;
}
