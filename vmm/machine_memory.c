/* How much memory a machine has, and where from: new, a template's, a snapshot's. */
#include "vmm/machine_internal.h"
#include "vmm/snapshot.h"

/* In bytes. */
struct memory_sizes {
	uint64_t boot;	/* what it boots with, or what was saved had booted with */
	uint64_t room;	/* for more */
	uint64_t grown; /* how far there is something in it when the guest goes on */
};

static struct memory_sizes memory_sizes(const struct machine *machine)
{
	const struct vmm_options *options = machine->config.options;
	const struct vmm_template *load = &options->load;
	unsigned long room_mib = load->room_mib, more_mib = options->memory_mib - load->boot_mib;
	struct memory_sizes sizes = {.boot = (uint64_t)options->memory_mib << 20};

	if (machine->state) {
		sizes.boot = (uint64_t)load->boot_mib << 20;
		sizes.grown = memory_more_steps(
			(uint64_t)(options->restore ? load->grown_mib : more_mib) << 20);
	} else {
		room_mib = options->memory_max_mib > options->memory_mib
				   ? options->memory_max_mib - options->memory_mib
				   : 0;
	}
	sizes.room = (uint64_t)room_mib << 20;
	sizes.room -= sizes.room % MEMORY_MORE_STEP;
	return sizes;
}

static int make_boot_memory(struct machine *machine, uint64_t size, uint64_t *sum,
			    struct error *err)
{
	const struct vmm_options *options = machine->config.options;
	struct vm_memory *memory = &machine->memory;

	if (machine->state && (options->restore || options->fs_fd >= 0))
		return vm_memory_copy(memory, size, options->load.memory_fd, sum, err);
	if (machine->state)
		return vm_memory_clone(memory, size, options->load.memory_fd,
				       options->load.pages_fd, err);
	return vm_memory_create(memory, size, err);
}

/* KVM knows what there is at boot; more, where there is some already, comes as it always does. */
int machine_make_memory(struct machine *machine, struct error *err)
{
	const struct vmm_options *options = machine->config.options;
	struct memory_sizes sizes = memory_sizes(machine);
	uint64_t sum = 0;
	int ret = make_boot_memory(machine, sizes.boot, &sum, err);

	if (ret == 0 && sizes.room)
		ret = vm_memory_reserve(&machine->memory, sizes.room, err);
	if (ret == 0)
		ret = vm_memory_attach(&machine->memory, &machine->kvm, err);
	if (ret == 0 && sizes.grown)
		ret = vm_memory_grow(&machine->memory, &machine->kvm, sizes.grown, err);
	if (ret < 0 || !machine->state || !options->restore)
		return ret;
	ret = vm_memory_copy_more(&machine->memory, options->load.memory_fd, &sum, err);
	return ret < 0 ? ret : snapshot_check_memory(machine->state, sum, err);
}

uint64_t machine_memory_to_come(const struct machine *machine)
{
	uint64_t size = (uint64_t)machine->config.options->memory_mib << 20;

	return size > machine->memory.size ? size - machine->memory.size : 0;
}

void machine_memory(struct machine *machine, struct machine_memory *memory)
{
	const struct vm_memory *mem = &machine->memory;

	memory->boot = mem->size;
	memory->room = mem->more ? mem->more->room : 0;
	memory->grown = mem->more ? guest_region_len(mem->more) : 0;
	device_set_memory(&machine->devices, &memory->requested, &memory->plugged);
}
