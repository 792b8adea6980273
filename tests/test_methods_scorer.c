/* test_methods_scorer.c - scorers of a trained run: batched equals one by one, users and items
 * never seen, titles as text, vectors by hand, damaged artifacts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "formats/safetensors.h"
#include "methods/score_all.h"
#include "methods/vectors.h"
#include "methods_fixture.h"

static const char *const quick[] = {"stage1.batch=24", "stage3.batch=24", "stage2.epochs=6",
                                    "stage2.batch=64", "collab.width=8",  "proj.hidden=12",
                                    "stage3.lr=1e-2",  "stage1.lr=1e-2",  NULL};
static char *folder, *dataset_path, *base, *fast;
static sella_backbone *backbone;
static sella_dataset *dataset;

static int setup(void **state)
{
    const fixture_shape shape = {.users = 12, .items = 20, .train = 200, .valid = 60, .seed = 13};
    const char *const fast_set[] = {"stage2.epochs=6", "collab.width=8", "proj.hidden=12",
                                    "collab.unseen=mean", NULL};
    (void)state;
    sella_threads_set(1);
    folder = fixture_folder(&shape, &dataset_path);
    base = sella_path_join(folder, "base", NULL);
    fast = sella_path_join(folder, "fast", NULL);
    fixture_train_ok("sella", dataset_path, base, NULL, NULL, quick);
    fixture_train_ok("sella", dataset_path, fast, "fast", NULL, fast_set);
    CHECK(sella_backbone_open(TINY_MODEL, NULL, &backbone, err));
    CHECK(sella_dataset_open(dataset_path, &dataset, err));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sella_backbone_close(backbone);
    sella_dataset_close(dataset);
    scratch_remove(folder);
    free(dataset_path);
    free(base);
    free(fast);
    return 0;
}

static sella_scorer *open_scorer(const char *path, sella_run **run)
{
    sella_scorer *scorer = NULL;
    CHECK(sella_run_open(path, run, err));
    CHECK(sella_method_find((*run)->method)->open(*run, backbone, &scorer, err));
    return scorer;
}

/* All valid rows at once, in blocks, in another order, and one by one: the same logits. */
static void test_batched_is_single(void **state)
{
    enum { N = 60 };
    sella_run *run;
    sella_scorer *scorer = open_scorer(base, &run);
    sella_query *query, turned[N];
    int32_t *pool;
    double together[N], blocks[N], reversed[N], single;
    (void)state;
    CHECK(sella_queries_from_split(run, dataset, SELLA_SPLIT_VALID, NULL, N, &query, &pool, err));
    CHECK(scorer->ops->score(scorer, query, N, together, NULL, err));
    CHECK(sella_score_all(scorer, query, N, blocks, "test", NULL, 0, NULL, err));
    for (int n = 0; n < N; n++) {
        turned[N - 1 - n] = query[n];
        turned[N - 1 - n].group = n; // nothing shared
    }
    CHECK(scorer->ops->score(scorer, turned, N, reversed, NULL, err));
    for (int n = 0; n < N; n++) {
        CHECK(scorer->ops->score(scorer, &query[n], 1, &single, NULL, err));
        assert_true(fabs(single - together[n]) < 1e-4);
        assert_true(fabs(single - blocks[n]) < 1e-4);
        assert_true(fabs(single - reversed[N - 1 - n]) < 1e-4);
    }
    free(query);
    free(pool);
    scorer->ops->close(scorer);
    sella_run_close(run);
}

/* The figures of the run are those of its own predictions: one score a row, in the split's
 * order. */
static void test_predictions_in_order(void **state)
{
    sella_run *run;
    sella_scorer *scorer = open_scorer(base, &run);
    sella_query *query;
    int32_t *pool;
    double z[60];
    char line[256];
    (void)state;
    CHECK(sella_queries_from_split(run, dataset, SELLA_SPLIT_VALID, NULL, 60, &query, &pool, err));
    CHECK(sella_score_all(scorer, query, 60, z, "test", NULL, 0, NULL, err));
    char *csv = sella_path_join(base, "predictions-valid.csv", NULL);
    FILE *file = fopen(csv, "r");
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file));
    assert_string_equal(line, "user,item,label,score,warm\n");
    for (int r = 0; r < 60; r++) {
        char user[64], item[64];
        double score;
        int label, warm;
        assert_non_null(fgets(line, sizeof line, file));
        assert_int_equal(
            sscanf(line, "%63[^,],%63[^,],%d,%lf,%d", user, item, &label, &score, &warm), 5);
        assert_string_equal(user, dataset->user_id[dataset->split[SELLA_SPLIT_VALID].user_n[r]]);
        assert_string_equal(item, dataset->item_id[dataset->split[SELLA_SPLIT_VALID].item_n[r]]);
        assert_int_equal(label, dataset->split[SELLA_SPLIT_VALID].label_n[r]);
        assert_true(fabs(score - 1 / (1 + exp(-z[r]))) < 1e-6);
    }
    assert_null(fgets(line, sizeof line, file));
    fclose(file);
    free(csv);
    free(query);
    free(pool);
    scorer->ops->close(scorer);
    sella_run_close(run);
}

