#include "vmm/machine.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "devices/balloon.h"
#include "devices/console.h"
#include "devices/net.h"
#include "devices/fs.h"
#include "devices/rng.h"
#include "protocol/protocol.h"
#include "vmm/boot_params.h"
#include "vmm/cpuid.h"
#include "vmm/daemon_log.h"
#include "vmm/fdt.h"
#include "vmm/filter.h"
#include "vmm/jail.h"
#include "vmm/layout.h"
#include "vmm/platform.h"
#include "vmm/slot.h"
#include "vmm/snapshot.h"
#include "vmm/vcpu_state.h"
#include "vmm/vmgenid.h"

struct machine {
	struct machine_config config;
	struct boot_files boot;
	struct kvm kvm;
	struct vm_memory memory;
	struct bus mmio;
	struct bus ports;
	struct console_ring console_ring;
	struct platform platform;
	struct vmgenid vmgenid;
	struct vcpu_machine vcpu_machine;
	struct vcpu *vcpus;
	unsigned int vcpu_count;
	uint64_t cpuid_sum;
	const struct records *state; /* during machine_build: what it goes on from */
	uint64_t vm_created_ns;

	struct console *console;
	struct rng *rng;
	struct balloon *balloon;
	struct vsock *vsock;
	struct fs *fs; /* NULL: nothing is shared */
	struct daemon_log fs_log;
	struct blk *disks[VMM_DISKS_MAX];
	char disk_names[VMM_DISKS_MAX][8];
	struct net *nics[VMM_NICS_MAX];
	char nic_names[VMM_NICS_MAX][8];
	struct slot slots[LAYOUT_VIRTIO_SLOTS];
	unsigned int slot_count;

