/* dataset_stats.h - the figures of `sella stats` as a JSON object, for callers inside the library.
 *
 * Threads:  pure.
 * Not here: the public calls (sella/data.h).
 */
#ifndef SELLA_DATA_DATASET_STATS_H
#define SELLA_DATA_DATASET_STATS_H

#include <jansson.h>

#include "base/error.h"

/* *json: new reference, the object documented at sella_stats. */
sella_status sella_stats_json(const char *path, json_t **json, sella_err *err);

#endif
