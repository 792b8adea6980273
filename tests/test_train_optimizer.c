/* Adam, AdamW, clipping and schedules against torch and transformers
 * (tests/ref/train_optimizer_dump.py). */
#include "ref_file.h"

#include <math.h>
#include <omp.h>

#include "train/optimizer.h"

typedef struct fixture {
    ref_file ref;
    sella_param_table table;
    sella_param_table *tables[1];
} fixture;

static int setup(void **state)
{
    static fixture f;
    memset(&f, 0, sizeof f);
    f.ref = ref_open("tests/ref/train_optimizer.ref");
    sella_param_table_init(&f.table);
    f.tables[0] = &f.table;
    if (sella_param_add(&f.table, "w", 7, 5, NULL) != SELLA_OK ||
        sella_param_add(&f.table, "b", 3, 0, NULL) != SELLA_OK) {
        return -1;
    }
    f.table.param[1].decay = false;
    memcpy(f.table.param[0].data, ref_f32(&f.ref, "w0", NULL), 35 * sizeof(float));
    memcpy(f.table.param[1].data, ref_f32(&f.ref, "b0", NULL), 3 * sizeof(float));
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    ref_close(&f->ref);
    sella_param_table_release(&f->table);
    return 0;
}

static void load_grad(fixture *f, int i)
{
    char name[32];
    snprintf(name, sizeof name, "gw%d", i);
    memcpy(f->table.param[0].grad, ref_f32(&f->ref, name, NULL), 35 * sizeof(float));
    snprintf(name, sizeof name, "gb%d", i);
    memcpy(f->table.param[1].grad, ref_f32(&f->ref, name, NULL), 3 * sizeof(float));
}

static void follow(fixture *f, const char *kind, bool coupled, double clip)
{
    const sella_optimizer_config config = {.beta1 = .9,
                                           .beta2 = .999,
                                           .eps = 1e-8,
                                           .weight_decay = .05,
                                           .coupled = coupled,
                                           .clip = clip};
    sella_optimizer *optimizer = NULL;
    assert_int_equal(sella_optimizer_new(f->tables, 1, &config, &optimizer, NULL), SELLA_OK);
    for (int i = 0; i < 10; i++) {
        char name[32];
        double norm = 0;
        load_grad(f, i);
        assert_int_equal(sella_optimizer_step(optimizer, .01 * (1 + i % 3), -1, &norm, NULL),
                         SELLA_OK);
        snprintf(name, sizeof name, "%s.w%d", kind, i);
        ref_close_to(name, f->table.param[0].data, ref_f32(&f->ref, name, NULL), 35, 1e-6);
        snprintf(name, sizeof name, "%s.b%d", kind, i);
        ref_close_to(name, f->table.param[1].data, ref_f32(&f->ref, name, NULL), 3, 1e-6);
        if (clip > 0) {
            const float got = (float)norm;
            snprintf(name, sizeof name, "clip.norm%d", i);
            ref_close_to(name, &got, ref_f32(&f->ref, name, NULL), 1, 1e-6);
        }
        for (int j = 0; j < 35; j++) {
            assert_true(f->table.param[0].grad[j] == 0.0f);
        }
    }
    assert_int_equal(sella_optimizer_steps(optimizer), 10);
    sella_optimizer_free(optimizer);
}

static void test_adam(void **state) { follow(*state, "adam", true, 0); }
static void test_adamw(void **state) { follow(*state, "adamw", false, 0); }
static void test_clip(void **state) { follow(*state, "clip", false, 2.0); }

static void test_schedules(void **state)
{
    fixture *f = *state;
    static const struct {
        const char *name;
        sella_schedule schedule;
    } rows[] = {{"schedule.constant", SELLA_SCHEDULE_CONSTANT},
                {"schedule.linear", SELLA_SCHEDULE_LINEAR},
                {"schedule.cosine", SELLA_SCHEDULE_COSINE}};
    for (size_t r = 0; r < 3; r++) {
        const double *want = ref_f64(&f->ref, rows[r].name, NULL);
        for (int step = 0; step < 20; step++) {
            assert_true(fabs(sella_schedule_lr(rows[r].schedule, .3, step, 20, 4) - want[step]) <
                        1e-12);
        }
    }
    assert_true(sella_schedule_lr(SELLA_SCHEDULE_LINEAR, .3, 30, 20, 4) == 0.0);
    assert_true(sella_schedule_lr(SELLA_SCHEDULE_CONSTANT, .3, 0, 1, 0) == .3);
}

/* A frozen row and rows of other groups keep every byte; a group that joins late has its own bias
 * correction. */
