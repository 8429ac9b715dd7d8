#include "guest-agent/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/proc.h"
#include "common/unified.h"
#include "guest-agent/path.h"
#include "guest-agent/spec.h"
#include "guest-agent/unified.h"

#define CGROUP_ROOT "/sys/fs/cgroup"
#define CGROUP_PATH CGROUP_ROOT "/container"
#define DEPTH_MAX   32 /* the workload may nest as it likes, our stack may not */

static int write_at(int cgroup_fd, const char *name, const char *text)
{
	cleanup_fd int fd = openat(cgroup_fd, name, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return -errno;
	return 0;
}

int cgroup_read(int cgroup_fd, const char *name, char *text, size_t size)
{
	cleanup_fd int fd = openat(cgroup_fd, name, O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	ssize_t len = 1;

	while (fd >= 0 && len > 0 && used < size - 1) {
		len = read(fd, text + used, size - 1 - used);
		used += len > 0 ? (size_t)len : 0;
	}
	text[used] = '\0';
	return fd < 0 || len < 0 ? -errno : (int)used;
}

/* A limit of -1 is "max". */
static int write_limit(int fd, const char *file, long long limit, struct error *err)
{
	char text[24] = "max";
	int ret;

	if (limit >= 0)
		snprintf(text, sizeof(text), "%lld", limit);
	ret = write_at(fd, file, text);
	return ret < 0 ? error_set(err, -ret, "cgroup: write %s to %s", text, file) : 0;
}

static int enable(const char *controllers)
{
	return path_write(CGROUP_ROOT "/cgroup.subtree_control", controllers);
}

static const char where_resources[] = "resources";

static int apply_pids(const json_t *resources, int fd, struct error *err)
{
	const json_t *pids = NULL;
	long long limit = 0;
	int ret = spec_object(resources, where_resources, "pids", &pids, err);

	if (ret > 0)
		ret = spec_int(pids, "resources.pids", "limit", -1, LLONG_MAX, &limit, err);
	return ret <= 0 || !limit ? ret : write_limit(fd, "pids.max", limit, err);
}

/* OCI counts memory and swap together, the kernel swap alone. -1 is no limit. */
static int apply_swap(int fd, long long limit, long long swap, struct error *err)
{
	if (!swap)
		return 0;
	if (swap > 0 && limit > 0) {
		if (swap < limit)
			return error_say(err, EINVAL,
					 "resources.memory.swap: is less than the memory limit");
		swap -= limit;
	} else if (swap > 0) {
		return error_say(err, EINVAL, "resources.memory.swap: needs a memory limit too");
	}
	/* A guest's kernel without swap keeps every limit of it. */
	if (faccessat(fd, "memory.swap.max", F_OK, 0) < 0)
		return 0;
	return write_limit(fd, "memory.swap.max", swap, err);
}

static int apply_memory(const json_t *resources, int fd, struct error *err)
{
	static const char where[] = "resources.memory";
	const json_t *memory = NULL;
	long long limit = 0, reservation = 0, swap = 0;
	int ret;

	if ((ret = spec_object(resources, where_resources, "memory", &memory, err)) <= 0 ||
	    (ret = spec_int(memory, where, "limit", -1, LLONG_MAX, &limit, err)) < 0 ||
	    (ret = spec_int(memory, where, "reservation", -1, LLONG_MAX, &reservation, err)) < 0 ||
	    (ret = spec_int(memory, where, "swap", -1, LLONG_MAX, &swap, err)) < 0)
		return ret;
	ret = apply_swap(fd, limit, swap, err);
	if (ret >= 0 && limit)
		ret = write_limit(fd, "memory.max", limit, err);
	if (ret >= 0 && reservation)
		ret = write_limit(fd, "memory.low", reservation, err);
	return ret;
}

/* What is not given stays as it is. */
static int write_quota(int fd, long long quota, long long period, struct error *err)
{
	char current[64] = "", old_quota[24] = "max", text[64];
	long long old_period = 100000;
	int ret;

	if (!quota && !period)
		return 0;
	if (cgroup_read(fd, "cpu.max", current, sizeof(current)) > 0)
		sscanf(current, "%23s %lld", old_quota, &old_period);
	if (!period)
		period = old_period;
	if (!quota)
		snprintf(text, sizeof(text), "%s %lld", old_quota, period);
	else if (quota < 0)
		snprintf(text, sizeof(text), "max %lld", period);
	else
		snprintf(text, sizeof(text), "%lld %lld", quota, period);
	ret = write_at(fd, "cpu.max", text);
	return ret < 0 ? error_set(err, -ret, "cgroup: write %s to cpu.max", text) : 0;
}

static int write_text(int fd, const char *file, const char *text, struct error *err)
{
	int ret = text && *text ? write_at(fd, file, text) : 0;

	return ret < 0 ? error_set(err, -ret, "cgroup: write %s to %s", text, file) : 0;
}

/* CPUs are the VM's own: those of the host that a cpuset names are the VMM's affair. */
static int apply_cpu(const json_t *resources, int fd, struct error *err)
{
	static const char where[] = "resources.cpu";
	long long shares = 0, quota = 0, period = 0, idle = -1;
	const json_t *cpu = NULL;
	int ret;

	if ((ret = spec_object(resources, where_resources, "cpu", &cpu, err)) <= 0 ||
	    (ret = spec_int(cpu, where, "shares", 0, LLONG_MAX, &shares, err)) < 0 ||
	    (ret = spec_int(cpu, where, "quota", -1, LLONG_MAX, &quota, err)) < 0 ||
	    (ret = spec_int(cpu, where, "period", 0, LLONG_MAX, &period, err)) < 0 ||
	    (ret = spec_int(cpu, where, "idle", 0, 1, &idle, err)) < 0)
		return ret;
	if (idle >= 0 && (ret = write_text(fd, "cpu.idle", idle ? "1" : "0", err)) < 0)
		return ret;
	if (shares && (ret = write_limit(fd, "cpu.weight", unified_cpu_weight(shares), err)) < 0)
		return ret;
	return write_quota(fd, quota, period, err);
}

/* blkio's weights 10..1000 to 1..10000, as runc does. Devices are named by the host's numbers. */
static int apply_io(const json_t *resources, int fd, struct error *err)
{
	const json_t *io = NULL;
	long long weight = 0;
	int ret = spec_object(resources, where_resources, "blockIO", &io, err);

	if (ret > 0)
		ret = spec_int(io, "resources.blockIO", "weight", 0, 1000, &weight, err);
	if (ret <= 0 || !weight)
		return ret;
	return write_limit(fd, "io.weight", weight < 10 ? 1 : 1 + (weight - 10) * 9999 / 990, err);
}

int cgroup_apply(int fd, const json_t *resources, struct error *err)
{
	int ret;

	if ((ret = apply_pids(resources, fd, err)) < 0 ||
	    (ret = apply_memory(resources, fd, err)) < 0 ||
	    (ret = apply_cpu(resources, fd, err)) < 0 || (ret = apply_io(resources, fd, err)) < 0 ||
	    (ret = unified_apply(resources, fd, err)) < 0)
		return ret;
	return 0;
}

int cgroup_make(const json_t *config, struct error *err)
{
	const json_t *linux_ = NULL, *resources = NULL;
	cleanup_fd int fd = -1;
	int ret;

	if ((ret = spec_object(config, "config", "linux", &linux_, err)) < 0 ||
	    (ret = spec_object(linux_, "config.linux", "resources", &resources, err)) < 0)
		return ret;
	/* All of them from the beginning: what was used before would not be counted. */
	ret = enable("+cpu +io +memory +pids");
	if (ret < 0)
		return error_set(err, -ret, "cgroup: enable controllers");
	if (mkdir(CGROUP_PATH, 0755) < 0 && errno != EEXIST)
		return error_set(err, errno, "mkdir " CGROUP_PATH);
	fd = open(CGROUP_PATH, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_set(err, errno, "open " CGROUP_PATH);
	ret = cgroup_apply(fd, resources, err);
	return ret < 0 ? ret : take_fd(&fd);
}

int cgroup_below(int cgroup_fd, const char *path)
{
	return path_open(cgroup_fd, path, O_RDONLY | O_DIRECTORY);
}

int cgroup_of(pid_t pid)
{
	cleanup_fd int root_fd = open(CGROUP_ROOT, O_PATH | O_DIRECTORY | O_CLOEXEC);
	char text[PATH_MAX + 8];
	ssize_t len = proc_read(pid, "cgroup", text, sizeof(text));

	if (root_fd < 0)
		return -errno;
	if (len < 0)
		return (int)len;
	if (strncmp(text, "0::/", 4) != 0)
		return -EINVAL;
	text[strcspn(text, "\n")] = '\0';
	return cgroup_below(root_fd, text + 3);
}

void cgroup_kill(int cgroup_fd)
{
	if (cgroup_fd >= 0)
		write_at(cgroup_fd, "cgroup.kill", "1");
}

static int each_here(int cgroup_fd, cgroup_each_fn *fn, void *ctx)
{
	int fd = openat(cgroup_fd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	cleanup_file FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
	int pid;

	if (!file)
		return -errno;
	/* 0 is a process that this namespace does not see; 1 are we. */
	while (fscanf(file, "%d", &pid) == 1)
		if (pid > 1)
			fn(ctx, pid);
	return 0;
}

static int each_below(int cgroup_fd, cgroup_each_fn *fn, void *ctx, int depth)
{
	int list_fd = openat(cgroup_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *dir = list_fd < 0 ? NULL : fdopendir(list_fd);
	struct dirent *entry;

	if (!dir)
		return -errno;
	while (depth < DEPTH_MAX && (entry = readdir(dir))) {
		cleanup_fd int fd = -1;

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		fd = openat(cgroup_fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0)
			each_below(fd, fn, ctx, depth + 1);
	}
	return each_here(cgroup_fd, fn, ctx);
}

int cgroup_each(int cgroup_fd, cgroup_each_fn *fn, void *ctx)
{
	return each_below(cgroup_fd, fn, ctx, 0);
}

static void signal_one(void *ctx, pid_t pid)
{
	kill(pid, *(const int *)ctx);
}

int cgroup_signal(int cgroup_fd, int sig)
{
	if (sig == SIGKILL) {
		cgroup_kill(cgroup_fd);
		return 0;
	}
	return cgroup_each(cgroup_fd, signal_one, &sig);
}
