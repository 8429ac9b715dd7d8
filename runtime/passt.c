#include "runtime/passt.h"
#include "runtime/orphan.h"

#include "common/cleanup.h"

#include <fcntl.h>
#include <endian.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* As slirp and its heirs have it; docs/network.md. */
#define GUEST_ADDRESS "10.0.2.15"
#define GUEST_PREFIX  "24"
#define GATEWAY	      "10.0.2.2"
#define DNS	      "10.0.2.3"
#define GATEWAY_MAC   "02:62:6b:ff:00:01" /* not the host's: that is none of the guest's business */

#define PORTS_MAX      32
#define START_LIMIT_MS 5000
#define ARGV_MAX       (2 * PORTS_MAX + 32)

struct port {
	unsigned int host, guest;
	bool udp;
};

static int parse_port(const char *text, struct port *out)
{
	char protocol[4] = "tcp";
	int end = 0, more = 0;

	if (sscanf(text, "%5u:%5u%n/%3[a-z]%n", &out->host, &out->guest, &end, protocol, &more) < 2)
		return -EINVAL;
	if (text[more ? more : end] || !out->host || out->host > 65535 || !out->guest ||
	    out->guest > 65535)
		return -EINVAL;
	out->udp = strcmp(protocol, "udp") == 0;
	return out->udp || strcmp(protocol, "tcp") == 0 ? 0 : -EINVAL;
}

static int parse_ports(const char *text, struct port *ports, struct error *err)
{
	cleanup_free char *copy = strdup(text ? text : "");
	char *at = copy, *item;
	int count = 0;

	while (at && *copy && (item = strsep(&at, ","))) {
		if (count == PORTS_MAX)
			return error_say(err, E2BIG, "publish: at most %d ports", PORTS_MAX);
		if (parse_port(item, &ports[count++]) < 0)
			return error_say(err, EINVAL,
					 "publish: \"%s\" is not HOST:GUEST, perhaps with /udp",
					 item);
	}
	return count;
}

int passt_check_ports(const char *ports, struct error *err)
{
	struct port parsed[PORTS_MAX];
	int ret = parse_ports(ports, parsed, err);

	return ret < 0 ? ret : 0;
}

struct start {
	const char **argv;
	int fd, output_fd;
};

/* It has nothing of ours but its end of the connection, and a place to complain. */
static void run(void *ctx)
{
	const struct start *start = ctx;
	int null_fd = open("/dev/null", O_RDWR);

	if (null_fd < 0 || chdir("/") < 0 || dup2(null_fd, 0) < 0 ||
	    dup2(start->output_fd, 1) < 0 || dup2(start->output_fd, 2) < 0 ||
	    dup2(start->fd, 3) < 0 || fcntl(3, F_SETFD, 0) < 0 || close_range(4, ~0u, 0) < 0)
		_exit(127);
	execvp(start->argv[0], (char **)start->argv);
	dprintf(2, "%s: install passt", strerror(errno));
	_exit(127);
}

/* Who has the gateway's address? The guest's first question, and passt's first answer. */
static int ask(int connection)
{
	static const uint8_t question[] = {
		0,    0,    0,	  42,					    /* length */
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,	'b', 'k', 0,  0, 0, /* to all, from NIC 0 */
		8,    6,    0,	  1,	8,    0,    6,	4,   0,	  1,	    /* ARP, a request */
		2,    'b',  'k',  0,	0,    0,    10, 0,   2,	  15,	    /* from GUEST_ADDRESS */
		0,    0,    0,	  0,	0,    0,    10, 0,   2,	  2,	    /* about GATEWAY */
	};
	struct pollfd answer = {.fd = connection, .events = POLLIN};
	uint8_t bytes[2048];
	uint32_t length;

	if (send(connection, question, sizeof(question), MSG_NOSIGNAL) < 0)
		return -EPIPE;
	if (poll(&answer, 1, START_LIMIT_MS) <= 0)
		return -ETIMEDOUT;
	/* The length may come alone. All of it has to go: what follows is for the guest. */
	if (recv(connection, &length, sizeof(length), MSG_WAITALL) != sizeof(length) ||
	    be32toh(length) > sizeof(bytes))
		return -EPIPE;
	return recv(connection, bytes, be32toh(length), MSG_WAITALL) == (ssize_t)be32toh(length)
		       ? 0
		       : -EPIPE;
}

/* Waits until it serves, or tells why it does not: the last that it said. */
static int await(int connection, int output_fd, struct error *err)
{
	char text[1024] = "", *line = text;
	int ret = ask(connection);
	ssize_t len;

	if (ret == 0)
		return 0;
	len = pread(output_fd, text, sizeof(text) - 1, 0);
	text[len > 0 ? len : 0] = '\0';
	for (char *at = strtok(text, "\n"); at; at = strtok(NULL, "\n"))
		line = at;
	return error_say(err, -ret, "passt: %s",
			 *line		     ? line
			 : ret == -ETIMEDOUT ? "does not answer"
					     : "ended without a word");
}

int passt_start(const char *ports, struct error *err)
{
	static const char *const fixed[] = {
		"passt", "-4",	      "-q",	     "-1",	    "-F",
		"3",	 "-a",	      GUEST_ADDRESS, "-n",	    GUEST_PREFIX,
		"-g",	 GATEWAY,     "-M",	     GATEWAY_MAC,   "--dns-forward",
		DNS,	 "--no-dhcp", "--no-ndp",    "--no-dhcpv6", "--no-ra",
	};
	cleanup_fd int connection = -1, output_fd = -1;
	const char *argv[ARGV_MAX];
	char specs[PORTS_MAX][16];
	struct port parsed[PORTS_MAX];
	int count = parse_ports(ports, parsed, err), argc = 0, pair[2], ret;

	if (count < 0)
		return count;
	for (; argc < (int)(sizeof(fixed) / sizeof(fixed[0])); argc++)
		argv[argc] = fixed[argc];
	for (int i = 0; i < count; i++) {
		snprintf(specs[i], sizeof(specs[i]), "%u:%u", parsed[i].host, parsed[i].guest);
		argv[argc++] = parsed[i].udp ? "-u" : "-t";
		argv[argc++] = specs[i];
	}
	argv[argc] = NULL;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return error_set(err, errno, "socketpair");
	connection = pair[0];
	/* A file, so that it can go on complaining when nobody reads that any more. */
	output_fd = memfd_create("passt", MFD_CLOEXEC);
	ret = output_fd < 0 ? -errno : orphan_start(run, &(struct start){argv, pair[1], output_fd});
	if (ret < 0)
		error_set(err, -ret, "start passt");
	close(pair[1]);
	if (ret == 0)
		ret = await(connection, output_fd, err);
	return ret < 0 ? ret : take_fd(&connection);
}

json_t *passt_describe(void)
{
	return json_pack("{s:[{s:i, s:s, s:i, s:b, s:b, s:[{s:s}]}], s:[{s:i, s:[{s:s, s:s}]}]}",
			 "interfaces", "nic", 0, "name", "eth0", "mtu", 1500, "up", 1, "ipv6", 0,
			 "addresses", "address", GUEST_ADDRESS "/" GUEST_PREFIX, "routes", "family",
			 4, "hops", "dev", "eth0", "via", GATEWAY);
}
