/* dequant.c - block layouts, half precision, and the plain conversions. */
#include "kernels/dequant.h"

#include <assert.h>

#include "kernels/fast.h"

static const struct {
    const char *name;
    int block;    /* values */
    size_t bytes; /* of a block */
} dtype_table[SELLA_DTYPE_COUNT] = {
    [SELLA_DTYPE_F32] = {"F32", 1, 4},       [SELLA_DTYPE_F16] = {"F16", 1, 2},
    [SELLA_DTYPE_BF16] = {"BF16", 1, 2},     [SELLA_DTYPE_Q8_0] = {"Q8_0", 32, 34},
    [SELLA_DTYPE_Q4_0] = {"Q4_0", 32, 18},   [SELLA_DTYPE_Q4_1] = {"Q4_1", 32, 20},
    [SELLA_DTYPE_Q5_0] = {"Q5_0", 32, 22},   [SELLA_DTYPE_Q5_1] = {"Q5_1", 32, 24},
    [SELLA_DTYPE_Q4_K] = {"Q4_K", 256, 144}, [SELLA_DTYPE_Q5_K] = {"Q5_K", 256, 176},
    [SELLA_DTYPE_Q6_K] = {"Q6_K", 256, 210},
};

static bool dtype_known(sella_dtype dtype)
{
    return (unsigned)dtype < SELLA_DTYPE_COUNT;
}

const char *sella_dtype_name(sella_dtype dtype)
{
    return dtype_known(dtype) ? dtype_table[dtype].name : "unknown";
}

int sella_dtype_block(sella_dtype dtype)
{
    return dtype_known(dtype) ? dtype_table[dtype].block : 1;
}

size_t sella_dtype_bytes(sella_dtype dtype)
{
    return dtype_known(dtype) ? dtype_table[dtype].bytes : 0;
}

size_t sella_dtype_size(sella_dtype dtype, uint64_t n)
{
    if (!dtype_known(dtype) || n % (uint64_t)dtype_table[dtype].block != 0) {
        return SIZE_MAX;
    }
    const uint64_t blocks = n / (uint64_t)dtype_table[dtype].block;
    return blocks > (SIZE_MAX - 1) / dtype_table[dtype].bytes
               ? SIZE_MAX
               : (size_t)blocks * dtype_table[dtype].bytes;
}

/* ---- half precision ---- */

static float float_from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t float_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

