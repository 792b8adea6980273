/* npy.h - numpy .npy version 1.0 columns and matrices, little-endian, C order.
 *
 * Memory:   reading maps the file; data is borrowed until sella_npy_close and aligned to its
 *           values' size. Files written here align to 64 bytes; any alignment is read.
 */
#ifndef SELLA_FORMATS_NPY_H
#define SELLA_FORMATS_NPY_H

#include <stdint.h>

#include "base/error.h"
#include "base/file.h"

typedef enum sella_npy_type {
    SELLA_NPY_U8,
    SELLA_NPY_I32,
    SELLA_NPY_I64,
    SELLA_NPY_F32,
    SELLA_NPY_F64
} sella_npy_type;

typedef struct sella_npy {
    sella_map map;
    sella_npy_type type;
    int rank;         /* 1 or 2 */
    int64_t shape[2]; /* rank 1: [n, 1] */
    const void *data; /* of map, or copy */
    void *copy;       /* NULL, or the values of a file that does not align them */
} sella_npy;

/* Refuses another type than wanted, Fortran order, other versions, and sizes that disagree with the
 * file. */
sella_status sella_npy_open(const char *path, sella_npy_type want, sella_npy *out, sella_err *err);
/* The same for a file of any of the types above; out->type says which it is. */
sella_status sella_npy_open_any(const char *path, sella_npy *out, sella_err *err);
const char *sella_npy_type_name(sella_npy_type type); /* "32-bit integers" */
void sella_npy_close(sella_npy *npy);
/* cols = 0: rank 1. Atomic. */
sella_status sella_npy_write(const char *path, sella_npy_type type, const void *data, int64_t rows,
                             int64_t cols, sella_err *err);

#endif
