/* fast.c - the plain table, and the choice. */
#include "kernels/fast.h"

#include <math.h>

static float norm_forward(float *y, const float *x, const float *w, int C, float eps)
{
    double sum = 0;
    for (int c = 0; c < C; c++) {
        sum += (double)x[c] * (double)x[c];
    }
    const float r = (float)(1.0 / sqrt(sum / C + (double)eps));
    for (int c = 0; c < C; c++) {
        y[c] = w[c] * (x[c] * r);
    }
    return r;
}

/* y_c = w_c x_c r with dr/dx_c = -r^3 x_c / C, so dx_c += r w_c dy_c - x_c r^3 / C sum_k w_k dy_k
 * x_k. */
static void norm_backward(float *dx, const float *dy, const float *x, const float *w, float r,
                          int C)
{
    double sum = 0;
    for (int c = 0; c < C; c++) {
        sum += (double)(dy[c] * w[c]) * (double)x[c];
    }
    const float back = (float)(sum * (double)r * (double)r * (double)r / C);
    for (int c = 0; c < C; c++) {
        dx[c] += dy[c] * w[c] * r - x[c] * back;
    }
}

static void rope_head(float *x, int half, const float *cosine, const float *sine, float sign)
{
    for (int d = 0; d < half; d++) {
        const float a = x[d], b = x[half + d], s = sign * sine[d];
        x[d] = a * cosine[d] - b * s;
        x[half + d] = b * cosine[d] + a * s;
    }
}

static void swiglu_forward(float *y, const float *gate, const float *up, int F)
{
    for (int f = 0; f < F; f++) {
        y[f] = gate[f] / (1.0f + expf(-gate[f])) * up[f];
    }
}

/* With s = sigmoid(g): d silu / dg = s (1 + g (1 - s)). */
static void swiglu_backward(float *dgate, float *dup, const float *dy, const float *gate,
                            const float *up, int F)
{
    for (int f = 0; f < F; f++) {
        const float d = dy[f], g = gate[f], u = up[f], s = 1.0f / (1.0f + expf(-g));
        dgate[f] = d * u * s * (1.0f + g * (1.0f - s));
        dup[f] = d * g * s;
    }
}

static void gelu_forward(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = 0.5f * x[i] * (1.0f + erff(x[i] * (float)M_SQRT1_2));
    }
}

/* gelu'(x) = Phi(x) + x phi(x). */
static void gelu_backward(float *dx, const float *dy, const float *x, size_t n)
{
    const float density = (float)(0.5 * M_SQRT1_2 * M_2_SQRTPI); /* 1 / sqrt(2 pi) */
    for (size_t i = 0; i < n; i++) {
        const float cumulative = 0.5f * (1.0f + erff(x[i] * (float)M_SQRT1_2));
        dx[i] = dy[i] * (cumulative + x[i] * density * expf(-0.5f * x[i] * x[i]));
    }
}

static void axpy(float *y, float a, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] += a * x[i];
    }
}

static void exp_all(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = expf(x[i]);
    }
}

static const sella_fast plain = {
    .name = "plain",
    .norm_forward = norm_forward,
    .norm_backward = norm_backward,
    .rope_head = rope_head,
    .swiglu_forward = swiglu_forward,
    .swiglu_backward = swiglu_backward,
    .gelu_forward = gelu_forward,
    .gelu_backward = gelu_backward,
    .axpy = axpy,
    .exp = exp_all,
    .dequantize = sella_dequantize_plain,
};

#if defined(__x86_64__) && defined(__GNUC__)
extern const sella_fast sella_fast_avx2, sella_fast_avx512;

const sella_fast *sella_fast_level(int level)
{
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                      __builtin_cpu_supports("f16c");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512vl");
    switch (level) {
    case 0:
        return &plain;
    case 1:
        return avx2 ? &sella_fast_avx2 : NULL;
    case 2:
        return avx512 ? &sella_fast_avx512 : NULL;
    default:
        return NULL;
    }
}
#else
const sella_fast *sella_fast_level(int level)
{
    return level == 0 ? &plain : NULL;
}
#endif

const sella_fast *sella_fast_best(void)
{
    for (int level = SELLA_FAST_LEVELS - 1; level > 0; level--) {
        const sella_fast *fast = sella_fast_level(level);
        if (fast != NULL) {
            return fast;
        }
    }
    return &plain;
}
