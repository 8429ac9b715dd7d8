/*
 * virtio-net (virtio 1.2, section 5.1). The back end comes and goes while the guest runs: without
 * one the link is down.
 */
#ifndef DEVICES_NET_H
#define DEVICES_NET_H

#include "common/error.h"
#include "devices/io_thread.h"
#include "devices/rate_limit.h"
#include "devices/virtio.h"

#define NET_PAIRS_MAX ((VIRTIO_QUEUES_MAX - 1) / 2)

struct net;

struct net_options {
	const char *name;	  /* for messages; must outlive the device */
	unsigned int index;	  /* of the NIC in its VM: becomes its first address, see net_mac */
	unsigned int pairs;	  /* of queues, 1 to NET_PAIRS_MAX */
	bool plain;		  /* the back end will know no offloads: a stream of frames */
	bool udp_segmentation;	  /* taps of this kernel take UDP segments (Linux 6.2) */
	struct io_thread *thread; /* shared: started and stopped by who has it; NULL: its own */
	void (*thread_begins)(void); /* of its own: io_thread.h */
};

/* Until a net_attach the device is absent (devices/virtio.h). *out is owned. */
int net_create(struct net **out, const struct net_options *options, const struct guest_memory *mem,
	       struct error *err);
void net_destroy(struct net *net);

struct virtio_device *net_device(struct net *net);

/* The loop of its I/O thread: for virtio_mmio_init. */
struct loop *net_loop(struct net *net);

/*
 * Gives the NIC its back end, in place of the one it had; the guest sees the link come up. What
 * the fds are is found out by looking:
 *
 *	a tap's queues, opened with IFF_VNET_HDR; the same of packet sockets
 *	behind a tap's queues as many descriptors of /dev/vhost-net: the host's kernel serves
 *	the NIC's queues where it can
 *	one stream socket: frames behind their length in 4 bytes, big-endian (passt, QEMU)
 *
 * Takes the fds over on success. fd_count 0 takes the link down, and the device is absent
 * for who looks again. From any thread.
 */
int net_attach(struct net *net, const int *fds, unsigned int fd_count, struct error *err);

/*
 * Limits what arrives at the guest and what it sends: bytes in [0], packets in [1] (a large one
 * that a tap hands over in one piece is one). From any thread.
 */
int net_limit(struct net *net, const struct rate rx[2], const struct rate tx[2], struct error *err);

/* A region of its memory has grown. On the thread that attaches. */
int net_memory_grown(struct net *net, struct error *err);

/*
 * The address a NIC has until the driver gives it another: 02:62:6b:00:00:index. The guest's agent
 * knows by it which NIC is which.
 */
void net_mac(unsigned int index, uint8_t mac[6]);

#endif
