/* test_engine_ranking.c - eval's ranking figures and subsets of a run, against cases that are made,
 * scored and sorted here one by one through the public calls. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "methods_fixture.h"
#include "sella/engine.h"

enum { USERS = 14, ITEMS = 24, AT = 3 };
static const int at_k[AT] = {1, 5, 10};

static char *folder, *data;
static sella_dataset *dataset;
static const sella_split *valid;

static int setup(void **state)
{
    const fixture_shape shape = {
        .users = USERS, .items = ITEMS, .train = 130, .valid = 90, .seed = 8};
    (void)state;
    sella_threads_set(1);
    folder = scratch_make();
    data = sella_path_join(folder, "data", NULL);
    fixture_dataset(data, &shape);
    CHECK(sella_dataset_open(data, &dataset, err));
    valid = &dataset->split[SELLA_SPLIT_VALID];
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sella_dataset_close(dataset);
    scratch_remove(folder);
    free(data);
    return 0;
}

/* ---- the same figures, by definition ---- */

typedef struct brute_sum {
    double value[AT][4]; // ndcg, recall, mrr, hit rate
    int cases, skipped, relevant, candidates;
} brute_sum;

static bool in_history(int64_t row, int32_t item)
{
    const int32_t *items;
    const int32_t n = sella_dataset_history(dataset, SELLA_SPLIT_VALID, row, &items);
    for (int32_t j = 0; j < n; j++) {
        if (items[j] == item) {
            return true;
        }
    }
    return false;
}

static bool liked_in_split(int32_t user, int32_t item)
{
    for (int64_t r = 0; r < valid->rows; r++) {
        if (valid->user_n[r] == user && valid->item_n[r] == item && valid->label_n[r]) {
            return true;
        }
    }
    return false;
}

/* One case: the user and history of `row`, relevant[item] given; all items are scored. */
static void brute_case(sella_engine *engine, int64_t row, const bool *relevant, brute_sum *sum)
{
    const char *history[512];
    const int32_t *items;
    double score[ITEMS];
    bool candidate[ITEMS];
    int R = 0;
    const int32_t user = valid->user_n[row],
                  n = sella_dataset_history(dataset, SELLA_SPLIT_VALID, row, &items);
    for (int32_t j = 0; j < n; j++) {
        history[j] = dataset->item_id[items[j]];
    }
    const sella_request who = {
        .user = dataset->user_id[user], .history = history, .history_count = n};
    for (int32_t i = 0; i < ITEMS; i++) {
        candidate[i] = relevant[i] || (!in_history(row, i) && !liked_in_split(user, i));
        R += relevant[i];
        sum->candidates += candidate[i];
    }
    CHECK(sella_engine_score(engine, &who, dataset->item_id, ITEMS, score, err));
    sum->cases++;
    sum->relevant += R;
    for (int c = 0; c < AT; c++) {
        double gain = 0, ideal = 0;
        int found = 0, first = 0;
        for (int i = 0; i < ITEMS; i++) {
            int place = 1;
            /* distinct scores among relevant ones, or the order is free */
            for (int j = 0; relevant[i] && j < ITEMS; j++) {
                place += candidate[j] && j != i &&
                         (score[j] > score[i] || (score[j] == score[i] && (!relevant[j] || j < i)));
            }
            if (relevant[i] && place <= at_k[c]) {
                gain += 1 / log2(place + 1);
                found++;
                first = first == 0 || place < first ? place : first;
            }
        }
        for (int p = 1; p <= R && p <= at_k[c]; p++) {
            ideal += 1 / log2(p + 1);
        }
        sum->value[c][0] += gain / ideal;
        sum->value[c][1] += (double)found / R;
        sum->value[c][2] += first > 0 ? 1.0 / first : 0;
        sum->value[c][3] += found > 0;
    }
}

static void brute_split(sella_engine *engine, bool per_row, brute_sum *sum)
{
    for (int32_t u = 0; u < dataset->users; u++) {
        bool relevant[ITEMS] = {false};
        int64_t first = -1;
        int found = 0;
        for (int64_t r = 0; r < valid->rows; r++) {
            if (valid->user_n[r] != u) {
                continue;
            }
            first = first < 0 ? r : first;
            const int64_t row = per_row ? r : first;
            const bool fresh = valid->label_n[r] && !in_history(row, valid->item_n[r]);
            if (per_row && valid->label_n[r]) {
                memset(relevant, 0, sizeof relevant);
                relevant[valid->item_n[r]] = fresh;
                if (fresh) {
                    brute_case(engine, r, relevant, sum);
                } else {
                    sum->skipped++;
                }
            } else if (fresh && !relevant[valid->item_n[r]]) {
                relevant[valid->item_n[r]] = true;
                found++;
            }
        }
        if (!per_row && first >= 0) {
            if (found > 0) {
                brute_case(engine, first, relevant, sum);
            } else {
                sum->skipped++;
            }
        }
    }
}

