/* test_methods_resume.c - a run that is killed again and again, at any moment of any stage, ends
 * with the bytes of one that was not. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "methods_fixture.h"

static const char *const settings[] = {"stage1.batch=20",
                                       "stage3.batch=20",
                                       "stage2.epochs=5",
                                       "stage2.batch=64",
                                       "collab.width=8",
                                       "collab.batch=64",
                                       "collab.epochs=12",
                                       "proj.hidden=12",
                                       "stage1.evaluate=3",
                                       "stage3.evaluate=4",
                                       "checkpoint.seconds=0",
                                       "eval.rows=50",
                                       NULL};
static const char *const adam[] = {"collab.optimizer=adam", "collab.width=8",
                                   "collab.batch=64",       "collab.epochs=12",
                                   "checkpoint.seconds=0",  NULL};
/* Of sella over the other collaborative models. */
#define SMALL                                                                                      \
    "stage1.batch=40", "stage3.batch=20", "stage2.epochs=4", "stage2.batch=64", "collab.width=8",  \
        "proj.hidden=12", "stage3.evaluate=4", "checkpoint.seconds=0", "eval.rows=30"
static char *folder, *dataset;

static int setup(void **state)
{
    const fixture_shape shape = {.users = 12, .items = 20, .train = 160, .valid = 60, .seed = 8};
    (void)state;
    sella_threads_set(1); // children are forked: no pool of threads may be open here
    scratch_in_memory();
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

static void wait_microseconds(long n)
{
    struct timespec time = {n / 1000000, n % 1000000 * 1000};
    nanosleep(&time, NULL);
}

/* Train in a child that is killed after some time; true when it came to its end before. */
static bool killed_round(const char *method, const char *run, const char *const *set,
                         long microseconds)
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        sella_err err;
        int failed =
            fixture_train(method, dataset, run, NULL, NULL, true, set, NULL, &err) != SELLA_OK;
        if (failed) {
            fprintf(stderr, "child: %s\n", err.text);
        }
        _exit(failed);
    }
    /* not killed when it is done already */
    for (long waited = 0; waited < microseconds; waited += 1000) {
        int how;
        if (waitpid(child, &how, WNOHANG) == child) {
            assert_true(WIFEXITED(how));
            assert_int_equal(WEXITSTATUS(how), 0);
            return true;
        }
        wait_microseconds(1000);
    }
    kill(child, SIGKILL);
    int how;
    assert_int_equal(waitpid(child, &how, 0), child);
    if (WIFEXITED(how)) {
        assert_int_equal(WEXITSTATUS(how), 0);
        return true;
    }
    return false;
}

/* metrics.jsonl without the seconds. */
static void expect_same_records(const char *a, const char *b)
{
    char *paths[2] = {sella_path_join(a, "metrics.jsonl", NULL),
                      sella_path_join(b, "metrics.jsonl", NULL)};
    FILE *file[2] = {fopen(paths[0], "r"), fopen(paths[1], "r")};
    char line[2][4096];
    assert_non_null(file[0]);
    assert_non_null(file[1]);
    for (;;) {
        bool more = fgets(line[0], sizeof line[0], file[0]) != NULL;
        assert_int_equal(fgets(line[1], sizeof line[1], file[1]) != NULL, more);
        if (!more) {
            break;
        }
        json_t *x[2];
        for (int i = 0; i < 2; i++) {
            x[i] = json_loads(line[i], 0, NULL);
            assert_non_null(x[i]);
            json_object_del(x[i], "seconds");
        }
        if (!json_equal(x[0], x[1])) {
            fail_msg("records differ: %s and %s", line[0], line[1]);
        }
        json_decref(x[0]);
        json_decref(x[1]);
    }
    for (int i = 0; i < 2; i++) {
        fclose(file[i]);
        free(paths[i]);
    }
}

/* What methods with features keep of the stages before. */
static const char *const kept[] = {"stages/stage1/adapter/adapter_model.safetensors",
                                   "stages/collab/collab.safetensors",
                                   "stages/codes/collab.safetensors", NULL};

static void expect_same_files(const char *a, const char *b, const char *const *names)
{
    for (int i = 0; names[i]; i++) {
        char *path = sella_path_join(a, names[i], NULL);
        if (sella_path_exists(path) && !fixture_same(a, b, names[i])) {
            fail_msg("%s differs between %s and %s", names[i], a, b);
        }
        free(path);
    }
}

