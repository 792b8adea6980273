/* test_engine_prefix.c - the prefix cache in use: cached, extended, evicted and bypassed scores are
 * those that evaluation wrote, for every family of models, both templates and both windows. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "methods_fixture.h"
#include "sella/service.h"

enum { ITEMS = 20, VALID = 40, RUNS = 7 };

static char *folder, *data_path, *run_path[RUNS];

static void train(int r, const char *method, const char *model, const char *const *set)
{
    static const char *const common[] = {"stage1.batch=24", "stage3.batch=24", "stage2.epochs=3",
                                         "stage2.batch=64", "collab.width=8",  "proj.hidden=12",
                                         "stage3.lr=1e-2",  "stage1.lr=1e-2",  "train.rows=48"};
    const char *all[16];
    int count = 0;
    char *json = NULL, name[16];
    for (size_t i = 0; i < sizeof common / sizeof common[0]; i++) {
        all[count++] = common[i];
    }
    for (; *set; set++) {
        all[count++] = *set;
    }
    snprintf(name, sizeof name, "run%d", r);
    run_path[r] = sella_path_join(folder, name, NULL);
    const sella_train_options options = {.method = method,
                                         .dataset = data_path,
                                         .run = run_path[r],
                                         .model = model,
                                         .set = all,
                                         .set_count = count,
                                         .seed = 5,
                                         .threads = 1};
    CHECK(sella_train(&options, NULL, &json, err));
    free(json);
}

static int setup(void **state)
{
    const fixture_shape shape = {
        .users = 6, .items = ITEMS, .train = 160, .valid = VALID, .seed = 13};
    (void)state;
    sella_threads_set(1);
    folder = scratch_make();
    data_path = sella_path_join(folder, "data", NULL);
    fixture_dataset(data_path, &shape);
    train(0, "sella", TINY_MODEL, (const char *const[]){"history.length=3", NULL});
    train(1, "sella", "tests/ref/backbone_qwen2",
          (const char *const[]){"template=paper", "history.window=sliding", "stage3.residual=no",
                                NULL});
    train(2, "tallrec", "tests/ref/backbone_qwen3",
          (const char *const[]){"history.window=sliding", NULL});
    train(3, "tallrec", TINY_MODEL,
          (const char *const[]){"template=paper", "history.length=4", NULL});
    /* the candidate's code is text before its title */
    train(4, "binllm", TINY_MODEL, (const char *const[]){"collab.epochs=2", NULL});
    /* the user's soft token depends on the candidate */
    train(5, "sella", TINY_MODEL,
          (const char *const[]){"collab.model=din", "stage3.residual=yes", NULL});
    train(6, "collm", "tests/ref/backbone_qwen2",
          (const char *const[]){"collab.model=din", "template=paper", "collab.epochs=4", NULL});
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_remove(folder);
    free(data_path);
    for (int r = 0; r < RUNS; r++) {
        free(run_path[r]);
    }
    return 0;
}

static sella_engine *open_engine(int r, int64_t cache_bytes)
{
    sella_engine *engine = NULL;
    CHECK(sella_engine_open(run_path[r],
                            &(sella_engine_options){.threads = 1, .cache_bytes = cache_bytes},
                            &engine, err));
    return engine;
}

static void near(double got, double want, const char *what)
{
    if (!(fabs(got - want) <= 1e-5 * want)) {
        fail_msg("%s: got %.9g, want %.9g", what, got, want);
    }
}

static sella_engine_counts counts(const sella_engine *engine)
{
    sella_engine_counts now;
    sella_engine_stats(engine, &now);
    return now;
}