static void test_never_seen(void **state)
{
    sella_run *run;
    sella_scorer *scorer = open_scorer(base, &run);
    const int32_t history[] = {3, 4}, mixed[] = {3, -1};
    const char *const texts[] = {NULL, "A Film Nobody Has Seen (1999)"};
    const sella_query query[] = {
        {.user = 2, .item = 5, .history_n = history, .history_count = 2},
        {.user = -1, .item = 5, .history_n = history, .history_count = 2},
        {.user = -1,
         .item = -1,
         .target_text = "Another One (2001)",
         .history_n = history,
         .history_count = 2},
        {.user = -1, .item = 5, .history_n = mixed, .history_text = texts, .history_count = 2},
        {.user = -1, .item = 5}};
    double z[5];
    sella_rows rows;
    sella_err why = {0};
    (void)state;
    CHECK(scorer->ops->score(scorer, query, 5, z, NULL, err));
    for (int i = 0; i < 5; i++) {
        assert_true(isfinite(z[i]));
        for (int j = 0; j < i; j++) {
            assert_true(z[i] != z[j]);
        }
    }
    const sella_query nothing = {.user = 0, .item = -1};
    assert_int_equal(scorer->ops->score(scorer, &nothing, 1, z, NULL, &why), SELLA_ARG);
    sella_rows_init(&rows);
    CHECK(scorer->ops->prompt(scorer, &query[1], &rows, err));
    int slots = 0;
    for (int64_t t = 0; t < rows.start[1]; t++) {
        slots += rows.slot[t] != SELLA_SLOT_NONE;
    }
    assert_int_equal(slots, 3);
    sella_rows_release(&rows);
    scorer->ops->close(scorer);
    sella_run_close(run);
}

/* One tensor of a file as doubles are used below. */
static const float *tensor(sella_safetensors *file, const char *name)
{
    const sella_tensor *t = sella_safetensors_find(file, name);
    if (!t) {
        fail_msg("%s is missing", name);
    }
    return t->data;
}

