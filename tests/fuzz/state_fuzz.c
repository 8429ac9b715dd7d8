/*
 * Saved state that is wrong: a whole file, whose header is made to fit; or the records of a vsock
 * device, from which a device goes on and then has to serve its guest.
 */
#include <stdlib.h>

#include "devices/virtio_state.h"
#include "tests/fuzz/input.h"
#include "tests/unit/vsock_guest.h"

#define VERSION 1
#define HEADER	32 /* magic, version, reserved, length, sum */
#define SLOT	2
#define TURNS	8

static struct vsock_guest guest;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	guest.any_port = true;
	driver_init(&guest.driver);
	return 0;
}

/* Every record that can be found lies inside. */
static void look_around(const struct records *records)
{
	for (uint32_t tag = 0; tag < 4; tag++)
		for (uint32_t number = 0; number < 4; number++) {
			size_t len;
			const uint8_t *data = records_find(records, tag, number, &len);

			driver_check(!data || (data >= records->bytes &&
					       data + len <= records->bytes + records->len));
		}
}

static void whole_file(struct input *input)
{
	size_t len = HEADER + input->left;
	uint8_t *file = calloc(1, len);
	uint64_t words[2] = {len};
	uint32_t version = VERSION;
	struct records records;

	driver_check(file != NULL);
	memcpy(file, "BLKSTATE", 8);
	memcpy(file + 8, &version, sizeof(version));
	input_take(input, file + HEADER, len - HEADER);
	/* What a fuzzer does not find by itself. */
	words[1] = records_sum(file + HEADER, len - HEADER);
	memcpy(file + 16, words, sizeof(words));
	if (records_parse(&records, VERSION, file, len, NULL) == 0)
		look_around(&records);
	records_destroy(&records);
	free(file);
}

/* What a device in use would save, with some bytes changed; then connections made up. */
static void make_records(struct records *out, struct input *input)
{
	struct records good = {0};
	uint8_t transport[1024], vsock[1024];
	const void *data;
	size_t len;

	driver_check(virtio_mmio_save(&guest.driver.mmio, &good, SLOT, NULL) == 0);
	data = records_find(&good, VIRTIO_STATE_TRANSPORT, SLOT, &len);
	driver_check(data && len <= sizeof(transport));
	memcpy(transport, data, len);
	for (unsigned int left = input_u8(input) % 8; left; left--) {
		uint16_t at = input_u16(input);

		transport[at % len] = input_u8(input);
	}
	records_put(out, VIRTIO_STATE_TRANSPORT, SLOT, transport, len);
	len = input_take(input, vsock, input->left < sizeof(vsock) ? input->left : sizeof(vsock));
	records_put(out, VIRTIO_STATE_VSOCK, SLOT, vsock, len);
	records_destroy(&good);
}

static void devices_records(struct input *input)
{
	struct records altered = {0};

	vsock_guest_open(&guest, "/nonexistent/vsock", -1);
	vsock_guest_start(&guest);
	make_records(&altered, input);
	vsock_guest_close(&guest);

	vsock_guest_open(&guest, "/nonexistent/vsock", -1);
	if (virtio_mmio_load(&guest.driver.mmio, &altered, SLOT, NULL) == 0)
		driver_turn(&guest.driver, TURNS);
	vsock_guest_close(&guest);
	driver_forget(&guest.driver);
	records_destroy(&altered);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	uint8_t first = input_u8(&input);

	driver_more_features = first & 2 ? 1ull << VIRTIO_F_RING_PACKED : 0;
	if (first & 1)
		whole_file(&input);
	else
		devices_records(&input);
	return 0;
}
