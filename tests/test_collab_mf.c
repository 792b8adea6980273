/* Matrix factorisation: ten Adam steps of torch (tests/ref/collab_dump.py), central differences,
 *                       threads,
 * starts. */
#include "ref_file.h"

#include <math.h>
#include <omp.h>

#include "base/rng.h"
#include "collab/mf.h"
#include "kernels/loss.h"
#include "train/optimizer.h"

enum { N = 16, H = 5, STEPS = 10 };

typedef struct data {
    const int32_t *user, *item, *count, *history;
    const float *label;
} data;

static sella_mf_batch batch_of(const data *d, int step, const int32_t *pointers[N])
{
    for (int n = 0; n < N; n++) {
        pointers[n] = d->history + ((size_t)step * N + (size_t)n) * H;
    }
    return (sella_mf_batch){.N = N,
                            .user_n = d->user + step * N,
                            .item_n = d->item + step * N,
                            .history_n = pointers,
                            .history_count_n = d->count + step * N};
}

static void test_torch(void **state)
{
    (void)state;
    ref_file ref = ref_open("tests/ref/collab.ref");
    const data d = {ref_i32(&ref, "mf.users", NULL), ref_i32(&ref, "mf.items", NULL),
                    ref_i32(&ref, "mf.counts", NULL), ref_i32(&ref, "mf.history", NULL),
                    ref_f32(&ref, "mf.labels", NULL)};
    const sella_mf_config config = {
        .users = 9, .items = 7, .C = 5, .bias = true, .history = true, .init = .1};
    const sella_optimizer_config adam = {
        .beta1 = .9, .beta2 = .999, .eps = 1e-8, .weight_decay = .01, .coupled = true};
    const double *losses = ref_f64(&ref, "mf.losses", NULL);
    sella_mf mf;
    sella_optimizer *optimizer = NULL;
    char name[SELLA_PARAM_NAME_MAX + 16];
    assert_int_equal(sella_mf_init(&config, 1, &mf, NULL), SELLA_OK);
    for (int i = 0; i < mf.table.count; i++) {
        snprintf(name, sizeof name, "mf.start.%s", mf.table.param[i].name);
        memcpy(mf.table.param[i].data, ref_f32(&ref, name, NULL),
               mf.table.param[i].count * sizeof(float));
    }
    sella_param_table *tables[] = {&mf.table};
    assert_int_equal(sella_optimizer_new(tables, 1, &adam, &optimizer, NULL), SELLA_OK);
    for (int step = 0; step < STEPS; step++) {
        const int32_t *pointers[N];
        const sella_mf_batch batch = batch_of(&d, step, pointers);
        float z[N], dz[N], share[N], vector[N * 5], alone[N];
        for (int n = 0; n < N; n++) {
            share[n] = 1.0f / N;
        }
        sella_mf_forward(&mf, &batch, z, vector);
        sella_mf_forward(&mf, &batch, alone, NULL);
        assert_memory_equal(z, alone, sizeof z);
        assert_true(fabs(sella_bce_forward(dz, z, d.label + step * N, share, N) - losses[step]) <
                    1e-6);
        sella_mf_backward(&mf, &batch, dz, NULL, NULL);
        if (step == 0) {
            ref_close_to("mf.z", z, ref_f32(&ref, "mf.z", NULL), N, 1e-6);
            ref_close_to("mf.vector", vector, ref_f32(&ref, "mf.vector", NULL), N * 5, 1e-6);
            for (int i = 0; i < mf.table.count; i++) {
                snprintf(name, sizeof name, "mf.grad.%s", mf.table.param[i].name);
                ref_close_to(name, mf.table.param[i].grad, ref_f32(&ref, name, NULL),
                             mf.table.param[i].count, 1e-6);
            }
        }
        assert_int_equal(sella_optimizer_step(optimizer, .02, -1, NULL, NULL), SELLA_OK);
    }
    for (int i = 0; i < mf.table.count; i++) {
        snprintf(name, sizeof name, "mf.end.%s", mf.table.param[i].name);
        ref_close_to(name, mf.table.param[i].data, ref_f32(&ref, name, NULL),
                     mf.table.param[i].count, 1e-4);
    }
    sella_optimizer_free(optimizer);
    sella_mf_release(&mf);
    ref_close(&ref);
}

