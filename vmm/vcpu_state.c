#include "vmm/vcpu_state.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "common/cleanup.h"
#include "common/count.h"
#include "vmm/state_tags.h"

/* The time stamp counter has to be there before the deadline that is compared with it. */
#define MSR_TSC_DEADLINE 0x6e0
#define MSRS_MAX	 1024 /* of a list that KVM gives: it has some 100 to 300 */
#define XSAVE_MAX	 (64u << 10)

struct part {
	uint32_t tag;
	const char *name;
	unsigned long get, set;
	size_t len;
};

/* In the order in which they are loaded; XSAVE stands after XCRS, the MSRs before MP_STATE. */
static const struct part before_msrs[] = {
	{STATE_SREGS, "segments", KVM_GET_SREGS, KVM_SET_SREGS, sizeof(struct kvm_sregs)},
	{STATE_REGS, "registers", KVM_GET_REGS, KVM_SET_REGS, sizeof(struct kvm_regs)},
	{STATE_XCRS, "XCRs", KVM_GET_XCRS, KVM_SET_XCRS, sizeof(struct kvm_xcrs)},
	{STATE_DEBUG, "debug registers", KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS,
	 sizeof(struct kvm_debugregs)},
	{STATE_LAPIC, "local APIC", KVM_GET_LAPIC, KVM_SET_LAPIC, sizeof(struct kvm_lapic_state)},
};
static const struct part after_msrs[] = {
	{STATE_MP, "run state", KVM_GET_MP_STATE, KVM_SET_MP_STATE, sizeof(struct kvm_mp_state)},
	{STATE_EVENTS, "events", KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS,
	 sizeof(struct kvm_vcpu_events)},
};

union part_data {
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	struct kvm_xcrs xcrs;
	struct kvm_debugregs debug;
	struct kvm_lapic_state lapic;
	struct kvm_mp_state mp;
	struct kvm_vcpu_events events;
};

static int save_parts(struct vcpu *vcpu, const struct part *parts, size_t count,
		      struct records *out, struct error *err)
{
	for (size_t i = 0; i < count; i++) {
		union part_data data = {0};

		if (ioctl(vcpu->fd, parts[i].get, &data) < 0)
			return error_set(err, errno, "KVM: get vCPU %u's %s", vcpu->index,
					 parts[i].name);
		records_put(out, parts[i].tag, vcpu->index, &data, parts[i].len);
	}
	return 0;
}

static int load_parts(struct vcpu *vcpu, const struct part *parts, size_t count,
		      const struct records *in, struct error *err)
{
	for (size_t i = 0; i < count; i++) {
		union part_data data;
		int ret = records_get(in, parts[i].tag, vcpu->index, &data, parts[i].len);

		if (ret < 0)
			return error_say(err, -ret, "the state has no %s of vCPU %u", parts[i].name,
					 vcpu->index);
		if (ioctl(vcpu->fd, parts[i].set, &data) < 0)
			return error_set(err, errno, "KVM: set vCPU %u's %s", vcpu->index,
					 parts[i].name);
	}
	return 0;
}

/* --- extended state: as large as the CPU has it --- */

static size_t xsave_size(const struct kvm *kvm)
{
	int size = ioctl(kvm->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);

	return size > (int)sizeof(struct kvm_xsave) && (size_t)size <= XSAVE_MAX
		       ? (size_t)size
		       : sizeof(struct kvm_xsave);
}

static int save_xsave(struct vcpu *vcpu, const struct kvm *kvm, struct records *out,
		      struct error *err)
{
	size_t size = xsave_size(kvm);
	cleanup_free void *data = calloc(1, size);

	if (!data)
		return error_set(err, ENOMEM, "extended state");
	if (ioctl(vcpu->fd, size > sizeof(struct kvm_xsave) ? KVM_GET_XSAVE2 : KVM_GET_XSAVE,
		  data) < 0)
		return error_set(err, errno, "KVM: get vCPU %u's extended state", vcpu->index);
	records_put(out, STATE_XSAVE, vcpu->index, data, size);
	return 0;
}

static int load_xsave(struct vcpu *vcpu, const struct kvm *kvm, const struct records *in,
		      struct error *err)
{
	size_t len;
	const void *data = records_find(in, STATE_XSAVE, vcpu->index, &len);

	/* KVM reads as much as this host's CPU has. */
	if (!data || len != xsave_size(kvm))
		return error_say(err, EPROTO, "the extended state of vCPU %u does not fit",
				 vcpu->index);
	if (ioctl(vcpu->fd, KVM_SET_XSAVE, data) < 0)
		return error_set(err, errno, "KVM: set vCPU %u's extended state", vcpu->index);
	return 0;
}

/* --- MSRs --- */

static struct kvm_msrs *msrs_alloc(size_t count)
{
	return calloc(1, sizeof(struct kvm_msrs) + count * sizeof(struct kvm_msr_entry));
}

/* Every MSR that KVM wants saved, the deadline last. */
static struct kvm_msrs *list_msrs(const struct kvm *kvm, struct error *err)
{
	cleanup_free struct kvm_msr_list *list =
		calloc(1, sizeof(*list) + MSRS_MAX * sizeof(list->indices[0]));
	struct kvm_msrs *msrs = msrs_alloc(MSRS_MAX + 1);
	bool deadline = false;

