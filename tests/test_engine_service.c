/* test_engine_service.c - ranking in two steps, histories with times, and the search in titles.
 * Scores are compared with sella_engine_score and with the predictions that training wrote;
 * retrieval with the tables as they stand on disk. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "formats/safetensors.h"
#include "methods_fixture.h"
#include "sella/service.h"

enum { ITEMS = 20 };

static char *folder, *data_path, *run_path[4];
static const char *const method[4] = {"sella", "tallrec", "mf", "bias"};

static int setup(void **state)
{
    const fixture_shape shape = {
        .users = 12, .items = ITEMS, .train = 200, .valid = 60, .seed = 13};
    static const char *const sella_set[] = {"stage1.batch=24", "stage3.batch=24", "stage2.epochs=6",
                                            "stage2.batch=64", "collab.width=8",  "proj.hidden=12",
                                            "stage3.lr=1e-2",  "stage1.lr=1e-2",  NULL};
    static const char *const tallrec_set[] = {"stage1.batch=24", "stage1.lr=1e-2", NULL};
    static const char *const mf_set[] = {"collab.width=8", "collab.epochs=4", NULL};
    static const char *const *const set[4] = {sella_set, tallrec_set, mf_set, NULL};
    (void)state;
    sella_threads_set(1);
    folder = scratch_make();
    data_path = sella_path_join(folder, "data", NULL);
    fixture_dataset(data_path, &shape);
    for (int m = 0; m < 4; m++) {
        run_path[m] = sella_path_join(folder, method[m], NULL);
        fixture_train_ok(method[m], data_path, run_path[m], NULL, NULL, set[m]);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_remove(folder);
    free(data_path);
    for (int m = 0; m < 4; m++) {
        free(run_path[m]);
    }
    return 0;
}

static sella_engine *open_engine(int m)
{
    sella_engine *engine = NULL;
    CHECK(sella_engine_open(run_path[m], &(sella_engine_options){.threads = 1}, &engine, err));
    return engine;
}

/* Every place says what sella_engine_score says, in falling order; others come behind by
 * retrieval. */
static void check_answer(sella_engine *engine, const sella_request *who, const sella_ranked *out,
                         int count)
{
    double score;
    for (int i = 0; i < count; i++) {
        CHECK(sella_engine_score(engine, who, &out[i].item, 1, &score, err));
        if (out[i].rescored) {
            assert_true(fabs(out[i].score - score) < 1e-5 * score);
        } else {
            assert_true(out[i].score == out[i].retrieved);
        }
        if (i > 0) {
            assert_true(out[i].rescored <= out[i - 1].rescored);
            assert_true(out[i].rescored != out[i - 1].rescored || out[i].score <= out[i - 1].score);
        }
        assert_string_equal(out[i].title, sella_engine_item_title(engine, out[i].item));
    }
}

/* With everything rescored, ranking is what recommend gives from the scores of the whole
 * catalogue. */
static void all_rescored_is_recommend(void **state)
{
    (void)state;
    static const char *const liked[] = {"i3", "i7", "i1"};
    const sella_request request[] = {{.user = "u4", .history_count = -1},
                                     {.user = "u4", .history = liked, .history_count = 3},
                                     {.history = liked, .history_count = 3},
                                     {.user = "nobody"}};
    for (int m = 0; m < 4; m++) {
        sella_engine *engine = open_engine(m);
        for (size_t q = 0; q < sizeof request / sizeof request[0]; q++) {
            sella_ranked out[ITEMS];
            sella_recommendation want[ITEMS];
            int count, wanted;
            CHECK(sella_engine_rank(engine, &request[q], &(sella_rank_options){.k = ITEMS}, out,
                                    &count, err));
            CHECK(
                sella_engine_recommend(engine, &request[q], NULL, 0, ITEMS, 0, want, &wanted, err));
            assert_int_equal(count, wanted);
            check_answer(engine, &request[q], out, count);
            for (int i = 0; i < count; i++) {
                assert_int_equal(out[i].rescored, 1);
                assert_true(fabs(out[i].score - want[i].score) < 1e-5 * want[i].score);
            }
        }
        sella_engine_close(engine);
    }
}