static json_t *eval(sella_engine *engine, int64_t rows, const sella_ranking_options *ranking)
{
    char *json = NULL;
    const sella_eval_options options = {.split = "valid", .rows = rows, .ranking = ranking};
    CHECK(sella_engine_eval(engine, &options, &json, err));
    json_t *object = json_loads(json, 0, NULL);
    free(json);
    assert_non_null(object);
    return object;
}

static double real_of(const json_t *object, const char *key)
{
    assert_true(json_is_number(json_object_get(object, key)));
    return json_number_value(json_object_get(object, key));
}

static void same_figures(const json_t *ranking, const brute_sum *sum, double tolerance)
{
    static const char *const names[] = {"ndcg", "recall", "mrr", "hit_rate"};
    assert_int_equal((int)real_of(ranking, "cases"), sum->cases);
    assert_int_equal((int)real_of(ranking, "skipped"), sum->skipped);
    assert_int_equal((int)real_of(ranking, "relevant"), sum->relevant);
    assert_true(fabs(real_of(ranking, "candidates_mean") * sum->cases - sum->candidates) < 1e-6);
    for (int c = 0; c < AT; c++) {
        const json_t *row = json_array_get(json_object_get(ranking, "at"), (size_t)c);
        assert_int_equal((int)real_of(row, "k"), at_k[c]);
        for (int f = 0; f < 4; f++) {
            const double got = real_of(row, names[f]), want = sum->value[c][f] / sum->cases;
            if (!(fabs(got - want) <= tolerance)) {
                fail_msg("%s@%d: %.12f, expected %.12f", names[f], at_k[c], got, want);
            }
        }
    }
}

static void check_method(const char *method, const char *const *set, double tolerance)
{
    char *run = sella_path_join(folder, method, NULL);
    sella_engine *engine = NULL;
    sella_ranking_options options = {.at_k = at_k, .at_count = AT};
    fixture_train_ok(method, data, run, NULL, NULL, set);
    CHECK(sella_engine_open(run, NULL, &engine, err));
    for (int per_row = 0; per_row < 2; per_row++) {
        brute_sum sum = {0};
        options.per_row = per_row;
        options.negatives = 0;
        brute_split(engine, per_row, &sum);
        assert_true(sum.cases > 5 && sum.relevant > 20 && sum.skipped > 0);
        json_t *full = eval(engine, 0, &options);
        same_figures(json_object_get(full, "ranking"), &sum, tolerance);
        options.negatives = 10 * ITEMS; // more than there are: all of them
        json_t *drawn = eval(engine, 0, &options);
        same_figures(json_object_get(drawn, "ranking"), &sum, tolerance);
        json_decref(full);
        json_decref(drawn);
    }
    sella_engine_close(engine);
    free(run);
}

static void test_bias(void **state) // with ties: items that train never saw
{
    (void)state;
    check_method("itembias", NULL, 1e-12);
}

static void test_mf(void **state)
{
    static const char *const set[] = {"collab.epochs=3", NULL};
    (void)state;
    check_method("mf", set, 1e-12);
}

/* Prompts follow from histories; single rows and trees differ by rounding, which may turn a near
 * tie. */
static void test_language_model(void **state)
{
    (void)state;
    check_method("zeroshot", NULL, .01);
}

/* Drawn candidates: so many for each liked item, the same for a seed, others for another; a sample
 *                   of rows has fewer
 * cases. */
