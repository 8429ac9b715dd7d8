#include "vmm/vcpu.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"

/* A signal that no engine forwards and whose default is to be ignored. */
#define KICK_SIGNAL SIGURG

static pid_t self;

static void kicked(int sig)
{
	/* Interrupting KVM_RUN is all that is wanted. */
	(void)sig;
}

int vcpu_prepare_kick(struct error *err)
{
	struct sigaction action = {.sa_handler = kicked};

	self = getpid();
	if (sigaction(KICK_SIGNAL, &action, NULL) < 0)
		return error_set(err, errno, "sigaction");
	return 0;
}

int vcpu_create(struct vcpu *vcpu, const struct kvm *kvm, unsigned int index,
		struct vcpu_machine *machine, struct error *err)
{
	memset(vcpu, 0, sizeof(*vcpu));
	vcpu->index = index;
	vcpu->machine = machine;
	vcpu->run_size = kvm->run_size;
	vcpu->fd = ioctl(kvm->vm_fd, KVM_CREATE_VCPU, (unsigned long)index);
	if (vcpu->fd < 0)
		return error_set(err, errno, "KVM: create vCPU %u", index);
	vcpu->run = mmap(NULL, vcpu->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED) {
		int ret = error_set(err, errno, "KVM: map vCPU %u", index);

		vcpu->run = NULL;
		vcpu_destroy(vcpu);
		return ret;
	}
	return 0;
}

void vcpu_destroy(struct vcpu *vcpu)
{
	if (vcpu->run)
		munmap(vcpu->run, vcpu->run_size);
	vcpu->run = NULL;
	close_fd(&vcpu->fd);
}

static void handle_io(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	unsigned int size = run->io.size;

	/* String instructions bring several values for one port. */
	for (uint32_t i = 0; i < run->io.count; i++, data += size) {
		uint64_t value = 0;

		if (run->io.direction == KVM_EXIT_IO_OUT) {
			memcpy(&value, data, size);
			bus_write(vcpu->machine->ports, run->io.port, value, size);
		} else {
			value = bus_read(vcpu->machine->ports, run->io.port, size);
			memcpy(data, &value, size);
		}
	}
}

static void handle_mmio(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint64_t value = 0;

	if (run->mmio.is_write) {
		memcpy(&value, run->mmio.data, run->mmio.len);
		bus_write(vcpu->machine->mmio, run->mmio.phys_addr, value, run->mmio.len);
	} else {
		value = bus_read(vcpu->machine->mmio, run->mmio.phys_addr, run->mmio.len);
		memcpy(run->mmio.data, &value, run->mmio.len);
	}
}

static void end_with(struct vcpu *vcpu, enum machine_end why, const char *what, uint64_t number)
{
	struct kvm_regs regs = {0};
	char detail[160];

	ioctl(vcpu->fd, KVM_GET_REGS, &regs);
	snprintf(detail, sizeof(detail), "vCPU %u: %s (%llu) at rip 0x%llx", vcpu->index, what,
		 (unsigned long long)number, (unsigned long long)regs.rip);
	vcpu->machine->end(vcpu->machine->ctx, why, detail);
}

/* One writer: no lock, and no atomic addition. */
static void count(struct vcpu *vcpu, enum proto_exit kind)
{
	__atomic_store_n(&vcpu->exits[kind], vcpu->exits[kind] + 1, __ATOMIC_RELAXED);
}

/* Returns whether to go on. */
static bool handle_exit(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		count(vcpu, PROTO_EXIT_PORT);
		handle_io(vcpu);
		return true;
	case KVM_EXIT_MMIO:
		count(vcpu, PROTO_EXIT_MMIO);
		handle_mmio(vcpu);
		return true;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		count(vcpu, PROTO_EXIT_OTHER);
		return true;
	case KVM_EXIT_SHUTDOWN:
		end_with(vcpu, MACHINE_TRIPLE_FAULT, "triple fault", 0);
		return false;
	case KVM_EXIT_SYSTEM_EVENT:
		end_with(vcpu,
			 run->system_event.type == KVM_SYSTEM_EVENT_SHUTDOWN ? MACHINE_POWER_OFF
									     : MACHINE_RESET,
			 "system event", run->system_event.type);
		return false;
	case KVM_EXIT_INTERNAL_ERROR:
		end_with(vcpu, MACHINE_KVM_ERROR, "KVM internal error", run->internal.suberror);
		return false;
	case KVM_EXIT_FAIL_ENTRY:
		end_with(vcpu, MACHINE_KVM_ERROR, "KVM cannot enter the guest",
			 run->fail_entry.hardware_entry_failure_reason);
		return false;
	default:
		/* KVM_EXIT_HLT too: with the interrupt controllers in KVM it never comes here. */
		end_with(vcpu, MACHINE_KVM_ERROR, "unexpected KVM exit", run->exit_reason);
		return false;
	}
}

