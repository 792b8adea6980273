/* The controls: hand-counted itembias, bias at its optimum, and the known figures on ML-1M when it
 *               is there. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "base/file.h"
#include "base/rng.h"
#include "base/text.h"
#include "collab/controls.h"
#include "eval/metrics.h"

static void test_itembias(void **state)
{
    (void)state;
    const int32_t user[] = {0, 1, 2, 0, 9}, item[] = {0, 0, 0, 2, -1};
    const uint8_t label[] = {1, 1, 0, 0, 1};
    const sella_interactions train = {5, user, item, label};
    sella_param_table table;
    sella_param_table_init(&table);
    assert_int_equal(sella_itembias_fit(&train, 4, &table, NULL), SELLA_OK);
    const float *bias = sella_param_find(&table, "item.bias")->data;
    const double base = (double)sella_param_find(&table, "global.bias")->data[0], mean = .6;
    assert_true(fabs(base - log(mean / (1 - mean))) < 1e-6);
    const double p0 = (2 + 5 * mean) / 8, p2 = (5 * mean) / 6;
    assert_true(fabs(base + (double)bias[0] - log(p0 / (1 - p0))) < 1e-6);
    assert_true(fabs(base + (double)bias[2] - log(p2 / (1 - p2))) < 1e-6);
    assert_true(bias[1] == 0.0f && bias[3] == 0.0f);
    sella_param_table_release(&table);
}

static void test_one_class(void **state)
{
    (void)state;
    const int32_t user[] = {0, 1}, item[] = {0, 1};
    const uint8_t label[] = {1, 1};
    sella_interactions train = {2, user, item, label};
    sella_param_table table;
    sella_err err = {0};
    sella_param_table_init(&table);
    assert_int_equal(sella_itembias_fit(&train, 2, &table, &err), SELLA_STATE);
    assert_non_null(strstr(err.text, "2 of 2 training rows have label 1; expected both"));
    train.rows = 0;
    assert_int_equal(sella_bias_fit(&train, 2, 2, NULL, &table, &err), SELLA_STATE);
    assert_int_equal(table.count, 0);
}

enum { N = 400, U = 12, I = 9, X = U + I + 1 };

/* The least that a_i and v cost when a_i + v . c_i = b_i: 1/4 |b - C v|^2 + |v|^2 at
 * v = (C' C + 4)^-1 C' b, for vectors of two numbers; without text a = b. */
static double item_penalty(const double *b, const float *c, double v[2])
{
    double g[2] = {0}, h[3] = {4, 0, 4}, sum = 0;
    v[0] = v[1] = 0;
    for (int i = 0; c && i < I; i++) {
        const double c0 = (double)c[2 * i], c1 = (double)c[2 * i + 1];
        g[0] += c0 * b[i];
        g[1] += c1 * b[i];
        h[0] += c0 * c0;
        h[1] += c0 * c1;
        h[2] += c1 * c1;
    }
    if (c) {
        const double det = h[0] * h[2] - h[1] * h[1];
        v[0] = (h[2] * g[0] - h[1] * g[1]) / det;
        v[1] = (h[0] * g[1] - h[1] * g[0]) / det;
    }
    for (int i = 0; i < I; i++) {
        const double a = b[i] - (c ? v[0] * (double)c[2 * i] + v[1] * (double)c[2 * i + 1] : 0);
        sum += a * a / 4;
    }
    return sum + v[0] * v[0] + v[1] * v[1];
}

/* Objective in double, by the definition: x = b_u, b_i, b_0. */
static double objective(const sella_interactions *t, const double *x, const float *c)
{
    const double *bu = x, *bi = x + U;
    double v[2], sum = item_penalty(bi, c, v);
    for (int u = 0; u < U; u++) {
        sum += bu[u] * bu[u];
    }
    for (int64_t n = 0; n < t->rows; n++) {
        const int32_t u = t->user_n[n], i = t->item_n[n];
        const double z = x[U + I] + (u >= 0 && u < U ? bu[u] : 0) + (i >= 0 && i < I ? bi[i] : 0);
        sum += t->label_n[n] ? log1p(exp(-z)) : log1p(exp(z));
    }
    return sum;
}

