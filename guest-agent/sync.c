#include "guest-agent/sync.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct packet {
	int32_t type;
	int32_t code;
	char text[PROTO_TEXT_MAX];
};

#define PACKET_PLAIN offsetof(struct packet, text)

union control {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

int sync_send(int fd, enum sync_type type)
{
	struct packet packet = {.type = (int32_t)type};

	return send(fd, &packet, PACKET_PLAIN, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int sync_send_fd(int fd, enum sync_type type, int passed)
{
	struct packet packet = {.type = (int32_t)type};
	struct iovec iov = {&packet, PACKET_PLAIN};
	union control control = {0};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &passed, sizeof(int));
	return sendmsg(fd, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

void sync_send_error(int fd, const struct error *err)
{
	struct packet packet = {.type = SYNC_FAILED, .code = err->code};
	size_t len = strnlen(err->message, sizeof(packet.text) - 1);

	memcpy(packet.text, err->message, len);
	if (write(fd, &packet, PACKET_PLAIN + len) < 0)
		return; /* the agent sees the end of file instead */
}

int sync_receive(int fd, struct sync_message *message)
{
	struct packet packet = {0};
	struct iovec iov = {&packet, sizeof(packet) - 1};
	union control control = {0};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg;
	ssize_t len;

	do
		len = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	while (len < 0 && errno == EINTR);
	if (len <= 0)
		return len ? -errno : 0;
	message->fd = -1;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg && cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS)
		memcpy(&message->fd, CMSG_DATA(cmsg), sizeof(int));
	message->type = (enum sync_type)packet.type;
	message->code = packet.code;
	memcpy(message->text, packet.text, sizeof(message->text));
	return 1;
}

int sync_expect(int fd, enum sync_type type)
{
	int32_t got[2];
	ssize_t len;

	/* read(2), because this also waits under the container's seccomp filter. */
	do
		len = read(fd, got, sizeof(got));
	while (len < 0 && errno == EINTR);
	return len == sizeof(got) && got[0] == (int32_t)type ? 0 : -EPIPE;
}