	/* Held until every thread is confined that can be reached by a guest. */
	pthread_mutex_t gate;

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

static void disk_thread_begins(void)
{
	filter_enter(FILTER_DISK);
}

static void net_thread_begins(void)
{
	filter_enter(FILTER_NET);
}

static void fs_thread_begins(void)
{
	filter_enter(FILTER_FS);
}

static void vcpu_thread_begins(void *ctx)
{
	struct machine *machine = ctx;

	if (confined(machine))
		filter_enter(FILTER_VCPU);
	pthread_mutex_lock(&machine->gate);
	pthread_mutex_unlock(&machine->gate);
}

/* --- devices --- */

static void console_output(void *ctx, const void *bytes, size_t len)
{
	struct machine *machine = ctx;

	console_ring_write(&machine->console_ring, bytes, len);
}

static void release_memory(void *ctx, void *bytes, size_t len)
{
	struct machine *machine = ctx;

	vm_memory_release(&machine->memory, bytes, len);
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

/* The options' own are left for another machine, should this one not come about. */
static int copy_fd(int fd)
{
	return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

/* A disk's files after the first. */
struct more_files {
	int *fds;
	unsigned int count;
};

static void close_more(struct more_files *more)
{
	for (unsigned int i = 0; i < more->count; i++)
		close(more->fds[i]);
	free(more->fds);
}

static int copy_more(struct more_files *more, const struct vmm_disk *disk)
{
	more->fds = calloc(disk->more_count + 1, sizeof(int));
	if (!more->fds)
		return -ENOMEM;
	for (; more->count < disk->more_count; more->count++) {
		more->fds[more->count] = copy_fd(disk->more_fds[more->count]);
		if (more->fds[more->count] < 0)
			return -errno;
	}
	return 0;
}

static int plug_disk(struct machine *machine, unsigned int i, struct error *err)
{
	const struct vmm_disk *disk = &machine->config.options->disks[i];
	cleanup_fd int fd = copy_fd(disk->fd);
	__attribute__((cleanup(close_more))) struct more_files more = {0};
	int ret = copy_more(&more, disk);
	struct blk_options options = {
		.fd = fd,
		.more_fds = more.fds,
		.more_count = disk->more_count,
		.read_only = disk->read_only,
		.serial = disk->serial,
		.name = machine->disk_names[i],
		.thread_begins = confined(machine) ? disk_thread_begins : NULL,
	};

	snprintf(machine->disk_names[i], sizeof(machine->disk_names[i]), "disk%u", i);
	if (fd < 0 && disk->fd >= 0)
		return error_set(err, errno, "%s", options.name);
	if (ret < 0)
		return error_set(err, -ret, "%s", options.name);
	ret = blk_create(&machine->disks[i], &options, &machine->memory.map, err);
	if (ret < 0)
		return ret;
	take_fd(&fd);
	more.count = 0;
	return plug(machine, blk_device(machine->disks[i]), blk_loop(machine->disks[i]), err);
}

/* Linux 6.2 has taps that cut UDP into segments; to offer this to the guest is the kernel's word.
 */
static bool kernel_cuts_udp(void)
{
	struct utsname name;
	unsigned int major = 0, minor = 0;

	if (uname(&name) < 0 || sscanf(name.release, "%u.%u", &major, &minor) != 2)
		return false;
	return major > 6 || (major == 6 && minor >= 2);
}

static int plug_nic(struct machine *machine, unsigned int i, struct error *err)
{
	const struct vmm_options *options = machine->config.options;
	struct net_options net = {
		.name = machine->nic_names[i],
		.index = i,
		.pairs = options->nic_stream[i]		 ? 1
			 : options->cpus < NET_PAIRS_MAX ? options->cpus
							 : NET_PAIRS_MAX,
		.plain = options->nic_stream[i],
		.udp_segmentation = kernel_cuts_udp(),
		.thread_begins = confined(machine) ? net_thread_begins : NULL,
	};
	int ret;

	snprintf(machine->nic_names[i], sizeof(machine->nic_names[i]), "net%u", i);
	ret = net_create(&machine->nics[i], &net, &machine->memory.map, err);
	if (ret < 0)
		return ret;
	return plug(machine, net_device(machine->nics[i]), net_loop(machine->nics[i]), err);
}

static int plug_vsock(struct machine *machine, struct error *err)
{
	cleanup_fd int listen_fd = copy_fd(machine->config.options->vsock_fd);
	struct vsock_options options = {
		.guest_cid = VSOCK_GUEST_CID,
		.connect = machine->config.connect,
		.closed = machine->config.closed,
		.buffered = machine->config.buffered,
		.ctx = machine->config.ctx,
		.listen_fd = listen_fd,
		.loop = machine->config.loop,
	};
	int ret = vsock_create(&machine->vsock, &options, &machine->memory.map, err);

	if (ret < 0)
		return ret;
	take_fd(&listen_fd);
	return plug(machine, vsock_device(machine->vsock), machine->config.loop, err);
}

static int plug_fs(struct machine *machine, struct error *err)
{
	struct fs_options options = {
		.tag = PROTO_SHARES_TAG,
		.fd = machine->config.options->fs_fd,
		.records_inflight = machine->config.options->fs_records_inflight,
		.thread_begins = confined(machine) ? fs_thread_begins : NULL,
	};
	int ret;

	if (options.fd < 0)
		return 0;
	ret = daemon_log_open(&machine->fs_log, "virtiofsd", machine->config.options->fs_log_fd,
			      machine->config.loop);
	if (ret < 0)
		return error_set(err, -ret, "log of virtiofsd");
	ret = fs_create(&machine->fs, &options, &machine->memory.map, err);
	if (ret < 0)
		return ret;
	return plug(machine, fs_device(machine->fs), fs_loop(machine->fs), err);
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
	if (ret == 0)
		ret = balloon_create(&machine->balloon, &machine->memory.map, release_memory,
				     machine, err);
	if (ret == 0)
		ret = plug(machine, balloon_device(machine->balloon), machine->config.loop, err);
	for (unsigned int i = 0; ret == 0 && i < machine->config.options->nic_count; i++)
		ret = plug_nic(machine, i, err);
	if (ret == 0)
		ret = plug_fs(machine, err);
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
		.virtio_slots = machine->slot_count,
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
/* --- from a template --- */

static struct snapshot_machine snapshot_of(struct machine *machine)
{
	return (struct snapshot_machine){
		.kvm = &machine->kvm,
		.memory = &machine->memory,
		.vcpus = machine->vcpus,
		.vcpu_count = machine->vcpu_count,
		.slots = machine->slots,
		.slot_count = machine->slot_count,
		.cpuid_sum = machine->cpuid_sum,
	};
}

static int resume_guest(struct machine *machine, struct error *err)
{
	struct snapshot_machine parts = snapshot_of(machine);
	int ret = snapshot_load(&parts, machine->state, err);

	/* The template's drives were empty. */
	for (unsigned int i = 0; ret == 0 && i < machine->config.options->disk_count; i++)
		virtio_config_interrupt(blk_device(machine->disks[i]));
	if (ret == 0)
		vmgenid_changed(&machine->vmgenid);
	return ret;
}

int machine_save(struct machine *machine, int state_fd, int memory_fd, struct error *err)
{
	struct snapshot_machine parts = snapshot_of(machine);

	return snapshot_save(&parts, state_fd, memory_fd, err);
}

bool machine_is_idle(const struct machine *machine)
{
	for (unsigned int i = 0; i < machine->vcpu_count; i++)
		if (!vcpu_is_idle(&machine->vcpus[i]))
			return false;
	return true;
}

/* --- the whole --- */

static int make_memory(struct machine *machine, struct error *err)
{
	const struct vmm_options *options = machine->config.options;
	uint64_t size = (uint64_t)options->memory_mib << 20;

	if (machine->state)
		return vm_memory_clone(&machine->memory, size, options->load.memory_fd, err);
	return vm_memory_create(&machine->memory, size, err);
}

/* Undoes build, as far as it came. */
static void take_down(struct machine *machine)
{
	/* First: the daemon complains about every end of its connection. */
	daemon_log_close(&machine->fs_log);
	machine_stop(machine);
	for (unsigned int i = 0; i < machine->slot_count; i++)
		slot_destroy(&machine->slots[i]);
	machine->slot_count = 0;
	vsock_destroy(take_ptr(machine->vsock));
	console_destroy(take_ptr(machine->console));
	rng_destroy(take_ptr(machine->rng));
	balloon_destroy(take_ptr(machine->balloon));
	fs_destroy(take_ptr(machine->fs));
	for (unsigned int i = 0; i < VMM_DISKS_MAX; i++)
		blk_destroy(take_ptr(machine->disks[i]));
	for (unsigned int i = 0; i < VMM_NICS_MAX; i++)
		net_destroy(take_ptr(machine->nics[i]));
	for (unsigned int i = 0; i < machine->vcpu_count; i++)
		vcpu_destroy(&machine->vcpus[i]);
	machine->vcpu_count = 0;
	free(take_ptr(machine->vcpus));
	vmgenid_destroy(&machine->vmgenid);
	close_fd(&machine->kvm.vm_fd);
	vm_memory_destroy(&machine->memory);
	machine->mmio.count = machine->ports.count = 0;
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
	machine->vm_created_ns = now_ns();
	if (machine->config.options->hold_fd >= 0)
		kvm_hold(&machine->kvm, machine->config.options->hold_fd);
	ret = make_memory(machine, err);
	if (ret == 0)
		ret = vm_memory_attach(&machine->memory, &machine->kvm, err);
	if (ret == 0 && platform_add(&machine->platform, &machine->mmio, &machine->ports) < 0)
		ret = error_say(err, ENOSPC, "no place left on the bus");
	if (ret == 0)
		ret = vmgenid_add(&machine->vmgenid, &machine->mmio, &machine->kvm, err);
	if (ret == 0)
		ret = plug_all(machine, err);
	if (ret == 0)
		ret = create_vcpus(machine, err);
	if (ret < 0)
		return ret;
	if (machine->state)
		return resume_guest(machine, err);
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
	machine->memory.fd = -1;
	machine->end_fd = -1;
	machine->fs_log.fd = -1;
	machine->vmgenid.irq_fd = -1;
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
	pthread_mutex_destroy(&machine->end_lock);
	free(machine);
}

static int attach_net(struct machine *machine, uint32_t index, const struct proto_frame *frame,
		      struct error *err)
{
	int ret;

	if (index >= VMM_NICS_MAX || !machine->nics[index])
		return error_say(err, ENODEV, "ATTACH: there is no NIC %u", index);
	ret = net_attach(machine->nics[index], frame->fds, frame->fd_count, err);
	for (unsigned int i = 0; ret == 0 && i < frame->fd_count; i++)
		frame->fds[i] = -1;
	return ret;
}

static int set_rates(struct machine *machine, const struct proto_attach *what,
		     const void *parameters, size_t len, struct error *err)
{
	struct proto_rates rates;
	struct rate in[2], out[2];
	bool net = what->kind == PROTO_ATTACH_NET_RATES;

	if (proto_decode_rates(parameters, len, &rates) < 0)
		return error_say(err, EINVAL, "ATTACH: rates of a wrong size");
	for (int i = 0; i < 2; i++) {
		const struct proto_rate *from = &rates.rates[i];

		in[i] = (struct rate){from->per_second, from->burst};
		from += PROTO_RATE_BYTES_OUT;
		out[i] = (struct rate){from->per_second, from->burst};
	}
	if (net && what->index < VMM_NICS_MAX && machine->nics[what->index])
		return net_limit(machine->nics[what->index], in, out, err);
	if (!net && what->index < VMM_DISKS_MAX && machine->disks[what->index])
		return blk_limit(machine->disks[what->index], in, err);
	return error_say(err, ENODEV, "ATTACH: there is no %s %u", net ? "NIC" : "disk",
			 what->index);
}

int machine_attach(struct machine *machine, const struct proto_attach *what, const void *parameters,
		   size_t len, const struct proto_frame *frame, struct error *err)
{
	if (what->kind == PROTO_ATTACH_NET_RATES || what->kind == PROTO_ATTACH_DISK_RATES)
		return set_rates(machine, what, parameters, len, err);
	if (what->kind == PROTO_ATTACH_NET && len == 0)
		return attach_net(machine, what->index, frame, err);
	return error_say(err, EOPNOTSUPP, "ATTACH: no kind %u with %zu bytes", what->kind, len);
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