	if (!list || !msrs) {
		error_set(err, ENOMEM, "MSRs");
		free(msrs);
		return NULL;
	}
	list->nmsrs = MSRS_MAX;
	if (ioctl(kvm->fd, KVM_GET_MSR_INDEX_LIST, list) < 0) {
		error_set(err, errno, "KVM: list MSRs");
		free(msrs);
		return NULL;
	}
	for (uint32_t i = 0; i < list->nmsrs; i++) {
		if (list->indices[i] == MSR_TSC_DEADLINE)
			deadline = true;
		else
			msrs->entries[msrs->nmsrs++].index = list->indices[i];
	}
	if (deadline)
		msrs->entries[msrs->nmsrs++].index = MSR_TSC_DEADLINE;
	return msrs;
}

static void drop_entry(struct kvm_msrs *msrs, uint32_t at)
{
	msrs->nmsrs--;
	memmove(&msrs->entries[at], &msrs->entries[at + 1],
		(msrs->nmsrs - at) * sizeof(msrs->entries[0]));
}

/* The list holds some that this guest's CPUID does not have: KVM stops at each of them. */
static int save_msrs(struct vcpu *vcpu, const struct kvm *kvm, struct records *out,
		     struct error *err)
{
	cleanup_free struct kvm_msrs *msrs = list_msrs(kvm, err);
	int got;

	if (!msrs)
		return -ENOMEM;
	while ((got = ioctl(vcpu->fd, KVM_GET_MSRS, msrs)) >= 0 && (uint32_t)got < msrs->nmsrs)
		drop_entry(msrs, (uint32_t)got);
	if (got < 0)
		return error_set(err, errno, "KVM: get vCPU %u's MSRs", vcpu->index);
	records_put(out, STATE_MSRS, vcpu->index, msrs->entries,
		    msrs->nmsrs * sizeof(msrs->entries[0]));
	return 0;
}

static int load_msrs(struct vcpu *vcpu, const struct records *in, struct error *err)
{
	size_t len;
	const void *data = records_find(in, STATE_MSRS, vcpu->index, &len);
	cleanup_free struct kvm_msrs *msrs = NULL;
	int done;

	if (!data || len % sizeof(struct kvm_msr_entry) ||
	    len / sizeof(struct kvm_msr_entry) > MSRS_MAX + 1)
		return error_say(err, EPROTO, "the state has no MSRs of vCPU %u", vcpu->index);
	msrs = msrs_alloc(len / sizeof(struct kvm_msr_entry));
	if (!msrs)
		return error_set(err, ENOMEM, "MSRs");
	memcpy(msrs->entries, data, len);
	msrs->nmsrs = (uint32_t)(len / sizeof(struct kvm_msr_entry));
	while ((done = ioctl(vcpu->fd, KVM_SET_MSRS, msrs)) >= 0 && (uint32_t)done < msrs->nmsrs) {
		const struct kvm_msr_entry *refused = &msrs->entries[done];

		/* One that cannot be set to the 0 which it has already is no loss. */
		if (refused->data)
			return error_say(err, EINVAL, "KVM refuses MSR 0x%x = 0x%llx",
					 refused->index, (unsigned long long)refused->data);
		drop_entry(msrs, (uint32_t)done);
	}
	return done < 0 ? error_set(err, errno, "KVM: set vCPU %u's MSRs", vcpu->index) : 0;
}

/* --- the whole --- */

static int save_rested(struct vcpu *vcpu, const struct kvm *kvm, struct records *out,
		       struct error *err)
{
	int ret = save_parts(vcpu, before_msrs, COUNT(before_msrs), out, err);

	if (ret == 0)
		ret = save_xsave(vcpu, kvm, out, err);
	if (ret == 0)
		ret = save_msrs(vcpu, kvm, out, err);
	if (ret == 0)
		ret = save_parts(vcpu, after_msrs, COUNT(after_msrs), out, err);
	return ret;
}

int vcpu_save(struct vcpu *vcpu, const struct kvm *kvm, struct records *out, struct error *err)
{
	if (vcpu->rests && vcpu->started)
		return save_rested(vcpu, kvm, out, err);
	/* An access that went to a device is completed by the next KVM_RUN: one that does no more.
	 */
	vcpu->run->immediate_exit = 1;
	if (ioctl(vcpu->fd, KVM_RUN, 0) < 0 && errno != EINTR)
		return error_set(err, errno, "KVM: complete vCPU %u's last access", vcpu->index);
	vcpu->run->immediate_exit = 0;
	return save_rested(vcpu, kvm, out, err);
}

int vcpu_load(struct vcpu *vcpu, const struct kvm *kvm, const struct records *in, struct error *err)
{
	int ret = load_parts(vcpu, before_msrs, COUNT(before_msrs), in, err);

	if (ret == 0)
		ret = load_xsave(vcpu, kvm, in, err);
	if (ret == 0)
		ret = load_msrs(vcpu, in, err);
	if (ret == 0)
		ret = load_parts(vcpu, after_msrs, COUNT(after_msrs), in, err);
	/*
	 * Tells a guest with kvmclock that it was stopped, so that its watchdogs do not think that
	 * it hung. Others refuse.
	 */
	if (ret == 0)
		ioctl(vcpu->fd, KVM_KVMCLOCK_CTRL, 0);
	return ret;
}

bool vcpu_is_idle(const struct vcpu *vcpu)
{
	struct kvm_mp_state state;

	if (ioctl(vcpu->fd, KVM_GET_MP_STATE, &state) < 0)
		return false;
	/* One that was never started waits as well. */
	return state.mp_state == KVM_MP_STATE_HALTED ||
	       state.mp_state == KVM_MP_STATE_UNINITIALIZED;
}
