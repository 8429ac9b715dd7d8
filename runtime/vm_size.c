#include "runtime/vm_size.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_MIB    256
#define CPU_NUMBER_MAX 8192
#define PERIOD_DEFAULT 100000 /* the kernel's, in microseconds */

/*
 * The guest's own share: its kernel's image and data, the agent, and 64 bytes for each page of 4096
 * (twice, for page tables and slabs).
 */
#define GUEST_OWN_MIB	  40
#define GUEST_OWN_DIVISOR 32

/* The VMM's: its own memory, its threads, KVM's page tables for the guest's memory, virtiofsd's. */
#define VMM_OWN_MIB	64
#define VMM_OWN_DIVISOR 32

static uint32_t host_memory_mib(void)
{
	long pages = sysconf(_SC_PHYS_PAGES);
	long page = sysconf(_SC_PAGESIZE);

	return pages > 0 && page > 0 ? (uint32_t)(((uint64_t)pages * (uint64_t)page) >> 20)
				     : SETTINGS_MAX_MIB;
}

uint32_t vm_size_of_limit(uint64_t limit)
{
	uint32_t host = host_memory_mib();
	uint64_t mib = (limit >> 20) + (limit % (1 << 20) != 0);

	if (mib < host)
		mib += GUEST_OWN_MIB + mib / GUEST_OWN_DIVISOR;
	if (mib > host)
		mib = host;
	return mib < SETTINGS_MIN_MIB ? SETTINGS_MIN_MIB : (uint32_t)mib;
}

static int size_memory(const struct bundle *bundle, const struct settings *settings, uint32_t *mib,
		       struct error *err)
{
	json_int_t limit = json_integer_value(
		json_at(bundle->config, "linux", "resources", "memory", "limit", NULL));
	uint32_t host = host_memory_mib();

	*mib = settings_annotated_number(settings, "memory");
	if (*mib > host)
		return error_say(err, EINVAL,
				 "annotation io.bulkhead.memory: this host has only %u MiB", host);
	if (*mib)
		return 0;
	*mib = settings_number(settings, "memory");
	if (!*mib)
		*mib = DEFAULT_MIB;
	if (limit > 0)
		*mib = vm_size_of_limit((uint64_t)limit);
	return 0;
}

int64_t vm_size_host_more(uint64_t bytes)
{
	return (int64_t)(bytes + bytes / VMM_OWN_DIVISOR);
}

/*
 * Powers of two, and what is halfway between them: so at most a third of a VM's memory comes later,
 * which takes time, and what its kernel sizes by its memory at boot is not far off.
 */
static uint32_t next_class(uint32_t class)
{
	bool is_power = (class & (class - 1)) == 0;

	return is_power ? class + class / 2 : class / 3 * 4;
}

static void make_room(struct vm_size *size, uint32_t most)
{
	if (most < size->memory_max_mib)
		most = size->memory_max_mib;
	size->room_mib = most <= size->boot_mib ? 0
						: (most - size->boot_mib + VM_SIZE_STEP_MIB - 1) /
							  VM_SIZE_STEP_MIB * VM_SIZE_STEP_MIB;
}

void vm_size_shared_template(struct vm_size *size)
{
	uint32_t next;

	/* The guest takes more of it in blocks of 2 MiB. */
	size->memory_mib += size->memory_mib % 2;
	size->boot_mib = SETTINGS_MIN_MIB;
	while ((next = next_class(size->boot_mib)) <= size->memory_mib)
		size->boot_mib = next;
	make_room(size, next);
}

void vm_size_own_template(struct vm_size *size)
{
	vm_size_shared_template(size);
	if (size->boot_mib == size->memory_mib)
		return;
	size->boot_mib = size->memory_mib;
	make_room(size, 0);
}

uint64_t vm_size_host_memory(const struct vm_size *size)
{
	uint64_t mib = (uint64_t)size->memory_mib + VMM_OWN_MIB;

	return ((mib + size->memory_mib / VMM_OWN_DIVISOR) << 20) + size->disk_bytes;
}

/* Takes "N" or "N-M", and the comma that follows. */
static int take_range(const char **list, long *first, long *last)
{
	char *end;

	*first = *last = strtol(*list, &end, 10);
	if (end == *list || *first < 0)
		return -EINVAL;
	if (*end == '-') {
		*list = end + 1;
		*last = strtol(*list, &end, 10);
		if (end == *list)
			return -EINVAL;
	}
	if (*last < *first || *last > CPU_NUMBER_MAX || (*end && *end != ','))
		return -EINVAL;
	*list = end + (*end == ',');
	return 0;
}

int cpu_list_count(const char *list)
{
	long first, last;
	int count = 0;

	while (*list) {
		if (take_range(&list, &first, &last) < 0)
			return -EINVAL;
		count += (int)(last - first + 1);
	}
	return count;
}

int cpu_list_at(const char *list, int index)
{
	long first, last;

	while (*list && take_range(&list, &first, &last) == 0) {
		if (index <= last - first)
			return (int)first + index;
		index -= (int)(last - first + 1);
	}
	return -EINVAL;
}

/* The smaller of what the quota gives, rounded up, and of the CPUs it may run on. */
static int size_vcpus(const struct bundle *bundle, const struct settings *settings, uint32_t *vcpus,
		      struct error *err)
{
	json_t *cpu = json_at(bundle->config, "linux", "resources", "cpu", NULL);
	const char *list = json_string_value(json_object_get(cpu, "cpus"));
	json_int_t quota = json_integer_value(json_object_get(cpu, "quota"));
	json_int_t period = json_integer_value(json_object_get(cpu, "period"));
	json_int_t count = 0, online = sysconf(_SC_NPROCESSORS_ONLN);
	int listed = list ? cpu_list_count(list) : 0;

	if (listed < 0)
		return error_say(err, EINVAL,
				 "linux.resources.cpu.cpus: \"%s\" is not a list of CPUs", list);
	*vcpus = settings_annotated_number(settings, "vcpus");
	if (*vcpus)
		return 0;
	if (period <= 0)
		period = PERIOD_DEFAULT;
	if (quota > 0)
		count = quota / period + (quota % period != 0);
	if (listed > 0 && (!count || listed < count))
		count = listed;
	if (!count)
		count = settings_number(settings, "vcpus");
	if (count > online)
		count = online;
	if (count > SETTINGS_MAX_VCPUS)
		count = SETTINGS_MAX_VCPUS;
	*vcpus = count < 1 ? 1 : (uint32_t)count;
	return 0;
}

int vm_size_find(struct vm_size *size, const struct bundle *bundle, const struct settings *settings,
		 struct error *err)
{
	int ret = size_memory(bundle, settings, &size->memory_mib, err);

	if (ret == 0)
		size->memory_max_mib = settings_number(settings, "memory-max");
	if (ret == 0)
		ret = size_vcpus(bundle, settings, &size->vcpus, err);
	size->agent_timeout_ms = settings_number(settings, "agent-timeout");
	return ret;
}
