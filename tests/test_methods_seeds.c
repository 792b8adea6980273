/* test_methods_seeds.c - several seeds and grids of settings: each run is the one that train alone
 * makes, what is finished is reused, what was stopped goes on, and other sweeps are refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "methods/seeds.h"
#include "methods_fixture.h"
#include "sella/engine.h"

static char *folder, *data;
static const char *const set[] = {"collab.epochs=3", "collab.width=8"};

static int setup(void **state)
{
    const fixture_shape shape = {.users = 12, .items = 20, .train = 300, .valid = 120, .seed = 4};
    (void)state;
    folder = fixture_folder(&shape, &data);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_remove(folder);
    free(data);
    return 0;
}

static char *in(const char *name)
{
    return sella_path_join(folder, name, NULL);
}

static sella_train_options options_of(const char *run)
{
    return (sella_train_options){
        .method = "mf", .dataset = data, .run = run, .set = set, .set_count = 2, .threads = 1};
}

static json_t *parsed(char *json)
{
    json_t *object = json ? json_loads(json, 0, NULL) : NULL;
    free(json);
    assert_non_null(object);
    return object;
}

static double real_of(const json_t *object, const char *key)
{
    assert_true(json_is_number(json_object_get(object, key)));
    return json_number_value(json_object_get(object, key));
}

/* Stop the second training that begins. */
static int stop_second(void *user)
{
    return *(int *)user >= 2;
}

static void count_seeds(void *user, sella_level level, const char *line)
{
    (void)level;
    *(int *)user += strncmp(line, "seed ", 5) == 0 || strncmp(line, "point ", 6) == 0;
}

static void test_seeds(void **state)
{
    (void)state;
    static const uint64_t seed[] = {3, 0, 11};
    char *dir = in("seeds"), *alone = in("alone"), *three = sella_seeds_path(dir, 3), *json = NULL,
         *file = sella_path_join(dir, "summary.json", NULL);
    sella_train_options options = options_of(dir), single = options_of(alone);
    sella_err why = {0};
    int begun = 0;
    const sella_talk talk = {.line = count_seeds, .stop = stop_second, .user = &begun};
    assert_int_equal(sella_train_seeds(&options, seed, 3, &talk, &json, &why), SELLA_INTERRUPTED);
    assert_false(sella_path_exists(file));
    /* without --resume */
    assert_int_equal(sella_train_seeds(&options, seed, 3, NULL, &json, &why), SELLA_STATE);
    options.resume = 1;
    CHECK(sella_train_seeds(&options, seed, 3, NULL, &json, err));
    json_t *summary = parsed(json), *runs = json_object_get(summary, "runs");
    assert_int_equal(json_array_size(runs), 3);
    // a run of a seed is what train makes with it
    single.seed = 3;
    CHECK(sella_train(&single, NULL, &json, err));
    json_t *one = parsed(json);
    assert_true(real_of(json_array_get(runs, 0), "auc") == real_of(one, "auc"));
    assert_true(fixture_same(alone, three, "collab.safetensors") &&
                fixture_same(alone, three, "predictions-valid.csv"));
    // mean and deviation from the runs
    double mean = 0, squares = 0;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal((int)real_of(json_array_get(runs, i), "seed"), (int)seed[i]);
        mean += real_of(json_array_get(runs, i), "auc") / 3;
    }
    for (size_t i = 0; i < 3; i++) {
        squares += pow(real_of(json_array_get(runs, i), "auc") - mean, 2);
    }
    assert_true(squares > 0 &&
                fabs(real_of(json_object_get(summary, "mean"), "auc") - mean) < 1e-12);
    assert_true(fabs(real_of(json_object_get(summary, "sd"), "auc") - sqrt(squares / 2)) < 1e-12);
    assert_true(json_is_real(json_object_get(json_object_get(summary, "mean"), "logloss")));
    // evaluating all of them on the rows they were measured on gives the same
    assert_int_equal(sella_seeds_there(dir), 3);
    assert_int_equal(sella_seeds_there(alone), 0);
    const sella_eval_options valid = {.split = "valid"};
    CHECK(sella_eval_seeds(dir, NULL, &valid, &json, err));
    json_t *again = parsed(json);
    assert_true(fabs(real_of(json_object_get(again, "mean"), "uauc") -
                     real_of(json_object_get(summary, "mean"), "uauc")) < 1e-12);
    /* ascending */
    assert_int_equal(json_integer_value(json_array_get(json_object_get(again, "seeds"), 2)), 11);
    const sella_eval_options named = {.split = "valid", .predictions = "x.csv"};
    assert_int_equal(sella_eval_seeds(dir, NULL, &named, &json, &why), SELLA_ARG);
    assert_int_equal(sella_eval_seeds(alone, NULL, &valid, &json, &why), SELLA_MISSING);
    // wrong seeds, a folder that is a run
    static const uint64_t twice[] = {1, 2, 1};
    assert_int_equal(sella_train_seeds(&options, twice, 3, NULL, &json, &why), SELLA_ARG);
    assert_int_equal(sella_train_seeds(&options, twice, 0, NULL, &json, &why), SELLA_ARG);
    options.run = alone;
    assert_int_equal(sella_train_seeds(&options, seed, 3, NULL, &json, &why), SELLA_STATE);
    json_decref(summary), json_decref(one), json_decref(again);
    free(dir), free(alone), free(three), free(file);
}

