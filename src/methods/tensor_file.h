/* tensor_file.h - parameter tables to and from one safetensors file (collab.safetensors,
 * projection.safetensors).
 *
 * Does:     write: rows of several tables in walking order. read: every row of the tables must be
 *           in the file with its shape, as finite f32; all misses are listed in one sentence;
 *           tensors that no table asks for are left alone.
 * Threads:  pure on separate objects.
 */
#ifndef SELLA_METHODS_TENSOR_FILE_H
#define SELLA_METHODS_TENSOR_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/param.h"

/* tables [n]; NULL entries are skipped. The folder must exist. */
sella_status sella_tensors_write(const char *path, const sella_param_table *const *tables, int n,
                                 sella_err *err);
sella_status sella_tensors_read(const char *path, sella_param_table *const *tables, int n,
                                sella_err *err);

/* Shape of one tensor of a file; rank 1 has cols 1. SELLA_MISSING when it is not there. */
sella_status sella_tensors_shape(const char *path, const char *name, int64_t *rows, int64_t *cols,
                                 sella_err *err);
bool sella_tensors_has(const char *path, const char *name);

#endif
