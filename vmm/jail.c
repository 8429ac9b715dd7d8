#include "vmm/jail.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <linux/landlock.h>
#include <malloc.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/capability.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/proc.h"
#include "protocol/protocol.h"

/*
 * A VMM started by root gets the user id FIRST_UID + its pid: no two that live at the same time
 * share one. Above all ids that systemd and container managers give out, below the signed half.
 */
#define FIRST_UID 0x70000000u

/* In a rootless engine's user namespace there are fewer: one of so many, the highest there. */
#define FEW_IDS 4096u

/* Every connection and attached device takes a descriptor or two. */
#define DESCRIPTORS_MAX 4096

int jail_parse_layers(const char *list)
{
	static const struct {
		const char *name;
		enum jail_layer layer;
	} names[] = {
		{"namespaces", JAIL_NAMESPACES}, {"user", JAIL_USER},
		{"limits", JAIL_LIMITS},	 {"dumpable", JAIL_DUMPABLE},
		{"landlock", JAIL_LANDLOCK},	 {"seccomp", JAIL_SECCOMP},
	};
	cleanup_free char *copy = strdup(list);
	char *at = copy, *name;
	int layers = 0;

	while (at && (name = strsep(&at, ","))) {
		int found = 0;

		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			if (strcmp(name, names[i].name) == 0)
				found = (int)names[i].layer;
		if (!found)
			return -EINVAL;
		layers |= found;
	}
	return copy ? layers : -ENOMEM;
}

