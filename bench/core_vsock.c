/*
 * vsock between a guest that is played by this thread, device and all, and a socket that another
 * thread holds; beside it the same two threads and a socket pair alone.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/core.h"
#include "tests/unit/vsock_guest.h"

#define PORT	    5
#define GUEST_PORT  1000
#define CHUNK	    (64u * 1024)
#define STREAM_LEN  (64u << 20)
#define MESSAGE_LEN 64u
#define MESSAGES    3000u
#define HEADER_LEN  sizeof(struct virtio_vsock_hdr)
#define RX_BUFFERS  32u

static uint8_t chunk[CHUNK];
static atomic_bool taken; /* all of the stream */

static void *take_stream(void *arg)
{
	static uint8_t bytes[CHUNK];
	int fd = *(int *)arg;
	uint64_t got = 0;

	while (got < STREAM_LEN) {
		ssize_t len = read(fd, bytes, sizeof(bytes));

		if (len <= 0)
			core_fail("vsock: the stream ends after %llu bytes",
				  (unsigned long long)got);
		got += (uint64_t)len;
	}
	atomic_store(&taken, true);
	return NULL;
}

static void *give_stream(void *arg)
{
	int fd = *(int *)arg;

	for (uint64_t done = 0; done < STREAM_LEN;) {
		uint64_t left = STREAM_LEN - done;
		ssize_t len = write(fd, chunk, left < CHUNK ? left : CHUNK);

		/* Less than all is no error: the kernel may have had something else to do. */
		if (len <= 0)
			core_fail("vsock: the stream is not taken after %llu bytes",
				  (unsigned long long)done);
		done += (uint64_t)len;
	}
	return NULL;
}

static void *echo(void *arg)
{
	int fd = *(int *)arg;
	char message[MESSAGE_LEN];

	for (unsigned int i = 0; i < MESSAGES; i++)
		if (read(fd, message, sizeof(message)) != sizeof(message) ||
		    write(fd, message, sizeof(message)) != sizeof(message))
			core_fail("vsock: the connection ends early");
	return NULL;
}

static pthread_t start(void *(*fn)(void *arg), int *fd)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, fn, fd))
		core_fail("no thread");
	return thread;
}

/* --- the floor --- */

static double socket_stream(void)
{
	uint64_t begin;
	pthread_t thread;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		core_fail("socketpair");
	begin = core_now();
	thread = start(take_stream, &fds[1]);
	give_stream(&fds[0]);
	pthread_join(thread, NULL);
	begin = core_now() - begin;
	close(fds[0]);
	close(fds[1]);
	return (double)STREAM_LEN * 1e3 / (double)begin;
}

static double socket_round_trip(void)
{
	char message[MESSAGE_LEN] = {0};
	uint64_t begin;
	pthread_t thread;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		core_fail("socketpair");
	thread = start(echo, &fds[1]);
	begin = core_now();
	for (unsigned int i = 0; i < MESSAGES; i++)
		if (write(fds[0], message, sizeof(message)) != sizeof(message) ||
		    read(fds[0], message, sizeof(message)) != sizeof(message))
			core_fail("socketpair");
	begin = core_now() - begin;
	pthread_join(thread, NULL);
	close(fds[0]);
	close(fds[1]);
	return (double)begin / MESSAGES;
}

/* --- the guest --- */

struct guest {
	struct vsock_guest vsock;
	struct driver *driver;
	int fd;				     /* the host's end of the connection */
	uint32_t sent, forwarded, buf_alloc; /* what may be sent: 5.10.6.3 */
	uint32_t received;
	uint32_t rx_len; /* of each receive buffer */
	uint64_t rx[RX_BUFFERS];
	uint16_t heads[RX_BUFFERS];
	uint64_t tx;
};

static void put_header(struct guest *guest, uint16_t op, uint32_t len)
{
	struct virtio_vsock_hdr *header = driver_at(guest->driver, guest->tx);

	*header = (struct virtio_vsock_hdr){
		.src_cid = VSOCK_GUEST_CID,
		.dst_cid = VSOCK_HOST_CID,
		.src_port = GUEST_PORT,
		.dst_port = PORT,
		.len = len,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = op,
		.buf_alloc = 4 * CHUNK,
		.fwd_cnt = guest->received,
	};
}

static void send_packet(struct guest *guest, uint16_t op, uint32_t len)
{
	struct driver_buffer buffer = {guest->tx, (uint32_t)HEADER_LEN + len, false};

	put_header(guest, op, len);
	driver_run(guest->driver, GUEST_TX, driver_submit(guest->driver, GUEST_TX, &buffer, 1));
	guest->sent += len;
}

