/* test_methods_collab.c - itembias, bias and mf as methods: what they leave, how unseen users and
 * items score, the known figures on ML-1M. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "data_fixture.h"
#include "eval/predictions.h"
#include "methods/collab_fit.h"
#include "methods/tensor_file.h"
#include "methods_fixture.h"
#include "sella/eval.h"

static char *folder, *dataset;

static int setup(void **state)
{
    /* 40 items and few rows: some items occur in no train row, some valid users neither */
    const fixture_shape shape = {.users = 30, .items = 40, .train = 60, .valid = 50, .seed = 3};
    (void)state;
    sella_threads_set(1);
    folder = fixture_folder(&shape, &dataset);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_remove(folder);
    free(dataset);
    return 0;
}

typedef struct trained {
    char *path;
    sella_run *run;
    sella_scorer *scorer;
    sella_param_table table; /* user.weight [U, C] ... as in the file: those that were asked for */
} trained;

static trained train(const char *name, const char *method, const char *preset,
                     const char *const *set)
{
    trained t = {.path = sella_path_join(folder, name, NULL)};
    fixture_train_ok(method, dataset, t.path, preset, NULL, set);
    CHECK(sella_run_open(t.path, &t.run, err));
    CHECK(sella_method_find(method)->open(t.run, NULL, &t.scorer, err));
    return t;
}

static const float *tensor(trained *t, const char *name)
{
    char *path = sella_run_file(t->run, "collab.safetensors");
    int64_t rows, cols;
    sella_param_table one;
    sella_param_table_init(&one);
    CHECK(sella_tensors_shape(path, name, &rows, &cols, err));
    const bool matrix = strstr(name, "weight") != NULL;
    CHECK(sella_param_add(&t->table, name, rows, matrix ? cols : 0, err));
    CHECK(sella_param_add(&one, name, rows, matrix ? cols : 0, err));
    sella_param_table *const tables[] = {&one};
    CHECK(sella_tensors_read(path, tables, 1, err));
    sella_param *to = sella_param_find(&t->table, name);
    memcpy(to->data, one.param[0].data, to->count * sizeof(float));
    sella_param_table_release(&one);
    free(path);
    return to->data;
}

static bool has(const trained *t, const char *name)
{
    char *path = sella_run_file(t->run, "collab.safetensors");
    const bool there = sella_tensors_has(path, name);
    free(path);
    return there;
}

static double score(trained *t, int32_t user, int32_t item, const int32_t *history, int32_t count)
{
    const sella_query query = {.user = user,
                               .item = item,
                               .history_n = history,
                               .history_count = count,
                               .target_text = item < 0 ? "New (2001)" : NULL};
    double z;
    CHECK(t->scorer->ops->score(t->scorer, &query, 1, &z, NULL, err));
    return z;
}

static void trained_release(trained *t)
{
    t->scorer->ops->close(t->scorer);
    sella_run_close(t->run);
    sella_param_table_release(&t->table);
    free(t->path);
}

static bool close_to(double x, double y)
{
    return fabs(x - y) < 1e-5;
}

/* seen_i [items]: 1 when the item occurs in train. */
static uint8_t *items_seen(int32_t items)
{
    sella_dataset *data = NULL;
    uint8_t *seen = calloc((size_t)items, 1);
    CHECK(sella_dataset_open(dataset, &data, err));
    for (int64_t r = 0; r < data->split[SELLA_SPLIT_TRAIN].rows; r++) {
        seen[data->split[SELLA_SPLIT_TRAIN].item_n[r]] = 1;
    }
    sella_dataset_close(data);
    return seen;
}

static int32_t unseen_item(void)
{
    uint8_t *seen = items_seen(40);
    int32_t item = 0;
    while (item < 40 && seen[item]) {
        item++;
    }
    free(seen);
    assert_true(item < 40);
    return item;
}

static void test_controls(void **state)
{
    (void)state;
    trained item = train("itembias", "itembias", NULL, NULL),
            both = train("bias", "bias", NULL, NULL);
    const float *i1 = tensor(&item, "item.bias"), *g1 = tensor(&item, "global.bias");
    const float *u2 = tensor(&both, "user.bias"), *i2 = tensor(&both, "item.bias"),
                *g2 = tensor(&both, "global.bias");
    assert_false(has(&item, "user.bias"));
    assert_true(close_to(score(&item, 4, 7, NULL, 0), (double)(g1[0] + i1[7])));
    assert_true(close_to(score(&item, -1, -1, NULL, 0), (double)g1[0]));
    assert_true(close_to(score(&both, 4, 7, NULL, 0), (double)(g2[0] + u2[4] + i2[7])));
    assert_true(close_to(score(&both, -1, 7, NULL, 0), (double)(g2[0] + i2[7])));
    assert_true(i1[unseen_item()] == 0.0f && i2[unseen_item()] == 0.0f);
    assert_true(sella_run_stage_done(both.run, "bias") &&
                sella_run_stage_done(item.run, "itembias"));
    trained_release(&item);
    trained_release(&both);
}

