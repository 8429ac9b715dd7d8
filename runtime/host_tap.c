#include "runtime/host_tap.h"

#include "common/cleanup.h"
#include "common/log.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define LIST_MAX 8

struct host_tap {
	char *copy;
	const char *name;
	const char *mac; /* NULL: one of its own */
	const char *addresses[LIST_MAX], *gateways[LIST_MAX];
	size_t address_count, gateway_count;
};

static void forget(struct host_tap *tap)
{
	free(tap->copy);
}
#define cleanup_tap __attribute__((cleanup(forget)))

static bool is_mac(const char *text)
{
	unsigned int bytes[6];
	int end = 0;

	return sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &bytes[0], &bytes[1], &bytes[2], &bytes[3],
		      &bytes[4], &bytes[5], &end) == 6 &&
	       !text[end] && end == 17 && !(bytes[0] & 1);
}

/* 4, 6, or 0: none. with_prefix: "/LENGTH" follows. */
static int family_of(const char *text, bool with_prefix)
{
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	char host[INET6_ADDRSTRLEN], bytes[16];
	bool six = memchr(text, ':', len) != NULL;
	unsigned int prefix = 0;
	int end = 0;

	if (len >= sizeof(host) || with_prefix != (slash != NULL))
		return 0;
	memcpy(host, text, len);
	host[len] = '\0';
	if (inet_pton(six ? AF_INET6 : AF_INET, host, bytes) != 1)
		return 0;
	if (slash && (sscanf(slash + 1, "%3u%n", &prefix, &end) != 1 || slash[1 + end] ||
		      prefix > (six ? 128 : 32)))
		return 0;
	return six ? 6 : 4;
}

static bool take_item(struct host_tap *tap, const char *item)
{
	const char *value = strchr(item, '=');

	if (!value++)
		return false;
	if (!strncmp(item, "mac=", 4) && is_mac(value) && !tap->mac) {
		tap->mac = value;
		return true;
	}
	if (!strncmp(item, "ip=", 3) && family_of(value, true) && tap->address_count < LIST_MAX) {
		tap->addresses[tap->address_count++] = value;
		return true;
	}
	if (!strncmp(item, "gw=", 3) && family_of(value, false) && tap->gateway_count < LIST_MAX) {
		tap->gateways[tap->gateway_count++] = value;
		return true;
	}
	return false;
}

static int parse(struct host_tap *tap, const char *text, struct error *err)
{
	char *at, *item;

	*tap = (struct host_tap){.copy = strdup(text)};
	if (!tap->copy)
		return error_set(err, ENOMEM, "tap");
	at = tap->copy;
	tap->name = strsep(&at, ",");
	if (!*tap->name || strlen(tap->name) >= IFNAMSIZ || strchr(tap->name, '/'))
		return error_say(err, EINVAL, "tap=%s: must begin with an interface's name", text);
	while (at && (item = strsep(&at, ",")))
		if (!take_item(tap, item))
			return error_say(err, EINVAL,
					 "tap=%s: \"%s\" is not mac=ADDRESS, ip=ADDRESS/PREFIX or "
					 "gw=ADDRESS",
					 text, item);
	return 0;
}

/* One queue. Opening the name of nothing would make it: so it must be there before. */
static int open_queue(const char *name, short flags)
{
	struct ifreq request = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags)};
	cleanup_fd int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0)
		return -errno;
	return take_fd(&fd);
}

static int explain(const char *name, int code, struct error *err)
{
	switch (code) {
	case EINVAL:
		return error_say(err, EINVAL, "tap=%s: that interface is no tap", name);
	case EBUSY:
	case E2BIG:
		return error_say(err, EBUSY, "tap=%s: somebody else has that tap open", name);
	case EPERM:
		return error_say(err, EPERM,
				 "tap=%s: it belongs to another user: ip tuntap add %s mode tap "
				 "user NAME",
				 name, name);
	default:
		return error_set(err, code, "tap=%s: open it by /dev/net/tun", name);
	}
}

