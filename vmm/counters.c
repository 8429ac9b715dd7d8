#include "vmm/counters.h"

#include <stdio.h>
#include <string.h>

#include "vmm/layout.h"
#include "vmm/options.h"

_Static_assert(VMM_CPUS_MAX <= PROTO_VCPUS_MAX, "a row for each");
_Static_assert(LAYOUT_VIRTIO_SLOTS *VIRTIO_QUEUES_MAX <= PROTO_QUEUES_MAX, "a row for each");
_Static_assert(VIRTQUEUE_BATCHES == PROTO_BATCHES, "the same classes");

static uint64_t load(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static void collect_queue(const struct virtio_device *dev, unsigned int queue,
			  struct proto_queue_counters *row)
{
	const struct virtqueue *vq = &dev->queues[queue];
	const struct virtqueue_stats *stats = &vq->stats;

	*row = (struct proto_queue_counters){
		.queue = queue,
		.packed = __atomic_load_n(&vq->state.packed, __ATOMIC_RELAXED),
		.requests = load(&stats->requests),
		.bytes_out = load(&stats->bytes_out),
		.bytes_in = load(&stats->bytes_in),
		.kicks = load(&stats->kicks),
		.interrupts = load(&stats->interrupts),
		.suppressed = load(&stats->suppressed),
		.errors = load(&stats->errors),
	};
	snprintf(row->device, sizeof(row->device), "%s", dev->name);
	for (unsigned int i = 0; i < VIRTQUEUE_BATCHES; i++)
		row->batches[i] = load(&stats->batches[i]);
}

void counters_collect(const struct vcpu *vcpus, unsigned int vcpu_count, const struct slot *slots,
		      unsigned int slot_count, struct proto_counters *out)
{
	out->vcpu_count = vcpu_count;
	out->queue_count = 0;
	for (unsigned int i = 0; i < vcpu_count; i++)
		for (unsigned int exit = 0; exit < PROTO_EXITS; exit++)
			out->vcpus[i].exits[exit] = load(&vcpus[i].exits[exit]);
	for (unsigned int i = 0; i < slot_count; i++) {
		const struct virtio_device *dev = slots[i].mmio.dev;

		for (unsigned int queue = 0; !dev->external && queue < dev->queue_count; queue++)
			collect_queue(dev, queue, &out->queues[out->queue_count++]);
	}
}
