/*
 * Taking a VM down takes the kernel some 10 to 30 ms, nearly all of it waiting for grace periods,
 * and the process that drops the last reference waits with it. For `run` that need not be the VMM,
 * whose end the user waits for: the VMM sends the VM's descriptor into a socket, where nobody
 * receives it, and whoever closes the other end last waits instead.
 */
#ifndef RUNTIME_VM_HOLD_H
#define RUNTIME_VM_HOLD_H

/* Returns our end, or -1: then the VMM waits itself. *vmm_fd is the VMM's. */
int vm_hold_open(int *vmm_fd);

/* The VMM has ended: closes our end in a process of its own, which nobody waits for. */
void vm_hold_release(int fd);

#endif
