/* What the guest's CPUs say about themselves. */
#ifndef VMM_CPUID_H
#define VMM_CPUID_H

#include "common/error.h"
#include "vmm/kvm.h"

struct cpuid; /* what this host's KVM supports, filtered; shared by all vCPUs */

int cpuid_create(struct cpuid **out, const struct kvm *kvm, unsigned int cpus, struct error *err);
void cpuid_destroy(struct cpuid *cpuid);

/* Gives vCPU index (also its APIC id) its CPUID and the MSRs that go with it. */
int cpuid_apply(struct cpuid *cpuid, int vcpu_fd, unsigned int index, struct error *err);

/*
 * A sum of what vCPU 0 was given last: equal for equal CPU models on equal hosts. For telling
 * whether a saved machine can go on here.
 */
uint64_t cpuid_sum(const struct cpuid *cpuid);

#endif
