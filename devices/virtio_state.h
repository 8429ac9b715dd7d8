/*
 * The records of devices in a saved machine. Each carries the number of its slot. What every device
 * has, the transport's registers and the queues, is saved by virtio_mmio_save; a device that has
 * more adds records by its save and load (devices/virtio.h), with a tag from here.
 */
#ifndef DEVICES_VIRTIO_STATE_H
#define DEVICES_VIRTIO_STATE_H

enum virtio_state_tag {
	VIRTIO_STATE_TRANSPORT = 256,
	VIRTIO_STATE_VSOCK,
	VIRTIO_STATE_NET,
	VIRTIO_STATE_MEM,
	VIRTIO_STATE_MEM_BLOCKS,
};

#endif
