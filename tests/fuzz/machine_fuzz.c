/*
 * A saved machine's state, altered: each step of the input changes, drops or makes a record of a
 * good one; the file's sum is right again, or the input's. KVM is one that remembers what it is
 * told, and reads as much of it as the real one. Where it loads, the devices go on, and it is saved
 * again.
 */
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "devices/net.h"
#include "devices/rng.h"
#include "devices/vsock.h"
#include "tests/fuzz/input.h"
#include "tests/unit/driver.h"
#include "vmm/snapshot.h"
#include "vmm/state_tags.h"

#define MEMORY	  (1u << 20)
#define VCPUS	  2
#define SLOTS	  3
#define MSRS	  16
#define XSAVE_LEN 8192 /* a CPU with more than the struct has */
#define TURNS	  4
#define STEPS_MAX 8
#define RECORDS	  64

/* Descriptors that no file has. */
enum { KVM_FD = 100000, VM_FD, VCPU_FD };

/* --- KVM --- */

static struct kvm_cpu {
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	struct kvm_xcrs xcrs;
	struct kvm_debugregs debug;
	struct kvm_lapic_state lapic;
	struct kvm_mp_state mp;
	struct kvm_vcpu_events events;
	uint8_t xsave[XSAVE_LEN];
	uint64_t msrs[MSRS];
} cpus[VCPUS];
static struct kvm_irqchip chips[3];
static struct kvm_clock_data kvm_clock;
static unsigned int calls, failing_call;

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

static int copy_to(void *to, const void *from, size_t len)
{
	memcpy(to, from, len);
	return 0;
}

/* The last of them is the deadline. */
static uint32_t msr_index(uint32_t i)
{
	return i == MSRS - 1 ? 0x6e0 : 0x10 + i;
}

static uint64_t *find_msr(struct kvm_cpu *cpu, uint32_t index)
{
	for (uint32_t i = 0; i < MSRS; i++)
		/* One is listed, and this guest's CPU has it not. */
		if (i != 3 && msr_index(i) == index)
			return &cpu->msrs[i];
	return NULL;
}

static int list_msrs(struct kvm_msr_list *list)
{
	driver_check(list->nmsrs >= MSRS);
	list->nmsrs = MSRS;
	/* Not in the order in which they are to be set. */
	for (uint32_t i = 0; i < MSRS; i++)
		list->indices[i] = msr_index(MSRS - 1 - i);
	return 0;
}

/* As many as there are before one that is not to be had. */
static int access_msrs(struct kvm_cpu *cpu, struct kvm_msrs *msrs, bool set)
{
	for (uint32_t i = 0; i < msrs->nmsrs; i++) {
		uint64_t *msr = find_msr(cpu, msrs->entries[i].index);

		if (!msr)
			return (int)i;
		if (set)
			*msr = msrs->entries[i].data;
		else
			msrs->entries[i].data = *msr;
	}
	return (int)msrs->nmsrs;
}

#define BOTH(NAME, member)                                              \
	case KVM_GET_##NAME:                                            \
		return copy_to(arg, &cpu->member, sizeof(cpu->member)); \
	case KVM_SET_##NAME:                                            \
		return copy_to(&cpu->member, arg, sizeof(cpu->member))

static int vcpu_call(struct kvm_cpu *cpu, unsigned long request, void *arg)
{
	switch (request) {
		BOTH(SREGS, sregs);
		BOTH(REGS, regs);
		BOTH(XCRS, xcrs);
		BOTH(DEBUGREGS, debug);
		BOTH(LAPIC, lapic);
		BOTH(MP_STATE, mp);
		BOTH(VCPU_EVENTS, events);
	case KVM_GET_XSAVE:
		return copy_to(arg, cpu->xsave, sizeof(struct kvm_xsave));
	case KVM_GET_XSAVE2:
		return copy_to(arg, cpu->xsave, XSAVE_LEN);
	case KVM_SET_XSAVE:
		return copy_to(cpu->xsave, arg, XSAVE_LEN);
	case KVM_GET_MSRS:
	case KVM_SET_MSRS:
		return access_msrs(cpu, arg, request == KVM_SET_MSRS);
	case KVM_GET_TSC_KHZ:
		return 2000000;
	case KVM_KVMCLOCK_CTRL:
		return 0;
	default:
		driver_check(false);
		return -1;
	}
}

static struct kvm_irqchip *chip_of(const struct kvm_irqchip *asked)
{
	driver_check(asked->chip_id < 3);
	return &chips[asked->chip_id];
}