static int rank_of(const sella_ranked *out, int count, const char *item)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(out[i].item, item) == 0) {
            return i;
        }
    }
    return -1;
}

static void only_the_best_retrieved_are_rescored(void **state)
{
    (void)state;
    const sella_request who = {.user = "u4", .history_count = -1};
    for (int m = 0; m < 2; m++) {
        sella_engine *engine = open_engine(m);
        sella_ranked all[ITEMS], out[ITEMS];
        int whole, count;
        CHECK(sella_engine_rank(engine, &who, &(sella_rank_options){.k = ITEMS}, all, &whole, err));
        CHECK(sella_engine_rank(engine, &who, &(sella_rank_options){.k = ITEMS, .retrieve_k = 3},
                                out, &count, err));
        assert_int_equal(count, whole);
        check_answer(engine, &who, out, count);
        for (int i = 0; i < count; i++) {
            const int same = rank_of(all, whole, out[i].item);
            assert_int_equal(out[i].rescored, i < 3);
            assert_true(same >= 0 && all[same].retrieved == out[i].retrieved);
            assert_true(i < 3 || out[i].retrieved <= out[0].retrieved);
        }
        CHECK(sella_engine_rank(engine, &who, &(sella_rank_options){.k = 2, .retrieve_k = 3}, out,
                                &count, err));
        assert_int_equal(count, 2);
        sella_engine_close(engine);
    }
}

/* A logit of the retrieval step, from the tables as they stand on disk (mf has no history part in
 * its default). */
static void retrieval_by_hand(void **state)
{
    (void)state;
    sella_engine *engine = open_engine(2);
    sella_ranked out[ITEMS];
    int count;
    const sella_request who = {.user = "u4", .history_count = -1};
    CHECK(sella_engine_rank(engine, &who, &(sella_rank_options){.k = ITEMS, .include_seen = 1}, out,
                            &count, err));
    assert_int_equal(count, ITEMS);
    char *path = sella_path_join(run_path[2], "collab.safetensors", NULL),
         *names = sella_path_join(run_path[2], "users.tsv", NULL);
    sella_map text = {0};
    CHECK(sella_map_open(names, &text, err));
    const char *at = memmem(text.data, text.size, "\nu4\n", 4);
    int row = -1;
    for (const char *c = (const char *)text.data; c <= at; c++) {
        row += *c == '\n';
    }
    sella_safetensors *file = NULL;
    CHECK(sella_safetensors_open(path, &file, err));
    const float *user = (const float *)sella_safetensors_find(file, "user.weight")->data,
                *item = (const float *)sella_safetensors_find(file, "item.weight")->data,
                *user_bias = (const float *)sella_safetensors_find(file, "user.bias")->data,
                *item_bias = (const float *)sella_safetensors_find(file, "item.bias")->data,
                *base = (const float *)sella_safetensors_find(file, "global.bias")->data;
    for (int i = 0; i < count; i++) {
        const int it = (int)strtol(out[i].item + 1, NULL, 10);
        double z = (double)base[0] + (double)user_bias[row] + (double)item_bias[it];
        for (int c = 0; c < 8; c++) {
            z += (double)user[row * 8 + c] * (double)item[it * 8 + c];
        }
        assert_true(fabs(out[i].retrieved - 1 / (1 + exp(-z))) < 1e-6);
    }
    sella_safetensors_close(file);
    sella_map_close(&text);
    free(path);
    free(names);
    sella_engine_close(engine);
}

typedef struct waiting {
    int calls, seen, stop_after;
} waiting;

static int arrived(void *user, const sella_ranked *batch_n, int count)
{
    waiting *w = user;
    w->calls++;
    for (int i = 0; i < count; i++) {
        assert_int_equal(batch_n[i].rescored, 1);
    }
    w->seen += count;
    return w->seen >= w->stop_after;
}