/* What bias fits cannot be improved: x out [X]. */
static void optimum(const float *c, double *x)
{
    int32_t user[N], item[N];
    uint8_t label[N];
    const sella_rng rng = {.seed = 2, .stream = SELLA_STREAM_TEST};
    for (int n = 0; n < N; n++) {
        user[n] = (int32_t)sella_rng_below(&rng, (uint64_t)(3 * n), U + 1) -
                  1; /* some unseen, user 11 rare, item 8 never */
        item[n] = (int32_t)sella_rng_below(&rng, (uint64_t)(3 * n + 1), I - 1);
        label[n] = (uint8_t)(sella_rng_below(&rng, (uint64_t)(3 * n + 2), 20) <
                             (uint64_t)(2 + item[n] + user[n] / 2));
    }
    const sella_interactions train = {N, user, item, label};
    const sella_item_text text = {c, 2};
    sella_param_table table;
    sella_param_table_init(&table);
    assert_int_equal(sella_bias_fit(&train, U, I, c ? &text : NULL, &table, NULL), SELLA_OK);
    for (int u = 0; u < U; u++) {
        x[u] = (double)sella_param_find(&table, "user.bias")->data[u];
    }
    for (int i = 0; i < I; i++) {
        x[U + i] = (double)sella_param_find(&table, "item.bias")->data[i];
    }
    x[U + I] = (double)sella_param_find(&table, "global.bias")->data[0];
    sella_param_table_release(&table);
    const double best = objective(&train, x, c);
    for (int k = 0; k < X; k++) { /* no coordinate can be improved */
        for (int side = -1; side <= 1; side += 2) {
            const double keep = x[k];
            x[k] += side * 1e-3;
            assert_true(objective(&train, x, c) > best);
            x[k] = keep;
        }
    }
    for (int round = 0; round < 300; round++) { /* nor any direction */
        double y[X];
        for (int k = 0; k < X; k++) {
            y[k] = x[k] + 1e-3 * sella_rng_normal(&rng, (uint64_t)(5000 + round * 100 + k));
        }
        assert_true(objective(&train, y, c) > best);
    }
}

static void test_bias_optimum(void **state)
{
    (void)state;
    double x[X];
    optimum(NULL, x);
    assert_true(x[U + I - 1] == 0);
}

/* The labels rise with the item's number, and so does c: an item that train never shows takes its
 * bias from its text, one without text has none. */
static void test_bias_of_text(void **state)
{
    (void)state;
    float c[2 * I];
    double x[X], bare[X], v[2];
    for (int i = 0; i < I; i++) {
        c[2 * i] = (float)i / 4 - 1;
        c[2 * i + 1] = i % 2 ? .5f : -.5f;
    }
    optimum(NULL, bare);
    optimum(c, x);
    item_penalty(x + U, c, v);
    assert_true(v[0] > .3);
    assert_true(fabs(x[U + 8] - (v[0] * (double)c[16] + v[1] * (double)c[17])) < 1e-5);
    assert_true(x[U + 8] > .3);
    c[16] = c[17] = 0;
    optimum(c, x);
    assert_true(x[U + 8] == 0);
}

/* ---- ML-1M ---- */

typedef struct split {
    int64_t rows;
    int32_t *user, *item;
    uint8_t *label;
} split;