static int vm_call(unsigned long request, void *arg)
{
	switch (request) {
	case KVM_GET_CLOCK:
		return copy_to(arg, &kvm_clock, sizeof(kvm_clock));
	case KVM_SET_CLOCK:
		return copy_to(&kvm_clock, arg, sizeof(kvm_clock));
	case KVM_GET_IRQCHIP:
		return copy_to(arg, chip_of(arg), sizeof(chips[0]));
	case KVM_SET_IRQCHIP:
		return copy_to(chip_of(arg), arg, sizeof(chips[0]));
	case KVM_CHECK_EXTENSION:
		return (long)arg == KVM_CAP_XSAVE2 ? XSAVE_LEN : 0;
	default:
		driver_check(false);
		return -1;
	}
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list list;
	void *arg;

	va_start(list, request);
	arg = va_arg(list, void *);
	va_end(list);
	if (fd < KVM_FD)
		return __real_ioctl(fd, request, arg);
	if (++calls == failing_call) {
		errno = EINVAL;
		return -1;
	}
	if (fd == KVM_FD && request == KVM_GET_MSR_INDEX_LIST)
		return list_msrs(arg);
	return fd == VM_FD ? vm_call(request, arg) : vcpu_call(&cpus[fd - VCPU_FD], request, arg);
}

/* --- the machine --- */

static struct driver driver; /* the guest's memory as the devices see it */
static struct loop loop;
static struct kvm kvm = {.fd = KVM_FD, .vm_fd = VM_FD};
static struct vm_memory memory;
static struct rng *rng;
static struct vsock *vsock;
static struct net *net;

static void ring(void *ctx, uint32_t why)
{
	(void)ctx;
	(void)why;
}

static struct virtio_device *make_device(unsigned int slot, struct loop **on)
{
	struct vsock_options for_vsock = {
		.guest_cid = VSOCK_GUEST_CID, .listen_fd = -1, .loop = &loop};
	struct net_options for_net = {.name = "eth0", .pairs = 2};

	*on = &loop;
	switch (slot) {
	case 0:
		driver_check(rng_create(&rng, &driver.mem, NULL) == 0);
		return rng_device(rng);
	case 1:
		driver_check(vsock_create(&vsock, &for_vsock, &driver.mem, NULL) == 0);
		return vsock_device(vsock);
	default:
		driver_check(net_create(&net, &for_net, &driver.mem, NULL) == 0);
		*on = net_loop(net);
		return net_device(net);
	}
}

static void destroy_devices(void)
{
	rng_destroy(take_ptr(rng));
	vsock_destroy(take_ptr(vsock));
	net_destroy(take_ptr(net));
}

static void power_on(struct snapshot_machine *machine, struct vcpu *vcpus, struct slot *slots)
{
	struct virtio_interrupt interrupt = {.ring = ring, .fd = -1};

	*machine = (struct snapshot_machine){
		.kvm = &kvm,
		.memory = &memory,
		.vcpus = vcpus,
		.vcpu_count = VCPUS,
		.slots = slots,
		.slot_count = SLOTS,
		.cpuid_sum = 7,
	};
	for (unsigned int i = 0; i < VCPUS; i++)
		vcpus[i] = (struct vcpu){
			.fd = VCPU_FD + (int)i, .index = i, .started = true, .rests = true};
	for (unsigned int i = 0; i < SLOTS; i++) {
		struct loop *on;
		struct virtio_device *dev = make_device(i, &on);

		driver_check(virtio_mmio_init(&slots[i].mmio, dev, on, &interrupt, NULL) == 0);
	}
	memset(cpus, 0, sizeof(cpus));
	for (uint32_t i = 0; i < 3; i++)
		chips[i].chip_id = i;
	calls = failing_call = 0;
}

static void power_off(struct slot *slots)
{
	for (unsigned int i = 0; i < SLOTS; i++) {
		virtio_mmio_write(&slots[i].mmio, VIRTIO_MMIO_STATUS, 0, 4);
		virtio_mmio_destroy(&slots[i].mmio);
	}
	destroy_devices();
	driver_forget(&driver);
}

/* --- a good one, and its files --- */

static struct records good;
static int state_fd, memory_fd, template_memory_fd;
static uint64_t memory_sum;

static struct part {
	uint32_t tag, number, len;
	const uint8_t *data;
} parts[RECORDS];
static unsigned int part_count;

