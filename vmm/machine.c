#include "vmm/machine.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "devices/console.h"
#include "devices/rng.h"
#include "vmm/boot_params.h"
#include "vmm/cpuid.h"
#include "vmm/fdt.h"
#include "vmm/layout.h"
#include "vmm/platform.h"
#include "vmm/slot.h"

struct machine {
	struct machine_config config;
	struct boot_files boot;
	struct kvm kvm;
	struct vm_memory memory;
	struct bus mmio;
	struct bus ports;
	struct console_ring console_ring;
	struct platform platform;
	struct vcpu_machine vcpu_machine;
	struct vcpu *vcpus;
	unsigned int vcpu_count;
	uint64_t vm_created_ns;

	struct console *console;
	struct rng *rng;
	struct vsock *vsock;
	struct blk *disks[VMM_DISKS_MAX];
	char disk_names[VMM_DISKS_MAX][8];
	struct slot slots[LAYOUT_VIRTIO_SLOTS];
	unsigned int slot_count;

	/* The first reason to stop wins; written by a vCPU, read by the loop. */
	pthread_mutex_t end_lock;
	enum machine_end end;
	char end_detail[200];
	int end_fd;
	struct loop_watch end_watch;
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* --- the end --- */

static void vcpu_ended(void *ctx, enum machine_end why, const char *detail)
{
	struct machine *machine = ctx;
	uint64_t one = 1;

	atomic_store(&machine->vcpu_machine.stopping, true);
	pthread_mutex_lock(&machine->end_lock);
	if (machine->end == MACHINE_RUNNING) {
		machine->end = why;
		snprintf(machine->end_detail, sizeof(machine->end_detail), "%s", detail);
	}
	pthread_mutex_unlock(&machine->end_lock);
	if (write(machine->end_fd, &one, sizeof(one)) < 0)
		log_error("the end of the machine cannot be told: %s", strerror(errno));
}

static void end_told(struct loop_watch *watch, uint32_t events)
{
	struct machine *machine = container_of(watch, struct machine, end_watch);
	enum machine_end why;

	(void)events;
	loop_del(machine->config.loop, watch);
	/* The detail stays as it is once there is an end; the lock makes both visible here. */
	pthread_mutex_lock(&machine->end_lock);
	why = machine->end;
	pthread_mutex_unlock(&machine->end_lock);
	machine->config.ended(machine->config.ctx, why, machine->end_detail);
}

static int init_end(struct machine *machine, struct error *err)
{
	int ret;

	machine->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (machine->end_fd < 0)
		return error_set(err, errno, "eventfd");
	ret = loop_add(machine->config.loop, &machine->end_watch, machine->end_fd, EPOLLIN,
		       end_told);
	return ret < 0 ? error_set(err, -ret, "epoll") : 0;
}

/* --- devices --- */

static void console_output(void *ctx, const void *bytes, size_t len)
{
	struct machine *machine = ctx;

	console_ring_write(&machine->console_ring, bytes, len);
}

static int plug(struct machine *machine, struct virtio_device *dev, struct loop *loop,
		struct error *err)
{
	int ret;