float sella_half_to_float(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16, mantissa = h & 0x3ffu,
                   exponent = (h >> 10) & 0x1fu;
    if (exponent == 0x1f) { /* infinity, or a NaN made quiet as the hardware does */
        return float_from_bits(sign | 0x7f800000u | (mantissa << 13) |
                               (mantissa != 0 ? 0x400000u : 0));
    }
    if (exponent == 0) { /* zero and subnormals: mantissa * 2^-24 is exact */
        const float x = (float)mantissa * 0x1p-24f;
        return sign != 0 ? -x : x;
    }
    return float_from_bits(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

/* ---- blocks ---- */

static uint16_t load16(const unsigned char *from)
{
    return (uint16_t)(from[0] | from[1] << 8); /* the formats are little-endian */
}

static bool finite_bits(uint32_t bits)
{
    return (bits & 0x7f800000u) != 0x7f800000u;
}

static bool dequantize_q8_0(float *y, const unsigned char *from, size_t n)
{
    bool finite = true;
    for (size_t i = 0; i < n; i += 32, from += 34) {
        const float d = sella_half_to_float(load16(from));
        finite = finite && finite_bits(float_bits(d));
        for (int j = 0; j < 32; j++) {
            y[i + (size_t)j] = d * (float)(signed char)from[2 + j];
        }
    }
    return finite;
}

static bool dequantize_q4_0(float *y, const unsigned char *from, size_t n)
{
    bool finite = true;
    for (size_t i = 0; i < n; i += 32, from += 18) {
        const float d = sella_half_to_float(load16(from));
        finite = finite && finite_bits(float_bits(d));
        for (int j = 0; j < 16; j++) {
            y[i + (size_t)j] = d * (float)((from[2 + j] & 15) - 8);
            y[i + (size_t)j + 16] = d * (float)((from[2 + j] >> 4) - 8);
        }
    }
    return finite;
}

static bool dequantize_q4_1(float *y, const unsigned char *from, size_t n)
{
    bool finite = true;
    for (size_t i = 0; i < n; i += 32, from += 20) {
        const float d = sella_half_to_float(load16(from)),
                    m = sella_half_to_float(load16(from + 2));
        finite = finite && finite_bits(float_bits(d)) && finite_bits(float_bits(m));
        for (int j = 0; j < 16; j++) {
            y[i + (size_t)j] = d * (float)(from[4 + j] & 15) + m;
            y[i + (size_t)j + 16] = d * (float)(from[4 + j] >> 4) + m;
        }
    }
    return finite;
}

/* Values j and j + 16 of a block with fifth bits. */
static void codes_q5(const unsigned char *high, const unsigned char *low, int j, int *a, int *b)
{
    const uint32_t fifth = load16(high) | (uint32_t)load16(high + 2) << 16;
    *a = low[j] & 15;
    *a |= (int)(fifth >> j & 1) << 4;
    *b = low[j] >> 4;
    *b |= (int)(fifth >> (j + 16) & 1) << 4;
}

static bool dequantize_q5_0(float *y, const unsigned char *from, size_t n)
{
    bool finite = true;
    for (size_t i = 0; i < n; i += 32, from += 22) {
        const float d = sella_half_to_float(load16(from));
        finite = finite && finite_bits(float_bits(d));
        for (int j = 0, a, b; j < 16; j++) {
            codes_q5(from + 2, from + 6, j, &a, &b);
            y[i + (size_t)j] = d * (float)(a - 16);
            y[i + (size_t)j + 16] = d * (float)(b - 16);
        }
    }
    return finite;
}

static bool dequantize_q5_1(float *y, const unsigned char *from, size_t n)
{
    bool finite = true;
    for (size_t i = 0; i < n; i += 32, from += 24) {
        const float d = sella_half_to_float(load16(from)),
                    m = sella_half_to_float(load16(from + 2));
        finite = finite && finite_bits(float_bits(d)) && finite_bits(float_bits(m));
        for (int j = 0, a, b; j < 16; j++) {
            codes_q5(from + 4, from + 8, j, &a, &b);
            y[i + (size_t)j] = d * (float)a + m;
            y[i + (size_t)j + 16] = d * (float)b + m;
        }
    }
    return finite;
}

/* Scale and minimum of group g of 8: the first four stand in the low 6 bits of bytes 0-3 and 4-7,
 * the last four are split between the upper 2 bits of those and the nibbles of bytes 8-11. */
static void group_of_k(const unsigned char *packed, int g, int *scale, int *least)
{
    if (g < 4) {
        *scale = packed[g] & 63;
        *least = packed[g + 4] & 63;
    } else {
        *scale = (packed[g + 4] & 15) | (packed[g - 4] >> 6) << 4;
        *least = packed[g + 4] >> 4 | (packed[g] >> 6) << 4;
    }
}

/* Q4_K and Q5_K: groups 2 i and 2 i + 1 are the low and the high nibbles of 32 bytes; bit g of byte
 * j of `high` belongs to value j of group g. */
static bool dequantize_q45_k(float *y, const unsigned char *from, size_t n, bool five)
{
    bool finite = true;
    for (size_t i = 0; i < n; i += 256, from += five ? 176 : 144) {
        const float d = sella_half_to_float(load16(from)),
                    dmin = sella_half_to_float(load16(from + 2));
        const unsigned char *high = from + 16, *low = from + (five ? 48 : 16);
        finite = finite && finite_bits(float_bits(d)) && finite_bits(float_bits(dmin));
        for (int g = 0, scale, least; g < 8; g++) {
            group_of_k(from + 4, g, &scale, &least);
            const float dg = d * (float)scale, mg = dmin * (float)least;
            for (int j = 0; j < 32; j++) {
                const int fifth = five ? (high[j] >> g & 1) << 4 : 0;
                const int code = (low[32 * (g / 2) + j] >> 4 * (g % 2) & 15) | fifth;
                y[i + (size_t)(32 * g + j)] = dg * (float)code - mg;
            }
        }
    }
    return finite;
}

/* 16 groups of 16; a half of 128 values has 64 bytes of nibbles and 32 of bit pairs; quarter q of a
 * half has the low (q < 2) or the high nibbles of 32 of them, and pair q of the others. */
static bool dequantize_q6_k(float *y, const unsigned char *from, size_t n)
{
    bool finite = true;
    for (size_t i = 0; i < n; i += 256, from += 210) {
        const float d = sella_half_to_float(load16(from + 208));
        finite = finite && finite_bits(float_bits(d));
        for (int g = 0; g < 16; g++) {
            const int half = g / 8, q = g / 2 % 4, first = 16 * (g % 2);
            const unsigned char *low = from + 64 * half + 32 * (q % 2) + first,
                                *high = from + 128 + 32 * half + first;
            const float dg = d * (float)(signed char)from[192 + g];
            for (int j = 0; j < 16; j++) {
                const int code = (low[j] >> 4 * (q / 2) & 15) | (high[j] >> 2 * q & 3) << 4;
                y[i + (size_t)(16 * g + j)] = dg * (float)(code - 32);
            }
        }
    }
    return finite;
}

static bool dequantize_float(float *y, const unsigned char *from, sella_dtype dtype, size_t n)
{
    bool finite = true;
    for (size_t i = 0; i < n; i++) {
        if (dtype == SELLA_DTYPE_F32) {
            const unsigned char *b = from + 4 * i;
            y[i] = float_from_bits(b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 |
                                   (uint32_t)b[3] << 24);
        } else if (dtype == SELLA_DTYPE_BF16) {
            y[i] = float_from_bits((uint32_t)load16(from + 2 * i) << 16);
        } else {
            y[i] = sella_half_to_float(load16(from + 2 * i));
        }
        finite = finite && finite_bits(float_bits(y[i]));
    }
    return finite;
}

bool sella_dequantize_plain(float *y, const void *blocks, sella_dtype dtype, size_t n)
{
    assert(dtype_known(dtype) && n % (size_t)dtype_table[dtype].block == 0);
    switch (dtype) {
    case SELLA_DTYPE_Q8_0:
        return dequantize_q8_0(y, blocks, n);
    case SELLA_DTYPE_Q4_0:
        return dequantize_q4_0(y, blocks, n);
    case SELLA_DTYPE_Q4_1:
        return dequantize_q4_1(y, blocks, n);
    case SELLA_DTYPE_Q5_0:
        return dequantize_q5_0(y, blocks, n);
    case SELLA_DTYPE_Q5_1:
        return dequantize_q5_1(y, blocks, n);
    case SELLA_DTYPE_Q4_K:
        return dequantize_q45_k(y, blocks, n, false);
    case SELLA_DTYPE_Q5_K:
        return dequantize_q45_k(y, blocks, n, true);
    case SELLA_DTYPE_Q6_K:
        return dequantize_q6_k(y, blocks, n);
    default:
        return dequantize_float(y, blocks, dtype, n);
    }
}

bool sella_dequantize(float *y, const void *blocks, sella_dtype dtype, size_t n)
{
    assert(dtype_known(dtype) && n % (size_t)dtype_table[dtype].block == 0);
    return sella_fast_best()->dequantize(y, blocks, dtype, n);
}