static void test_mf_paper(void **state)
{
    (void)state;
    static const char *const set[] = {"collab.epochs=6", "collab.width=12", "collab.batch=16",
                                      NULL};
    trained t = train("mf-paper", "mf", "paper", set);
    const float *p = tensor(&t, "user.weight"), *q = tensor(&t, "item.weight");
    assert_false(has(&t, "user.bias") || has(&t, "global.bias") || has(&t, "history.weight"));
    double dot = 0;
    for (int c = 0; c < 12; c++) {
        dot += (double)p[2 * 12 + c] * (double)q[5 * 12 + c];
        /* published: zero, not what the draw left */
        assert_true(q[unseen_item() * 12 + c] == 0.0f);
    }
    assert_true(close_to(score(&t, 2, 5, NULL, 0), dot));
    assert_true(score(&t, -1, 5, NULL, 0) == 0 && score(&t, 2, -1, NULL, 0) == 0 &&
                score(&t, 2, unseen_item(), NULL, 0) == 0);
    trained_release(&t);
}

/* The three rules for unseen users, with and without the history part. */
static void test_mf_unseen(void **state)
{
    (void)state;
    enum { C = 6 };
    static const char *const rules[] = {"collab.unseen=zero", "collab.unseen=mean",
                                        "collab.unseen=history"};
    const int32_t history[] = {1, 3, 8};
    for (int k = 0; k < 4; k++) {
        const bool part = k == 3;
        char name[20];
        const char *set[] = {"collab.epochs=4",
                             "collab.width=6",
                             "collab.batch=16",
                             "collab.init=0.3",
                             rules[part ? 2 : k],
                             part ? "collab.history=yes" : "collab.history=no",
                             part ? "collab.optimizer=adam" : "collab.optimizer=sgd",
                             NULL};
        snprintf(name, sizeof name, "unseen-%d", k);
        trained t = train(name, "mf", NULL, set);
        const float *p = tensor(&t, "user.weight"), *q = tensor(&t, "item.weight"),
                    *bi = tensor(&t, "item.bias"), *b0 = tensor(&t, "global.bias");
        const float *y = part ? tensor(&t, "history.weight") : NULL;
        double want = (double)(b0[0] + bi[5]), folded = 0;
        for (int c = 0; c < C; c++) {
            double vector = 0;
            for (int32_t u = 0; k == 1 && u < t.run->users; u++) {
                vector += (double)p[u * C + c] / t.run->users;
            }
            for (int j = 0; y && j < 3; j++) {
                vector += (double)y[history[j] * C + c] / sqrt(3);
            }
            want += vector * (double)q[5 * C + c];
            folded +=
                (double)(q[1 * C + c] + q[3 * C + c] + q[8 * C + c]) / 3 * (double)q[5 * C + c];
        }
        const double got = score(&t, -1, 5, history, 3);
        if (k == 2) { /* some factor, fitted on train users, times the mean of the items' vectors */
            const double factor = (got - want) / folded,
                         other = score(&t, -1, 6, history, 3) - (double)(b0[0] + bi[6]);
            double mean6 = 0;
            for (int c = 0; c < C; c++) {
                mean6 +=
                    (double)(q[1 * C + c] + q[3 * C + c] + q[8 * C + c]) / 3 * (double)q[6 * C + c];
            }
            assert_true(fabs(factor) > 1e-3 && fabs(other - factor * mean6) < 1e-4);
        } else {
            assert_true(close_to(got, want));
        }
        trained_release(&t);
    }
}

