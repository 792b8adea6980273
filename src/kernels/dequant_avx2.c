/* dequant_avx2.c - dequantization with 8 lanes. Products and sums are rounded one by one, as the
 * plain loops do.
 *
 * Codes are unpacked as bytes, 16 at a time in both halves of a register, and spread to 8 lanes by
 * one shuffle: cheaper than the chain of widenings, whose steps all compete for the shuffle unit.
 */
#include "kernels/dequant_avx2.h"

#if defined(__AVX2__) && defined(__F16C__)
#include <immintrin.h>

#include <string.h>

static inline float half_at(const unsigned char *from)
{
    return _cvtsh_ss((unsigned short)(from[0] | from[1] << 8));
}

static inline bool finite_one(float x)
{
    return x - x == 0.0f;
}

static inline uint32_t load32(const unsigned char *from)
{
    uint32_t x;
    memcpy(&x, from, sizeof x);
    return x;
}

/* 16 bytes, twice. */
static inline __m256i load_both(const unsigned char *from)
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)from));
}

static inline __m256i nibbles(__m256i bytes, bool upper)
{
    return _mm256_and_si256(upper ? _mm256_srli_epi16(bytes, 4) : bytes, _mm256_set1_epi8(15));
}

/* y[0..15] = d (code - middle) + m; the 16 codes are bytes, twice; m NULL: no sum. */
static inline void store16(float *y, __m256i codes, int middle, __m256 d, const __m256 *m)
{
    /* -1 gives 0 */
    const __m256i first =
        _mm256_setr_epi8(0, -1, -1, -1, 1, -1, -1, -1, 2, -1, -1, -1, 3, -1, -1, -1, 4, -1, -1, -1,
                         5, -1, -1, -1, 6, -1, -1, -1, 7, -1, -1, -1);
    const __m256i second = _mm256_or_si256(first, _mm256_set1_epi32(8));
    const __m256i centre = _mm256_set1_epi32(middle);
    const __m256i low = _mm256_sub_epi32(_mm256_shuffle_epi8(codes, first), centre);
    const __m256i high = _mm256_sub_epi32(_mm256_shuffle_epi8(codes, second), centre);
    __m256 a = _mm256_mul_ps(d, _mm256_cvtepi32_ps(low)),
           b = _mm256_mul_ps(d, _mm256_cvtepi32_ps(high));
    if (m != NULL) {
        a = _mm256_add_ps(a, *m);
        b = _mm256_add_ps(b, *m);
    }
    _mm256_storeu_ps(y, a);
    _mm256_storeu_ps(y + 8, b);
}

static bool blocks_q8_0(float *y, const unsigned char *from, size_t n)
{
    bool finite = true;
    for (size_t i = 0; i < n; i += 32, from += 34) {
        const float scale = half_at(from);
        const __m256 d = _mm256_set1_ps(scale);
        finite = finite && finite_one(scale);
        for (size_t j = 0; j < 32; j += 8) {
            const __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)(from + 2 + j));
            _mm256_storeu_ps(y + i + j,
                             _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes))));
        }
    }
    return finite;
}

/* 16 where the bit is set, for bits 0-15 of the lower half of each word, or of the upper half; as
 * bytes, twice. */
static inline __m256i fifth_bits(uint32_t bits, bool upper)
{
    const __m256i mask = _mm256_set1_epi64x((long long)0x8040201008040201u);
    /* the byte that holds each bit */
    const long long a = upper ? 0x0202020202020202 : 0, b = a + 0x0101010101010101;
    const __m256i place = _mm256_setr_epi64x(a, b, a, b);
    const __m256i spread =
        _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32((int)bits), place), mask);
    return _mm256_and_si256(_mm256_cmpeq_epi8(spread, mask), _mm256_set1_epi8(16));
}

