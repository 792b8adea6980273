/* rope.h - rotary positions in the half-split order of Hugging Face (pairs (d, d + D/2)).
 *
 * Layout:   x is [T, H, D] inside rows of `ld` elements.
 * Threads:  internally parallel over tokens.
 * Paper:    Su et al. 2021; Llama 3's frequency scaling as in transformers' "llama3" rope type.
 */
#ifndef SELLA_KERNELS_ROPE_H
#define SELLA_KERNELS_ROPE_H

#include <stdint.h>

typedef struct sella_rope_scaling {
    int llama3; /* 0: none. 1: the four values below */
    double factor;
    double low_freq_factor;
    double high_freq_factor;
    double original_context;
} sella_rope_scaling;

/* Inverse frequencies inv [D/2]: theta^(-2d/D), scaled when asked. */
void sella_rope_frequencies(double *inv, int D, double theta, const sella_rope_scaling *scaling);
/* cos and sin [positions, D/2] for positions 0 .. positions-1, computed in double. */
void sella_rope_table(float *cosine, float *sine, int positions, int D, const double *inv);

/* Rotate H heads of every token in place by its position; inverse != 0 rotates back (the backward
 * pass of the forward one). */
void sella_rope_apply(float *x, int ld, int T, int H, int D, const int32_t *position_t,
                      const float *cosine, const float *sine, int inverse);
#endif