	if (machine->slot_count == LAYOUT_VIRTIO_SLOTS)
		return error_say(err, ENOSPC, "%s: no place left for a device", dev->name);
	ret = slot_init(&machine->slots[machine->slot_count], machine->slot_count, &machine->kvm,
			&machine->mmio, dev, loop, err);
	if (ret == 0)
		machine->slot_count++;
	return ret;
}

static int plug_disk(struct machine *machine, unsigned int i, struct error *err)
{
	const struct vmm_disk *disk = &machine->config.options->disks[i];
	struct blk_options options = {
		.fd = disk->fd,
		.read_only = disk->read_only,
		.serial = disk->serial,
		.name = machine->disk_names[i],
	};
	int ret;

	snprintf(machine->disk_names[i], sizeof(machine->disk_names[i]), "disk%u", i);
	ret = blk_create(&machine->disks[i], &options, &machine->memory.map, err);
	if (ret < 0)
		return ret;
	return plug(machine, blk_device(machine->disks[i]), blk_loop(machine->disks[i]), err);
}

static int plug_vsock(struct machine *machine, struct error *err)
{
	struct vsock_options options = {
		.guest_cid = VSOCK_GUEST_CID,
		.connect = machine->config.connect,
		.closed = machine->config.closed,
		.ctx = machine->config.ctx,
		.listen_fd = machine->config.options->vsock_fd,
		.loop = machine->config.loop,
	};
	int ret = vsock_create(&machine->vsock, &options, &machine->memory.map, err);

	if (ret < 0)
		return ret;
	return plug(machine, vsock_device(machine->vsock), machine->config.loop, err);
}

/* Disks come first: their order is their names in the guest. */
static int plug_all(struct machine *machine, struct error *err)
{
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < machine->config.options->disk_count; i++)
		ret = plug_disk(machine, i, err);
	if (ret == 0)
		ret = plug_vsock(machine, err);
	if (ret == 0)
		ret = console_create(&machine->console, &machine->memory.map, console_output,
				     machine, err);
	if (ret == 0)
		ret = plug(machine, console_device(machine->console), machine->config.loop, err);
	if (ret == 0)
		ret = rng_create(&machine->rng, &machine->memory.map, err);
	if (ret == 0)
		ret = plug(machine, rng_device(machine->rng), machine->config.loop, err);
	return ret;
}

/* --- vCPUs --- */

static int set_entry(struct vcpu *vcpu, uint64_t entry, struct error *err)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0)
		return error_set(err, errno, "KVM: get registers");
	boot_registers(&sregs, &regs, entry);
	if (ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) < 0 || ioctl(vcpu->fd, KVM_SET_REGS, &regs) < 0)
		return error_set(err, errno, "KVM: set registers");
	return 0;
}

static int create_vcpus(struct machine *machine, uint64_t entry, struct error *err)
{
	unsigned int cpus = machine->config.options->cpus;
	struct cpuid *cpuid = NULL;
	int ret;

	machine->vcpus = calloc(cpus, sizeof(*machine->vcpus));
	if (!machine->vcpus)
		return error_set(err, ENOMEM, "vCPUs");
	ret = cpuid_create(&cpuid, &machine->kvm, cpus, err);
	for (unsigned int i = 0; ret == 0 && i < cpus; i++) {
		ret = vcpu_create(&machine->vcpus[i], &machine->kvm, i, &machine->vcpu_machine,
				  err);
		if (ret < 0)
			break;
		machine->vcpu_count++;
		ret = cpuid_apply(cpuid, machine->vcpus[i].fd, i, err);
	}
	cpuid_destroy(cpuid);
	/* The others wait in KVM for the first one to start them. */
	if (ret == 0)
		ret = set_entry(&machine->vcpus[0], entry, err);
	return ret;
}

/* --- the whole --- */

static int load_guest(struct machine *machine, uint64_t *entry, struct error *err)
{
	struct fdt_machine tree = {
		.cpus = machine->config.options->cpus,
		.virtio_slots = machine->slot_count,
	};
	cleanup_free void *dtb = malloc(FDT_SIZE_MAX);
	int len, ret;

	if (!dtb)
		return error_set(err, ENOMEM, "device tree");
	len = fdt_build(dtb, &tree, err);
	if (len < 0)
		return len;
	ret = boot_load(&machine->memory, &machine->boot, dtb, (size_t)len, entry, err);
	boot_close(&machine->boot);
	return ret;
}

int machine_build(struct machine *machine, struct error *err)
{
	uint64_t size = (uint64_t)machine->config.options->memory_mib << 20;
	uint64_t entry;
	int ret;

	ret = init_end(machine, err);
	if (ret == 0)
		ret = vcpu_prepare_kick(err);
	if (ret == 0)
		ret = kvm_create_vm(&machine->kvm, err);
	if (ret < 0)
		return ret;
	machine->vm_created_ns = now_ns();
	ret = vm_memory_create(&machine->memory, size, err);
	if (ret == 0)
		ret = vm_memory_attach(&machine->memory, &machine->kvm, err);
	if (ret == 0 && platform_add(&machine->platform, &machine->mmio, &machine->ports) < 0)
		ret = error_say(err, ENOSPC, "no place left on the bus");
	if (ret == 0)
		ret = plug_all(machine, err);
	if (ret == 0)
		ret = load_guest(machine, &entry, err);
	if (ret == 0)
		ret = create_vcpus(machine, entry, err);
	return ret;
}