static int open_queues(const struct host_tap *tap, unsigned int wanted, int *fds, struct error *err)
{
	unsigned int count = 0;
	int fd;

	if (!if_nametoindex(tap->name))
		return error_say(err, ENODEV,
				 "tap=%s: there is no such interface here: ip tuntap add %s mode "
				 "tap",
				 tap->name, tap->name);
	/* Whether it has one queue or several was settled when it was made. */
	fd = open_queue(tap->name, IFF_MULTI_QUEUE);
	if (fd == -EINVAL) {
		wanted = 1;
		fd = open_queue(tap->name, 0);
	}
	while (fd >= 0) {
		fds[count++] = fd;
		if (count == wanted)
			return (int)count;
		fd = open_queue(tap->name, IFF_MULTI_QUEUE);
	}
	while (count)
		close(fds[--count]);
	return explain(tap->name, -fd, err);
}

int host_tap_open(const char *text, unsigned int wanted, int *fds, struct error *err)
{
	cleanup_tap struct host_tap tap;
	int ret = parse(&tap, text, err);

	return ret < 0 ? ret : open_queues(&tap, wanted, fds, err);
}

int host_tap_check(const char *text, struct error *err)
{
	int fd, ret = host_tap_open(text, 1, &fd, err);

	if (ret < 0)
		return ret;
	close(fd);
	return 0;
}

static int ask(const char *name, unsigned long what, struct ifreq *out, struct error *err)
{
	cleanup_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memset(out, 0, sizeof(*out));
	snprintf(out->ifr_name, sizeof(out->ifr_name), "%s", name);
	return fd < 0 || ioctl(fd, what, out) < 0 ? error_set(err, errno, "tap=%s", name) : 0;
}

/* The tap's own address is the host's end. Several guests may meet on a bridge: each has another.
 */
static int make_mac(char mac[18], struct error *err)
{
	uint8_t b[5];

	if (getrandom(b, sizeof(b), 0) != (ssize_t)sizeof(b))
		return error_set(err, errno, "make an address");
	snprintf(mac, 18, "02:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4]);
	return 0;
}

static json_t *describe(const struct host_tap *tap, const char *mac, int mtu)
{
	json_t *addresses = json_array(), *routes = json_array();

	for (size_t i = 0; i < tap->address_count; i++)
		json_array_append_new(addresses, json_pack("{s:s}", "address", tap->addresses[i]));
	for (size_t i = 0; i < tap->gateway_count; i++)
		json_array_append_new(routes, json_pack("{s:i, s:[{s:s, s:s}]}", "family",
							family_of(tap->gateways[i], false), "hops",
							"dev", "eth0", "via", tap->gateways[i]));
	return json_pack("{s:[{s:i, s:s, s:s, s:i, s:b, s:b, s:o}], s:o}", "interfaces", "nic", 0,
			 "name", "eth0", "mac", mac, "mtu", mtu, "up", 1, "ipv6", 1, "addresses",
			 addresses, "routes", routes);
}

json_t *host_tap_describe(const char *text, struct error *err)
{
	cleanup_tap struct host_tap tap;
	struct ifreq flags, mtu;
	char mac[18];
	json_t *body;

	if (parse(&tap, text, err) < 0 || make_mac(mac, err) < 0 ||
	    ask(tap.name, SIOCGIFFLAGS, &flags, err) < 0 ||
	    ask(tap.name, SIOCGIFMTU, &mtu, err) < 0)
		return NULL;
	if (!(flags.ifr_flags & IFF_UP))
		log_warn("tap=%s: is down, nothing gets through: ip link set %s up", tap.name,
			 tap.name);
	body = describe(&tap, tap.mac ? tap.mac : mac, mtu.ifr_mtu);
	if (!body)
		error_set(err, ENOMEM, "tap=%s", tap.name);
	return body;
}
