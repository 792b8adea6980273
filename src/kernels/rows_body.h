/* rows_body.h - the element-wise and row kernels over the vectors of simd.h: included by the files
 * that have the flags. */
#ifndef SELLA_KERNELS_ROWS_BODY_H
#define SELLA_KERNELS_ROWS_BODY_H

#include <math.h>

#include "kernels/simd.h"

/* Vectors of a row: full ones, then one of `lanes` < W. */
#define EACH_VECTOR(i, n, lanes)                                                                   \
    for (size_t i = 0, lanes = W; (lanes = (n)-i < W ? (n)-i : W) > 0 && i < (n); i += W)

SELLA_INLINE vf load_lanes(const float *x, size_t lanes)
{
    return lanes == W ? v_load(x) : v_load_n(x, (int)lanes);
}

SELLA_INLINE void store_lanes(float *x, vf a, size_t lanes)
{
    if (lanes == W) {
        v_store(x, a);
    } else {
        v_store_n(x, a, (int)lanes);
    }
}

static float row_norm_forward(float *y, const float *x, const float *w, int C, float eps)
{
    const size_t n = (size_t)C;
    vf sum[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
    size_t c = 0;
    for (; c + 4 * W <= n; c += 4 * W) {
        for (size_t i = 0; i < 4; i++) {
            const vf a = v_load(x + c + i * W);
            sum[i] = v_fma(a, a, sum[i]);
        }
    }
    for (; c < n; c += W) {
        const vf a = load_lanes(x + c, n - c < W ? n - c : W);
        sum[0] = v_fma(a, a, sum[0]);
    }
    const float total = v_sum(v_add(v_add(sum[0], sum[1]), v_add(sum[2], sum[3])));
    const float r = 1.0f / sqrtf(total / (float)C + eps);
    const vf by = v_set1(r);
    EACH_VECTOR(i, n, lanes) {
        store_lanes(y + i, v_mul(load_lanes(w + i, lanes), v_mul(load_lanes(x + i, lanes), by)),
                    lanes);
    }
    return r;
}

static void row_norm_backward(float *dx, const float *dy, const float *x, const float *w, float r,
                              int C)
{
    const size_t n = (size_t)C;
    vf sum[2] = {v_zero(), v_zero()};
    size_t c = 0;
    for (; c + 2 * W <= n; c += 2 * W) {
        for (size_t i = 0; i < 2; i++) {
            const vf a = v_mul(v_load(dy + c + i * W), v_load(w + c + i * W));
            sum[i] = v_fma(a, v_load(x + c + i * W), sum[i]);
        }
    }
    for (; c < n; c += W) {
        const size_t lanes = n - c < W ? n - c : W;
        sum[0] = v_fma(v_mul(load_lanes(dy + c, lanes), load_lanes(w + c, lanes)),
                       load_lanes(x + c, lanes), sum[0]);
    }
    const vf by = v_set1(r), back = v_set1(v_sum(v_add(sum[0], sum[1])) * r * r * r / (float)C);
    EACH_VECTOR(i, n, lanes) {
        const vf direct = v_mul(v_mul(load_lanes(dy + i, lanes), load_lanes(w + i, lanes)), by);
        const vf gradient = v_fnma(load_lanes(x + i, lanes), back, direct);
        store_lanes(dx + i, v_add(load_lanes(dx + i, lanes), gradient), lanes);
    }
}

static void row_rope_head(float *x, int half, const float *cosine, const float *sine, float sign)
{
    const vf turn = v_set1(sign);
    EACH_VECTOR(i, (size_t)half, lanes) {
        const vf a = load_lanes(x + i, lanes), b = load_lanes(x + half + i, lanes);
        const vf c = load_lanes(cosine + i, lanes), s = v_mul(turn, load_lanes(sine + i, lanes));
        store_lanes(x + i, v_fnma(b, s, v_mul(a, c)), lanes);
        store_lanes(x + half + i, v_fma(a, s, v_mul(b, c)), lanes);
    }
}

SELLA_INLINE vf sigmoid(vf x)
{
    return v_div(v_set1(1.0f), v_add(v_set1(1.0f), v_exp(v_sub(v_zero(), x))));
}

static void row_swiglu_forward(float *y, const float *gate, const float *up, int F)
{
    EACH_VECTOR(i, (size_t)F, lanes) {
        const vf g = load_lanes(gate + i, lanes);
        store_lanes(y + i, v_mul(v_mul(g, sigmoid(g)), load_lanes(up + i, lanes)), lanes);
    }
}

static void row_swiglu_backward(float *dgate, float *dup, const float *dy, const float *gate,
                                const float *up, int F)
{
    EACH_VECTOR(i, (size_t)F, lanes) {
        const vf g = load_lanes(gate + i, lanes), u = load_lanes(up + i, lanes), s = sigmoid(g);
        const vf ds = v_mul(load_lanes(dy + i, lanes), s);
        store_lanes(dgate + i, v_mul(v_mul(ds, u), v_fma(g, v_sub(v_set1(1.0f), s), v_set1(1.0f))),
                    lanes);
        store_lanes(dup + i, v_mul(ds, g), lanes);
    }
}

static void row_gelu_forward(float *y, const float *x, size_t n)
{
    EACH_VECTOR(i, n, lanes) {
        const vf a = load_lanes(x + i, lanes), e = v_erf(v_mul(a, v_set1((float)M_SQRT1_2)));
        store_lanes(y + i, v_mul(v_mul(v_set1(0.5f), a), v_add(v_set1(1.0f), e)), lanes);
    }
}

static void row_gelu_backward(float *dx, const float *dy, const float *x, size_t n)
{
    const vf density = v_set1((float)(0.5 * M_SQRT1_2 * M_2_SQRTPI)); /* 1 / sqrt(2 pi) */
    EACH_VECTOR(i, n, lanes) {
        const vf a = load_lanes(x + i, lanes), e = v_erf(v_mul(a, v_set1((float)M_SQRT1_2)));
        const vf bell = v_mul(v_mul(a, density), v_exp(v_mul(v_mul(v_set1(-0.5f), a), a)));
        const vf slope = v_fma(v_set1(0.5f), v_add(v_set1(1.0f), e), bell);
        store_lanes(dx + i, v_mul(load_lanes(dy + i, lanes), slope), lanes);
    }
}

static void row_axpy(float *y, float a, const float *x, size_t n)
{
    EACH_VECTOR(i, n, lanes) {
        store_lanes(y + i, v_fma(v_set1(a), load_lanes(x + i, lanes), load_lanes(y + i, lanes)),
                    lanes);
    }
}

static void row_exp(float *y, const float *x, size_t n)
{
    EACH_VECTOR(i, n, lanes) {
        store_lanes(y + i, v_exp(load_lanes(x + i, lanes)), lanes);
    }
}

#endif