/* Takes a packet, whose bytes count as read, and has its buffer used again. Returns its op. */
static uint16_t receive_packet(struct guest *guest)
{
	struct vring_used_elem elem = driver_wait(guest->driver, GUEST_RX);
	struct virtio_vsock_hdr *header;
	unsigned int i = 0;

	while (guest->heads[i] != elem.id)
		if (++i == RX_BUFFERS)
			core_fail("vsock: an unknown buffer");
	header = driver_at(guest->driver, guest->rx[i]);
	guest->forwarded = header->fwd_cnt;
	guest->buf_alloc = header->buf_alloc;
	if (header->op == VIRTIO_VSOCK_OP_RW)
		guest->received += header->len;
	driver_offer(guest->driver, GUEST_RX, guest->heads[i]);
	driver_kick(guest->driver, GUEST_RX);
	return header->op;
}

static void guest_init(struct guest *guest, uint32_t rx_payload)
{
	memset(guest, 0, sizeof(*guest));
	vsock_guest_init(&guest->vsock, NULL, -1);
	vsock_guest_start(&guest->vsock);
	guest->driver = &guest->vsock.driver;
	guest->fd = vsock_guest_socket(&guest->vsock, PORT);
	guest->tx = guest->vsock.tx_gpa;
	guest->rx_len = (uint32_t)HEADER_LEN + rx_payload;
	for (unsigned int i = 0; i < RX_BUFFERS; i++) {
		struct driver_buffer buffer = {driver_alloc(guest->driver, guest->rx_len),
					       guest->rx_len, true};

		guest->rx[i] = buffer.gpa;
		guest->heads[i] = driver_submit(guest->driver, GUEST_RX, &buffer, 1);
	}
	driver_kick(guest->driver, GUEST_RX);
	send_packet(guest, VIRTIO_VSOCK_OP_REQUEST, 0);
	if (receive_packet(guest) != VIRTIO_VSOCK_OP_RESPONSE)
		core_fail("vsock: refused");
}

static void guest_destroy(struct guest *guest)
{
	close(guest->fd);
	vsock_guest_destroy(&guest->vsock);
}

static bool all_taken(void *ctx)
{
	(void)ctx;
	return atomic_load(&taken);
}

static double guest_sends(void)
{
	static struct guest guest;
	pthread_t thread;
	uint64_t begin;

	guest_init(&guest, 4096);
	atomic_store(&taken, false);
	begin = core_now();
	thread = start(take_stream, &guest.fd);
	while (guest.sent < STREAM_LEN) {
		while (guest.buf_alloc - (guest.sent - guest.forwarded) < CHUNK)
			receive_packet(&guest);
		send_packet(&guest, VIRTIO_VSOCK_OP_RW, CHUNK);
	}
	/* The last of it may wait for the reader: the loop has to run on. */
	driver_until(guest.driver, all_taken, NULL);
	pthread_join(thread, NULL);
	begin = core_now() - begin;
	guest_destroy(&guest);
	return (double)STREAM_LEN * 1e3 / (double)begin;
}

static double guest_receives(void)
{
	static struct guest guest;
	uint32_t told = 0;
	pthread_t thread;
	uint64_t begin;

	guest_init(&guest, CHUNK);
	begin = core_now();
	thread = start(give_stream, &guest.fd);
	while (guest.received < STREAM_LEN) {
		receive_packet(&guest);
		/* As Linux does it: when what it has said is used up to a part. */
		if (guest.received - told >= CHUNK) {
			send_packet(&guest, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
			told = guest.received;
		}
	}
	pthread_join(thread, NULL);
	begin = core_now() - begin;
	guest_destroy(&guest);
	return (double)STREAM_LEN * 1e3 / (double)begin;
}

static double guest_round_trip(void)
{
	static struct guest guest;
	pthread_t thread;
	uint64_t begin;

	guest_init(&guest, 4096);
	thread = start(echo, &guest.fd);
	begin = core_now();
	for (unsigned int i = 0; i < MESSAGES; i++) {
		uint32_t before = guest.received;

		send_packet(&guest, VIRTIO_VSOCK_OP_RW, MESSAGE_LEN);
		while (guest.received == before)
			receive_packet(&guest);
	}
	begin = core_now() - begin;
	pthread_join(thread, NULL);
	guest_destroy(&guest);
	return (double)begin / MESSAGES;
}

static void vsock_round(void)
{
	core_sample("stream: socket pair", "MB/s", socket_stream());
	core_sample("stream: vsock, from the guest", "MB/s", guest_sends());
	core_sample("stream: vsock, to the guest", "MB/s", guest_receives());
	core_sample("64 bytes to and fro: socket pair", "ns", socket_round_trip());
	core_sample("64 bytes to and fro: vsock", "ns", guest_round_trip());
}

const struct core_area core_vsock = {.name = "vsock", .round = vsock_round};
