/*
 * The documents of an OCI image (image specification 1.0): index, manifest, configuration. Whoever
 * made the image made them, so all is checked here, and nothing but what is used is kept. Pure.
 */
#ifndef RUNTIME_OCI_IMAGE_H
#define RUNTIME_OCI_IMAGE_H

#include "common/error.h"
#include "runtime/digest.h"

#include <jansson.h>
#include <stdint.h>

#define OCI_LAYERS_MAX 255

struct oci_blob {
	char digest[DIGEST_HEX + 1]; /* of SHA-256, the only one that is accepted */
	uint64_t size;
};

struct oci_manifest {
	struct oci_blob config;
	struct oci_blob layers[OCI_LAYERS_MAX]; /* the lowest first */
	size_t count;
};

/* Finds a name in an index. Returns 1, 0 when it is not there, or -errno. */
int oci_parse_index(const char *text, size_t len, const char *name, struct oci_blob *manifest,
		    struct error *err);

/* Returns 0 or -errno. */
int oci_parse_manifest(const char *text, size_t len, struct oci_manifest *out, struct error *err);

/* The "config" object of an image's configuration; checked as far as it is used. NULL on failure.
 */
json_t *oci_parse_config(const char *text, size_t len, struct error *err);

#endif
