/* The row kernels of every level against plain loops in double, at every short length; the vector
 * exp against libm. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "base/rng.h"
#include "kernels/fast.h"

enum { MOST = 131, GUARD = 1 };

static const sella_rng rng = {.seed = 21, .stream = SELLA_STREAM_TEST};
static float a[2 * MOST], b[2 * MOST], w[2 * MOST], out[2 * MOST], other[2 * MOST];

static void fill(float *x, uint64_t from)
{
    for (size_t i = 0; i < 2 * MOST; i++) {
        x[i] = 3.0f * (float)sella_rng_normal(&rng, from + i);
    }
}

static void near(const char *what, const char *level, size_t n, size_t i, float got,
                 double expected)
{
    if (!(fabs((double)got - expected) <= 2e-6 * (1 + fabs(expected)))) {
        fail_msg("%s, %s, length %zu: value %zu is %.9g, expected %.9g", what, level, n, i,
                 (double)got, expected);
    }
}

static void check_norm(const sella_fast *fast, size_t n)
{
    double sum = 0, dot = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)a[i] * (double)a[i];
        dot += (double)b[i] * (double)w[i] * (double)a[i];
    }
    const double r = 1 / sqrt(sum / (double)n + 1e-5);
    out[n] = 77.0f;
    const float got = fast->norm_forward(out, a, w, (int)n, 1e-5f);
    near("1 / rms", fast->name, n, 0, got, r);
    for (size_t i = 0; i < n; i++) {
        near("norm", fast->name, n, i, out[i], (double)w[i] * (double)a[i] * r);
        other[i] = 1.0f;
    }
    other[n] = 77.0f;
    fast->norm_backward(other, b, a, w, got, (int)n);
    for (size_t i = 0; i < n; i++) {
        near("norm backward", fast->name, n, i, other[i],
             1 + (double)b[i] * (double)w[i] * r - (double)a[i] * dot * r * r * r / (double)n);
    }
    assert_true(out[n] == 77.0f && other[n] == 77.0f);
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static void check_swiglu(const sella_fast *fast, size_t n)
{
    out[n] = 77.0f;
    fast->swiglu_forward(out, a, b, (int)n);
    for (size_t i = 0; i < n; i++) {
        near("swiglu", fast->name, n, i, out[i],
             (double)a[i] * sigmoid((double)a[i]) * (double)b[i]);
    }
    float up[MOST + GUARD], gate[MOST + GUARD];
    memcpy(gate, a, sizeof gate);
    memcpy(up, b, sizeof up);
    fast->swiglu_backward(gate, up, w, gate, up, (int)n); /* in place */
    for (size_t i = 0; i < n; i++) {
        const double g = (double)a[i], u = (double)b[i], s = sigmoid(g);
        near("gate gradient", fast->name, n, i, gate[i], (double)w[i] * u * s * (1 + g * (1 - s)));
        near("up gradient", fast->name, n, i, up[i], (double)w[i] * g * s);
    }
    assert_true(out[n] == 77.0f && gate[n] == a[n] && up[n] == b[n]);
}

static void check_rest(const sella_fast *fast, size_t n)
{
    out[n] = other[n] = 77.0f;
    fast->gelu_forward(out, a, n);
    fast->gelu_backward(other, b, a, n);
    for (size_t i = 0; i < n; i++) {
        const double x = (double)a[i], below = 0.5 * (1 + erf(x * M_SQRT1_2));
        near("gelu", fast->name, n, i, out[i], x * below);
        near("gelu backward", fast->name, n, i, other[i],
             (double)b[i] * (below + x * exp(-x * x / 2) / sqrt(2 * M_PI)));
    }
    memcpy(out, b, n * sizeof *out);
    fast->axpy(out, -1.5f, a, n);
    for (size_t i = 0; i < n; i++) {
        near("axpy", fast->name, n, i, out[i], (double)b[i] - 1.5 * (double)a[i]);
    }
    assert_true(out[n] == 77.0f && other[n] == 77.0f);
    memcpy(out, a, 2 * n * sizeof *out);
    out[2 * n] = 77.0f;
    fast->rope_head(out, (int)n, b, w, -1.0f);
    for (size_t i = 0; i < n; i++) {
        const double x = (double)a[i], y = (double)a[n + i], c = (double)b[i], s = -(double)w[i];
        near("rope", fast->name, n, i, out[i], x * c - y * s);
        near("rope", fast->name, n, n + i, out[n + i], y * c + x * s);
    }
    assert_true(out[2 * n] == 77.0f);
}

static void test_levels(void **state)
{
    (void)state;
    fill(a, 0);
    fill(b, 1000);
    fill(w, 2000);
    for (int level = 0; level < SELLA_FAST_LEVELS; level++) {
        const sella_fast *fast = sella_fast_level(level);
        for (size_t n = 1; fast != NULL && n < MOST; n++) {
            check_norm(fast, n);
            check_swiglu(fast, n);
            check_rest(fast, n);
        }
    }
    assert_null(sella_fast_level(SELLA_FAST_LEVELS));
    assert_non_null(sella_fast_best()->norm_forward);
}

/* Error in units of the last place of the exact value. */
static double ulps(float got, double exact)
{
    const float nearest = (float)exact;
    const double step = (double)(nextafterf(nearest, INFINITY) - nearest);
    return fabs((double)got - exact) / step;
}

static void test_exp(void **state)
{
    (void)state;
    enum { N = 20000 };
    static float x[N], y[N], first[N];
    bool have = false;
    for (int i = 0; i < N; i++) {
        x[i] = -103.0f + 191.0f * (float)i / N; /* subnormal results at the low end */
    }
    for (int level = 1; level < SELLA_FAST_LEVELS; level++) {
        const sella_fast *fast = sella_fast_level(level);
        if (fast == NULL) {
            continue;
        }
        fast->exp(y, x, N);
        for (int i = 0; i < N; i++) {
            if (!(ulps(y[i], exp((double)x[i])) < 2.0)) {
                fail_msg("%s: exp(%.9g) is %.9g", fast->name, (double)x[i], (double)y[i]);
            }
        }
        if (have) {
            assert_memory_equal(first, y, sizeof y); /* every level gives the same bits */
        }
        memcpy(first, y, sizeof y);
        have = true;
        const float edges[] = {0.0f, -0.0f, -1000.0f, 1000.0f, INFINITY, -INFINITY, NAN, 89.5f};
        fast->exp(y, edges, 8);
        assert_true(y[0] == 1.0f && y[1] == 1.0f && y[2] == 0.0f && isinf(y[3]) && isinf(y[4]) &&
                    y[5] == 0.0f && isnan(y[6]) && isinf(y[7]));
        fast->gelu_forward(y, edges + 6, 1);
        assert_true(isnan(y[0]));
        fast->swiglu_forward(y, edges + 6, edges, 1);
        assert_true(isnan(y[0]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_levels), cmocka_unit_test(test_exp)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
