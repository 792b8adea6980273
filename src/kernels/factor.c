/* factor.c - plain steps of a factor model, and the choice of the fast ones (kernels/factor.h). */
#include "kernels/factor.h"

#include <math.h>

#include "kernels/fast.h"

/* One side's new rate; the sum of squares has the gradient of this step already. */
static float rate_of(float *squares, float gradient_square, float rate)
{
    *squares += gradient_square;
    return rate / sqrtf(*squares);
}

void sella_factor_steps_plain(const sella_factor_block *block, sella_factor_sums *sums)
{
    const int C = block->C;
    const size_t stride = sella_factor_stride(C);
    for (int64_t n = 0; n < block->count; n++) {
        float *p = block->user + (size_t)block->entry[n].user * stride, *p_tail = p + block->width;
        float *q = block->item + (size_t)block->entry[n].item * stride, *q_tail = q + block->width;
        const float y = block->entry[n].label;
        float dot = 0, pp = 0, qq = 0;
        for (int c = 0; c < C; c++) {
            dot += p[c] * q[c];
            pp += p[c] * p[c];
            qq += q[c] * q[c];
        }
        const float z = dot + (p_tail[SELLA_FACTOR_BIAS] + q_tail[SELLA_FACTOR_BIAS] + block->b0);
        const float e = expf(-fabsf(z)), s = (z >= 0 ? 1.0f : e) / (1.0f + e), d = s - y,
                    dd = d * d;
        const float p_rate =
            rate_of(&p_tail[SELLA_FACTOR_SQUARES], dd * qq / (float)C, block->rate);
        const float q_rate =
            rate_of(&q_tail[SELLA_FACTOR_SQUARES], dd * pp / (float)C, block->rate);
        const float p_bias = rate_of(&p_tail[SELLA_FACTOR_BIAS_SQUARES], dd, block->bias_rate);
        const float q_bias = rate_of(&q_tail[SELLA_FACTOR_BIAS_SQUARES], dd, block->bias_rate);
        const float p_decay = p_tail[SELLA_FACTOR_DECAY], q_decay = q_tail[SELLA_FACTOR_DECAY];
        const float p_keep = 1.0f / (1.0f + p_rate * p_decay),
                    q_keep = 1.0f / (1.0f + q_rate * q_decay);
        for (int c = 0; c < C; c++) {
            const float pc = p[c], qc = q[c];
            p[c] = p_keep * (pc - p_rate * d * qc);
            q[c] = q_keep * (qc - q_rate * d * pc);
        }
        p_tail[SELLA_FACTOR_BIAS] =
            (p_tail[SELLA_FACTOR_BIAS] - p_bias * d) / (1.0f + p_bias * p_decay);
        q_tail[SELLA_FACTOR_BIAS] =
            (q_tail[SELLA_FACTOR_BIAS] - q_bias * d) / (1.0f + q_bias * q_decay);
        sums->loss += (double)((z > 0 ? z : 0.0f) - y * z) + log1p((double)e);
        sums->slope += (double)d;
        sums->curvature += (double)(s * (1.0f - s));
    }
}

void sella_factor_steps(const sella_factor_block *block, sella_factor_sums *sums)
{
    const sella_fast *fast = sella_fast_best();
    if (fast->factor_steps) {
        fast->factor_steps(block, sums);
    } else {
        sella_factor_steps_plain(block, sums);
    }
}
