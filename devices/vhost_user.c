#include "devices/vhost_user.h"

#include <fcntl.h>
#include <linux/vhost_types.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"

/* The protocol is in the host's byte order, its messages packed. */
enum request {
	GET_FEATURES = 1,
	SET_FEATURES = 2,
	SET_OWNER = 3,
	SET_MEM_TABLE = 5,
	SET_VRING_NUM = 8,
	SET_VRING_ADDR = 9,
	SET_VRING_BASE = 10,
	GET_VRING_BASE = 11,
	SET_VRING_KICK = 12,
	SET_VRING_CALL = 13,
	GET_PROTOCOL_FEATURES = 15,
	SET_PROTOCOL_FEATURES = 16,
	GET_QUEUE_NUM = 17,
	SET_VRING_ENABLE = 18,
	SET_INFLIGHT_FD = 32,
	ADD_MEM_REG = 37,
};

#define FLAG_VERSION	  1u
#define FLAG_VERSION_MASK 3u
#define FLAG_REPLY	  4u
#define FLAG_NEED_REPLY	  8u

#define FEATURE_PROTOCOL (1ull << 30) /* VHOST_USER_F_PROTOCOL_FEATURES */

#define FDS_MAX GUEST_MEMORY_REGIONS_MAX

struct header {
	uint32_t request;
	uint32_t flags;
	uint32_t len; /* of the payload, bytes */
};

struct memory_region {
	uint64_t gpa;
	uint64_t len;
	uint64_t user_addr; /* what queue addresses are given in: here the gpa again */
	uint64_t fd_offset;
};

struct memory_table {
	uint32_t count;
	uint32_t padding;
	struct memory_region regions[GUEST_MEMORY_REGIONS_MAX];
};

struct memory_piece {
	uint64_t padding;
	struct memory_region region;
};

struct inflight_area {
	uint64_t len;
	uint64_t fd_offset;
	uint16_t queue_count;
	uint16_t queue_size;
	uint32_t padding;
};

/* Room for any payload that is sent. */
union payload {
	uint64_t number;
	struct vhost_vring_state state;
	struct vhost_vring_addr addr;
	struct memory_table memory;
	struct memory_piece piece;
	struct inflight_area inflight;
};

static int64_t now_ms(void)
{
	return (int64_t)(monotonic_ns() / 1000000);
}

static int wait_until(const struct vhost_user *vu, short events, int64_t deadline)
{
	struct pollfd poll_fd = {.fd = vu->fd, .events = events};
	int64_t left = deadline - now_ms();
	int ret;

	if (left <= 0)
		return -ETIMEDOUT;
	ret = poll(&poll_fd, 1, (int)left);
	if (ret < 0)
		return errno == EINTR ? 0 : -errno;
	return ret ? 0 : -ETIMEDOUT;
}

static void put_fds(struct msghdr *msg, const int *fds, size_t fd_count)
{
	struct cmsghdr *cmsg;

	if (!fd_count) {
		msg->msg_control = NULL;
		msg->msg_controllen = 0;
		return;
	}
	msg->msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
	cmsg = CMSG_FIRSTHDR(msg);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
	memcpy(CMSG_DATA(cmsg), fds, fd_count * sizeof(int));
}

static int send_all(const struct vhost_user *vu, const void *bytes, size_t len, const int *fds,
		    size_t fd_count, int64_t deadline)
{
	union {
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	size_t sent = 0;

	while (sent < len) {
		struct iovec iov = {(char *)bytes + sent, len - sent};
		struct msghdr msg = {
			.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes};
		ssize_t n;

		/* They go with the first byte. */
		put_fds(&msg, fds, sent ? 0 : fd_count);
		n = sendmsg(vu->fd, &msg, MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN) {
			int ret = wait_until(vu, POLLOUT, deadline);

			if (ret < 0)
				return ret;
		} else if (n < 0 && errno != EINTR) {
			return -errno;
		} else if (n > 0) {
			sent += (size_t)n;
		}
	}
	return 0;
}

/* No reply that we ask for brings a descriptor. */
static void close_received(struct msghdr *msg)
{
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		size_t len = cmsg->cmsg_len - CMSG_LEN(0);

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i + sizeof(int) <= len; i += sizeof(int)) {
			int fd;

			memcpy(&fd, CMSG_DATA(cmsg) + i, sizeof(fd));
			close(fd);
		}
	}
}