static void mark_first_run(struct vcpu_machine *machine)
{
	if (!atomic_load_explicit(&machine->first_run_ns, memory_order_relaxed))
		machine->first_run_ns = monotonic_ns();
}

/* An access that went to a device is completed by the next KVM_RUN: one that does no more. */
static bool complete_access(struct vcpu *vcpu)
{
	vcpu->run->immediate_exit = 1;
	while (ioctl(vcpu->fd, KVM_RUN, 0) == 0)
		if (!handle_exit(vcpu))
			return false;
	return true;
}

static bool rest(struct vcpu *vcpu)
{
	struct vcpu_machine *machine = vcpu->machine;

	if (!complete_access(vcpu))
		return false;
	pthread_mutex_lock(&machine->rest_lock);
	vcpu->rests = true;
	pthread_cond_broadcast(&machine->rest_changed);
	while (atomic_load(&machine->holding) && !atomic_load(&machine->stopping))
		pthread_cond_wait(&machine->rest_changed, &machine->rest_lock);
	vcpu->rests = false;
	/* Before it is looked whether to rest again: a kick from then on is not lost. */
	vcpu->run->immediate_exit = 0;
	pthread_mutex_unlock(&machine->rest_lock);
	return true;
}

void vcpu_run(struct vcpu *vcpu)
{
	if (vcpu->index == 0)
		mark_first_run(vcpu->machine);
	while (!atomic_load(&vcpu->machine->stopping)) {
		if (atomic_load(&vcpu->machine->holding)) {
			if (!rest(vcpu))
				return;
			continue;
		}
		if (ioctl(vcpu->fd, KVM_RUN, 0) < 0) {
			/* EAGAIN: a vCPU that waits for its start-up interrupt. */
			if (errno == EINTR || errno == EAGAIN) {
				count(vcpu, PROTO_EXIT_SIGNAL);
				continue;
			}
			end_with(vcpu, MACHINE_KVM_ERROR, strerror(errno), (uint64_t)errno);
			return;
		}
		if (!handle_exit(vcpu))
			return;
	}
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *vcpu = arg;
	char name[16];
	sigset_t set;

	vcpu->tid = gettid();
	snprintf(name, sizeof(name), "vcpu%u", vcpu->index);
	pthread_setname_np(pthread_self(), name);
	sigemptyset(&set);
	sigaddset(&set, KICK_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	if (vcpu->machine->thread_begins)
		vcpu->machine->thread_begins(vcpu->machine->ctx);
	vcpu_run(vcpu);
	pthread_mutex_lock(&vcpu->machine->rest_lock);
	vcpu->rests = true;
	pthread_cond_broadcast(&vcpu->machine->rest_changed);
	pthread_mutex_unlock(&vcpu->machine->rest_lock);
	return NULL;
}

int vcpu_start(struct vcpu *vcpu, struct error *err)
{
	int ret;

	vcpu->run->immediate_exit = 0; /* a kick of the last time */
	vcpu->rests = false;
	ret = pthread_create(&vcpu->thread, NULL, vcpu_thread, vcpu);
	if (ret)
		return error_set(err, ret, "start vCPU %u", vcpu->index);
	vcpu->started = true;
	return 0;
}

void vcpu_kick(struct vcpu *vcpu)
{
	if (!vcpu->started)
		return;
	/*
	 * The flag closes the race in which the signal comes between the check of `stopping` and
	 * KVM_RUN: KVM looks at it after the signal could no longer be missed.
	 */
	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	/*
	 * pthread_kill would ask for the process's id each time, one call more in the filter. A
	 * thread that does not run yet sees `stopping` before it enters the guest.
	 */
	if (vcpu->tid)
		syscall(SYS_tgkill, self, vcpu->tid, KICK_SIGNAL);
}

void vcpus_hold(struct vcpu *vcpus, unsigned int count)
{
	struct vcpu_machine *machine = vcpus[0].machine;

	atomic_store(&machine->holding, true);
	for (unsigned int i = 0; i < count; i++)
		vcpu_kick(&vcpus[i]);
	pthread_mutex_lock(&machine->rest_lock);
	for (unsigned int i = 0; i < count; i++)
		while (!vcpus[i].rests)
			pthread_cond_wait(&machine->rest_changed, &machine->rest_lock);
	pthread_mutex_unlock(&machine->rest_lock);
}

void vcpus_release(struct vcpu_machine *machine)
{
	pthread_mutex_lock(&machine->rest_lock);
	atomic_store(&machine->holding, false);
	pthread_cond_broadcast(&machine->rest_changed);
	pthread_mutex_unlock(&machine->rest_lock);
}

void vcpu_join(struct vcpu *vcpu)
{
	if (!vcpu->started)
		return;
	pthread_join(vcpu->thread, NULL);
	vcpu->tid = 0;
	vcpu->started = false;
}
