/*
 * Block devices on top of a part of another, by device-mapper: many image layers come on one disk,
 * and a sealed one is read through the hash tree behind it (dm-verity).
 */
#ifndef GUEST_AGENT_DM_H
#define GUEST_AGENT_DM_H

#include <jansson.h>
#include <stdint.h>

#include "common/error.h"

#define DM_PATH_MAX 32

/* A seal's text: hexadecimal digits. */
struct dm_seal {
	const char *root_hash, *salt;
	uint64_t data_blocks; /* of 4096 bytes; the hash tree begins behind them */
};

/*
 * Makes /dev/dm-N of len bytes from offset on of device (both multiples of 4096), read-only, and
 * writes its path to path. With a seal every block is checked when it is read. Returns 0 or -errno.
 */
int dm_map(const char *device, uint64_t offset, uint64_t len, const struct dm_seal *seal,
	   char path[DM_PATH_MAX], struct error *err);

/* Removes what dm_map made, unless it is in use. */
void dm_remove_all(void);

#endif
