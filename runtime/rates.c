#include "runtime/rates.h"

#include "common/cleanup.h"
#include "runtime/file.h"

#include <endian.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* What has no burst of its own may run ahead by that part of a second: as the kernel's throttles.
 */
#define THROTTLE_AHEAD 10

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

static const struct name disk_names[] = {
	{"read-bytes", PROTO_RATE_BYTES_IN},
	{"read-operations", PROTO_RATE_OPERATIONS_IN},
	{"write-bytes", PROTO_RATE_BYTES_OUT},
	{"write-operations", PROTO_RATE_OPERATIONS_OUT},
	{NULL, 0},
};

static const struct name throttle_names[] = {
	{"throttleReadBpsDevice", PROTO_RATE_BYTES_IN},
	{"throttleReadIOPSDevice", PROTO_RATE_OPERATIONS_IN},
	{"throttleWriteBpsDevice", PROTO_RATE_BYTES_OUT},
	{"throttleWriteIOPSDevice", PROTO_RATE_OPERATIONS_OUT},
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

		if (*out > (uint64_t)INT64_MAX >> shift)
			return NULL;
		*out <<= shift;
		end++;
	}
	return errno || *out > INT64_MAX ? NULL : end;
}

/* --- as JSON: rate and burst of each --- */

static json_t *no_rates(void)
{
	json_t *array = json_array();

	for (int i = 0; i < PROTO_RATES; i++)
		json_array_append_new(array, json_pack("[i, i]", 0, 0));
	return array;
}

static void set_rate(json_t *array, enum proto_rate_of index, uint64_t rate, uint64_t burst)
{
	json_array_set_new(array, index, json_pack("[I, I]", (json_int_t)rate, (json_int_t)burst));
}

static uint64_t get_number(const json_t *array, size_t index, size_t which)
{
	return (uint64_t)json_integer_value(json_array_get(json_array_get(array, index), which));
}

/* --- the settings --- */

/* NAME=RATE[/BURST] */
static int parse_item(json_t *array, const struct name *names, const char *item)
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
	set_rate(array, names->index, rate, burst);
	return 0;
}

static int parse_list(json_t *rates, const char *key, const struct name *names,
		      const struct settings *settings, const char *setting, struct error *err)
{
	const char *text = settings_text(settings, setting);
	cleanup_free char *copy = text ? strdup(text) : NULL;
	char *at = copy, *item;
	json_t *array;

	if (!text)
		return 0;
	array = no_rates();
	if (!copy || json_object_set_new(rates, key, array) < 0)
		return error_set(err, ENOMEM, "%s", setting);
	while ((item = strsep(&at, ",")))
		if (parse_item(array, names, item) < 0)
			return error_say(err, EINVAL,
					 "%s: \"%s\" is not %s=RATE[/BURST], or another of its "
					 "names (docs/network.md)",
					 setting, item, names->name);
	return 0;
}

json_t *rates_read(const struct settings *settings, struct error *err)
{
	json_t *rates = json_object();

	if (parse_list(rates, "net", net_names, settings, "net-rate", err) == 0 &&
	    parse_list(rates, "disk", disk_names, settings, "disk-rate", err) == 0)
		return rates;
	json_decref(rates);
	return NULL;
}

/* --- disks and devices --- */

/* The disk that a partition is a part of; else the device itself. */
static dev_t whole_disk(dev_t device)
{
	char path[80];
	unsigned int high, low;
	cleanup_free char *text = NULL;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/partition", major(device),
		 minor(device));
	if (access(path, F_OK) < 0)
		return device;
	/* Its folder is in the disk's. */
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/../dev", major(device), minor(device));
	if (file_read(AT_FDCWD, path, 64, &text, NULL) < 0 ||
	    sscanf(text, "%u:%u", &high, &low) != 2)
		return device;
	return makedev(high, low);
}

/* What throttles name it by. */
static json_t *devices_of(int fd)
{
	struct stat st;
	dev_t device, whole;

	if (fd < 0 || fstat(fd, &st) < 0)
		return json_array();
	device = S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev;
	/* A file system without a device: its throttles are the control group's alone. */
	if (major(device) == 0)
		return json_array();
	whole = whole_disk(device);
	return json_pack("[[i, i], [i, i]]", (int)major(device), (int)minor(device),
			 (int)major(whole), (int)minor(whole));
}

void rates_plan(json_t *rates, unsigned int nics, const int *disks, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++) {
		json_t *disk = json_pack("{s:o}", "devices", devices_of(disks[i]));
		json_t *own = json_object_get(rates, "disk");

		if (own)
			json_object_set_new(disk, "rates", json_deep_copy(own));
		json_array_append_new(list, disk);
	}
	json_object_del(rates, "disk");
	json_object_set_new(rates, "nics", json_integer((json_int_t)nics));
	json_object_set_new(rates, "disks", list);
}

/* --- throttles --- */

static bool is_on(const json_t *disk, uint64_t major_number, uint64_t minor_number)
{
	const json_t *devices = json_object_get(disk, "devices");

	for (size_t i = 0; i < json_array_size(devices); i++)
		if (get_number(devices, i, 0) == major_number &&
		    get_number(devices, i, 1) == minor_number)
			return true;
	return false;
}

static uint64_t number(const json_t *entry, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(entry, key));
}

static void throttle(json_t *disks, const json_t *entry, enum proto_rate_of index)
{
	uint64_t rate = number(entry, "rate");
	json_t *disk;
	size_t i;

	json_array_foreach (disks, i, disk) {
		if (!is_on(disk, number(entry, "major"), number(entry, "minor")))
			continue;
		if (!json_object_get(disk, "rates"))
			json_object_set_new(disk, "rates", no_rates());
		set_rate(json_object_get(disk, "rates"), index, rate, rate / THROTTLE_AHEAD + 1);
	}
}

bool rates_throttle(json_t *rates, const json_t *resources)
{
	const json_t *io = json_object_get(resources, "blockIO"), *entry;
	json_t *disks = json_object_get(rates, "disks");
	bool some = false;
	size_t i;

	for (const struct name *name = throttle_names; name->name; name++)
		json_array_foreach (json_object_get(io, name->name), i, entry) {
			throttle(disks, entry, name->index);
			some = true;
		}
	return some;
}

/* --- to the VMM --- */

static int send_one(struct control *control, enum proto_attach_kind kind, size_t index,
		    const json_t *array, struct error *err)
{
	struct proto_rates wire;

	for (size_t i = 0; i < PROTO_RATES; i++) {
		wire.rates[i].per_second = htole64(get_number(array, i, 0));
		wire.rates[i].burst = htole64(get_number(array, i, 1));
	}
	return control_attach(control, kind, (uint32_t)index, &wire, sizeof(wire), NULL, err);
}

int rates_send(const json_t *rates, struct control *control, struct error *err)
{
	const json_t *net = json_object_get(rates, "net"), *disk;
	uint64_t nics = number(rates, "nics");
	size_t i;
	int ret = 0;

	for (i = 0; ret == 0 && net && i < nics; i++)
		ret = send_one(control, PROTO_ATTACH_NET_RATES, i, net, err);
	json_array_foreach (json_object_get(rates, "disks"), i, disk) {
		const json_t *own = json_object_get(disk, "rates");

		if (ret == 0 && own)
			ret = send_one(control, PROTO_ATTACH_DISK_RATES, i, own, err);
	}
	return ret;
}
