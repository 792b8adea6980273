/* safetensors.h - reading (mapped) and writing (atomic) of the safetensors format.
 *
 * Layout:   8 bytes little-endian header length, JSON header, raw tensor data. Header <= 100 MB,
 *           ranges must tile the data part exactly (no overlap, no hole), shapes must match byte
 *           counts.
 * Memory:   tensor data is borrowed from the mapping and valid until sella_safetensors_close.
 * Threads:  one handle may be read by many.
 */
#ifndef SELLA_FORMATS_SAFETENSORS_H
#define SELLA_FORMATS_SAFETENSORS_H

#include <stdint.h>

#include "base/error.h"
#include "kernels/dequant.h"

enum { SELLA_TENSOR_RANK_MAX = 4 };

/* One stored tensor, of either model format. */
typedef struct sella_tensor {
    const char *name;
    const char *type_name; /* as the file says: "BF16", "Q4_1", "I64" */
    bool readable;         /* dtype is one that sella_dequantize knows */
    sella_dtype dtype;
    int rank;
    /* slowest dimension first (GGUF's order is turned around) */
    int64_t shape[SELLA_TENSOR_RANK_MAX];
    const void *data;                     /* borrowed, may be unaligned */
    uint64_t bytes;
} sella_tensor;

typedef struct sella_safetensors sella_safetensors;

sella_status sella_safetensors_open(const char *path, sella_safetensors **out, sella_err *err);
void sella_safetensors_close(sella_safetensors *file);
int sella_safetensors_count(const sella_safetensors *file);
/* in file order */
const sella_tensor *sella_safetensors_at(const sella_safetensors *file, int index);
/* NULL when absent */
const sella_tensor *sella_safetensors_find(const sella_safetensors *file, const char *name);
/* Value of the __metadata__ map, or NULL. */
const char *sella_safetensors_meta(const sella_safetensors *file, const char *key);
/* The whole __metadata__ map, in file order. */
void sella_safetensors_meta_each(const sella_safetensors *file,
                                 void (*each)(void *user, const char *key, const char *value),
                                 void *user);

/* What to write: f32 row-major data. */
typedef struct sella_tensor_out {
    const char *name;
    int rank;
    int64_t shape[SELLA_TENSOR_RANK_MAX];
    const float *data;
} sella_tensor_out;
/* Atomically; data 64-byte aligned in the file; names sorted as given; `meta` is key, value, key,
 * value, NULL or NULL. Includes {"format": "pt"} so that other readers accept it. Same input, same
 * bytes. */
sella_status sella_safetensors_write(const char *path, const sella_tensor_out *tensors, int count,
                                     const char *const *meta, sella_err *err);
#endif