static void expect_same_run(const char *a, const char *b)
{
    expect_same_files(a, b, fixture_artifacts);
    expect_same_files(a, b, kept);
    expect_same_records(a, b);
    char *left = sella_path_join(b, "checkpoints", NULL);
    assert_false(sella_path_exists(left));
    free(left);
}

static void killed(const char *method, const char *label, const char *const *set, int rounds,
                   unsigned seed)
{
    char name[64];
    snprintf(name, sizeof name, "%s-whole", label);
    char *whole = sella_path_join(folder, name, NULL);
    if (!sella_path_exists(whole)) {
        fixture_train_ok(method, dataset, whole, NULL, NULL, set);
    }
    for (int round = 0; round < rounds; round++) {
        int kills = 0;
        snprintf(name, sizeof name, "%s-killed-%d", label, round);
        char *run = sella_path_join(folder, name, NULL);
        while (!killed_round(method, run, set,
                             3000 + (long)(fixture_draw(&seed) % 20000) * (1 + kills / 20))) {
            assert_true(++kills < 500);
        }
        print_message("%s: killed %d times\n", label, kills);
        expect_same_run(whole, run);
        free(run);
    }
    free(whole);
}

static void test_sella(void **state)
{
    (void)state;
    static const char *const graph[] = {"collab.model=lightgcn", SMALL, NULL};
    static const char *const target[] = {"collab.model=din", SMALL, NULL};
    killed("sella", "sella", settings, 4, 17);
    killed("sella", "sella-lightgcn", graph, 1, 43);
    killed("sella", "sella-din", target, 1, 47);
}

static void test_mf(void **state)
{
    (void)state;
    killed("mf", "mf", settings, 3, 29); // the default: stochastic gradients
    killed("mf", "mf-adam", adam, 2, 31);
}

/* Dropout, negatives and what is derived from the trained tables are functions of seed, epoch and
 * step. */
static void test_models(void **state)
{
    static const char *const sasrec[] = {
        "collab.width=8",  "collab.batch=64",         "collab.epochs=6",      "collab.dropout=0.3",
        "sasrec.blocks=2", "collab.history_length=6", "checkpoint.seconds=0", NULL};
    static const char *const bpr[] = {"collab.width=8",       "collab.batch=32",
                                      "collab.epochs=8",      "lightgcn.loss=bpr",
                                      "checkpoint.seconds=0", NULL};
    static const char *const din[] = {"collab.width=8",
                                      "collab.batch=64",
                                      "collab.epochs=6",
                                      "collab.dropout=0.3",
                                      "din.hide=0.2",
                                      "checkpoint.seconds=0",
                                      NULL};
    static const char *const ctrl[] = {
        "collab.width=8", "collab.batch=64", "collab.epochs=3",      "train.rows=80",
        "ctrl.epochs=3",  "ctrl.batch=32",   "checkpoint.seconds=0", NULL};
    (void)state;
    killed("sasrec", "sasrec", sasrec, 1, 37);
    killed("lightgcn", "lightgcn", bpr, 1, 41);
    killed("din", "din", din, 1, 43); // running statistics too
    killed("ctrl-din", "ctrl-din", ctrl, 1, 47);
}

static void test_tallrec(void **state)
{
    (void)state;
    killed("tallrec", "tallrec", settings, 3, 23);
}

/* Stage 1, what the method has of its own, and the stage with features. */
static void test_features(void **state)
{
    static const char *const both[] = {"stage1.batch=40",
                                       "stage3.batch=40",
                                       "collab.width=8",
                                       "collab.epochs=6",
                                       "collab.batch=80",
                                       "stage3.evaluate=3",
                                       "lora.start=stage1",
                                       "collm.train=proj+collab",
                                       "checkpoint.seconds=0",
                                       "eval.rows=50",
                                       NULL};
    (void)state;
    killed("prompt4nr", "prompt4nr", both, 1, 41);
    killed("personprompt", "personprompt", both, 1, 43);
    killed("collm", "collm", both, 1, 47);
    killed("binllm", "binllm", both, 1, 53);
}

/* Ctrl-C: the caller's stop leaves a checkpoint and says so; a complete run is left alone. */
typedef struct patience {
    int left;
} patience;

static int stop(void *user)
{
    patience *p = user;
    return --p->left < 0;
}

/* How the weights are kept is recorded and taken again; so small a model gives the same bytes
 * either way. */
