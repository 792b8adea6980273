/* inspect_part.h - the parts of sella_inspect, one per kind of thing.
 *
 * Does:     Each fills a new JSON object that begins with "kind" and "path".
 * Memory:   *out is a new reference.
 * Not here: which part is asked (inspect.c).
 */
#ifndef SELLA_ENGINE_INSPECT_PART_H
#define SELLA_ENGINE_INSPECT_PART_H

#include <jansson.h>

#include "base/error.h"
#include "formats/safetensors.h"

sella_status sella_inspect_safetensors(const char *path, json_t **out, sella_err *err);
sella_status sella_inspect_gguf(const char *path, json_t **out, sella_err *err);
sella_status sella_inspect_npy(const char *path, json_t **out, sella_err *err);
sella_status sella_inspect_model(const char *path, json_t **out, sella_err *err);
sella_status sella_inspect_adapter(const char *path, json_t **out, sella_err *err);
sella_status sella_inspect_dataset(const char *path, json_t **out, sella_err *err);
sella_status sella_inspect_run(const char *path, json_t **out, sella_err *err);

/* {"kind","path"}. */
json_t *sella_inspect_start(const char *kind, const char *path);
/* A JSON text of any bytes: what is not UTF-8 becomes '?'. */
json_t *sella_inspect_string(const char *data, size_t bytes);
/* Append {"name","type","shape","bytes"}; returns the number of values. */
int64_t sella_inspect_tensor(const sella_tensor *tensor, json_t *list);
/* Append every tensor of one safetensors file to list, its metadata to meta (NULL: not wanted) and
 * its values to *values. */
sella_status sella_inspect_tensors_of(const char *path, json_t *list, json_t *meta, int64_t *values,
                                      sella_err *err);
/* What backbone/backbone.h reads from a model's headers: family, sizes, parameters. */
sella_status sella_inspect_shape(const char *path, json_t **out, sella_err *err);

#endif
