/* DIN: ten Adam steps of torch (tests/ref/din_dump.py), central differences, what the interest
 *      depends on, unseen
 * users and items, dropout, threads, pieces. */
#include "ref_file.h"

#include <math.h>

#include "base/rng.h"
#include "collab/collab.h"
#include "collab/din.h"
#include "kernels/gemm.h"
#include "kernels/loss.h"
#include "train/optimizer.h"

enum { N = 16, LONGEST = 4, STEPS = 10, C = 6 };

static const sella_din_mode scoring = {0}, training = {.train = true};

/* ---- against torch ---- */

typedef struct data {
    const int32_t *user, *item, *count, *history;
    const float *label;
    const int32_t *pointer[N];
} data;

static data data_of(const ref_file *ref)
{
    return (data){ref_i32(ref, "users", NULL),  ref_i32(ref, "items", NULL),
                  ref_i32(ref, "counts", NULL), ref_i32(ref, "history", NULL),
                  ref_f32(ref, "labels", NULL), {0}};
}

static sella_din_batch batch_of(data *d, int step)
{
    for (int n = 0; n < N; n++) {
        d->pointer[n] = d->history + ((size_t)step * N + (size_t)n) * LONGEST;
    }
    return (sella_din_batch){.N = N, .user_n = d->user + step * N, .item_n = d->item + step * N,
                             .history_n = d->pointer, .history_count_n = d->count + step * N};
}

static void compare(const ref_file *ref, const char *prefix, const sella_param_table *table,
                    bool grads, double tolerance)
{
    char name[SELLA_PARAM_NAME_MAX + 16];
    int found = 0;
    for (int i = 0; i < table->count; i++) {
        const sella_param *param = &table->param[i];
        snprintf(name, sizeof name, "%s.%s", prefix, param->name);
        if (ref_find(ref, name)) {
            size_t count;
            const float *expected = ref_f32(ref, name, &count);
            assert_int_equal(count, param->count);
            ref_close_to(name, grads ? param->grad : param->data, expected, count, tolerance);
            found++;
        }
    }
    assert_true(found > 15);
}

static void torch_start(const ref_file *ref, sella_param_table *table, sella_din *din)
{
    const sella_din_config config = {
        .users = 9, .items = 7, .C = C, .attention = {7, 5}, .top = {9, 4}};
    char name[SELLA_PARAM_NAME_MAX + 16];
    sella_param_table_init(table);
    assert_int_equal(sella_din_init(&config, 1, table, din, NULL), SELLA_OK);
    for (int i = 0; i < table->count; i++) {
        size_t count;
        snprintf(name, sizeof name, "start.%s", table->param[i].name);
        const float *start = ref_f32(ref, name, &count);
        assert_int_equal(count, table->param[i].count);
        memcpy(table->param[i].data, start, count * sizeof(float));
    }
}

static void test_torch(void **state)
{
    (void)state;
    ref_file ref = ref_open("tests/ref/din.ref");
    data d = data_of(&ref);
    const sella_optimizer_config adam = {
        .beta1 = .9, .beta2 = .999, .eps = 1e-8, .weight_decay = .01, .coupled = true};
    const double *losses = ref_f64(&ref, "losses", NULL);
    sella_param_table table;
    sella_din din;
    sella_din_pass *pass = NULL;
    sella_optimizer *optimizer = NULL;
    float z[N], dz[N], share[N], interest[N * C];
    torch_start(&ref, &table, &din);
    assert_int_equal(sella_din_pass_new(&din, N, N * LONGEST, true, &pass, NULL), SELLA_OK);
    sella_param_table *const tables[] = {&table};
    assert_int_equal(sella_optimizer_new(tables, 1, &adam, &optimizer, NULL), SELLA_OK);
    for (int n = 0; n < N; n++) {
        share[n] = 1.0f / N;
    }
    for (int step = 0; step < STEPS; step++) {
        const sella_din_batch batch = batch_of(&d, step);
        sella_din_forward(&din, pass, &batch, &training, z, interest);
        assert_true(fabs(sella_bce_forward(dz, z, d.label + step * N, share, N) - losses[step]) <
                    2e-6);
        if (step == 0) {
            ref_close_to("z", z, ref_f32(&ref, "z", NULL), N, 1e-5);
            ref_close_to("interest", interest, ref_f32(&ref, "interest", NULL), N * C, 1e-5);
            ref_close_to("sample", sella_din_sample(pass), ref_f32(&ref, "sample", NULL), N * 4,
                         1e-5);
            sella_din_backward(&din, pass, dz, ref_f32(&ref, "dsample", NULL),
                               ref_f32(&ref, "dinterest", NULL), NULL);
            compare(&ref, "both", &table, true, 2e-5);
            sella_param_grad_zero(&table);
        }
        sella_din_backward(&din, pass, dz, NULL, NULL, NULL);
        if (step == 0) {
            compare(&ref, "grad", &table, true, 1e-5);
        }
        assert_int_equal(sella_optimizer_step(optimizer, .02, -1, NULL, NULL), SELLA_OK);
    }
    compare(&ref, "end", &table, false, 2e-4);
    const sella_din_batch batch = batch_of(&d, 0);
    sella_din_forward(&din, pass, &batch, &scoring, z, interest);
    ref_close_to("scored.z", z, ref_f32(&ref, "scored.z", NULL), N, 1e-3);
    ref_close_to("scored.interest", interest, ref_f32(&ref, "scored.interest", NULL), N * C, 1e-3);
    sella_optimizer_free(optimizer);
    sella_din_pass_free(pass);
    sella_param_table_release(&table);
    ref_close(&ref);
}

