/*
 * linux.resources on the host's side: CPU time and placement, I/O, and memory as far as the VM as a
 * whole goes. What counts processes or the workload's memory is the guest agent's.
 */
#include "runtime/cgroup.h"
#include "runtime/file.h"

#include "common/cleanup.h"
#include "common/unified.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int write_text(const struct cgroup *cgroup, const char *controller, const char *file,
		      const char *text, struct error *err)
{
	const struct cgroup_folder *folder = cgroup_find(cgroup, controller);
	cleanup_fd int fd = -1;

	if (!folder)
		return error_say(err, ENOTSUP,
				 "linux.resources: this host has no control group for %s, which "
				 "%s=%s needs",
				 controller, file, text);
	fd = openat(folder->fd, file, O_WRONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return error_say(err, ENOENT,
				 "linux.resources: %s/%s is missing: the controller is not passed "
				 "on to this group, or the kernel has no such limit",
				 folder->path, file);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return error_set(err, errno, "write %s to %s/%s", text, folder->path, file);
	return 0;
}

static int write_number(const struct cgroup *cgroup, const char *controller, const char *file,
			long long value, struct error *err)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", value);
	return write_text(cgroup, controller, file, text, err);
}

static long long number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

int cgroup_set_memory(const struct cgroup *cgroup, const json_t *resources, uint64_t bytes,
		      struct error *err)
{
	const json_t *memory = json_object_get(resources, "memory");
	long long limit = number(memory, "limit"), swap = number(memory, "swap");
	int ret;

	if (cgroup->count == 0 || limit <= 0)
		return 0;
	if (!cgroup->unified)
		return write_number(cgroup, "memory", "memory.limit_in_bytes", (long long)bytes,
				    err);
	ret = write_number(cgroup, "memory", "memory.max", (long long)bytes, err);
	/* OCI counts swap with memory, v2 counts it alone. */
	if (ret == 0 && swap > 0)
		ret = write_number(cgroup, "memory", "memory.swap.max",
				   swap > limit ? swap - limit : 0, err);
	return ret;
}

int cgroup_change_memory(const struct cgroup *cgroup, int64_t bytes, struct error *err)
{
	const char *file = cgroup->unified ? "memory.max" : "memory.limit_in_bytes";
	const struct cgroup_folder *folder = cgroup_find(cgroup, "memory");
	cleanup_free char *text = NULL;
	long long limit;

	if (!bytes || !folder || file_read(folder->fd, file, 64, &text, NULL) < 0)
		return 0;
	/* v2 says "max", v1 a number that is larger than any. */
	limit = strtoll(text, NULL, 10);
	if (limit <= 0 || limit > INT64_MAX / 2)
		return 0;
	return write_number(cgroup, "memory", file, limit + bytes, err);
}

/* What is not given stays as it is: the file takes a quota alone, but no period alone. */
static int set_quota_unified(const struct cgroup *cgroup, long long quota, long long period,
			     struct error *err)
{
	const struct cgroup_folder *folder = cgroup_find(cgroup, "cpu");
	cleanup_free char *current = NULL;
	char text[64];
	size_t len;

	if (quota > 0)
		snprintf(text, sizeof(text), "%lld", quota);
	else if (quota < 0 || !folder || file_read(folder->fd, "cpu.max", 64, &current, NULL) < 0)
		snprintf(text, sizeof(text), "max");
	else
		snprintf(text, sizeof(text), "%.*s", (int)strcspn(current, " \n"), current);
	len = strlen(text);
	if (period)
		snprintf(text + len, sizeof(text) - len, " %lld", period);
	return write_text(cgroup, "cpu", "cpu.max", text, err);
}

static int set_quota(const struct cgroup *cgroup, const json_t *cpu, struct error *err)
{
	long long quota = number(cpu, "quota"), period = number(cpu, "period");
	int ret = 0;

	if (!quota && !period)
		return 0;
	if (cgroup->unified)
		return set_quota_unified(cgroup, quota, period, err);
	if (period)
		ret = write_number(cgroup, "cpu", "cpu.cfs_period_us", period, err);
	if (ret == 0 && quota)
		ret = write_number(cgroup, "cpu", "cpu.cfs_quota_us", quota, err);
	return ret;
}

