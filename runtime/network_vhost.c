/*
 * vhost-net: the VMM, which may open nothing, gets a descriptor of it for each queue of a tap. In
 * it the host's kernel reads a hostile guest's rings, so it is only there where somebody asks for
 * it.
 */
#include "runtime/network_internal.h"

#include "common/cleanup.h"
#include "common/log.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define VHOST_NET "/dev/vhost-net"

static int open_vhost(struct error *err)
{
	int fd = open(VHOST_NET, O_RDWR | O_CLOEXEC);

	return fd < 0 ? error_set(err, errno,
				  "net-vhost: open " VHOST_NET
				  " (is the host's module vhost_net loaded?)")
		      : fd;
}

int network_vhost_plan(const struct settings *settings, struct error *err)
{
	const char *wish = settings_text(settings, "net-vhost");
	const char *net = settings_text(settings, "net");
	cleanup_fd int fd = -1;

	if (!wish || !strcmp(wish, "off"))
		return NETWORK_VHOST_OFF;
	/* A NIC with rates is served by the VMM, which could offer no packed rings then. */
	if (!strcmp(wish, "auto"))
		return settings_text(settings, "net-rate") ? NETWORK_VHOST_OFF : NETWORK_VHOST_AUTO;
	if (settings_text(settings, "net-rate"))
		return error_say(err, EINVAL, "net-vhost=on: vhost-net keeps no net-rate");
	if (net && !strcmp(net, "user"))
		return error_say(err, EINVAL, "net-vhost=on: with net=user there is no tap for it");
	fd = open_vhost(err);
	return fd < 0 ? fd : NETWORK_VHOST_ON;
}

static int attach_with_vhost(struct control *control, unsigned int nic, const int *fds,
			     unsigned int count, struct error *err)
{
	int all[2 * QUEUES_MAX], ret = 0;
	struct control_fds sent = {all, count};

	memcpy(all, fds, count * sizeof(*fds));
	for (unsigned int i = 0; ret >= 0 && i < count; i++) {
		ret = open_vhost(err);
		if (ret >= 0)
			all[sent.count++] = ret;
	}
	if (ret >= 0)
		ret = control_attach(control, PROTO_ATTACH_NET, nic, NULL, 0, &sent, err);
	while (sent.count > count)
		close(all[--sent.count]);
	return ret;
}

int network_attach(struct control *control, unsigned int nic, const int *fds, unsigned int count,
		   enum network_vhost vhost, struct error *err)
{
	struct control_fds sent = {fds, count};
	struct error why = {0};

	if (vhost == NETWORK_VHOST_ON)
		return attach_with_vhost(control, nic, fds, count, err);
	if (vhost == NETWORK_VHOST_AUTO) {
		if (attach_with_vhost(control, nic, fds, count, &why) >= 0)
			return 0;
		log_debug("%s; the VMM serves the NIC itself", why.message);
		error_clear(&why);
	}
	return control_attach(control, PROTO_ATTACH_NET, nic, NULL, 0, &sent, err);
}