/* ---- a larger drawn problem ---- */

enum { ROWS = 40, WIDE = 37, MOST = 6, SAMPLE = 11 };

typedef struct problem {
    sella_param_table table;
    sella_din din;
    sella_din_pass *pass;
    int32_t user[ROWS], item[ROWS], count[ROWS], pool[ROWS][MOST];
    const int32_t *history[ROWS];
    /* weights of z, sample and interest in the tested sum */
    float a[ROWS], s[ROWS * SAMPLE], v[ROWS * WIDE];
    sella_din_batch batch;
} problem;

static void problem_init(problem *p, double dropout, double hide, int rows)
{
    const sella_rng rng = {.seed = 6, .stream = SELLA_STREAM_TEST};
    const sella_din_config config = {.users = 5,
                                     .items = 6,
                                     .C = WIDE,
                                     .attention = {19, 7},
                                     .top = {23, SAMPLE},
                                     .dropout = dropout,
                                     .hide = hide};
    uint64_t at = 0;
    sella_param_table_init(&p->table);
    assert_int_equal(sella_din_init(&config, 7, &p->table, &p->din, NULL), SELLA_OK);
    assert_int_equal(sella_din_pass_new(&p->din, ROWS, ROWS * MOST, true, &p->pass, NULL),
                     SELLA_OK);
    /* slopes, biases and statistics as after some training */
    for (int i = 0; i < p->table.count; i++) {
        sella_param *param = &p->table.param[i];
        for (size_t k = 0; param->rank == 1 && k < param->count; k++) {
            param->data[k] += (float)(.2 * sella_rng_uniform(&rng, 100000 + at++));
        }
    }
    for (int n = 0; n < ROWS; n++) {
        p->user[n] = (int32_t)sella_rng_below(&rng, at++, 6) - 1;
        p->item[n] = (int32_t)sella_rng_below(&rng, at++, 7) - 1;
        p->count[n] = (int32_t)sella_rng_below(&rng, at++, MOST + 1);
        p->a[n] = (float)sella_rng_normal(&rng, at++);
        for (int k = 0; k < MOST; k++) {
            p->pool[n][k] = (int32_t)sella_rng_below(&rng, at++, 7) - 1;
        }
        p->history[n] = p->pool[n];
    }
    for (int i = 0; i < ROWS * SAMPLE; i++) {
        p->s[i] = (float)sella_rng_normal(&rng, at++);
    }
    for (int i = 0; i < ROWS * WIDE; i++) {
        p->v[i] = (float)sella_rng_normal(&rng, at++);
    }
    p->batch = (sella_din_batch){rows, p->user, p->item, p->history, p->count};
}

static void problem_release(problem *p)
{
    sella_din_pass_free(p->pass);
    sella_param_table_release(&p->table);
}

static double weighted(problem *p, const sella_din_mode *mode)
{
    float z[ROWS], interest[ROWS * WIDE];
    double sum = 0;
    sella_din_forward(&p->din, p->pass, &p->batch, mode, z, interest);
    const float *sample = sella_din_sample(p->pass);
    for (int n = 0; n < p->batch.N; n++) {
        sum += (double)p->a[n] * (double)z[n];
        for (int c = 0; c < SAMPLE; c++) {
            sum += (double)p->s[n * SAMPLE + c] * (double)sample[n * SAMPLE + c];
        }
        for (int c = 0; c < WIDE; c++) {
            sum += (double)p->v[n * WIDE + c] * (double)interest[n * WIDE + c];
            sum += p->item[n] < 0 ? 0 : (double)p->v[n * WIDE + c] *
                                            (double)p->table.param[1].data[p->item[n] * WIDE + c];
        }
    }
    return sum;
}