static void test_groups(void **state)
{
    fixture *f = *state;
    const sella_optimizer_config config = {
        .beta1 = .9, .beta2 = .999, .eps = 1e-8, .weight_decay = .05};
    sella_optimizer *optimizer = NULL;
    float frozen[35], b0[3];
    f->table.param[1].group = 1;
    assert_int_equal(sella_optimizer_new(f->tables, 1, &config, &optimizer, NULL), SELLA_OK);
    memcpy(b0, f->table.param[1].data, sizeof b0);
    for (int i = 0; i < 5; i++) {
        load_grad(f, i);
        assert_int_equal(sella_optimizer_step(optimizer, .01, 0, NULL, NULL), SELLA_OK);
        assert_memory_equal(f->table.param[1].data, b0, sizeof b0);
        assert_true(f->table.param[1].grad[0] == 0.0f);
    }
    memcpy(frozen, f->table.param[0].data, sizeof frozen);
    load_grad(f, 5);
    const float sign = f->table.param[1].grad[0] > 0 ? 1.0f : -1.0f;
    assert_int_equal(sella_optimizer_step(optimizer, .01, 1, NULL, NULL), SELLA_OK);
    assert_memory_equal(f->table.param[0].data, frozen, sizeof frozen);
    /* a first Adam step moves by lr */
    assert_true(fabsf(f->table.param[1].data[0] - (b0[0] - sign * .01f)) < 1e-5f);
    assert_int_equal(sella_optimizer_row_count(optimizer), 2);
    assert_int_equal(sella_optimizer_row_steps(optimizer, 0), 5);
    assert_int_equal(sella_optimizer_row_steps(optimizer, 1), 1);
    sella_optimizer_free(optimizer);
}

static void test_not_finite(void **state)
{
    fixture *f = *state;
    const sella_optimizer_config config = {.beta1 = .9, .beta2 = .999, .eps = 1e-8};
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    sella_optimizer *optimizer = NULL;
    assert_int_equal(sella_optimizer_new(f->tables, 1, &config, &optimizer, NULL), SELLA_OK);
    for (int k = 0; k < 6; k++) {
        sella_err err = {0};
        float before[35];
        double norm;
        load_grad(f, 0);
        f->table.param[0].grad[13] = bad[k % 3];
        memcpy(before, f->table.param[0].data, sizeof before);
        assert_int_equal(sella_optimizer_step(optimizer, .01, -1, k < 3 ? NULL : &norm, &err),
                         SELLA_DIVERGED);
        assert_non_null(strstr(err.text, "'w'"));
        assert_non_null(strstr(err.text, "row 2, column 3"));
        assert_memory_equal(f->table.param[0].data, before, sizeof before);
    }
    assert_int_equal(sella_optimizer_steps(optimizer), 0);
    f->table.param[0].grad[13] = 3e38f; /* its square is finite in double */
    double norm;
    assert_int_equal(sella_optimizer_step(optimizer, .01, -1, &norm, NULL), SELLA_OK);
    assert_true(isfinite(norm));
    sella_optimizer_free(optimizer);
}

static void test_threads(void **state)
{
    (void)state;
    float *result[3] = {0};
    const int64_t rows = 12037, cols = 37; /* enough blocks to wake threads */
    const int threads = omp_get_max_threads();
    for (int t = 1; t <= 3; t++) {
        sella_param_table table;
        sella_param_table_init(&table);
        assert_int_equal(sella_param_add(&table, "w", rows, cols, NULL), SELLA_OK);
        sella_param_table *tables[] = {&table};
        const sella_optimizer_config config = {.beta1 = .9,
                                               .beta2 = .999,
                                               .eps = 1e-8,
                                               .weight_decay = .01,
                                               .coupled = true,
                                               .clip = 1};
        sella_optimizer *optimizer = NULL;
        assert_int_equal(sella_optimizer_new(tables, 1, &config, &optimizer, NULL), SELLA_OK);
        omp_set_num_threads(t);
        for (int step = 0; step < 3; step++) {
            for (size_t i = 0; i < table.param[0].count; i++) {
                table.param[0].grad[i] = sinf((float)i + 0.1f * (float)step);
            }
            assert_int_equal(sella_optimizer_step(optimizer, .01, -1, NULL, NULL), SELLA_OK);
        }
        sella_optimizer_free(optimizer);
        result[t - 1] = table.param[0].data;
        table.param[0].data = NULL;
        if (t > 1) {
            assert_memory_equal(result[t - 1], result[0], table.param[0].count * sizeof(float));
        }
        sella_param_table_release(&table);
    }
    omp_set_num_threads(threads);
    for (int t = 0; t < 3; t++) {
        free(result[t]);
    }
}

static void test_config(void **state)
{
    fixture *f = *state;
    const sella_optimizer_config good = {.beta1 = .9, .beta2 = .999, .eps = 1e-8};
    sella_optimizer_config bad[5] = {good, good, good, good, good};
    bad[0].beta1 = 1;
    bad[1].beta2 = NAN;
    bad[2].eps = 0;
    bad[3].weight_decay = -1;
    bad[4].clip = INFINITY;
    for (int i = 0; i < 5; i++) {
        sella_optimizer *optimizer = NULL;
        sella_err err = {0};
        assert_int_equal(sella_optimizer_new(f->tables, 1, &bad[i], &optimizer, &err), SELLA_ARG);
        assert_null(optimizer);
        assert_non_null(strstr(err.text, "expected"));
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_adam),      T(test_adamw),  T(test_clip),
                                       T(test_schedules), T(test_groups), T(test_not_finite),
                                       T(test_threads),   T(test_config)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
