#include "tests/unit/tap.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "tests/unit/driver.h"

bool tap_is_possible(void)
{
	cleanup_fd int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	return fd >= 0 && geteuid() == 0;
}

void tap_enter_namespace(void)
{
	cleanup_fd int fd = -1;

	driver_check(unshare(CLONE_NEWNET) == 0);
	/* IPv6 says things of its own on every interface. */
	fd = open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
		driver_check(write(fd, "1", 1) == 1);
}

int tap_open(void)
{
	struct ifreq request = {.ifr_name = "test0",
				.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	driver_check(fd >= 0);
	driver_check(ioctl(fd, TUNSETIFF, &request) == 0);
	return fd;
}

int tap_open_outside(void)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(TAP_ETHERTYPE));
	struct ifreq request = {.ifr_name = "test0", .ifr_flags = IFF_UP};
	struct sockaddr_ll address = {.sll_family = AF_PACKET,
				      .sll_protocol = htons(TAP_ETHERTYPE),
				      .sll_ifindex = (int)if_nametoindex("test0")};

	driver_check(fd >= 0);
	driver_check(ioctl(fd, SIOCSIFFLAGS, &request) == 0);
	driver_check(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	return fd;
}
