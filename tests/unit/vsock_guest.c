#include "tests/unit/vsock_guest.h"

#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#define RX_LEN (sizeof(struct virtio_vsock_hdr) + GUEST_PAYLOAD)

static int connect_port(void *ctx, uint32_t port, struct vsock_endpoint *endpoint)
{
	struct vsock_guest *guest = ctx;

	if (port < GUEST_PORTS && guest->ports[port].there) {
		guest->ports[port].there = false;
		*endpoint = guest->ports[port].endpoint;
		return 0;
	}
	if (!guest->any_port || port < GUEST_PORTS)
		return -ENOENT;
	endpoint->in_fd = endpoint->out_fd = -1;
	return 0;
}

static void closed_port(void *ctx, uint32_t port)
{
	struct vsock_guest *guest = ctx;

	if (port < GUEST_PORTS)
		guest->closed[port]++;
}

void vsock_guest_open(struct vsock_guest *guest, const char *hybrid_path, int listen_fd)
{
	struct vsock_options options = {
		.guest_cid = VSOCK_GUEST_CID,
		.connect = connect_port,
		.closed = closed_port,
		.ctx = guest,
		.listen_fd = listen_fd,
		.hybrid_path = hybrid_path,
		.loop = &guest->loop,
	};

	signal(SIGPIPE, SIG_IGN);
	driver_check(loop_init(&guest->loop) == 0);
	driver_check(vsock_create(&guest->vsock, &options, &guest->driver.mem, NULL) == 0);
	driver_attach(&guest->driver, vsock_device(guest->vsock), &guest->loop, true);
}

void vsock_guest_init(struct vsock_guest *guest, const char *hybrid_path, int listen_fd)
{
	memset(guest, 0, sizeof(*guest));
	driver_init(&guest->driver);
	vsock_guest_open(guest, hybrid_path, listen_fd);
}

void vsock_guest_start(struct vsock_guest *guest)
{
	guest->buf_alloc = GUEST_BUF_ALLOC;
	guest->fwd_cnt = 0;
	driver_start(&guest->driver, DRIVER_FEATURES);
	guest->tx_gpa = driver_alloc(&guest->driver, 256 * 1024);
}

void vsock_guest_close(struct vsock_guest *guest)
{
	driver_detach(&guest->driver);
	vsock_destroy(guest->vsock);
	loop_destroy(&guest->loop);
}

void vsock_guest_destroy(struct vsock_guest *guest)
{
	vsock_guest_close(guest);
	driver_destroy(&guest->driver);
}

void vsock_guest_rx(struct vsock_guest *guest, unsigned int count)
{
	driver_check(count <= 64);
	for (unsigned int i = 0; i < count; i++) {
		struct driver_buffer buffer = {driver_alloc(&guest->driver, RX_LEN), RX_LEN, true};

		guest->rx[i].gpa = buffer.gpa;
		guest->rx[i].head = driver_submit(&guest->driver, GUEST_RX, &buffer, 1);
	}
	driver_kick(&guest->driver, GUEST_RX);
}

void vsock_guest_send_raw(struct vsock_guest *guest, const void *bytes, uint32_t len)
{
	struct driver *driver = &guest->driver;
	/* In two pieces, the second of which holds the end of the header. */
	uint32_t first = len < 30 ? len : 30;
	struct driver_buffer buffers[2] = {{guest->tx_gpa, first, false},
					   {guest->tx_gpa + first, len - first, false}};

	memcpy(driver_at(driver, guest->tx_gpa), bytes, len);
	driver_run(driver, GUEST_TX, driver_submit(driver, GUEST_TX, buffers, 2));
}

void vsock_guest_send(struct vsock_guest *guest, uint16_t op, uint32_t guest_port,
		      uint32_t host_port, uint32_t flags, const void *payload, uint32_t len)
{
	struct virtio_vsock_hdr header = {
		.src_cid = VSOCK_GUEST_CID,
		.dst_cid = VSOCK_HOST_CID,
		.src_port = guest_port,
		.dst_port = host_port,
		.len = len,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = op,
		.flags = flags,
		.buf_alloc = guest->buf_alloc,
		.fwd_cnt = guest->fwd_cnt,
	};
	static uint8_t bytes[200 * 1024];

	driver_check(sizeof(header) + len <= sizeof(bytes));
	memcpy(bytes, &header, sizeof(header));
	if (len)
		memcpy(bytes + sizeof(header), payload, len);
	vsock_guest_send_raw(guest, bytes, (uint32_t)sizeof(header) + len);
}

static void take(struct vsock_guest *guest, const struct vring_used_elem *elem,
		 struct vsock_packet *packet)
{
	struct driver *driver = &guest->driver;
	unsigned int i = 0;
	uint8_t *bytes;

	while (guest->rx[i].head != elem->id)
		driver_check(++i < 64);
	bytes = driver_at(driver, guest->rx[i].gpa);
	memcpy(&packet->header, bytes, sizeof(packet->header));
	memcpy(packet->payload, bytes + sizeof(packet->header), GUEST_PAYLOAD);
	driver_check(elem->len == sizeof(packet->header) + packet->header.len);
	driver_check(packet->header.src_cid == VSOCK_HOST_CID);
	driver_check(packet->header.dst_cid == VSOCK_GUEST_CID);
	driver_check(packet->header.type == VIRTIO_VSOCK_TYPE_STREAM);
	memset(bytes, 0, RX_LEN);
	driver_offer(driver, GUEST_RX, guest->rx[i].head);
	driver_kick(driver, GUEST_RX);
}

bool vsock_guest_poll(struct vsock_guest *guest, struct vsock_packet *packet)
{
	struct vring_used_elem elem;

	driver_idle(&guest->driver);
	if (!driver_collect(&guest->driver, GUEST_RX, &elem))
		return false;
	take(guest, &elem, packet);
	return true;
}

struct vsock_packet vsock_guest_receive(struct vsock_guest *guest)
{
	struct vring_used_elem elem = driver_wait(&guest->driver, GUEST_RX);
	struct vsock_packet packet;

	take(guest, &elem, &packet);
	return packet;
}

struct vsock_packet vsock_guest_expect(struct vsock_guest *guest, uint16_t op, uint32_t guest_port,
				       uint32_t host_port)
{
	struct vsock_packet packet = vsock_guest_receive(guest);

	driver_check(packet.header.op == op);
	driver_check(packet.header.dst_port == guest_port);
	driver_check(packet.header.src_port == host_port);
	return packet;
}

void vsock_guest_connect(struct vsock_guest *guest, uint32_t guest_port, uint32_t host_port)
{
	struct vsock_packet packet;

	vsock_guest_send(guest, VIRTIO_VSOCK_OP_REQUEST, guest_port, host_port, 0, NULL, 0);
	packet = vsock_guest_expect(guest, VIRTIO_VSOCK_OP_RESPONSE, guest_port, host_port);
	driver_check(packet.header.buf_alloc == 128 * 1024);
}

int vsock_guest_socket(struct vsock_guest *guest, uint32_t host_port)
{
	int fds[2];

	driver_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	guest->ports[host_port].there = true;
	guest->ports[host_port].endpoint = (struct vsock_endpoint){fds[0], fds[0]};
	return fds[1];
}
