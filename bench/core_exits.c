/*
 * What an exit to user space costs: the guest's instruction, KVM, and back into the guest. The
 * floor is KVM_RUN with nothing around it, on the same machine with the same guest.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "bench/core.h"
#include "tests/payload/payload.h"
#include "vmm/layout.h"

PAYLOAD_IMAGE(exits);

#define EXITS 4000u

static const char *const kinds[] = {
	[EXITS_PORT_WRITE] = "port write",
	[EXITS_PORT_READ] = "port read",
	[EXITS_MMIO_WRITE] = "MMIO write",
	[EXITS_MMIO_READ] = "MMIO read",
};

static double last_port_exit;

double core_port_exit(void)
{
	return last_port_exit;
}

static uint64_t nothing_read(void *ctx, uint64_t offset, unsigned int len)
{
	(void)ctx;
	(void)offset;
	(void)len;
	return 0;
}

static void nothing_written(void *ctx, uint64_t offset, uint64_t value, unsigned int len)
{
	(void)ctx;
	(void)offset;
	(void)value;
	(void)len;
}

/* The guest's last access is to switch the power off. */
static bool is_the_last(const struct kvm_run *run)
{
	return run->exit_reason == KVM_EXIT_MMIO && run->mmio.phys_addr == LAYOUT_POWER;
}

static void run_bare(struct payload *payload)
{
	struct kvm_run *run = payload->vcpu.run;

	do
		if (ioctl(payload->vcpu.fd, KVM_RUN, 0) < 0 && errno != EINTR)
			core_fail("KVM_RUN: %s", strerror(errno));
	while (!is_the_last(run));
}

/* As many neighbours on the bus as a machine has: finding the right one is part of the price. */
static void add_devices(struct payload *payload)
{
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < LAYOUT_VIRTIO_SLOTS; i++)
		ret = bus_add(&payload->mmio, LAYOUT_VIRTIO + i * LAYOUT_VIRTIO_STEP, 0x200,
			      nothing_read, nothing_written, NULL);
	if (ret == 0)
		ret = bus_add(&payload->ports, PAYLOAD_PORTS, PAYLOAD_PORTS_LEN, nothing_read,
			      nothing_written, NULL);
	if (ret < 0)
		core_fail("no place on the bus");
}

static double measure(enum payload_exits_case kind, bool bare)
{
	struct payload payload;
	uint64_t start, ns;

	payload_init(&payload, &exits_image, PAYLOAD_USER);
	add_devices(&payload);
	payload.mailbox->arg = kind;
	payload.mailbox->values[0] = EXITS;
	start = core_cpu_time();
	if (bare)
		run_bare(&payload);
	else
		vcpu_run(&payload.vcpu);
	ns = core_cpu_time() - start;
	if (payload.mailbox->values[0])
		core_fail("the guest has not done its work");
	payload_destroy(&payload);
	return (double)ns / EXITS;
}

static void exits_round(void)
{
	for (unsigned int kind = 0; kind < EXITS_CASES; kind++) {
		double floor = measure(kind, true), ours = measure(kind, false);
		char name[64];

		snprintf(name, sizeof(name), "%s: KVM_RUN alone", kinds[kind]);
		core_sample(name, "ns/exit", floor);
		snprintf(name, sizeof(name), "%s: bulkhead", kinds[kind]);
		core_sample(name, "ns/exit", ours);
		if (kind == EXITS_PORT_WRITE)
			last_port_exit = ours;
	}
}

const struct core_area core_exits = {.name = "exits", .needs_kvm = true, .round = exits_round};
