/* The records of a saved machine (common/records.h). Numbers are never used again. */
#ifndef VMM_STATE_TAGS_H
#define VMM_STATE_TAGS_H

#include "devices/virtio_state.h"

/* Changes with every change of a record's meaning or layout: old files are refused then. */
#define STATE_VERSION 4

/* Tags from 256 on belong to devices. */
enum state_tag {
	STATE_SHAPE = 1,   /* struct snapshot_shape */
	STATE_CLOCK,	   /* uint64_t: kvmclock in ns */
	STATE_IRQCHIP,	   /* struct kvm_irqchip, by chip */
	STATE_MEMORY_FILE, /* of a template */
	STATE_MEMORY_SUM,  /* of a snapshot: uint64_t */
	STATE_CONTROL,	   /* of a snapshot: the container's, vmm/control_state.c */
	STATE_REQUESTS,	   /* the same */

	/* By vCPU: KVM's own structs. */
	STATE_SREGS = 32,
	STATE_REGS,
	STATE_XCRS,
	STATE_XSAVE,
	STATE_DEBUG,
	STATE_LAPIC,
	STATE_MSRS,
	STATE_MP,
	STATE_EVENTS,
};

#endif