int machine_create(struct machine **out, const struct machine_config *config, struct error *err)
{
	struct machine *machine = calloc(1, sizeof(*machine));
	int ret;

	if (!machine)
		return error_set(err, ENOMEM, "machine");
	machine->config = *config;
	machine->boot = (struct boot_files){
		.kernel = config->options->kernel,
		.initramfs = config->options->initramfs,
		.cmdline = config->options->cmdline,
		.kernel_fd = -1,
		.initramfs_fd = -1,
	};
	machine->kvm = (struct kvm){.fd = -1, .vm_fd = -1};
	machine->memory.fd = -1;
	machine->end_fd = -1;
	pthread_mutex_init(&machine->end_lock, NULL);
	console_ring_init(&machine->console_ring, config->options->debug);
	machine->platform = (struct platform){
		.console = &machine->console_ring,
		.end = vcpu_ended,
		.ctx = machine,
	};
	machine->vcpu_machine = (struct vcpu_machine){
		.mmio = &machine->mmio,
		.ports = &machine->ports,
		.end = vcpu_ended,
		.ctx = machine,
	};
	ret = kvm_open(&machine->kvm, err);
	if (ret == 0)
		ret = boot_open(&machine->boot, err);
	if (ret < 0) {
		machine_destroy(machine);
		return ret;
	}
	*out = machine;
	return 0;
}

int machine_start(struct machine *machine, struct error *err)
{
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < machine->vcpu_count; i++)
		ret = vcpu_start(&machine->vcpus[i], err);
	if (ret < 0)
		machine_stop(machine);
	return ret;
}

void machine_stop(struct machine *machine)
{
	atomic_store(&machine->vcpu_machine.stopping, true);
	for (unsigned int i = 0; i < machine->vcpu_count; i++)
		vcpu_kick(&machine->vcpus[i]);
	for (unsigned int i = 0; i < machine->vcpu_count; i++)
		vcpu_join(&machine->vcpus[i]);
}

void machine_destroy(struct machine *machine)
{
	if (!machine)
		return;
	machine_stop(machine);
	for (unsigned int i = 0; i < machine->slot_count; i++)
		slot_destroy(&machine->slots[i]);
	vsock_destroy(machine->vsock);
	console_destroy(machine->console);
	rng_destroy(machine->rng);
	for (unsigned int i = 0; i < VMM_DISKS_MAX; i++)
		blk_destroy(machine->disks[i]);
	for (unsigned int i = 0; i < machine->vcpu_count; i++)
		vcpu_destroy(&machine->vcpus[i]);
	free(machine->vcpus);
	kvm_destroy(&machine->kvm);
	boot_close(&machine->boot);
	vm_memory_destroy(&machine->memory);
	loop_del(machine->config.loop, &machine->end_watch);
	close_fd(&machine->end_fd);
	console_ring_destroy(&machine->console_ring);
	pthread_mutex_destroy(&machine->end_lock);
	free(machine);
}

int machine_attach(struct machine *machine, const struct proto_attach *what, const void *parameters,
		   size_t len, const struct proto_frame *frame, struct error *err)
{
	(void)machine;
	(void)parameters;
	(void)len;
	(void)frame;
	switch (what->kind) {
	default:
		return error_say(err, EOPNOTSUPP, "ATTACH: no kind %u", what->kind);
	}
}

void machine_marks(const struct machine *machine, struct machine_marks *marks)
{
	marks->vm_created_ns = machine->vm_created_ns;
	marks->kernel_entered_ns = atomic_load(&machine->vcpu_machine.first_run_ns);
}

struct console_ring *machine_console(struct machine *machine)
{
	return &machine->console_ring;
}