static void test_weights(void **state)
{
    sella_err why;
    char *json = NULL, *whole = sella_path_join(folder, "tallrec-whole", NULL),
         *run = sella_path_join(folder, "stored", NULL),
         *file = sella_path_join(run, "run.json", NULL);
    patience p = {.left = 7};
    const sella_talk talk = {.stop = stop, .user = &p};
    sella_train_options options = {.method = "tallrec",
                                   .dataset = dataset,
                                   .run = run,
                                   .model = TINY_MODEL,
                                   .set = settings,
                                   .set_count = sizeof settings / sizeof *settings - 1,
                                   .seed = 5,
                                   .threads = 1,
                                   .weights = "stored"};
    (void)state;
    if (!sella_path_exists(whole)) {
        fixture_train_ok("tallrec", dataset, whole, NULL, NULL, settings);
    }
    assert_int_equal(sella_train(&options, &talk, &json, &why), SELLA_INTERRUPTED);
    json_t *document = NULL;
    CHECK(sella_json_load(file, 1 << 20, &document, err));
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(document, "decided"), "weights.stored")),
        1);
    json_decref(document);
    options.resume = 1;
    options.weights = "expanded";
    assert_int_equal(sella_train(&options, NULL, &json, &why), SELLA_STATE);
    assert_non_null(
        strstr(why.text, "was begun with --weights stored; --resume was asked for expanded"));
    options.weights = "auto"; /* there is room to expand it, but it was begun otherwise */
    if (sella_train(&options, NULL, &json, &why) != SELLA_OK) {
        fail_msg("%s", why.text);
    }
    expect_same_run(whole, run);
    CHECK(sella_json_load(file, 1 << 20, &document, err));
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(document, "decided"), "weights.stored")),
        1);
    json_decref(document);
    free(json);
    json = NULL;
    options =
        (sella_train_options){.method = "mf", .dataset = dataset, .run = run, .weights = "stored"};
    assert_int_equal(sella_train(&options, NULL, &json, &why), SELLA_ARG);
    assert_string_equal(why.text, "method mf has no language model whose weights could be stored");
    free(whole);
    free(run);
    free(file);
}

static void test_interrupted(void **state)
{
    sella_err why;
    (void)state;
    char *whole = sella_path_join(folder, "sella-whole", NULL),
         *run = sella_path_join(folder, "stopped", NULL);
    int stops = 0;
    for (;;) {
        patience p = {.left = 7};
        const sella_talk talk = {.stop = stop, .user = &p};
        sella_status status =
            fixture_train("sella", dataset, run, NULL, NULL, true, settings, &talk, &why);
        if (status == SELLA_OK) {
            break;
        }
        if (status != SELLA_INTERRUPTED) {
            fail_msg("%s", why.text);
        }
        assert_true(++stops < 200);
    }
    assert_true(stops > 5);
    expect_same_run(whole, run);
    char *result = sella_path_join(run, "result.json", NULL);
    uint64_t before, after;
    CHECK(sella_hash_file(result, &before, err));
    assert_int_equal(fixture_train("sella", dataset, run, NULL, NULL, true, settings, NULL, &why),
                     SELLA_OK);
    CHECK(sella_hash_file(result, &after, err));
    assert_true(before == after);
    free(result);
    free(whole);
    free(run);
}

/* --resume refuses what would make another run. */
static void test_other_run(void **state)
{
    sella_err why;
    (void)state;
    char *run = sella_path_join(folder, "sella-whole", NULL),
         *data = sella_path_join(folder, "data2", NULL);
    const char *const other[] = {"stage1.batch=21", NULL};
    assert_int_equal(fixture_train("sella", dataset, run, NULL, NULL, true, other, NULL, &why),
                     SELLA_STATE);
    assert_non_null(strstr(why.text, "stage1.batch"));
    assert_int_equal(fixture_train("tallrec", dataset, run, NULL, NULL, true, NULL, NULL, &why),
                     SELLA_STATE);
    assert_int_equal(fixture_train("sella", dataset, run, "paper", NULL, true, NULL, NULL, &why),
                     SELLA_STATE);
    const fixture_shape shape = {.users = 12, .items = 20, .train = 160, .valid = 60, .seed = 9};
    fixture_dataset(data, &shape);
    assert_int_equal(fixture_train("sella", data, run, NULL, NULL, true, NULL, NULL, &why),
                     SELLA_STATE);
    assert_non_null(strstr(why.text, "checksum"));
    free(run);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sella),
        cmocka_unit_test(test_mf), cmocka_unit_test(test_models),
        cmocka_unit_test(test_tallrec),
        cmocka_unit_test(test_features),
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_interrupted),
        cmocka_unit_test(test_other_run),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
