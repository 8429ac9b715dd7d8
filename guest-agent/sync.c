#include "guest-agent/sync.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/pass_fd.h"

struct packet {
	int32_t type;
	int32_t code;
	char text[PROTO_TEXT_MAX];
};

#define PACKET_PLAIN offsetof(struct packet, text)

int sync_send(int fd, enum sync_type type)
{
	struct packet packet = {.type = (int32_t)type};

	return send(fd, &packet, PACKET_PLAIN, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int sync_send_fd(int fd, enum sync_type type, int passed)
{
	struct packet packet = {.type = (int32_t)type};

	return pass_fd(fd, passed, &packet, PACKET_PLAIN, 0);
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
	ssize_t len = receive_fd(fd, &message->fd, &packet, sizeof(packet) - 1);

	if (len <= 0)
		return (int)len;
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