/* Dice has no kink: every value is compared. */
static void test_differences(void **state)
{
    (void)state;
    const sella_din_mode modes[] = {{0}, {.train = true, .seed = 3, .step = 2}};
    for (int m = 0; m < 2; m++) {
        problem p;
        problem_init(&p, m == 1 ? .3 : 0, m == 1 ? .4 : 0, 23);
        weighted(&p, &modes[m]);
        sella_din_backward(&p.din, p.pass, p.a, p.s, p.v, p.v);
        for (int i = 0; i < p.table.count; i++) {
            sella_param *param = &p.table.param[i];
            const size_t length = strlen(param->name);
            const bool statistic = strcmp(param->name + length - 5, ".mean") == 0 ||
                                   strcmp(param->name + length - 8, "variance") == 0;
            for (size_t at = 0; at < param->count; at += 1 + param->count / 40) {
                if (statistic) { // state, not trained: no gradient
                    assert_true(param->grad[at] == 0);
                    continue;
                }
                const float keep = param->data[at], step = 4e-3f;
                param->data[at] = keep + step;
                const double up = weighted(&p, &modes[m]), above = (double)param->data[at];
                param->data[at] = keep - step;
                const double slope =
                    (up - weighted(&p, &modes[m])) / (above - (double)param->data[at]);
                param->data[at] = keep;
                if (fabs(slope - (double)param->grad[at]) > 1e-2 * (1 + fabs(slope))) {
                    fail_msg("mode %d: %s value %zu: %g, by differences %g", m, param->name, at,
                             (double)param->grad[at], slope);
                }
            }
        }
        problem_release(&p);
    }
}

/* What makes it DIN: the interest of one user in two targets differs, each history item's share by
 * itself. */
static void test_target(void **state)
{
    (void)state;
    problem p;
    problem_init(&p, 0, 0, 2);
    float z[2], interest[2 * WIDE], one[WIDE], other[WIDE];
    for (int n = 0; n < 2; n++) {
        p.user[n] = 2;
        p.item[n] = n; // two targets, one history
        p.count[n] = 2;
        p.pool[n][0] = 3;
        p.pool[n][1] = 5;
    }
    sella_din_forward(&p.din, p.pass, &p.batch, &scoring, z, interest);
    double gap = 0;
    for (int c = 0; c < WIDE; c++) {
        gap += fabs((double)interest[c] - (double)interest[WIDE + c]);
    }
    assert_true(gap > 1e-3);
    // no softmax: the interest is the sum of what each item gives by itself
    p.batch.N = 1;
    p.count[0] = 1;
    sella_din_forward(&p.din, p.pass, &p.batch, &scoring, NULL, one);
    p.pool[0][0] = 5;
    sella_din_forward(&p.din, p.pass, &p.batch, &scoring, NULL, other);
    for (int c = 0; c < WIDE; c++) {
        one[c] += other[c];
    }
    ref_close_to("sum of interests", one, interest, WIDE, 1e-6);
    problem_release(&p);
}

/* Scores of a row do not depend on its neighbours; nothing of an unseen user or item is read; order
 * of a history does not matter. */
static void test_rows(void **state)
{
    (void)state;
    problem p;
    problem_init(&p, .5, .5, ROWS);
    float z[ROWS], alone, interest[WIDE];
    sella_din_forward(&p.din, p.pass, &p.batch, &scoring, z, NULL);
    for (int n = 0; n < ROWS; n++) {
        const sella_din_batch row = {1, p.user + n, p.item + n, p.history + n, p.count + n};
        sella_din_forward(&p.din, p.pass, &row, &scoring, &alone, NULL);
        assert_true(fabs((double)alone - (double)z[n]) < 1e-5);
    }
    const int32_t nobody = -1, none = 0;
    const sella_din_batch empty = {1, &nobody, &nobody, p.history, &none};
    sella_din_forward(&p.din, p.pass, &empty, &scoring, &alone, interest);
    assert_true(isfinite(alone));
    for (int c = 0; c < WIDE; c++) {
        assert_true(interest[c] == 0);
    }
    const int32_t nothing[1] = {-1}, once = 1; // an unknown history item adds nothing
    const int32_t *const list[1] = {nothing};
    const sella_din_batch unknown = {1, &nobody, &nobody, list, &once};
    float same;
    sella_din_forward(&p.din, p.pass, &unknown, &scoring, &same, NULL);
    assert_true(same == alone);
    problem_release(&p);
}

