#include "vmm/snapshot.h"

#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/state_tags.h"
#include "vmm/vcpu_state.h"

#define IRQCHIPS 3 /* two PICs, of which nothing comes, and the IOAPIC */

/* What has to be the same when it goes on. No padding: it is compared and written as bytes. */
struct shape {
	uint64_t memory_size;
	uint64_t cpuid_sum;
	uint32_t vcpu_count;
	uint32_t slot_count;
	uint32_t tsc_khz;
	uint32_t reserved;
};

/* The memory's file. Nobody but its writer can set the time of the last change. */
struct memory_file {
	uint64_t device;
	uint64_t inode;
	uint64_t size;
	int64_t modified_ns;
	int64_t changed_ns;
};

static int64_t in_ns(const struct timespec *time)
{
	return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

static int identify(int fd, struct memory_file *file, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return error_set(err, errno, "stat the template's memory");
	if (!S_ISREG(st.st_mode))
		return error_say(err, EINVAL, "the template's memory is not a regular file");
	*file = (struct memory_file){
		.device = st.st_dev,
		.inode = st.st_ino,
		.size = (uint64_t)st.st_size,
		.modified_ns = in_ns(&st.st_mtim),
		.changed_ns = in_ns(&st.st_ctim),
	};
	return 0;
}

static struct shape shape_of(const struct snapshot_machine *machine)
{
	int khz = ioctl(machine->vcpus[0].fd, KVM_GET_TSC_KHZ, 0);

	return (struct shape){
		.memory_size = machine->memory->size,
		.cpuid_sum = machine->cpuid_sum,
		.vcpu_count = machine->vcpu_count,
		.slot_count = machine->slot_count,
		.tsc_khz = khz > 0 ? (uint32_t)khz : 0,
	};
}

/* --- saving --- */

static int save_clock(const struct kvm *kvm, struct records *out, struct error *err)
{
	struct kvm_clock_data clock = {0};
	uint64_t ns;

	if (ioctl(kvm->vm_fd, KVM_GET_CLOCK, &clock) < 0)
		return error_set(err, errno, "KVM: get clock");
	ns = clock.clock;
	records_put(out, STATE_CLOCK, 0, &ns, sizeof(ns));
	return 0;
}

static int save_irqchips(const struct kvm *kvm, struct records *out, struct error *err)
{
	for (uint32_t i = 0; i < IRQCHIPS; i++) {
		struct kvm_irqchip chip = {.chip_id = i};

		if (ioctl(kvm->vm_fd, KVM_GET_IRQCHIP, &chip) < 0)
			return error_set(err, errno, "KVM: get interrupt controller %u", i);
		records_put(out, STATE_IRQCHIP, i, &chip, sizeof(chip));
	}
	return 0;
}

int snapshot_save(const struct snapshot_machine *machine, int state_fd, int memory_fd,
		  struct error *err)
{
	struct shape shape = shape_of(machine);
	struct records out = {0};
	struct memory_file file;
	int ret = 0;

	records_put(&out, STATE_SHAPE, 0, &shape, sizeof(shape));
	for (unsigned int i = 0; ret == 0 && i < machine->vcpu_count; i++)
		ret = vcpu_save(&machine->vcpus[i], machine->kvm, &out, err);
	if (ret == 0)
		ret = save_clock(machine->kvm, &out, err);
	if (ret == 0)
		ret = save_irqchips(machine->kvm, &out, err);
	for (unsigned int i = 0; ret == 0 && i < machine->slot_count; i++)
		ret = virtio_mmio_save(&machine->slots[i].mmio, &out, i, err);
	if (ret == 0)
		ret = vm_memory_save(machine->memory, memory_fd, err);
	/* Delayed allocation would change its times later. */
	if (ret == 0 && fsync(memory_fd) < 0)
		ret = error_set(err, errno, "write guest memory");
	if (ret == 0)
		ret = identify(memory_fd, &file, err);
	if (ret == 0) {
		records_put(&out, STATE_MEMORY_FILE, 0, &file, sizeof(file));
		ret = records_write(&out, STATE_VERSION, state_fd, err);
	}
	records_destroy(&out);
	return ret;
}

/* --- loading --- */

int snapshot_open(struct records *state, int state_fd, int memory_fd, uint64_t memory_size,
		  struct error *err)
{
	struct memory_file file, expected;
	int ret = records_read(state, STATE_VERSION, state_fd, err);

	if (ret < 0)
		return ret;
	ret = identify(memory_fd, &file, err);
	if (ret == 0 && records_get(state, STATE_MEMORY_FILE, 0, &expected, sizeof(expected)) < 0)
		ret = error_say(err, EPROTO, "the state makes no sense");
	if (ret == 0 && memcmp(&file, &expected, sizeof(file)) != 0)
		ret = error_say(err, ESTALE, "the memory was altered since it was saved");
	if (ret == 0 && file.size != memory_size)
		ret = error_say(err, ESTALE, "the memory is of another size");
	if (ret < 0)
		records_destroy(state);
	return ret;
}

static int check_shape(const struct snapshot_machine *machine, const struct records *state,
		       struct error *err)
{
	struct shape here = shape_of(machine), saved;
	int ret = records_get(state, STATE_SHAPE, 0, &saved, sizeof(saved));

	if (ret < 0)
		return error_say(err, EPROTO, "the state makes no sense");
	if (saved.cpuid_sum != here.cpuid_sum || saved.tsc_khz != here.tsc_khz)
		return error_say(err, ESTALE, "it was saved on another CPU");
	if (memcmp(&here, &saved, sizeof(here)) != 0)
		return error_say(err, ESTALE, "it has another shape");
	return 0;
}

static int load_irqchips(const struct kvm *kvm, const struct records *state, struct error *err)
{
	for (uint32_t i = 0; i < IRQCHIPS; i++) {
		struct kvm_irqchip chip;

		if (records_get(state, STATE_IRQCHIP, i, &chip, sizeof(chip)) < 0 ||
		    chip.chip_id != i)
			return error_say(err, EPROTO, "the state has no interrupt controller %u",
					 i);
		if (ioctl(kvm->vm_fd, KVM_SET_IRQCHIP, &chip) < 0)
			return error_set(err, errno, "KVM: set interrupt controller %u", i);
	}
	return 0;
}

/* The guest's clock goes on from where it was: it does not see the time between. */
static int load_clock(const struct kvm *kvm, const struct records *state, struct error *err)
{
	struct kvm_clock_data clock = {0};
	uint64_t ns;

	if (records_get(state, STATE_CLOCK, 0, &ns, sizeof(ns)) < 0)
		return error_say(err, EPROTO, "the state has no clock");
	clock.clock = ns;
	if (ioctl(kvm->vm_fd, KVM_SET_CLOCK, &clock) < 0)
		return error_set(err, errno, "KVM: set clock");
	return 0;
}

int snapshot_load(const struct snapshot_machine *machine, const struct records *state,
		  struct error *err)
{
	int ret = check_shape(machine, state, err);

	if (ret == 0)
		ret = load_irqchips(machine->kvm, state, err);
	if (ret == 0)
		ret = load_clock(machine->kvm, state, err);
	for (unsigned int i = 0; ret == 0 && i < machine->vcpu_count; i++)
		ret = vcpu_load(&machine->vcpus[i], machine->kvm, state, err);
	/* Last: from here on interrupts can be raised. */
	for (unsigned int i = 0; ret == 0 && i < machine->slot_count; i++)
		ret = virtio_mmio_load(&machine->slots[i].mmio, state, i, err);
	return ret;
}
