/* What KVM knows of a vCPU, saved and loaded as records. The vCPU's thread does not run. */
#ifndef VMM_VCPU_STATE_H
#define VMM_VCPU_STATE_H

#include <stdbool.h>

#include "common/records.h"
#include "vmm/kvm.h"
#include "vmm/vcpu.h"

/* Completes what the vCPU was in the middle of, then appends its records. */
int vcpu_save(struct vcpu *vcpu, const struct kvm *kvm, struct records *out, struct error *err);

/* The vCPU is new and has its CPUID. Everything but the order is KVM's: it checks what it takes. */
int vcpu_load(struct vcpu *vcpu, const struct kvm *kvm, const struct records *in,
	      struct error *err);

/* Whether the vCPU waits for an interrupt and there is none. */
bool vcpu_is_idle(const struct vcpu *vcpu);

#endif
