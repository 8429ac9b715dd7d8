/*
 * Both sides of a vsock device at once: packets that the guest makes up, and odd clients on the
 * host with their CONNECT lines, half-closes and hang-ups. The input is a list of steps.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/fuzz/input.h"
#include "tests/unit/vsock_guest.h"

#define STEPS_MAX 100
#define TURNS	  8
#define HOSTS	  8 /* descriptors of the host's side */
#define HEADER	  sizeof(struct virtio_vsock_hdr)

static struct vsock_guest guest;
static int hosts[HOSTS]; /* -1: none */
static unsigned int next_host;
static struct sockaddr_un listener;
static unsigned int armed[GUEST_PORTS]; /* endpoints given out */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	driver_init(&guest.driver);
	return 0;
}

static void turn(void)
{
	driver_turn(&guest.driver, TURNS);
}

static void keep_host(int fd)
{
	int *slot = &hosts[next_host++ % HOSTS];

	if (*slot >= 0)
		close(*slot);
	*slot = fd;
}

static int listener_open(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t len = sizeof(listener);

	/* The kernel chooses an abstract name. */
	driver_check(bind(fd, (struct sockaddr *)&addr, sizeof(sa_family_t)) == 0);
	driver_check(listen(fd, 16) == 0);
	driver_check(getsockname(fd, (struct sockaddr *)&listener, &len) == 0);
	return fd;
}

/* Ports that meet: those of the table, and those given to hybrid clients. */
static uint32_t some_port(struct input *input)
{
	uint8_t byte = input_u8(input);

	if (byte < 0x40)
		return byte % 4;
	if (byte < 0x80)
		return (1u << 30) + byte % 4;
	return byte < 0xf0 ? byte % GUEST_PORTS : input_u32(input);
}

static void guest_sends(struct input *input)
{
	struct virtio_vsock_hdr header = {
		.src_cid = VSOCK_GUEST_CID,
		.dst_cid = VSOCK_HOST_CID,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
	};
	uint8_t odd = input_u8(input);
	uint32_t len;
	struct driver_buffer buffers[2];

	header.op = input_u8(input) % 9;
	header.src_port = some_port(input);
	header.dst_port = some_port(input);
	header.flags = odd & 3;
	header.buf_alloc = odd & 4 ? input_u32(input) : 4096;
	header.fwd_cnt = odd & 8 ? input_u32(input) : 0;
	len = odd & 16 ? input_u16(input) : input_u8(input) % 32;
	header.len = header.op == VIRTIO_VSOCK_OP_RW ? len : 0;
	if (odd & 32)
		header.len = input_u32(input);
	if (odd & 64)
		header.type = input_u8(input);
	if ((odd & 0xc0) == 0xc0)
		header.src_cid = input_u64(input);
	memcpy(driver_at(&guest.driver, guest.tx_gpa), &header, HEADER);
	buffers[0] = (struct driver_buffer){guest.tx_gpa, HEADER, false};
	buffers[1] = (struct driver_buffer){guest.tx_gpa + HEADER, len, false};
	driver_submit(&guest.driver, GUEST_TX, buffers, 2);
	driver_kick(&guest.driver, GUEST_TX);
}

/* A chain with anything in it, for any queue. */
static void guest_offers(struct input *input)
{
	struct driver_buffer buffers[3];
	uint8_t shape = input_u8(input);
	unsigned int count = shape % 3 + 1, queue = (shape >> 2) % 3;

	for (unsigned int i = 0; i < count; i++) {
		uint8_t how = input_u8(input);

		buffers[i].gpa = guest.tx_gpa + input_u16(input);
		buffers[i].len = how & 2 ? input_u16(input) : input_u8(input);
		buffers[i].writable = how & 1;
		if (how == 0xff)
			buffers[i].gpa = input_u64(input);
	}
	driver_submit(&guest.driver, queue, buffers, count);
	driver_kick(&guest.driver, queue);
}

static void guest_receives(struct input *input)
{
	static const uint32_t sizes[] = {4096, 64, HEADER + 1, HEADER + 100, 65536, HEADER, 1, 512};
	uint8_t how = input_u8(input);
	struct driver_buffer buffer = {guest.tx_gpa + 65536, sizes[how & 7], true};
	struct vring_used_elem elem;

	while (driver_collect(&guest.driver, GUEST_RX, &elem))
		driver_check(elem.len >= HEADER);
	for (unsigned int i = 0; i <= how >> 4; i++)
		driver_submit(&guest.driver, GUEST_RX, &buffer, 1);
	driver_kick(&guest.driver, GUEST_RX);
}

static void guest_resets(void)
{
	driver_reset(&guest.driver);
	driver_forget(&guest.driver);
	vsock_guest_start(&guest);
}

