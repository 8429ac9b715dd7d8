/* The few KVM calls that concern a VM as a whole. */
#ifndef VMM_KVM_H
#define VMM_KVM_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct kvm {
	int fd;		 /* /dev/kvm */
	int vm_fd;	 /* -1 until kvm_create_vm */
	size_t run_size; /* bytes of a vCPU's shared page */
};

/* Opens /dev/kvm and checks its version; the message says what a person can do about it. */
int kvm_open(struct kvm *kvm, struct error *err);

/* Creates the VM with its interrupt controllers (local APICs, IOAPIC) inside of KVM. */
int kvm_create_vm(struct kvm *kvm, struct error *err);

/*
 * Sends the VM's descriptor into a socket: it lives until that message is gone too. For whoever
 * does not want to wait for its end; failing is no harm.
 */
void kvm_hold(const struct kvm *kvm, int socket_fd);
void kvm_destroy(struct kvm *kvm);

int kvm_add_memory(struct kvm *kvm, unsigned int slot, uint64_t gpa, uint64_t len, void *bytes,
		   struct error *err);

/* A 32-bit write of value to gpa signals fd without leaving the kernel. */
int kvm_add_ioeventfd(struct kvm *kvm, uint64_t gpa, uint32_t value, int fd, struct error *err);

/* A signal on fd becomes a rising edge on the interrupt line gsi. */
int kvm_add_irqfd(struct kvm *kvm, unsigned int gsi, int fd, struct error *err);

#endif
