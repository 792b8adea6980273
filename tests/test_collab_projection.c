/* Both projections against torch (tests/ref/collab_dump.py) and central differences; their
 * start. */
#include "ref_file.h"

#include <math.h>

#include "base/rng.h"
#include "collab/projection.h"

static void load(const ref_file *ref, sella_projection *p)
{
    for (int i = 0; i < p->table.count; i++) {
        sella_param *param = &p->table.param[i];
        const char *name = param->name;
        size_t n;
        const float *from = ref_f32(ref, name, &n);
        assert_int_equal(n, param->count);
        memcpy(param->data, from, n * sizeof *from);
    }
}

static void test_torch(void **state)
{
    (void)state;
    enum { N = 5, C = 6, H = 11, L = 8 };
    ref_file ref = ref_open("tests/ref/collab.ref");
    sella_projection p;
    float y[N * L], pre[N * H], act[N * H], dpre[N * H], dx[N * L];
    assert_int_equal(sella_projection_init(C, H, L, true, SELLA_WARM_RANDOM, 1, &p, NULL),
                     SELLA_OK);
    load(&ref, &p);
    for (int round = 1; round <= 2; round++) { /* gradients accumulate */
        sella_proj_forward(&p, y, ref_f32(&ref, "proj.x", NULL), N, pre, act);
        ref_close_to("proj.y", y, ref_f32(&ref, "proj.y", NULL), N * L, 1e-6);
        sella_proj_backward(&p, dx, ref_f32(&ref, "proj.dy", NULL), ref_f32(&ref, "proj.x", NULL),
                            N, pre, act, dpre);
        ref_close_to("proj.dx", dx, ref_f32(&ref, "proj.dx", NULL), N * C, 1e-6);
        sella_warm_forward(&p, y, ref_f32(&ref, "warm.x", NULL), N);
        ref_close_to("warm.y", y, ref_f32(&ref, "warm.y", NULL), N * L, 1e-6);
        sella_warm_backward(&p, dx, ref_f32(&ref, "warm.dy", NULL), ref_f32(&ref, "warm.x", NULL),
                            N);
        ref_close_to("warm.dx", dx, ref_f32(&ref, "warm.dx", NULL), N * L, 1e-6);
        for (int i = 0; i < p.table.count; i++) {
            char name[SELLA_PARAM_NAME_MAX + 8];
            const sella_param *param = &p.table.param[i];
            float half[128];
            for (size_t k = 0; k < param->count; k++) {
                half[k] = param->grad[k] / (float)round;
            }
            snprintf(name, sizeof name, "%s.grad", param->name);
            ref_close_to(name, half, ref_f32(&ref, name, NULL), param->count, 1e-6);
        }
    }
    sella_projection_release(&p);
    ref_close(&ref);
}

/* sum(y * dy) of the whole chain warm(proj(x)). */
static double chain(const sella_projection *p, const float *x, const float *dy, int N)
{
    float mid[60], y[60], pre[60], act[60];
    double sum = 0;
    sella_proj_forward(p, mid, x, N, pre, act);
    sella_warm_forward(p, y, mid, N);
    for (int i = 0; i < N * p->L; i++) {
        sum += (double)y[i] * (double)dy[i];
    }
    return sum;
}

static void test_differences(void **state)
{
    (void)state;
    enum { N = 3, C = 4, H = 7, L = 5 };
    const sella_rng rng = {.seed = 8, .stream = SELLA_STREAM_TEST};
    sella_projection p;
    float x[N * C], dy[N * L], mid[N * L], y[N * L], pre[N * H], act[N * H], dpre[N * H],
        dmid[N * L], dx[N * C];
    assert_int_equal(sella_projection_init(C, H, L, true, SELLA_WARM_RANDOM, 3, &p, NULL),
                     SELLA_OK);
    for (int i = 0; i < N * C; i++) {
        x[i] = (float)sella_rng_normal(&rng, (uint64_t)i);
    }
    for (int i = 0; i < N * L; i++) {
        dy[i] = (float)sella_rng_normal(&rng, (uint64_t)i + 100);
    }
    /* a frozen row has no gradient */
    assert_int_equal(sella_param_train(&p.table.param[1], false, NULL), SELLA_OK);
    sella_proj_forward(&p, mid, x, N, pre, act);
    sella_warm_forward(&p, y, mid, N);
    sella_warm_backward(&p, dmid, dy, mid, N);
    sella_proj_backward(&p, dx, dmid, x, N, pre, act, dpre);
    for (int i = -1; i < p.table.count; i++) {
        float *value = i < 0 ? x : p.table.param[i].data;
        const float *grad = i < 0 ? dx : p.table.param[i].grad;
        const size_t count = i < 0 ? N * C : p.table.param[i].count;
        for (size_t k = 0; grad && k < count; k++) {
            const float keep = value[k], step = 1e-2f;
            value[k] = keep + step;
            const double up = chain(&p, x, dy, N), above = (double)value[k];
            value[k] = keep - step;
            const double slope = (up - chain(&p, x, dy, N)) / (above - (double)value[k]);
            value[k] = keep;
            assert_true(fabs(slope - (double)grad[k]) <= 1e-3 * (1 + fabs(slope)));
        }
    }
    assert_null(p.table.param[1].grad);
    sella_projection_release(&p);
}

static void test_start(void **state)
{
    (void)state;
    enum { C = 64, H = 100, L = 36 };
    sella_projection p, q;
    sella_err err = {0};
    assert_int_equal(sella_projection_init(C, H, L, true, SELLA_WARM_IDENTITY, 3, &p, NULL),
                     SELLA_OK);
    assert_int_equal(sella_projection_init(C, H, L, false, SELLA_WARM_RANDOM, 3, &q, NULL),
                     SELLA_OK);
    assert_int_equal(p.table.count, 6);
    assert_int_equal(q.table.count, 4);
    const int in[] = {C, C, H, H};
    for (int i = 0; i < 4; i++) {
        const sella_param *param = &p.table.param[i];
        const double bound = 1 / sqrt(in[i]);
        double low = 0, high = 0, sum = 0, squares = 0;
        assert_memory_equal(param->data, q.table.param[i].data,
                            param->count * sizeof(float)); /* a pure function of the seed */
        for (size_t k = 0; k < param->count; k++) {
            const double w = (double)param->data[k];
            low = fmin(low, w);
            high = fmax(high, w);
            sum += w;
            squares += w * w;
        }
        const double n = (double)param->count;
        assert_true(low >= -bound && high <= bound && high > .8 * bound && low < -.8 * bound);
        assert_true(fabs(sum / n) < 4 * bound / sqrt(3 * n));
        assert_true(fabs(squares / n / (bound * bound / 3) - 1) < 4 / sqrt(n));
    }
    sella_projection_release(&q);
    float x[L], y[L];
    for (int i = 0; i < L; i++) {
        x[i] = (float)i;
    }
    sella_warm_forward(&p, y, x, 1);
    assert_memory_equal(x, y, sizeof x);
    assert_int_equal(sella_projection_init(0, H, L, true, SELLA_WARM_IDENTITY, 3, &q, &err),
                     SELLA_ARG);
    sella_projection_release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_torch),
                                       cmocka_unit_test(test_differences),
                                       cmocka_unit_test(test_start)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
