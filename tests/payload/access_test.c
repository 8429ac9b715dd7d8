/* Port and MMIO accesses by guest code reach the right handler with the right value. */
#include <string.h>

#include "tests/payload/payload.h"
#include "tests/payload/suites.h"

PAYLOAD_IMAGE(access);

/* What a range was asked for, in order. */
struct record {
	struct access {
		char what; /* 'r' or 'w' */
		uint64_t offset;
		unsigned int len;
		uint64_t value; /* of writes */
	} accesses[32];
	unsigned int count;
};

static void add(struct record *record, struct access access)
{
	ck_assert_uint_lt(record->count, 32);
	record->accesses[record->count++] = access;
}

/* Every byte says which one it is; the upper ones are there to be cut off. */
static uint64_t record_read(void *ctx, uint64_t offset, unsigned int len)
{
	struct record *record = ctx;

	add(record, (struct access){'r', offset, len, 0});
	return 0x8877665544332211 + record->count;
}

static void record_write(void *ctx, uint64_t offset, uint64_t value, unsigned int len)
{
	add(ctx, (struct access){'w', offset, len, value});
}

static void check_record(const struct record *record, const struct access *expected,
			 unsigned int count)
{
	for (unsigned int i = 0; i < count && i < record->count; i++) {
		const struct access *a = &record->accesses[i], *b = &expected[i];

		ck_assert_msg(a->what == b->what && a->offset == b->offset && a->len == b->len &&
				      a->value == b->value,
			      "access %u is %c %u bytes at %llu, value 0x%llx", i, a->what, a->len,
			      (unsigned long long)a->offset, (unsigned long long)a->value);
	}
	ck_assert_uint_eq(record->count, count);
}

static void run(struct record *ports, struct record *mmio, uint64_t *values)
{
	struct payload payload;

	payload_init(&payload, &access_image, PAYLOAD_USER);
	ck_assert_int_eq(bus_add(&payload.ports, PAYLOAD_PORTS, PAYLOAD_PORTS_LEN, record_read,
				 record_write, ports),
			 0);
	ck_assert_int_eq(bus_add(&payload.mmio, PAYLOAD_MMIO, PAYLOAD_MMIO_LEN, record_read,
				 record_write, mmio),
			 0);
	payload_run(&payload);
	memcpy(values, payload.mailbox->values, sizeof(payload.mailbox->values));
	payload_destroy(&payload);
}

START_TEST(ports_of_every_width)
{
	static const struct access expected[] = {
		{'w', 0, 1, 0x11}, {'w', 2, 2, 0x2222}, {'w', 4, 4, 0x33333333}, {'r', 1, 1, 0},
		{'r', 2, 2, 0},	   {'r', 4, 4, 0},	{'w', 8, 1, 0xa1},	 {'w', 8, 1, 0xa2},
		{'w', 8, 1, 0xa3}, {'r', 10, 2, 0},	{'r', 10, 2, 0},
	};
	struct record ports = {0}, mmio = {0};
	uint64_t values[PAYLOAD_VALUES];

	run(&ports, &mmio, values);
	check_record(&ports, expected, sizeof(expected) / sizeof(expected[0]));
	ck_assert_uint_eq(values[0], 0x15);
	ck_assert_uint_eq(values[1], 0x2216);
	ck_assert_uint_eq(values[2], 0x44332217);
	ck_assert_uint_eq(values[3], 0x221b);
	ck_assert_uint_eq(values[4], 0x221c);
	ck_assert_uint_eq(values[5], 0xff);
	ck_assert_uint_eq(values[6], 0xffff);
	ck_assert_uint_eq(values[7], 0xffffffff);
	ck_assert_uint_eq(values[8], 0xffffffff);
}
END_TEST

START_TEST(mmio_of_every_width)
{
	static const struct access expected[] = {
		{'w', 0, 1, 0x11},	 {'w', 2, 2, 0x2222},
		{'w', 4, 4, 0x33333333}, {'w', 8, 8, 0x4444444455555555},
		{'r', 1, 1, 0},		 {'r', 2, 2, 0},
		{'r', 4, 4, 0},		 {'r', 8, 8, 0},
	};
	struct record ports = {0}, mmio = {0};
	uint64_t values[PAYLOAD_VALUES];

	run(&ports, &mmio, values);
	check_record(&mmio, expected, sizeof(expected) / sizeof(expected[0]));
	ck_assert_uint_eq(values[10], 0x16);
	ck_assert_uint_eq(values[11], 0x2217);
	ck_assert_uint_eq(values[12], 0x44332218);
	ck_assert_uint_eq(values[13], 0x8877665544332219);
	ck_assert_uint_eq(values[14], 0xff);
	ck_assert_uint_eq(values[15], 0xffff);
	ck_assert_uint_eq(values[16], 0xffffffff);
	ck_assert_uint_eq(values[17], UINT64_MAX);
	ck_assert_uint_eq(values[18], UINT64_MAX);
}
END_TEST

Suite *access_suite(void)
{
	Suite *suite = suite_create("accesses");
	TCase *tcase = tcase_create("accesses");

	tcase_set_timeout(tcase, PAYLOAD_TIMEOUT_S);
	tcase_add_test(tcase, ports_of_every_width);
	tcase_add_test(tcase, mmio_of_every_width);
	suite_add_tcase(suite, tcase);
	return suite;
}