static void results_arrive_and_stop(void **state)
{
    (void)state;
    sella_engine *engine = open_engine(0);
    sella_ranked out[ITEMS];
    int count, rescored = 0;
    const sella_request who = {.user = "u2"};
    waiting w = {.stop_after = ITEMS};
    CHECK(sella_engine_rank(engine, &who,
                            &(sella_rank_options){.k = ITEMS, .arrived = arrived, .user = &w}, out,
                            &count, err));
    assert_int_equal(w.seen, count);
    assert_true(w.calls > 1);
    check_answer(engine, &who, out, count);
    w = (waiting){.stop_after = 1};
    CHECK(sella_engine_rank(engine, &who,
                            &(sella_rank_options){.k = ITEMS, .arrived = arrived, .user = &w}, out,
                            &count, err));
    assert_int_equal(w.calls, 1);
    assert_int_equal(count, ITEMS);
    for (int i = 0; i < count; i++) {
        rescored += out[i].rescored;
    }
    assert_int_equal(rescored, w.seen);
    check_answer(engine, &who, out, count);
    /* no time at all: retrieval alone */
    CHECK(sella_engine_rank(engine, &who, &(sella_rank_options){.k = 5, .budget_ms = 1e-6}, out,
                            &count, err));
    assert_int_equal(count, 5);
    assert_int_equal(out[0].rescored, 0);
    check_answer(engine, &who, out, count);
    CHECK(sella_engine_rank(engine, &who, &(sella_rank_options){.k = 5, .budget_ms = 1e9}, out,
                            &count, err));
    assert_int_equal(out[4].rescored, 1);
    sella_engine_close(engine);
}

static void candidates_and_exclusions(void **state)
{
    (void)state;
    static const char *const some[] = {"i5", "i6", "i7", "i5", "i8"}, *const not [] = {"i6"},
                             *const liked[] = {"i8"}, *const bad[] = {"i99"};
    const sella_request who = {.history = liked, .history_count = 1};
    for (int m = 0; m < 4; m++) {
        sella_engine *engine = open_engine(m);
        sella_ranked out[ITEMS];
        sella_err why = {0};
        int count;
        CHECK(sella_engine_rank(
            engine, &who,
            &(sella_rank_options){.k = 9, .candidate_n = some, .n = 5, .exclude_n = not, .m = 1},
            out, &count, err));
        assert_int_equal(count, 2);
        assert_true(rank_of(out, count, "i5") >= 0 && rank_of(out, count, "i7") >= 0);
        CHECK(sella_engine_rank(engine, &who,
                                &(sella_rank_options){.k = 9, .candidate_n = some, .n = 0}, out,
                                &count, err));
        assert_int_equal(count, 0);
        assert_int_equal(sella_engine_rank(engine, &who,
                                           &(sella_rank_options){.k = 9, .exclude_n = bad, .m = 1},
                                           out, &count, &why),
                         SELLA_MISSING);
        assert_non_null(strstr(why.text, "'i99'"));
        assert_int_equal(
            sella_engine_rank(engine, &who, &(sella_rank_options){.k = 0}, out, &count, &why),
            SELLA_ARG);
        assert_int_equal(sella_engine_rank(engine, &who,
                                           &(sella_rank_options){.k = 1, .budget_ms = (double)NAN},
                                           out, &count, &why),
                         SELLA_ARG);
        assert_int_equal(sella_engine_rank(engine, &who,
                                           &(sella_rank_options){.k = 1, .retrieve_k = -1}, out,
                                           &count, &why),
                         SELLA_ARG);
        sella_engine_close(engine);
    }
}

/* Likes of train and valid with the times of their rows, oldest first, as the fixture wrote
 * them. */
