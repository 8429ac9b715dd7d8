/* bulkhead image: images without an engine. */
#include "runtime/command.h"
#include "runtime/file.h"
#include "runtime/image_store.h"
#include "runtime/options.h"
#include "runtime/tool.h"

#include "common/cleanup.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct command_line command_line = {
	.arguments = "pull SOURCE [NAME] | import FILE|DIR [NAME] | ls | rm NAME | unpack NAME DIR",
	.about =
		"pull gets an image by skopeo: docker://..., oci:DIR:TAG, docker-archive:FILE,\n"
		"containers-storage:... or, without a transport, from a registry. import takes an\n"
		"archive or an OCI layout of this machine. unpack makes a bundle.",
	.missing = "pull, import, ls, rm or unpack",
};

struct arguments {
	const char *words[3];
	int count;
};

static int take(void *input, int key, char *value, struct error *err)
{
	struct arguments *a = input;

	(void)key;
	if (a->count == 3)
		return options_refuse(value, err);
	a->words[a->count++] = value;
	return 0;
}

static int pull(const char *source, const char *name, struct error *err)
{
	cleanup_free char *usual = image_default_name(source);

	if (!usual)
		return error_set(err, ENOMEM, "pull %s", source);
	return image_pull(source, name ? name : usual, err);
}

/* Of which kind an archive is, its members say. */
static int import(const char *path, const char *name, struct error *err)
{
	cleanup_free char *layout = format("%s/oci-layout", path);
	cleanup_free char *list = NULL, *source = NULL, *absolute = realpath(path, NULL);
	char *argv[] = {"tar", "-tf", absolute, NULL};
	const char *transport = "docker-archive";
	ssize_t len;

	if (!absolute)
		return error_set(err, errno, "%s", path);
	if (!layout)
		return error_set(err, ENOMEM, "import %s", path);
	if (access(layout, F_OK) == 0) {
		transport = "oci";
	} else {
		len = tool_read(argv, "tar", 64u << 20, &list, err);
		if (len < 0)
			return error_prefix(err, (int)len, "import %s", path);
		if (strstr(list, "oci-layout"))
			transport = "oci-archive";
		else if (!strstr(list, "manifest.json"))
			return error_say(err, EINVAL,
					 "%s is neither an OCI layout nor an archive of an image",
					 path);
	}
	source = format("%s:%s", transport, absolute);
	return source ? pull(source, name, err) : error_set(err, ENOMEM, "import %s", path);
}

static int list(struct error *err)
{
	json_t *index = image_index(err);
	json_t *item;
	size_t i;

	if (!index && err->code)
		return -err->code;
	printf("%-40s %-20s %7s %10s\n", "NAME", "DIGEST", "LAYERS", "MIB");
	json_array_foreach (json_object_get(index, "manifests"), i, item) {
		const char *name = json_string_value(json_object_get(
			json_object_get(item, "annotations"), "org.opencontainers.image.ref.name"));
		const char *digest = json_string_value(json_object_get(item, "digest"));
		struct oci_manifest manifest;
		uint64_t bytes = 0;

		if (!name || !digest || image_find(name, &manifest, NULL) < 0)
			continue;
		for (size_t k = 0; k < manifest.count; k++)
			bytes += manifest.layers[k].size;
		printf("%-40s %-20.19s %7zu %10.1f\n", name, digest, manifest.count,
		       (double)bytes / (1 << 20));
	}
	json_decref(index);
	return 0;
}

/* umoci resolves every name below the directory, and writes the bundle's config.json as well. */
static int unpack(const char *name, const char *dir, struct error *err)
{
	cleanup_free char *layout = image_layout();
	cleanup_free char *image = layout ? format("%s:%s", layout, name) : NULL;
	char *argv[] = {"umoci", "unpack", "--image", image, (char *)dir, NULL};
	struct oci_manifest *manifest = malloc(sizeof(*manifest));
	int ret;

	if (!image || !manifest) {
		free(manifest);
		return error_set(err, ENOMEM, "unpack %s", name);
	}
	ret = image_find(name, manifest, err);
	free(manifest);
	if (ret == 0 && access(dir, F_OK) == 0)
		ret = error_say(err, EEXIST, "%s exists: a bundle is made in a new directory", dir);
	return ret < 0 ? ret
		       : error_prefix(err, tool_run(argv, NULL, "umoci", err), "unpack %s", name);
}

static int do_verb(const struct arguments *a, struct error *err)
{
	static const struct {
		const char *name;
		int min, max; /* words, with itself */
	} verbs[] = {
		{"pull", 2, 3}, {"import", 2, 3}, {"ls", 1, 1}, {"rm", 2, 2}, {"unpack", 3, 3}};
	const char *verb = a->words[0];
	size_t i = 0;

	while (i < sizeof(verbs) / sizeof(verbs[0]) && strcmp(verb, verbs[i].name) != 0)
		i++;
	if (i == sizeof(verbs) / sizeof(verbs[0]))
		return error_say(err, EINVAL,
				 "image: \"%s\" is not one of pull, import, ls, rm, unpack", verb);
	if (a->count < verbs[i].min || a->count > verbs[i].max)
		return error_say(err, EINVAL, "image %s: %s: see bulkhead image --help", verb,
				 a->count < verbs[i].min ? "an argument is missing"
							 : "too many arguments");
	switch (i) {
	case 0:
		return pull(a->words[1], a->words[2], err);
	case 1:
		return import(a->words[1], a->words[2], err);
	case 2:
		return list(err);
	case 3:
		return image_remove(a->words[1], err);
	default:
		return unpack(a->words[1], a->words[2], err);
	}
}

int cmd_image(struct globals *globals, int argc, char **argv, struct error *err)
{
	struct arguments a = {0};
	int ret = options_parse(&command_line, argc, argv, take, &a, err);

	(void)globals;
	if (ret >= 0)
		ret = do_verb(&a, err);
	if (fflush(stdout) == EOF && ret == 0)
		ret = error_set(err, errno, "write the list");
	return ret;
}