static void test_mf_refused(void **state)
{
    (void)state;
    static const char *const wide[] = {"collab.width=5000", NULL};
    sella_err why;
    char *path = sella_path_join(folder, "refused", NULL);
    assert_int_equal(fixture_train("mf", dataset, path, NULL, NULL, false, wide, NULL, &why),
                     SELLA_ARG);
    assert_non_null(strstr(why.text, "collab.width is 5000; expected at most 4096"));
    static const char *const both[] = {"collab.history=yes", NULL};
    assert_int_equal(fixture_train("mf", dataset, path, NULL, NULL, false, both, NULL, &why),
                     SELLA_ARG);
    assert_non_null(strstr(why.text, "expected collab.history=no"));
    static const char *const wild[] = {"collab.lr=10", "collab.init=100", "collab.weight_decay=0",
                                       "collab.epochs=1", NULL};
    assert_int_equal(fixture_train("mf", dataset, path, "fast", NULL, false, wild, NULL, &why),
                     SELLA_ARG);
    assert_false(sella_path_exists(path));
    static const char *const heads[] = {"sasrec.heads=3", "collab.width=64", NULL};
    assert_int_equal(fixture_train("sasrec", dataset, path, NULL, NULL, false, heads, NULL, &why),
                     SELLA_ARG);
    assert_non_null(strstr(why.text, "heads that divide the width"));
    assert_false(sella_path_exists(path));
    free(path);
}

/* lightgcn and sasrec as methods: their tensors, users and items never seen, what a score depends
 * on. */
static void test_models(void **state)
{
    (void)state;
    static const char *const graph[] = {"collab.epochs=4", "collab.width=6", "collab.batch=16",
                                        NULL};
    static const char *const bpr[] = {"collab.epochs=4", "collab.width=6", "collab.batch=16",
                                      "lightgcn.loss=bpr", NULL};
    static const char *const sequence[] = {"collab.epochs=4", "collab.width=6",
                                           "collab.batch=16", "collab.history_length=5",
                                           "sasrec.heads=2",  NULL};
    const int32_t history[] = {1, 3, 8}, other[] = {3, 1, 8};
    trained l = train("lightgcn", "lightgcn", NULL, graph),
            b = train("lightgcn-bpr", "lightgcn", NULL, bpr),
            s = train("sasrec", "sasrec", NULL, sequence);
    const float *p = tensor(&l, "user.weight"), *q = tensor(&l, "item.weight"),
                *f = tensor(&l, "lightgcn.history.weight"), *bu = tensor(&l, "user.bias"),
                *bi = tensor(&l, "item.bias"), *b0 = tensor(&l, "global.bias");
    double known = (double)(bu[2] + bi[5] + b0[0]), guest = (double)(bi[5] + b0[0]);
    for (int c = 0; c < 6; c++) {
        known += (double)p[2 * 6 + c] * (double)q[5 * 6 + c];
        guest +=
            (double)(f[1 * 6 + c] + f[3 * 6 + c] + f[8 * 6 + c]) / sqrt(3) * (double)q[5 * 6 + c];
    }
    assert_true(has(&l, "lightgcn.user.weight") && has(&l, "lightgcn.item.weight"));
    /* a train user's vector is their row */
    assert_true(close_to(score(&l, 2, 5, history, 3), known));
    assert_true(close_to(score(&l, -1, 5, history, 3), guest));
    assert_true(close_to(score(&l, -1, -1, history, 3), (double)b0[0]));
    /* another loss, another model */
    assert_true(score(&l, 2, 5, NULL, 0) != score(&b, 2, 5, NULL, 0));
    assert_true(has(&s, "item.weight") && has(&s, "sasrec.block.0.query.weight") &&
                !has(&s, "user.weight"));
    /* the order counts */
    assert_true(fabs(score(&s, 2, 5, history, 3) - score(&s, 2, 5, other, 3)) > 1e-7);
    assert_true(isfinite(score(&s, -1, -1, NULL, 0)) &&
                isfinite(score(&s, -1, unseen_item(), history, 3)));
    trained_release(&l);
    trained_release(&b);
    trained_release(&s);
}

/* A collab.safetensors with one tensor of another shape, a value that is not finite, one that is
 * missing. */
