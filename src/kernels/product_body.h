/* product_body.h - products over the vectors of simd.h: included by the files that have the flags.
 *
 * A BLAS copies both operands first, which costs as much as the product itself when M, N or K is 8
 * or 16. Here a is read where it stands, as broadcast scalars, and only a block of b, as deep as
 * possible (C is written once for a depth up to DEPTH), is copied to the stack: always when it is
 * transposed, otherwise when enough rows use it.
 */
#ifndef SELLA_KERNELS_PRODUCT_BODY_H
#define SELLA_KERNELS_PRODUCT_BODY_H

#include <string.h>

#include "kernels/fast.h"
#include "kernels/simd.h"

#if defined(__AVX512F__)
enum { PRODUCT_ROWS = 12 }; /* of a tile: 24 sums, 2 vectors of b, 1 of a fill the 32 registers */
#else
enum { PRODUCT_ROWS = 6 };
#endif
/* of a copied block of b; its floats; rows of a for each block */
enum { DEPTH = 640, BLOCK = DEPTH * 32, CACHED_ROWS = 768 };

typedef struct product_tile {
    const float *a; /* first row, first k */
    size_t row, step; /* between rows and between k of a */
    const float *b;
    size_t ldb;
    float *c;
    size_t ldc;
    int K;
    int lanes; /* columns of the last vector */
    int add;   /* c += or c = */
    float alpha;
} product_tile;

SELLA_INLINE void product_sums(int mr, int nv, int masked, const product_tile *t)
{
    vf sum[PRODUCT_ROWS][2];
    UNROLL for (int m = 0; m < mr; m++) {
        UNROLL for (int n = 0; n < nv; n++) {
            sum[m][n] = v_zero();
        }
    }
    const float *a = t->a, *b = t->b;
    const size_t row = t->row;
    for (int k = 0; k < t->K; k++, a += t->step, b += t->ldb) {
        vf x[2];
        UNROLL for (int n = 0; n < nv; n++) {
            x[n] = masked && n == nv - 1 ? v_load_n(b + n * W, t->lanes) : v_load(b + n * W);
        }
        UNROLL for (int m = 0; m < mr; m++) {
            const vf y = v_set1(a[(size_t)m * row]);
            UNROLL for (int n = 0; n < nv; n++) {
                sum[m][n] = v_fma(y, x[n], sum[m][n]);
            }
        }
    }
    const vf alpha = v_set1(t->alpha);
    UNROLL for (int m = 0; m < mr; m++) {
        UNROLL for (int n = 0; n < nv; n++) {
            float *to = t->c + (size_t)m * t->ldc + n * W;
            const vf product = v_mul(alpha, sum[m][n]);
            if (masked && n == nv - 1) {
                v_store_n(to, t->add ? v_add(v_load_n(to, t->lanes), product) : product, t->lanes);
            } else {
                v_store(to, t->add ? v_add(v_load(to), product) : product);
            }
        }
    }
}

#define PRODUCT_CASES(name, nv, masked)                          \
    static void name(int mr, const product_tile *t)              \
    {                                                         \
        if (mr == PRODUCT_ROWS) {                                \
            product_sums(PRODUCT_ROWS, nv, masked, t);           \
        } else if (mr == 8 && PRODUCT_ROWS > 8) {                \
            product_sums(8, nv, masked, t);                   \
        } else if (mr == 4) {                                 \
            product_sums(4, nv, masked, t);                   \
        } else if (mr == 2) {                                 \
            product_sums(2, nv, masked, t);                   \
        } else {                                              \
            product_sums(1, nv, masked, t);                   \
        }                                                     \
    }
PRODUCT_CASES(product_two, 2, 0)
PRODUCT_CASES(product_one, 1, 0)
PRODUCT_CASES(product_part, 1, 1)

