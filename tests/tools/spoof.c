/*
 * spoof send INTERFACE OWN-IPv4: frames that lie about who sends them, each with its name in it, by
 * a packet socket; honest ones first and last. spoof hear INTERFACE SECONDS: says "listens", then
 * the names of those that come in there, up to the last.
 */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MARK  "spoof:"
#define LAST  "end"
#define FRAME 128

static const uint8_t foreign_mac[6] = {2, 0, 0, 0, 6, 0x66};
static const uint8_t foreign_ip4[4] = {10, 99, 0, 77};
static const uint8_t foreign_ip6[16] = {0xfd, 0x99, [15] = 0x77};

static const struct row {
	const char *name;
	uint16_t type; /* ETHERTYPE_* */
	unsigned int tags;
	bool mac, ip; /* which of its addresses is a lie */
} rows[] = {
	{"own", ETHERTYPE_IP, 0, false, false},		 {"mac", ETHERTYPE_IP, 0, true, false},
	{"mac-arp", ETHERTYPE_ARP, 0, true, false},	 {"mac-vlan", ETHERTYPE_IP, 1, true, false},
	{"mac-vlan-vlan", ETHERTYPE_IP, 2, true, false}, {"mac-other", 0x88b5, 0, true, false},
	{"ip4", ETHERTYPE_IP, 0, false, true},		 {"ip6", ETHERTYPE_IPV6, 0, false, true},
	{"arp", ETHERTYPE_ARP, 0, false, true},		 {LAST, ETHERTYPE_IP, 0, false, false},
};

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int open_socket(const char *interface)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)if_nametoindex(interface),
	};
	int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		fail(interface);
	return fd;
}

static uint8_t *put(uint8_t *at, const void *bytes, size_t len)
{
	memcpy(at, bytes, len);
	return at + len;
}

static uint8_t *put16(uint8_t *at, unsigned int value)
{
	uint16_t big = htons((uint16_t)value);

	return put(at, &big, sizeof(big));
}

static unsigned int checksum(const uint8_t *bytes, size_t len)
{
	unsigned int sum = 0;

	for (size_t i = 0; i < len; i += 2)
		sum += (unsigned int)bytes[i] << 8 | bytes[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum & 0xffff;
}

/* UDP to the discard port of everybody. */
static uint8_t *put_ip4(uint8_t *at, const uint8_t source[4])
{
	uint8_t *start = at;

	at = put(at, "\x45\0\0\x40\0\1\0\0\x40\x11\0\0", 12);
	at = put(at, source, 4);
	at = put(at, "\xff\xff\xff\xff", 4);
	put16(start + 10, checksum(start, 20));
	return put(at, "\x30\x39\0\x09\0\x2c\0\0", 8);
}

static uint8_t *put_ip6(uint8_t *at)
{
	at = put(at, "\x60\0\0\0\0\x20\x3b\x40", 8); /* no next header */
	at = put(at, foreign_ip6, 16);
	return put(at, "\xff\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16);
}

/* An answer that nobody asked for: source is at mac. */
static uint8_t *put_arp(uint8_t *at, const uint8_t mac[6], const uint8_t source[4])
{
	at = put(at, "\0\1\x08\0\6\4\0\2", 8);
	at = put(at, mac, 6);
	at = put(at, source, 4);
	at = put(at, "\xff\xff\xff\xff\xff\xff", 6);
	return put(at, source, 4);
}

static void send_row(int fd, const struct row *row, const uint8_t own_mac[6],
		     const uint8_t own_ip[4])
{
	const uint8_t *mac = row->mac ? foreign_mac : own_mac;
	const uint8_t *ip = row->ip ? foreign_ip4 : own_ip;
	uint8_t frame[FRAME] = {0}, *at = put(frame, "\xff\xff\xff\xff\xff\xff", 6);

	at = put(at, mac, 6);
	for (unsigned int i = 0; i < row->tags; i++)
		at = put16(put16(at, ETHERTYPE_VLAN), 7);
	at = put16(at, row->type);
	if (row->type == ETHERTYPE_IP)
		at = put_ip4(at, ip);
	else if (row->type == ETHERTYPE_IPV6)
		at = put_ip6(at);
	else if (row->type == ETHERTYPE_ARP)
		at = put_arp(at, mac, ip);
	put(put(at, MARK, strlen(MARK)), row->name, strlen(row->name));
	if (send(fd, frame, sizeof(frame), 0) != sizeof(frame))
		fail(row->name);
}

static void send_all(const char *interface, const char *address)
{
	int fd = open_socket(interface);
	struct ifreq request = {0};
	uint8_t own_ip[4];

	strncpy(request.ifr_name, interface, IFNAMSIZ - 1);
	if (ioctl(fd, SIOCGIFHWADDR, &request) < 0 || inet_pton(AF_INET, address, own_ip) != 1)
		fail(interface);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		send_row(fd, &rows[i], (uint8_t *)request.ifr_hwaddr.sa_data, own_ip);
}

static void hear(const char *interface, int seconds)
{
	const struct timeval step = {.tv_sec = 1};
	time_t end = time(NULL) + seconds;
	int fd = open_socket(interface);
	const char *name = "";
	char frame[2048];

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &step, sizeof(step));
	puts("listens");
	fflush(stdout);
	while (strcmp(name, LAST) != 0 && time(NULL) < end) {
		ssize_t len = recv(fd, frame, sizeof(frame) - 1, 0);
		char *mark;

		if (len <= 0)
			continue;
		frame[len] = '\0';
		mark = memmem(frame, (size_t)len, MARK, strlen(MARK));
		if (!mark)
			continue;
		name = mark + strlen(MARK);
		puts(name);
		fflush(stdout);
	}
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "send") == 0)
		send_all(argv[2], argv[3]);
	else if (argc == 4 && strcmp(argv[1], "hear") == 0)
		hear(argv[2], atoi(argv[3]));
	else
		return 2;
	return 0;
}
