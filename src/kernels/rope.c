/* rope.c - tables in double, rotation split over tokens. */
#include "kernels/rope.h"

#include <assert.h>
#include <math.h>
#include <stddef.h>

#include "kernels/fast.h"

/* Llama 3 stretches the slow frequencies by `factor`, leaves the fast ones, and blends linearly (in
 * original_context / wavelength) between the two bounds. */
static double rope_llama3(double inv, const sella_rope_scaling *scaling)
{
    const double turns = scaling->original_context * inv / (2.0 * M_PI);
    if (turns < scaling->low_freq_factor) {
        return inv / scaling->factor;
    }
    if (turns > scaling->high_freq_factor) {
        return inv;
    }
    const double blend =
        (turns - scaling->low_freq_factor) / (scaling->high_freq_factor - scaling->low_freq_factor);
    return (1.0 - blend) * inv / scaling->factor + blend * inv;
}

void sella_rope_frequencies(double *inv, int D, double theta, const sella_rope_scaling *scaling)
{
    assert(D % 2 == 0);
    for (int d = 0; d < D / 2; d++) {
        inv[d] = pow(theta, -2.0 * d / D);
        if (scaling != NULL && scaling->llama3) {
            inv[d] = rope_llama3(inv[d], scaling);
        }
    }
}

void sella_rope_table(float *cosine, float *sine, int positions, int D, const double *inv)
{
    const int half = D / 2;
#pragma omp parallel for schedule(static)
    for (int p = 0; p < positions; p++) {
        for (int d = 0; d < half; d++) {
            cosine[(size_t)p * (size_t)half + (size_t)d] = (float)cos(p * inv[d]);
            sine[(size_t)p * (size_t)half + (size_t)d] = (float)sin(p * inv[d]);
        }
    }
}

void sella_rope_apply(float *x, int ld, int T, int H, int D, const int32_t *position_t,
                      const float *cosine, const float *sine, int inverse)
{
    const sella_fast *fast = sella_fast_best();
    const int half = D / 2;
    const float sign = inverse ? -1.0f : 1.0f;
#pragma omp parallel for schedule(static) if (T > 1)
    for (int t = 0; t < T; t++) {
        const size_t row = (size_t)position_t[t] * (size_t)half;
        for (int h = 0; h < H; h++) {
            fast->rope_head(x + (size_t)t * (size_t)ld + (size_t)h * (size_t)D, half, cosine + row,
                            sine + row, sign);
        }
    }
}
