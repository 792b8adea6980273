/* test_methods_hidden.c - stages with train.cache_hidden: the same bytes and the same losses with
 * and without it, killed or not; every tree is computed once and read ever after; what is on disk
 * is never trusted; nothing stays behind. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "methods/lm_stage.h"
#include "methods_fixture.h"

/* Many batches a step, many steps an epoch; an adapter on the second of the two layers. */
#define COMMON                                                                                     \
    "lora.first_layer=1", "lora.dropout=0.1", "stage1.epochs=3", "stage1.batch=20",                \
        "stage1.evaluate=5", "stage1.lr=1e-2", "train.tokens=256", "stage1.tree_cap=160",          \
        "history.length=3", "history.window=sliding", "checkpoint.seconds=0", "eval.rows=30"
static const char *const with[] = {COMMON, "train.cache_hidden=auto", NULL};
static const char *const without[] = {COMMON, "train.cache_hidden=no", NULL};
static const char *const asked[] = {COMMON, "train.cache_hidden=yes", NULL};
static char *folder, *dataset, *plain; // plain: the run without

static int setup(void **state)
{
    const fixture_shape shape = {.users = 12, .items = 20, .train = 160, .valid = 60, .seed = 8};
    (void)state;
    scratch_in_memory();
    folder = fixture_folder(&shape, &dataset);
    plain = sella_path_join(folder, "plain", NULL);
    fixture_train_ok("tallrec", dataset, plain, NULL, NULL, without);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_remove(folder);
    free(dataset);
    free(plain);
    return 0;
}

/* ---- what a training says, and when it stops ---- */

typedef struct listener {
    char text[32768];
    int steps_left; // calls of stop until it says yes; -1: never
} listener;

static void hear(void *user, sella_level level, const char *line)
{
    listener *l = user;
    (void)level;
    const size_t used = strlen(l->text);
    snprintf(l->text + used, sizeof l->text - used, "%s\n", line);
}

static int stop(void *user)
{
    listener *l = user;
    return l->steps_left >= 0 && l->steps_left-- == 0;
}

static sella_status train(const char *run, const char *const *set, bool resume, listener *l,
                          sella_err *err)
{
    const sella_talk talk = {.line = hear, .stop = stop, .user = l};
    l->text[0] = '\0';
    return fixture_train("tallrec", dataset, run, NULL, NULL, resume, set, &talk, err);
}

static void train_ok(const char *run, const char *const *set, bool resume, listener *l)
{
    sella_err err;
    if (train(run, set, resume, l, &err) != SELLA_OK) {
        fail_msg("%s", err.text);
    }
}

static bool said(const listener *l, const char *text)
{
    return strstr(l->text, text) != NULL;
}

static char *cache_of(const char *run, const char *split)
{
    char name[80];
    snprintf(name, sizeof name, "stages/stage1/hidden-%s.bin", split);
    return sella_path_join(run, name, NULL);
}

/* metrics.jsonl without seconds, as one text; free(). */
static char *records(const char *run)
{
    char *path = sella_path_join(run, "metrics.jsonl", NULL), *all = calloc(1, 1 << 16), line[4096];
    size_t used = 0;
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        json_t *record = json_loads(line, 0, NULL);
        assert_non_null(record);
        json_object_del(record, "seconds");
        char *text = json_dumps(record, JSON_COMPACT | JSON_SORT_KEYS);
        used += (size_t)snprintf(all + used, (1 << 16) - used, "%s\n", text);
        assert_true(used < 1 << 16);
        free(text);
        json_decref(record);
    }
    fclose(file);
    free(path);
    return all;
}

/* The adapter, the intercept, every loss and every score of `run` are those of the plain one;
 * nothing is left on disk. */
static void expect_plain(const char *run)
{
    char *a = records(plain), *b = records(run), *train_file = cache_of(run, "train"),
         *valid_file = cache_of(run, "valid");
    assert_string_equal(a, b);
    assert_non_null(strstr(a, "\"epoch\":3"));
    assert_true(fixture_same(plain, run, "adapter/adapter_model.safetensors"));
    assert_true(fixture_same(plain, run, "collab.safetensors"));
    assert_true(fixture_same(plain, run, "predictions-valid.csv"));
    assert_false(sella_path_exists(train_file));
    assert_false(sella_path_exists(valid_file));
    free(a);
    free(b);
    free(train_file);
    free(valid_file);
}

/* Stop a training at its stop-th question, which must leave files of hidden states. */
static char *begun(const char *name, int stops, listener *l)
{
    char *run = sella_path_join(folder, name, NULL), *file = cache_of(run, "train");
    sella_err err;
    l->steps_left = stops;
    assert_int_equal(train(run, with, false, l, &err), SELLA_INTERRUPTED);
    assert_true(sella_path_exists(file));
    free(file);
    l->steps_left = -1;
    return run;
}

