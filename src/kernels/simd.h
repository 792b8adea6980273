/* simd.h - vectors of W floats under one set of names, for the files that are compiled with AVX2 or
 * AVX-512 flags.
 *
 * Does:     Lets one body (the *_body.h files) be compiled twice. vm is a mask of lanes. v_exp and
 *           v_erf are polynomials evaluated with fused multiply-adds in the same order at every
 *           width, and s_exp is their scalar twin, so that results do not depend on which of them
 *           ran.
 * Threads:  pure.
 * Not here: which of them runs (kernels/fast.h).
 */
#ifndef SELLA_KERNELS_SIMD_H
#define SELLA_KERNELS_SIMD_H

#include <stddef.h>
#include <stdint.h>

#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>

#define UNROLL _Pragma("GCC unroll 16")
#define SELLA_INLINE static inline __attribute__((always_inline, unused))

#if defined(__AVX512F__)
enum { W = 16 };
typedef __m512 vf;
typedef __mmask16 vm;

SELLA_INLINE vf v_load(const float *x) { return _mm512_loadu_ps(x); }
SELLA_INLINE void v_store(float *x, vf a) { _mm512_storeu_ps(x, a); }
SELLA_INLINE vf v_set1(float a) { return _mm512_set1_ps(a); }
SELLA_INLINE vf v_zero(void) { return _mm512_setzero_ps(); }
SELLA_INLINE vf v_add(vf a, vf b) { return _mm512_add_ps(a, b); }
SELLA_INLINE vf v_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
SELLA_INLINE vf v_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
SELLA_INLINE vf v_div(vf a, vf b) { return _mm512_div_ps(a, b); }
SELLA_INLINE vf v_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }   /* a b + c */
SELLA_INLINE vf v_fnma(vf a, vf b, vf c) { return _mm512_fnmadd_ps(a, b, c); } /* c - a b */
/* When b is NaN the result is NaN. */
SELLA_INLINE vf v_max(vf a, vf b) { return _mm512_max_ps(a, b); }
SELLA_INLINE vf v_min(vf a, vf b) { return _mm512_min_ps(a, b); }
SELLA_INLINE vf v_abs(vf a) { return _mm512_abs_ps(a); }
SELLA_INLINE float v_sum(vf a) { return _mm512_reduce_add_ps(a); }
/* Lanes low .. high-1 (clipped to 0 .. W). */
SELLA_INLINE vm v_lanes(int low, int high)
{
    const int from = low < 0 ? 0 : low > W ? W : low, to = high < from ? from : high > W ? W : high;
    return (vm)(((1u << to) - 1u) & ~((1u << from) - 1u));
}
SELLA_INLINE vf v_select(vm m, vf yes, vf no) { return _mm512_mask_blend_ps(m, no, yes); }
SELLA_INLINE vm v_greater(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
/* The first n lanes; the others are 0 or not stored. */
SELLA_INLINE vf v_load_n(const float *x, int n)
{
    return _mm512_maskz_loadu_ps((vm)((1u << n) - 1u), x);
}
SELLA_INLINE void v_store_n(float *x, vf a, int n)
{
    _mm512_mask_storeu_ps(x, (vm)((1u << n) - 1u), a);
}
SELLA_INLINE vf v_sign_of(vf magnitude, vf sign)
{
    const __m512i bit = _mm512_set1_epi32((int)0x80000000u);
    return _mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(magnitude),
                                               _mm512_and_si512(_mm512_castps_si512(sign), bit)));
}
SELLA_INLINE vf v_round(vf a)
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* a 2^n for whole n, rounded once. */
SELLA_INLINE vf v_scale2(vf a, vf n) { return _mm512_scalef_ps(a, n); }
#else
enum { W = 8 };
typedef __m256 vf;
typedef __m256 vm;