int cgroup_set_cpu(const struct cgroup *cgroup, const json_t *resources, struct error *err)
{
	const json_t *cpu = json_object_get(resources, "cpu");
	const char *cpus = json_string_value(json_object_get(cpu, "cpus"));
	const char *mems = json_string_value(json_object_get(cpu, "mems"));
	const json_t *idle = json_object_get(cpu, "idle");
	long long shares = number(cpu, "shares"), burst = number(cpu, "burst");
	int ret = 0;

	if (cgroup->count == 0 || !cpu)
		return 0;
	if (shares)
		ret = cgroup->unified ? write_number(cgroup, "cpu", "cpu.weight",
						     unified_cpu_weight(shares), err)
				      : write_number(cgroup, "cpu", "cpu.shares", shares, err);
	if (ret == 0)
		ret = set_quota(cgroup, cpu, err);
	if (ret == 0 && burst)
		ret = write_number(cgroup, "cpu",
				   cgroup->unified ? "cpu.max.burst" : "cpu.cfs_burst_us", burst,
				   err);
	if (ret == 0 && json_is_integer(idle))
		ret = write_number(cgroup, "cpu", "cpu.idle", json_integer_value(idle), err);
	if (ret == 0 && cpus && *cpus)
		ret = write_text(cgroup, "cpuset", "cpuset.cpus", cpus, err);
	if (ret == 0 && mems && *mems)
		ret = write_text(cgroup, "cpuset", "cpuset.mems", mems, err);
	return ret;
}

/* Rates for a device of the host, which the VMM's I/O is counted against. */
static const struct {
	const char *field, *v1, *v2;
} throttles[] = {
	{"throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps"},
	{"throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps"},
	{"throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops"},
	{"throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops"},
};

static int set_throttle(const struct cgroup *cgroup, size_t which, const json_t *entry,
			struct error *err)
{
	char text[128];

	if (cgroup->unified) {
		int len = snprintf(text, sizeof(text), "%lld:%lld %s=", number(entry, "major"),
				   number(entry, "minor"), throttles[which].v2);
		long long rate = number(entry, "rate");

		/* No limit: v1 calls that 0. */
		snprintf(text + len, sizeof(text) - (size_t)len, rate ? "%lld" : "max", rate);
		return write_text(cgroup, "io", "io.max", text, err);
	}
	snprintf(text, sizeof(text), "%lld:%lld %lld", number(entry, "major"),
		 number(entry, "minor"), number(entry, "rate"));
	return write_text(cgroup, "blkio", throttles[which].v1, text, err);
}

/*
 * v2 calls the weight io.bfq.weight (1..1000) where BFQ schedules and io.weight (1..10000) where
 * iocost does; OCI's goes from 10 to 1000.
 */
static int set_io_weight(const struct cgroup *cgroup, long long weight, struct error *err)
{
	struct error ignored = {0};

	if (!cgroup->unified)
		return write_number(cgroup, "blkio", "blkio.weight", weight, &ignored) == 0
			       ? 0
			       : write_number(cgroup, "blkio", "blkio.bfq.weight", weight, err);
	if (write_number(cgroup, "io", "io.bfq.weight", weight, &ignored) == 0)
		return 0;
	return write_number(cgroup, "io", "io.weight", 1 + (weight - 10) * 9999 / 990, err);
}

int cgroup_set_io(const struct cgroup *cgroup, const json_t *resources, struct error *err)
{
	const json_t *io = json_object_get(resources, "blockIO");
	long long weight = number(io, "weight");
	json_t *entry;
	size_t i;
	int ret = 0;

	if (cgroup->count == 0 || !io)
		return 0;
	if (weight)
		ret = set_io_weight(cgroup, weight, err);
	for (size_t t = 0; t < sizeof(throttles) / sizeof(throttles[0]); t++)
		json_array_foreach (json_object_get(io, throttles[t].field), i, entry)
			if (ret == 0)
				ret = set_throttle(cgroup, t, entry, err);
	return ret;
}

int cgroup_set_unified(const struct cgroup *cgroup, const json_t *resources, struct error *err)
{
	json_t *unified = json_object_get(resources, "unified"), *value;
	const char *key;
	int ret = 0;

	if (cgroup->count == 0 || json_object_size(unified) == 0)
		return 0;
	if (!cgroup->unified)
		return error_say(err, ENOTSUP, "linux.resources.unified: this host has cgroup v1");
	json_object_foreach (unified, key, value) {
		if (ret < 0 || unified_is_guests(key))
			continue;
		if (strchr(key, '/') || !strchr(key, '.'))
			return error_say(err, EINVAL,
					 "linux.resources.unified: \"%s\" is not a file of a "
					 "control group",
					 key);
		ret = write_text(cgroup, "", key, json_string_value(value), err);
	}
	return ret;
}