static double dot(const double *a, const float *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

/* score=vectors by hand from the files, as docs/math.md writes it: seen user, and unseen user with
 * the mean. */
static void test_vectors_by_hand(void **state)
{
    enum { C = 8, L = 32, I = 20 };
    sella_run *run;
    sella_scorer *scorer = open_scorer(fast, &run);
    sella_safetensors *file = NULL, *semantic = NULL;
    const int32_t history[] = {7, 3, 11};
    const sella_query query[] = {{.user = 4, .item = 9, .history_n = history, .history_count = 3},
                                 {.user = -1, .item = 9, .history_n = history, .history_count = 3},
                                 {.user = 4, .item = 9}};
    double z[3], centred[I][L], mean[L] = {0};
    (void)state;
    CHECK(scorer->ops->score(scorer, query, 3, z, NULL, err));
    char *path = sella_path_join(fast, "collab.safetensors", NULL),
         *path2 = sella_path_join(fast, "stages/distil/semantic.safetensors", NULL);
    CHECK(sella_safetensors_open(path, &file, err));
    CHECK(sella_safetensors_open(path2, &semantic, err));
    const float *s = tensor(semantic, "semantic.weight"), *q = tensor(file, "item.weight") + 9 * C,
                *y = tensor(file, "history.weight");
    for (int i = 0; i < I; i++) {
        for (int l = 0; l < L; l++) {
            mean[l] += (double)s[i * L + l] / I;
        }
    }
    for (int i = 0; i < I; i++) {
        double square = 0;
        for (int l = 0; l < L; l++) {
            centred[i][l] = s[i * L + l] - mean[l];
            square += centred[i][l] * centred[i][l];
        }
        for (int l = 0; l < L; l++) {
            centred[i][l] /= sqrt(square);
        }
    }
    double text = 0;
    for (int j = 0; j < 3; j++) {
        for (int l = 0; l < L; l++) {
            text += centred[history[j]][l] * centred[9][l] / 3;
        }
    }
    for (int n = 0; n < 3; n++) {
        double p[C] = {0};
        for (int c = 0; c < C; c++) {
            for (int u = 0; u < run->users; u++) {
                double weight = query[n].user == u ? 1 : query[n].user < 0 ? 1.0 / run->users : 0;
                p[c] += weight * tensor(file, "user.weight")[u * C + c];
            }
            for (int j = 0; j < query[n].history_count; j++) {
                p[c] += y[history[j] * C + c] / sqrt(3);
            }
        }
        double expected = dot(p, q, C) + tensor(file, "item.bias")[9] +
                          tensor(file, "global.bias")[0] +
                          (query[n].user < 0 ? 0 : tensor(file, "user.bias")[4]) +
                          (query[n].history_count ? tensor(file, "text.gain")[0] * text : 0);
        assert_true(fabs(expected - z[n]) < 1e-5);
    }
    sella_safetensors_close(file);
    sella_safetensors_close(semantic);
    free(path);
    free(path2);
    scorer->ops->close(scorer);
    sella_run_close(run);
}

/* ---- damaged artifacts ---- */

/* Write back collab.safetensors with one tensor left out, cut or spoilt. */
static void spoil(const char *from, const char *to, const char *name, int how)
{
    sella_safetensors *file = NULL;
    CHECK(sella_safetensors_open(from, &file, err));
    int count = sella_safetensors_count(file), n = 0;
    sella_tensor_out *out = calloc((size_t)count, sizeof *out);
    float *copy = NULL;
    for (int i = 0; i < count; i++) {
        const sella_tensor *t = sella_safetensors_at(file, i);
        sella_tensor_out one = {t->name, t->rank, {t->shape[0], t->shape[1]}, t->data};
        if (strcmp(t->name, name) == 0) {
            if (how == 0) {
                continue;
            }
            copy = malloc(t->bytes);
            memcpy(copy, t->data, t->bytes);
            one.data = copy;
            if (how == 1) {
                one.shape[0]--;
            } else {
                copy[3] = NAN;
            }
        }
        out[n++] = one;
    }
    CHECK(sella_safetensors_write(to, out, n, NULL, err));
    sella_safetensors_close(file);
    free(out);
    free(copy);
}

static void test_damaged_artifacts(void **state)
{
    static const char *const says[] = {"user.weight", "user.weight", "user.weight"};
    sella_run *run = NULL;
    sella_scorer *scorer = NULL;
    (void)state;
    char *collab = sella_path_join(base, "collab.safetensors", NULL),
         *whole = sella_path_join(folder, "whole.safetensors", NULL);
    CHECK(sella_file_copy(collab, whole, err));
    CHECK(sella_run_open(base, &run, err));
    for (int how = 0; how < 3; how++) {
        sella_err why = {0};
        spoil(whole, collab, "user.weight", how);
        assert_true(sella_method_find("sella")->open(run, backbone, &scorer, &why) != SELLA_OK);
        assert_null(scorer);
        assert_non_null(strstr(why.text, says[how]));
    }
    for (int how = 0; how < 2; how++) { // a width that no backbone here has, a file that is none
        sella_err why = {0};
        if (how == 0) {
            spoil(whole, collab, "semantic.weight", 1);
        } else {
            free(scratch_file(base, "collab.safetensors", "garbage", 7));
        }
        assert_true(sella_method_find("sella")->open(run, backbone, &scorer, &why) != SELLA_OK);
        assert_true(why.text[0] != '\0');
    }
    sella_err why = {0};
    CHECK(sella_file_copy(whole, collab, err));
    assert_true(sella_method_find("sella")->open(run, NULL, &scorer, &why) != SELLA_OK);
    char *adapter = sella_path_join(base, "adapter/adapter_model.safetensors", NULL),
         *tmpl = sella_path_join(base, "template.txt", NULL);
    CHECK(sella_path_remove(adapter, err));
    assert_true(sella_method_find("sella")->open(run, backbone, &scorer, &why) != SELLA_OK);
    free(scratch_file(base, "template.txt", "sella-template 9\n", 17));
    assert_true(sella_method_find("sella")->open(run, backbone, &scorer, &why) != SELLA_OK);
    sella_run_close(run);
    free(adapter);
    free(tmpl);
    free(collab);
    free(whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batched_is_single), cmocka_unit_test(test_predictions_in_order),
        cmocka_unit_test(test_never_seen),        cmocka_unit_test(test_vectors_by_hand),
        cmocka_unit_test(test_damaged_artifacts), // last: it breaks the run
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
