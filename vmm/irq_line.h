/*
 * An interrupt line of the guest's IOAPIC, rung from any thread by a call to KVM. An irqfd would do
 * the same by way of a kernel worker, because KVM takes the IOAPIC's lock: one more wake-up for
 * each interrupt, and a grace period for each line before the VM can end.
 */
#ifndef VMM_IRQ_LINE_H
#define VMM_IRQ_LINE_H

#include <pthread.h>

#include "vmm/kvm.h"

struct irq_line {
	int vm_fd; /* the VM's, not owned */
	unsigned int gsi;
	pthread_mutex_t lock; /* an edge of one thread must not hide another's */
};

/* Nothing has to be undone. */
void irq_line_init(struct irq_line *line, const struct kvm *kvm, unsigned int gsi);

/* A rising edge. */
void irq_line_ring(struct irq_line *line);

#endif
