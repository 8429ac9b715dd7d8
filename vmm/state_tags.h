/* The records of a saved machine (common/records.h). Numbers are never used again. */
#ifndef VMM_STATE_TAGS_H
#define VMM_STATE_TAGS_H

#include "devices/virtio_state.h"

/* Changes with every change of a record's meaning or layout: old files are refused then. */
#define STATE_VERSION 2

/* Tags from 256 on belong to devices. */
enum state_tag {
	STATE_SHAPE = 1, /* struct snapshot_shape */
	STATE_CLOCK,	 /* uint64_t: kvmclock in ns */
	STATE_IRQCHIP,	 /* struct kvm_irqchip, by chip */
	STATE_MEMORY_FILE,

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