static int receive_all(const struct vhost_user *vu, void *bytes, size_t len, int64_t deadline)
{
	size_t got = 0;

	while (got < len) {
		union {
			char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
			struct cmsghdr align;
		} control;
		struct iovec iov = {(char *)bytes + got, len - got};
		struct msghdr msg = {
			.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = control.bytes,
			.msg_controllen = sizeof(control.bytes),
		};
		ssize_t n = recvmsg(vu->fd, &msg, MSG_CMSG_CLOEXEC);

		if (n < 0 && errno == EAGAIN) {
			int ret = wait_until(vu, POLLIN, deadline);

			if (ret < 0)
				return ret;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		close_received(&msg);
		if (n == 0)
			return -ECONNRESET;
		got += (size_t)n;
	}
	return 0;
}

/* A reply to this request, of exactly this length, is the only thing that may come. */
static int receive_reply(const struct vhost_user *vu, enum request request, void *payload,
			 size_t len, int64_t deadline)
{
	struct header header;
	int ret = receive_all(vu, &header, sizeof(header), deadline);

	if (ret < 0)
		return ret;
	if (header.request != request || header.len != len ||
	    (header.flags & (FLAG_VERSION_MASK | FLAG_REPLY)) != (FLAG_VERSION | FLAG_REPLY))
		return -EPROTO;
	return receive_all(vu, payload, len, deadline);
}

static int exchange(struct vhost_user *vu, enum request request, uint32_t flags,
		    const union payload *payload, size_t len, const int *fds, size_t fd_count,
		    void *reply, size_t reply_len)
{
	int64_t deadline = now_ms() + vu->timeout_ms;
	struct {
		struct header header;
		char payload[sizeof(union payload)];
	} __attribute__((packed)) message = {
		.header = {request, FLAG_VERSION | flags, (uint32_t)len},
	};
	int ret;

	if (len)
		memcpy(message.payload, payload, len);
	ret = send_all(vu, &message, sizeof(message.header) + len, fds, fd_count, deadline);
	if (ret < 0 || !reply_len)
		return ret;
	return receive_reply(vu, request, reply, reply_len, deadline);
}

static int failed(const struct vhost_user *vu, int ret, const char *step, struct error *err)
{
	return error_set(err, -ret, "%s: back end: %s", vu->name, step);
}

/* Where the back end acknowledges, it says 0 when it could. */
static int set(struct vhost_user *vu, enum request request, const union payload *payload,
	       size_t len, const int *fds, size_t fd_count, const char *step, struct error *err)
{
	bool acked = vu->protocol & VHOST_USER_ACK;
	uint64_t ack = 0;
	int ret = exchange(vu, request, acked ? FLAG_NEED_REPLY : 0, payload, len, fds, fd_count,
			   &ack, acked ? sizeof(ack) : 0);

	if (ret < 0)
		return failed(vu, ret, step, err);
	if (ack)
		return error_say(err, EIO, "%s: back end: %s: it refuses", vu->name, step);
	return 0;
}

static int set_number(struct vhost_user *vu, enum request request, uint64_t number,
		      const char *step, struct error *err)
{
	union payload payload = {.number = number};

	return set(vu, request, &payload, sizeof(payload.number), NULL, 0, step, err);
}

static int set_state(struct vhost_user *vu, enum request request, uint32_t index, uint32_t num,
		     const char *step, struct error *err)
{
	union payload payload = {.state = {.index = index, .num = num}};

	return set(vu, request, &payload, sizeof(payload.state), NULL, 0, step, err);
}

static int set_fd(struct vhost_user *vu, enum request request, uint32_t index, int fd,
		  const char *step, struct error *err)
{
	union payload payload = {.number = index};

	return set(vu, request, &payload, sizeof(payload.number), &fd, 1, step, err);
}

static int get_number(struct vhost_user *vu, enum request request, uint64_t *out, const char *step,
		      struct error *err)
{
	int ret = exchange(vu, request, 0, NULL, 0, NULL, 0, out, sizeof(*out));

	return ret < 0 ? failed(vu, ret, step, err) : 0;
}

int vhost_user_init(struct vhost_user *vu, int fd, const char *name, struct error *err)
{
	int flags = fcntl(fd, F_GETFL);

	*vu = (struct vhost_user){.fd = fd, .name = name, .timeout_ms = VHOST_USER_TIMEOUT_MS};
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return error_set(err, errno, "%s: socket of the back end", name);
	return 0;
}

int vhost_user_open(struct vhost_user *vu, unsigned int queue_count, uint64_t unsaid,
		    struct error *err)
{
	uint64_t protocol, queues = 0;
	int ret;

	vu->protocol = 0;
	if ((ret = get_number(vu, GET_FEATURES, &vu->features, "features", err)) < 0)
		return ret;
	if (!(vu->features & FEATURE_PROTOCOL))
		return error_say(err, EPROTO, "%s: back end: it knows no protocol features",
				 vu->name);
	if ((ret = get_number(vu, GET_PROTOCOL_FEATURES, &protocol, "protocol features", err)) < 0)
		return ret;
	protocol &= VHOST_USER_MQ | VHOST_USER_ACK | VHOST_USER_INFLIGHT | VHOST_USER_REGIONS;
	protocol |= unsaid;
	if (!(protocol & VHOST_USER_MQ) && queue_count > 1)
		return error_say(err, EPROTO, "%s: back end: it has one queue only", vu->name);
	if ((ret = set_number(vu, SET_PROTOCOL_FEATURES, protocol, "protocol features", err)) < 0)
		return ret;
	vu->protocol = protocol;
	if (queue_count > 1 &&
	    (ret = get_number(vu, GET_QUEUE_NUM, &queues, "number of queues", err)) < 0)
		return ret;
	if (queue_count > 1 && queues < queue_count)
		return error_say(err, EPROTO, "%s: back end: it has %llu queues, %u are needed",
				 vu->name, (unsigned long long)queues, queue_count);
	return set(vu, SET_OWNER, NULL, 0, NULL, 0, "owner", err);
}

/* What a region has beyond offset. */
static struct memory_region describe(const struct guest_region *region, uint64_t offset)
{
	return (struct memory_region){
		.gpa = region->gpa + offset,
		.len = guest_region_len(region) - offset,
		.user_addr = region->gpa + offset,
		.fd_offset = region->fd_offset + offset,
	};
}

/* Regions at which there is nothing yet are left out. */
static int set_memory(struct vhost_user *vu, const struct guest_memory *mem, struct error *err)
{
	union payload payload = {.memory = {.count = 0}};
	struct memory_table *table = &payload.memory;
	int fds[FDS_MAX];

	for (unsigned int i = 0; i < mem->count; i++) {
		struct memory_region region = describe(&mem->regions[i], 0);

		vu->told[i] = region.len;
		if (!region.len)
			continue;
		if (mem->regions[i].fd < 0)
			return error_say(err, EINVAL, "%s: guest memory cannot be shared",
					 vu->name);
		fds[table->count] = mem->regions[i].fd;
		table->regions[table->count++] = region;
	}
	vu->pieces = table->count;
	return set(vu, SET_MEM_TABLE, &payload,
		   offsetof(struct memory_table, regions) +
			   table->count * sizeof(struct memory_region),
		   fds, table->count, "memory", err);
}

bool vhost_user_takes_memory(const struct vhost_user *vu)
{
	return (vu->protocol & VHOST_USER_REGIONS) && vu->pieces < VHOST_USER_REGIONS_MAX;
}

int vhost_user_more_memory(struct vhost_user *vu, const struct guest_memory *mem, struct error *err)
{
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < mem->count; i++) {
		union payload payload = {.piece.region = describe(&mem->regions[i], vu->told[i])};

		if (!payload.piece.region.len)
			continue;
		ret = set(vu, ADD_MEM_REG, &payload, sizeof(payload.piece), &mem->regions[i].fd, 1,
			  "more memory", err);
		vu->told[i] += payload.piece.region.len;
		vu->pieces++;
	}
	return ret;
}