SELLA_INLINE vf v_load(const float *x) { return _mm256_loadu_ps(x); }
SELLA_INLINE void v_store(float *x, vf a) { _mm256_storeu_ps(x, a); }
SELLA_INLINE vf v_set1(float a) { return _mm256_set1_ps(a); }
SELLA_INLINE vf v_zero(void) { return _mm256_setzero_ps(); }
SELLA_INLINE vf v_add(vf a, vf b) { return _mm256_add_ps(a, b); }
SELLA_INLINE vf v_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
SELLA_INLINE vf v_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
SELLA_INLINE vf v_div(vf a, vf b) { return _mm256_div_ps(a, b); }
SELLA_INLINE vf v_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }   /* a b + c */
SELLA_INLINE vf v_fnma(vf a, vf b, vf c) { return _mm256_fnmadd_ps(a, b, c); } /* c - a b */
/* When b is NaN the result is NaN. */
SELLA_INLINE vf v_max(vf a, vf b) { return _mm256_max_ps(a, b); }
SELLA_INLINE vf v_min(vf a, vf b) { return _mm256_min_ps(a, b); }
SELLA_INLINE vf v_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
SELLA_INLINE float v_sum(vf a)
{
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}
/* Lanes low .. high-1 (clipped to 0 .. W). */
SELLA_INLINE vm v_lanes(int low, int high)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i from = _mm256_cmpgt_epi32(lane, _mm256_set1_epi32(low - 1)),
                  to = _mm256_cmpgt_epi32(_mm256_set1_epi32(high), lane);
    return _mm256_castsi256_ps(_mm256_and_si256(from, to));
}
SELLA_INLINE vf v_select(vm m, vf yes, vf no) { return _mm256_blendv_ps(no, yes, m); }
SELLA_INLINE vm v_greater(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_GT_OQ); }
/* The first n lanes; the others are 0 or not stored. */
SELLA_INLINE vf v_load_n(const float *x, int n)
{
    return _mm256_maskload_ps(x, _mm256_castps_si256(v_lanes(0, n)));
}
SELLA_INLINE void v_store_n(float *x, vf a, int n)
{
    _mm256_maskstore_ps(x, _mm256_castps_si256(v_lanes(0, n)), a);
}
SELLA_INLINE vf v_sign_of(vf magnitude, vf sign)
{
    return _mm256_or_ps(magnitude, _mm256_and_ps(sign, _mm256_set1_ps(-0.0f)));
}
SELLA_INLINE vf v_round(vf a)
{
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* a 2^n for whole n: half of n at a time, so that only the second product can round. */
SELLA_INLINE vf v_scale2(vf a, vf n)
{
    const __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1),
                  bias = _mm256_set1_epi32(127);
    const __m256i first = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
    const __m256i second =
        _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(whole, half), bias), 23);
    return _mm256_mul_ps(_mm256_mul_ps(a, _mm256_castsi256_ps(first)), _mm256_castsi256_ps(second));
}
#endif

/* exp to about 1 ulp: x = n ln 2 + r, e^r = 1 + r + r^2 p(r) with p fitted on |r| <= ln 2 / 2
 * (1.1e-8 relative). Below -104 it is 0, above 89 infinity; NaN stays. */
SELLA_INLINE vf v_exp(vf x)
{
    x = v_max(v_set1(-104.0f), v_min(v_set1(89.0f), x));
    const vf n = v_round(v_mul(x, v_set1(1.44269504f)));
    /* the high part of ln 2 has few bits: n times it is exact */
    vf r = v_fnma(n, v_set1(0.693145752f), x);
    r = v_fnma(n, v_set1(1.42860677e-6f), r);
    vf p = v_fma(v_set1(0.0013926198f), r, v_set1(0.00836319f));
    p = v_fma(p, r, v_set1(0.041666556f));
    p = v_fma(p, r, v_set1(0.16666576f));
    p = v_fma(p, r, v_set1(0.5f));
    p = v_fma(v_mul(r, r), p, r);
    return v_scale2(v_add(p, v_set1(1.0f)), n);
}

/* erf to about 1e-7: x + x q(x^2) up to 1, beyond that 1 - exp(-x r(x)); both fitted with Chebyshev
 * nodes. */
SELLA_INLINE vf v_erf(vf x)
{
    const vf a = v_min(v_set1(4.0f), v_abs(x)), s = v_mul(a, a);
    vf q = v_fma(v_set1(7.875875e-05f), s, v_set1(-0.00080168643f));
    q = v_fma(q, s, v_set1(0.0051890872f));
    q = v_fma(q, s, v_set1(-0.026854211f));
    q = v_fma(q, s, v_set1(0.11283594f));
    q = v_fma(q, s, v_set1(-0.37612626f));
    q = v_fma(q, s, v_set1(0.12837917f));
    q = v_fma(q, a, a);
    vf r = v_fma(v_set1(1.630929e-05f), a, v_set1(-0.0003691624f));
    r = v_fma(r, a, v_set1(0.0038051528f));
    r = v_fma(r, a, v_set1(-0.0240326f));
    r = v_fma(r, a, v_set1(0.10644119f));
    r = v_fma(r, a, v_set1(0.63510936f));
    r = v_fma(r, a, v_set1(1.1286352f));
    r = v_sub(v_set1(1.0f), v_exp(v_sub(v_zero(), v_mul(r, a))));
    return v_sign_of(v_select(v_greater(a, v_set1(1.0f)), r, q), x);
}

/* x[i][j] becomes x[j][i]. */
SELLA_INLINE void transpose8(__m256 x[8])
{
    __m256 a[8], b[8];
    UNROLL for (int i = 0; i < 4; i++) {
        a[2 * i] = _mm256_unpacklo_ps(x[2 * i], x[2 * i + 1]);
        a[2 * i + 1] = _mm256_unpackhi_ps(x[2 * i], x[2 * i + 1]);
    }
    UNROLL for (int i = 0; i < 2; i++) {
        b[4 * i] = _mm256_shuffle_ps(a[4 * i], a[4 * i + 2], 0x44);
        b[4 * i + 1] = _mm256_shuffle_ps(a[4 * i], a[4 * i + 2], 0xee);
        b[4 * i + 2] = _mm256_shuffle_ps(a[4 * i + 1], a[4 * i + 3], 0x44);
        b[4 * i + 3] = _mm256_shuffle_ps(a[4 * i + 1], a[4 * i + 3], 0xee);
    }
    UNROLL for (int i = 0; i < 4; i++) {
        x[i] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
        x[i + 4] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
    }
}

#endif
#endif
