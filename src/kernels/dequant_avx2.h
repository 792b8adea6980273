/* dequant_avx2.h - the AVX2 twin of sella_dequantize_plain (internal; kernels/fast.h chooses). */
#ifndef SELLA_KERNELS_DEQUANT_AVX2_H
#define SELLA_KERNELS_DEQUANT_AVX2_H

#include "kernels/dequant.h"

/* As sella_dequantize_plain, and bit-equal to it. */
bool sella_dequantize_avx2(float *y, const void *blocks, sella_dtype dtype, size_t n);

#endif
