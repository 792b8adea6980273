/* dequant.h - stored weight types and their conversion to f32.
 *
 * Does:     sella_dequantize turns any run of whole blocks into floats: a tensor, a row, or a tile
 *           of a row.
 * Layout:   GGUF block layouts, little-endian, scales in half precision. F32, F16 and BF16 are
 *           plain. 32 values a block (byte j of nibbles has value j in its low one and value j + 16
 *           in its high one):
 *             Q8_0 d, 32 signed bytes
 *             Q4_0 d, 16 bytes of nibbles
 *             Q5_0 d, 4 bytes of fifth bits, 16 of nibbles
 *             Q4_1 as Q4_0 with m after d
 *             Q5_1 as Q5_0 with m after d
 *           256 values a block, 8 or 16 groups with own scales:
 *             Q4_K d, dmin, 12 bytes of scales and minima (6 bits each), 128 of nibbles
 *             Q5_K as Q4_K with 32 bytes of fifth bits before the nibbles
 *             Q6_K 128 bytes of nibbles, 64 of upper bit pairs, 16 signed scales, d
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
    SELLA_DTYPE_Q5_0,
    SELLA_DTYPE_Q5_1,
    SELLA_DTYPE_Q4_K,
    SELLA_DTYPE_Q5_K,
    SELLA_DTYPE_Q6_K,
    SELLA_DTYPE_COUNT
} sella_dtype;

const char *sella_dtype_name(sella_dtype dtype); /* "Q4_1" */
int sella_dtype_block(sella_dtype dtype);        /* values in a block: 1, 32 or 256 */
size_t sella_dtype_bytes(sella_dtype dtype);     /* bytes of a block */
/* Bytes of n values (n a multiple of the block, else SIZE_MAX; SIZE_MAX on overflow). */
size_t sella_dtype_size(sella_dtype dtype, uint64_t n);

/* y out [n]; n a multiple of the block; blocks at any address. Returns false when a value is NaN or
 * infinite (y is complete all the same); a scale that is not finite makes every value of its block
 * so. */
bool sella_dequantize(float *y, const void *blocks, sella_dtype dtype, size_t n);
bool sella_dequantize_plain(float *y, const void *blocks, sella_dtype dtype, size_t n);

float sella_half_to_float(uint16_t h);

#endif
