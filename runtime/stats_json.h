/* The guest's statistics in runc's JSON. */
#ifndef RUNTIME_STATS_JSON_H
#define RUNTIME_STATS_JSON_H

#include <jansson.h>

#include "protocol/stats.h"

/* {"type": "stats", "id": ..., "data": {...}}; the caller's. */
json_t *stats_to_json(const char *id, const struct proto_stats_full *full);

#endif