/* Q4_0, Q4_1, Q5_0, Q5_1; inlined once for each. */
static inline bool blocks_of_32(float *y, const unsigned char *from, size_t n, bool five,
                                bool with_min)
{
    const size_t header = with_min ? 4 : 2, nibble = header + (five ? 4 : 0);
    const int middle = with_min ? 0 : five ? 16 : 8;
    bool finite = true;
    for (size_t i = 0; i < n; i += 32, from += nibble + 16) {
        const float scale = half_at(from), least = with_min ? half_at(from + 2) : 0.0f;
        const __m256 d = _mm256_set1_ps(scale), m = _mm256_set1_ps(least);
        const __m256i bytes = load_both(from + nibble);
        __m256i low = nibbles(bytes, false), high = nibbles(bytes, true);
        if (five) {
            const uint32_t bits = load32(from + header);
            low = _mm256_or_si256(low, fifth_bits(bits, false));
            high = _mm256_or_si256(high, fifth_bits(bits, true));
        }
        finite = finite && finite_one(scale) && finite_one(least);
        store16(y + i, low, middle, d, with_min ? &m : NULL);
        store16(y + i + 16, high, middle, d, with_min ? &m : NULL);
    }
    return finite;
}

/* d times the 8 scales and -dmin times the 8 minima of a block of Q4_K or Q5_K: a byte-wise form of
 * the plain twin's group_of_k. */
static inline void groups_of_k(const unsigned char *packed, float d, float dmin, float *scale,
                               float *minus)
{
    const uint32_t a = load32(packed), b = load32(packed + 4), c = load32(packed + 8);
    const uint32_t six = 0x3f3f3f3f, four = 0x0f0f0f0f, two = 0x30303030;
    const uint32_t scale_high = (c & four) | (a >> 2 & two),
                   least_high = (c >> 4 & four) | (b >> 2 & two);
    const __m128i bytes =
        _mm_setr_epi32((int)(a & six), (int)scale_high, (int)(b & six), (int)least_high);
    const __m256 scales = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
    const __m256 minima =
        _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_unpackhi_epi64(bytes, bytes)));
    _mm256_storeu_ps(scale, _mm256_mul_ps(_mm256_set1_ps(d), scales));
    _mm256_storeu_ps(minus, _mm256_mul_ps(_mm256_set1_ps(-dmin), minima));
}

/* Bit 0 of each byte as 16. */
static inline __m256i as_fifth(__m256i bytes)
{
    return _mm256_and_si256(_mm256_slli_epi16(bytes, 4), _mm256_set1_epi8(16));
}

/* Q4_K, Q5_K; inlined once for each. */
static inline bool blocks_q45_k(float *y, const unsigned char *from, size_t n, bool five)
{
    bool finite = true;
    for (size_t i = 0; i < n; i += 256, from += five ? 176 : 144) {
        const float d = half_at(from), dmin = half_at(from + 2);
        float scale[8], minus[8];
        groups_of_k(from + 4, d, dmin, scale, minus);
        finite = finite && finite_one(d) && finite_one(dmin);
        for (size_t j = 0; j < 32; j += 16) {
            __m256i fifth = five ? load_both(from + 16 + j) : _mm256_setzero_si256();
            for (size_t g = 0; g < 8; g += 2, fifth = _mm256_srli_epi16(fifth, 2)) {
                const __m256i bytes = load_both(from + (five ? 48 : 16) + 16 * g + j);
                const __m256 d0 = _mm256_broadcast_ss(scale + g),
                             d1 = _mm256_broadcast_ss(scale + g + 1);
                const __m256 m0 = _mm256_broadcast_ss(minus + g),
                             m1 = _mm256_broadcast_ss(minus + g + 1);
                __m256i low = nibbles(bytes, false), high = nibbles(bytes, true);
                if (five) {
                    low = _mm256_or_si256(low, as_fifth(fifth));
                    high = _mm256_or_si256(high, as_fifth(_mm256_srli_epi16(fifth, 1)));
                }
                store16(y + i + 32 * g + j, low, 0, d0, &m0);
                store16(y + i + 32 * g + 32 + j, high, 0, d1, &m1);
            }
        }
    }
    return finite;
}

