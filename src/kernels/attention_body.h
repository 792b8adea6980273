/* attention_body.h - attention of one tile, over the vectors of simd.h: included by the files that
 * have the flags.
 *
 * Everything between the packed queries and the keys is held transposed: rows (query token, head)
 * run along the vector, so that the softmax needs no sum across lanes, keys and values are read
 * where they stand (as broadcast scalars), and a key's mask is a range of lanes. Key blocks of
 * KEYS; the products work on MR x 2 vectors of the result.
 *
 * Easy to get wrong: parts of S that no row sees are not computed, so the softmax pass writes zeros
 * there before they are read.
 */
#ifndef SELLA_KERNELS_ATTENTION_BODY_H
#define SELLA_KERNELS_ATTENTION_BODY_H

#include <math.h>
#include <string.h>

#include "kernels/attention_tile.h"
#include "kernels/simd.h"

#if defined(__AVX512F__)
enum { MR = 8 };
#else
enum { MR = 6 };
#endif
enum { FORWARD_KEYS = 128, BACKWARD_KEYS = 64, KEYS_MAX = 128, ROWS = SELLA_ATTENTION_ROWS + 15 };

/* ---- products ---- */

/* c_m[0 .. nv W) = or += sum_k a_m[k] b[k, :]; the last vector has `tail` lanes. */
SELLA_INLINE void dot_tile(int mr, int nv, int K, const float *const *a, const float *b, int ldb,
                           float *const *c, size_t at, int tail, int add)
{
    vf sum[8][2];
    UNROLL for (int m = 0; m < mr; m++) {
        UNROLL for (int n = 0; n < nv; n++) {
            sum[m][n] = v_zero();
        }
    }
    for (int k = 0; k < K; k++, b += ldb) {
        vf x[2];
        UNROLL for (int n = 0; n < nv; n++) {
            x[n] = v_load(b + n * W);
        }
        UNROLL for (int m = 0; m < mr; m++) {
            const vf y = v_set1(a[m][k]);
            UNROLL for (int n = 0; n < nv; n++) {
                sum[m][n] = v_fma(y, x[n], sum[m][n]);
            }
        }
    }
    UNROLL for (int m = 0; m < mr; m++) {
        UNROLL for (int n = 0; n < nv; n++) {
            float *to = c[m] + at + n * W;
            if (n == nv - 1 && tail < W) {
                v_store_n(to, add ? v_add(v_load_n(to, tail), sum[m][n]) : sum[m][n], tail);
            } else {
                v_store(to, add ? v_add(v_load(to), sum[m][n]) : sum[m][n]);
            }
        }
    }
}

/* c[m, :] += sum_k a_k[m] b[k, :] */
SELLA_INLINE void sum_tile(int mr, int nv, int K, const float *const *a, int m0, const float *b,
                           int ldb, float *c, int ldc)
{
    vf sum[8][2];
    UNROLL for (int m = 0; m < mr; m++) {
        UNROLL for (int n = 0; n < nv; n++) {
            sum[m][n] = v_load(c + (size_t)m * (size_t)ldc + n * W);
        }
    }
    for (int k = 0; k < K; k++, b += ldb) {
        const float *from = a[k] + m0;
        vf x[2];
        UNROLL for (int n = 0; n < nv; n++) {
            x[n] = v_load(b + n * W);
        }
        UNROLL for (int m = 0; m < mr; m++) {
            const vf y = v_set1(from[m]);
            UNROLL for (int n = 0; n < nv; n++) {
                sum[m][n] = v_fma(y, x[n], sum[m][n]);
            }
        }
    }
    UNROLL for (int m = 0; m < mr; m++) {
        UNROLL for (int n = 0; n < nv; n++) {
            v_store(c + (size_t)m * (size_t)ldc + n * W, sum[m][n]);
        }
    }
}