static int compare(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

int jail_close_others(const int *keep, unsigned int count, struct error *err)
{
	cleanup_free int *sorted = calloc(count + 1, sizeof(*sorted));
	unsigned int from = STDERR_FILENO + 1;

	if (!sorted)
		return error_set(err, ENOMEM, "descriptors");
	memcpy(sorted, keep, count * sizeof(*keep));
	qsort(sorted, count, sizeof(*sorted), compare);
	for (unsigned int i = 0; i < count; i++) {
		unsigned int fd = (unsigned int)sorted[i];

		if (sorted[i] < (int)from)
			continue;
		if (fd > from && close_range(from, fd - 1, 0) < 0)
			return error_set(err, errno, "close_range");
		from = fd + 1;
	}
	if (close_range(from, ~0u, 0) < 0)
		return error_set(err, errno, "close_range");
	return 0;
}

/* Who is not root gets the right to it in a user namespace, if this host gives those away. */
static int new_namespaces(void)
{
	int flags = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS;

	if (unshare(flags) == 0)
		return 0;
	if (errno != EPERM || unshare(flags | CLONE_NEWUSER) < 0)
		return -errno;
	return 0;
}

/* An empty directory on a mount of its own, in no namespace. */
static int make_empty_root(struct error *err)
{
	unsigned int attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
				  MOUNT_ATTR_NOEXEC;
	/* Nobody may enter it; in a user namespace of its own the VMM has no right around that
	 * while it moves in. */
	const char *mode = geteuid() == 0 ? "0" : "100";
	cleanup_fd int fs_fd = fsopen("tmpfs", FSOPEN_CLOEXEC);
	int fd = -1;

	if (fs_fd >= 0 && fsconfig(fs_fd, FSCONFIG_SET_STRING, "source", "jail", 0) == 0 &&
	    fsconfig(fs_fd, FSCONFIG_SET_STRING, "mode", mode, 0) == 0 &&
	    fsconfig(fs_fd, FSCONFIG_SET_STRING, "size", "4k", 0) == 0 &&
	    fsconfig(fs_fd, FSCONFIG_SET_FLAG, "ro", NULL, 0) == 0 &&
	    fsconfig(fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		fd = fsmount(fs_fd, FSMOUNT_CLOEXEC, attributes);
	return fd < 0 ? error_set(err, errno, "jail: mount an empty root") : fd;
}

/* The mount becomes the root of the namespace; with the old root all else goes away from below. */
static int change_root(int mount_fd, struct error *err)
{
	/* On a directory that surely is there. */
	if (move_mount(mount_fd, "", AT_FDCWD, "/proc", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return error_set(err, errno, "jail: mount the new root");
	if (chdir("/proc") < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
		return error_set(err, errno, "jail: pivot_root");
	if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return error_set(err, errno, "jail: leave the old root");
	return 0;
}

static int enter_empty_root(int root_fd, struct error *err)
{
	cleanup_fd int empty_fd = -1;
	int ret;

	/* Nothing that happens to our mounts may reach the host's, and the other way. */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return error_set(err, errno, "jail: make mounts private");
	empty_fd = make_empty_root(err);
	if (empty_fd < 0)
		return empty_fd;
	ret = change_root(root_fd >= 0 ? root_fd : empty_fd, err);
	if (ret < 0 || root_fd < 0)
		return ret;
	/* Out of the namespace's tree: no path leads from one to the other. */
	if (fchdir(empty_fd) < 0 || chroot(".") < 0 || chdir("/") < 0)
		return error_set(err, errno, "jail: leave the container's root");
	return 0;
}

static int enter_namespaces(int root_fd, struct error *err)
{
	int ret = new_namespaces();

	if (ret == 0)
		return enter_empty_root(root_fd, err);
	if (ret != -EPERM && ret != -ENOSPC && ret != -EINVAL && ret != -ENOSYS)
		return error_set(err, -ret, "jail: new namespaces");
	log_warn("jail: no namespaces of its own for the VMM (%s); run as root, or allow "
		 "unprivileged user namespaces",
		 strerror(-ret));
	return 0;
}

static int set_limits(struct error *err)
{
	static const struct {
		int resource;
		rlim_t max;
	} limits[] = {
		{RLIMIT_CORE, 0},
		{RLIMIT_MSGQUEUE, 0},
		{RLIMIT_RTPRIO, 0},
		{RLIMIT_NOFILE, DESCRIPTORS_MAX},
	};

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		struct rlimit limit;

		if (getrlimit(limits[i].resource, &limit) < 0)
			return error_set(err, errno, "jail: getrlimit");
		if (limit.rlim_max > limits[i].max)
			limit.rlim_max = limits[i].max;
		limit.rlim_cur = limit.rlim_max;
		if (setrlimit(limits[i].resource, &limit) < 0)
			return error_set(err, errno, "jail: setrlimit");
	}
	return 0;
}

static uint32_t find_id(const char *map)
{
	uint32_t pid = (uint32_t)getpid(), highest = 0, few = 1;
	struct proc_ids ids;

	while (proc_next_ids(&map, &ids)) {
		if (FIRST_UID + pid - ids.inside < ids.count)
			return FIRST_UID + pid;
		if (ids.count < 2 || ids.inside + (ids.count - 1) < highest)
			continue;
		highest = ids.inside + (ids.count - 1);
		few = ids.count - 1 < FEW_IDS ? ids.count - 1 : FEW_IDS;
	}
	return highest - pid % few;
}

/* By uid_map or gid_map, while /proc is there. 0: there is none but root. */
static uint32_t choose_id(const char *name)
{
	char map[PROC_ID_MAP_MAX];

	return proc_read(0, name, map, sizeof(map)) < 0 ? FIRST_UID + (uint32_t)getpid()
							: find_id(map);
}

static int become_nobody(uid_t uid, gid_t gid, struct error *err)
{
	if (geteuid() != 0)
		return 0;
	/* The calls themselves: glibc's would look for other threads first. */
	if (syscall(SYS_setgroups, 0, NULL) < 0 && errno != EPERM)
		return error_set(err, errno, "jail: setgroups");
	if (syscall(SYS_setresgid, gid, gid, gid) == 0 &&
	    syscall(SYS_setresuid, uid, uid, uid) == 0 && uid)
		return 0;
	/* In a user namespace with root alone: that has no rights outside of it anyway. */
	if (uid && errno != EINVAL && errno != EPERM)
		return error_set(err, errno, "jail: become user %u", uid);
	log_debug("jail: no user id of its own in this user namespace");
	return 0;
}

/* As the kernel's UAPI has it since ABI 6; older kernels take the beginning of it. */
struct landlock_rules {
	uint64_t fs;
	uint64_t net;
	uint64_t scoped;
};

/* Everything that the kernel's version of Landlock can forbid. */
static int enter_landlock(struct error *err)
{
	struct landlock_rules rules = {0};
	size_t size = sizeof(rules.fs);
	cleanup_fd int fd = -1;
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	if (abi < 1) {
		log_debug("jail: no Landlock on this host");
		return 0;
	}
	/* 13 rights on files; 2: refer; 3: truncate; 5: ioctl on devices. */
	rules.fs = (1u << 13) - 1;
	if (abi >= 2)
		rules.fs |= 1u << 13;
	if (abi >= 3)
		rules.fs |= 1u << 14;
	if (abi >= 4) { /* bind and connect TCP */
		rules.net = 3;
		size = 2 * sizeof(uint64_t);
	}
	if (abi >= 5)
		rules.fs |= 1u << 15;
	if (abi >= 6) { /* abstract sockets and signals to the outside */
		rules.scoped = 3;
		size = sizeof(rules);
	}
	fd = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);
	if (fd < 0 || syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		return error_set(err, errno, "jail: Landlock");
	return 0;
}

void jail_prepare_libc(void)
{
	/* The log is in UTC: a file that says so need not be looked for. */
	setenv("TZ", "UTC0", 1);
	tzset();
	/* No heap of its own, 128 MiB of addresses each, for every thread. */
	mallopt(M_ARENA_MAX, 1);
}

int jail_enter(unsigned int relaxed, int root_fd, struct error *err)
{
	uid_t uid = choose_id("uid_map");
	gid_t gid = choose_id("gid_map");
	int ret = 0;

	if (relaxed)
		log_warn("jail: layers are left out (--relax): do not run strangers' code");
	jail_prepare_libc();
	if (!(relaxed & JAIL_NAMESPACES))
		ret = enter_namespaces(root_fd, err);
	/* A directory of the container's must not stay open. */
	close_fd(&root_fd);
	if (ret == 0 && !(relaxed & JAIL_LIMITS))
		ret = set_limits(err);
	if (ret == 0 && !(relaxed & JAIL_USER)) {
		ret = become_nobody(uid, gid, err);
		if (ret == 0 && (ret = capabilities_drop()) < 0)
			error_set(err, -ret, "jail: drop all capabilities");
	}
	if (ret < 0)
		return ret;
	if (!(relaxed & JAIL_DUMPABLE) && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return error_set(err, errno, "jail: PR_SET_DUMPABLE");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return error_set(err, errno, "jail: no new privileges");
	return relaxed & JAIL_LANDLOCK ? 0 : enter_landlock(err);
}
