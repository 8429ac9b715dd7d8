/* The first instructions of every payload guest, and its interrupt handler. */
#include "tests/payload/layout.h"
#include "vmm/layout.h"

	.section .text.start, "ax"
	.globl start, guest_irq
	/* Both addresses are part of the image's interface: entry at 0, interrupts at 64. */
start:
	call main
	mov $LAYOUT_POWER, %edi
	mov $LAYOUT_POWER_OFF_VALUE, %eax
	mov %eax, (%rdi)
	/* Never reached: power off ends the vCPU. */
1:	jmp 1b

	.balign 64
guest_irq:
	push %rax
	push %rbx
	incl PAYLOAD_MAILBOX
	mov $LAYOUT_LAPIC, %eax
	movl $0, 0xb0(%rax)
	/*
	 * Back without iretq, because a KVM that emulates kernel mode may not know it outside of
	 * real mode. The code before was in kernel mode too and keeps no red zone, so its own stack
	 * can take the address to go on at. Above the two registers are rip, cs, rflags, rsp, ss.
	 */
	mov 40(%rsp), %rbx
	sub $8, %rbx
	mov 16(%rsp), %rax
	/*
	 * Not to a hlt, which would wait for the next: where QEMU emulates SVM, entering a guest
	 * forgets that the instruction after sti comes before any interrupt.
	 */
	cmpb $0xf4, (%rax)
	jne 1f
	inc %rax
1:	mov %rax, (%rbx)
	mov %rbx, 40(%rsp)
	pushq 32(%rsp)
	popfq
	pop %rbx
	pop %rax
	mov 24(%rsp), %rsp
	ret
