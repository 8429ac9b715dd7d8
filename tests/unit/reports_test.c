/* What the agent reports in structs: lists of processes and statistics. */
#include <check.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/ps.h"
#include "protocol/counters.h"
#include "protocol/stats.h"
#include "tests/unit/suites.h"

static struct proto_ps_writer writer;
static struct proto_ps_entry entry;

static void setup(void)
{
	memset(&writer, 0, sizeof(writer));
}

static void teardown(void)
{
	free(writer.bytes);
}

static struct proto_frame frame_of(const void *bytes, size_t len)
{
	return (struct proto_frame){.type = PROTO_OK, .id = 1, .body = bytes, .body_len = len};
}

static void add(uint32_t pid, const char *name, const char *args)
{
	struct proto_ps ps = {.pid = pid,
			      .state = 'S',
			      .nice = -5,
			      .rss_kib = 1ull << 40,
			      .name_len = (uint16_t)strlen(name),
			      .args_len = (uint16_t)strlen(args)};

	ck_assert_int_eq(proto_ps_add(&writer, &ps, name, args), 0);
}

START_TEST(processes_come_out_as_they_went_in)
{
	struct proto_ps_reader reader;
	struct proto_frame frame;

	add(1, "init", "");
	add(77, "a\nb", "x \x1b[31m y");
	frame = frame_of(writer.bytes, writer.used);
	ck_assert_int_eq(proto_ps_begin(&reader, &frame), 0);
	ck_assert_int_eq(proto_ps_next(&reader, &entry), 1);
	ck_assert_uint_eq(entry.ps.pid, 1);
	ck_assert_int_eq(entry.ps.nice, -5);
	ck_assert_uint_eq(entry.ps.rss_kib, 1ull << 40);
	ck_assert_str_eq(entry.name, "init");
	ck_assert_str_eq(entry.args, "");
	ck_assert_int_eq(proto_ps_next(&reader, &entry), 1);
	/* One line, and nothing that a terminal obeys. */
	ck_assert_str_eq(entry.name, "a?b");
	ck_assert_str_eq(entry.args, "x ?[31m y");
	ck_assert_int_eq(proto_ps_next(&reader, &entry), 0);
	ck_assert(!reader.cut);
}
END_TEST

/* Reads all of it. Returns the last result. */
static int read_all(const void *bytes, size_t len)
{
	struct proto_frame frame = frame_of(bytes, len);
	struct proto_ps_reader reader;
	int ret = proto_ps_begin(&reader, &frame);

	if (ret < 0)
		return ret;
	while ((ret = proto_ps_next(&reader, &entry)) == 1)
		;
	return ret;
}

START_TEST(damaged_lists_are_refused)
{
	struct proto_ps *ps;
	uint8_t *copy;

	add(5, "name", "args");
	copy = malloc(writer.used + 1);
	ck_assert_ptr_nonnull(copy);
	/* Cut anywhere, or with something behind. */
	for (size_t len = 0; len < writer.used; len++)
		ck_assert_int_eq(read_all(writer.bytes, len), -EPROTO);
	ck_assert_int_eq(read_all(writer.bytes, writer.used), 0);
	memcpy(copy, writer.bytes, writer.used);
	copy[writer.used] = 0;
	ck_assert_int_eq(read_all(copy, writer.used + 1), -EPROTO);
	/* A count beyond what is there, an unknown flag. */
	copy[3] = 0x10;
	ck_assert_int_eq(read_all(copy, writer.used), -EPROTO);
	copy[3] = 0;
	copy[4] = 2;
	ck_assert_int_eq(read_all(copy, writer.used), -EPROTO);
	copy[4] = 0;
	ps = (struct proto_ps *)(copy + sizeof(struct proto_ps_list));
	ps->name_len = htole16(PROTO_PS_NAME_MAX + 1);
	ck_assert_int_eq(read_all(copy, writer.used), -EPROTO);
	ps->name_len = htole16(3);
	ck_assert_int_eq(read_all(copy, writer.used), -EPROTO);
	ps->name_len = htole16(4);
	ps->state = htole32('\n');
	ck_assert_int_eq(read_all(copy, writer.used), -EPROTO);
	ps->state = htole32('R');
	ps->pid = htole32(0x80000000u);
	ck_assert_int_eq(read_all(copy, writer.used), -EPROTO);
	free(copy);
}
END_TEST

