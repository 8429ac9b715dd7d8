#include "runtime/bundle.h"
#include "runtime/file.h"
#include "runtime/spec_check.h"

#include "common/cleanup.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#define CONFIG_MAX (16u << 20)

/*
 * jansson refuses integers above 2^63 - 1, and 2^64 - 1 is how the documents write "no limit": such
 * a number becomes a real in place, 17 digits and an exponent, which is all that a double can hold.
 */
static void widen_integers(char *text)
{
	bool quoted = false;

	for (char *c = text; *c; c++) {
		size_t digits = quoted ? 0 : strspn(c, "0123456789");

		if (*c == '"')
			quoted = !quoted;
		else if (quoted && *c == '\\' && c[1])
			c++;
		if (digits < 2)
			continue;
		if ((digits == 19 || digits == 20) && c > text && !strchr("-.", c[-1]) &&
		    !strchr(".eE", c[digits]) &&
		    (digits == 20 || strncmp(c, "9223372036854775807", 19) > 0)) {
			c[17] = 'e';
			memcpy(c + 18, digits == 19 ? "2" : "03", digits - 18);
		}
		c += digits - 1;
	}
}

static int parse_config(struct bundle *bundle, const char *file, struct error *err)
{
	struct error why = {0};
	cleanup_free char *text = NULL;
	json_error_t where;
	ssize_t len;

	len = file_read(AT_FDCWD, file, CONFIG_MAX, &text, &why);
	if (len == -ENOENT)
		return error_say(err, ENOENT, "JSON specification file %s not found", file);
	if (len < 0)
		return error_set(err, (int)-len, "read %s", file);
	widen_integers(text);
	bundle->config = json_loadb(text, (size_t)len, 0, &where);
	if (!bundle->config)
		return error_say(err, EINVAL, "%s: line %d, column %d: %s", file, where.line,
				 where.column, where.text);
	return 0;
}

/*
 * The root is opened once, here; everything later goes through the descriptor. The path itself is
 * the engine's and may lead through symbolic links.
 */
static int open_rootfs(struct bundle *bundle, struct error *err)
{
	const char *path = json_string_value(json_at(bundle->config, "root", "path", NULL));
	cleanup_free char *joined = NULL;

	joined = *path == '/' ? strdup(path) : format("%s/%s", bundle->path, path);
	if (!joined)
		return error_set(err, ENOMEM, "root.path");
	bundle->rootfs_fd = open(joined, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (bundle->rootfs_fd < 0)
		return error_set(err, errno, "root.path: open %s", joined);
	bundle->rootfs = realpath(joined, NULL);
	if (!bundle->rootfs)
		return error_set(err, errno, "root.path: %s", joined);
	return 0;
}

int bundle_read(struct bundle *bundle, const char *path, struct error *err)
{
	cleanup_free char *file = NULL;
	int ret;

	bundle->path = realpath(path ? path : ".", NULL);
	if (!bundle->path)
		return error_set(err, errno, "bundle %s", path ? path : ".");
	file = format("%s/" CONFIG_FILE, bundle->path);
	if (!file)
		return error_set(err, ENOMEM, "bundle %s", bundle->path);
	ret = parse_config(bundle, file, err);
	if (ret == 0)
		ret = error_prefix(err, spec_check_annotations(bundle->config, err), "%s", file);
	return ret;
}

int bundle_load(struct bundle *bundle, struct error *err)
{
	int ret = spec_check(bundle->config, err);

	if (ret < 0)
		return error_prefix(err, ret, "%s/" CONFIG_FILE, bundle->path);
	return open_rootfs(bundle, err);
}

void bundle_destroy(struct bundle *bundle)
{
	json_decref(bundle->config);
	free(bundle->path);
	free(bundle->rootfs);
	close_fd(&bundle->rootfs_fd);
}