/* Each device in use. */
static void save_devices(void)
{
	for (unsigned int i = 0; i < SLOTS; i++) {
		struct loop *on;
		struct virtio_device *dev = make_device(i, &on);

		driver_attach(&driver, dev, on, on == &loop);
		driver_start(&driver, DRIVER_FEATURES);
		driver_check(virtio_mmio_save(&driver.mmio, &good, i, NULL) == 0);
		driver_reset(&driver);
		driver_detach(&driver);
	}
	destroy_devices();
	driver_forget(&driver);
}

static void list_parts(void)
{
	static const uint32_t tags[] = {
		STATE_SHAPE,	    STATE_CLOCK,      STATE_IRQCHIP,
		STATE_MEMORY_FILE,  STATE_MEMORY_SUM, STATE_SREGS,
		STATE_REGS,	    STATE_XCRS,	      STATE_XSAVE,
		STATE_DEBUG,	    STATE_LAPIC,      STATE_MSRS,
		STATE_MP,	    STATE_EVENTS,     VIRTIO_STATE_TRANSPORT,
		VIRTIO_STATE_VSOCK, VIRTIO_STATE_NET,
	};

	for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++)
		for (uint32_t number = 0; number < 3; number++) {
			size_t len;
			const void *data = records_find(&good, tags[i], number, &len);

			if (data)
				parts[part_count++] = (struct part){tags[i], number, (uint32_t)len,
								    data};
		}
	driver_check(part_count == 5 + 2 + VCPUS * 9 + SLOTS + 2);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct vmm_template template = {.pages_fd = -1}, snapshot = {.pages_fd = -1};
	struct snapshot_machine machine;
	struct slot slots[SLOTS] = {0};
	struct vcpu vcpus[VCPUS];

	(void)argc;
	(void)argv;
	driver_init(&driver);
	driver_check(loop_init(&loop) == 0);
	driver_check(vm_memory_create(&memory, MEMORY, NULL) == 0);
	memset(memory.base + 5 * 4096, 1, 3 * 4096 + 17);
	state_fd = memfd_create("state", MFD_CLOEXEC);
	template.state_fd = snapshot.state_fd = memfd_create("unused", MFD_CLOEXEC);
	template.memory_fd = template_memory_fd = memfd_create("memory", MFD_CLOEXEC);
	snapshot.memory_fd = memory_fd = memfd_create("memory", MFD_CLOEXEC);
	driver_check(ftruncate(memory_fd, MEMORY) == 0);

	/* The first record of a tag and number counts: those of devices in use. */
	save_devices();
	power_on(&machine, vcpus, slots);
	driver_check(snapshot_save(&machine, &good, NULL) == 0);
	driver_check(snapshot_write_template(&machine, &good, &template, NULL) == 0);
	driver_check(snapshot_write(&machine, &good, &snapshot, -1, NULL) == 0);
	power_off(slots);
	list_parts();
	return 0;
}

/* --- altered --- */

static void alter(struct records *out, const struct part *part, struct input *input)
{
	uint8_t how = input_u8(input), bytes[64];
	cleanup_free uint8_t *data = malloc(part->len + sizeof(bytes));
	uint32_t tag = part->tag, number = part->number, len = part->len;

	driver_check(data != NULL);
	memcpy(data, part->data, len);
	switch (how % 8) {
	case 0: /* dropped */
		return;
	case 1:
		number = how >> 3;
		break;
	case 2:
		tag = parts[input_u8(input) % part_count].tag;
		break;
	case 3: /* made up */
		len = (uint32_t)input_take(input, data, input_u8(input) % sizeof(bytes));
		break;
	case 4:
		len = len ? input_u16(input) % len : 0;
		break;
	case 5: /* longer */
		len += (uint32_t)input_take(input, data + len, 1 + how / 8u);
		break;
	default:
		if (len)
			input_take(input, bytes, sizeof(uint64_t));
		for (uint32_t i = 0, at = input_u16(input); len && i <= how / 64u; i++)
			data[(at + i) % len] = bytes[i];
	}
	records_put(out, tag, number, data, len);
}

/* Returns whether it is the good one. */
static bool make_state(struct records *out, struct input *input, unsigned int steps)
{
	uint8_t altered[STEPS_MAX];

	for (unsigned int i = 0; i < steps; i++)
		altered[i] = input_u8(input) % part_count;
	for (unsigned int i = 0; i < part_count; i++) {
		bool whole = true;

		for (unsigned int j = 0; j < steps; j++)
			if (altered[j] == i) {
				alter(out, &parts[i], input);
				whole = false;
			}
		if (whole)
			records_put(out, parts[i].tag, parts[i].number, parts[i].data,
				    parts[i].len);
	}
	return !steps;
}

