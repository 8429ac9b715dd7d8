/*
 * The guest's side of a vsock device, by hand: packets in, packets out. Ports of the host are
 * answered by a table of endpoints.
 */
#ifndef TESTS_UNIT_VSOCK_GUEST_H
#define TESTS_UNIT_VSOCK_GUEST_H

#include "devices/vsock.h"
#include "tests/unit/driver.h"

#include <linux/virtio_vsock.h>

#define GUEST_RX	0
#define GUEST_TX	1
#define GUEST_PAYLOAD	4096
#define GUEST_BUF_ALLOC (64u * 1024)
#define GUEST_PORTS	16

struct vsock_guest {
	struct driver driver;
	struct loop loop;
	struct vsock *vsock;
	/* Answers of the connect function for port 0..GUEST_PORTS - 1, each good once. */
	struct {
		bool there;
		struct vsock_endpoint endpoint;
	} ports[GUEST_PORTS];
	bool any_port; /* every other port gets an endpoint without descriptors */
	unsigned int closed[GUEST_PORTS];
	struct {
		uint16_t head;
		uint64_t gpa;
	} rx[64];
	uint64_t tx_gpa;
	/* What every packet says about credit. */
	uint32_t buf_alloc;
	uint32_t fwd_cnt;
};

struct vsock_packet {
	struct virtio_vsock_hdr header;
	uint8_t payload[GUEST_PAYLOAD];
};

/* Without rx buffers. hybrid_path and listen_fd as in vsock_options. */
void vsock_guest_init(struct vsock_guest *guest, const char *hybrid_path, int listen_fd);
void vsock_guest_start(struct vsock_guest *guest);
void vsock_guest_destroy(struct vsock_guest *guest);

/* The device alone; the memory is there already and stays. */
void vsock_guest_open(struct vsock_guest *guest, const char *hybrid_path, int listen_fd);
void vsock_guest_close(struct vsock_guest *guest);

/* Gives the device count rx buffers, at most 64, each used again after it was received. */
void vsock_guest_rx(struct vsock_guest *guest, unsigned int count);

/* Sends a packet and waits until the device has taken it. */
void vsock_guest_send_raw(struct vsock_guest *guest, const void *bytes, uint32_t len);
void vsock_guest_send(struct vsock_guest *guest, uint16_t op, uint32_t guest_port,
		      uint32_t host_port, uint32_t flags, const void *payload, uint32_t len);

/* Whether there is a packet, after the device had every chance to send one. */
bool vsock_guest_poll(struct vsock_guest *guest, struct vsock_packet *packet);
/* Waits for the next packet, checks its invariants. */
struct vsock_packet vsock_guest_receive(struct vsock_guest *guest);
/* The same, and checks what it is. */
struct vsock_packet vsock_guest_expect(struct vsock_guest *guest, uint16_t op, uint32_t guest_port,
				       uint32_t host_port);

/* Opens a connection to a port of the table. */
void vsock_guest_connect(struct vsock_guest *guest, uint32_t guest_port, uint32_t host_port);
/* Makes a port of the table a socket; returns the other end. */
int vsock_guest_socket(struct vsock_guest *guest, uint32_t host_port);

#endif