/* What a port of the table is connected to next. */
static void host_arms(struct input *input)
{
	uint8_t how = input_u8(input);
	unsigned int port = how % GUEST_PORTS;
	struct vsock_endpoint *endpoint = &guest.ports[port].endpoint;
	int fds[2], little = 4096; /* bytes that fit, so that some have to wait */

	if (guest.ports[port].there)
		return;
	guest.ports[port].there = true;
	*endpoint = (struct vsock_endpoint){-1, -1};
	switch (how >> 4 & 3) {
	case 0:
		keep_host(vsock_guest_socket(&guest, port));
		setsockopt(endpoint->out_fd, SOL_SOCKET, SO_SNDBUF, &little, sizeof(little));
		break;
	case 1:
		driver_check(pipe2(fds, O_CLOEXEC) == 0);
		endpoint->in_fd = fds[0];
		keep_host(fds[1]);
		break;
	case 2:
		driver_check(pipe2(fds, O_CLOEXEC) == 0);
		endpoint->out_fd = fds[1];
		fcntl(fds[1], F_SETPIPE_SZ, little);
		keep_host(fds[0]);
		break;
	default:
		endpoint->in_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		endpoint->out_fd = how & 0x80 ? open("/dev/full", O_WRONLY | O_CLOEXEC)
					      : open("/dev/null", O_WRONLY | O_CLOEXEC);
	}
	armed[port]++;
}

static void host_connects(struct input *input)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	uint8_t how = input_u8(input);
	char line[64] = "CONNECT ";
	size_t len = how & 31;

	if (connect(fd, (struct sockaddr *)&listener, sizeof(sa_family_t) + 6) < 0) {
		close(fd);
		return;
	}
	if (how & 0x80)
		len = 8 + input_take(input, line + 8, len);
	else
		len = input_take(input, line, len);
	driver_check(send(fd, line, len, MSG_NOSIGNAL) == (ssize_t)len);
	keep_host(fd);
}

static void host_acts(struct input *input)
{
	uint8_t how = input_u8(input);
	int *fd = &hosts[how % HOSTS];
	uint8_t bytes[4096] = {0};
	size_t len;

	if (*fd < 0)
		return;
	fcntl(*fd, F_SETFL, O_NONBLOCK);
	switch (how >> 3 & 7) {
	case 0:
	case 1:
		len = input_u8(input) * (how & 0x40 ? 16u : 1u);
		if (write(*fd, bytes, len) < 0)
			return;
		break;
	case 2:
	case 3:
		if (read(*fd, bytes, sizeof(bytes)) < 0)
			return;
		break;
	case 4:
		shutdown(*fd, SHUT_WR);
		break;
	case 5:
		shutdown(*fd, SHUT_RD);
		break;
	case 6:
		shutdown(*fd, SHUT_RDWR);
		break;
	default:
		close(*fd);
		*fd = -1;
	}
}

static void step(struct input *input)
{
	switch (input_u8(input) % 16) {
	case 0 ... 3:
		guest_sends(input);
		break;
	case 4:
	case 5:
		guest_receives(input);
		break;
	case 6:
		host_arms(input);
		break;
	case 7:
	case 8:
		host_connects(input);
		break;
	case 9:
	case 10:
		host_acts(input);
		break;
	case 11:
		guest_offers(input);
		break;
	case 12:
		/* A long way round the descriptors leaves old ones behind; that is fine. */
		if (input_u8(input) % 4 == 0)
			guest_resets();
		break;
	default:
		turn();
	}
}

static int lowest_fd(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	close(fd);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	int free_fd = lowest_fd();

	/* Nothing in the input says which kind of ring it is for. */
	driver_more_features = size & 1 ? 1ull << VIRTIO_F_RING_PACKED : 0;
	memset(armed, 0, sizeof(armed));
	memset(hosts, -1, sizeof(hosts));
	next_host = 0;
	memset(guest.ports, 0, sizeof(guest.ports));
	memset(guest.closed, 0, sizeof(guest.closed));
	vsock_guest_open(&guest, "/nonexistent/vsock", listener_open());
	vsock_guest_start(&guest);
	for (unsigned int i = 0; i < STEPS_MAX && input.left; i++)
		step(&input);
	turn();
	vsock_guest_close(&guest);
	driver_forget(&guest.driver);
	for (unsigned int i = 0; i < HOSTS; i++)
		keep_host(-1);
	/* Every connection was ended exactly once, and no descriptor is left. */
	for (unsigned int i = 0; i < GUEST_PORTS; i++) {
		struct vsock_endpoint *endpoint = &guest.ports[i].endpoint;

		driver_check(guest.closed[i] + guest.ports[i].there == armed[i]);
		if (!guest.ports[i].there)
			continue;
		if (endpoint->in_fd >= 0)
			close(endpoint->in_fd);
		if (endpoint->out_fd >= 0 && endpoint->out_fd != endpoint->in_fd)
			close(endpoint->out_fd);
	}
	driver_check(lowest_fd() == free_fd);
	return 0;
}
