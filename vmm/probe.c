#include "vmm/probe.h"

#include <linux/kvm.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>

#include "vmm/kvm.h"
#include "vmm/vcpu.h"

#define LIMIT_S	     2 /* only a KVM that hangs needs so long */
#define PROBE_MEMORY 0x10000u
#define PROBE_PORT   0x80
#define PROBE_TOKEN  0x42

/* Where the pieces lie in the 64 KiB that the probe's guest has. */
#define AT_GDT	  0x1000
#define AT_IDT	  0x1800
#define AT_PML4	  0x2000
#define AT_PDPT	  0x3000
#define AT_PD	  0x4000
#define AT_CODE	  0x5000
#define AT_DATA	  0x6000
#define AT_STACK  0x8000
#define KERNEL_CS 0x10
#define KERNEL_DS 0x18
#define USER_DS	  0x23
#define USER_CS	  0x2b

/*
 * What a kernel does all the time and what a KVM that emulates kernel mode has been seen to lack:
 * cmpxchg16b, an exception and the return from it, and iretq to user mode, from where an out (IOPL
 * is 3) tells that all went well. Position independent but for the stack and data above.
 */
extern const uint8_t probe_code[], probe_handler[], probe_code_end[];
__asm__(".pushsection .rodata\n"
	".globl probe_code, probe_handler, probe_code_end\n"
	"probe_code:\n"
	"	mov $0x6000, %edi\n"
	"	lock cmpxchg16b (%rdi)\n"
	"	int3\n"
	"	lea 1f(%rip), %rax\n"
	"	pushq $0x23\n"
	"	pushq $0x8000\n"
	"	pushq $0x3002\n"
	"	pushq $0x2b\n"
	"	pushq %rax\n"
	"	iretq\n"
	"1:	mov $0x42, %al\n"
	"	outb %al, $0x80\n"
	"	jmp 1b\n"
	"probe_handler:\n"
	"	iretq\n"
	"probe_code_end:\n"
	".popsection\n");

static void put64(uint8_t *memory, uint64_t at, uint64_t value)
{
	memcpy(memory + at, &value, sizeof(value));
}

static void fill_memory(uint8_t *memory)
{
	uint64_t handler = AT_CODE + (uint64_t)(probe_handler - probe_code);

	memcpy(memory + AT_CODE, probe_code, (size_t)(probe_code_end - probe_code));
	put64(memory, AT_GDT + KERNEL_CS, 0x00af9b000000ffffull);
	put64(memory, AT_GDT + KERNEL_DS, 0x00cf93000000ffffull);
	put64(memory, AT_GDT + (USER_DS & ~7), 0x00cff3000000ffffull);
	put64(memory, AT_GDT + (USER_CS & ~7), 0x00affb000000ffffull);
	/* Vector 3, an interrupt gate; 16 bytes a vector. */
	put64(memory, AT_IDT + 3 * 16,
	      (handler & 0xffff) | KERNEL_CS << 16 | 0xee00ull << 32 | (handler >> 16) << 48);
	/* 2 MiB at 0, for user mode too. */
	put64(memory, AT_PML4, AT_PDPT | 7);
	put64(memory, AT_PDPT, AT_PD | 7);
	put64(memory, AT_PD, 0x87);
}

static int set_registers(const struct vcpu *vcpu, struct error *err)
{
	struct kvm_regs regs = {.rip = AT_CODE, .rsp = AT_STACK, .rflags = 2};
	struct kvm_segment segment = {
		.limit = 0xffffffff,
		.selector = KERNEL_DS,
		.type = 3,
		.present = 1,
		.s = 1,
		.db = 1,
		.g = 1,
	};
	struct kvm_sregs sregs;

	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0)
		return error_set(err, errno, "KVM: get registers");
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = segment;
	segment.selector = KERNEL_CS;
	segment.type = 11;
	segment.l = 1;
	segment.db = 0;
	sregs.cs = segment;
	sregs.tr = (struct kvm_segment){.limit = 0xffff, .type = 11, .present = 1};
	sregs.gdt = (struct kvm_dtable){.base = AT_GDT, .limit = 0x2f};
	sregs.idt = (struct kvm_dtable){.base = AT_IDT, .limit = 4 * 16 - 1};
	sregs.cr0 = 0x80050033;
	sregs.cr3 = AT_PML4;
	sregs.cr4 = 0x20;
	sregs.efer = 0x500;
	if (ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) < 0 || ioctl(vcpu->fd, KVM_SET_REGS, &regs) < 0)
		return error_set(err, errno, "KVM: set registers");
	return 0;
}

static volatile sig_atomic_t expired;

static void alarmed(int sig)
{
	(void)sig;
	expired = 1;
}

static int run_guest(const struct vcpu *vcpu, struct error *err)
{
	struct sigaction action = {.sa_handler = alarmed};
	/* Again and again: the first may come just before KVM_RUN. */
	struct itimerval limit = {.it_value.tv_sec = LIMIT_S, .it_interval.tv_usec = 10000};
	struct itimerval none = {0};
	const struct kvm_run *run = vcpu->run;
	sigset_t set;
	int ret;

	expired = 0;
	sigaction(SIGALRM, &action, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	setitimer(ITIMER_REAL, &limit, NULL);
	do
		ret = ioctl(vcpu->fd, KVM_RUN, 0);
	while (ret < 0 && (errno == EAGAIN || errno == EINTR) && !expired);
	setitimer(ITIMER_REAL, &none, NULL);
	/* vcpu_create has set it. NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
	if (ret == 0 && run->exit_reason == KVM_EXIT_IO && run->io.port == PROBE_PORT &&
	    ((const uint8_t *)run)[run->io.data_offset] == PROBE_TOKEN)
		return 0;
	if (ret < 0 && expired)
		return error_say(err, ETIMEDOUT,
				 "KVM on this host does not run a small test guest in %d s",
				 LIMIT_S);
	return error_say(err, ENOTSUP,
			 "KVM on this host emulates guest kernel mode and cannot boot Linux; use a "
			 "host with hardware virtualization (VT-x or AMD-V, nested if it is a VM "
			 "itself)");
}

static int probe_vm(struct kvm *kvm, uint8_t *memory, struct error *err)
{
	struct vcpu_machine machine = {0};
	struct vcpu vcpu = {.fd = -1};
	int ret = kvm_create_vm(kvm, err);

	if (ret == 0)
		ret = kvm_add_memory(kvm, 0, 0, PROBE_MEMORY, memory, err);
	if (ret == 0)
		ret = vcpu_create(&vcpu, kvm, 0, &machine, err);
	if (ret < 0)
		return ret;
	fill_memory(memory);
	ret = set_registers(&vcpu, err);
	if (ret == 0)
		ret = run_guest(&vcpu, err);
	vcpu_destroy(&vcpu);
	return ret;
}

int probe_host(struct error *err)
{
	struct kvm kvm;
	uint8_t *memory;
	int ret = kvm_open(&kvm, err);

	if (ret < 0)
		return ret;
	memory = mmap(NULL, PROBE_MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		      0);
	if (memory == MAP_FAILED) {
		ret = error_set(err, errno, "probe: memory");
	} else {
		ret = probe_vm(&kvm, memory, err);
		munmap(memory, PROBE_MEMORY);
	}
	kvm_destroy(&kvm);
	return ret;
}
