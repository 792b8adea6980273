/* Products against a triple loop in double, threads and BLAS. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "base/rng.h"
#include "kernels/gemm.h"
#include "kernels/product.h"

typedef void (*product)(bool ta, bool tb, int M, int N, int K, float alpha, const float *a, int lda,
                        const float *b, int ldb, float beta, float *c, int ldc);

static const sella_rng rng = {.seed = 11, .stream = SELLA_STREAM_TEST};

static void check(product multiply, bool ta, bool tb, int M, int N, int K, float alpha, float beta)
{
    const int lda = (ta ? M : K) + 3, ldb = (tb ? K : N) + 1, ldc = N + 2;
    const size_t na = (size_t)(ta ? K : M) * (size_t)lda, nb = (size_t)(tb ? N : K) * (size_t)ldb,
                 nc = (size_t)M * (size_t)ldc;
    float *a = malloc((na + 1) * sizeof *a), *b = malloc((nb + 1) * sizeof *b);
    float *c = malloc((nc + 1) * sizeof *c), *before = malloc((nc + 1) * sizeof *before);
    for (size_t i = 0; i < na; i++) {
        a[i] = sella_rng_uniform(&rng, i) - 0.5f;
    }
    for (size_t i = 0; i < nb; i++) {
        b[i] = sella_rng_uniform(&rng, 100000 + i) - 0.5f;
    }
    for (size_t i = 0; i < nc; i++) {
        before[i] = c[i] = beta == 0.0f ? NAN : sella_rng_uniform(&rng, 200000 + i);
    }
    multiply(ta, tb, M, N, K, alpha, a, lda, b, ldb, beta, c, ldc);
    for (int m = 0; m < M; m++) {
        for (int n = 0; n < ldc; n++) {
            const size_t at = (size_t)m * (size_t)ldc + (size_t)n;
            if (n >= N) { /* between the rows nothing is touched */
                assert_memory_equal(&c[at], &before[at], sizeof *c);
                continue;
            }
            double sum = 0;
            for (int k = 0; k < K; k++) {
                sum += (double)a[ta ? k * lda + m : m * lda + k] *
                       (double)b[tb ? n * ldb + k : k * ldb + n];
            }
            sum = (double)alpha * sum + (beta == 0.0f ? 0.0 : (double)beta * (double)before[at]);
            assert_true(fabs(sum - (double)c[at]) <= 1e-5 * (1 + fabs(sum)));
        }
    }
    free(a);
    free(b);
    free(c);
    free(before);
}

static const sella_fast *level; /* of own() */

/* Our own kernels at `level`, which take beta 0 or 1. */
static void own(bool ta, bool tb, int M, int N, int K, float alpha, const float *a, int lda,
                const float *b, int ldb, float beta, float *c, int ldc)
{
    const sella_fast_product p = {ta, tb, beta != 0.0f, M, N, K, alpha, a, b, c, lda, ldb, ldc};
    assert_true(sella_product_with(level, &p));
}

static void test_own_products(void **state)
{
    (void)state;
    static const int shapes[][3] = {{1, 1, 1},    {3, 5, 7},     {13, 31, 65}, {70, 3, 130},
                                    {2, 200, 1},  {64, 64, 64},  {50, 8, 700}, {8, 97, 300},
                                    {97, 40, 16}, {25, 33, 641}, {31, 130, 9}, {800, 9, 5},
                                    {12, 32, 4},  {40, 70, 1300}};
    for (int i = 0; i < SELLA_FAST_LEVELS; i++) {
        level = sella_fast_level(i);
        if (level == NULL || level->product == NULL) {
            continue;
        }
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            for (int t = 0; t < 4; t++) {
                check(own, t & 1, t & 2, shapes[s][0], shapes[s][1], shapes[s][2], 1.0f, 0.0f);
                check(own, t & 1, t & 2, shapes[s][0], shapes[s][1], shapes[s][2], -0.5f, 1.0f);
            }
        }
    }
    const sella_fast_product p = {.M = 1, .N = 1, .K = 1};
    assert_false(sella_product_with(sella_fast_level(0), &p));
}

/* The same bytes with any number of threads. */
static void test_own_threads(void **state)
{
    (void)state;
    enum { M = 90, N = 70, K = 33 };
    static float a[M * K], b[K * N], one[M * N], other[M * N];
    for (int i = 0; i < M * K; i++) {
        a[i] = sella_rng_uniform(&rng, (uint64_t)i);
    }
    for (int i = 0; i < K * N; i++) {
        b[i] = sella_rng_uniform(&rng, 5000u + (uint64_t)i);
    }
    for (int threads = 1; threads <= 5; threads++) {
        sella_threads_set(threads);
        sella_gemm(false, false, M, N, K, 1.0f, a, K, b, N, 0.0f, threads == 1 ? one : other, N);
        if (threads > 1 && sella_fast_best()->product != NULL) {
            assert_memory_equal(one, other, sizeof one);
        }
    }
    sella_threads_set(0);
}

static void test_products(void **state)
{
    (void)state;
    static const int shapes[][3] = {{1, 1, 1},    {3, 5, 7},   {33, 129, 65},
                                    {70, 3, 130}, {2, 200, 1}, {64, 64, 64},
                                    {0, 4, 4},    {4, 0, 4},   {5, 6, 0}};
    static const product products[] = {sella_gemm, sella_gemm_plain};
    for (size_t p = 0; p < 2; p++) {
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            for (int t = 0; t < 4; t++) {
                check(products[p], t & 1, t & 2, shapes[s][0], shapes[s][1], shapes[s][2], 1.0f,
                      0.0f);
                check(products[p], t & 1, t & 2, shapes[s][0], shapes[s][1], shapes[s][2], -0.5f,
                      1.0f);
                check(products[p], t & 1, t & 2, shapes[s][0], shapes[s][1], shapes[s][2], 2.0f,
                      0.25f);
                check(products[p], t & 1, t & 2, shapes[s][0], shapes[s][1], shapes[s][2], 0.0f,
                      1.0f);
            }
        }
    }
}

static void test_dot(void **state)
{
    (void)state;
    float x[100], y[100];
    for (int C = 0; C <= 100; C++) {
        double sum = 0;
        for (int c = 0; c < C; c++) {
            x[c] = sella_rng_uniform(&rng, (uint64_t)c) - 0.5f;
            y[c] = sella_rng_uniform(&rng, 1000u + (uint64_t)c) - 0.5f;
            sum += (double)x[c] * (double)y[c];
        }
        assert_true(fabs(sum - (double)sella_dot(x, y, C)) < 1e-5);
    }
}

static void test_threads(void **state)
{
    (void)state;
    const int all = sella_threads_set(0);
    assert_true(all >= 1);
    assert_int_equal(sella_threads(), all);
    assert_int_equal(sella_threads_set(1), 1);
    assert_int_equal(sella_threads(), 1);
    assert_int_equal(sella_threads_set(3), 3);
    assert_int_equal(sella_threads(), 3);
    sella_threads_set(0);
    sella_err err = {0};
    assert_int_equal(sella_blas_check(&err), SELLA_OK);
    assert_true(strlen(sella_blas_name()) > 3);
    assert_ptr_equal(sella_blas_name(), sella_blas_name());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_own_products),
        cmocka_unit_test(test_own_threads),
        cmocka_unit_test(test_dot),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
