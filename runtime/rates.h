/* Rate limits of a VM's NICs and disks, from the settings net-rate and disk-rate (docs/network.md).
 */
#ifndef RUNTIME_RATES_H
#define RUNTIME_RATES_H

#include "runtime/control_client.h"
#include "runtime/settings.h"

/* What a container may have: zero where there is no limit. In wire order. */
struct rates {
	struct proto_rates net, disk;
	bool has_net, has_disk;
};

/* Understands the settings. */
int rates_read(struct rates *rates, const struct settings *settings, struct error *err);

/* Has the VMM keep them, for all of so many NICs and disks. */
int rates_send(const struct rates *rates, struct control *control, unsigned int nics,
	       unsigned int disks, struct error *err);

#endif
