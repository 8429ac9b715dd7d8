#include "runtime/bundle.h"
#include "runtime/file.h"
#include "runtime/spec_check.h"

#include "common/cleanup.h"

#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#define CONFIG_MAX	   (16u << 20)
#define MEMORY_DEFAULT_MIB 256
#define MEMORY_MIN_MIB	   64 /* the guest's kernel, its page tables and a workload */
#define MEMORY_MAX_MIB	   (1u << 20)
#define VCPUS_MAX	   64
#define TIMEOUT_MAX_MS	   86400000 /* a day */

json_t *json_at(json_t *from, ...)
{
	const char *name;
	va_list args;

	va_start(args, from);
	while (from && (name = va_arg(args, const char *)))
		from = json_object_get(from, name);
	va_end(args);
	return from;
}

const char *bundle_annotation(const struct bundle *bundle, const char *name)
{
	return json_string_value(json_at(bundle->config, "annotations", name, NULL));
}

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

int bundle_load(struct bundle *bundle, const char *path, struct error *err)
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
	if (ret < 0)
		return ret;
	ret = spec_check(bundle->config, err);
	if (ret < 0)
		return error_prefix(err, ret, "%s", file);
	return open_rootfs(bundle, err);
}

void bundle_destroy(struct bundle *bundle)
{
	json_decref(bundle->config);
	free(bundle->path);
	free(bundle->rootfs);
	close_fd(&bundle->rootfs_fd);
}

static int number_annotation(const struct bundle *bundle, const char *name, uint32_t min,
			     uint32_t max, uint32_t *out, struct error *err)
{
	const char *text = bundle_annotation(bundle, name);
	unsigned long value;
	char *end;

	if (!text)
		return 0;
	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || *end || *text < '0' || *text > '9' || value < min || value > max)
		return error_say(err, EINVAL, "annotation %s: \"%s\" is not a number from %u to %u",
				 name, text, min, max);
	*out = (uint32_t)value;
	return 1;
}

static uint32_t host_memory_mib(void)
{
	long pages = sysconf(_SC_PHYS_PAGES);
	long page = sysconf(_SC_PAGESIZE);

	return pages > 0 && page > 0 ? (uint32_t)(((uint64_t)pages * (uint64_t)page) >> 20)
				     : MEMORY_MAX_MIB;
}

static int size_memory(const struct bundle *bundle, uint32_t *mib, struct error *err)
{
	json_int_t limit = json_integer_value(
		json_at(bundle->config, "linux", "resources", "memory", "limit", NULL));
	uint32_t host = host_memory_mib();
	int ret = number_annotation(bundle, "io.bulkhead.memory", MEMORY_MIN_MIB, MEMORY_MAX_MIB,
				    mib, err);

	if (ret > 0 && *mib > host)
		return error_say(err, EINVAL,
				 "annotation io.bulkhead.memory: this host has only %u MiB", host);
	if (ret != 0)
		return ret < 0 ? ret : 0;
	*mib = MEMORY_DEFAULT_MIB;
	if (limit <= 0)
		return 0;
	limit = limit / (1 << 20) + (limit % (1 << 20) != 0);
	if (limit > host)
		limit = host;
	*mib = limit < MEMORY_MIN_MIB ? MEMORY_MIN_MIB : (uint32_t)limit;
	return 0;
}

static int size_vcpus(const struct bundle *bundle, uint32_t *vcpus, struct error *err)
{
	json_t *cpu = json_at(bundle->config, "linux", "resources", "cpu", NULL);
	json_int_t quota = json_integer_value(json_object_get(cpu, "quota"));
	json_int_t period = json_integer_value(json_object_get(cpu, "period"));
	json_int_t count, online = sysconf(_SC_NPROCESSORS_ONLN);
	int ret = number_annotation(bundle, "io.bulkhead.vcpus", 1, VCPUS_MAX, vcpus, err);

	if (ret != 0)
		return ret < 0 ? ret : 0;
	*vcpus = 1;
	if (quota <= 0)
		return 0;
	if (period <= 0)
		period = 100000; /* the kernel's default, in microseconds */
	count = quota / period + (quota % period != 0);
	if (count > online)
		count = online;
	if (count > VCPUS_MAX)
		count = VCPUS_MAX;
	*vcpus = count < 1 ? 1 : (uint32_t)count;
	return 0;
}

int bundle_vm_size(const struct bundle *bundle, struct vm_size *size, struct error *err)
{
	int ret = size_memory(bundle, &size->memory_mib, err);

	if (ret == 0)
		ret = size_vcpus(bundle, &size->vcpus, err);
	if (ret == 0)
		ret = number_annotation(bundle, "io.bulkhead.agent-timeout", 1, TIMEOUT_MAX_MS,
					&size->agent_timeout_ms, err);
	return ret < 0 ? ret : 0;
}
