/* factor_body.h - the steps of factor.h over the vectors of simd.h: included by the files that have
 * the flags.
 *
 * One pass over p and q sums p.q, |p|^2 and |q|^2, so that the rates are known before the second
 * pass writes. The four rates of an entry (p, bias of p, q, bias of q) are worked out side by side
 * in the lanes of one register, with exact square roots and quotients: the same bits on every CPU
 * of a level.
 */
#ifndef SELLA_KERNELS_FACTOR_BODY_H
#define SELLA_KERNELS_FACTOR_BODY_H

#include <math.h>

#include "kernels/factor.h"
#include "kernels/simd.h"

enum { FACTOR_RUN = 512 }; /* factors 1 + exp(-|z|) <= 2 of one product: it stays below 2^512 */

#if defined(__AVX512F__)
SELLA_INLINE __m128 v_fold(vf a)
{
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}
SELLA_INLINE float v_first(vf a)
{
    return _mm512_cvtss_f32(a);
}
#else
SELLA_INLINE __m128 v_fold(vf a)
{
    return _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
}
SELLA_INLINE float v_first(vf a)
{
    return _mm256_cvtss_f32(a);
}
#endif

#define LANE_ALL(x, i) _mm_shuffle_ps(x, x, _MM_SHUFFLE(i, i, i, i))

/* {sum a, sum b, sum c, 0} */
SELLA_INLINE __m128 three_sums(vf a, vf b, vf c)
{
    const __m128 x = v_fold(a), y = v_fold(b), z = v_fold(c), zero = _mm_setzero_ps();
    const __m128 xy = _mm_add_ps(_mm_unpacklo_ps(x, y), _mm_unpackhi_ps(x, y));
    const __m128 z0 = _mm_add_ps(_mm_unpacklo_ps(z, zero), _mm_unpackhi_ps(z, zero));
    return _mm_add_ps(_mm_movelh_ps(xy, z0), _mm_movehl_ps(z0, xy));
}

/* width is a constant in the calls below where that pays. */
SELLA_INLINE void factor_steps(const sella_factor_block *block, const size_t width,
                               sella_factor_sums *sums)
{
    const size_t stride = width + SELLA_FACTOR_TAIL;
    const __m128 rate = _mm_setr_ps(block->rate, block->bias_rate, block->rate, block->bias_rate);
    const float share = 1.0f / (float)block->C;
    double loss = 0, slope = 0, curvature = 0;
    for (int64_t from = 0; from < block->count; from += FACTOR_RUN) {
        const int64_t to = block->count - from < FACTOR_RUN ? block->count : from + FACTOR_RUN;
        double product = 1;
        for (int64_t n = from; n < to; n++) {
            const sella_factor_entry entry = block->entry[n];
            float *p = block->user + (size_t)entry.user * stride,
                  *q = block->item + (size_t)entry.item * stride;
            vf dot = v_zero(), pp = v_zero(), qq = v_zero();
            for (size_t c = 0; c < width; c += W) {
                const vf a = v_load(p + c), b = v_load(q + c);
                dot = v_fma(a, b, dot);
                pp = v_fma(a, a, pp);
                qq = v_fma(b, b, qq);
            }
            /* A, A bias, bias, decay */
            const __m128 p_tail = _mm_load_ps(p + width), q_tail = _mm_load_ps(q + width);
            /* |q|^2, p.q, |p|^2, 0 */
            const __m128 sum = three_sums(qq, dot, pp);
            const __m128 biases = _mm_add_ps(p_tail, q_tail);
            const float z =
                _mm_cvtss_f32(_mm_add_ss(LANE_ALL(sum, 1), LANE_ALL(biases, 2))) + block->b0;
            const float e = v_first(v_exp(v_set1(-fabsf(z)))), y = entry.label;
            const float s = (z >= 0 ? 1.0f : e) / (1.0f + e), d = s - y;
            /* lanes: p, bias of p, q, bias of q */
            const __m128 one = _mm_set1_ps(1.0f), each = _mm_setr_ps(share, 1.0f, share, 1.0f);
            const __m128 gradient =
                _mm_mul_ps(_mm_blend_ps(sum, one, 10), _mm_mul_ps(each, _mm_set1_ps(d * d)));
            const __m128 squares = _mm_add_ps(_mm_movelh_ps(p_tail, q_tail), gradient);
            const __m128 step = _mm_div_ps(rate, _mm_sqrt_ps(squares));
            const __m128 decay = _mm_shuffle_ps(p_tail, q_tail, _MM_SHUFFLE(3, 3, 3, 3));
            const __m128 keep = _mm_div_ps(one, _mm_fmadd_ps(step, decay, one));
            const __m128 move = _mm_mul_ps(keep, _mm_mul_ps(step, _mm_set1_ps(-d)));
            /* new tails: A, A bias, keep bias + move, decay */
            const __m128 old =
                /* bias of p twice, of q twice */
                _mm_shuffle_ps(p_tail, q_tail, _MM_SHUFFLE(2, 2, 2, 2));
            const __m128 bias = _mm_fmadd_ps(keep, old, move);           /* lanes 1 and 3 count */
            _mm_store_ps(p + width,
                         _mm_shuffle_ps(squares, _mm_unpacklo_ps(LANE_ALL(bias, 1), decay),
                                        _MM_SHUFFLE(1, 0, 1, 0)));
            _mm_store_ps(q + width,
                         _mm_shuffle_ps(squares, _mm_unpackhi_ps(LANE_ALL(bias, 3), decay),
                                        _MM_SHUFFLE(1, 0, 3, 2)));
            const vf p_keep = v_set1(_mm_cvtss_f32(keep)), p_move = v_set1(_mm_cvtss_f32(move));
            const vf q_keep = v_set1(_mm_cvtss_f32(LANE_ALL(keep, 2))),
                     q_move = v_set1(_mm_cvtss_f32(LANE_ALL(move, 2)));
            for (size_t c = 0; c < width; c += W) {
                const vf a = v_load(p + c), b = v_load(q + c);
                v_store(p + c, v_fma(p_move, b, v_mul(p_keep, a)));
                v_store(q + c, v_fma(q_move, a, v_mul(q_keep, b)));
            }
            product *= 1.0 + (double)e;
            loss += (double)((z > 0 ? z : 0.0f) - y * z);
            slope += (double)d;
            curvature += (double)(s * (1.0f - s));
        }
        loss += log(product);
    }
    sums->loss += loss;
    sums->slope += slope;
    sums->curvature += curvature;
}

static void factor_steps_any(const sella_factor_block *block, sella_factor_sums *sums)
{
    switch (block->width) {
    case 64: factor_steps(block, 64, sums); break;
    default: factor_steps(block, (size_t)block->width, sums); break;
    }
}

#undef LANE_ALL

#endif
