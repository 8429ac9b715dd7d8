/*
 * virtio-vsock (virtio 1.2, section 5.10), stream sockets only, in user space. Host ends are file
 * descriptors: what a connection carries is copied between guest buffers and them, with credit
 * both ways (5.10.6.3), so that a reader who is slow holds up only its own connection.
 *
 * Guest to host: a connection to host port P asks the connect function; else, with a hybrid path,
 * the Unix socket PATH_P is connected ("hybrid vsock"). Host to guest: a client of the hybrid
 * listener says "CONNECT <port>\n" and gets "OK <host port>\n" or is closed.
 */
#ifndef DEVICES_VSOCK_H
#define DEVICES_VSOCK_H

#include "common/error.h"
#include "common/loop.h"
#include "devices/virtio.h"

#define VSOCK_HOST_CID	      2
#define VSOCK_GUEST_CID	      3
#define VSOCK_CONNECTIONS_MAX 1024

struct vsock;

/*
 * The host end of a connection. in_fd is read and sent to the guest, out_fd receives what the
 * guest sends; they may be the same descriptor (a socket), or -1 where a direction does not exist:
 * then the guest sees an end of file, or an EPIPE. Pipes, sockets, terminals and plain files are
 * all accepted. The device owns them (an equal pair is closed once) and sets no file flags on
 * them, because O_NONBLOCK is shared with whoever else holds the file: it polls, and reads and
 * writes so that it cannot block (preadv2/pwritev2 RWF_NOWAIT, MSG_DONTWAIT, a regular file, or a
 * poll before bounded I/O).
 * Half-close: end of file on in_fd becomes SHUTDOWN(SEND) to the guest; a write that fails with
 * EPIPE becomes SHUTDOWN(RCV); the guest's SHUTDOWN(SEND) shuts out_fd down or closes it once all
 * is written; its SHUTDOWN(RCV) closes in_fd, so that the writer on the host gets its EPIPE.
 * The process must ignore SIGPIPE. A tty or pipe that others use at the same moment can still make
 * a bounded write wait for them.
 */
struct vsock_endpoint {
	int in_fd;
	int out_fd;
};

/*
 * Asked for every connection of the guest to a host port below. Returns 0 and fills endpoint in,
 * -ENOENT to go on with the hybrid socket, or another negative errno to refuse.
 */
typedef int vsock_connect_fn(void *ctx, uint32_t port, struct vsock_endpoint *endpoint);

/* A connection that connect_fn accepted is over, both ways, and its descriptors are closed. */
typedef void vsock_closed_fn(void *ctx, uint32_t port);

/* What the guest sent on such a connection has to wait for its out_fd, or no longer has to. */
typedef void vsock_buffered_fn(void *ctx, uint32_t port, bool buffered);

struct vsock_options {
	uint64_t guest_cid;
	vsock_connect_fn *connect;   /* optional */
	vsock_closed_fn *closed;     /* optional */
	vsock_buffered_fn *buffered; /* optional; all are called with the device's lock held */
	void *ctx;
	int listen_fd;		 /* hybrid listener, taken over on success, or -1 */
	const char *hybrid_path; /* prefix for guest-to-host connections, or NULL */
	struct loop *loop;	 /* everything runs here; must outlive the device */
};

int vsock_create(struct vsock **out, const struct vsock_options *options,
		 const struct guest_memory *mem, struct error *err);
void vsock_destroy(struct vsock *vsock);
struct virtio_device *vsock_device(struct vsock *vsock);

#endif
