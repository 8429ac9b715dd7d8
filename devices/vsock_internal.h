/* What the parts of the vsock device share. Everything here runs under dev.lock. */
#ifndef DEVICES_VSOCK_INTERNAL_H
#define DEVICES_VSOCK_INTERNAL_H

#include <sys/queue.h>

#include "devices/stream_fd.h"
#include "devices/vsock.h"

#include <linux/virtio_vsock.h>

#define VSOCK_BUF_ALLOC	     (128u * 1024) /* bytes the guest may send ahead on a connection */
#define VSOCK_BUCKETS	     64
#define VSOCK_RSTS_MAX	     64 /* RSTs for what is no connection, waiting for an rx buffer */
#define VSOCK_HANDSHAKES_MAX 64 /* hybrid clients that have not said CONNECT yet */
#define VSOCK_PACKETS_ROUND  256
#define VSOCK_HYBRID_PORT    (1u << 30) /* first host port given to hybrid clients */

#define VSOCK_SHUTDOWN_BOTH (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)

enum vsock_queue { VSOCK_RX, VSOCK_TX, VSOCK_EVENT, VSOCK_QUEUES };

enum vsock_connection_state {
	VSOCK_REQUESTED, /* a hybrid client's: the guest has not answered */
	VSOCK_OPEN,
	VSOCK_DETACHED, /* over for the guest; what it sent is still being written out */
	VSOCK_DEAD,	/* descriptors are closed; at most an RST is left to be sent */
};

/* Packets owed to the guest. A set, not a queue: so a connection needs no memory for them. */
enum vsock_owed {
	VSOCK_OWES_REQUEST = 1,
	VSOCK_OWES_RESPONSE = 2,
	VSOCK_OWES_SHUTDOWN = 4,
	VSOCK_OWES_CREDIT = 8,
	VSOCK_ASKS_CREDIT = 16,
	VSOCK_OWES_RST = 32,
};

struct vsock_connection {
	struct vsock *vsock;
	LIST_ENTRY(vsock_connection) bucket;   /* while the guest can name it */
	LIST_ENTRY(vsock_connection) all;      /* until it is freed */
	TAILQ_ENTRY(vsock_connection) pending; /* while it has something for the guest */
	bool is_pending;
	bool in_bucket;
	enum vsock_connection_state state;
	uint32_t guest_port;
	uint32_t host_port;
	bool by_connect; /* accepted by the connect function: closed is to be called */

	struct stream_fd in;
	struct stream_fd out;
	bool shared; /* in and out were the same descriptor: in_watch serves both */
	struct loop_watch in_watch;
	struct loop_watch out_watch;
	bool readable; /* in may have something */

	unsigned int owes;
	uint32_t guest_shutdown; /* flags the guest has sent */
	uint32_t local_shutdown; /* flags we have sent or owe */

	/* Credit, 5.10.6.3. Counters wrap. */
	uint32_t peer_buf_alloc;
	uint32_t peer_fwd_cnt;
	uint32_t sent;	     /* bytes sent to the guest */
	uint32_t fwd_cnt;    /* bytes of the guest that are out of our hands */
	uint32_t fwd_told;   /* fwd_cnt in the last packet sent */
	bool credit_request; /* asked already, no answer yet */

	/* What the guest sent and out did not take yet: a ring of VSOCK_BUF_ALLOC bytes. */
	uint8_t *buffer;
	uint32_t buffer_start;
	uint32_t buffer_len;
};

LIST_HEAD(vsock_bucket, vsock_connection);
TAILQ_HEAD(vsock_pending, vsock_connection);

struct vsock_handshake;
LIST_HEAD(vsock_handshakes, vsock_handshake);

struct vsock_rst {
	uint32_t guest_port;
	uint32_t host_port;
};

struct vsock {
	struct virtio_device dev;
	struct virtio_vsock_config config;
	struct vsock_options options;
	char *hybrid_path;
	struct loop *loop;
	int wake_fd; /* to come back on the loop's own thread */
	struct loop_watch wake_watch;
	int listen_fd;
	struct loop_watch listen_watch;
	bool listen_paused; /* accept failed: tried again after something else has happened */

	struct vsock_bucket buckets[VSOCK_BUCKETS];
	struct vsock_bucket all;
	struct vsock_pending pending;
	unsigned int count; /* connections in all */
	bool graves;	    /* some of them may be free to go */
	struct vsock_handshakes handshakes;
	unsigned int handshake_count;
	uint32_t next_port;