int vhost_user_configure(struct vhost_user *vu, uint64_t features, const struct guest_memory *mem,
			 struct error *err)
{
	int ret;

	if (features & ~vu->features)
		return error_say(err, EPROTO, "%s: back end: it lacks features %#llx", vu->name,
				 (unsigned long long)(features & ~vu->features));
	ret = set_number(vu, SET_FEATURES, features | FEATURE_PROTOCOL, "features", err);
	return ret < 0 ? ret : set_memory(vu, mem, err);
}

int vhost_user_set_inflight(struct vhost_user *vu, int fd, uint64_t len, uint16_t queue_count,
			    uint16_t queue_size, struct error *err)
{
	union payload payload = {
		.inflight = {.len = len, .queue_count = queue_count, .queue_size = queue_size}};

	return set(vu, SET_INFLIGHT_FD, &payload, sizeof(payload.inflight), &fd, 1,
		   "record of requests", err);
}

int vhost_user_vring_start(struct vhost_user *vu, uint32_t index, const struct virtqueue *vq,
			   int kick_fd, int call_fd, struct error *err)
{
	union payload addr = {
		.addr = {.index = index,
			 .desc_user_addr = vq->state.desc_gpa,
			 .avail_user_addr = vq->state.avail_gpa,
			 .used_user_addr = vq->state.used_gpa},
	};
	/* Of a packed queue also where used descriptors go, with both wrap counters. */
	uint32_t base = vq->state.next_avail |
			(vq->state.packed ? (uint32_t)vq->state.next_used << 16 : 0);
	int ret;

	if ((ret = set_state(vu, SET_VRING_NUM, index, vq->state.size, "queue size", err)) < 0 ||
	    (ret = set_state(vu, SET_VRING_BASE, index, base, "queue base", err)) < 0 ||
	    (ret = set(vu, SET_VRING_ADDR, &addr, sizeof(addr.addr), NULL, 0, "queue address",
		       err)) < 0 ||
	    (ret = set_fd(vu, SET_VRING_CALL, index, call_fd, "queue call", err)) < 0 ||
	    (ret = set_fd(vu, SET_VRING_KICK, index, kick_fd, "queue kick", err)) < 0)
		return ret;
	return set_state(vu, SET_VRING_ENABLE, index, 1, "queue enable", err);
}

int vhost_user_vring_stop(struct vhost_user *vu, uint32_t index, uint16_t *next_avail,
			  struct error *err)
{
	union payload payload = {.state = {.index = index}};
	struct vhost_vring_state reply;
	int ret = exchange(vu, GET_VRING_BASE, 0, &payload, sizeof(payload.state), NULL, 0, &reply,
			   sizeof(reply));

	if (ret == 0 && reply.index != index)
		ret = -EPROTO;
	if (ret < 0)
		return failed(vu, ret, "queue stop", err);
	*next_avail = (uint16_t)reply.num;
	return 0;
}
