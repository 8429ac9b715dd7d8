#include "vmm/cpuid.h"

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "common/cleanup.h"

#define ENTRIES_MAX 256

struct cpuid {
	unsigned int cpus;
	bool tsc_deadline;
	struct kvm_cpuid2 *table; /* with room for ENTRIES_MAX */
	uint64_t sum;		  /* of what vCPU 0 was given */
};

#define MSR_IA32_MISC_ENABLE	    0x1a0
#define MISC_ENABLE_FAST_STRING	    1u
#define LEAF1_ECX_MONITOR	    (1u << 3)
#define LEAF1_ECX_VMX		    (1u << 5)
#define LEAF1_ECX_X2APIC	    (1u << 21)
#define LEAF1_ECX_TSC_DEADLINE	    (1u << 24)
#define LEAF1_ECX_HYPERVISOR	    (1u << 31)
#define LEAF1_EDX_HTT		    (1u << 28)
#define LEAF80000001_ECX_CMP_LEGACY (1u << 1)
#define LEAF80000001_ECX_SVM	    (1u << 2)
#define LEAF80000001_ECX_PERFCTR    (1u << 23)
#define TOPOLOGY_SMT		    1u
#define TOPOLOGY_CORE		    2u

static struct kvm_cpuid2 *table_alloc(void)
{
	struct kvm_cpuid2 *table =
		calloc(1, sizeof(*table) + ENTRIES_MAX * sizeof(struct kvm_cpuid_entry2));

	if (table)
		table->nent = ENTRIES_MAX;
	return table;
}

/* Bits that number n things. */
static unsigned int width_of(unsigned int n)
{
	unsigned int width = 0;

	while ((1u << width) < n)
		width++;
	return width;
}

static struct kvm_cpuid_entry2 *add_entry(struct kvm_cpuid2 *table, uint32_t leaf, uint32_t index)
{
	struct kvm_cpuid_entry2 *entry;

	if (table->nent == ENTRIES_MAX)
		return NULL;
	entry = &table->entries[table->nent++];
	*entry = (struct kvm_cpuid_entry2){
		.function = leaf,
		.index = index,
		.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
	};
	return entry;
}

/*
 * The same for every vCPU: nothing of the host's topology, and no features that would only be
 * attack surface (nested virtualization) or that nobody serves (performance counters).
 */
static void filter(struct cpuid *cpuid)
{
	struct kvm_cpuid2 *table = cpuid->table;
	unsigned int kept = 0;

	for (unsigned int i = 0; i < table->nent; i++) {
		struct kvm_cpuid_entry2 entry = table->entries[i];

		switch (entry.function) {
		case 0x1:
			entry.ecx &= ~(LEAF1_ECX_MONITOR | LEAF1_ECX_VMX | LEAF1_ECX_TSC_DEADLINE);
			entry.ecx |= LEAF1_ECX_X2APIC | LEAF1_ECX_HYPERVISOR;
			/* There is no PIT: without it the guest has no timer at all. */
			if (cpuid->tsc_deadline)
				entry.ecx |= LEAF1_ECX_TSC_DEADLINE;
			break;
		case 0xa: /* performance counters */
			entry.eax = entry.ebx = entry.ecx = entry.edx = 0;
			break;
		case 0xb: /* topology: made anew for each vCPU */
		case 0x1f:
			continue;
		case 0x80000001:
			entry.ecx &= ~(LEAF80000001_ECX_SVM | LEAF80000001_ECX_PERFCTR);
			break;
		case 0x8000000a: /* SVM's features */
			entry.eax = entry.ebx = entry.ecx = entry.edx = 0;
			break;
		}
		table->entries[kept++] = entry;
	}
	table->nent = kept;
}

