/* Dequantization bit for bit against the `gguf` package, half precision against numpy
 * (tests/ref/kernels_dequant_dump.py). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "kernels/dequant.h"
#include "ref_file.h"

#define DUMP "tests/ref/kernels_dequant.ref"

typedef bool (*convert)(float *y, const void *blocks, sella_dtype dtype, size_t n);
static const convert converters[] = {sella_dequantize, sella_dequantize_plain};

static void compare(const ref_file *ref, sella_dtype dtype, const char *suffix)
{
    char name[64];
    size_t bytes, n;
    snprintf(name, sizeof name, "%s%s.blocks", sella_dtype_name(dtype), suffix);
    const uint8_t *blocks = ref_u8(ref, name, &bytes);
    snprintf(name, sizeof name, "%s%s.values", sella_dtype_name(dtype), suffix);
    const float *values = ref_f32(ref, name, &n);
    assert_int_equal(sella_dtype_size(dtype, n), bytes);
    const size_t block = (size_t)sella_dtype_block(dtype);
    /* an odd address, and every short length, so that no vector loop relies on either */
    uint8_t *shifted = malloc(bytes + 1);
    float *y = malloc((n + 1) * sizeof *y);
    memcpy(shifted + 1, blocks, bytes);
    for (size_t c = 0; c < 2; c++) {
        for (size_t length = 0; length <= n;
             length += length < 40 * block ? block : n - length + (length == n)) {
            y[length] = 12345.0f;
            assert_true(converters[c](y, shifted + 1, dtype, length));
            assert_memory_equal(y, values, length * sizeof *y);
            assert_true(y[length] == 12345.0f);
        }
        for (size_t from = block; from < n; from += block) { /* tiles that begin anywhere */
            const size_t length = from + 3 * block < n ? 3 * block : n - from;
            y[length] = 12345.0f;
            assert_true(
                converters[c](y, shifted + 1 + sella_dtype_size(dtype, from), dtype, length));
            assert_memory_equal(y, values + from, length * sizeof *y);
            assert_true(y[length] == 12345.0f);
        }
    }
    free(shifted);
    free(y);
}

static void test_blocks(void **state)
{
    (void)state;
    ref_file ref = ref_open(DUMP);
    for (int dtype = 0; dtype < SELLA_DTYPE_COUNT; dtype++) {
        const int block = sella_dtype_block((sella_dtype)dtype);
        assert_true(block == 1 || block == 32 || block == 256);
        if (block < 256) {
            compare(&ref, (sella_dtype)dtype, "");
        }
        if (block > 1) {
            compare(&ref, (sella_dtype)dtype, ".random");
        }
    }
    ref_close(&ref);
}

/* Bytes from a block's start to its scales; returns how many there are. */
static size_t scale_places(sella_dtype dtype, size_t place[2])
{
    place[0] = dtype == SELLA_DTYPE_Q6_K ? 208 : 0;
    place[1] = 2;
    const bool two = dtype == SELLA_DTYPE_Q4_1 || dtype == SELLA_DTYPE_Q5_1 ||
                     dtype == SELLA_DTYPE_Q4_K || dtype == SELLA_DTYPE_Q5_K;
    return two ? 2 : 1;
}