static void test_drawn(void **state)
{
    (void)state;
    static const char *const set[] = {"collab.epochs=3", "collab.width=8", NULL};
    char *run = sella_path_join(folder, "drawn", NULL);
    sella_engine *engine = NULL;
    sella_ranking_options options = {
        .at_k = at_k, .at_count = AT, .negatives = 2, .per_row = 1, .seed = 4};
    fixture_train_ok("mf", data, run, NULL, NULL, set);
    CHECK(sella_engine_open(run, NULL, &engine, err));
    json_t *a = eval(engine, 0, &options), *b = eval(engine, 0, &options);
    const json_t *ranking = json_object_get(a, "ranking");
    assert_true(json_equal(a, b));
    assert_true(fabs(real_of(ranking, "candidates_mean") - 3) < 1e-12);
    assert_string_equal(json_string_value(json_object_get(ranking, "candidates")), "sampled");
    assert_int_equal((int)real_of(ranking, "seed"), 4);
    options.seed = 5;
    json_t *other = eval(engine, 0, &options);
    assert_false(json_equal(json_object_get(ranking, "at"),
                            json_object_get(json_object_get(other, "ranking"), "at")));
    json_t *sample = eval(engine, 20, &options);
    assert_true(real_of(json_object_get(sample, "ranking"), "cases") <= 20);
    options.per_row = 0;
    json_t *users = eval(engine, 20, &options);
    ranking = json_object_get(users, "ranking");
    assert_true(real_of(ranking, "relevant") <= 20 &&
                real_of(ranking, "cases") < real_of(ranking, "relevant"));
    // wrong options
    sella_err err = {0};
    char *json = NULL;
    options.negatives = -1;
    const sella_eval_options wrong = {.split = "valid", .ranking = &options};
    assert_int_equal(sella_engine_eval(engine, &wrong, &json, &err), SELLA_ARG);
    assert_null(json);
    json_decref(a), json_decref(b), json_decref(other), json_decref(sample), json_decref(users);
    sella_engine_close(engine);
    free(run);
}

/* Rows of each subset, counted here. */
static void test_subsets(void **state)
{
    (void)state;
    static const char *const by[] = {"user-cold", "strict-warm", "warm", "item-cold",
                                     "strict-warm"};
    const fixture_shape shape = {.users = 50, .items = 40, .train = 110, .valid = 300, .seed = 3};
    char *path = sella_path_join(folder, "cold", NULL),
         *run = sella_path_join(folder, "cold-run", NULL), *json = NULL;
    sella_dataset *cold = NULL;
    sella_engine *engine = NULL;
    sella_err why = {0};
    int want[3] = {0};
    fixture_dataset(path, &shape);
    CHECK(sella_dataset_open(path, &cold, err));
    const sella_split *train = &cold->split[SELLA_SPLIT_TRAIN],
                      *rows = &cold->split[SELLA_SPLIT_VALID];
    for (int64_t r = 0; r < rows->rows; r++) {
        int user = 0, item = 0;
        for (int64_t t = 0; t < train->rows; t++) {
            user += train->user_n[t] == rows->user_n[r];
            item += train->item_n[t] == rows->item_n[r];
        }
        want[0] += user == 0;
        want[1] += user > 3 && item > 3;
        want[2] += item == 0;
    }
    assert_true(want[0] > 0 && want[1] > 0 && want[2] > 0);
    fixture_train_ok("itembias", path, run, NULL, NULL, NULL);
    CHECK(sella_engine_open(run, NULL, &engine, err));
    const sella_eval_options options = {.split = "valid", .by = by, .by_count = 5};
    CHECK(sella_engine_eval(engine, &options, &json, err));
    json_t *object = json_loads(json, 0, NULL), *subsets = json_object_get(object, "subsets");
    assert_int_equal(json_object_size(subsets), 5); // warm, cold and three more, each once
    assert_int_equal((int)real_of(json_object_get(subsets, "user-cold"), "rows"), want[0]);
    assert_int_equal((int)real_of(json_object_get(subsets, "strict-warm"), "rows"), want[1]);
    assert_int_equal((int)real_of(json_object_get(subsets, "item-cold"), "rows"), want[2]);
    json_decref(object);
    free(json);
    const char *const nonsense[] = {"lukewarm"};
    const sella_eval_options wrong = {.split = "valid", .by = nonsense, .by_count = 1};
    assert_int_equal(sella_engine_eval(engine, &wrong, &json, &why), SELLA_ARG);
    assert_non_null(strstr(why.text, "lukewarm"));
    sella_engine_close(engine);
    sella_dataset_close(cold);
    free(path), free(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bias), cmocka_unit_test(test_mf),
                                       cmocka_unit_test(test_language_model),
                                       cmocka_unit_test(test_drawn),
                                       cmocka_unit_test(test_subsets)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
