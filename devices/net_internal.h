/* What the parts of the net device share. Everything here runs under dev.lock. */
#ifndef DEVICES_NET_INTERNAL_H
#define DEVICES_NET_INTERNAL_H

#include "devices/net.h"
#include "devices/pace.h"
#include "devices/rate_gate.h"
#include "devices/write_ring.h"

#include <linux/virtio_net.h>

/* Names from newer headers than Debian 12's (virtio 1.3, 5.1.3). */
#define NET_F_GUEST_USO4 54
#define NET_F_GUEST_USO6 55
#define NET_F_HOST_USO	 56

#define NET_QUEUE_SIZE 256
#define NET_HEADER_LEN 12u /* 5.1.6: struct virtio_net_hdr with num_buffers */
/* The largest packet: 64 KiB of IP behind an Ethernet header with a VLAN tag. */
#define NET_FRAME_MAX  (65535u + 18u)
#define NET_PACKET_MAX (NET_HEADER_LEN + NET_FRAME_MAX)
#define NET_FRAME_MIN  14u
/* Packets a call: then others on this loop, and a vCPU that waits for the lock, have their turn. */
#define NET_BUDGET 64
/* Receive buffers taken ahead: so many segments at most. */
#define NET_RX_SEGMENTS (2 * VIRTQUEUE_SEGMENTS_MAX)

struct net_buffer {
	struct virtqueue_head head;
	uint16_t segments;
	uint32_t len; /* bytes */
};

struct net_pair {
	struct net *net;
	unsigned int index;
	int fd; /* of the back end; -1: none for this pair */
	struct loop_watch watch;

	/*
	 * Receive buffers taken from the ring and not filled yet, oldest first, all their segments
	 * in a row: a packet is read straight into them. They begin at first_buffer and
	 * first_segment, and move to the front only when there is no place behind them.
	 */
	struct net_buffer buffers[NET_QUEUE_SIZE];
	unsigned int first_buffer, buffer_count;
	struct iovec segments[NET_RX_SEGMENTS];
	unsigned int first_segment, segment_count;
	size_t room; /* bytes */

	/* A packet for which there are not yet enough buffers. */
	uint8_t *spill;
	size_t spill_len;

	bool rx_starved; /* waits for buffers: the back end is not read */
	bool rx_limited; /* the rate limit is used up */
	bool tx_blocked; /* the back end takes no more for now */
	bool vhost;	 /* vhost-net serves its queues */
	struct virtqueue_chain chain;
};

/* Segments of all packets in a burst. */
#define NET_BURST_SEGMENTS (2 * VIRTQUEUE_SEGMENTS_MAX)

/* Packets that were taken from a queue to be sent together, in their order. */
struct net_burst {
	struct net_packet {
		struct virtqueue_head head;
		struct iovec *iov; /* in segments */
		unsigned int count;
		size_t len; /* bytes */
	} packets[WRITE_RING_MAX];
	unsigned int count;
	struct iovec segments[NET_BURST_SEGMENTS];
	unsigned int segment_count;
};

struct net_stream; /* net_stream.c */
struct net_vhost;  /* net_vhost.c */

struct net {
	struct virtio_device dev;
	struct virtio_net_config config;
	unsigned int index;    /* of the NIC in its VM */
	uint64_t own_features; /* offered where the queues are served here */
	struct io_thread *thread, own_thread;
	struct loop_poll poll;
	struct pace pace;

	struct net_pair pairs[NET_PAIRS_MAX];
	unsigned int pair_count;
	unsigned int used_pairs; /* by the driver: VIRTIO_NET_CTRL_MQ */
	unsigned int fd_count;	 /* of the back end */
	bool tap;
	struct net_stream *stream; /* the back end is one; or NULL */
	struct net_vhost *vhost;   /* comes with a tap; or NULL */
	bool vhost_failed;     /* so it rests until the driver starts anew, or another tap comes */
	int call_fd, error_fd; /* what it says */
	struct loop_watch call_watch, error_watch;
	pthread_cond_t vhost_stopped;
	bool had_link;
	struct rate_gate rx_gate;
	struct rate_gate tx_gate;
	struct net_burst burst; /* empty but within net_tx */