START_TEST(a_list_that_does_not_fit_says_so)
{
	struct proto_ps_reader reader;
	struct proto_frame frame;
	char args[PROTO_PS_ARGS_MAX + 1];
	uint32_t count = 0;

	memset(args, 'a', sizeof(args) - 1);
	args[sizeof(args) - 1] = '\0';
	for (uint32_t i = 0; i < 300; i++)
		add(i, "n", args);
	ck_assert_uint_le(writer.used, PROTO_BODY_MAX);
	frame = frame_of(writer.bytes, writer.used);
	ck_assert_int_eq(proto_ps_begin(&reader, &frame), 0);
	ck_assert(reader.cut);
	while (proto_ps_next(&reader, &entry) == 1)
		ck_assert_uint_eq(entry.ps.pid, count++);
	ck_assert_uint_gt(count, 200);
	ck_assert_uint_lt(count, 300);
}
END_TEST

START_TEST(statistics_come_out_as_they_went_in)
{
	static struct proto_stats_full in, out;
	static uint8_t bytes[sizeof(in) + 1];
	struct proto_frame frame;
	size_t len;

	in.stats.cpu_us = 1;
	in.stats.guest_free = 1ull << 50;
	in.stats.disk_count = 2;
	in.disks[1].major = 254;
	in.disks[1].discards = 1ull << 33;
	strcpy(in.memory_stat, "anon 5\nfile\x01 6\n");
	in.stats.text_len = (uint32_t)strlen(in.memory_stat);
	len = proto_encode_stats(&in, bytes);
	frame = frame_of(bytes, len);
	ck_assert_int_eq(proto_decode_stats(&frame, &out), 0);
	ck_assert_uint_eq(out.stats.cpu_us, 1);
	ck_assert_uint_eq(out.stats.guest_free, 1ull << 50);
	ck_assert_uint_eq(out.disks[1].major, 254);
	ck_assert_uint_eq(out.disks[1].discards, 1ull << 33);
	ck_assert_str_eq(out.memory_stat, "anon 5\nfile? 6\n");
	for (size_t cut = 0; cut < len; cut++) {
		frame.body_len = cut;
		ck_assert_int_eq(proto_decode_stats(&frame, &out), -EPROTO);
	}
	frame.body_len = len + 1;
	ck_assert_int_eq(proto_decode_stats(&frame, &out), -EPROTO);
	frame.body_len = len;
	((struct proto_stats *)bytes)->disk_count = htole32(0xffffffffu);
	ck_assert_int_eq(proto_decode_stats(&frame, &out), -EPROTO);
	((struct proto_stats *)bytes)->disk_count = htole32(2);
	((struct proto_stats *)bytes)->text_len = htole32(PROTO_MEMORY_STAT_MAX + 1);
	ck_assert_int_eq(proto_decode_stats(&frame, &out), -EPROTO);
}
END_TEST

START_TEST(counters_come_out_as_they_went_in)
{
	static struct proto_counters in, out;
	static uint8_t bytes[sizeof(in) + 1];
	struct proto_frame frame;
	size_t len;

	in.vcpu_count = in.queue_count = 2;
	in.vcpus[1].exits[PROTO_EXIT_MMIO] = 1ull << 40;
	strcpy(in.queues[1].device, "disk0\x1b");
	in.queues[1].requests = 7;
	in.queues[1].batches[PROTO_BATCHES - 1] = UINT64_MAX;
	len = proto_encode_counters(&in, bytes);
	frame = frame_of(bytes, len);
	ck_assert_int_eq(proto_decode_counters(&frame, &out), 0);
	ck_assert_uint_eq(out.vcpu_count, 2);
	ck_assert_uint_eq(out.vcpus[1].exits[PROTO_EXIT_MMIO], 1ull << 40);
	ck_assert_str_eq(out.queues[1].device, "disk0?");
	ck_assert_uint_eq(out.queues[1].requests, 7);
	ck_assert_uint_eq(out.queues[1].batches[PROTO_BATCHES - 1], UINT64_MAX);
	for (size_t cut = 0; cut <= len + 1; cut++) {
		frame.body_len = cut;
		ck_assert_int_eq(proto_decode_counters(&frame, &out), cut == len ? 0 : -EPROTO);
	}
	frame.body_len = len;
	memset(bytes, 0xff, 4);
	ck_assert_int_eq(proto_decode_counters(&frame, &out), -EPROTO);
}
END_TEST

Suite *reports_suite(void)
{
	Suite *suite = suite_create("reports");
	TCase *tcase = tcase_create("reports");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, processes_come_out_as_they_went_in);
	tcase_add_test(tcase, damaged_lists_are_refused);
	tcase_add_test(tcase, a_list_that_does_not_fit_says_so);
	tcase_add_test(tcase, statistics_come_out_as_they_went_in);
	tcase_add_test(tcase, counters_come_out_as_they_went_in);
	suite_add_tcase(suite, tcase);
	return suite;
}
