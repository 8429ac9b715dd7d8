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
#include "guest-agent/path.h"
#include "guest-agent/spec.h"

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

static int enable(const char *controller)
{
	return path_write(CGROUP_ROOT "/cgroup.subtree_control", controller);
}

static int apply_pids(const json_t *resources, int fd, struct error *err)
{
	const json_t *pids = NULL;
	long long limit = 0;
	int ret = spec_object(resources, "config.linux.resources", "pids", &pids, err);

	if (ret > 0)
		ret = spec_int(pids, "config.linux.resources.pids", "limit", -1, LLONG_MAX, &limit,
			       err);
	if (ret <= 0 || !limit)
		return ret;
	enable("+pids");
	return write_limit(fd, "pids.max", limit, err);
}

static int apply_memory(const json_t *resources, int fd, struct error *err)
{
	static const char where[] = "config.linux.resources.memory";
	const json_t *memory = NULL;
	long long limit = 0, reservation = 0;
	int ret;

	if ((ret = spec_object(resources, "config.linux.resources", "memory", &memory, err)) <= 0 ||
	    (ret = spec_int(memory, where, "limit", -1, LLONG_MAX, &limit, err)) < 0 ||
	    (ret = spec_int(memory, where, "reservation", -1, LLONG_MAX, &reservation, err)) < 0)
		return ret;
	if (!limit && !reservation)
		return 0;
	enable("+memory");
	if (limit)
		ret = write_limit(fd, "memory.max", limit, err);
	if (ret >= 0 && reservation)
		ret = write_limit(fd, "memory.low", reservation, err);
	return ret;
}

/* As runc and systemd convert: shares 2..262144 to weight 1..10000. */
static long long shares_to_weight(long long shares)
{
	if (shares < 2)
		shares = 2;
	if (shares > 262144)
		shares = 262144;
	return 1 + (shares - 2) * 9999 / 262142;
}

static int apply_cpu(const json_t *resources, int fd, struct error *err)
{
	static const char where[] = "config.linux.resources.cpu";
	long long shares = 0, quota = 0, period = 100000;
	const json_t *cpu = NULL;
	char text[64];
	int ret;

	if ((ret = spec_object(resources, "config.linux.resources", "cpu", &cpu, err)) <= 0 ||
	    (ret = spec_int(cpu, where, "shares", 0, LLONG_MAX, &shares, err)) < 0 ||
	    (ret = spec_int(cpu, where, "quota", -1, LLONG_MAX, &quota, err)) < 0 ||
	    (ret = spec_int(cpu, where, "period", 0, LLONG_MAX, &period, err)) < 0)
		return ret;
	if (!shares && quota <= 0)
		return 0;
	enable("+cpu");
	if (shares)
		ret = write_limit(fd, "cpu.weight", shares_to_weight(shares), err);
	if (ret < 0 || quota <= 0)
		return ret;
	snprintf(text, sizeof(text), "%lld %lld", quota, period ? period : 100000);
	ret = write_at(fd, "cpu.max", text);
	return ret < 0 ? error_set(err, -ret, "cgroup: write %s to cpu.max", text) : 0;
}

static int apply(const json_t *config, int fd, struct error *err)
{
	const json_t *linux_ = NULL, *resources = NULL;
	int ret;

	if ((ret = spec_object(config, "config", "linux", &linux_, err)) < 0 ||
	    (ret = spec_object(linux_, "config.linux", "resources", &resources, err)) < 0 ||
	    (ret = apply_pids(resources, fd, err)) < 0 ||
	    (ret = apply_memory(resources, fd, err)) < 0 ||
	    (ret = apply_cpu(resources, fd, err)) < 0)
		return ret;
	return 0;
}

int cgroup_make(const json_t *config, struct error *err)
{
	cleanup_fd int fd = -1;
	int ret;

	if (mkdir(CGROUP_PATH, 0755) < 0 && errno != EEXIST)
		return error_set(err, errno, "mkdir " CGROUP_PATH);
	fd = open(CGROUP_PATH, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_set(err, errno, "open " CGROUP_PATH);
	ret = apply(config, fd, err);
	return ret < 0 ? ret : take_fd(&fd);
}

void cgroup_kill(int cgroup_fd)
{
	if (cgroup_fd >= 0)
		write_at(cgroup_fd, "cgroup.kill", "1");
}

static int signal_here(int cgroup_fd, int sig)
{
	int fd = openat(cgroup_fd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	cleanup_file FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
	int pid;

	if (!file)
		return -errno;
	/* 0 is a process that this namespace does not see; kill(0) would be ourselves. */
	while (fscanf(file, "%d", &pid) == 1)
		if (pid > 1)
			kill(pid, sig);
	return 0;
}

static int signal_below(int cgroup_fd, int sig, int depth)
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
			signal_below(fd, sig, depth + 1);
	}
	return signal_here(cgroup_fd, sig);
}

int cgroup_signal(int cgroup_fd, int sig)
{
	if (sig == SIGKILL) {
		cgroup_kill(cgroup_fd);
		return 0;
	}
	return signal_below(cgroup_fd, sig, 0);
}
