/* Requests to the kernel by rtnetlink: messages made in place, sent one by one, each acknowledged.
 */
#ifndef GUEST_AGENT_NETLINK_H
#define GUEST_AGENT_NETLINK_H

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct netlink_message {
	union {
		struct nlmsghdr header;
		uint8_t bytes[4096];
	};
	bool too_long; /* something did not fit: it will not be sent */
};

/* A socket, or a negative errno. */
int netlink_open(void);

/* Begins a message with its fixed part: body is one of rtnetlink(7)'s structs. */
void netlink_begin(struct netlink_message *message, uint16_t type, uint16_t flags, const void *body,
		   size_t len);

void netlink_put(struct netlink_message *message, uint16_t type, const void *data, size_t len);
void netlink_put_u32(struct netlink_message *message, uint16_t type, uint32_t value);

/* What is put between the two is inside of the attribute. */
size_t netlink_nest(struct netlink_message *message, uint16_t type);
void netlink_nest_end(struct netlink_message *message, size_t nest);

/* Room for a struct that is no attribute itself (rtnexthop); NULL when there is none. */
void *netlink_extend(struct netlink_message *message, size_t len);

/* Sends it and waits for the kernel's word. Returns 0 or a negative errno. */
int netlink_request(int fd, struct netlink_message *message);

/* What the kernel said beyond the code of the last failure; empty when nothing. */
const char *netlink_reason(void);

/* An answer of the dump that message asks for; each is valid during the call. */
typedef void netlink_answer_fn(const struct nlmsghdr *answer, void *ctx);
int netlink_dump(int fd, struct netlink_message *message, netlink_answer_fn *fn, void *ctx);

/* The attribute of this type behind an answer's fixed part of so many bytes, or NULL. */
const struct rtattr *netlink_find(const struct nlmsghdr *answer, size_t fixed, uint16_t type);

#endif
