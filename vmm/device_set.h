/*
 * The devices of a machine: made as the options say, each plugged into a slot, and given back ends
 * while the guest runs.
 */
#ifndef VMM_DEVICE_SET_H
#define VMM_DEVICE_SET_H

#include "common/error.h"
#include "common/loop.h"
#include "devices/io_thread.h"
#include "devices/vsock.h"
#include "protocol/protocol.h"
#include "vmm/console_ring.h"
#include "vmm/daemon_log.h"
#include "vmm/layout.h"
#include "vmm/memory.h"
#include "vmm/options.h"
#include "vmm/slot.h"

/* What they are made from and plugged into; all of it outlives the set. */
struct device_set_config {
	const struct vmm_options *options;
	struct slot_host host;
	struct vm_memory *memory;
	struct loop *loop; /* for devices without a thread of their own */
	bool confined;	   /* threads of devices enter their filter */
	struct console_ring *console;
	vsock_connect_fn *connect;
	vsock_closed_fn *closed;
	vsock_buffered_fn *buffered;
	void *vsock_ctx;
};

struct device_set {
	struct device_set_config config;
	struct console *console;
	struct rng *rng;
	struct balloon *balloon;
	struct mem *mem; /* NULL: no memory can come */
	struct vsock *vsock;
	struct fs *fs; /* NULL: nothing is shared */
	struct daemon_log fs_log;
	struct io_thread io_thread; /* that disks and NICs share; no name: each has its own */
	struct blk *disks[VMM_DISKS_MAX];
	char disk_names[VMM_DISKS_MAX][8];
	struct net *nics[VMM_NICS_MAX];
	char nic_names[VMM_NICS_MAX][8];
	struct slot slots[LAYOUT_VIRTIO_SLOTS];
	unsigned int slot_count;
};

/* An empty set: to unplug it does nothing. */
void device_set_init(struct device_set *set);

/*
 * Always in the same order, which is their place for the guest and in a template. set must stay
 * where it is. The descriptors of the options stay the caller's. After a failure too it is
 * unplugged.
 */
int device_set_plug(struct device_set *set, const struct device_set_config *config,
		    struct error *err);

/* The vCPUs stand still. */
void device_set_unplug(struct device_set *set);

/* Gone on from a template, whose drives were empty: the guest looks at its disks again. */
void device_set_announce_disks(struct device_set *set);

/* Has the guest take so many bytes beyond what it booted with (devices/mem.h). */
int device_set_request_memory(struct device_set *set, uint64_t size, struct error *err);

/* machine_memory. */
void device_set_memory(struct device_set *set, uint64_t *requested, uint64_t *plugged);

/* machine_attach. */
int device_set_attach(struct device_set *set, const struct proto_attach *what,
		      const void *parameters, size_t len, const struct proto_frame *frame,
		      struct error *err);

#endif