/* Dropout and hidden users are draws of (seed, step), only in training; statistics move only
 * there. */
static void test_draws(void **state)
{
    (void)state;
    problem p;
    problem_init(&p, .5, .5, ROWS);
    float z[3][ROWS];
    const sella_din_mode first = {true, 9, 1}, second = {true, 9, 2};
    const float before = p.table.param[6].data[0];
    assert_string_equal(p.table.param[6].name, "din.attention.0.mean");
    sella_din_forward(&p.din, p.pass, &p.batch, &scoring, z[0], NULL);
    assert_true(p.table.param[6].data[0] == before);
    sella_din_forward(&p.din, p.pass, &p.batch, &first, z[0], NULL);
    assert_true(p.table.param[6].data[0] != before);
    sella_din_forward(&p.din, p.pass, &p.batch, &first, z[1], NULL);
    sella_din_forward(&p.din, p.pass, &p.batch, &second, z[2], NULL);
    assert_memory_equal(z[0], z[1], sizeof z[0]);
    assert_true(memcmp(z[0], z[2], sizeof z[0]) != 0);
    // all users hidden: their rows get no gradient
    p.din.config.hide = 1;
    sella_din_forward(&p.din, p.pass, &p.batch, &first, z[0], NULL);
    sella_din_backward(&p.din, p.pass, p.a, NULL, NULL, NULL);
    for (size_t k = 0; k < p.table.param[0].count; k++) {
        assert_true(p.table.param[0].grad[k] == 0);
    }
    problem_release(&p);
}

static void test_repeat(void **state)
{
    (void)state;
    problem a, b;
    float za[ROWS], zb[ROWS];
    const sella_din_mode mode = {true, 1, 1};
    problem_init(&a, .2, .2, ROWS);
    problem_init(&b, .2, .2, ROWS);
    sella_din_forward(&a.din, a.pass, &a.batch, &mode, za, NULL);
    sella_din_backward(&a.din, a.pass, a.a, a.s, NULL, NULL);
    sella_din_forward(&b.din, b.pass, &b.batch, &mode, zb, NULL);
    sella_din_backward(&b.din, b.pass, b.a, b.s, NULL, NULL);
    assert_memory_equal(za, zb, sizeof za);
    for (int i = 0; i < a.table.count; i++) {
        const size_t bytes = a.table.param[i].count * sizeof(float);
        assert_memory_equal(a.table.param[i].data, b.table.param[i].data, bytes);
        assert_memory_equal(a.table.param[i].grad, b.table.param[i].grad, bytes);
    }
    problem_release(&a);
    problem_release(&b);
}

