#include "guest-agent/netlink.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char reason[120];

int netlink_open(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), on = 1;

	if (fd < 0)
		return -errno;
	/* Errors come with a text and without a copy of the request. */
	setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	return fd;
}

const char *netlink_reason(void)
{
	return reason;
}

static void note_reason(const struct nlmsghdr *answer)
{
	const struct rtattr *text = netlink_find(answer, sizeof(struct nlmsgerr),
						 NLMSGERR_ATTR_MSG);

	reason[0] = '\0';
	if ((answer->nlmsg_flags & NLM_F_ACK_TLVS) && text)
		snprintf(reason, sizeof(reason), "%.*s", (int)RTA_PAYLOAD(text),
			 (const char *)RTA_DATA(text));
}

void *netlink_extend(struct netlink_message *message, size_t len)
{
	size_t at = NLMSG_ALIGN(message->header.nlmsg_len);
	void *room = message->bytes + at;

	if (message->too_long || NLMSG_ALIGN(len) > sizeof(message->bytes) - at) {
		message->too_long = true;
		return NULL;
	}
	memset(room, 0, NLMSG_ALIGN(len));
	message->header.nlmsg_len = (uint32_t)(at + len);
	return room;
}

void netlink_begin(struct netlink_message *message, uint16_t type, uint16_t flags, const void *body,
		   size_t len)
{
	void *room;

	message->too_long = false;
	message->header = (struct nlmsghdr){
		.nlmsg_len = NLMSG_HDRLEN,
		.nlmsg_type = type,
		.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags),
	};
	room = netlink_extend(message, len);
	if (room)
		memcpy(room, body, len);
}

void netlink_put(struct netlink_message *message, uint16_t type, const void *data, size_t len)
{
	struct rtattr *attribute = netlink_extend(message, RTA_LENGTH(len));

	if (!attribute)
		return;
	attribute->rta_type = type;
	attribute->rta_len = (unsigned short)RTA_LENGTH(len);
	if (len)
		memcpy(RTA_DATA(attribute), data, len);
}

void netlink_put_u32(struct netlink_message *message, uint16_t type, uint32_t value)
{
	netlink_put(message, type, &value, sizeof(value));
}

size_t netlink_nest(struct netlink_message *message, uint16_t type)
{
	size_t at = NLMSG_ALIGN(message->header.nlmsg_len);

	netlink_put(message, type, NULL, 0);
	return at;
}

void netlink_nest_end(struct netlink_message *message, size_t nest)
{
	struct rtattr *attribute = (void *)(message->bytes + nest);

	if (!message->too_long)
		attribute->rta_len = (unsigned short)(message->header.nlmsg_len - nest);
}

static int send_message(int fd, struct netlink_message *message)
{
	if (message->too_long)
		return -EMSGSIZE;
	return send(fd, message->bytes, message->header.nlmsg_len, 0) < 0 ? -errno : 0;
}

/* Hands answers on until the last one. Returns what that says. */
static int answers(int fd, netlink_answer_fn *fn, void *ctx)
{
	static union {
		struct nlmsghdr header;
		uint8_t bytes[32768];
	} buffer;

	for (;;) {
		ssize_t len = recv(fd, buffer.bytes, sizeof(buffer.bytes), 0);
		unsigned int left = len > 0 ? (unsigned int)len : 0;

		if (len < 0 && errno != EINTR)
			return -errno;
		for (struct nlmsghdr *at = &buffer.header; NLMSG_OK(at, left);
		     at = NLMSG_NEXT(at, left)) {
			if (at->nlmsg_type == NLMSG_DONE)
				return 0;
			if (at->nlmsg_type == NLMSG_ERROR)
				note_reason(at);
			if (at->nlmsg_type == NLMSG_ERROR)
				return ((struct nlmsgerr *)NLMSG_DATA(at))->error;
			if (fn)
				fn(at, ctx);
		}
	}
}

int netlink_request(int fd, struct netlink_message *message)
{
	int ret;

	message->header.nlmsg_flags |= NLM_F_ACK;
	ret = send_message(fd, message);
	return ret < 0 ? ret : answers(fd, NULL, NULL);
}

int netlink_dump(int fd, struct netlink_message *message, netlink_answer_fn *fn, void *ctx)
{
	int ret;

	message->header.nlmsg_flags |= NLM_F_DUMP;
	ret = send_message(fd, message);
	return ret < 0 ? ret : answers(fd, fn, ctx);
}

const struct rtattr *netlink_find(const struct nlmsghdr *answer, size_t fixed, uint16_t type)
{
	size_t at = NLMSG_SPACE(fixed);
	const struct rtattr *attribute;

	for (; at + sizeof(*attribute) <= answer->nlmsg_len; at += RTA_ALIGN(attribute->rta_len)) {
		attribute = (const void *)((const uint8_t *)answer + at);
		if (attribute->rta_len < sizeof(*attribute) ||
		    attribute->rta_len > answer->nlmsg_len - at)
			break;
		if ((attribute->rta_type & NLA_TYPE_MASK) == type)
			return attribute;
	}
	return NULL;
}