/* A larger drawn problem: width not a multiple of the column blocks. */
typedef struct problem {
    sella_mf mf;
    int32_t user[40], item[40], count[40], pool[40][6];
    const int32_t *history[40];
    /* weights of z, of the user vector and of q in the tested sum */
    float a[40], b[40 * 37], c[40 * 37];
    sella_mf_batch batch;
} problem;

static void problem_init(problem *p, bool bias, bool history, int rows)
{
    const sella_rng rng = {.seed = 6, .stream = SELLA_STREAM_TEST};
    const sella_mf_config config = {
        .users = 5, .items = 6, .C = 37, .bias = bias, .history = history, .init = .4};
    uint64_t at = 0;
    assert_int_equal(sella_mf_init(&config, 7, &p->mf, NULL), SELLA_OK);
    for (int n = 0; n < 40; n++) {
        p->user[n] = (int32_t)sella_rng_below(&rng, at++, 6) - 1;
        p->item[n] = (int32_t)sella_rng_below(&rng, at++, 7) - 1;
        p->count[n] = (int32_t)sella_rng_below(&rng, at++, 7);
        p->a[n] = (float)sella_rng_normal(&rng, at++);
        for (int k = 0; k < 6; k++) {
            p->pool[n][k] = (int32_t)sella_rng_below(&rng, at++, 6);
        }
        p->history[n] = p->pool[n];
    }
    for (int i = 0; i < 40 * 37; i++) {
        p->b[i] = (float)sella_rng_normal(&rng, at++);
        p->c[i] = (float)sella_rng_normal(&rng, at++);
    }
    p->batch = (sella_mf_batch){.N = rows,
                                .user_n = p->user,
                                .item_n = p->item,
                                .history_n = history ? p->history : NULL,
                                .history_count_n = history ? p->count : NULL};
}

static double weighted(const problem *p)
{
    float z[40], vector[40 * 37];
    double sum = 0;
    const float *q = p->mf.table.param[1].data;
    sella_mf_forward(&p->mf, &p->batch, z, vector);
    for (int n = 0; n < p->batch.N; n++) {
        sum += (double)p->a[n] * (double)z[n];
        for (int c = 0; c < 37; c++) {
            sum += (double)p->b[n * 37 + c] * (double)vector[n * 37 + c];
            sum += p->item[n] < 0 ? 0 : (double)p->c[n * 37 + c] * (double)q[p->item[n] * 37 + c];
        }
    }
    return sum;
}

static void test_differences(void **state)
{
    (void)state;
    for (int k = 0; k < 4; k++) {
        problem p;
        problem_init(&p, k % 2 == 1, k / 2 == 1, 9);
        sella_mf_backward(&p.mf, &p.batch, p.a, p.b, p.c);
        for (int i = 0; i < p.mf.table.count; i++) {
            sella_param *param = &p.mf.table.param[i];
            for (size_t at = 0; at < param->count; at++) {
                const float keep = param->data[at], step = 1e-2f;
                param->data[at] = keep + step;
                const double up = weighted(&p), above = (double)param->data[at];
                param->data[at] = keep - step;
                const double slope = (up - weighted(&p)) / (above - (double)param->data[at]);
                param->data[at] = keep;
                if (fabs(slope - (double)param->grad[at]) > 1e-3 * (1 + fabs(slope))) {
                    fail_msg("%s value %zu: %g, by differences %g", param->name, at,
                             (double)param->grad[at], slope);
                }
            }
        }
        sella_mf_release(&p.mf);
    }
}

static void test_frozen_and_unseen(void **state)
{
    (void)state;
    problem p;
    problem_init(&p, true, true, 40);
    for (int i = 0; i < p.mf.table.count; i++) {
        assert_int_equal(sella_param_train(&p.mf.table.param[i], false, NULL), SELLA_OK);
    }
    sella_mf_backward(&p.mf, &p.batch, p.a, p.b, p.c); /* nothing trains: nothing to write to */
    p.user[0] = -1;
    p.item[0] = -1;
    p.count[0] = 0;
    p.mf.table.param[4].data[0] = .25f;
    float z[40], vector[40 * 37];
    sella_mf_forward(&p.mf, &p.batch, z, vector);
    assert_true(z[0] == .25f);
    for (int c = 0; c < 37; c++) {
        assert_true(vector[c] == 0.0f);
    }
    sella_mf_release(&p.mf);
}

