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
	uint64_t memory_room; /* for more */
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
		return error_set(err, errno, "stat the saved memory");
	if (!S_ISREG(st.st_mode))
		return error_say(err, EINVAL, "the saved memory is not a regular file");
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
		.memory_room = machine->memory->more ? machine->memory->more->room : 0,
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

int snapshot_save(const struct snapshot_machine *machine, struct records *out, struct error *err)
{
	struct shape shape = shape_of(machine);
	int ret = 0;

	records_put(out, STATE_SHAPE, 0, &shape, sizeof(shape));
	for (unsigned int i = 0; ret == 0 && i < machine->vcpu_count; i++)
		ret = vcpu_save(&machine->vcpus[i], machine->kvm, out, err);
	if (ret == 0)
		ret = save_clock(machine->kvm, out, err);
	if (ret == 0)
		ret = save_irqchips(machine->kvm, out, err);
	for (unsigned int i = 0; ret == 0 && i < machine->slot_count; i++)
		ret = virtio_mmio_save(&machine->slots[i].mmio, out, i, err);
	return ret;
}

int snapshot_write_template(const struct snapshot_machine *machine, struct records *out,
			    const struct vmm_template *to, struct error *err)
{
	struct memory_file file;
	uint64_t sum;
	int ret;

	if (ftruncate(to->memory_fd, (off_t)machine->memory->size) < 0)
		return error_set(err, errno, "guest memory: %llu MiB",
				 (unsigned long long)machine->memory->size >> 20);
	ret = vm_memory_save(machine->memory, to->memory_fd, -1, -1, &sum, err);
	if (ret < 0)
		return ret;
	vm_memory_gather(to->memory_fd, machine->memory->size);
	/* Delayed allocation would change its times later. */
	if (fsync(to->memory_fd) < 0)
		ret = error_set(err, errno, "write guest memory");
	if (ret == 0)
		ret = identify(to->memory_fd, &file, err);
	if (ret < 0)
		return ret;
	records_put(out, STATE_MEMORY_FILE, 0, &file, sizeof(file));
	return records_write(out, STATE_VERSION, to->state_fd, err);
}

int snapshot_write(const struct snapshot_machine *machine, struct records *out,
		   const struct vmm_template *to, int origin_fd, struct error *err)
{
	uint64_t sum;
	int ret = vm_memory_save(machine->memory, to->memory_fd, origin_fd, to->pages_fd, &sum,
				 err);

	if (ret < 0)
		return ret;
	records_put(out, STATE_MEMORY_SUM, 0, &sum, sizeof(sum));
	return records_write(out, STATE_VERSION, to->state_fd, err);
}

/* --- loading --- */

static int check_file(const struct records *state, const struct memory_file *file,
		      struct error *err)
{
	struct memory_file expected;

	if (records_get(state, STATE_MEMORY_FILE, 0, &expected, sizeof(expected)) < 0)
		return error_say(err, EPROTO, "the state makes no sense");
	if (memcmp(file, &expected, sizeof(expected)) != 0)
		return error_say(err, ESTALE, "the memory was altered since it was saved");
	return 0;
}

static int open_both(struct records *state, const struct vmm_template *from, bool template,
		     struct error *err)
{
	struct memory_file file;
	int ret = records_read(state, STATE_VERSION, from->state_fd, err);

	if (ret < 0)
		return ret;
	ret = identify(from->memory_fd, &file, err);
	if (ret == 0 && template)
		ret = check_file(state, &file, err);
	if (ret == 0 && file.size != ((uint64_t)from->boot_mib + from->grown_mib) << 20)
		ret = error_say(err, ESTALE, "the memory is of another size");
	if (ret < 0)
		records_destroy(state);
	return ret;
}

int snapshot_open_template(struct records *state, const struct vmm_template *from,
			   struct error *err)
{
	return open_both(state, from, true, err);
}

int snapshot_open(struct records *state, const struct vmm_template *from, struct error *err)
{
	return open_both(state, from, false, err);
}

int snapshot_check_memory(const struct records *state, uint64_t sum, struct error *err)
{
	uint64_t expected;

	if (records_get(state, STATE_MEMORY_SUM, 0, &expected, sizeof(expected)) < 0)
		return error_say(err, EPROTO, "the state makes no sense");
	return sum == expected ? 0 : error_say(err, ESTALE, "the memory was altered");
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