static bool blocks_q6_k(float *y, const unsigned char *from, size_t n)
{
    bool finite = true;
    for (size_t i = 0; i < n; i += 256, from += 210) {
        const float d = half_at(from + 208);
        float scale[16];
        for (size_t g = 0; g < 16; g += 8) {
            const __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)(from + 192 + g));
            _mm256_storeu_ps(
                scale + g,
                _mm256_mul_ps(_mm256_set1_ps(d), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes))));
        }
        finite = finite && finite_one(d);
        for (size_t part = 0; part < 4; part++) { /* of each 128 values, 16 of every 32 */
            const size_t half = part / 2, j = 16 * (part % 2);
            const __m256i upper = _mm256_set1_epi8(48);
            const __m256i a = load_both(from + 64 * half + j),
                          b = load_both(from + 64 * half + 32 + j);
            const __m256i h = load_both(from + 128 + 32 * half + j);
            const __m256i code[4] = {
                _mm256_or_si256(nibbles(a, false),
                                _mm256_and_si256(_mm256_slli_epi16(h, 4), upper)),
                _mm256_or_si256(nibbles(b, false),
                                _mm256_and_si256(_mm256_slli_epi16(h, 2), upper)),
                _mm256_or_si256(nibbles(a, true), _mm256_and_si256(h, upper)),
                _mm256_or_si256(nibbles(b, true), _mm256_and_si256(_mm256_srli_epi16(h, 2), upper)),
            };
            for (size_t q = 0; q < 4; q++) {
                const size_t at = 128 * half + 32 * q + j;
                store16(y + i + at, code[q], 32, _mm256_broadcast_ss(scale + at / 16), NULL);
            }
        }
    }
    return finite;
}

/* F32, F16 and BF16, eight at a time; an exponent of all ones marks what is not finite. */
static bool values(float *y, const unsigned char *from, sella_dtype dtype, size_t n)
{
    const __m256i exponent = _mm256_set1_epi32(0x7f800000);
    const size_t size = sella_dtype_bytes(dtype);
    __m256i bad = _mm256_setzero_si256();
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const void *at = from + size * i;
        __m256 x;
        if (dtype == SELLA_DTYPE_F32) {
            x = _mm256_loadu_ps(at);
        } else if (dtype == SELLA_DTYPE_F16) {
            x = _mm256_cvtph_ps(_mm_loadu_si128(at));
        } else {
            x = _mm256_castsi256_ps(
                _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(at)), 16));
        }
        const __m256i bits = _mm256_and_si256(_mm256_castps_si256(x), exponent);
        bad = _mm256_or_si256(bad, _mm256_cmpeq_epi32(bits, exponent));
        _mm256_storeu_ps(y + i, x);
    }
    return sella_dequantize_plain(y + i, from + size * i, dtype, n - i) &&
           _mm256_testz_si256(bad, bad);
}

bool sella_dequantize_avx2(float *y, const void *blocks, sella_dtype dtype, size_t n)
{
    switch (dtype) {
    case SELLA_DTYPE_Q8_0:
        return blocks_q8_0(y, blocks, n);
    case SELLA_DTYPE_Q4_0:
        return blocks_of_32(y, blocks, n, false, false);
    case SELLA_DTYPE_Q4_1:
        return blocks_of_32(y, blocks, n, false, true);
    case SELLA_DTYPE_Q5_0:
        return blocks_of_32(y, blocks, n, true, false);
    case SELLA_DTYPE_Q5_1:
        return blocks_of_32(y, blocks, n, true, true);
    case SELLA_DTYPE_Q4_K:
        return blocks_q45_k(y, blocks, n, false);
    case SELLA_DTYPE_Q5_K:
        return blocks_q45_k(y, blocks, n, true);
    case SELLA_DTYPE_Q6_K:
        return blocks_q6_k(y, blocks, n);
    default:
        return values(y, blocks, dtype, n);
    }
}
#endif