/* ---- tests ---- */

static void the_same_bytes(void **state)
{
    (void)state;
    static listener l = {.steps_left = -1};
    char *run = sella_path_join(folder, "with", NULL);
    train_ok(run, with, false, &l);
    assert_true(said(&l, "stage1: what enters layer 1 is kept on disk between epochs: "
                         "stages/stage1/hidden-train.bin, "));
    assert_true(said(&l, "hidden-valid.bin"));
    /* every tree is written once and read in the two epochs after the first */
    int trees, read, written;
    const char *line = strstr(l.text, " MB, 0 of "),
               *end = strstr(l.text, "stage1: hidden states were read");
    assert_true(line && end && sscanf(line, " MB, 0 of %d trees", &trees) == 1);
    assert_int_equal(sscanf(end,
                            "stage1: hidden states were read from disk %d times, written %d times",
                            &read, &written),
                     2);
    assert_int_equal(written, trees);
    /* those of the first step also before training */
    assert_true(read >= 2 * trees && read < 3 * trees);
    expect_plain(run);
    free(run);
    run = sella_path_join(folder, "yes", NULL);
    train_ok(run, asked, false, &l);
    expect_plain(run);
    free(run);
}

/* Stopped after every few steps, in every epoch; with the same files, without them, and with all
 * their numbers spoilt. */
static void stopped_anywhere(void **state)
{
    (void)state;
    static listener l;
    for (int damage = 0; damage < 3; damage++) {
        char name[32];
        snprintf(name, sizeof name, "stopped-%d", damage);
        char *run = begun(name, 4, &l), *file = cache_of(run, "train");
        int stops = 1, full = 0;
        for (;; stops++) {
            sella_err err;
            assert_true(stops < 100);
            if (damage == 1) {
                assert_int_equal(sella_path_remove(file, NULL), SELLA_OK);
            } else if (damage == 2 && sella_path_exists(file)) {
                struct stat info;
                assert_int_equal(stat(file, &info), 0);
                FILE *f = fopen(file, "r+b");
                for (long at = 4096; at < info.st_size; at += 64) {
                    fseek(f, at, SEEK_SET);
                    fputc('?', f);
                }
                fclose(f);
            }
            l.steps_left = 5;
            const sella_status status = train(run, with, true, &l, &err);
            int there = -1, of = -2;
            const char *line = strstr(l.text, "hidden-train.bin, ");
            if (line && sscanf(line, "hidden-train.bin, %*f MB, %d of %d trees are there", &there,
                               &of) == 2) {
                full += there == of;
                assert_true(damage != 1 || there == 0);
            }
            if (status == SELLA_OK) {
                break;
            }
            assert_int_equal(status, SELLA_INTERRUPTED);
        }
        assert_true(stops > 6);
        /* after the first epoch all trees are there */
        assert_true(damage == 1 ? full == 0 : full > 2);
        expect_plain(run);
        free(run);
        free(file);
    }
}

/* A cache of another model in our place, a truncated one, a folder: none is used, the result is the
 * same. */
static void foreign_files(void **state)
{
    (void)state;
    static listener l;
    sella_err err;
    char *run = begun("foreign", 9, &l), *file = cache_of(run, "train");
    assert_int_equal(truncate(file, 5000), 0);
    l.steps_left = 6;
    assert_int_equal(train(run, with, true, &l, &err), SELLA_INTERRUPTED);
    assert_true(said(&l, " 0 of "));
    /* the fingerprint of the backbone stands behind 8 + 4 x 4 + 2 x 8 bytes */
    FILE *f = fopen(file, "r+b");
    assert_non_null(f);
    fseek(f, 40, SEEK_SET);
    fputs("0123456789abcdef", f);
    fclose(f);
    l.steps_left = 6;
    assert_int_equal(train(run, with, true, &l, &err), SELLA_INTERRUPTED);
    assert_true(said(&l, " 0 of "));
    assert_int_equal(sella_path_remove(file, NULL), SELLA_OK);
    assert_int_equal(mkdir(file, 0700), 0);
    l.steps_left = -1;
    train_ok(run, with, true, &l);
    assert_true(said(&l, "stage1: hidden states are computed again in every epoch: "));
    assert_true(said(&l, "hidden-train.bin: could not be written: Is a directory"));
    expect_plain(run);
    free(run);
    free(file);
}