/* As the input has the file: nothing is put right. */
static void damage_file(struct input *input)
{
	uint8_t bytes[32];
	uint32_t at = input_u32(input) % 65536;
	size_t len = input_take(input, bytes, input_u8(input) % sizeof(bytes));

	driver_check(pwrite(state_fd, bytes, len, at) == (ssize_t)len);
	if (input_u8(input) & 1)
		driver_check(ftruncate(state_fd, at) == 0);
}

/* --- loading --- */

static void check_message(int ret, const struct error *err)
{
	driver_check(ret <= 0);
	driver_check((ret < 0) == (err->message[0] != '\0'));
	driver_check(!strchr(err->message, '\n'));
}

static int load_memory(const struct records *state, bool template, struct error *err)
{
	struct vm_memory mem = {.fd = -1};
	uint64_t sum = 0;
	int ret;

	if (template)
		ret = vm_memory_clone(&mem, MEMORY, template_memory_fd, memory_fd, err);
	else
		ret = vm_memory_copy(&mem, MEMORY, memory_fd, &sum, err);
	driver_check(ret == 0 && mem.base[5 * 4096] == 1 && mem.base[4 * 4096] == 0);
	if (!template)
		ret = snapshot_check_memory(state, sum, err);
	driver_check(template || !memory_sum || sum == memory_sum);
	memory_sum = sum ?: memory_sum;
	vm_memory_destroy(&mem);
	return ret;
}

/* What comes back is what went in. */
static void save_again(const struct snapshot_machine *machine, bool unaltered)
{
	struct records again = {0};
	struct error err = {0};
	int ret = snapshot_save(machine, &again, &err);

	check_message(ret, &err);
	driver_check(ret == 0 || !unaltered);
	for (unsigned int i = 0; unaltered && i < part_count; i++) {
		size_t len;
		const void *data = records_find(&again, parts[i].tag, parts[i].number, &len);

		if (parts[i].tag == STATE_MEMORY_FILE || parts[i].tag == STATE_MEMORY_SUM)
			continue;
		driver_check(data && len == parts[i].len && !memcmp(data, parts[i].data, len));
	}
	records_destroy(&again);
}

static void go_on(const struct records *state, struct input *input, bool unaltered)
{
	struct snapshot_machine machine;
	struct slot slots[SLOTS] = {0};
	struct vcpu vcpus[VCPUS];
	struct error err = {0};
	int ret;

	power_on(&machine, vcpus, slots);
	failing_call = unaltered ? 0 : input_u8(input);
	/* Rings that are not empty. */
	input_take(input, driver.bytes, input->left < 4096 ? input->left : 4096);
	ret = snapshot_load(&machine, state, &err);
	check_message(ret, &err);
	driver_check(ret == 0 || !unaltered);
	if (ret == 0 && unaltered)
		save_again(&machine, true);
	for (int i = 0; ret == 0 && i < TURNS; i++)
		driver_check(loop_step(&loop, 0) == 0);
	for (unsigned int i = 0; ret == 0 && i < SLOTS; i++)
		virtio_mmio_hold(&slots[i].mmio);
	if (ret == 0)
		save_again(&machine, false);
	for (unsigned int i = 0; ret == 0 && i < SLOTS; i++)
		virtio_mmio_release(&slots[i].mmio);
	power_off(slots);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	uint8_t first = input_u8(&input);
	bool template = first & 0x40, damaged = first & 0x80;
	struct vmm_template from = {.state_fd = state_fd,
				    .memory_fd = template ? template_memory_fd : memory_fd,
				    .pages_fd = -1,
				    .boot_mib = MEMORY >> 20};
	struct records made = {0}, state;
	struct error err = {0};
	bool unaltered = make_state(&made, &input, first % (STEPS_MAX + 1)) && !damaged;
	int ret;

	driver_check(ftruncate(state_fd, 0) == 0);
	driver_check(records_write(&made, STATE_VERSION, state_fd, NULL) == 0);
	if (damaged)
		damage_file(&input);
	ret = template ? snapshot_open_template(&state, &from, &err)
		       : snapshot_open(&state, &from, &err);
	check_message(ret, &err);
	if (ret == 0)
		ret = load_memory(&state, template, &err);
	driver_check(ret == 0 || !unaltered);
	if (ret == 0)
		go_on(&state, &input, unaltered);
	records_destroy(&state);
	records_destroy(&made);
	return 0;
}
