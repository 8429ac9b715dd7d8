/*
 * The documents of an image: what is taken of index and manifest is in bounds, and a configuration
 * that is taken makes a container's config.json which our own checks accept, or a refusal.
 */
#include <string.h>

#include "runtime/launch_config.h"
#include "runtime/oci_image.h"
#include "runtime/spec_check.h"
#include "tests/fuzz/input.h"
#include "tests/unit/driver.h"

/* A refusal has a reason of one line. */
static void check_error(int ret, const struct error *err)
{
	driver_check((ret < 0) == (err->message[0] != '\0'));
	driver_check(!strchr(err->message, '\n'));
}

static void check_blob(const struct oci_blob *blob)
{
	driver_check(strlen(blob->digest) == DIGEST_HEX);
	driver_check(strspn(blob->digest, "0123456789abcdef") == DIGEST_HEX);
	driver_check(blob->size <= INT64_MAX);
}

static void index_of(const char *text, size_t len)
{
	struct error err = {0};
	struct oci_blob blob = {0};
	int ret = oci_parse_index(text, len, "name", &blob, &err);

	driver_check(ret <= 1);
	check_error(ret, &err);
	if (ret == 1)
		check_blob(&blob);
}

static void manifest_of(const char *text, size_t len)
{
	static struct oci_manifest manifest;
	struct error err = {0};
	int ret = oci_parse_manifest(text, len, &manifest, &err);

	driver_check(ret <= 0);
	check_error(ret, &err);
	if (ret < 0)
		return;
	check_blob(&manifest.config);
	driver_check(manifest.count >= 1 && manifest.count <= OCI_LAYERS_MAX);
	for (size_t i = 0; i < manifest.count; i++)
		check_blob(&manifest.layers[i]);
}

static void config_of(const char *text, size_t len)
{
	struct error err = {0};
	char *no_command[] = {NULL};
	struct launch_options options = {.name = "id", .image = "image", .command = no_command};
	json_t *image = oci_parse_config(text, len, &err), *config;

	check_error(image ? 0 : -1, &err);
	if (!image)
		return;
	config = launch_config(&options, image, &err);
	check_error(config ? 0 : -1, &err);
	if (config) {
		/* What it refuses it says why. */
		check_error(spec_check(config, &err), &err);
		json_decref(config);
	}
	json_decref(image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 1;

	if (size < 1)
		return 0;
	switch (data[0] % 3) {
	case 0:
		index_of(text, size - 1);
		break;
	case 1:
		manifest_of(text, size - 1);
		break;
	default:
		config_of(text, size - 1);
	}
	return 0;
}
