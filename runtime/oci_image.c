#include "runtime/oci_image.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define NAME_ANNOTATION "org.opencontainers.image.ref.name"
#define PREFIX		"sha256:"

static json_t *load(const char *text, size_t len, const char *what, struct error *err)
{
	json_error_t where;
	json_t *document = json_loadb(text, len, 0, &where);

	if (!document)
		error_say(err, EINVAL, "%s: line %d: %s", what, where.line, where.text);
	else if (!json_is_object(document))
		error_say(err, EINVAL, "%s: is no object", what);
	else
		return document;
	json_decref(document);
	return NULL;
}

static int parse_blob(const json_t *from, struct oci_blob *out, const char *what, struct error *err)
{
	const char *digest = json_string_value(json_object_get(from, "digest"));
	json_int_t size = json_integer_value(json_object_get(from, "size"));

	if (!digest || strncmp(digest, PREFIX, strlen(PREFIX)) != 0 ||
	    strlen(digest) != strlen(PREFIX) + DIGEST_HEX ||
	    strspn(digest + strlen(PREFIX), "0123456789abcdef") != DIGEST_HEX)
		return error_say(err, EINVAL, "%s: has no digest of SHA-256", what);
	if (size < 0)
		return error_say(err, EINVAL, "%s: its size is negative", what);
	memcpy(out->digest, digest + strlen(PREFIX), DIGEST_HEX + 1);
	out->size = (uint64_t)size;
	return 0;
}

int oci_parse_index(const char *text, size_t len, const char *name, struct oci_blob *manifest,
		    struct error *err)
{
	json_t *index = load(text, len, "index.json", err);
	json_t *item;
	size_t i;
	int ret = 0;

	if (!index)
		return -EINVAL;
	json_array_foreach (json_object_get(index, "manifests"), i, item) {
		const char *its = json_string_value(
			json_object_get(json_object_get(item, "annotations"), NAME_ANNOTATION));

		if (!its || strcmp(its, name) != 0)
			continue;
		ret = parse_blob(item, manifest, "index.json", err);
		ret = ret < 0 ? ret : 1;
		break;
	}
	json_decref(index);
	return ret;
}

static int parse_layers(const json_t *layers, struct oci_manifest *out, struct error *err)
{
	json_t *item;
	size_t i;
	int ret = 0;

	if (json_array_size(layers) == 0 || json_array_size(layers) > OCI_LAYERS_MAX)
		return error_say(err, EINVAL, "manifest: must have 1 to %d layers", OCI_LAYERS_MAX);
	json_array_foreach (layers, i, item) {
		ret = parse_blob(item, &out->layers[i], "manifest: a layer", err);
		if (ret < 0)
			return ret;
	}
	out->count = i;
	return 0;
}

int oci_parse_manifest(const char *text, size_t len, struct oci_manifest *out, struct error *err)
{
	json_t *manifest = load(text, len, "manifest", err);
	int ret;

	*out = (struct oci_manifest){0};
	if (!manifest)
		return -EINVAL;
	ret = parse_blob(json_object_get(manifest, "config"), &out->config,
			 "manifest: the configuration", err);
	if (ret == 0)
		ret = parse_layers(json_object_get(manifest, "layers"), out, err);
	json_decref(manifest);
	return ret;
}

static bool is_strings(const json_t *value)
{
	json_t *item;
	size_t i;

	if (!value || json_is_null(value))
		return true;
	if (!json_is_array(value))
		return false;
	json_array_foreach (value, i, item)
		if (!json_is_string(item))
			return false;
	return true;
}

static bool is_text(const json_t *value)
{
	return !value || json_is_null(value) || json_is_string(value);
}

json_t *oci_parse_config(const char *text, size_t len, struct error *err)
{
	json_t *document = load(text, len, "the image's configuration", err);
	json_t *config = json_incref(json_object_get(document, "config"));

	if (!document)
		return NULL;
	json_decref(document);
	if (!config || json_is_null(config)) {
		json_decref(config);
		return json_object();
	}
	if (json_is_object(config) && is_strings(json_object_get(config, "Env")) &&
	    is_strings(json_object_get(config, "Entrypoint")) &&
	    is_strings(json_object_get(config, "Cmd")) &&
	    is_text(json_object_get(config, "User")) &&
	    is_text(json_object_get(config, "WorkingDir")))
		return config;
	json_decref(config);
	error_say(err, EINVAL,
		  "the image's configuration: a field is of another type than it "
		  "should be");
	return NULL;
}