	/* Handed over by net_attach, installed by the I/O thread. */
	int next_fds[NET_PAIRS_MAX];
	unsigned int next_count;
	struct net_vhost *next_vhost;
	bool next;
	int wake_fd;
	struct loop_watch wake_watch;
	bool stale; /* the back end has to be told what the driver negotiated */
};

static inline unsigned int net_rx_queue(const struct net_pair *pair)
{
	return 2 * pair->index;
}

static inline unsigned int net_tx_queue(const struct net_pair *pair)
{
	return 2 * pair->index + 1;
}

static inline bool net_offers(const struct net *net, unsigned int feature)
{
	return net->dev.negotiated & 1ull << feature;
}

/* net.c, on the I/O thread: on a single CPU, so many packets were found by one wake-up. */
void net_woken(struct net *net, enum pace_way way, unsigned int count, uint64_t bytes);

/* net_back_end.c: what is behind it. Its I/O thread's, or anybody's when that does not run. */

/* Looks from now on at what net_wake says. Before the loop runs. Returns 0 or a negative errno. */
int net_back_end_watch(struct net *net);
/* Has the back end follow what the driver negotiated. */
void net_settle(struct net *net);
void net_back_end_close(struct net *net);
/* The back end has gone by itself. */
void net_link_lost(struct net *net, const char *why);
/* Sets what this pair's back end is watched for. */
void net_pair_watch(struct net_pair *pair);
/* Has the I/O thread look again at what the driver and net_attach want. From any thread. */
void net_wake(struct net *net);

/* net_rx.c */

void net_rx(struct net_pair *pair);
/* Forgets buffers and packet: the ring is reset. */
void net_rx_reset(struct net_pair *pair);
/* Gives the guest the packet in spill. Returns false when there is no room yet. */
bool net_rx_deliver(struct net_pair *pair);

/* net_tx.c */

void net_tx(struct net_pair *pair);
/* The driver has notified: a loop that looks for more asks for the next notification itself. */
void net_tx_notified(struct net_pair *pair);
/* For a loop that looks for packets (common/loop.h): one burst of them, and its end. */
bool net_tx_look(struct net_pair *pair);
bool net_tx_rest(struct net_pair *pair);

/* net_control.c */

void net_control(struct net *net);

/* net_stream.c: see net_attach. */

struct net_stream *net_stream_create(void);
void net_stream_destroy(struct net_stream *stream);
/* Next packet into spill. Returns 1, 0 when there is none yet, or a negative errno at its end. */
int net_stream_read(struct net_pair *pair);
/* Sends chain's frame. Returns 0, or -EAGAIN and nothing is sent, or another negative errno. */
int net_stream_write(struct net_pair *pair, const struct iovec *iov, unsigned int count,
		     size_t len);
/* Whether a part of a frame waits to be sent. */
bool net_stream_is_pending(const struct net_stream *stream);
/* Sends on what a full socket left over. Returns 0, -EAGAIN or another negative errno. */
int net_stream_flush(struct net_pair *pair);

/* net_vhost.c. But for the first three all of it is for the I/O thread. */

bool net_vhost_is_one(int fd);
/* Takes over as many descriptors of /dev/vhost-net, on success. */
int net_vhost_create(struct net *net, const int *fds, unsigned int count, struct net_vhost **out,
		     struct error *err);
/* Tells it of memory that has come. From any thread, with the lock held. */
int net_vhost_set_memory(struct net_vhost *vhost, struct error *err);
/* Which of these features the driver may be offered. */
uint64_t net_vhost_offers(const struct net_vhost *vhost, uint64_t features);
/* Ends at once what it may still be doing. When the loop runs: by its thread. */
void net_vhost_destroy(struct net_vhost *vhost);
/* Watches what it says. Before the loop runs. */
int net_vhost_watch(struct net *net);
bool net_vhost_runs(const struct net *net);
/* Whether it serves what it should not, or the other way. */
bool net_vhost_is_due(const struct net *net);
/* Takes pairs from it: all, or those that it must not serve now. */
void net_vhost_stop(struct net *net, bool all);
/* Gives it those that it may serve. */
void net_vhost_start(struct net *net);

#endif
