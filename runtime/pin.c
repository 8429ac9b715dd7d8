#include "runtime/pin.h"
#include "runtime/file.h"
#include "runtime/vm_size.h"

#include "common/cleanup.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int pin_check(const char *list, uint32_t vcpus, struct error *err)
{
	int count = list ? cpu_list_count(list) : 0;

	if (!list)
		return 0;
	if (count < 0)
		return error_say(err, EINVAL, "io.bulkhead.pin: \"%s\" is not a list of CPUs",
				 list);
	if ((uint32_t)count < vcpus)
		return error_say(err, EINVAL,
				 "io.bulkhead.pin: \"%s\" names %d CPUs, the VM has %u", list,
				 count, vcpus);
	return 0;
}

/* The number of the vCPU that the thread is, by its name, or -1. */
static int which_vcpu(int tasks_fd, const char *tid)
{
	cleanup_free char *path = format("%s/comm", tid);
	cleanup_fd int fd = path ? openat(tasks_fd, path, O_RDONLY | O_CLOEXEC) : -1;
	char name[32] = "";
	int number;

	if (fd < 0 || read(fd, name, sizeof(name) - 1) < 0)
		return -1;
	return sscanf(name, "vcpu%d\n", &number) == 1 && number >= 0 ? number : -1;
}

static int pin_thread(pid_t tid, int vcpu, const char *list, struct error *err)
{
	int cpu = cpu_list_at(list, vcpu);
	cpu_set_t *set;
	size_t size;
	int ret = 0;

	if (cpu < 0)
		return error_say(err, EINVAL, "io.bulkhead.pin: no CPU for vCPU %d in \"%s\"", vcpu,
				 list);
	set = CPU_ALLOC(cpu + 1);
	if (!set)
		return error_set(err, ENOMEM, "io.bulkhead.pin");
	size = CPU_ALLOC_SIZE(cpu + 1);
	CPU_ZERO_S(size, set);
	CPU_SET_S(cpu, size, set);
	if (sched_setaffinity(tid, size, set) < 0)
		ret = errno == EINVAL ? error_say(err, EINVAL,
						  "io.bulkhead.pin: vCPU %d cannot have CPU %d: it "
						  "is not online, or not one of the "
						  "control group's (linux.resources.cpu.cpus)",
						  vcpu, cpu)
				      : error_set(err, errno, "io.bulkhead.pin: vCPU %d", vcpu);
	CPU_FREE(set);
	return ret;
}

int pin_apply(pid_t vmm, const char *list, struct error *err)
{
	cleanup_free char *path = format("/proc/%d/task", vmm);
	cleanup_dir DIR *dir = path ? opendir(path) : NULL;
	const struct dirent *entry;
	int ret = 0;

	if (!list)
		return 0;
	if (!dir)
		return error_set(err, path ? errno : ENOMEM, "io.bulkhead.pin: the VMM's threads");
	while (ret == 0 && (entry = readdir(dir)) != NULL) {
		int vcpu = which_vcpu(dirfd(dir), entry->d_name);

		if (vcpu >= 0)
			ret = pin_thread((pid_t)atoi(entry->d_name), vcpu, list, err);
	}
	return ret;
}
