/* Philox against the published test vectors of Random123 (kat_vectors), and the draws made of
 * it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

static void known_answers(void **state)
{
    (void)state;
    // Stream 0 is the plain generator: counter = index (low, high), a, b; key = seed (low, high).
    const struct {
        sella_rng rng;
        uint64_t index;
        uint32_t out[4];
    } cases[] = {
        {{0, 0, 0, 0}, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{UINT64_MAX, 0, 0xffffffff, 0xffffffff},
         UINT64_MAX,
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x299f31d0a4093822, 0, 0x13198a2e, 0x03707344},
         0x85a308d3243f6a88,
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t out[4];
        sella_rng_block(&cases[i].rng, cases[i].index, out);
        assert_memory_equal(out, cases[i].out, sizeof out);
    }
}

static void inputs_matter(void **state)
{
    (void)state;
    const sella_rng rngs[] = {{1, 2, 3, 4}, {2, 2, 3, 4}, {1, 3, 3, 4},
                              {1, 2, 4, 4}, {1, 2, 3, 5}, {1ull << 32, 2, 3, 4}};
    uint32_t out[7][4];
    for (int i = 0; i < 6; i++) {
        sella_rng_block(&rngs[i], 7, out[i]);
    }
    sella_rng_block(&rngs[0], 8, out[6]);
    for (int i = 0; i < 7; i++) {
        for (int j = 0; j < i; j++) {
            assert_memory_not_equal(out[i], out[j], sizeof out[i]);
        }
    }
}

/* Moments of 100,000 draws within 5 standard errors of their known values; chi-square of 10 cells
 * far from its tail. */
static void distributions(void **state)
{
    (void)state;
    enum { N = 100000 };
    sella_rng rng = {.seed = 5, .stream = SELLA_STREAM_TEST};
    double sum = 0, sum2 = 0, normal = 0, normal2 = 0, normal4 = 0, cells[10] = {0};
    for (uint64_t i = 0; i < N; i++) {
        double u = (double)sella_rng_uniform(&rng, i), z = sella_rng_normal(&rng, i);
        uint64_t k = sella_rng_below(&rng, i, 10);
        assert_true(u >= 0 && u < 1);
        assert_true(k < 10);
        assert_true(isfinite(z));
        sum += u, sum2 += u * u;
        normal += z, normal2 += z * z, normal4 += z * z * z * z;
        cells[k]++;
    }
    double root = sqrt((double)N), chi = 0;
    assert_true(fabs(sum / N - 0.5) < 5 * 0.2887 / root);
    assert_true(fabs(sum2 / N - 1.0 / 3) < 5 * 0.2982 / root);
    assert_true(fabs(normal / N) < 5 / root);
    assert_true(fabs(normal2 / N - 1) < 5 * 1.4143 / root);
    assert_true(fabs(normal4 / N - 3) < 5 * 9.7980 / root);
    for (int k = 0; k < 10; k++) {
        chi += (cells[k] - N / 10.0) * (cells[k] - N / 10.0) / (N / 10.0);
    }
    assert_true(chi < 33.7); // P = 1e-4 with 9 degrees of freedom
    assert_int_equal(sella_rng_below(&rng, 3, 1), 0);
    assert_true(sella_rng_below(&rng, 3, UINT64_MAX) < UINT64_MAX);
}

static void shuffle(void **state)
{
    (void)state;
    sella_rng rng = {.seed = 1, .stream = SELLA_STREAM_SHUFFLE};
    int64_t first[4] = {0}; // how often each of 4 items comes first
    for (uint32_t epoch = 0; epoch < 4000; epoch++) {
        int64_t items[4] = {0, 1, 2, 3};
        rng.a = epoch;
        sella_rng_shuffle(&rng, items, 4);
        int seen = 0;
        for (int i = 0; i < 4; i++) {
            seen |= 1 << items[i];
        }
        assert_int_equal(seen, 15);
        first[items[0]]++;
    }
    for (int i = 0; i < 4; i++) {
        assert_true(llabs(first[i] - 1000) < 5 * 28); // sd = sqrt(4000 * 1/4 * 3/4) = 27.4
    }
    sella_rng_shuffle(&rng, NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers), cmocka_unit_test(inputs_matter),
        cmocka_unit_test(distributions), cmocka_unit_test(shuffle)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
