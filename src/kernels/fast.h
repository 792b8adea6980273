/* fast.h - the table of inner kernels, one for each level of CPU, chosen at run time.
 *
 * Does:     The public kernels split their work over threads and call the table's entries, which
 *           are serial. Entries may be NULL in the plain table where the plain twin is a whole
 *           kernel of its own.
 * Threads:  pure; the choice is a function of the CPU alone.
 * Not here: the public contracts (norm.h, rope.h, activation.h, dequant.h, gemm.h, attention.h,
 *           factor.h, repulsion.h).
 */
#ifndef SELLA_KERNELS_FAST_H
#define SELLA_KERNELS_FAST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/dequant.h"

struct sella_attention_tile;
struct sella_attention_size;
struct sella_factor_block;
struct sella_factor_sums;
struct sella_plane;

/* C [M, N] = alpha op(A) op(B), added to C or not; layouts as in gemm.h. */
typedef struct sella_fast_product {
    bool ta, tb, add;
    int M, N, K;
    float alpha;
    const float *a, *b;
    float *c;
    int lda, ldb, ldc;
} sella_fast_product;

typedef struct sella_fast {
    const char *name; /* "plain", "AVX2", "AVX-512" */

    /* rows of [C], contiguous */
    /* returns 1 / rms */
    float (*norm_forward)(float *y, const float *x, const float *w, int C, float eps);
    void (*norm_backward)(float *dx, const float *dy, const float *x, const float *w, float r,
                          int C);
    void (*rope_head)(float *x, int half, const float *cosine, const float *sine, float sign);
    void (*swiglu_forward)(float *y, const float *gate, const float *up, int F);
    /* may alias */
    void (*swiglu_backward)(float *dgate, float *dup, const float *dy, const float *gate,
                            const float *up, int F);
    void (*gelu_forward)(float *y, const float *x, size_t n);
    void (*gelu_backward)(float *dx, const float *dy, const float *x, size_t n);
    void (*axpy)(float *y, float a, const float *x, size_t n); /* y += a x */
    void (*exp)(float *y, const float *x, size_t n);
    bool (*dequantize)(float *y, const void *blocks, sella_dtype dtype, size_t n);

    /* rows m0 .. m1-1, columns n0 .. n1-1 of a product; NULL: use BLAS */
    void (*product)(const sella_fast_product *product, int m0, int m1, int n0, int n1);

    /* one tile of queries of one key head (kernels/attention_tile.h); NULL: use the plain twin */
    void (*attention_size)(struct sella_attention_size *size, int D, int ratio);
    void (*attention_forward)(const struct sella_attention_tile *tile);
    void (*attention_backward)(const struct sella_attention_tile *tile);

    /* gradient steps of a factor model (kernels/factor.h); NULL: use the plain twin */
    void (*factor_steps)(const struct sella_factor_block *block, struct sella_factor_sums *sums);

    /* pairs of points of t-SNE (kernels/repulsion.h); NULL: use the plain twin */
    double (*repulsion)(const struct sella_plane *plane, int i0, int i1, int j0, int j1);
} sella_fast;

enum { SELLA_FAST_LEVELS = 3 }; /* 0 plain, 1 AVX2 + FMA + F16C, 2 AVX-512 F + DQ + BW + VL */

/* The table of a level, or NULL when this CPU or this build lacks it. */
const sella_fast *sella_fast_level(int level);
/* The best one here. */
const sella_fast *sella_fast_best(void);

#endif
