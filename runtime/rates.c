#include "runtime/rates.h"

#include "common/cleanup.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

struct name {
	const char *name;
	enum proto_rate_of index;
};

static const struct name net_names[] = {
	{"rx-bytes", PROTO_RATE_BYTES_IN},
	{"rx-packets", PROTO_RATE_OPERATIONS_IN},
	{"tx-bytes", PROTO_RATE_BYTES_OUT},
	{"tx-packets", PROTO_RATE_OPERATIONS_OUT},
	{NULL, 0},
};

/* A disk has one bucket for both directions, as the host's cgroup has it. */
static const struct name disk_names[] = {
	{"bytes", PROTO_RATE_BYTES_IN},
	{"operations", PROTO_RATE_OPERATIONS_IN},
	{NULL, 0},
};

/* A number with an optional K, M or G (powers of 1024). Returns what follows, or NULL. */
static const char *parse_number(const char *text, uint64_t *out)
{
	static const char units[] = "KMG";
	const char *unit;
	char *end;

	if (*text < '0' || *text > '9')
		return NULL;
	errno = 0;
	*out = strtoull(text, &end, 10);
	unit = *end ? strchr(units, *end) : NULL;
	if (unit) {
		unsigned int shift = 10 * (unsigned int)(unit - units + 1);

		if (*out > UINT64_MAX >> shift)
			return NULL;
		*out <<= shift;
		end++;
	}
	return errno ? NULL : end;
}

/* NAME=RATE[/BURST] */
static int parse_item(struct proto_rates *rates, const struct name *names, const char *item)
{
	const char *equals = strchr(item, '=');
	uint64_t rate = 0, burst = 0;
	const char *rest;

	for (; equals && names->name; names++)
		if (strlen(names->name) == (size_t)(equals - item) &&
		    strncmp(names->name, item, (size_t)(equals - item)) == 0)
			break;
	if (!equals || !names->name)
		return -EINVAL;
	rest = parse_number(equals + 1, &rate);
	if (rest && *rest == '/')
		rest = parse_number(rest + 1, &burst);
	if (!rest || *rest || !rate)
		return -EINVAL;
	rates->rates[names->index].per_second = htole64(rate);
	rates->rates[names->index].burst = htole64(burst);
	return 0;
}

static int parse_list(struct proto_rates *rates, bool *has, const struct name *names,
		      const struct settings *settings, const char *setting, struct error *err)
{
	const char *text = settings_text(settings, setting);
	cleanup_free char *copy = text ? strdup(text) : NULL;
	char *at = copy, *item;

	*has = text != NULL;
	while (at && (item = strsep(&at, ",")))
		if (parse_item(rates, names, item) < 0)
			return error_say(err, EINVAL,
					 "%s: \"%s\" is not %s=RATE[/BURST], or another of its "
					 "names (docs/network.md)",
					 setting, item, names->name);
	return text && !copy ? error_set(err, ENOMEM, "%s", setting) : 0;
}

int rates_read(struct rates *rates, const struct settings *settings, struct error *err)
{
	int ret;

	memset(rates, 0, sizeof(*rates));
	ret = parse_list(&rates->net, &rates->has_net, net_names, settings, "net-rate", err);
	return ret < 0 ? ret
		       : parse_list(&rates->disk, &rates->has_disk, disk_names, settings,
				    "disk-rate", err);
}

int rates_send(const struct rates *rates, struct control *control, unsigned int nics,
	       unsigned int disks, struct error *err)
{
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && rates->has_net && i < nics; i++)
		ret = control_attach(control, PROTO_ATTACH_NET_RATES, i, &rates->net,
				     sizeof(rates->net), NULL, err);
	for (unsigned int i = 0; ret == 0 && rates->has_disk && i < disks; i++)
		ret = control_attach(control, PROTO_ATTACH_DISK_RATES, i, &rates->disk,
				     sizeof(rates->disk), NULL, err);
	return ret;
}
