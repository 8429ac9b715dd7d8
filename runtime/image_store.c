#include "runtime/image_store.h"
#include "runtime/file.h"
#include "runtime/store.h"
#include "runtime/tool.h"

#include "common/cleanup.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DOCUMENT_MAX	(16u << 20)
#define LOCK		"images"
#define NAME_ANNOTATION "org.opencontainers.image.ref.name"

char *image_layout(void)
{
	return format("%s/images", store_path());
}

/* skopeo's transports; anything else before a colon is a registry's host, or an image's name. */
static bool has_transport(const char *source)
{
	static const char *const transports[] = {
		"containers-storage:", "dir:",		 "docker:",
		"docker-archive:",     "docker-daemon:", "oci:",
		"oci-archive:",	       "sif:",		 "tarball:"};

	for (size_t i = 0; i < sizeof(transports) / sizeof(transports[0]); i++)
		if (!strncmp(source, transports[i], strlen(transports[i])))
			return true;
	return false;
}

/* The last part of a path, without what an archive's name ends in. */
char *image_default_name(const char *source)
{
	const char *rest = has_transport(source) ? strchr(source, ':') + 1 : source;
	const char *tag;

	if (!strncmp(source, "docker:", 7) || !has_transport(source))
		return strdup(rest + strspn(rest, "/"));
	tag = strrchr(rest, ':');
	if (tag && tag[1] && !strchr(tag, '/'))
		return strdup(tag + 1);
	rest = strrchr(rest, '/') ? strrchr(rest, '/') + 1 : rest;
	return strndup(rest, strcspn(rest, "."));
}

static int check_name(const char *name, struct error *err)
{
	if (*name && *name != '-' && strlen(name) < 256 &&
	    strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:@+/-") ==
		    strlen(name))
		return 0;
	return error_say(err, EINVAL, "\"%s\" is not a name for an image", name);
}

int image_pull(const char *source, const char *name, struct error *err)
{
	cleanup_free char *from = has_transport(source) ? strdup(source)
							: format("docker://%s", source);
	cleanup_free char *layout = image_layout();
	cleanup_free char *to = layout ? format("oci:%s:%s", layout, name) : NULL;
	cleanup_fd int lock_fd = -1;
	char *argv[] = {"skopeo", "copy", "--insecure-policy", from, to, NULL};
	int ret = check_name(name, err);

	if (ret < 0)
		return ret;
	if (!from || !to)
		return error_set(err, ENOMEM, "pull %s", source);
	lock_fd = store_lock(LOCK, err);
	if (lock_fd < 0)
		return lock_fd;
	/* On a terminal its progress bars are what people want to see. */
	ret = isatty(STDERR_FILENO) ? tool_show(argv, "skopeo", err)
				    : tool_run(argv, NULL, "skopeo", err);
	return error_prefix(err, ret, "pull %s", source);
}

/* A document by its digest, as the text that the digest is of. */
static ssize_t read_blob(const struct oci_blob *blob, char **out, struct error *err)
{
	cleanup_free char *path = format("%s/images/blobs/sha256/%s", store_path(), blob->digest);
	cleanup_free char *text = NULL;
	struct digest digest;
	char hex[DIGEST_HEX + 1];
	ssize_t len;

	if (!path)
		return error_set(err, ENOMEM, "blob %s", blob->digest);
	len = file_read(AT_FDCWD, path, DOCUMENT_MAX, &text, err);
	if (len < 0)
		return len;
	digest_begin(&digest);
	digest_add(&digest, text, (size_t)len);
	digest_end(&digest, hex);
	if (strcmp(hex, blob->digest) != 0)
		return error_say(err, EUCLEAN, "%s is damaged: pull the image again", path);
	*out = take_ptr(text);
	return len;
}

static ssize_t read_index(char **out, struct error *err)
{
	cleanup_free char *path = format("%s/images/index.json", store_path());

	if (!path)
		return error_set(err, ENOMEM, "index.json");
	return file_read(AT_FDCWD, path, DOCUMENT_MAX, out, err);
}

