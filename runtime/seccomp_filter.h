/* OCI's linux.seccomp, compiled by libseccomp to a BPF program for the agent to load. */
#ifndef RUNTIME_SECCOMP_FILTER_H
#define RUNTIME_SECCOMP_FILTER_H

#include "common/error.h"

#include <jansson.h>

/*
 * *out gets {"flags": N, "filter": [[code, jt, jf, k], ...]}, CREATE's "seccomp", or NULL when the
 * config asks for none.
 */
int seccomp_filter_compile(json_t *config, json_t **out, struct error *err);

#endif
