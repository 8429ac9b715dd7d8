#include "runtime/host_facts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/cleanup.h"

#define VULNERABILITIES "/sys/devices/system/cpu/vulnerabilities"

/* The first line of a small file; empty when it is not there. */
static void read_line(int dir_fd, const char *name, char *line, size_t size)
{
	cleanup_fd int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, line, size - 1);

	line[len > 0 ? len : 0] = '\0';
	line[strcspn(line, "\n")] = '\0';
}

/* Names of what the kernel calls vulnerable. */
static void say_cpu(void (*say)(const char *, int, const char *))
{
	cleanup_dir DIR *dir = opendir(VULNERABILITIES);
	char text[400] = "open to guests: ", state[200];
	size_t len = strlen(text), before = len;
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		read_line(dirfd(dir), entry->d_name, state, sizeof(state));
		if (strncmp(state, "Vulnerable", 10) != 0 || len + 40 > sizeof(text))
			continue;
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%.32s",
					len > before ? ", " : "", entry->d_name);
	}
	if (!dir)
		say("cpu", 0, "the kernel does not tell its vulnerabilities");
	else if (len == before)
		say("cpu", 1, "no known vulnerability is open");
	else
		say("cpu", 0, text);
}

static void say_smt(void (*say)(const char *, int, const char *))
{
	unsigned long cookie = 0;
	char active[8];

	read_line(AT_FDCWD, "/sys/devices/system/cpu/smt/active", active, sizeof(active));
	if (strcmp(active, "1") != 0)
		say("smt", 1, "off: no two VMs share a core at a time");
	else if (prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, 0, 0, &cookie) == 0)
		say("smt", 0,
		    "on, and VMs share cores: core scheduling is there, or boot with nosmt");
	else
		say("smt", 0, "on, and VMs share cores: boot with nosmt");
}

static void say_ksm(void (*say)(const char *, int, const char *))
{
	char run[8];

	read_line(AT_FDCWD, "/sys/kernel/mm/ksm/run", run, sizeof(run));
	if (strcmp(run, "1") == 0)
		say("ksm", 0,
		    "on: the memory of guests is no part of it, that of other processes may be");
	else
		say("ksm", 1, "off");
}

static void say_landlock(void (*say)(const char *, int, const char *))
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	char text[64];

	snprintf(text, sizeof(text), "ABI %ld", abi);
	if (abi > 0)
		say("landlock", 1, text);
	else
		say("landlock", 0, "not there: the VMM's jail has one layer less");
}

void host_facts(void (*say)(const char *name, int good, const char *text))
{
	say_cpu(say);
	say_smt(say);
	say_ksm(say);
	say_landlock(say);
}
