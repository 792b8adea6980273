/* dequant_avx2.c - dequantization with 8 lanes. Products and sums are rounded one by one, as the plain loops do. */
#include "kernels/dequant_avx2.h"

#if defined(__AVX2__) && defined(__F16C__)
#include <immintrin.h>

static float half_at(const unsigned char *from)
{
    return _cvtsh_ss((unsigned short)(from[0] | from[1] << 8));
}

static bool finite_one(float x)
{
    return x - x == 0.0f;
}

/* 16 bytes to 16 floats, times d (signed or not), plus m when there is one. */
static inline void store16(float *y, __m256i words, __m256 d, const __m256 *m)
{
    const __m256i low = _mm256_cvtepi16_epi32(_mm256_castsi256_si128(words));
    const __m256i high = _mm256_cvtepi16_epi32(_mm256_extracti128_si256(words, 1));
    __m256 a = _mm256_mul_ps(d, _mm256_cvtepi32_ps(low)), b = _mm256_mul_ps(d, _mm256_cvtepi32_ps(high));
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
        for (size_t j = 0; j < 32; j += 16) {
            const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(from + 2 + j));
            store16(y + i + j, _mm256_cvtepi8_epi16(bytes), d, NULL);
        }
    }
    return finite;
}

static bool blocks_q4(float *y, const unsigned char *from, size_t n, bool with_min)
{
    const size_t header = with_min ? 4 : 2;
    const __m128i low_bits = _mm_set1_epi8(15);
    const __m256i middle = _mm256_set1_epi16(with_min ? 0 : 8);
    bool finite = true;
    for (size_t i = 0; i < n; i += 32, from += header + 16) {
        const float scale = half_at(from), least = with_min ? half_at(from + 2) : 0.0f;
        const __m256 d = _mm256_set1_ps(scale), m = _mm256_set1_ps(least);
        const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(from + header));
        const __m128i low = _mm_and_si128(bytes, low_bits), high = _mm_and_si128(_mm_srli_epi16(bytes, 4), low_bits);
        finite = finite && finite_one(scale) && finite_one(least);
        store16(y + i, _mm256_sub_epi16(_mm256_cvtepu8_epi16(low), middle), d, with_min ? &m : NULL);
        store16(y + i + 16, _mm256_sub_epi16(_mm256_cvtepu8_epi16(high), middle), d, with_min ? &m : NULL);
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
            x = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(at)), 16));
        }
        const __m256i bits = _mm256_and_si256(_mm256_castps_si256(x), exponent);
        bad = _mm256_or_si256(bad, _mm256_cmpeq_epi32(bits, exponent));
        _mm256_storeu_ps(y + i, x);
    }
    return sella_dequantize_plain(y + i, from + size * i, dtype, n - i) && _mm256_testz_si256(bad, bad);
}

bool sella_dequantize_avx2(float *y, const void *blocks, sella_dtype dtype, size_t n)
{
    switch (dtype) {
    case SELLA_DTYPE_Q8_0:
        return blocks_q8_0(y, blocks, n);
    case SELLA_DTYPE_Q4_0:
        return blocks_q4(y, blocks, n, false);
    case SELLA_DTYPE_Q4_1:
        return blocks_q4(y, blocks, n, true);
    default:
        return values(y, blocks, dtype, n);
    }
}
#endif