static void histories_have_times(void **state)
{
    (void)state;
    sella_engine *engine = open_engine(3);
    sella_dataset *dataset = NULL;
    char *json = NULL;
    json_t *list = NULL, *entry;
    size_t j;
    CHECK(sella_dataset_open(data_path, &dataset, err));
    CHECK(sella_engine_history(engine, "u4", &json, err));
    CHECK(sella_json_parse(json, strlen(json), "history", &list, err));
    assert_true(json_array_size(list) > 3);
    assert_int_equal(sella_engine_has_user(engine, "u4"), 1);
    int64_t before = 0;
    json_array_foreach(list, j, entry) {
        const int64_t time = json_integer_value(json_object_get(entry, "time"));
        const char *item = json_string_value(json_object_get(entry, "item"));
        bool found = false;
        assert_true(time >= before);
        before = time;
        for (int s = 0; s < 2; s++) {
            const sella_split *split = &dataset->split[s];
            for (int64_t r = 0; r < split->rows; r++) {
                found = found || (split->time_n[r] == time && split->label_n[r] &&
                                  strcmp(dataset->item_id[split->item_n[r]], item) == 0 &&
                                  strcmp(dataset->user_id[split->user_n[r]], "u4") == 0);
            }
        }
        assert_true(found);
        assert_string_equal(json_string_value(json_object_get(entry, "title")),
                            sella_engine_item_title(engine, item));
    }
    json_decref(list);
    free(json);
    CHECK(sella_engine_history(engine, "nobody", &json, err));
    assert_string_equal(json, "[]");
    assert_int_equal(sella_engine_has_user(engine, "nobody"), 0);
    assert_null(sella_engine_item_title(engine, "i99"));
    free(json);
    sella_dataset_close(dataset);
    sella_engine_close(engine);
    /* a run of an earlier version: no times */
    char *times = sella_path_join(run_path[3], "history_time.npy", NULL);
    assert_int_equal(remove(times), 0);
    engine = open_engine(3);
    CHECK(sella_engine_history(engine, "u4", &json, err));
    assert_non_null(strstr(json, "\"time\":null"));
    free(json);
    free(times);
    sella_engine_close(engine);
}

static int hits(sella_engine *engine, const char *query, int limit)
{
    char *json = NULL;
    json_t *list = NULL;
    CHECK(sella_engine_items(engine, query, limit, &json, err));
    CHECK(sella_json_parse(json, strlen(json), "items", &list, err));
    const int n = (int)json_array_size(list);
    json_decref(list);
    free(json);
    return n;
}

static void search(void **state)
{
    (void)state;
    sella_engine *engine = open_engine(3);
    sella_err why = {0};
    char *json = NULL, query[64], want[96];
    const char *title = sella_engine_item_title(engine, "i7");
    snprintf(query, sizeof query, "  %s ", title);
    for (char *c = query; *c; c++) {
        *c = *c >= 'a' && *c <= 'z' ? (char)(*c - 32) : *c;
    }
    CHECK(sella_engine_items(engine, query, 5, &json, err));
    snprintf(want, sizeof want, "[{\"item\":\"i7\",\"title\":\"%s\"}", title);
    if (strncmp(json, want, strlen(want)) != 0) {
        fail_msg("%s", json);
    }
    free(json);
    json = NULL;
    assert_int_equal(hits(engine, "1957 (19", 9), 1);
    assert_int_equal(hits(engine, "195", 99), 10);
    assert_int_equal(hits(engine, "195", 4), 4);
    assert_int_equal(hits(engine, "no-such-title", 4), 0);
    assert_int_equal(sella_engine_items(engine, " \t", 5, &json, &why), SELLA_ARG);
    assert_int_equal(sella_engine_items(engine, "a", 0, &json, &why), SELLA_ARG);
    assert_int_equal(sella_engine_items(engine, "\xff", 5, &json, &why), SELLA_ARG);
    char *long_query = calloc(1, 2000);
    memset(long_query, 'q', 1999);
    assert_int_equal(sella_engine_items(engine, long_query, 5, &json, &why), SELLA_ARG);
    free(long_query);
    assert_null(json);
    sella_engine_close(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_rescored_is_recommend),
        cmocka_unit_test(only_the_best_retrieved_are_rescored),
        cmocka_unit_test(retrieval_by_hand),
        cmocka_unit_test(results_arrive_and_stop),
        cmocka_unit_test(candidates_and_exclusions),
        cmocka_unit_test(histories_have_times),
        cmocka_unit_test(search),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
