/* Every backward kernel but attention's against central differences of its forward one; the loss
 * sum(dy * y) is summed in double. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "base/rng.h"
#include "kernels/activation.h"
#include "kernels/loss.h"
#include "kernels/norm.h"
#include "kernels/rope.h"

static const sella_rng rng = {.seed = 5, .stream = SELLA_STREAM_TEST};

static void fill(float *x, size_t n, uint64_t from)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)sella_rng_normal(&rng, from + i);
    }
}

static double weighted(const float *y, const float *dy, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)y[i] * (double)dy[i];
    }
    return sum;
}

typedef struct problem {
    float x[512], y[512], dy[512], dx[512], w[64], r[64];
    int N, C;
    size_t nx, ny;
    void (*forward)(struct problem *p);
} problem;

static problem p0; /* too large for a comfortable stack */

static void check(problem *p)
{
    for (size_t i = 0; i < p->nx; i++) {
        const float x = p->x[i], h = 0.01f;
        p->x[i] = x + h;
        const float up = p->x[i];
        p->forward(p);
        const double above = weighted(p->y, p->dy, p->ny);
        p->x[i] = x - h;
        const float down = p->x[i];
        p->forward(p);
        const double below = weighted(p->y, p->dy, p->ny);
        p->x[i] = x;
        const double slope = (above - below) / ((double)up - (double)down);
        if (!(fabs(slope - (double)p->dx[i]) <= 1e-3 * (1 + fabs(slope)))) {
            fail_msg("gradient of input %zu is %g, differences say %g", i, (double)p->dx[i], slope);
        }
    }
}

static void norm_forward(problem *p)
{
    sella_rmsnorm_forward(p->y, p->C, p->r, p->x, p->C, p->w, p->N, p->C, 1e-5f);
}

static void test_rmsnorm(void **state)
{
    (void)state;
    static const int shapes[][2] = {{1, 1}, {3, 7}, {2, 33}, {5, 16}};
    for (size_t s = 0; s < 4; s++) {
        problem *p = &p0;
        p->N = shapes[s][0];
        p->C = shapes[s][1];
        p->nx = p->ny = (size_t)(p->N * p->C);
        p->forward = norm_forward;
        fill(p->x, p->nx, 1000 * s);
        fill(p->dy, p->ny, 1000 * s + 300);
        fill(p->w, (size_t)p->C, 1000 * s + 600);
        p->forward(p);
        fill(p->dx, p->nx, 1000 * s + 800); /* it accumulates: take what was there off again */
        float before[512];
        memcpy(before, p->dx, sizeof before);
        sella_rmsnorm_backward(p->dx, p->C, p->dy, p->C, p->x, p->C, p->w, p->r, p->N, p->C);
        for (size_t i = 0; i < p->nx; i++) {
            p->dx[i] -= before[i];
        }
        check(p);
    }
}

static void swiglu_forward(problem *p)
{
    sella_swiglu_forward(p->y, p->C, p->x, 2 * p->C, p->N, p->C);
}

static void test_swiglu(void **state)
{
    (void)state;
    static const int shapes[][2] = {{1, 1}, {3, 7}, {2, 33}};
    for (size_t s = 0; s < 3; s++) {
        problem *p = &p0;
        p->N = shapes[s][0];
        p->C = shapes[s][1];
        p->ny = (size_t)(p->N * p->C);
        p->nx = 2 * p->ny;
        p->forward = swiglu_forward;
        fill(p->x, p->nx, 5000 + 1000 * s);
        fill(p->dy, p->ny, 5300 + 1000 * s);
        sella_swiglu_backward(p->dx, 2 * p->C, p->dy, p->C, p->x, 2 * p->C, p->N, p->C);
        check(p);
    }
}

static void gelu_forward(problem *p)
{
    sella_gelu_forward(p->y, p->x, p->nx);
}

