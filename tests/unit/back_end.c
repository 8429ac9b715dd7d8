#include "tests/unit/back_end.h"

#include <errno.h>
#include <linux/vhost_types.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/driver.h"

#define FLAG_VERSION	1u
#define FLAG_REPLY	4u
#define FLAG_NEED_REPLY 8u

#define FDS_MAX 8

#define RECORD_STRIDE(size) ((16u * (size) + 2 + 63) & ~63u)

struct header {
	uint32_t request, flags, len;
};

struct message {
	struct header header;
	union {
		uint64_t number;
		struct vhost_vring_state state;
		struct vhost_vring_addr addr;
		struct {
			uint32_t count, padding;
			struct {
				uint64_t gpa, len, user_addr, fd_offset;
			} regions[8];
		} memory;
		struct {
			uint64_t len, fd_offset;
			uint16_t queues, size;
		} record;
		uint8_t bytes[512];
	} body;
	int fds[FDS_MAX];
	unsigned int fd_count;
};

static bool receive(int fd, struct message *message)
{
	union {
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {&message->header, sizeof(message->header)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *cmsg;

	message->fd_count = 0;
	if (recvmsg(fd, &msg, MSG_WAITALL) != (ssize_t)sizeof(message->header))
		return false;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg) {
		message->fd_count = (unsigned int)((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(message->fds, CMSG_DATA(cmsg), message->fd_count * sizeof(int));
	}
	driver_check(message->header.len <= sizeof(message->body));
	return !message->header.len || recv(fd, &message->body, message->header.len, MSG_WAITALL) ==
					       (ssize_t)message->header.len;
}

static void send_with_fds(int fd, const void *bytes, size_t len)
{
	union {
		char bytes[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct iovec iov = {(void *)bytes, len};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	int fds[2] = {0, 1};

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(cmsg), fds, sizeof(fds));
	driver_check(sendmsg(fd, &msg, MSG_NOSIGNAL) == (ssize_t)len);
}

/* Returns whether to go on. */
static bool reply(struct back_end *be, const struct message *to, const void *body, uint32_t len)
{
	struct {
		struct header header;
		uint8_t body[16];
	} __attribute__((packed)) out = {
		.header = {to->header.request, FLAG_VERSION | FLAG_REPLY, len},
	};
	bool faulty = be->fault && to->header.request == be->fault_at;
	size_t total = sizeof(out.header) + len;

	memcpy(out.body, body, len);
	switch (faulty ? be->fault : BACK_END_GOOD) {
	case BACK_END_WRONG_REQUEST:
		out.header.request++;
		break;
	case BACK_END_TOO_LONG:
		out.header.len = UINT32_MAX;
		break;
	case BACK_END_TOO_SHORT:
		out.header.len--;
		total--;
		break;
	case BACK_END_NO_REPLY_FLAG:
		out.header.flags = FLAG_VERSION;
		break;
	case BACK_END_REFUSES:
		memset(out.body, 0xff, len);
		break;
	case BACK_END_CLOSES:
		return false;
	case BACK_END_HALF:
		send(be->fd, &out, sizeof(out.header) + 1, MSG_NOSIGNAL);
		return false;
	case BACK_END_SILENT:
		return true;
	case BACK_END_SENDS_FDS:
		send_with_fds(be->fd, &out, total);
		return true;
	default:
		break;
	}
	send(be->fd, &out, total, MSG_NOSIGNAL);
	return true;
}

static void take_record(struct back_end *be, struct message *in)
{
	driver_check(in->fd_count == 1);
	if (!be->keeps_record)
		return;
	be->record_len = in->body.record.len;
	be->record = mmap(NULL, be->record_len, PROT_READ | PROT_WRITE, MAP_SHARED, in->fds[0], 0);
	driver_check(be->record != MAP_FAILED);
	for (unsigned int i = 0; i < in->body.record.queues; i++)
		memcpy(be->record + i * RECORD_STRIDE(in->body.record.size) + 10,
		       &in->body.record.size, 2);
}

/* Returns the length of the reply's body, put into in->body; 0: none. */
static uint32_t note(struct back_end *be, struct message *in)
{
	struct back_end_vring *vring = &be->vrings[in->body.state.index % BACK_END_QUEUES];

	switch (in->header.request) {
	case BACK_END_GET_FEATURES:
		in->body.number = be->features;
		return 8;
	case BACK_END_GET_PROTOCOL_FEATURES:
		in->body.number = be->protocol;
		return 8;
	case BACK_END_GET_QUEUE_NUM:
		in->body.number = be->queue_count;
		return 8;
	case 2:
		be->acked = in->body.number;
		return 0;
	case 16:
		be->acked_protocol = in->body.number;
		return 0;
	case BACK_END_SET_MEM_TABLE:
		be->region_count = in->body.memory.count;
		memcpy(be->regions, in->body.memory.regions, sizeof(be->regions));
		driver_check(in->fd_count == be->region_count);
		return 0;
	case BACK_END_ADD_MEM_REG:
		/* As in the table, behind a word that means nothing. */
		driver_check(in->fd_count == 1 && be->region_count < 8);
		memcpy(&be->regions[be->region_count++], in->body.memory.regions,
		       sizeof(be->regions[0]));
		return 0;
	case 8:
		vring->size = in->body.state.num;
		return 0;
	case 9:
		vring = &be->vrings[in->body.addr.index];
		vring->desc = in->body.addr.desc_user_addr;
		vring->avail = in->body.addr.avail_user_addr;
		vring->used = in->body.addr.used_user_addr;
		return 0;
	case 10:
		vring->base = in->body.state.num;
		return 0;
	case BACK_END_GET_VRING_BASE:
		vring->enabled = false;
		vring->stops++;
		in->body.state.num = vring->vq.state.next_avail;
		return 8;
	case 12:
		vring->kick_fd = in->fds[0];
		in->fd_count = 0;
		return 0;
	case 13:
		vring->call_fd = in->fds[0];
		in->fd_count = 0;
		return 0;
	case BACK_END_SET_VRING_ENABLE:
		vring->enabled = in->body.state.num;
		return 0;
	case 32:
		take_record(be, in);
		return 0;
	default:
		return 0;
	}
}

static void *run(void *arg)
{
	struct back_end *be = arg;
	struct message in;
	bool go_on = true;

	while (go_on && receive(be->fd, &in)) {
		uint32_t len;

		pthread_mutex_lock(&be->lock);
		len = note(be, &in);
		if (!len && (in.header.flags & FLAG_NEED_REPLY)) {
			in.body.number = 0;
			len = 8;
		}
		for (unsigned int i = 0; i < in.fd_count; i++)
			close(in.fds[i]);
		pthread_mutex_unlock(&be->lock);
		if (len)
			go_on = reply(be, &in, &in.body, len);
		pthread_cond_broadcast(&be->changed);
	}
	shutdown(be->fd, SHUT_RDWR);
	return NULL;
}

int back_end_start(struct back_end *be)
{
	int ends[2];

	driver_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
	be->fd = ends[0];
	pthread_mutex_init(&be->lock, NULL);
	pthread_cond_init(&be->changed, NULL);
	for (unsigned int i = 0; i < BACK_END_QUEUES; i++)
		be->vrings[i].kick_fd = be->vrings[i].call_fd = -1;
	driver_check(pthread_create(&be->thread, NULL, run, be) == 0);
	return ends[1];
}

void back_end_end(struct back_end *be)
{
	if (be->ended)
		return;
	be->ended = true;
	shutdown(be->fd, SHUT_RDWR);
	pthread_join(be->thread, NULL);
	close(be->fd);
}

void back_end_destroy(struct back_end *be)
{
	back_end_end(be);
	for (unsigned int i = 0; i < BACK_END_QUEUES; i++) {
		close(be->vrings[i].kick_fd);
		close(be->vrings[i].call_fd);
	}
	if (be->record)
		munmap(be->record, be->record_len);
	pthread_cond_destroy(&be->changed);
	pthread_mutex_destroy(&be->lock);
}

void back_end_wait_enabled(struct back_end *be, unsigned int queue)
{
	pthread_mutex_lock(&be->lock);
	while (!be->vrings[queue].enabled)
		pthread_cond_wait(&be->changed, &be->lock);
	pthread_mutex_unlock(&be->lock);
}

void back_end_wait_stops(struct back_end *be, unsigned int queue, unsigned int stops)
{
	pthread_mutex_lock(&be->lock);
	while (be->vrings[queue].stops < stops)
		pthread_cond_wait(&be->changed, &be->lock);
	pthread_mutex_unlock(&be->lock);
}

static uint8_t *record_of(struct back_end *be, unsigned int queue)
{
	return be->record + queue * RECORD_STRIDE(be->vrings[queue].size);
}

bool back_end_pop(struct back_end *be, const struct guest_memory *mem, unsigned int queue,
		  struct virtqueue_chain *chain)
{
	struct back_end_vring *vring = &be->vrings[queue];

	if (!vring->vq.state.ready) {
		virtqueue_init(&vring->vq, mem, VIRTQUEUE_SIZE_MAX);
		vring->vq.state = (struct virtqueue_state){
			.desc_gpa = vring->desc,
			.avail_gpa = vring->avail,
			.used_gpa = vring->used,
			.size = (uint16_t)vring->size,
			.next_avail = (uint16_t)vring->base,
			.indirect = true,
		};
		driver_check(virtqueue_enable(&vring->vq) == 0);
	}
	if (virtqueue_pop(&vring->vq, chain) <= 0)
		return false;
	if (be->record)
		record_of(be, queue)[16 + 16 * chain->head.id] = 1;
	return true;
}

void back_end_push(struct back_end *be, unsigned int queue, const struct virtqueue_chain *chain,
		   uint32_t len)
{
	struct back_end_vring *vring = &be->vrings[queue];
	uint64_t one = 1;

	virtqueue_push(&vring->vq, chain->head, len);
	if (be->record) {
		record_of(be, queue)[16 + 16 * chain->head.id] = 0;
		memcpy(record_of(be, queue) + 14, &vring->vq.state.next_used, 2);
	}
	driver_check(write(vring->call_fd, &one, sizeof(one)) == sizeof(one));
}

bool back_end_kicked(struct back_end *be, unsigned int queue)
{
	uint64_t count;

	return read(be->vrings[queue].kick_fd, &count, sizeof(count)) == sizeof(count);
}
