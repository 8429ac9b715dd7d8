/*
 * A saved state, cut, altered or made up: as a file just as the input has it, sum and all (one
 * whose sum was made right, as an attacker does, is state_fuzz.c's), or by records_put.
 */
#include <stdlib.h>

#include "common/records.h"
#include "tests/fuzz/input.h"
#include "tests/unit/driver.h"

#define VERSION 1

static void look(const struct records *records, uint32_t tag, uint32_t number)
{
	uint8_t buf[16];
	size_t len;
	const uint8_t *data = records_find(records, tag, number, &len);

	if (data) {
		driver_check(data >= records->bytes && len <= records->len);
		driver_check((size_t)(data - records->bytes) <= records->len - len);
	}
	if (records_get(records, tag, number, buf, sizeof(buf)) == 0)
		driver_check(data && len == sizeof(buf));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	struct records records = {0}, made = {0};
	uint32_t tag = input_u8(&input), number = input_u8(&input);

	if (tag & 1) {
		/* Well-formed, from the input's bytes. */
		while (input.left) {
			uint8_t bytes[64];
			size_t len = input_u8(&input) % sizeof(bytes);

			len = input_take(&input, bytes, len);
			records_put(&made, input_u8(&input), input_u8(&input), bytes, len);
		}
	}
	if (records_parse(&records, VERSION, input.at, input.left, NULL) == 0)
		for (uint32_t i = 0; i < 64; i++)
			look(&records, i, number);
	if (made.len)
		for (uint32_t i = 0; i < 64; i++)
			look(&made, i, number);
	records_destroy(&records);
	records_destroy(&made);
	return 0;
}
