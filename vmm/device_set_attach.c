/* What devices are given while the guest runs: networks, rates, memory. */
#include <errno.h>

#include "devices/fs.h"
#include "devices/mem.h"
#include "devices/net.h"
#include "vmm/device_set.h"

static int attach_net(struct device_set *set, uint32_t index, const struct proto_frame *frame,
		      struct error *err)
{
	int ret;

	if (index >= VMM_NICS_MAX || !set->nics[index])
		return error_say(err, ENODEV, "ATTACH: there is no NIC %u", index);
	ret = net_attach(set->nics[index], frame->fds, frame->fd_count, err);
	for (unsigned int i = 0; ret == 0 && i < frame->fd_count; i++)
		frame->fds[i] = -1;
	return ret;
}

static int set_rates(struct device_set *set, const struct proto_attach *what,
		     const void *parameters, size_t len, struct error *err)
{
	struct proto_rates rates;
	struct rate in[2], out[2];
	bool net = what->kind == PROTO_ATTACH_NET_RATES;

	if (proto_decode_rates(parameters, len, &rates) < 0)
		return error_say(err, EINVAL, "ATTACH: rates of a wrong size");
	for (int i = 0; i < 2; i++) {
		const struct proto_rate *from = &rates.rates[i];

		in[i] = (struct rate){from->per_second, from->burst};
		from += PROTO_RATE_BYTES_OUT;
		out[i] = (struct rate){from->per_second, from->burst};
	}
	if (net && what->index < VMM_NICS_MAX && set->nics[what->index])
		return net_limit(set->nics[what->index], in, out, err);
	if (!net && what->index < VMM_DISKS_MAX && set->disks[what->index])
		return blk_limit(set->disks[what->index], in, out, err);
	return error_say(err, ENODEV, "ATTACH: there is no %s %u", net ? "NIC" : "disk",
			 what->index);
}

void device_set_memory(struct device_set *set, uint64_t *requested, uint64_t *plugged)
{
	*requested = *plugged = 0;
	if (set->mem)
		mem_sizes(set->mem, requested, plugged);
}

/* Everybody who may be given an address in it knows of memory before the guest does. */
static int grow_memory(struct device_set *set, uint64_t size, struct error *err)
{
	int ret;

	if (set->fs && !fs_takes_memory(set->fs))
		return error_say(
			err, ENOTSUP,
			"ATTACH: virtiofsd cannot be told of more memory, or not so often");
	ret = vm_memory_grow(set->config.memory, set->config.host.kvm, size, err);
	for (unsigned int i = 0; ret == 0 && i < set->config.options->nic_count; i++)
		ret = net_memory_grown(set->nics[i], err);
	if (ret == 0 && set->fs)
		fs_memory_grown(set->fs);
	return ret;
}

int device_set_request_memory(struct device_set *set, uint64_t size, struct error *err)
{
	const struct guest_region *more = set->config.memory->more;
	uint64_t usable;
	int ret = 0;

	if (!set->mem || size > more->room)
		return error_say(err, ERANGE, "ATTACH: there is no room for %llu MiB more",
				 (unsigned long long)size >> 20);
	usable = memory_more_steps(size);
	if (usable > more->len)
		ret = grow_memory(set, usable, err);
	if (ret == 0 && mem_request(set->mem, size) < 0)
		ret = error_say(err, EINVAL, "ATTACH: memory comes in blocks of %llu MiB",
				MEM_BLOCK >> 20);
	return ret;
}

static int set_memory(struct device_set *set, const void *parameters, size_t len, struct error *err)
{
	uint64_t size;

	return proto_decode_bytes(parameters, len, &size) < 0
		       ? error_say(err, EINVAL, "ATTACH: memory of a wrong size")
		       : device_set_request_memory(set, size, err);
}

int device_set_attach(struct device_set *set, const struct proto_attach *what,
		      const void *parameters, size_t len, const struct proto_frame *frame,
		      struct error *err)
{
	if (what->kind == PROTO_ATTACH_NET_RATES || what->kind == PROTO_ATTACH_DISK_RATES)
		return set_rates(set, what, parameters, len, err);
	if (what->kind == PROTO_ATTACH_NET && len == 0)
		return attach_net(set, what->index, frame, err);
	if (what->kind == PROTO_ATTACH_MEMORY)
		return set_memory(set, parameters, len, err);
	return error_say(err, EOPNOTSUPP, "ATTACH: no kind %u with %zu bytes", what->kind, len);
}