json_t *image_index(struct error *err)
{
	cleanup_free char *text = NULL;
	struct error why = {0};
	json_t *index;
	ssize_t len = read_index(&text, &why);

	if (len < 0) {
		if (len != -ENOENT)
			error_say(err, (int)-len, "%s", why.message);
		return NULL;
	}
	index = json_loadb(text, (size_t)len, 0, NULL);
	if (!index)
		error_say(err, EUCLEAN, "%s/images/index.json is damaged", store_path());
	return index;
}

int image_find(const char *name, struct oci_manifest *out, struct error *err)
{
	cleanup_free char *index = NULL, *manifest = NULL;
	struct oci_blob blob;
	struct error why = {0};
	ssize_t len = read_index(&index, &why);
	int ret;

	if (len < 0 && len != -ENOENT)
		return error_say(err, (int)-len, "%s", why.message);
	ret = len < 0 ? 0 : oci_parse_index(index, (size_t)len, name, &blob, err);
	if (ret == 0)
		return error_say(err, ENOENT, "no image %s: bulkhead image pull gets one", name);
	if (ret > 0)
		ret = (int)(len = read_blob(&blob, &manifest, err));
	if (ret >= 0)
		ret = oci_parse_manifest(manifest, (size_t)len, out, err);
	return error_prefix(err, ret, "image %s", name);
}

json_t *image_config(const struct oci_manifest *manifest, struct error *err)
{
	cleanup_free char *text = NULL;
	ssize_t len = read_blob(&manifest->config, &text, err);

	return len < 0 ? NULL : oci_parse_config(text, (size_t)len, err);
}

/* --- removal --- */

/* Every blob that the manifests of an index lead to. */
static int collect_used(const json_t *index, json_t *used)
{
	json_t *item;
	size_t i;

	json_array_foreach (json_object_get(index, "manifests"), i, item) {
		const char *digest = json_string_value(json_object_get(item, "digest"));
		cleanup_free char *text = NULL;
		struct oci_manifest manifest;
		struct oci_blob blob = {0};
		ssize_t len;

		if (!digest || strlen(digest) != strlen("sha256:") + DIGEST_HEX)
			return -EUCLEAN;
		snprintf(blob.digest, sizeof(blob.digest), "%s", digest + strlen("sha256:"));
		json_object_set_new(used, blob.digest, json_true());
		len = read_blob(&blob, &text, NULL);
		if (len < 0 || oci_parse_manifest(text, (size_t)len, &manifest, NULL) < 0)
			return -EUCLEAN;
		json_object_set_new(used, manifest.config.digest, json_true());
		for (size_t k = 0; k < manifest.count; k++)
			json_object_set_new(used, manifest.layers[k].digest, json_true());
	}
	return 0;
}

static void sweep(const json_t *index)
{
	int fd = store_open("images/blobs/sha256", NULL);
	cleanup_dir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	json_t *used = json_object();
	struct dirent *entry;

	/* An image that cannot be read might need any of them. */
	if (dir && collect_used(index, used) == 0)
		while ((entry = readdir(dir)))
			if (entry->d_name[0] != '.' && !json_object_get(used, entry->d_name))
				unlinkat(fd, entry->d_name, 0);
	json_decref(used);
}

static bool drop_name(json_t *index, const char *name)
{
	json_t *manifests = json_object_get(index, "manifests");

	for (size_t i = 0; i < json_array_size(manifests); i++) {
		const char *its = json_string_value(json_object_get(
			json_object_get(json_array_get(manifests, i), "annotations"),
			NAME_ANNOTATION));

		if (its && !strcmp(its, name))
			return json_array_remove(manifests, i) == 0;
	}
	return false;
}

int image_remove(const char *name, struct error *err)
{
	cleanup_fd int lock_fd = store_lock(LOCK, err);
	cleanup_free char *text = NULL;
	cleanup_free char *path = format("%s/images/index.json", store_path());
	json_t *index = lock_fd < 0 ? NULL : image_index(err);
	int ret = 0;

	if (!drop_name(index, name))
		ret = error_say(err, ENOENT, "no image %s", name);
	if (ret == 0) {
		text = json_dumps(index, JSON_COMPACT);
		ret = text && path ? file_replace(AT_FDCWD, path, 0644, text, strlen(text), err)
				   : error_set(err, ENOMEM, "index.json");
	}
	if (ret == 0)
		sweep(index);
	json_decref(index);
	return ret;
}