/* c [rows, cols] (+)= alpha a b for one block of b: cols of depth K, row-major with ldb. */
static void product_block(product_tile t, int rows, int cols)
{
    const float *a = t.a, *b = t.b;
    float *c = t.c;
    for (int m = 0, mr; m < rows; m += mr) {
        mr = rows - m >= PRODUCT_ROWS            ? PRODUCT_ROWS
             : PRODUCT_ROWS > 8 && rows - m >= 8 ? 8
             : rows - m >= 4                     ? 4
             : rows - m >= 2                     ? 2
                                                 : 1;
        t.a = a + (size_t)m * t.row;
        int n = 0;
        for (; n < cols; n += 2 * W) {
            t.b = b + n;
            t.c = c + (size_t)m * t.ldc + (size_t)n;
            t.lanes = W;
            if (cols - n >= 2 * W) {
                product_two(mr, &t);
            } else {
                if (cols - n >= W) {
                    product_one(mr, &t);
                    n += W;
                    t.b += W;
                    t.c += W;
                }
                t.lanes = cols - n;
                if (t.lanes > 0) {
                    product_part(mr, &t);
                }
                break;
            }
        }
    }
}

/* turned [depth, width] = b[n0 .. n0 + cols, k0 .. k0 + depth] transposed, columns beyond cols
 * zero. */
static void product_turn(float *turned, int width, const float *b, size_t ldb, int cols, int depth)
{
    for (int n = 0; n < width; n += 8) {
        int k = 0;
        for (; k + 8 <= depth && n + 8 <= cols; k += 8) {
            __m256 x[8];
            UNROLL for (int i = 0; i < 8; i++) {
                x[i] = _mm256_loadu_ps(b + (size_t)(n + i) * ldb + (size_t)k);
            }
            transpose8(x);
            UNROLL for (int i = 0; i < 8; i++) {
                _mm256_storeu_ps(turned + (size_t)(k + i) * (size_t)width + n, x[i]);
            }
        }
        for (; k < depth; k++) {
            for (int i = 0; i < 8; i++) {
                turned[(size_t)k * (size_t)width + (size_t)(n + i)] =
                    n + i < cols ? b[(size_t)(n + i) * ldb + (size_t)k] : 0.0f;
            }
        }
    }
}

/* block [depth, width] = b[k0 .. k0 + depth, n0 .. n0 + cols]; what is beyond cols is not read. */
static void product_copy(float *block, int width, const float *b, size_t ldb, int cols, int depth)
{
    for (int k = 0; k < depth; k++) {
        memcpy(block + (size_t)k * (size_t)width, b + (size_t)k * ldb,
               (size_t)cols * sizeof *block);
    }
}

/* Rows m0 .. m1 and columns n0 .. n1 of C = alpha op(A) op(B) + (add ? C : 0), few enough rows for
 * the L2 cache. */
static void product_rows(const sella_fast_product *p, float *block, int m0, int m1, int n0, int n1)
{
    product_tile t = {.row = p->ta ? 1 : (size_t)p->lda,
                      .step = p->ta ? (size_t)p->lda : 1,
                      .ldc = (size_t)p->ldc,
                      .alpha = p->alpha};
    const bool copied = p->tb || m1 - m0 > 2 * PRODUCT_ROWS;
    for (int k0 = 0; k0 < p->K; k0 += DEPTH) {
        t.K = p->K - k0 < DEPTH ? p->K - k0 : DEPTH;
        t.add = p->add || k0 > 0;
        const int most = copied ? BLOCK / t.K / (2 * W) * (2 * W) : n1 - n0;
        for (int n = n0; n < n1; n += most) {
            const int cols = n1 - n < most ? n1 - n : most;
            t.a = p->a + (size_t)m0 * t.row + (size_t)k0 * t.step;
            t.c = p->c + (size_t)m0 * t.ldc + (size_t)n;
            t.b = p->tb ? p->b + (size_t)n * (size_t)p->ldb + (size_t)k0
                        : p->b + (size_t)k0 * (size_t)p->ldb + (size_t)n;
            t.ldb = (size_t)p->ldb;
            if (copied) {
                const int width = (cols + 7) / 8 * 8;
                if (p->tb) {
                    product_turn(block, width, t.b, t.ldb, cols, t.K);
                } else {
                    product_copy(block, width, t.b, t.ldb, cols, t.K);
                }
                t.b = block;
                t.ldb = (size_t)width;
            }
            product_block(t, m1 - m0, cols);
        }
    }
}

static void product_range(const sella_fast_product *p, int m0, int m1, int n0, int n1)
{
    float block[BLOCK];
    for (int m = m0; m < m1; m += CACHED_ROWS) {
        product_rows(p, block, m, m1 - m < CACHED_ROWS ? m1 : m + CACHED_ROWS, n0, n1);
    }
}

#endif
