#include "tests/payload/payload.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include "common/cleanup.h"
#include "vmm/layout.h"

#define KERNEL_CS 0x10
#define KERNEL_DS 0x18
#define USER_DS	  0x23
#define USER_CS	  0x2b
#define TSS	  0x30
#define TSS_SIZE  0x68
#define TSS_LIMIT (TSS_SIZE + 0x2000) /* the I/O bitmap, and the byte of ones behind it */

#define RFLAGS_IF    0x200
#define RFLAGS_IOPL3 0x3000
#define IRQ_HANDLER  (PAYLOAD_CODE + 64) /* start.S */
#define IRQ_PINS     24

void *payload_at(struct payload *payload, uint64_t gpa)
{
	void *at = guest_memory_range(&payload->memory.map, gpa, 1);

	ck_assert_ptr_nonnull(at);
	return at;
}

static void put64(struct payload *payload, uint64_t gpa, uint64_t value)
{
	memcpy(payload_at(payload, gpa), &value, sizeof(value));
}

/* The first GiB and the one with the devices are mapped where they are, for user mode too. */
static void fill_page_tables(struct payload *payload)
{
	uint64_t at = PAYLOAD_PAGE_TABLES;

	put64(payload, at, (at + 0x1000) | 7);
	put64(payload, at + 0x1000, (at + 0x2000) | 7);
	put64(payload, at + 0x1000 + 3 * 8, (at + 0x3000) | 7);
	for (uint64_t i = 0; i < 512; i++) {
		put64(payload, at + 0x2000 + i * 8, i << 21 | 0x87);
		put64(payload, at + 0x3000 + i * 8, 3ull << 30 | i << 21 | 0x87);
	}
}

/* Only the IOAPIC's vectors have a handler: an exception is a triple fault, which is noticed. */
static void fill_descriptors(struct payload *payload)
{
	uint64_t gate = (IRQ_HANDLER & 0xffff) | KERNEL_CS << 16 | 0x8e00ull << 32 |
			(uint64_t)(IRQ_HANDLER >> 16) << 48;

	put64(payload, PAYLOAD_GDT + KERNEL_CS, 0x00af9b000000ffffull);
	put64(payload, PAYLOAD_GDT + KERNEL_DS, 0x00cf93000000ffffull);
	put64(payload, PAYLOAD_GDT + (USER_DS & ~7), 0x00cff3000000ffffull);
	put64(payload, PAYLOAD_GDT + (USER_CS & ~7), 0x00affb000000ffffull);
	put64(payload, PAYLOAD_GDT + TSS,
	      0x00008b0000000000ull | (uint64_t)PAYLOAD_TSS << 16 | TSS_LIMIT);
	put64(payload, PAYLOAD_TSS + 4, PAYLOAD_IRQ_STACK);
	/*
	 * All ports are user mode's. The bitmap says it as well as IOPL 3, because a KVM without
	 * hardware below loses that when it runs user mode natively; and QEMU's own SVM, in the
	 * lab, does not find a bitmap in a TSS that is marked busy, as it has to be.
	 */
	put64(payload, PAYLOAD_TSS + TSS_SIZE - 8, (uint64_t)TSS_SIZE << 48);
	put64(payload, PAYLOAD_TSS + TSS_LIMIT, 0xff);
	for (uint64_t i = 0; i < IRQ_PINS; i++)
		put64(payload, PAYLOAD_IDT + (PAYLOAD_VECTOR + i) * 16, gate);
}

static void set_registers(struct payload *payload, enum payload_mode mode)
{
	bool user = mode != PAYLOAD_KERNEL;
	struct kvm_regs regs = {
		.rip = PAYLOAD_CODE,
		.rsp = PAYLOAD_STACK,
		.rflags = 2 | (user ? RFLAGS_IOPL3 : 0) |
			  (mode == PAYLOAD_INTERRUPTIBLE ? RFLAGS_IF : 0),
	};
	struct kvm_segment data = {
		.limit = 0xffffffff,
		.selector = user ? USER_DS : KERNEL_DS,
		.type = 3,
		.present = 1,
		.dpl = user ? 3 : 0,
		.s = 1,
		.db = 1,
		.g = 1,
	};
	struct kvm_segment code = data;
	struct kvm_sregs sregs;

	code.selector = user ? USER_CS : KERNEL_CS;
	code.type = 11;
	code.l = 1;
	code.db = 0;
	ck_assert_int_eq(ioctl(payload->vcpu.fd, KVM_GET_SREGS, &sregs), 0);
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.tr = (struct kvm_segment){
		.base = PAYLOAD_TSS,
		.limit = TSS_LIMIT,
		.selector = TSS,
		.type = 11,
		.present = 1,
	};
	sregs.gdt = (struct kvm_dtable){.base = PAYLOAD_GDT, .limit = TSS + 15};
	sregs.idt = (struct kvm_dtable){
		.base = PAYLOAD_IDT,
		.limit = (PAYLOAD_VECTOR + IRQ_PINS) * 16 - 1,
	};
	sregs.cr0 = 0x80050033;
	sregs.cr3 = PAYLOAD_PAGE_TABLES;
	sregs.cr4 = 0x20;
	sregs.efer = 0x500;
	ck_assert_int_eq(ioctl(payload->vcpu.fd, KVM_SET_SREGS, &sregs), 0);
	ck_assert_int_eq(ioctl(payload->vcpu.fd, KVM_SET_REGS, &regs), 0);
}