/* No room: auto does without and says so, yes refuses with the figures. */
static void no_room(void **state)
{
    (void)state;
    static listener l = {.steps_left = -1};
    sella_err err;
    struct rlimit before;
    char *run = sella_path_join(folder, "no-room", NULL),
         *refused = sella_path_join(folder, "refused", NULL);
    char *file = cache_of(refused, "train");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){100000, before.rlim_max}), 0);
    const sella_status first = train(run, with, false, &l, &err);
    const bool told = said(&l, "stage1: hidden states are computed again in every epoch: ") &&
                      said(&l, "of the disk can be had");
    const sella_status second = train(refused, asked, false, &l, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(first, SELLA_OK);
    assert_true(told);
    expect_plain(run);
    assert_int_equal(second, SELLA_IO);
    assert_non_null(strstr(err.text, "hidden-train.bin: the hidden states of "));
    assert_non_null(strstr(err.text, "train.cache_hidden=auto does without"));
    assert_false(sella_path_exists(file));
    train_ok(refused, asked, true, &l); // there is room again
    expect_plain(refused);
    free(run);
    free(refused);
    free(file);
}

/* Nothing is written where nothing would be read again, or where nothing is frozen. */
static void nothing_to_keep(void **state)
{
    (void)state;
    static const char *const once[] = {"lora.first_layer=1", "stage1.batch=40",
                                       "checkpoint.seconds=1000", NULL};
    static const char *const all[] = {"stage1.epochs=2", "stage1.batch=40", NULL};
    static const char *const wrong[] = {"train.cache_hidden=yes", NULL};
    static listener l = {.steps_left = -1};
    sella_err err;
    char *run = sella_path_join(folder, "once", NULL);
    train_ok(run, once, false, &l);
    assert_false(said(&l, "on disk"));
    free(run);
    run = sella_path_join(folder, "all-layers", NULL);
    train_ok(run, all, false, &l);
    assert_false(said(&l, "on disk"));
    free(run);
    run = sella_path_join(folder, "wrong", NULL);
    assert_int_equal(train(run, wrong, false, &l, &err), SELLA_ARG);
    assert_string_equal(err.text, "train.cache_hidden=yes with lora.first_layer=0: below the first "
                                  "layer there is nothing to keep");
    assert_false(sella_path_exists(run));
    free(run);
}

/* Prompts that name users by codes are tokens, too: the adapter's second training (binllm) takes
 * part; prompts with soft tokens do not. */
static void other_stages(void **state)
{
    (void)state;
    static const char *const both[][14] = {
        {"lora.first_layer=1", "stage1.epochs=2", "stage3.epochs=2", "stage1.batch=40",
         "stage3.batch=40", "collab.width=8", "collab.epochs=3", "collab.batch=80", "eval.rows=30",
         "checkpoint.seconds=1000", "lora.start=stage1", "train.cache_hidden=auto", NULL},
        {"lora.first_layer=1", "stage1.epochs=2", "stage3.epochs=2", "stage1.batch=40",
         "stage3.batch=40", "collab.width=8", "collab.epochs=3", "collab.batch=80", "eval.rows=30",
         "checkpoint.seconds=1000", "lora.start=stage1", "train.cache_hidden=no", NULL}};
    static const char *const methods[] = {"binllm", "prompt4nr"};
    for (int m = 0; m < 2; m++) {
        char *run[2];
        static listener l = {.steps_left = -1};
        for (int w = 0; w < 2; w++) {
            char name[32];
            snprintf(name, sizeof name, "%s-%d", methods[m], w);
            run[w] = sella_path_join(folder, name, NULL);
            const sella_talk talk = {.line = hear, .user = &l};
            sella_err err;
            l.text[0] = '\0';
            if (fixture_train(methods[m], dataset, run[w], NULL, NULL, false, both[w], &talk,
                              &err) != SELLA_OK) {
                fail_msg("%s", err.text);
            }
            assert_int_equal(said(&l, "stage1: what enters layer 1 is kept on disk"), w == 0);
            assert_int_equal(said(&l, "binllm: what enters layer 1 is kept on disk"),
                             w == 0 && m == 0);
            assert_false(said(&l, "prompt4nr: what enters"));
        }
        for (int i = 0; fixture_artifacts[i]; i++) {
            char *path = sella_path_join(run[0], fixture_artifacts[i], NULL);
            assert_true(!sella_path_exists(path) ||
                        fixture_same(run[0], run[1], fixture_artifacts[i]));
            free(path);
        }
        free(run[0]);
        free(run[1]);
    }
}

int main(void)
{
    sella_threads_set(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_bytes),  cmocka_unit_test(stopped_anywhere),
        cmocka_unit_test(foreign_files),   cmocka_unit_test(no_room),
        cmocka_unit_test(nothing_to_keep), cmocka_unit_test(other_stages),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
