#include "protocol/stats.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

/* The same either way, as all conversions here. */
static void swap_stats(struct proto_stats *stats)
{
	uint8_t *at = (uint8_t *)stats;

	/* Everything before the text has 64 bits. */
	for (size_t i = 0; i < offsetof(struct proto_stats, release); i += sizeof(uint64_t)) {
		uint64_t value;

		memcpy(&value, at + i, sizeof(value));
		value = le64toh(value);
		memcpy(at + i, &value, sizeof(value));
	}
	stats->disk_count = le32toh(stats->disk_count);
	stats->text_len = le32toh(stats->text_len);
}

static void swap_disk(struct proto_disk *disk)
{
	disk->major = le32toh(disk->major);
	disk->minor = le32toh(disk->minor);
	disk->read_bytes = le64toh(disk->read_bytes);
	disk->write_bytes = le64toh(disk->write_bytes);
	disk->discard_bytes = le64toh(disk->discard_bytes);
	disk->reads = le64toh(disk->reads);
	disk->writes = le64toh(disk->writes);
	disk->discards = le64toh(disk->discards);
}

static void clean_release(struct proto_stats *stats)
{
	char text[sizeof(stats->release)];

	memcpy(text, stats->release, sizeof(text));
	proto_text_clean(stats->release, (const uint8_t *)text, strnlen(text, sizeof(text) - 1));
}

int proto_decode_stats(const struct proto_frame *frame, struct proto_stats_full *out)
{
	struct proto_stats *stats = &out->stats;
	const uint8_t *at = frame->body + sizeof(*stats);
	size_t disks;

	if (frame->body_len < sizeof(*stats))
		return -EPROTO;
	memcpy(stats, frame->body, sizeof(*stats));
	swap_stats(stats);
	if (stats->disk_count > PROTO_DISKS_MAX || stats->text_len > PROTO_MEMORY_STAT_MAX)
		return -EPROTO;
	disks = stats->disk_count * sizeof(struct proto_disk);
	if (frame->body_len != sizeof(*stats) + disks + stats->text_len)
		return -EPROTO;
	memcpy(out->disks, at, disks);
	for (uint32_t i = 0; i < stats->disk_count; i++)
		swap_disk(&out->disks[i]);
	clean_release(stats);
	proto_text_clean(out->memory_stat, at + disks, stats->text_len);
	return 0;
}

size_t proto_encode_stats(const struct proto_stats_full *full, uint8_t *out)
{
	struct proto_stats stats = full->stats;
	size_t used = sizeof(stats);

	swap_stats(&stats);
	memcpy(out, &stats, sizeof(stats));
	for (uint32_t i = 0; i < full->stats.disk_count; i++) {
		struct proto_disk disk = full->disks[i];

		swap_disk(&disk);
		memcpy(out + used, &disk, sizeof(disk));
		used += sizeof(disk);
	}
	memcpy(out + used, full->memory_stat, full->stats.text_len);
	return used + full->stats.text_len;
}
