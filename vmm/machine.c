#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "vmm/counters.h"
#include "vmm/cpuid.h"
#include "vmm/fdt.h"
#include "vmm/filter.h"
#include "vmm/jail.h"
#include "vmm/layout.h"
#include "vmm/machine_internal.h"

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

/* --- confinement --- */

/*
 * Which makes a template is none: it runs our own kernel and agent and nobody else's code, stops
 * and starts its vCPUs, and reads all the state that KVM has.
 */
static bool confined(const struct machine *machine)
{
	const struct vmm_options *options = machine->config.options;

	return !(options->relaxed & JAIL_SECCOMP) && options->save.state_fd < 0;
}

static void vcpu_thread_begins(void *ctx)
{
	struct machine *machine = ctx;

	if (confined(machine))
		filter_enter(FILTER_VCPU);
	pthread_mutex_lock(&machine->gate);
	pthread_mutex_unlock(&machine->gate);
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

static int create_vcpus(struct machine *machine, struct error *err)
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
	if (ret == 0)
		machine->cpuid_sum = cpuid_sum(cpuid);
	cpuid_destroy(cpuid);
	return ret;
}

/* --- from the kernel's first instruction --- */

static int load_guest(struct machine *machine, uint64_t *entry, struct error *err)
{
	struct fdt_machine tree = {
		.cpus = machine->config.options->cpus,
		.virtio_slots = machine->devices.slot_count,
	};
	cleanup_free void *dtb = malloc(FDT_SIZE_MAX);
	int len;

	if (!dtb)
		return error_set(err, ENOMEM, "device tree");
	len = fdt_build(dtb, &tree, err);
	if (len < 0)
		return len;
	return boot_load(&machine->memory, &machine->boot, dtb, (size_t)len, entry, err);
}

/* --- the whole --- */

static int plug_devices(struct machine *machine, struct error *err)
{
	const struct machine_config *config = &machine->config;
	struct device_set_config devices = {
		.options = config->options,
		.host = {&machine->kvm, &machine->mmio, &machine->config_line},
		.memory = &machine->memory,
		.loop = config->loop,
		.confined = confined(machine),
		.console = &machine->console_ring,
		.connect = config->connect,
		.closed = config->closed,
		.buffered = config->buffered,
		.vsock_ctx = config->ctx,
	};

	irq_line_init(&machine->config_line, &machine->kvm, LAYOUT_IRQ_CONFIG);
	return device_set_plug(&machine->devices, &devices, err);
}

/* Undoes build, as far as it came. */
static void take_down(struct machine *machine)
{
	machine_stop(machine);
	device_set_unplug(&machine->devices);
	for (unsigned int i = 0; i < machine->vcpu_count; i++)
		vcpu_destroy(&machine->vcpus[i]);
	machine->vcpu_count = 0;
	free(take_ptr(machine->vcpus));
	close_fd(&machine->kvm.vm_fd);
	vm_memory_destroy(&machine->memory);
	machine->mmio = machine->ports = (struct bus){0};
	loop_del(machine->config.loop, &machine->end_watch);
	close_fd(&machine->end_fd);
}

static int build(struct machine *machine, struct error *err)
{
	uint64_t entry;
	int ret;

	ret = init_end(machine, err);
	if (ret == 0)
		ret = vcpu_prepare_kick(err);
	if (ret == 0 && confined(machine))
		ret = filter_prepare(err);
	if (ret == 0)
		ret = kvm_create_vm(&machine->kvm, err);
	if (ret < 0)
		return ret;
	machine->vm_created_ns = monotonic_ns();
	if (machine->config.options->hold_fd >= 0)
		kvm_hold(&machine->kvm, machine->config.options->hold_fd);
	ret = machine_make_memory(machine, err);
	if (ret == 0 && platform_add(&machine->platform, &machine->mmio, &machine->ports) < 0)
		ret = error_say(err, ENOSPC, "no place left on the bus");
	if (ret == 0)
		ret = vmgenid_add(&machine->vmgenid, &machine->mmio, &machine->kvm, err);
	if (ret == 0)
		ret = plug_devices(machine, err);
	if (ret == 0)
		ret = create_vcpus(machine, err);
	if (ret < 0)
		return ret;
	if (machine->state)
		return machine_resume(machine, err);
	ret = load_guest(machine, &entry, err);
	/* The other vCPUs wait in KVM for the first one to start them. */
	return ret < 0 ? ret : set_entry(&machine->vcpus[0], entry, err);
}

int machine_build(struct machine *machine, const struct records *state, struct error *err)
{
	int ret;

	machine->state = state;
	ret = build(machine, err);
	machine->state = NULL;
	if (ret < 0)
		take_down(machine);
	else
		boot_close(&machine->boot);
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
	machine->memory.fd = machine->memory.more_fd = -1;
	machine->end_fd = -1;
	device_set_init(&machine->devices);
	pthread_mutex_init(&machine->end_lock, NULL);
	pthread_mutex_init(&machine->gate, NULL);
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
		.thread_begins = vcpu_thread_begins,
		.ctx = machine,
	};
	pthread_mutex_init(&machine->vcpu_machine.rest_lock, NULL);
	pthread_cond_init(&machine->vcpu_machine.rest_changed, NULL);
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

	atomic_store(&machine->vcpu_machine.stopping, false);
	pthread_mutex_lock(&machine->gate);
	for (unsigned int i = 0; ret == 0 && i < machine->vcpu_count; i++)
		ret = vcpu_start(&machine->vcpus[i], err);
	/* There are no threads to make any more, and each inherits what its maker may not do. */
	if (ret == 0 && confined(machine))
		filter_enter(FILTER_MAIN);
	pthread_mutex_unlock(&machine->gate);
	if (ret < 0)
		machine_stop(machine);
	return ret;
}

void machine_stop(struct machine *machine)
{
	atomic_store(&machine->vcpu_machine.stopping, true);
	vcpus_release(&machine->vcpu_machine);
	for (unsigned int i = 0; i < machine->vcpu_count; i++)
		vcpu_kick(&machine->vcpus[i]);
	for (unsigned int i = 0; i < machine->vcpu_count; i++)
		vcpu_join(&machine->vcpus[i]);
}

void machine_destroy(struct machine *machine)
{
	if (!machine)
		return;
	take_down(machine);
	kvm_destroy(&machine->kvm);
	boot_close(&machine->boot);
	console_ring_destroy(&machine->console_ring);
	pthread_mutex_destroy(&machine->gate);
	pthread_cond_destroy(&machine->vcpu_machine.rest_changed);
	pthread_mutex_destroy(&machine->vcpu_machine.rest_lock);
	pthread_mutex_destroy(&machine->end_lock);
	free(machine);
}

int machine_attach(struct machine *machine, const struct proto_attach *what, const void *parameters,
		   size_t len, const struct proto_frame *frame, struct error *err)
{
	return device_set_attach(&machine->devices, what, parameters, len, frame, err);
}

void machine_counters(const struct machine *machine, struct proto_counters *counters)
{
	counters_collect(machine->vcpus, machine->vcpu_count, machine->devices.slots,
			 machine->devices.slot_count, counters);
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