	struct vsock_rst rsts[VSOCK_RSTS_MAX];
	unsigned int rst_start;
	unsigned int rst_count;
	bool tx_waits; /* for room in rsts */

	struct virtqueue_chain chain;
	struct iovec iov[VIRTQUEUE_SEGMENTS_MAX];
};

/* vsock.c */

/* Around everything that the loop calls: leave sends what is owed and frees what is dead. */
void vsock_enter(struct vsock *vsock);
void vsock_leave(struct vsock *vsock);
/* Sends what is owed now; frees nothing. */
void vsock_flush(struct vsock *vsock);
void vsock_wake(struct vsock *vsock);
struct vsock_connection *vsock_find(struct vsock *vsock, uint32_t guest_port, uint32_t host_port);
void vsock_insert(struct vsock *vsock, struct vsock_connection *c);

enum vsock_sent { VSOCK_SENT, VSOCK_NOTHING, VSOCK_NO_BUFFER };

/* Takes an rx buffer into vsock->chain. False: none there; the guest will kick. */
bool vsock_rx_take(struct vsock *vsock);
/* Completes vsock->chain with this header, whose len bytes of payload are in place. */
void vsock_rx_send(struct vsock *vsock, struct virtio_vsock_hdr *header);

/* vsock_stream.c: a connection's descriptors, and what waits to be written to them. */

/* Closes what is read from. Of a shared descriptor only that half, while the other is needed. */
void connection_close_in(struct vsock_connection *c);
void connection_close_out(struct vsock_connection *c);
/* Waits for what the state calls for. Kills the connection when that cannot be done. */
void connection_watch(struct vsock_connection *c);
/* Whether what the host sends is of interest. */
bool connection_wants_in(const struct vsock_connection *c);
/*
 * Keeps len bytes of a packet, at offset in its chain, until they can be written; the caller has
 * checked that there is room. False without memory.
 */
bool connection_buffer_put(struct vsock_connection *c, const struct virtqueue_chain *chain,
			   size_t offset, uint32_t len);
void connection_write_buffered(struct vsock_connection *c);
/* Counts bytes that are out of our hands, and tells the guest now and then. */
void connection_forwarded(struct vsock_connection *c, uint32_t len);
/* Nobody reads what the guest sends: it shall know, and stop. */
void connection_out_failed(struct vsock_connection *c);

/* vsock_connection.c */

/* Takes the descriptors over. NULL when there are too many connections or no memory. */
struct vsock_connection *connection_create(struct vsock *vsock, uint32_t guest_port,
					   uint32_t host_port,
					   const struct vsock_endpoint *endpoint);
void connection_owe(struct vsock_connection *c, unsigned int what);
/* Ends a direction as far as the guest is concerned. */
void connection_owe_shutdown(struct vsock_connection *c, uint32_t flags);
/* It may have something for the guest. */
void connection_set_pending(struct vsock_connection *c);
/* Bytes that the guest can still take. */
uint32_t connection_credit(const struct vsock_connection *c);
/* The guest said something: packet is checked for its length, its payload follows in chain. */
void connection_receive(struct vsock_connection *c, const struct virtio_vsock_hdr *header,
			const struct virtqueue_chain *chain);
/* Sends one packet of what is owed, if there is a buffer for it. */
enum vsock_sent connection_send(struct vsock_connection *c);
/* Brings descriptors, watches and state in line after something changed. */
void connection_settle(struct vsock_connection *c);
/* The guest does not know it any more. Callable from any thread: settle follows on the loop. */
void connection_detach(struct vsock_connection *c);
/* Closes everything; with an RST to the guest, or not. */
void connection_kill(struct vsock_connection *c, bool rst);
void connection_free(struct vsock_connection *c);

/* vsock_state.c */

/* Connections that can be saved. The agent's own, and the streams of its processes. */
#define VSOCK_SAVED_MAX 64

int vsock_save(struct virtio_device *dev, struct records *out, uint32_t number, struct error *err);
int vsock_load(struct virtio_device *dev, const struct records *in, uint32_t number,
	       struct error *err);

/* vsock_hybrid.c */
int hybrid_listen(struct vsock *vsock, int fd, struct error *err);
void hybrid_stop(struct vsock *vsock);
/* Accepts clients again, unless there are too many. */
void hybrid_resume(struct vsock *vsock);
/* Connects to PATH_port. Returns a descriptor or a negative errno. */
int hybrid_connect(struct vsock *vsock, uint32_t port);
/* Tells the client that the guest accepted. False when the client is gone. */
bool hybrid_accepted(struct vsock_connection *c);

#endif