/* Every row of valid, asked by ids, twice: the score in predictions-valid.csv. */
static void served_is_evaluated(void **state)
{
    (void)state;
    for (int r = 0; r < RUNS; r++) {
        sella_engine *engine = open_engine(r, 0);
        sella_dataset *data = NULL;
        char *csv = sella_path_join(run_path[r], "predictions-valid.csv", NULL), line[256];
        CHECK(sella_dataset_open(data_path, &data, err));
        for (int turn = 0; turn < 2; turn++) {
            FILE *file = fopen(csv, "r");
            assert_non_null(file);
            assert_non_null(fgets(line, sizeof line, file));
            for (int64_t row = 0; row < VALID; row++) {
                const char *history[256];
                const int32_t *item;
                double want, got;
                assert_non_null(fgets(line, sizeof line, file));
                assert_int_equal(sscanf(line, "%*[^,],%*[^,],%*d,%lf", &want), 1);
                const int32_t count = sella_dataset_history(data, SELLA_SPLIT_VALID, row, &item);
                for (int32_t j = 0; j < count; j++) {
                    history[j] = data->item_id[item[j]];
                }
                const int32_t user = data->split[SELLA_SPLIT_VALID].user_n[row];
                const sella_request who = {.user = user < data->train_users ? data->user_id[user]
                                                                            : NULL,
                                           .history = history,
                                           .history_count = count};
                CHECK(sella_engine_score(engine, &who,
                                         &data->item_id[data->split[SELLA_SPLIT_VALID].item_n[row]],
                                         1, &got, err));
                near(got, want, line);
            }
            fclose(file);
        }
        const sella_engine_counts now = counts(engine);
        assert_int_equal(now.rows_scored, 2 * VALID);
        assert_int_equal(now.cache_hits + now.cache_parts + now.cache_misses, 2 * VALID);
        assert_true(now.cache_hits >= VALID && now.cache_misses < 6 &&
                    now.tokens_reused > now.tokens_computed);
        assert_true(now.cache_bytes > 0 && now.cache_bytes <= now.cache_limit &&
                    now.cache_evicted == 0);
        free(csv);
        sella_dataset_close(data);
        sella_engine_close(engine);
    }
}

/* A history that grows title by title, several candidates at once; another cache size each time:
 * roomy, a few prefixes, less than one. */
static void growing_histories(void **state)
{
    (void)state;
    static const char *const ids[] = {"i1", "i2", "i3", "i4", "i5", "i6", "i7", "i8", "i9"},
                             *const wanted[] = {"i10", "i11", "i12", "i13", "i14"};
    for (int r = 0; r < RUNS; r++) {
        sella_engine *plain = open_engine(r, -1), *cached[3] = {open_engine(r, 0)};
        double score;
        for (int step = 0; step < 24; step++) { /* what all of it takes */
            const sella_request who = {
                .user = step % 3 ? "u2" : NULL, .history = ids, .history_count = step % 10};
            CHECK(sella_engine_score(cached[0], &who, wanted, 1, &score, err));
        }
        const int64_t most = (int64_t)counts(cached[0]).cache_bytes,
                      sizes[3] = {0, most * 2 / 3, 64};
        sella_engine_close(cached[0]);
        for (int c = 0; c < 3; c++) {
            cached[c] = open_engine(r, sizes[c]);
        }
        for (int step = 0; step < 24; step++) {
            double want[5], got[5];
            sella_request who = {
                .user = step % 3 ? "u2" : NULL, .history = ids, .history_count = step % 10};
            CHECK(sella_engine_score(plain, &who, wanted, 5, want, err));
            for (int c = 0; c < 3; c++) {
                CHECK(sella_engine_score(cached[c], &who, wanted, 5, got, err));
                for (int i = 0; i < 5; i++) {
                    near(got[i], want[i], run_path[r]);
                }
            }
        }
        assert_int_equal(counts(plain).tokens_reused, 0);
        assert_int_equal(counts(plain).rows_scored, 24 * 5);
        assert_true(counts(cached[0]).tokens_computed < counts(plain).tokens_computed);
        assert_true(counts(cached[1]).cache_evicted > 0);
        assert_true(counts(cached[1]).cache_bytes <= (uint64_t)sizes[1] &&
                    counts(cached[1]).tokens_reused > 0);
        assert_int_equal(counts(cached[2]).cache_bytes, 0);
        assert_int_equal(counts(cached[2]).tokens_reused, 0);
        sella_engine_close(plain);
        for (int c = 0; c < 3; c++) {
            sella_engine_close(cached[c]);
        }
    }
}

/* A title added to the compact template costs that title, the user's soft token and the candidates:
 * nothing before it. */
