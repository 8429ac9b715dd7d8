/* What a container takes of the host, and what it shares with it. */
#include "runtime/compare.h"
#include "runtime/control_client.h"
#include "runtime/file.h"
#include "runtime/json.h"
#include "runtime/state.h"
#include "runtime/store.h"

#include "common/cleanup.h"
#include "common/proc.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#define STATS_LIMIT   5000 /* ms */
#define DEPTH_MAX     128
#define PROCESSES_MAX 4096

const char *const compare_namespaces[COMPARE_NAMESPACES] = {"cgroup", "ipc",  "mnt",  "net",
							    "pid",    "time", "user", "uts"};

/* --- processes: the container's own, and all that share its control groups or descend from it ---
 */

static pid_t parent_of(pid_t pid)
{
	char text[512];
	const char *at;
	int parent;

	if (proc_read(pid, "stat", text, sizeof(text)) <= 0 || !(at = strrchr(text, ')')) ||
	    sscanf(at + 1, " %*c %d", &parent) != 1)
		return 0;
	return parent;
}

static bool descends_from(pid_t pid, pid_t ancestor)
{
	for (int depth = 0; pid > 1 && depth < DEPTH_MAX; depth++) {
		if (pid == ancestor)
			return true;
		pid = parent_of(pid);
	}
	return false;
}

static uint64_t pss_of(pid_t pid)
{
	char text[2048];
	const char *at;

	if (proc_read(pid, "smaps_rollup", text, sizeof(text)) <= 0)
		return 0;
	at = strstr(text, "\nPss:");
	return at ? strtoull(at + 5, NULL, 10) * 1024 : 0;
}

static void measure_processes(struct compare_footprint *footprint, pid_t pid)
{
	cleanup_dir DIR *dir = opendir("/proc");
	char groups[4096], own[4096], its[4096];
	struct dirent *entry;
	bool by_group;

	proc_read(pid, "cgroup", groups, sizeof(groups));
	proc_read(getpid(), "cgroup", own, sizeof(own));
	by_group = *groups && strcmp(groups, own) != 0;
	while (dir && (entry = readdir(dir)) && footprint->host_processes < PROCESSES_MAX) {
		pid_t other = (pid_t)strtol(entry->d_name, NULL, 10);
		uint64_t pss;
		bool its_own;

		if (other <= 0)
			continue;
		its_own = by_group && proc_read(other, "cgroup", its, sizeof(its)) > 0 &&
			  !strcmp(its, groups);
		if (!its_own && !descends_from(other, pid))
			continue;
		/* KVM's kernel threads are in the VMM's groups too; they have no memory of their
		 * own. */
		pss = pss_of(other);
		footprint->host_pss += pss;
		footprint->host_processes += pss > 0;
	}
}

/* --- disks --- */

/* A VM's disks are files of bulkhead's that it holds open, perhaps without a name. */
static bool is_disk(int fd_dir, const char *name)
{
	size_t root_len = strlen(store_path());
	char target[PATH_MAX];
	ssize_t len = readlinkat(fd_dir, name, target, sizeof(target) - 1);

	if (len <= 0)
		return false;
	target[len] = '\0';
	return !strncmp(target, store_path(), root_len) && target[root_len] == '/' &&
	       !strstr(target, "/templates/");
}

static uint64_t disks_of(pid_t pid)
{
	char path[64];
	cleanup_dir DIR *dir = NULL;
	struct dirent *entry;
	uint64_t bytes = 0;
	ino_t seen[64];
	size_t count = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	while (dir && count < 64 && (entry = readdir(dir))) {
		struct stat st;
		size_t i = 0;

		if (!is_disk(dirfd(dir), entry->d_name) ||
		    fstatat(dirfd(dir), entry->d_name, &st, 0) < 0 || !S_ISREG(st.st_mode))
			continue;
		while (i < count && seen[i] != st.st_ino)
			i++;
		if (i < count)
			continue;
		seen[count++] = st.st_ino;
		bytes += (uint64_t)st.st_blocks * 512;
	}
	return bytes;
}

static uint64_t tree_size(int parent_fd, const char *name, int depth)
{
	int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_dir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	uint64_t bytes = 0;

	while (dir && depth < DEPTH_MAX && (entry = readdir(dir))) {
		struct stat st;

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
		    fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		/* A file of several names is counted once, as far as they are here. */
		bytes += (uint64_t)st.st_blocks * 512 /
			 (st.st_nlink && !S_ISDIR(st.st_mode) ? st.st_nlink : 1);
		if (S_ISDIR(st.st_mode))
			bytes += tree_size(fd, entry->d_name, depth + 1);
	}
	return bytes;
}

uint64_t compare_tree_size(int dir_fd)
{
	char path[48];
	cleanup_fd int fd = -1;

	/* The caller's may be for its path only. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d/.", dir_fd);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? 0 : tree_size(fd, ".", 0);
}

/* --- what is shared --- */

static bool same_namespace(pid_t pid, const char *name)
{
	char path[64];
	struct stat its, own;

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, name);
	if (stat(path, &its) < 0)
		return false;
	snprintf(path, sizeof(path), "/proc/self/ns/%s", name);
	return stat(path, &own) == 0 && its.st_ino == own.st_ino && its.st_dev == own.st_dev;
}