/* Behind collab.h: the same numbers, biases on top, vectors, what train never showed. */
static void test_model(void **state)
{
    (void)state;
    problem p;
    problem_init(&p, .3, .2, ROWS);
    const sella_collab_config config = {
        .users = 5,
        .items = 6,
        .C = WIDE,
        .bias = true,
        .dropout = .3,
        .history_length = MOST,
        .din = {.attention = {19, 7}, .top = {23, SAMPLE}, .hide = .2}};
    sella_collab *c = NULL;
    sella_collab_pass pass = {0};
    assert_int_equal(sella_collab_new("din", &config, 7, &c, NULL), SELLA_OK);
    assert_int_equal(c->table.count, p.table.count + 3);
    for (int i = 0; i < p.table.count; i++) {
        assert_string_equal(c->table.param[i].name, p.table.param[i].name);
        memcpy(c->table.param[i].data, p.table.param[i].data,
               p.table.param[i].count * sizeof(float));
    }
    sella_param_find(&c->table, "global.bias")->data[0] = 2;
    const int32_t user[6] = {0}, item[6] = {0, 1, 2, 3, 4, 4}, *const shown[6] = {item, item, item,
                                                                                  item, item, item},
                  count[6] = {0, 1, 2, 3, 4, 5};
    const uint8_t label[6] = {0};
    const sella_collab_train train = {{6, user, item, label}, shown, count};
    assert_int_equal(sella_collab_prepare(c, &train, NULL), SELLA_OK);
    sella_collab_batch batch = {.N = ROWS,
                                .user_n = p.user,
                                .item_n = p.item,
                                .history_n = p.history,
                                .history_count_n = p.count,
                                .backward = true,
                                .dropout = true,
                                .seed = 3,
                                .number = 4};
    const sella_din_mode mode = {true, 3, 4};
    float z[ROWS], zc[ROWS], v[ROWS * WIDE], vc[ROWS * WIDE], qc[ROWS * WIDE];
    sella_din_forward(&p.din, p.pass, &p.batch, &mode, z, v);
    sella_din_backward(&p.din, p.pass, p.a, NULL, NULL, NULL);
    assert_int_equal(sella_collab_forward(c, &batch, &pass, zc, NULL), SELLA_OK);
    assert_int_equal(sella_collab_backward(c, &batch, &pass, p.a, NULL), SELLA_OK);
    for (int n = 0; n < ROWS; n++) {
        assert_true(zc[n] == z[n] + 2);
    }
    for (int i = 0; i < p.table.count; i++) {
        const size_t bytes = p.table.param[i].count * sizeof(float);
        /* statistics moved alike */
        assert_memory_equal(c->table.param[i].data, p.table.param[i].data, bytes);
        assert_memory_equal(c->table.param[i].grad, p.table.param[i].grad, bytes);
    }
    assert_true(sella_param_find(&c->table, "global.bias")->grad[0] != 0);
    assert_int_equal(sella_collab_vectors(c, &batch, &pass, vc, qc, NULL), SELLA_OK);
    assert_memory_equal(v, vc, sizeof v);
    sella_din_forward(&p.din, p.pass, &p.batch, &mode, NULL, v);
    sella_din_backward(&p.din, p.pass, NULL, NULL, p.v, p.v);
    assert_int_equal(sella_collab_vectors_backward(c, &batch, &pass, p.v, p.v, NULL), SELLA_OK);
    for (int i = 0; i < p.table.count; i++) {
        assert_memory_equal(c->table.param[i].grad, p.table.param[i].grad,
                            p.table.param[i].count * sizeof(float));
    }
    // no train row has target 5, no history shows 5: both rows are zero when the model is ready
    assert_int_equal(sella_collab_ready(c, NULL, NULL), SELLA_OK);
    for (int k = 0; k < WIDE; k++) {
        assert_true(sella_param_find(&c->table, "item.weight")->data[5 * WIDE + k] == 0);
        assert_true(sella_param_find(&c->table, "din.history.weight")->data[5 * WIDE + k] == 0);
        assert_true(sella_param_find(&c->table, "din.history.weight")->data[3 * WIDE + k] != 0);
    }
    assert_int_equal(sella_collab_score(c, &batch, zc, NULL), SELLA_OK);
    assert_true(memcmp(z, zc, sizeof z) != 0);
    sella_param_find(&c->table, "din.attention.0.variance")->data[2] = -1;
    assert_int_equal(sella_collab_ready(c, NULL, NULL), SELLA_FORMAT);
    sella_collab_pass_release(&pass);
    sella_collab_free(c);
    problem_release(&p);
}

static void test_refused(void **state)
{
    (void)state;
    const sella_din_config fine = {
        .users = 2, .items = 2, .C = 2, .attention = {2, 2}, .top = {2, 2}};
    sella_din_config bad[7];
    for (int k = 0; k < 7; k++) {
        bad[k] = fine;
    }
    bad[0].users = 0;
    bad[1].C = SELLA_DIN_WIDTH_MAX + 1;
    bad[2].attention[1] = 0;
    bad[3].top[0] = SELLA_DIN_WIDTH_MAX + 1;
    bad[4].dropout = 1;
    bad[5].dropout = NAN;
    bad[6].hide = 1.5;
    sella_param_table table;
    sella_din din;
    sella_err err;
    for (int k = 0; k < 7; k++) {
        sella_param_table_init(&table);
        assert_int_equal(sella_din_init(&bad[k], 1, &table, &din, &err), SELLA_ARG);
        sella_param_table_release(&table);
    }
    sella_param_table_init(&table);
    assert_int_equal(sella_din_init(&fine, 1, &table, &din, &err), SELLA_OK);
    assert_int_equal(sella_din_check(&din, "f", &err), SELLA_OK);
    sella_param_find(&table, "din.top.1.variance")->data[1] = -2;
    assert_int_equal(sella_din_check(&din, "f", &err), SELLA_FORMAT);
    assert_string_equal(err.text, "f: tensor 'din.top.1.variance' holds -2; expected 0 or more");
    sella_param_table_release(&table);
}

int main(void)
{
    sella_threads_set(1); // problems are small
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_torch),  cmocka_unit_test(test_differences),
        cmocka_unit_test(test_target), cmocka_unit_test(test_rows),
        cmocka_unit_test(test_draws),  cmocka_unit_test(test_repeat),
        cmocka_unit_test(test_model),  cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
