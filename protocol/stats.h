/*
 * STATS's answer: what the guest's kernel counts for the container. A struct proto_stats, then
 * disk_count of struct proto_disk, then the text of memory.stat.
 */
#ifndef PROTOCOL_STATS_H
#define PROTOCOL_STATS_H

#include "protocol/protocol.h"

#define PROTO_DISKS_MAX	      64
#define PROTO_MEMORY_STAT_MAX 8192 /* bytes of text */

#define PROTO_UNLIMITED UINT64_MAX

struct proto_stats {
	uint64_t cpu_us, cpu_user_us, cpu_system_us;
	uint64_t periods, throttled_periods, throttled_us;
	uint64_t memory, memory_max, memory_peak; /* bytes, as the next two */
	uint64_t swap, swap_max;
	uint64_t memory_failures; /* how often memory_max was reached */
	uint64_t ooms, oom_kills;
	uint64_t pids, pids_max;
	uint64_t cpus;			  /* the guest has */
	uint64_t guest_total, guest_free; /* bytes of the whole VM; free: MemAvailable */
	char release[64];		  /* of the guest's kernel, terminated */
	uint32_t disk_count;
	uint32_t text_len;
} __attribute__((packed));

struct proto_disk { /* bytes and operations */
	uint32_t major, minor;
	uint64_t read_bytes, write_bytes, discard_bytes;
	uint64_t reads, writes, discards;
} __attribute__((packed));

struct proto_stats_full {
	struct proto_stats stats;
	struct proto_disk disks[PROTO_DISKS_MAX];
	char memory_stat[PROTO_MEMORY_STAT_MAX + 1];
};

/* Returns 0 or -EPROTO. */
int proto_decode_stats(const struct proto_frame *frame, struct proto_stats_full *out);

/*
 * The answer's bytes, of which disk_count and text_len say how much is there. Returns its length;
 * out must have room for sizeof(struct proto_stats_full).
 */
size_t proto_encode_stats(const struct proto_stats_full *stats, uint8_t *out);

#endif
