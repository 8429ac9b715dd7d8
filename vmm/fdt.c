#include "vmm/fdt.h"

#include <libfdt.h>
#include <stdio.h>

#include "vmm/layout.h"

#define PHANDLE_IOAPIC 1
#define PHANDLE_POWER  2

/* The second cell of an interrupt under the IOAPIC (arch/x86/kernel/devicetree.c). */
#define IRQ_EDGE_RISING 3

/* libfdt's sequential writer remembers the first failure only if we do. */
#define TRY(call)                       \
	do {                            \
		int try_ret = (call);   \
		if (try_ret < 0)        \
			return try_ret; \
	} while (0)

static int put_reg(void *fdt, uint32_t start, uint32_t len)
{
	fdt32_t reg[2] = {cpu_to_fdt32(start), cpu_to_fdt32(len)};

	return fdt_property(fdt, "reg", reg, sizeof(reg));
}

static int put_cpus(void *fdt, unsigned int cpus)
{
	TRY(fdt_begin_node(fdt, "cpus"));
	TRY(fdt_property_u32(fdt, "#address-cells", 1));
	TRY(fdt_property_u32(fdt, "#size-cells", 0));
	for (unsigned int i = 0; i < cpus; i++) {
		char name[16];

		snprintf(name, sizeof(name), "cpu@%x", i);
		TRY(fdt_begin_node(fdt, name));
		TRY(fdt_property_string(fdt, "device_type", "cpu"));
		TRY(fdt_property_u32(fdt, "reg", i));
		TRY(fdt_end_node(fdt));
	}
	return fdt_end_node(fdt);
}

static int put_interrupt_controllers(void *fdt)
{
	TRY(fdt_begin_node(fdt, "lapic@fee00000"));
	TRY(fdt_property_string(fdt, "compatible", "intel,ce4100-lapic"));
	TRY(put_reg(fdt, LAYOUT_LAPIC, 0x1000));
	TRY(fdt_property(fdt, "intel,virtual-wire-mode", NULL, 0));
	TRY(fdt_end_node(fdt));

	TRY(fdt_begin_node(fdt, "ioapic@fec00000"));
	TRY(fdt_property_string(fdt, "compatible", "intel,ce4100-ioapic"));
	TRY(put_reg(fdt, LAYOUT_IOAPIC, 0x1000));
	TRY(fdt_property(fdt, "interrupt-controller", NULL, 0));
	TRY(fdt_property_u32(fdt, "#interrupt-cells", 2));
	TRY(fdt_property_u32(fdt, "#address-cells", 0));
	TRY(fdt_property_u32(fdt, "phandle", PHANDLE_IOAPIC));
	return fdt_end_node(fdt);
}

static int put_virtio(void *fdt, unsigned int slot)
{
	/* The second is ours, and our kernel's (kernel-config/patches): others take the first. */
	fdt32_t interrupts[4] = {
		cpu_to_fdt32(LAYOUT_IRQ_FIRST + slot),
		cpu_to_fdt32(IRQ_EDGE_RISING),
		cpu_to_fdt32(LAYOUT_IRQ_CONFIG),
		cpu_to_fdt32(IRQ_EDGE_RISING),
	};
	uint32_t at = LAYOUT_VIRTIO + slot * LAYOUT_VIRTIO_STEP;
	char name[24];

	snprintf(name, sizeof(name), "virtio@%x", at);
	TRY(fdt_begin_node(fdt, name));
	TRY(fdt_property_string(fdt, "compatible", "virtio,mmio"));
	TRY(put_reg(fdt, at, 0x200));
	TRY(fdt_property(fdt, "interrupts", interrupts, sizeof(interrupts)));
	return fdt_end_node(fdt);
}

static int put_power(void *fdt)
{
	TRY(fdt_begin_node(fdt, "syscon@d0100000"));
	TRY(fdt_property_string(fdt, "compatible", "syscon"));
	TRY(put_reg(fdt, LAYOUT_POWER, 0x1000));
	TRY(fdt_property_u32(fdt, "phandle", PHANDLE_POWER));
	TRY(fdt_end_node(fdt));

	TRY(fdt_begin_node(fdt, "poweroff"));
	TRY(fdt_property_string(fdt, "compatible", "syscon-poweroff"));
	TRY(fdt_property_u32(fdt, "regmap", PHANDLE_POWER));
	TRY(fdt_property_u32(fdt, "offset", 0));
	TRY(fdt_property_u32(fdt, "value", LAYOUT_POWER_OFF_VALUE));
	TRY(fdt_end_node(fdt));

	TRY(fdt_begin_node(fdt, "pvpanic@d0101000"));
	TRY(fdt_property_string(fdt, "compatible", "qemu,pvpanic-mmio"));
	TRY(put_reg(fdt, LAYOUT_PVPANIC, 2));
	return fdt_end_node(fdt);
}

static int put_vmgenid(void *fdt)
{
	fdt32_t interrupts[2] = {cpu_to_fdt32(LAYOUT_IRQ_VMGENID), cpu_to_fdt32(IRQ_EDGE_RISING)};

	TRY(fdt_begin_node(fdt, "rng@d0102000"));
	TRY(fdt_property_string(fdt, "compatible", "microsoft,vmgenid"));
	TRY(put_reg(fdt, LAYOUT_VMGENID, 0x1000));
	TRY(fdt_property(fdt, "interrupts", interrupts, sizeof(interrupts)));
	return fdt_end_node(fdt);
}

static int put_tree(void *fdt, const struct fdt_machine *machine)
{
	TRY(fdt_create(fdt, FDT_SIZE_MAX));
	TRY(fdt_finish_reservemap(fdt));
	TRY(fdt_begin_node(fdt, ""));
	TRY(fdt_property_u32(fdt, "#address-cells", 1));
	TRY(fdt_property_u32(fdt, "#size-cells", 1));
	TRY(fdt_property_u32(fdt, "interrupt-parent", PHANDLE_IOAPIC));
	TRY(fdt_property_string(fdt, "compatible", "bulkhead,vm"));
	TRY(fdt_property_string(fdt, "model", "bulkhead"));
	TRY(put_cpus(fdt, machine->cpus));
	TRY(put_interrupt_controllers(fdt));
	for (unsigned int i = 0; i < machine->virtio_slots; i++)
		TRY(put_virtio(fdt, i));
	TRY(put_power(fdt));
	TRY(put_vmgenid(fdt));
	TRY(fdt_end_node(fdt));
	return fdt_finish(fdt);
}

int fdt_build(void *buf, const struct fdt_machine *machine, struct error *err)
{
	int ret = put_tree(buf, machine);

	if (ret < 0)
		return error_say(err, EINVAL, "device tree: %s", fdt_strerror(ret));
	return (int)fdt_totalsize(buf);
}