/* Columns uid iid label of a published TSV; ids stay numbers. false when the file is absent. */
static bool split_read(const char *name, split *out)
{
    const char *shared = getenv("SELLA_SHARED");
    char path[400];
    sella_map map;
    sella_lines lines;
    const char *text;
    size_t bytes;
    snprintf(path, sizeof path, "%s/data/ml-1m/%s", shared ? shared : "../shared", name);
    if (sella_map_open(path, &map, NULL) != SELLA_OK) {
        return false;
    }
    const size_t most = map.size / 4 + 1;
    *out = (split){.user = malloc(most * sizeof(int32_t)),
                   .item = malloc(most * sizeof(int32_t)),
                   .label = malloc(most)};
    sella_lines_init(&lines, path, map.data, map.size, map.size);
    assert_int_equal(sella_lines_next(&lines, &text, &bytes, NULL), SELLA_OK);
    while (sella_lines_next(&lines, &text, &bytes, NULL) == SELLA_OK && text) {
        int64_t value[3];
        for (int k = 0; k < 3; k++) {
            const char *tab = memchr(text, '\t', bytes);
            assert_non_null(tab);
            assert_int_equal(
                sella_parse_int(text, (size_t)(tab - text), 0, 100000, "id", &value[k], NULL),
                SELLA_OK);
            bytes -= (size_t)(tab - text) + 1;
            text = tab + 1;
        }
        out->user[out->rows] = (int32_t)value[0];
        out->item[out->rows] = (int32_t)value[1];
        out->label[out->rows++] = (uint8_t)value[2];
    }
    sella_map_close(&map);
    return true;
}

static void split_release(split *s)
{
    free(s->user);
    free(s->item);
    free(s->label);
}

static void figures(const split *s, const sella_param_table *table, int32_t users, int32_t items,
                    sella_figures *f)
{
    const sella_param *bu = sella_param_find(table, "user.bias"),
                      *bi = sella_param_find(table, "item.bias");
    double *score = calloc((size_t)s->rows, sizeof *score);
    for (int64_t n = 0; n < s->rows; n++) {
        const double z = (double)(s->item[n] < items ? bi->data[s->item[n]] : 0) +
                         (double)(bu && s->user[n] < users ? bu->data[s->user[n]] : 0);
        score[n] = 1 / (1 + exp(-z));
    }
    assert_int_equal(sella_figures_compute(s->user, s->label, score, NULL, s->rows, f, NULL),
                     SELLA_OK);
    assert_int_equal(f->uauc_users, 282); /* 356 users, 30 with a single row, 44 with one class */
    assert_int_equal(f->uauc_skipped, 74);
    free(score);
}

static void test_ml_1m(void **state)
{
    (void)state;
    enum { USERS = 7000, ITEMS = 4000 };
    split train, valid;
    sella_param_table table;
    sella_figures f;
    if (!split_read("train.tsv", &train)) {
        skip();
    }
    assert_true(split_read("valid.tsv", &valid));
    assert_int_equal(train.rows, 33891);
    assert_int_equal(valid.rows, 10401);
    const sella_interactions rows = {train.rows, train.user, train.item, train.label};
    sella_param_table_init(&table);
    assert_int_equal(sella_itembias_fit(&rows, ITEMS, &table, NULL), SELLA_OK);
    figures(&valid, &table, USERS, ITEMS, &f);
    print_message("itembias %.4f / %.4f\n", f.auc, f.uauc);
    assert_true(fabs(f.auc - .690) < .003 && fabs(f.uauc - .688) < .003);
    sella_param_table_release(&table);
    assert_int_equal(sella_bias_fit(&rows, USERS, ITEMS, NULL, &table, NULL), SELLA_OK);
    figures(&valid, &table, USERS, ITEMS, &f);
    print_message("bias %.4f / %.4f\n", f.auc, f.uauc);
    assert_true(fabs(f.auc - .742) < .003 && fabs(f.uauc - .689) < .003);
    sella_param_table_release(&table);
    split_release(&train);
    split_release(&valid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_itembias), cmocka_unit_test(test_one_class),
        cmocka_unit_test(test_bias_optimum),
        cmocka_unit_test(test_bias_of_text), cmocka_unit_test(test_ml_1m)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
