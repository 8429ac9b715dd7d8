/* A bundle: its folder and its config.json. */
#ifndef RUNTIME_BUNDLE_H
#define RUNTIME_BUNDLE_H

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

/* Reads and checks the config, and opens the root. path NULL: the working directory. */
int bundle_load(struct bundle *bundle, const char *path, struct error *err);
void bundle_destroy(struct bundle *bundle);
#define cleanup_bundle __attribute__((cleanup(bundle_destroy)))

/* The VM that the config asks for. */
struct vm_size {
	uint32_t memory_mib, vcpus;
	uint32_t agent_timeout_ms; /* 0: the VMM's own default */
};

int bundle_vm_size(const struct bundle *bundle, struct vm_size *size, struct error *err);

/* The annotation's text, or NULL. */
const char *bundle_annotation(const struct bundle *bundle, const char *name);

/* The value at a path of object names, e.g. json_at(config, "linux", "seccomp", NULL). */
json_t *json_at(json_t *from, ...) __attribute__((sentinel));

#endif