static void signal_fd(int fd)
{
	uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) < 0)
		perror("eventfd");
}

static void wait_fd(int fd)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};

	while (poll(&pfd, 1, -1) < 0)
		ck_assert_int_eq(errno, EINTR);
}

static void ended(void *ctx, enum machine_end why, const char *detail)
{
	struct payload *payload = ctx;

	if (payload->end == MACHINE_RUNNING) {
		payload->end = why;
		snprintf(payload->end_detail, sizeof(payload->end_detail), "%s", detail);
	}
	atomic_store(&payload->machine.stopping, true);
	signal_fd(payload->ended_fd);
}

static void arrived_write(void *ctx, uint64_t offset, uint64_t value, unsigned int len)
{
	struct payload *payload = ctx;

	(void)offset;
	(void)value;
	(void)len;
	signal_fd(payload->arrived_fd);
}

static void init_machine(struct payload *payload)
{
	console_ring_init(&payload->console, false);
	payload->platform = (struct platform){
		.console = &payload->console,
		.end = ended,
		.ctx = payload,
	};
	payload->machine.mmio = &payload->mmio;
	payload->machine.ports = &payload->ports;
	payload->machine.end = ended;
	payload->machine.ctx = payload;
	ck_assert_int_eq(platform_add(&payload->platform, &payload->mmio, &payload->ports), 0);
	ck_assert_int_eq(
		bus_add(&payload->ports, PAYLOAD_PORT_ARRIVED, 1, NULL, arrived_write, payload), 0);
}

void payload_init(struct payload *payload, const struct payload_image *image,
		  enum payload_mode mode)
{
	struct error err = {0};
	int ret;

	memset(payload, 0, sizeof(*payload));
	payload->arrived_fd = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
	payload->ended_fd = eventfd(0, EFD_CLOEXEC);
	ck_assert(payload->arrived_fd >= 0 && payload->ended_fd >= 0);
	ret = vcpu_prepare_kick(&err);
	if (ret == 0)
		ret = kvm_open(&payload->kvm, &err);
	if (ret == 0)
		ret = kvm_create_vm(&payload->kvm, &err);
	if (ret == 0)
		ret = vm_memory_create(&payload->memory, PAYLOAD_MEMORY, &err);
	if (ret == 0)
		ret = vm_memory_attach(&payload->memory, &payload->kvm, &err);
	if (ret == 0)
		ret = vcpu_create(&payload->vcpu, &payload->kvm, 0, &payload->machine, &err);
	ck_assert_msg(ret == 0, "%s", err.message);
	init_machine(payload);
	payload->mailbox = payload_at(payload, PAYLOAD_MAILBOX);
	ck_assert_int_le(image->end - image->bytes, PAYLOAD_STACK / 2 - PAYLOAD_CODE);
	memcpy(payload_at(payload, PAYLOAD_CODE), image->bytes,
	       (size_t)(image->end - image->bytes));
	fill_page_tables(payload);
	fill_descriptors(payload);
	set_registers(payload, mode);
}

void payload_destroy(struct payload *payload)
{
	payload_stop(payload);
	vcpu_destroy(&payload->vcpu);
	kvm_destroy(&payload->kvm);
	vm_memory_destroy(&payload->memory);
	console_ring_destroy(&payload->console);
	close_fd(&payload->arrived_fd);
	close_fd(&payload->ended_fd);
}

void payload_start(struct payload *payload)
{
	struct error err = {0};

	ck_assert_msg(vcpu_start(&payload->vcpu, &err) == 0, "%s", err.message);
}

void payload_wait_arrived(struct payload *payload)
{
	struct pollfd pfds[] = {
		{.fd = payload->arrived_fd, .events = POLLIN},
		{.fd = payload->ended_fd, .events = POLLIN},
	};
	uint64_t count;

	while (poll(pfds, 2, -1) < 0)
		ck_assert_int_eq(errno, EINTR);
	/* A guest that has ended will not arrive any more. */
	ck_assert_msg(pfds[0].revents, "the guest ended: %d, %s, %.16s:%u", payload->end,
		      payload->end_detail, payload->mailbox->failed_file,
		      payload->mailbox->failed_line);
	ck_assert_int_eq(read(payload->arrived_fd, &count, sizeof(count)), sizeof(count));
}

enum machine_end payload_wait_end(struct payload *payload)
{
	wait_fd(payload->ended_fd);
	vcpu_join(&payload->vcpu);
	return payload->end;
}

void payload_run(struct payload *payload)
{
	payload_start(payload);
	payload_wait_end(payload);
	ck_assert_msg(payload->end == MACHINE_POWER_OFF, "the guest ended with %d, %s",
		      payload->end, payload->end_detail);
	ck_assert_msg(!payload->mailbox->failed_line, "the guest failed in %.16s:%u",
		      payload->mailbox->failed_file, payload->mailbox->failed_line);
}

void payload_stop(struct payload *payload)
{
	atomic_store(&payload->machine.stopping, true);
	vcpu_kick(&payload->vcpu);
	vcpu_join(&payload->vcpu);
}