static void test_models_hostile(void **state)
{
    (void)state;
    static const char *const set[] = {"collab.epochs=1", "collab.width=6",
                                      "collab.history_length=5", NULL};
    static const struct {
        const char *method, *tensor;
    } cases[] = {{"sasrec", "sasrec.position.weight"}, {"lightgcn", "item.weight"}};
    for (int k = 0; k < 2; k++) {
        for (int how = 0; how < 3; how++) {
            char name[32];
            snprintf(name, sizeof name, "hostile-%d-%d", k, how);
            char *path = sella_path_join(folder, name, NULL),
                 *file = sella_path_join(path, "collab.safetensors", NULL);
            fixture_train_ok(cases[k].method, dataset, path, NULL, NULL, set);
            sella_run *run = NULL;
            sella_scorer *scorer = NULL;
            sella_collab *c = NULL;
            sella_err why = {0};
            sella_param_table table;
            sella_collab_config config;
            CHECK(sella_run_open(path, &run, err));
            sella_collab_config_of(run->settings, run->users, run->items, &config);
            config.history_length += how == 0 && k == 0;
            config.items += how == 0 && k == 1;
            CHECK(sella_collab_new(cases[k].method, &config, 1, &c, err));
            /* every tensor but the named one, when it is to be missing */
            sella_param_table_init(&table);
            for (int t = 0; t < 2; t++) {
                const sella_param_table *from = t ? &c->derived : &c->table;
                for (int i = 0; i < from->count; i++) {
                    const sella_param *param = &from->param[i];
                    const bool target = strcmp(param->name, cases[k].tensor) == 0;
                    if (how == 2 && target) {
                        continue;
                    }
                    CHECK(sella_param_add(&table, param->name, param->shape[0],
                                          param->rank == 2 ? param->shape[1] : 0, err));
                    table.param[table.count - 1].data[0] = how == 1 && target ? NAN : .5f;
                }
            }
            const sella_param_table *const tables[] = {&table};
            CHECK(sella_tensors_write(file, tables, 1, err));
            const sella_status status =
                sella_method_find(cases[k].method)->open(run, NULL, &scorer, &why);
            assert_int_not_equal(status, SELLA_OK);
            assert_null(scorer);
            if (!strstr(why.text, cases[k].tensor)) {
                fail_msg("'%s' does not name %s", why.text, cases[k].tensor);
            }
            sella_param_table_release(&table);
            sella_collab_free(c);
            sella_run_close(run);
            free(path);
            free(file);
        }
    }
}

/* REFERENCE 4.2 and SPEC section 7: known figures on the valid part, three seeds with biases;
 * without biases under make test-full. */
static void test_ml_1m(void **state)
{
    (void)state;
    char *source = shared_path("data/ml-1m");
    sella_err why;
    if (!source) {
        skip();
    }
    const char *inputs[] = {source};
    char *data = sella_path_join(folder, "ml-1m", NULL);
    const sella_import_options import = {
        .format = "split", .inputs = inputs, .input_count = 1, .output = data, .noun = "movie"};
    CHECK(sella_import(&import, NULL, NULL, err));
    static const struct {
        const char *method, *preset;
        double auc, uauc, slack;
    } known[] = {{"itembias", NULL, .690, .688, .003},
                 {"bias", NULL, .742, .689, .003},
                 {"mf", NULL, .7396, .6911, .006},
                 {"mf", "paper", .670, .627, .012}};
    const int count = scratch_full() ? 4 : 3;
    for (int k = 0; k < count; k++) {
        char name[20];
        sella_figures f;
        sella_predictions p;
        snprintf(name, sizeof name, "known-%d", k);
        char *run = sella_path_join(folder, name, NULL),
             *csv = sella_path_join(run, "predictions-valid.csv", NULL);
        if (fixture_train(known[k].method, data, run, known[k].preset, NULL, false, NULL, NULL,
                          &why) != SELLA_OK) {
            fail_msg("%s", why.text);
        }
        CHECK(sella_predictions_read(csv, &p, err));
        assert_int_equal(p.count, 10401);
        sella_metrics m;
        CHECK(sella_metrics_file(csv, 0, 0, &m, err));
        f = m.all;
        print_message("%s %s: %.4f / %.4f\n", known[k].method,
                      known[k].preset ? known[k].preset : "", f.auc, f.uauc);
        assert_true(fabs(f.auc - known[k].auc) <= known[k].slack &&
                    fabs(f.uauc - known[k].uauc) <= known[k].slack);
        assert_int_equal(f.uauc_users, 282);
        assert_int_equal(m.warm.rows, 6609);
        sella_predictions_release(&p);
        free(run);
        free(csv);
    }
    free(data);
    free(source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_controls),  cmocka_unit_test(test_mf_paper),
        cmocka_unit_test(test_mf_unseen), cmocka_unit_test(test_mf_refused),
        cmocka_unit_test(test_models),    cmocka_unit_test(test_models_hostile),
        cmocka_unit_test(test_ml_1m)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