static void test_gelu(void **state)
{
    (void)state;
    problem *p = &p0;
    p->nx = p->ny = 77;
    p->forward = gelu_forward;
    fill(p->x, p->nx, 9000);
    fill(p->dy, p->ny, 9300);
    sella_gelu_backward(p->dx, p->dy, p->x, p->nx);
    check(p);
}

static double angles[8];
static float cosine[8 * 40], sine[8 * 40];
static const int32_t position[4] = {0, 3, 3, 39};

static void rope_forward(problem *p)
{
    memcpy(p->y, p->x, p->nx * sizeof *p->x);
    sella_rope_apply(p->y, p->C * p->N, 4, p->N, p->C, position, cosine, sine, 0);
}

static void test_rope(void **state)
{
    (void)state;
    for (int D = 2; D <= 16; D += 14) {
        problem *p = &p0;
        p->N = 3; /* heads */
        p->C = D;
        p->nx = p->ny = (size_t)(4 * 3 * D);
        p->forward = rope_forward;
        sella_rope_frequencies(angles, D, 100.0, NULL);
        sella_rope_table(cosine, sine, 40, D, angles);
        fill(p->x, p->nx, 11000);
        fill(p->dy, p->ny, 11300);
        memcpy(p->dx, p->dy, p->ny * sizeof *p->dy);
        sella_rope_apply(p->dx, 3 * D, 4, 3, D, position, cosine, sine, 1);
        check(p);
    }
}

static void bias_forward(problem *p)
{
    memset(p->y, 0, p->ny * sizeof *p->y);
    sella_bias_add(p->y, p->C, p->x, p->N, p->C);
}

static void test_bias(void **state)
{
    (void)state;
    problem *p = &p0;
    p->N = 5;
    p->C = 67;
    p->nx = 67;
    p->ny = 335;
    p->forward = bias_forward;
    fill(p->x, p->nx, 12000);
    fill(p->dy, p->ny, 12300);
    memset(p->dx, 0, p->nx * sizeof *p->dx);
    sella_bias_backward(p->dx, p->dy, p->C, p->N, p->C);
    check(p);
}

static void test_bce(void **state)
{
    (void)state;
    float z[9], y[9], weight[9], dz[9];
    fill(z, 9, 13000);
    for (int i = 0; i < 9; i++) {
        y[i] = sella_rng_uniform(&rng, 13100 + (uint64_t)i);
        weight[i] = sella_rng_uniform(&rng, 13200 + (uint64_t)i);
    }
    sella_bce_forward(dz, z, y, weight, 9);
    for (int i = 0; i < 9; i++) {
        const float x = z[i], h = 0.01f, up = x + h, down = x - h;
        z[i] = up;
        const double above = sella_bce_forward(NULL, z, y, weight, 9);
        z[i] = down;
        const double below = sella_bce_forward(NULL, z, y, weight, 9);
        z[i] = x;
        assert_true(fabs((above - below) / ((double)up - (double)down) - (double)dz[i]) < 1e-4);
    }
}

static void test_small_helpers(void **state)
{
    (void)state;
    float x[37], y[37];
    fill(x, 37, 14000);
    fill(y, 37, 14100);
    float expected[37];
    for (int i = 0; i < 37; i++) {
        expected[i] = (float)(((double)y[i] + 1.5 * (double)x[i]) * -2);
    }
    sella_axpy(y, 1.5f, x, 37);
    sella_scale(y, -2.0f, 37);
    for (int i = 0; i < 37; i++) {
        assert_true(fabsf(y[i] - expected[i]) < 1e-5f);
    }
    assert_true(sella_sigmoid(0) == 0.5 && sella_sigmoid(800) == 1.0 && sella_sigmoid(-800) == 0.0);
    assert_true(fabs(sella_sigmoid(-3) - 0.04742587317756678) < 1e-16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rmsnorm),       cmocka_unit_test(test_swiglu),
        cmocka_unit_test(test_gelu),          cmocka_unit_test(test_rope),
        cmocka_unit_test(test_bias),          cmocka_unit_test(test_bce),
        cmocka_unit_test(test_small_helpers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
