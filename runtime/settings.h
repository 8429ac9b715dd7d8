/*
 * Bulkhead's own settings (docs/man/bulkhead-config.json.5): /etc/bulkhead/config.json or --config
 * FILE, and over it a container's annotations io.bulkhead.NAME. A name that is not known is an
 * error in either.
 */
#ifndef RUNTIME_SETTINGS_H
#define RUNTIME_SETTINGS_H

#include "common/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define SETTINGS_FILE	   "/etc/bulkhead/config.json"
#define SETTINGS_MIN_MIB   64 /* of memory: the guest's kernel, its page tables and a workload */
#define SETTINGS_MAX_MIB   (1u << 20)
#define SETTINGS_MAX_VCPUS 64
#define SETTINGS_MAX_NICS  8

struct settings {
	json_t *file, *annotations; /* NAME: value; either may be NULL */
};

/* path NULL: SETTINGS_FILE, which need not exist. */
int settings_load(struct settings *settings, const char *path, struct error *err);

/* Takes what a container's annotations say, which have been found to be strings. */
int settings_annotate(struct settings *settings, const json_t *config, struct error *err);

/* The annotation's value, else the file's, else NULL or 0. */
const char *settings_text(const struct settings *settings, const char *name);
uint32_t settings_number(const struct settings *settings, const char *name);
bool settings_true(const struct settings *settings, const char *name);

/* The annotation's alone: NULL or 0 when there is none. */
const char *settings_annotated_text(const struct settings *settings, const char *name);
uint32_t settings_annotated_number(const struct settings *settings, const char *name);

void settings_destroy(struct settings *settings);

#endif