static void test_not_finite(void **state)
{
    (void)state;
    static const uint16_t bad[] = {0x7c00, 0xfc00, 0x7e01, 0xfdff};
    for (int dtype = 0; dtype < SELLA_DTYPE_COUNT; dtype++) {
        const size_t bytes = sella_dtype_bytes((sella_dtype)dtype),
                     block = (size_t)sella_dtype_block((sella_dtype)dtype);
        const size_t blocks = block == 256 ? 9 : 67;
        size_t scale_at[2];
        const size_t scales = scale_places((sella_dtype)dtype, scale_at);
        uint8_t *data = calloc(blocks, bytes);
        float *fast = malloc(blocks * block * sizeof *fast),
              *plain = malloc(blocks * block * sizeof *plain);
        for (size_t place = 0; place < blocks; place++) {
            for (size_t b = 0; b < 4; b++) {
                for (size_t scale = 0; scale < scales; scale++) {
                    memset(data, 0x11, blocks * bytes);
                    uint32_t bits = (uint32_t)bad[b];
                    uint8_t *at = data + place * bytes + scale_at[scale];
                    if (dtype == SELLA_DTYPE_F32 || dtype == SELLA_DTYPE_BF16) {
                        bits = 0x7f80u | (b & 1 ? 0x8000u : 0) | (b > 1 ? 1u : 0);
                        at += dtype == SELLA_DTYPE_F32 ? 2 : 0;
                    }
                    at[0] = (uint8_t)bits;
                    at[1] = (uint8_t)(bits >> 8);
                    assert_false(sella_dequantize(fast, data, (sella_dtype)dtype, blocks * block));
                    assert_false(
                        sella_dequantize_plain(plain, data, (sella_dtype)dtype, blocks * block));
                    for (size_t i = 0; i < blocks * block; i++) {
                        assert_true(isnan(fast[i]) ? isnan(plain[i]) : fast[i] == plain[i]);
                        assert_true(i / block == place ? !isfinite(fast[i]) : isfinite(fast[i]));
                    }
                }
            }
        }
        free(data);
        free(fast);
        free(plain);
    }
}

static void test_sizes(void **state)
{
    (void)state;
    assert_int_equal(sella_dtype_size(SELLA_DTYPE_Q4_1, 64), 40);
    assert_int_equal(sella_dtype_size(SELLA_DTYPE_Q4_0, 64), 36);
    assert_int_equal(sella_dtype_size(SELLA_DTYPE_Q8_0, 32), 34);
    assert_int_equal(sella_dtype_size(SELLA_DTYPE_Q5_0, 64), 44);
    assert_int_equal(sella_dtype_size(SELLA_DTYPE_Q5_1, 64), 48);
    assert_int_equal(sella_dtype_size(SELLA_DTYPE_Q4_K, 512), 288);
    assert_int_equal(sella_dtype_size(SELLA_DTYPE_Q5_K, 512), 352);
    assert_int_equal(sella_dtype_size(SELLA_DTYPE_Q6_K, 512), 420);
    assert_int_equal(sella_dtype_size(SELLA_DTYPE_Q6_K, 0), 0);
    assert_int_equal(sella_dtype_block(SELLA_DTYPE_Q5_1), 32);
    assert_int_equal(sella_dtype_block(SELLA_DTYPE_Q6_K), 256);
    assert_true(sella_dtype_size(SELLA_DTYPE_Q4_K, 128) == SIZE_MAX);
    assert_true(sella_dtype_size(SELLA_DTYPE_Q5_K, 288) == SIZE_MAX);
    assert_true(sella_dtype_size(SELLA_DTYPE_Q6_K, 576) == SIZE_MAX); /* a width of SmolLM2 */
    assert_true(sella_dtype_size(SELLA_DTYPE_Q6_K, UINT64_MAX - 255) ==
                (size_t)(UINT64_MAX / 256) * 210);
    assert_int_equal(sella_dtype_size(SELLA_DTYPE_BF16, 3), 6);
    assert_int_equal(sella_dtype_size(SELLA_DTYPE_F32, 0), 0);
    assert_true(sella_dtype_size(SELLA_DTYPE_Q8_0, 33) == SIZE_MAX);
    assert_true(sella_dtype_size(SELLA_DTYPE_F32, UINT64_MAX / 2) == SIZE_MAX);
    assert_true(sella_dtype_size(SELLA_DTYPE_Q8_0, UINT64_MAX - 31) == SIZE_MAX);
    assert_true(sella_dtype_size((sella_dtype)99, 32) == SIZE_MAX);
    assert_string_equal(sella_dtype_name(SELLA_DTYPE_Q4_1), "Q4_1");
    assert_string_equal(sella_dtype_name((sella_dtype)99), "unknown");
}

static void test_half(void **state)
{
    (void)state;
    ref_file ref = ref_open(DUMP);
    size_t count;
    const float *floats = ref_f32(&ref, "half.floats", &count);
    for (size_t i = 0; i < count; i++) {
        const float x = sella_half_to_float((uint16_t)(7 * i));
        assert_true(isnan(floats[i]) ? isnan(x) : memcmp(&x, &floats[i], sizeof x) == 0);
    }
    ref_close(&ref);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_half),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