SELLA_INLINE int tile_rows(int left)
{
    return left >= MR ? MR : left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

#define BY_ROWS(mr, call) \
    switch (mr) {         \
    case MR:              \
        call(MR);         \
        break;            \
    case 4:               \
        call(4);          \
        break;            \
    case 2:               \
        call(2);          \
        break;            \
    default:              \
        call(1);          \
        break;            \
    }

static void dot_pair(int mr, int K, const float *const *a, const float *b, int ldb, float *const *c,
                     size_t at, int add)
{
#define CALL(rows) dot_tile(rows, 2, K, a, b, ldb, c, at, W, add)
    BY_ROWS(mr, CALL)
#undef CALL
}

static void dot_single(int mr, int K, const float *const *a, const float *b, int ldb,
                       float *const *c, size_t at, int tail, int add)
{
#define CALL(rows) dot_tile(rows, 1, K, a, b, ldb, c, at, tail, add)
    BY_ROWS(mr, CALL)
#undef CALL
}

/* [M, nv W] of the second product. */
static void sum_panel(int nv, int M, int K, const float *const *a, const float *b, int ldb,
                      float *c, int ldc)
{
    for (int m = 0, mr; m < M; m += mr) {
        mr = tile_rows(M - m);
        float *to = c + (size_t)m * (size_t)ldc;
        if (nv == 2) {
#define CALL(rows) sum_tile(rows, 2, K, a, m, b, ldb, to, ldc)
            BY_ROWS(mr, CALL)
#undef CALL
        } else {
#define CALL(rows) sum_tile(rows, 1, K, a, m, b, ldb, to, ldc)
            BY_ROWS(mr, CALL)
#undef CALL
        }
    }
}

/* ---- rows in and out ---- */

/* Where the tile's rows stand in a tensor of token rows; rows from R to RP repeat the last one (no
 * key is seen from there). */
static void row_pointers(const sella_attention_tile *t, const float **row, const float *x, int ld,
                         int RP)
{
    int r = 0;
    for (int i = 0; i < t->queries; i++) {
        const float *token = x + (size_t)t->query[i] * (size_t)ld;
        for (int h = 0; h < t->ratio; h++) {
            row[r++] = token + (size_t)h * (size_t)t->D;
        }
    }
    for (; r < RP; r++) {
        row[r] = row[r - 1];
    }
}

/* Ask for the rows before they are needed, all at once: packing them one after the other would wait
 * for each. */
static void fetch(const float *const *row, int R, int D)
{
    for (int r = 0; r < R; r++) {
        for (int d = 0; d < D; d += 16) {
            _mm_prefetch((const char *)(row[r] + d), _MM_HINT_T1);
        }
    }
}

/* xt [D, RP] = factor * rows, transposed. RP is a multiple of 8. packed [RP, DP] gets the rows as
 * they are unless it is NULL, with zeros from D to DP. */
static void pack(float *xt, int RP, float *packed, int DP, const float *const *row, int D,
                 float factor)
{
    const __m256 by = _mm256_set1_ps(factor);
    for (int r = 0; r < RP; r += 8) {
        int d = 0;
        for (; d + 8 <= D; d += 8) {
            __m256 y[8];
            UNROLL for (int i = 0; i < 8; i++) {
                y[i] = _mm256_mul_ps(_mm256_loadu_ps(row[r + i] + d), by);
            }
            if (packed != NULL) {
                UNROLL for (int i = 0; i < 8; i++) {
                    _mm256_storeu_ps(packed + (size_t)(r + i) * (size_t)DP + d, y[i]);
                }
            }
            transpose8(y);
            UNROLL for (int i = 0; i < 8; i++) {
                _mm256_storeu_ps(xt + (size_t)(d + i) * (size_t)RP + r, y[i]);
            }
        }
        for (; d < D; d++) {
            for (int i = 0; i < 8; i++) {
                xt[(size_t)d * (size_t)RP + (size_t)(r + i)] = factor * row[r + i][d];
                if (packed != NULL) {
                    packed[(size_t)(r + i) * (size_t)DP + (size_t)d] = factor * row[r + i][d];
                }
            }
        }
        for (; packed != NULL && d < DP; d++) {
            for (int i = 0; i < 8; i++) {
                packed[(size_t)(r + i) * (size_t)DP + (size_t)d] = 0.0f;
            }
        }
    }
}

/* The R rows = xt transposed, row r times by_r. */
static void unpack(float *const *row, const float *xt, int RP, const float *by_r, int R, int D)
{
    for (int r = 0; r < R; r += 8) {
        const __m256 by = _mm256_loadu_ps(by_r + r);
        const int rows = R - r < 8 ? R - r : 8;
        int d = 0;
        for (; d + 8 <= D; d += 8) {
            __m256 y[8];
            UNROLL for (int i = 0; i < 8; i++) {
                y[i] = _mm256_mul_ps(_mm256_loadu_ps(xt + (size_t)(d + i) * (size_t)RP + r), by);
            }
            transpose8(y);
            if (rows == 8) {
                UNROLL for (int i = 0; i < 8; i++) {
                    _mm256_storeu_ps(row[r + i] + d, y[i]);
                }
            } else {
                for (int i = 0; i < rows; i++) {
                    _mm256_storeu_ps(row[r + i] + d, y[i]);
                }
            }
        }
        for (; d < D; d++) {
            for (int i = 0; i < rows; i++) {
                row[r + i][d] = xt[(size_t)d * (size_t)RP + (size_t)(r + i)] * by_r[r + i];
            }
        }
    }
}

/* ---- one block of keys ---- */

typedef struct key_block {
    int count;
    int low[KEYS_MAX], high[KEYS_MAX]; /* rows that see the key */
    const float *k[KEYS_MAX], *v[KEYS_MAX];
} key_block;

static void block_take(key_block *block, const sella_attention_tile *t, int from, int most)
{
    block->count = t->keys - from < most ? t->keys - from : most;
    for (int j = 0; j < block->count; j++) {
        block->low[j] = t->low[from + j] * t->ratio;
        block->high[j] = t->high[from + j] * t->ratio;
        block->k[j] = t->k + (size_t)t->key[from + j] * (size_t)t->ldk;
        block->v[j] = t->v + (size_t)t->key[from + j] * (size_t)t->ldv;
    }
}

/* Rows that some of the mr keys from j on see. */
SELLA_INLINE void group_range(const key_block *block, int j, int mr, int *low, int *high)
{
    *low = block->low[j];
    *high = block->high[j];
    for (int m = 1; m < mr; m++) {
        *low = block->low[j + m] < *low ? block->low[j + m] : *low;
        *high = block->high[j + m] > *high ? block->high[j + m] : *high;
    }
}

/* st [count, RP] = a_j . xt[:, row], where rows see the key at all. a: the block's k or v rows. */
static void block_scores(const key_block *block, float *st, int RP, const float *const *a,
                         const float *xt, int D)
{
    for (int j = 0, mr; j < block->count; j += mr) {
        mr = tile_rows(block->count - j);
        int low, high;
        group_range(block, j, mr, &low, &high);
        float *c[8];
        for (int m = 0; m < mr; m++) {
            c[m] = st + (size_t)(j + m) * (size_t)RP;
        }
        int r = 0;
        for (; r + 2 * W <= RP; r += 2 * W) {
            if (r < high && r + 2 * W > low) {
                dot_pair(mr, D, a + j, xt + r, RP, c, (size_t)r, 0);
            }
        }
        if (r < RP && r < high && r + W > low) {
            dot_single(mr, D, a + j, xt + r, RP, c, (size_t)r, W, 0);
        }
    }
}

/* xt [D, RP] += a_j^T pt, by panels of rows, each with the keys that it sees. */
static void block_sum(const key_block *block, const float *pt, int RP, const float *const *a,
                      float *xt, int D)
{
    for (int r = 0; r < RP; r += 2 * W) {
        const int nv = RP - r >= 2 * W ? 2 : 1;
        int from = 0, to = block->count;
        while (from < to && (block->low[from] >= r + nv * W || block->high[from] <= r)) {
            from++;
        }
        while (to > from && (block->low[to - 1] >= r + nv * W || block->high[to - 1] <= r)) {
            to--;
        }
        if (from < to) {
            sum_panel(nv, D, to - from, a + from, pt + (size_t)from * (size_t)RP + r, RP, xt + r,
                      RP);
        }
    }
}

/* c_j [D] += sum over rows of pt[j, row] x[row, :]. */
static void block_rows(const key_block *block, const float *pt, int RP, const float *x, int DP,
                       float *const *c, int D)
{
    for (int j = 0, mr; j < block->count; j += mr) {
        mr = tile_rows(block->count - j);
        int low, high;
        group_range(block, j, mr, &low, &high);
        const float *a[8];
        for (int m = 0; m < mr; m++) {
            a[m] = pt + (size_t)(j + m) * (size_t)RP + low;
        }
        int d = 0;
        for (; d + 2 * W <= D; d += 2 * W) {
            dot_pair(mr, high - low, a, x + (size_t)low * (size_t)DP + d, DP, c + j, (size_t)d, 1);
        }
        for (; d < D; d += W) {
            dot_single(mr, high - low, a, x + (size_t)low * (size_t)DP + d, DP, c + j, (size_t)d,
                       D - d < W ? D - d : W, 1);
        }
    }
}

/* ---- forward ---- */

static int padded(int n)
{
    return (n + W - 1) / W * W;
}

static void tile_size(sella_attention_size *size, int D, int ratio)
{
    int queries = SELLA_ATTENTION_ROWS / ratio;
    queries = queries > 64 ? 64 : queries < 1 ? 1 : queries;
    const size_t RP = (size_t)padded(queries * ratio), DP = (size_t)padded(D);
    size->queries = queries;
    size->forward_work = RP * (2 * (size_t)D + FORWARD_KEYS + 3);
    size->backward_work = RP * (3 * (size_t)D + 2 * DP + 2 * BACKWARD_KEYS + 3);
}

static const float hidden = -1e30f; /* a score that no row has */

/* Online softmax of W rows from r on: st becomes exp(st - top), top and total move on. Returns
 * false when no row saw a key; *shrink is what older sums have to be multiplied by. */
SELLA_INLINE int softmax_rows(const key_block *block, float *st, int RP, int r, float *top_r,
                              float *total_r, vf *shrink)
{
    vf top = v_load(top_r + r);
    const vf before = top;
    int seen = 0;
    for (int j = 0; j < block->count; j++) {
        if (block->low[j] >= r + W || block->high[j] <= r) {
            continue;
        }
        float *at = st + (size_t)j * (size_t)RP + r;
        vf s = v_load(at);
        if (block->low[j] > r || block->high[j] < r + W) {
            s = v_select(v_lanes(block->low[j] - r, block->high[j] - r), s, v_set1(hidden));
            v_store(at, s);
        }
        top = v_max(top, s);
        seen = 1;
    }
    if (!seen) {
        return 0;
    }
    vf total = v_zero();
    for (int j = 0; j < block->count; j++) {
        float *at = st + (size_t)j * (size_t)RP + r;
        vf p = v_zero();
        if (block->low[j] < r + W && block->high[j] > r) {
            p = v_exp(v_sub(v_load(at), top));
            if (block->low[j] > r || block->high[j] < r + W) {
                p = v_select(v_lanes(block->low[j] - r, block->high[j] - r), p, v_zero());
            }
            total = v_add(total, p);
        }
        v_store(at, p);
    }
    *shrink = v_exp(v_sub(before, top));
    v_store(top_r + r, top);
    v_store(total_r + r, v_fma(v_load(total_r + r), *shrink, total));
    return 1;
}

static void tile_forward(const sella_attention_tile *t)
{
    const int D = t->D, R = t->queries * t->ratio, RP = padded(R);
    float *qt = t->work, *ot = qt + (size_t)D * (size_t)RP, *st = ot + (size_t)D * (size_t)RP;
    float *top = st + (size_t)FORWARD_KEYS * (size_t)RP, *total = top + RP, *inverse = total + RP;
    key_block block;
    const float *row[ROWS];
    row_pointers(t, row, t->q, t->ldq, RP);
    fetch(row, R, D);
    pack(qt, RP, NULL, 0, row, D, t->scale);
    memset(ot, 0, (size_t)D * (size_t)RP * sizeof *ot);
    for (int r = 0; r < RP; r++) {
        top[r] = hidden;
        total[r] = 0.0f;
    }
    for (int from = 0; from < t->keys; from += FORWARD_KEYS) {
        block_take(&block, t, from, FORWARD_KEYS);
        block_scores(&block, st, RP, block.k, qt, D);
        for (int r = 0; r < RP; r += W) {
            vf shrink;
            if (!softmax_rows(&block, st, RP, r, top, total, &shrink)) {
                /* a neighbour in the same panel may read it */
                for (int j = 0; j < block.count; j++) {
                    v_store(st + (size_t)j * (size_t)RP + r, v_zero());
                }
            } else if (from > 0) {
                for (int d = 0; d < D; d++) {
                    float *at = ot + (size_t)d * (size_t)RP + r;
                    v_store(at, v_mul(v_load(at), shrink));
                }
            }
        }
        block_sum(&block, st, RP, block.v, ot, D);
    }
    for (int r = 0; r < RP; r++) {
        inverse[r] = r < R ? 1.0f / total[r] : 0.0f;
    }
    row_pointers(t, row, t->o, t->ldo, RP);
    unpack((float *const *)(uintptr_t)row, ot, RP, inverse, R, D);
    for (int r = 0; r < R && t->lse != NULL; r++) {
        t->lse[(size_t)t->query[r / t->ratio] * (size_t)t->ldlse + (size_t)(r % t->ratio)] =
            top[r] + logf(total[r]);
    }
}

/* ---- backward ---- */

/* delta_r = do_r . o_r, and the rows' lse. */
static void row_sums(const sella_attention_tile *t, float *delta, float *lse, int RP,
                     const float *const *do_row, const float *const *o_row)
{
    const int R = t->queries * t->ratio, D = t->D;
    for (int r = 0; r < R; r++) {
        vf sum = v_zero();
        int d = 0;
        for (; d + W <= D; d += W) {
            sum = v_fma(v_load(do_row[r] + d), v_load(o_row[r] + d), sum);
        }
        if (d < D) {
            sum = v_fma(v_load_n(do_row[r] + d, D - d), v_load_n(o_row[r] + d, D - d), sum);
        }
        delta[r] = v_sum(sum);
    }
    for (int i = 0, r = 0; i < t->queries; i++) {
        for (int h = 0; h < t->ratio; h++, r++) {
            lse[r] = t->lse[(size_t)t->query[i] * (size_t)t->ldlse + (size_t)h];
        }
    }
    for (int r = R; r < RP; r++) {
        delta[r] = lse[r] = 0.0f;
    }
}

/* pt: scores -> probabilities; dst: do . v -> gradient of the scaled scores, p (do . v - delta). */
static void block_gradient(const key_block *block, float *pt, float *dst, int RP, const float *lse,
                           const float *delta)
{
    for (int j = 0; j < block->count; j++) {
        const int low = block->low[j], high = block->high[j];
        for (int r = 0; r < RP; r += W) {
            const size_t at = (size_t)j * (size_t)RP + (size_t)r;
            vf p = v_zero(), ds = v_zero();
            if (low < r + W && high > r) {
                p = v_exp(v_sub(v_load(pt + at), v_load(lse + r)));
                ds = v_mul(p, v_sub(v_load(dst + at), v_load(delta + r)));
                if (low > r || high < r + W) {
                    const vm seen = v_lanes(low - r, high - r);
                    p = v_select(seen, p, v_zero());
                    ds = v_select(seen, ds, v_zero());
                }
            }
            v_store(pt + at, p);
            v_store(dst + at, ds);
        }
    }
}

static void tile_backward(const sella_attention_tile *t)
{
    const int D = t->D, R = t->queries * t->ratio, RP = padded(R), DP = padded(D);
    const size_t columns = (size_t)D * (size_t)RP, rows = (size_t)DP * (size_t)RP,
                 scores = (size_t)BACKWARD_KEYS * (size_t)RP;
    float *qt = t->work, *dot = qt + columns, *dqt = dot + columns, *q = dqt + columns,
          *d_o = q + rows;
    float *pt = d_o + rows, *dst = pt + scores, *lse = dst + scores, *delta = lse + RP,
          *factor = delta + RP;
    key_block block;
    const float *row[ROWS], *do_row[ROWS], *o_row[ROWS];
    row_pointers(t, row, t->q, t->ldq, RP);
    row_pointers(t, do_row, t->do_, t->lddo, RP);
    row_pointers(t, o_row, t->o, t->ldo, RP);
    fetch(row, R, D);
    fetch(do_row, R, D);
    fetch(o_row, R, D);
    pack(qt, RP, q, DP, row, D, t->scale);
    pack(dot, RP, d_o, DP, do_row, D, 1.0f);
    row_sums(t, delta, lse, RP, do_row, o_row);
    memset(dqt, 0, columns * sizeof *dqt);
    for (int from = 0; from < t->keys; from += BACKWARD_KEYS) {
        float *dk[BACKWARD_KEYS], *dv[BACKWARD_KEYS];
        block_take(&block, t, from, BACKWARD_KEYS);
        for (int j = 0; j < block.count; j++) {
            const int slot = t->slot[from + j];
            const size_t token = (size_t)t->key[from + j];
            dk[j] = slot < 0 ? t->dk + token * (size_t)t->lddk
                             : t->partial + (size_t)slot * 2 * (size_t)D;
            dv[j] = slot < 0 ? t->dv + token * (size_t)t->lddv
                             : t->partial + ((size_t)slot * 2 + 1) * (size_t)D;
        }
        block_scores(&block, pt, RP, block.k, qt, D);
        block_scores(&block, dst, RP, block.v, dot, D);
        block_gradient(&block, pt, dst, RP, lse, delta);
        block_rows(&block, pt, RP, d_o, DP, dv, D);
        block_rows(&block, dst, RP, q, DP, dk, D);
        block_sum(&block, dst, RP, block.k, dqt, D);
    }
    for (int r = 0; r < RP; r++) {
        factor[r] = t->scale;
    }
    row_pointers(t, row, t->dq, t->lddq, RP);
    unpack((float *const *)(uintptr_t)row, dqt, RP, factor, R, D);
}

#endif