static void measure_sharing(struct compare_footprint *footprint, pid_t pid)
{
	for (int i = 0; i < COMPARE_NAMESPACES; i++)
		footprint->shares_namespace[i] = same_namespace(pid, compare_namespaces[i]);
	footprint->shares_users = same_namespace(pid, "user");
}

static void ask_guest(struct compare_footprint *footprint, const char *root, const char *id)
{
	cleanup_state struct state state = STATE_INIT;
	struct control control = CONTROL_INIT;
	static struct proto_stats_full stats;
	struct proto_frame reply;

	if (state_open(&state, root, id, NULL) == 0 &&
	    control_connect(&control, state.dir_fd, NULL) == 0 &&
	    control_request(&control, PROTO_STATS, NULL, 0, STATS_LIMIT, &reply, NULL) == 0 &&
	    proto_decode_stats(&reply, &stats) == 0) {
		footprint->guest_total = stats.stats.guest_total;
		footprint->guest_used = stats.stats.guest_total - stats.stats.guest_free;
		snprintf(footprint->kernel, sizeof(footprint->kernel), "%s", stats.stats.release);
	}
	control_close(&control);
}

void compare_measure(struct compare_footprint *footprint, pid_t pid, const char *state_root,
		     const char *id)
{
	struct utsname host;

	memset(footprint, 0, sizeof(*footprint));
	measure_processes(footprint, pid);
	if (state_root) {
		/* Its namespaces are the guest's kernel's: none of the host's is in reach. */
		ask_guest(footprint, state_root, id);
		footprint->disk_images = disks_of(pid);
		return;
	}
	measure_sharing(footprint, pid);
	if (uname(&host) == 0)
		snprintf(footprint->kernel, sizeof(footprint->kernel), "%s", host.release);
}

/* --- system calls --- */

#define NUMBERS_MAX 512 /* x86-64's and arm64's end before */

static unsigned int count_all(void)
{
	unsigned int count = 0;

	for (int number = 0; number < NUMBERS_MAX; number++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);

		count += name != NULL;
		free(name);
	}
	return count;
}

static void set_named(bool numbers[NUMBERS_MAX], const char *name, bool value)
{
	int number = seccomp_syscall_resolve_name(name);

	if (number >= 0 && number < NUMBERS_MAX)
		numbers[number] = value;
}

static bool lets_through(const char *action)
{
	return action && (!strcmp(action, "SCMP_ACT_ALLOW") || !strcmp(action, "SCMP_ACT_LOG") ||
			  !strcmp(action, "SCMP_ACT_TRACE") || !strcmp(action, "SCMP_ACT_NOTIFY"));
}

/* What the bundle's profile lets through, with whatever arguments; without one it is everything. */
static unsigned int count_profile(const struct compare *compare, unsigned int all)
{
	json_t *profile = json_at(compare->config, "linux", "seccomp", NULL);
	bool numbers[NUMBERS_MAX] = {false};
	bool otherwise = lets_through(json_string_value(json_object_get(profile, "defaultAction")));
	json_t *rule, *name;
	unsigned int count = 0;
	size_t i, j;

	if (!profile)
		return all;
	for (int number = 0; number < NUMBERS_MAX; number++) {
		char *known = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);

		numbers[number] = known && otherwise;
		free(known);
	}
	json_array_foreach (json_object_get(profile, "syscalls"), i, rule) {
		bool open = lets_through(json_string_value(json_object_get(rule, "action")));

		/* A condition on arguments closes a part of a call only. */
		if (!open && json_array_size(json_object_get(rule, "args")) > 0)
			continue;
		json_array_foreach (json_object_get(rule, "names"), j, name)
			set_named(numbers, json_string_value(name), open);
	}
	for (int number = 0; number < NUMBERS_MAX; number++)
		count += numbers[number];
	return count;
}

/* The VMM itself says what its filters let through. */
static unsigned int count_vmm(const struct compare *compare)
{
	/* As for the probe: a path with a quote in it is an engineer's own. */
	cleanup_free char *command = compare->vmm && !strchr(compare->vmm, '\'')
					     ? format("'%s' --syscalls 2>/dev/null", compare->vmm)
					     : NULL;
	FILE *output = command ? popen(command, "re") : NULL;
	bool numbers[NUMBERS_MAX] = {false};
	unsigned int count = 0;
	char line[64];

	while (output && fgets(line, sizeof(line), output)) {
		line[strcspn(line, "\n")] = '\0';
		set_named(numbers, line, true);
	}
	if (output)
		pclose(output);
	for (int number = 0; number < NUMBERS_MAX; number++)
		count += numbers[number];
	return count;
}

struct compare_surface compare_surface(const struct compare *compare, bool vm)
{
	unsigned int all = count_all();

	if (vm)
		return (struct compare_surface){count_vmm(compare), all,
						"the VMM's, by its filters"};
	return (struct compare_surface){count_profile(compare, all), all,
					json_at(compare->config, "linux", "seccomp", NULL)
						? "the workload's, by the bundle's profile"
						: "the workload's, without a profile"};
}