/* Has the file the same bytes as before? result.json has the seconds of its own training. */
static bool same_file(const char *dir, const char *name, uint64_t *hash)
{
    char *path = sella_path_join(dir, name, NULL);
    const uint64_t before = *hash;
    assert_int_equal(sella_hash_file(path, hash, NULL), SELLA_OK);
    free(path);
    return before == *hash;
}

static void test_sweep(void **state)
{
    (void)state;
    static const char *const grid[] = {"collab.lr=0.003,0.03", "collab.weight_decay=0;1e-4"};
    static const char *const bad[][2] = {{"collab.lr", ""},
                                         {"=1,2", "key=a,b,c"},
                                         {"collab.lr=1e-3,,2e-3", "empty value"},
                                         {"collab.lr=1e-3,1e-3", "twice"},
                                         {"collab.lrr=1,2", "unknown setting"},
                                         {"collab.lr=1e-3,fast", "not a number"},
                                         {"collab.width=8,16", "--set and by --grid"}};
    char *dir = in("sweep"), *other = in("other"), *json = NULL;
    sella_train_options options = options_of(dir);
    sella_err why = {0};
    int begun = 0;
    const sella_talk talk = {.line = count_seeds, .stop = stop_second, .user = &begun};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        options.run = other;
        assert_int_equal(sella_sweep(&options, bad[i], 1, NULL, 0, NULL, &json, &why), SELLA_ARG);
        assert_non_null(strstr(why.text, bad[i][1]));
        assert_null(json);
        assert_false(sella_path_exists(other)); // told before anything is made
    }
    options.run = dir;
    assert_int_equal(sella_sweep(&options, grid, 2, NULL, 0, &talk, &json, &why),
                     SELLA_INTERRUPTED);
    char *first = sella_path_join(dir, "collab.lr=0.003,collab.weight_decay=0", NULL);
    uint64_t hash = 0;
    same_file(first, "result.json", &hash);
    CHECK(sella_sweep(&options, grid, 2, NULL, 0, NULL, &json, err));
    assert_true(same_file(first, "result.json", &hash)); // reused: its seconds are those of before
    json_t *sweep = parsed(json), *points = json_object_get(sweep, "points");
    assert_int_equal(json_array_size(points), 4);
    static const char *const names[] = {
        "collab.lr=0.003,collab.weight_decay=0", "collab.lr=0.003,collab.weight_decay=1e-4",
        "collab.lr=0.03,collab.weight_decay=0", "collab.lr=0.03,collab.weight_decay=1e-4"};
    double most = -1;
    const char *best = NULL;
    for (size_t p = 0; p < 4; p++) {
        const json_t *row = json_array_get(points, p);
        assert_string_equal(json_string_value(json_object_get(row, "name")), names[p]);
        char *run = sella_path_join(dir, names[p], NULL),
             *result = sella_path_join(run, "result.json", NULL);
        json_t *figures = json_load_file(result, 0, NULL);
        assert_true(real_of(figures, "auc") == real_of(row, "auc")); // its own run's
        if (real_of(row, "auc") > most) {
            most = real_of(row, "auc");
            best = names[p];
        }
        json_decref(figures);
        free(run), free(result);
    }
    assert_string_equal(json_string_value(json_object_get(sweep, "best")), best);
    // a point is what train makes with these settings
    static const char *const settings[] = {"collab.epochs=3", "collab.width=8", "collab.lr=0.03",
                                           "collab.weight_decay=1e-4"};
    char *alone = in("point");
    sella_train_options single = options_of(alone);
    single.set = settings;
    single.set_count = 4;
    CHECK(sella_train(&single, NULL, &json, err));
    free(json);
    char *fourth = sella_path_join(dir, names[3], NULL);
    assert_true(fixture_same(alone, fourth, "collab.safetensors"));
    /* more values: only these are new; other base settings, another seed, a folder of others are
     * refused */
    static const char *const wider[] = {"collab.lr=0.003,0.1", "collab.weight_decay=0"};
    CHECK(sella_sweep(&options, wider, 2, NULL, 0, NULL, &json, err));
    json_decref(parsed(json));
    assert_true(same_file(first, "result.json", &hash));
    options.set_count = 1;
    assert_int_equal(sella_sweep(&options, grid, 2, NULL, 0, NULL, &json, &why), SELLA_STATE);
    assert_non_null(strstr(why.text, "collab.width"));
    options.set_count = 2;
    options.seed = 9;
    assert_int_equal(sella_sweep(&options, grid, 2, NULL, 0, NULL, &json, &why), SELLA_STATE);
    options.seed = 0;
    options.run = alone;
    assert_int_equal(sella_sweep(&options, grid, 2, NULL, 0, NULL, &json, &why), SELLA_STATE);
    json_decref(sweep);
    free(dir), free(other), free(first), free(fourth), free(alone);
}

