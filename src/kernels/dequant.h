/* dequant.h - stored weight types and their conversion to f32.
 *
 * Layout:   GGUF block layouts (ggml documentation): Q8_0, Q4_0, Q4_1 have 32 values a block; F16, BF16, F32 are plain.
 * Threads:  pure. *_avx2.c holds the fast twins; results are bit-equal.
 */
#ifndef SELLA_KERNELS_DEQUANT_H
#define SELLA_KERNELS_DEQUANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum sella_dtype {
    SELLA_DTYPE_F32,
    SELLA_DTYPE_F16,
    SELLA_DTYPE_BF16,
    SELLA_DTYPE_Q8_0,
    SELLA_DTYPE_Q4_0,
    SELLA_DTYPE_Q4_1,
    SELLA_DTYPE_COUNT
} sella_dtype;

const char *sella_dtype_name(sella_dtype dtype); /* "Q4_1" */
int sella_dtype_block(sella_dtype dtype);        /* values in a block: 1 or 32 */
size_t sella_dtype_bytes(sella_dtype dtype);     /* bytes of a block */
/* Bytes of n values (n a multiple of the block, else SIZE_MAX; SIZE_MAX on overflow). */
size_t sella_dtype_size(sella_dtype dtype, uint64_t n);

/* y out [n]; n a multiple of the block. Returns false when a value is NaN or infinite (y is complete all the same). */
bool sella_dequantize(float *y, const void *blocks, sella_dtype dtype, size_t n);
bool sella_dequantize_plain(float *y, const void *blocks, sella_dtype dtype, size_t n);

float sella_half_to_float(uint16_t h);
uint16_t sella_float_to_half(float x); /* round to nearest even */

#endif