int cpuid_create(struct cpuid **out, const struct kvm *kvm, unsigned int cpus, struct error *err)
{
	struct cpuid *cpuid = calloc(1, sizeof(*cpuid));

	if (!cpuid)
		return error_set(err, ENOMEM, "CPUID");
	cpuid->cpus = cpus;
	cpuid->tsc_deadline = ioctl(kvm->fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
	cpuid->table = table_alloc();
	if (!cpuid->table) {
		cpuid_destroy(cpuid);
		return error_set(err, ENOMEM, "CPUID");
	}
	if (ioctl(kvm->fd, KVM_GET_SUPPORTED_CPUID, cpuid->table) < 0) {
		int ret = error_set(err, errno, "KVM: get supported CPUID");

		cpuid_destroy(cpuid);
		return ret;
	}
	filter(cpuid);
	*out = cpuid;
	return 0;
}

void cpuid_destroy(struct cpuid *cpuid)
{
	if (!cpuid)
		return;
	free(cpuid->table);
	free(cpuid);
}

/* One package of `cpus` cores, one thread each: APIC id, core id and vCPU index are the same. */
static void set_topology(struct kvm_cpuid_entry2 *entry, unsigned int cpus, unsigned int index)
{
	unsigned int cache_level;

	switch (entry->function) {
	case 0x1:
		entry->ebx = (entry->ebx & 0x0000ffff) | index << 24 | cpus << 16;
		entry->edx &= ~LEAF1_EDX_HTT;
		if (cpus > 1)
			entry->edx |= LEAF1_EDX_HTT;
		break;
	case 0x4: /* Intel: caches. The last level is shared by all, the others by nobody. */
		cache_level = entry->eax >> 5 & 7;
		if ((entry->eax & 0x1f) == 0)
			break;
		entry->eax &= 0x3fff;
		entry->eax |= (cpus - 1) << 26;
		if (cache_level >= 3)
			entry->eax |= (cpus - 1) << 14;
		break;
	case 0x80000001:
		entry->ecx &= ~LEAF80000001_ECX_CMP_LEGACY;
		if (cpus > 1)
			entry->ecx |= LEAF80000001_ECX_CMP_LEGACY;
		break;
	case 0x80000008: /* AMD: cores, and the width of their numbers */
		entry->ecx = width_of(cpus) << 12 | (cpus - 1);
		break;
	case 0x8000001d: /* AMD: caches, as 0x4 */
		cache_level = entry->eax >> 5 & 7;
		if ((entry->eax & 0x1f) == 0)
			break;
		entry->eax &= 0x3fff;
		if (cache_level >= 3)
			entry->eax |= (cpus - 1) << 14;
		break;
	case 0x8000001e: /* AMD: who am I */
		entry->eax = index;
		entry->ebx = index & 0xff;
		entry->ecx = 0;
		break;
	}
}

static int add_topology_leaf(struct kvm_cpuid2 *table, uint32_t leaf, unsigned int cpus,
			     unsigned int index)
{
	struct kvm_cpuid_entry2 *smt = add_entry(table, leaf, 0);
	struct kvm_cpuid_entry2 *core = add_entry(table, leaf, 1);
	struct kvm_cpuid_entry2 *end = add_entry(table, leaf, 2);

	if (!smt || !core || !end)
		return -E2BIG;
	smt->ebx = 1;
	smt->ecx = TOPOLOGY_SMT << 8;
	core->eax = width_of(cpus);
	core->ebx = cpus;
	core->ecx = TOPOLOGY_CORE << 8 | 1;
	end->ecx = 2;
	smt->edx = core->edx = end->edx = index;
	return 0;
}

static int set_msrs(int vcpu_fd, struct error *err)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = {
		.head.nmsrs = 1,
		/* Without it Linux believes that string instructions are slow. */
		.entry = {.index = MSR_IA32_MISC_ENABLE, .data = MISC_ENABLE_FAST_STRING},
	};

	if (ioctl(vcpu_fd, KVM_SET_MSRS, &msrs) < 0)
		return error_set(err, errno, "KVM: set MSRs");
	return 0;
}

static uint64_t sum_of(const struct kvm_cpuid2 *table)
{
	const uint8_t *bytes = (const uint8_t *)table->entries;
	uint64_t sum = 0xcbf29ce484222325ull; /* FNV-1a */

	for (size_t i = 0; i < table->nent * sizeof(table->entries[0]); i++)
		sum = (sum ^ bytes[i]) * 0x100000001b3ull;
	return sum;
}

int cpuid_apply(struct cpuid *cpuid, int vcpu_fd, unsigned int index, struct error *err)
{
	cleanup_free struct kvm_cpuid2 *table = table_alloc();
	uint32_t max_leaf = 0;
	int ret;

	if (!table)
		return error_set(err, ENOMEM, "CPUID");
	table->nent = cpuid->table->nent;
	memcpy(table->entries, cpuid->table->entries, table->nent * sizeof(table->entries[0]));
	for (unsigned int i = 0; i < table->nent; i++) {
		struct kvm_cpuid_entry2 *entry = &table->entries[i];

		if (entry->function == 0) {
			if (entry->eax < 0xb)
				entry->eax = 0xb;
			max_leaf = entry->eax;
		}
		set_topology(entry, cpuid->cpus, index);
	}
	ret = add_topology_leaf(table, 0xb, cpuid->cpus, index);
	if (ret == 0 && max_leaf >= 0x1f)
		ret = add_topology_leaf(table, 0x1f, cpuid->cpus, index);
	if (ret < 0)
		return error_set(err, -ret, "CPUID");
	if (index == 0)
		cpuid->sum = sum_of(table);
	if (ioctl(vcpu_fd, KVM_SET_CPUID2, table) < 0)
		return error_set(err, errno, "KVM: set CPUID");
	return set_msrs(vcpu_fd, err);
}

uint64_t cpuid_sum(const struct cpuid *cpuid)
{
	return cpuid->sum;
}