/* Points that diverge are told in their rows and do not stop the others: the tiny model with a
 * final norm of 3e38. */
static void test_diverged(void **state)
{
    (void)state;
    static const char *const grid[] = {"stage1.lr=1e-3,2e-3"}, *const files[] = {
                                                                   "config.json", "tokenizer.json",
                                                                   "model.safetensors"};
    char *model = in("huge"), *dir = in("diverged"), *json = NULL;
    CHECK(sella_dir_make(model, err));
    for (size_t i = 0; i < 3; i++) {
        char *from = sella_path_join(TINY_MODEL, files[i], NULL),
             *to = sella_path_join(model, files[i], NULL);
        CHECK(sella_file_copy(from, to, err));
        FILE *file = fopen(to, "r+b");
        const float huge = 3e38f;
        /* model.norm.weight is last */
        assert_int_equal(fseek(file, -32 * (long)sizeof huge, SEEK_END), 0);
        for (int c = 0; i == 2 && c < 32; c++) {
            assert_int_equal(fwrite(&huge, sizeof huge, 1, file), 1);
        }
        assert_int_equal(fclose(file), 0);
        free(from), free(to);
    }
    sella_train_options options = options_of(dir);
    options.method = "tallrec";
    options.model = model;
    options.set_count = 0;
    CHECK(sella_sweep(&options, grid, 1, NULL, 0, NULL, &json, err));
    json_t *sweep = parsed(json);
    for (size_t p = 0; p < 2; p++) {
        const json_t *row = json_array_get(json_object_get(sweep, "points"), p);
        assert_non_null(strstr(json_string_value(json_object_get(row, "error")), "not finite"));
        assert_null(json_object_get(row, "auc"));
    }
    assert_true(json_is_null(json_object_get(sweep, "best")));
    json_decref(sweep);
    free(model), free(dir);
}

/* Seeds make means; a dry run trains nothing. */
static void test_sweep_seeds(void **state)
{
    (void)state;
    static const char *const grid[] = {"collab.lr=0.01,0.05"};
    static const uint64_t seed[] = {0, 1};
    char *dir = in("sweep-seeds"), *json = NULL;
    sella_train_options options = options_of(dir);
    options.dry_run = 1;
    CHECK(sella_sweep(&options, grid, 1, seed, 2, NULL, &json, err));
    json_t *dry = parsed(json);
    assert_false(sella_path_exists(dir));
    assert_int_equal(json_array_size(json_object_get(dry, "points")), 2);
    const json_t *row = json_array_get(json_object_get(dry, "points"), 1);
    assert_true(real_of(row, "seconds") >= 0 && real_of(dry, "seconds") >= real_of(row, "seconds"));
    options.dry_run = 0;
    CHECK(sella_sweep(&options, grid, 1, seed, 2, NULL, &json, err));
    json_t *sweep = parsed(json);
    char *point = sella_path_join(dir, "collab.lr=0.05", NULL),
         *file = sella_path_join(point, "summary.json", NULL);
    json_t *summary = json_load_file(file, 0, NULL);
    row = json_array_get(json_object_get(sweep, "points"), 1);
    assert_int_equal((int)real_of(row, "runs"), 2);
    assert_true(real_of(row, "auc") == real_of(json_object_get(summary, "mean"), "auc"));
    assert_true(real_of(row, "auc_sd") == real_of(json_object_get(summary, "sd"), "auc"));
    json_decref(dry), json_decref(sweep), json_decref(summary);
    free(dir), free(point), free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_seeds), cmocka_unit_test(test_sweep),
                                       cmocka_unit_test(test_diverged),
                                       cmocka_unit_test(test_sweep_seeds)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
