/* tensor_table.h - the list of tensors that a model file holds, findable by name.
 *
 * Does:     Both readers fill `tensor`, then call _index once: duplicate names and overlapping
 *           ranges are refused there.
 * Memory:   the table owns the array, the name copies and the index; tensor data stays borrowed
 *           from the mapping.
 * Threads:  read-only after _index.
 * Not here: what a tensor is (formats/safetensors.h).
 */
#ifndef SELLA_FORMATS_TENSOR_TABLE_H
#define SELLA_FORMATS_TENSOR_TABLE_H

#include "formats/safetensors.h"

enum { SELLA_TENSOR_NAME_MAX = 1024 };

typedef struct sella_tensor_table {
    sella_tensor *tensor; /* [count] in the order of the file */
    int count;
    int *by_name;         /* [count] places in `tensor`, sorted by name */
    char *names;          /* pool that the names point into */
} sella_tensor_table;

/* Room for `count` tensors whose names take `name_bytes` bytes with their terminators. */
sella_status sella_tensor_table_init(sella_tensor_table *table, int count, size_t name_bytes,
                                     const char *path, sella_err *err);
void sella_tensor_table_release(sella_tensor_table *table);

/* Copy a name into the pool at *cursor and advance it. SELLA_FORMAT when it is empty, too long,
 * holds NUL or is not UTF-8. */
sella_status sella_tensor_name(const char *data, uint64_t bytes, char **cursor, const char **out,
                               const char *path, sella_err *err);

/* Number of values of a shape. SELLA_FORMAT when the product does not fit or a dimension is
 * negative. */
sella_status sella_tensor_values(const sella_tensor *tensor, uint64_t *values, const char *path,
                                 sella_err *err);

/* Sort by name and check that names are unique and that no two ranges overlap. With `tile`, the
 * ranges must also cover [data, data + bytes) without a hole. Requires: every range lies inside
 * it. */
sella_status sella_tensor_table_index(sella_tensor_table *table, const uint8_t *data,
                                      uint64_t bytes, bool tile, const char *path, sella_err *err);
const sella_tensor *sella_tensor_table_find(const sella_tensor_table *table, const char *name);

#endif