/* Above the size that wakes threads (values of the batch): 40 rows repeated. */
static void test_threads(void **state)
{
    (void)state;
    enum { ROWS = 8000 };
    static int32_t user[ROWS], item[ROWS], count[ROWS];
    static const int32_t *history[ROWS];
    static float z[3][ROWS], dz[ROWS];
    problem p[3];
    const int threads = omp_get_max_threads();
    for (int t = 0; t < 3; t++) {
        problem_init(&p[t], true, true, 40);
        for (int n = 0; n < ROWS; n++) {
            user[n] = p[t].user[n % 40];
            item[n] = p[t].item[(n * 7) % 40];
            count[n] = p[t].count[(n * 3) % 40];
            history[n] = p[t].history[(n * 3) % 40];
            dz[n] = p[t].a[n % 40] * (float)(n % 11);
        }
        const sella_mf_batch batch = {.N = ROWS,
                                      .user_n = user,
                                      .item_n = item,
                                      .history_n = history,
                                      .history_count_n = count};
        omp_set_num_threads(t + 1);
        sella_mf_forward(&p[t].mf, &batch, z[t], NULL);
        sella_mf_backward(&p[t].mf, &batch, dz, NULL, NULL);
        assert_memory_equal(z[t], z[0], sizeof z[0]);
        for (int i = 0; i < p[t].mf.table.count; i++) {
            assert_memory_equal(p[t].mf.table.param[i].grad, p[0].mf.table.param[i].grad,
                                p[t].mf.table.param[i].count * sizeof(float));
        }
    }
    omp_set_num_threads(threads);
    for (int t = 0; t < 3; t++) {
        sella_mf_release(&p[t].mf);
    }
}

static void test_start(void **state)
{
    (void)state;
    const sella_mf_config config = {.users = 300, .items = 200, .C = 16, .bias = true, .init = .1};
    sella_mf a, b, other;
    sella_err err = {0};
    assert_int_equal(sella_mf_init(&config, 1, &a, NULL), SELLA_OK);
    assert_int_equal(sella_mf_init(&config, 1, &b, NULL), SELLA_OK);
    assert_int_equal(sella_mf_init(&config, 2, &other, NULL), SELLA_OK);
    static const char *const names[] = {"user.weight", "item.weight", "user.bias", "item.bias",
                                        "global.bias"};
    assert_int_equal(a.table.count, 5);
    for (int i = 0; i < 5; i++) {
        const sella_param *param = &a.table.param[i];
        double squares = 0;
        assert_string_equal(param->name, names[i]);
        assert_memory_equal(param->data, b.table.param[i].data, param->count * sizeof(float));
        for (size_t k = 0; k < param->count; k++) {
            squares += (double)param->data[k] * (double)param->data[k];
        }
        assert_true(i < 2 ? fabs(sqrt(squares / (double)param->count) - .1) < .003 : squares == 0);
    }
    assert_memory_not_equal(a.table.param[0].data, other.table.param[0].data, 64);
    assert_memory_not_equal(a.table.param[0].data, a.table.param[1].data, 64);
    sella_mf_release(&a);
    sella_mf_release(&b);
    sella_mf_release(&other);
    const sella_mf_config bad[] = {{.users = 0, .items = 1, .C = 1},
                                   {.users = 1, .items = 1, .C = 5000},
                                   {.users = 1, .items = 1, .C = 1, .init = NAN}};
    for (int k = 0; k < 3; k++) {
        assert_int_equal(sella_mf_init(&bad[k], 1, &a, &err), SELLA_ARG);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_torch), cmocka_unit_test(test_differences),
        cmocka_unit_test(test_frozen_and_unseen), cmocka_unit_test(test_threads),
        cmocka_unit_test(test_start)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
