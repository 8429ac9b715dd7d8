/* The config.json of a container that has no bundle: from an image's configuration and options. */
#ifndef RUNTIME_LAUNCH_CONFIG_H
#define RUNTIME_LAUNCH_CONFIG_H

#include "common/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define LAUNCH_LIST_MAX 64

struct launch_options {
	const char *image;     /* a name in the store, or NULL: */
	const char *directory; /* the root */
	const char *workdir, *user, *memory, *cpus, *name, *entrypoint, *hostname;
	const char *net; /* NULL: none */
	const char *env[LAUNCH_LIST_MAX], *volumes[LAUNCH_LIST_MAX], *ports[LAUNCH_LIST_MAX];
	size_t env_count, volume_count, port_count;
	bool interactive, terminal, remove, read_only;
	char **command; /* ended by NULL; empty: the image's */
};

/* image_config NULL: a directory. Pure. Returns the document, or NULL with the reason. */
json_t *launch_config(const struct launch_options *options, const json_t *image_config,
		      struct error *err);

#endif
