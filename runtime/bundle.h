/* A bundle: its folder and its config.json. */
#ifndef RUNTIME_BUNDLE_H
#define RUNTIME_BUNDLE_H

#include "runtime/json.h"

#include "common/error.h"

#include <jansson.h>
#include <stdint.h>

#define CONFIG_FILE "config.json"

struct bundle {
	char *path; /* absolute, without symbolic links */
	json_t *config;
	char *rootfs; /* absolute */
	int rootfs_fd;
};

#define BUNDLE_INIT             \
	{                       \
		.rootfs_fd = -1 \
	}

/* Reads the config. path NULL: the working directory. */
int bundle_read(struct bundle *bundle, const char *path, struct error *err);

/* Checks it, and opens the root. */
int bundle_load(struct bundle *bundle, struct error *err);
void bundle_destroy(struct bundle *bundle);
#define cleanup_bundle __attribute__((cleanup(bundle_destroy)))

/* What `spec` writes: the caller's to change and to json_decref. */
json_t *spec_default(void);

#endif