static void one_title_more(void **state)
{
    (void)state;
    static const char *const ids[] = {"i1", "i2", "i3"}, *const item[] = {"i10"};
    /* anchored, three titles: no window moves below six */
    sella_engine *engine = open_engine(0, 0);
    double score;
    sella_request who = {.user = "u1", .history = ids, .history_count = 2};
    CHECK(sella_engine_score(engine, &who, item, 1, &score, err));
    const sella_engine_counts first = counts(engine);
    CHECK(sella_engine_score(engine, &who, item, 1, &score, err));
    const sella_engine_counts again = counts(engine);
    who.history_count = 3;
    CHECK(sella_engine_score(engine, &who, item, 1, &score, err));
    const sella_engine_counts more = counts(engine);
    const uint64_t candidate = again.tokens_computed - first.tokens_computed,
                   prefix = first.tokens_computed - candidate;
    assert_int_equal(again.tokens_reused, prefix);
    /* but for the user's soft token, whose vector is another */
    assert_int_equal(more.tokens_reused - again.tokens_reused, prefix - 1);
    assert_true(more.tokens_computed - again.tokens_computed > candidate + 1);
    sella_engine_close(engine);
}

/* Warmed users are found by the first request; without a cache, and with candidates that arrive one
 * batch at a time, the scores are the same. */
static void warmed(void **state)
{
    (void)state;
    char *path = sella_path_join(folder, "warm.csv", NULL);
    const char text[] = "user,history\nu1,\nu2,i3; i4 ;i5\n,i7\nnobody,\n";
    CHECK(sella_write_file(path, text, sizeof text - 1, err));
    for (int r = 0; r < RUNS; r++) {
        sella_engine *engine = open_engine(r, 0), *plain = open_engine(r, -1);
        static const char *const liked[] = {"i3", "i4", "i5"};
        const sella_request request[] = {{.user = "u1", .history_count = -1},
                                         {.user = "u2", .history = liked, .history_count = 3},
                                         {.user = "x"}};
        int64_t rows = 0;
        CHECK(sella_engine_warm(engine, path, &rows, err));
        assert_int_equal(rows, 4);
        assert_int_equal(counts(engine).cache_hits, 0);
        const uint64_t before = counts(engine).cache_parts + counts(engine).cache_misses;
        for (int q = 0; q < 3; q++) {
            sella_ranked got[ITEMS], want[ITEMS];
            int count, wanted;
            CHECK(sella_engine_rank(engine, &request[q], &(sella_rank_options){.k = ITEMS}, got,
                                    &count, err));
            CHECK(sella_engine_rank(plain, &request[q], &(sella_rank_options){.k = ITEMS}, want,
                                    &wanted, err));
            assert_int_equal(count, wanted);
            for (int i = 0; i < count; i++) {
                double score;
                near(got[i].score, want[i].score, run_path[r]);
                CHECK(sella_engine_score(plain, &request[q], &got[i].item, 1, &score, err));
                near(got[i].score, score, got[i].item);
            }
        }
        assert_int_equal(counts(engine).cache_hits, 3);
        assert_int_equal(counts(engine).cache_parts + counts(engine).cache_misses, before);
        sella_engine_close(engine);
        sella_engine_close(plain);
    }
    sella_engine *engine = open_engine(0, 0);
    sella_err why = {0};
    const char unknown[] = "history\ni3\nno such film\n", neither[] = "a,b\n1,2\n",
               broken[] = "user,history\nu1\n";
    CHECK(sella_write_file(path, unknown, sizeof unknown - 1, err));
    assert_int_equal(sella_engine_warm(engine, path, NULL, &why), SELLA_MISSING);
    assert_non_null(strstr(why.text, "warm.csv:3"));
    CHECK(sella_write_file(path, neither, sizeof neither - 1, err));
    assert_int_equal(sella_engine_warm(engine, path, NULL, &why), SELLA_FORMAT);
    CHECK(sella_write_file(path, broken, sizeof broken - 1, err));
    assert_int_equal(sella_engine_warm(engine, path, NULL, &why), SELLA_FORMAT);
    assert_int_equal(sella_engine_warm(engine, "nowhere.csv", NULL, &why), SELLA_MISSING);
    sella_engine_close(engine);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(served_is_evaluated),
        cmocka_unit_test(growing_histories),
        cmocka_unit_test(one_title_more),
        cmocka_unit_test(warmed),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
