/* A machine that goes on from a saved one, and how one is saved. */
#include <string.h>

#include "vmm/machine_internal.h"
#include "vmm/snapshot.h"
#include "vmm/vcpu_state.h"

static struct snapshot_machine snapshot_of(struct machine *machine)
{
	return (struct snapshot_machine){
		.kvm = &machine->kvm,
		.memory = &machine->memory,
		.vcpus = machine->vcpus,
		.vcpu_count = machine->vcpu_count,
		.slots = machine->devices.slots,
		.slot_count = machine->devices.slot_count,
		.cpuid_sum = machine->cpuid_sum,
	};
}

int machine_resume(struct machine *machine, struct error *err)
{
	struct snapshot_machine parts = snapshot_of(machine);
	uint64_t to_come = machine_memory_to_come(machine);
	int ret = snapshot_load(&parts, machine->state, err);

	if (ret == 0 && to_come && !machine->config.options->restore)
		ret = device_set_request_memory(&machine->devices, to_come, err);
	if (ret == 0)
		device_set_announce_disks(&machine->devices);
	if (ret == 0)
		vmgenid_changed(&machine->vmgenid);
	return ret;
}

int machine_save_template(struct machine *machine, const struct vmm_template *to, struct error *err)
{
	struct snapshot_machine parts = snapshot_of(machine);
	struct records out = {0};
	int ret = snapshot_save(&parts, &out, err);

	if (ret == 0)
		ret = snapshot_write_template(&parts, &out, to, err);
	records_destroy(&out);
	return ret;
}

/* --- a snapshot --- */

int machine_hold(struct machine *machine, struct error *err)
{
	const struct vmm_options *options = machine->config.options;

	if (options->fs_fd >= 0)
		return error_say(err, ENOTSUP,
				 "files that it shares with the host cannot be "
				 "carried: volumes, bind mounts, an engine's root");
	for (unsigned int i = 0; i < options->disk_count; i++)
		if (!strncmp(options->disks[i].serial, "device", strlen("device")))
			return error_say(err, ENOTSUP,
					 "block devices of the host's cannot be "
					 "carried (linux.devices)");
	vcpus_hold(machine->vcpus, machine->vcpu_count);
	return 0;
}

void machine_hold_devices(struct machine *machine)
{
	for (unsigned int i = 0; i < machine->devices.slot_count; i++)
		virtio_mmio_hold(&machine->devices.slots[i].mmio);
}

int machine_save(struct machine *machine, struct records *out, struct error *err)
{
	struct snapshot_machine parts = snapshot_of(machine);

	return snapshot_save(&parts, out, err);
}

int machine_write(struct machine *machine, struct records *out, const struct vmm_template *to,
		  struct error *err)
{
	struct snapshot_machine parts = snapshot_of(machine);

	return snapshot_write(&parts, out, to, machine->config.options->load.memory_fd, err);
}

void machine_release(struct machine *machine)
{
	for (unsigned int i = 0; i < machine->devices.slot_count; i++)
		virtio_mmio_release(&machine->devices.slots[i].mmio);
	vcpus_release(&machine->vcpu_machine);
}

bool machine_is_idle(const struct machine *machine)
{
	for (unsigned int i = 0; i < machine->vcpu_count; i++)
		if (!vcpu_is_idle(&machine->vcpus[i]))
			return false;
	return true;
}
