/* test_methods_run.c - run folders, settings of training, samples, queries, tapes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <unistd.h>

#include "methods/estimate.h"
#include "methods/refs.h"
#include "methods/tape.h"
#include "methods_fixture.h"

static char *folder, *path;
static sella_dataset *dataset;

static int setup(void **state)
{
    const fixture_shape shape = {.users = 9, .items = 15, .train = 400, .valid = 90, .seed = 21};
    (void)state;
    folder = fixture_folder(&shape, &path);
    CHECK(sella_dataset_open(path, &dataset, err));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sella_dataset_close(dataset);
    scratch_remove(folder);
    free(path);
    return 0;
}

static sella_settings *defaults(void)
{
    sella_settings *settings = NULL;
    CHECK(sella_training_resolve(sella_method_find("sella"), NULL, NULL, NULL, 0, &settings, err));
    return settings;
}

static sella_run_new make_of(const sella_settings *settings)
{
    return (sella_run_new){.method = "sella",
                           .preset = "default",
                           .settings = settings,
                           .seed = 7,
                           .dataset = dataset,
                           .model_path = "model.gguf",
                           .model_fingerprint = "0123456789abcdef",
                           .threads = 2};
}

/* ---- runs ---- */

static void test_create(void **state)
{
    sella_settings *settings = defaults();
    const sella_run_new make = make_of(settings);
    sella_run *run = NULL, *again = NULL;
    sella_err why = {0};
    int64_t decided;
    (void)state;
    char *where = sella_path_join(folder, "runs/first", NULL);
    CHECK(sella_run_create(where, &make, &run, err));
    assert_int_equal(run->users, dataset->train_users);
    assert_int_equal(run->items, 15);
    assert_int_equal(run->seed, 7);
    assert_false(run->complete);
    for (int32_t u = 0; u < run->users; u++) {
        assert_string_equal(run->user_id[u], dataset->user_id[u]);
        assert_int_equal(sella_run_find_user(run, dataset->user_id[u]), u);
    }
    for (int32_t i = 0; i < run->items; i++) {
        assert_string_equal(run->title[i], dataset->title[i]);
        assert_int_equal(sella_run_find_item(run, dataset->item_id[i]), i);
    }
    assert_int_equal(sella_run_find_user(run, "nobody"), -1);
    char shout[128];
    snprintf(shout, sizeof shout, "%s", run->title[3]);
    for (char *c = shout; *c; c++) {
        *c = *c >= 'a' && *c <= 'z' ? (char)(*c - 32) : *c;
    }
    assert_int_equal(sella_run_find_title(run, shout), 3);
    shout[0] = '_';
    assert_int_equal(sella_run_nearest_title(run, shout), 3);
    CHECK(sella_run_decide(run, "train.rows", 42, &decided, err));
    CHECK(sella_run_decide(run, "train.rows", 43, &decided, err));
    assert_int_equal(decided, 42);
    // a second one in its place, a folder with something in it
    assert_int_equal(sella_run_create(where, &make, &again, &why), SELLA_STATE);
    assert_int_equal(sella_run_create(folder, &make, &again, &why), SELLA_STATE);
    sella_run_close(run);
    CHECK(sella_run_resume(where, &make, &run, err));
    assert_true(sella_run_decided(run, "train.rows", &decided));
    assert_int_equal(decided, 42);
    sella_run_close(run);
    sella_run_new other = make;
    other.threads = 3;
    assert_int_equal(sella_run_resume(where, &other, &run, &why), SELLA_STATE);
    assert_non_null(strstr(why.text, "threads"));
    other = make;
    other.model_fingerprint = "ffffffffffffffff";
    assert_int_equal(sella_run_resume(where, &other, &run, &why), SELLA_STATE);
    other = make;
    other.method = "tallrec";
    assert_int_equal(sella_run_resume(where, &other, &run, &why), SELLA_STATE);
    sella_settings_free(settings);
    free(where);
}

/* Every train user's positives of train and valid, each once, in order of time: counted here from
 * the rows. */
static void test_histories(void **state)
{
    sella_settings *settings = defaults();
    const sella_run_new make = make_of(settings);
    sella_run *run = NULL;
    (void)state;
    char *where = sella_path_join(folder, "runs/histories", NULL);
    CHECK(sella_run_create(where, &make, &run, err));
    for (int32_t u = 0; u < run->users; u++) {
        const int32_t *items;
        int32_t n = sella_run_history(run, u, &items);
        int last = -1;
        bool seen[15] = {false};
        /* the fixture's rows are in order of time */
        for (int s = SELLA_SPLIT_TRAIN; s <= SELLA_SPLIT_VALID; s++) {
            const sella_split *split = &dataset->split[s];
            for (int64_t r = 0; r < split->rows; r++) {
                if (split->user_n[r] == u && split->label_n[r]) {
                    last = split->item_n[r];
                    seen[last] = true;
                }
            }
        }
        for (int32_t j = 0; j < n; j++) {
            assert_true(seen[items[j]]);
        }
        for (int i = 0; i < 15; i++) {
            bool found = false;
            for (int32_t j = 0; j < n; j++) {
                found = found || items[j] == i;
            }
            assert_int_equal(found, seen[i]);
        }
    }
    assert_int_equal(sella_run_history(run, -1, &(const int32_t *){NULL}), 0);
    sella_run_close(run);
    sella_settings_free(settings);
    free(where);
}

/* Damaged run folders: one sentence each, no crash. */
static void test_hostile_runs(void **state)
{
    static const struct {
        const char *file, *text;
    } damage[] = {
        {"run.json", ""},
        {"run.json", "{"},
        {"run.json", "[]"},
        {"run.json", "{\"format\": 2}"},
        {"run.json", "{\"format\": 0}"},
        {"run.json", "{\"format\": true}"},
        {"run.json", "{\"format\": 1, \"method\": \"nothing\"}"},
        {"run.json", "{\"format\": 1, \"format\": 1}"},
        {"users.tsv", "uid\n"},
        {"users.tsv", "uid\nu0\nu0\nu0\nu0\nu0\nu0\nu0\nu0\nu0\n"},
        {"users.tsv", "id\nu0\n"},
        {"items.tsv", "iid\ttitle\ni0\n"},
        {"items.tsv", "\xff\xfe"},
        {"history.npy", "not numpy"},
        {"history_start.npy", ""},
    };
    sella_settings *settings = defaults();
    const sella_run_new make = make_of(settings);
    (void)state;
    for (size_t d = 0; d < sizeof damage / sizeof *damage; d++) {
        sella_run *run = NULL;
        sella_err why = {0};
        char *where = sella_path_join(folder, "runs/hostile", NULL);
        CHECK(sella_run_create(where, &make, &run, err));
        sella_run_close(run);
        free(scratch_file(where, damage[d].file, damage[d].text, strlen(damage[d].text)));
        sella_status status = sella_run_open(where, &run, &why);
        if (status == SELLA_OK || why.text[0] == '\0') {
            fail_msg("damage %zu of %s was accepted", d, damage[d].file);
        }
        assert_null(run);
        CHECK(sella_path_remove(where, err));
        free(where);
    }
    sella_settings_free(settings);
}

/* Damaged records of stages are refused before a stage is skipped because of them. */
static void test_hostile_stages(void **state)
{
    static const char *const text[] = {
        "",
        "{",
        "{\"stage\": \"mf\", \"seconds\": 1.0, \"trained\": [",
        "[]",
        "garbage\n",
        "{}",
        "{\"stage\": \"mf\"}",
        "{\"stage\": \"align\", \"seconds\": 1.0, \"trained\": [], \"frozen\": []}",
        "{\"stage\": \"mf\", \"seconds\": \"x\", \"trained\": [], \"frozen\": []}"};
    sella_settings *settings = defaults();
    const sella_run_new make = make_of(settings);
    sella_run *run = NULL;
    sella_err why = {0};
    (void)state;
    char *where = sella_path_join(folder, "runs/stages", NULL),
         *stages = sella_path_join(where, "stages/mf", NULL);
    CHECK(sella_run_create(where, &make, &run, err));
    CHECK(sella_dir_make(stages, err));
    CHECK(sella_run_stages_check(run, err)); // a stage that is not finished
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
        sella_run *again = NULL;
        free(scratch_file(stages, "done.json", text[i], strlen(text[i])));
        if (sella_run_resume(where, &make, &again, &why) != SELLA_FORMAT) {
            fail_msg("'%s' was accepted: %s", text[i], why.text);
        }
        assert_non_null(strstr(why.text, "done.json"));
        assert_null(again);
    }
    static const char good[] =
        "{\"stage\": \"mf\", \"seconds\": 1.0, \"trained\": [], \"frozen\": [\"a\"]}";
    free(scratch_file(stages, "done.json", good, strlen(good)));
    CHECK(sella_run_stages_check(run, err));
    sella_run_close(run);
    CHECK(sella_run_resume(where, &make, &run, err));
    sella_run_close(run);
    sella_settings_free(settings);
    free(where);
    free(stages);
}

/* Format 1 had a boolean where format 2 has a word; a later format is refused; paths are recorded
 * as seen from everywhere. */
static void test_format(void **state)
{
    static const struct {
        int format;
        const char *was;
        bool residual_bool;
        const char *word; // NULL: refused
    } cases[] = {{1, "true", true, "yes"},       {1, "false", true, "no"},
                 {1, "\"bias\"", false, "bias"}, {2, "\"yes\"", false, "yes"},
                 {2, "true", true, NULL},        {3, "\"yes\"", false, NULL}};
    sella_settings *settings = defaults();
    sella_run_new make = make_of(settings);
    sella_run *run = NULL;
    sella_err why = {0};
    (void)state;
    char *where = sella_path_join(folder, "runs/format", NULL),
         *file = sella_path_join(where, "run.json", NULL),
         *model = scratch_file(folder, "model.gguf", "x", 1), *real = realpath(model, NULL),
         here[4096];
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(folder), 0);
    CHECK(sella_run_create(where, &make, &run, err)); // "model.gguf" is in the working folder now
    assert_int_equal(chdir(here), 0);
    assert_string_equal(run->model_path, real);
    assert_int_equal(run->dataset_path[0], '/');
    json_t *document = json_deep_copy(run->document);
    sella_run_close(run);
    assert_int_equal(json_integer_value(json_object_get(document, "format")), 2);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_object_set_new(document, "format", json_integer(cases[i].format));
        json_object_set_new(json_object_get(document, "settings"), "stage3.residual",
                            json_loads(cases[i].was, JSON_DECODE_ANY, NULL));
        CHECK(sella_json_save(file, document, err));
        const sella_status status = sella_run_open(where, &run, &why);
        assert_int_equal(status == SELLA_OK, cases[i].word != NULL);
        if (cases[i].word) {
            assert_string_equal(sella_settings_text(run->settings, "stage3.residual"),
                                cases[i].word);
        }
        sella_run_close(run);
    }
    assert_non_null(strstr(why.text, "has format 3"));
    json_decref(document);
    sella_settings_free(settings);
    free(where), free(file), free(model), free(real);
}

/* ---- settings ---- */

static void test_settings(void **state)
{
    sella_settings *settings = NULL;
    sella_err why = {0};
    sella_setting_info info;
    (void)state;
    int count, rows = 0;
    const sella_method *const *methods = sella_methods(&count);
    for (int m = 0; m < count; m++) { // all preset lists are accepted
        CHECK(sella_training_resolve(methods[m], "paper", NULL, NULL, 0, &settings, err));
        sella_settings_free(settings);
        sella_status fast =
            sella_training_resolve(methods[m], "fast", NULL, NULL, 0, &settings, &why);
        assert_int_equal(fast, methods[m]->preset_fast ? SELLA_OK : SELLA_ARG);
        sella_settings_free(settings);
    }
    const char *const set[] = {"stage1.lr=3e-4"};
    CHECK(
        sella_training_resolve(sella_method_find("sella"), "paper", NULL, set, 1, &settings, err));
    assert_true(sella_settings_real(settings, "stage1.lr") == 3e-4);
    assert_int_equal(sella_settings_int(settings, "lora.rank"), 64);
    sella_settings_free(settings);
    assert_int_equal(sella_training_resolve(sella_method_find("sella"), "papier", NULL, NULL, 0,
                                            &settings, &why),
                     SELLA_ARG);
    for (; sella_setting_at(rows, &info); rows++) {
        assert_true(info.help[0] != '\0' && info.help[strlen(info.help) - 1] == '.');
    }
    assert_true(rows > 50);
}

/* ---- samples and queries ---- */

static void test_samples(void **state)
{
    int64_t *small, *large, *again, k, l, a, runs = 0;
    (void)state;
    CHECK(sella_sample_rows(100, 4, 3, dataset, SELLA_SPLIT_TRAIN, &small, &k, err));
    CHECK(sella_sample_rows(170, 4, 3, dataset, SELLA_SPLIT_TRAIN, &large, &l, err));
    CHECK(sella_sample_rows(100, 4, 3, dataset, SELLA_SPLIT_TRAIN, &again, &a, err));
    assert_int_equal(k, 100);
    assert_int_equal(l, 170);
    assert_memory_equal(small, again, 100 * sizeof *small);
    for (int64_t i = 0, j = 0; i < k; i++) { // sorted, unique, nested
        assert_true(i == 0 || small[i] > small[i - 1]);
        while (j < l && large[j] < small[i]) {
            j++;
        }
        assert_true(j < l && large[j] == small[i]);
    }
    // rows of one user come in runs: far fewer than single rows would make
    const int32_t *user = dataset->split[SELLA_SPLIT_TRAIN].user_n;
    for (int64_t i = 0; i < k; i++) {
        bool follows = false;
        for (int64_t r = small[i] - 1; i > 0 && r >= small[i - 1] - 400 && r >= 0 && !follows;
             r--) {
            if (user[r] == user[small[i]]) {
                for (int64_t q = 0; q < i && !follows; q++) {
                    follows = small[q] == r;
                }
                break;
            }
        }
        runs += !follows;
    }
    /* 25 runs of four, some cut by a user's end, some next to each other */
    assert_in_range(runs, 20, 34);
    free(again);
    CHECK(sella_sample_rows(100, 4, 4, dataset, SELLA_SPLIT_TRAIN, &again, &a, err));
    assert_memory_not_equal(small, again, 100 * sizeof *small);
    free(again);
    CHECK(sella_sample_rows(0, 4, 4, dataset, SELLA_SPLIT_VALID, &again, &a, err));
    assert_int_equal(a, 90);
    free(small);
    free(large);
    free(again);
}

static long number_of(const char *id) /* "u12" -> 12 */
{
    return strtol(id + 1, NULL, 10);
}

/* Rows of another data set are matched by external ids; what the run does not know is -1. */
static void test_queries(void **state)
{
    const fixture_shape shape = {.users = 14, .items = 22, .train = 60, .valid = 80, .seed = 5};
    sella_settings *settings = defaults();
    const sella_run_new make = make_of(settings);
    sella_run *run = NULL;
    sella_dataset *other = NULL;
    sella_query *query = NULL;
    int32_t *pool = NULL;
    (void)state;
    char *where = sella_path_join(folder, "runs/queries", NULL),
         *data = sella_path_join(folder, "other", NULL);
    CHECK(sella_run_create(where, &make, &run, err));
    fixture_dataset(data, &shape);
    CHECK(sella_dataset_open(data, &other, err));
    CHECK(sella_queries_from_split(run, other, SELLA_SPLIT_VALID, NULL, 80, &query, &pool, err));
    int unseen = 0, unknown = 0;
    for (int q = 0; q < 80; q++) {
        const char *uid = other->user_id[other->split[SELLA_SPLIT_VALID].user_n[q]],
                   *iid = other->item_id[other->split[SELLA_SPLIT_VALID].item_n[q]];
        if (query[q].user >= 0) {
            assert_string_equal(run->user_id[query[q].user], uid);
        } else {
            unseen++;
            assert_true(number_of(uid) >= 9);
        }
        if (query[q].item >= 0) {
            assert_string_equal(run->item_id[query[q].item], iid);
        } else {
            unknown++;
            assert_true(number_of(iid) >= 15);
            assert_non_null(query[q].target_text);
        }
        const int32_t *items;
        int32_t n = sella_dataset_history(other, SELLA_SPLIT_VALID, q, &items), kept = 0;
        for (int32_t j = 0; j < n; j++) {
            int32_t at = sella_run_find_item(run, other->item_id[items[j]]);
            if (at >= 0) {
                assert_int_equal(query[q].history_n[kept++], at);
            }
        }
        assert_int_equal(query[q].history_count, kept);
    }
    assert_true(unseen > 0 && unknown > 0);
    free(query);
    free(pool);
    // the run's own data set: nothing is copied
    CHECK(sella_queries_from_split(run, dataset, SELLA_SPLIT_VALID, NULL, 90, &query, &pool, err));
    assert_null(pool);
    for (int q = 0; q < 90; q++) {
        const int32_t *items;
        assert_int_equal(query[q].history_count,
                         sella_dataset_history(dataset, SELLA_SPLIT_VALID, q, &items));
        assert_true(query[q].history_count == 0 || query[q].history_n == items);
    }
    free(query);
    sella_dataset_close(other);
    sella_run_close(run);
    sella_settings_free(settings);
    free(where);
    free(data);
}

static void test_refs(void **state)
{
    const int32_t a[] = {1, 2, 3}, b[] = {1, 2, 3}, c[] = {1, 2, 4};
    const sella_query query[] = {{.user = 5, .item = 1, .history_n = a, .history_count = 3},
                                 {.user = 5, .item = 2, .history_n = b, .history_count = 3},
                                 {.user = 5, .item = 1, .history_n = c, .history_count = 3},
                                 {.user = 5, .item = 2, .history_n = a, .history_count = 2},
                                 {.user = -1, .item = 1, .history_n = a, .history_count = 3},
                                 {.user = -1, .item = -1, .history_n = c, .history_count = 3}};
    const int32_t with[] = {0, 0, 1, 2, 3, 4}, without[] = {0, 0, 0, 0, 1, 2},
                  items[] = {0, 1, 0, 1, 0, 2};
    sella_refs refs;
    (void)state;
    CHECK(sella_refs_make(query, 6, SELLA_REFS_HISTORY, &refs, err));
    assert_memory_equal(refs.user_ref_n, with, sizeof with);
    assert_memory_equal(refs.item_ref_n, items, sizeof items);
    assert_int_equal(refs.item_i[2], -1);
    sella_refs_release(&refs);
    CHECK(sella_refs_make(query, 6, SELLA_REFS_USER, &refs, err));
    assert_memory_equal(refs.user_ref_n, without, sizeof without);
    sella_refs_release(&refs);
}

/* ---- tapes ---- */

/* Every cut of a tape gives back whole records from its beginning, and writing goes on from
 * there. */
static void test_tape(void **state)
{
    double data[12], back[12];
    int64_t count;
    sella_tape *tape = NULL;
    sella_map map = {0};
    (void)state;
    char *file = sella_path_join(folder, "tape", NULL), *cut = sella_path_join(folder, "cut", NULL);
    for (int i = 0; i < 12; i++) {
        data[i] = i * 1.5;
    }
    CHECK(sella_tape_open(file, sizeof(double), 99, 0, back, 12, &count, &tape, err));
    assert_int_equal(count, 0);
    for (int i = 0; i < 12; i += 3) {
        CHECK(sella_tape_append(tape, data + i, 3, err));
    }
    sella_tape_close(tape);
    CHECK(sella_map_open(file, &map, err));
    for (size_t size = 0; size <= map.size; size++) {
        free(scratch_file(folder, "cut", map.data, size));
        CHECK(sella_tape_open(cut, sizeof(double), 99, 0, back, 12, &count, &tape, err));
        assert_int_equal(count % 3, 0);
        assert_true(count * 8 <= (int64_t)size);
        assert_memory_equal(back, data, (size_t)count * sizeof *data);
        if (count < 12) {
            CHECK(sella_tape_append(tape, data + count, 12 - count, err));
        }
        sella_tape_close(tape);
        CHECK(sella_tape_open(cut, sizeof(double), 99, 0, back, 12, &count, &tape, err));
        assert_int_equal(count, 12);
        sella_tape_close(tape);
    }
    assert_int_equal(map.size, 32 + 4 * (16 + 24));
    sella_map_close(&map);
    // another key, and one changed byte
    CHECK(sella_tape_open(file, sizeof(double), 98, 0, back, 12, &count, &tape, err));
    assert_int_equal(count, 0);
    sella_tape_close(tape);
    free(file);
    free(cut);
}

/* Records 10, 11, ...; the call that would begin at `stop_at` is not reached. */
typedef struct counting {
    int64_t made, stop_at;
} counting;

static sella_status count_up(void *user, int64_t first, int64_t n, void *out, sella_err *err)
{
    (void)err;
    assert_int_equal(first, ((counting *)user)->made);
    assert_true(n <= 3);
    for (int64_t k = 0; k < n; k++) {
        ((int32_t *)out)[k] = (int32_t)(10 + first + k);
    }
    ((counting *)user)->made += n;
    return SELLA_OK;
}

static int stop_counting(void *user)
{
    return ((counting *)user)->made == ((counting *)user)->stop_at;
}

/* Stopped work goes on behind what is on the tape and makes nothing twice; all done, nothing is
 * made. */
static void test_tape_run(void **state)
{
    const int32_t all[] = {10, 11, 12, 13, 14, 15, 16, 17};
    counting c = {.stop_at = 6};
    sella_talk talk = {.stop = stop_counting, .user = &c};
    sella_err why = {0};
    (void)state;
    char *tape = sella_path_join(folder, "counted", NULL);
    const sella_tape_work work = {.what = "counting",
                                  .unit = "numbers",
                                  .path = tape,
                                  .record = sizeof(int32_t),
                                  .key = 7,
                                  .seconds = 3600,
                                  .block = 3,
                                  .make = count_up,
                                  .user = &c,
                                  .talk = &talk};
    for (int again = 0; again < 3; again++) {
        int32_t data[8] = {0};
        if (again == 0) {
            assert_int_equal(sella_tape_run(&work, 8, data, &why), SELLA_INTERRUPTED);
            assert_string_equal(why.text,
                                "counting was stopped after 6 of 8 numbers; --resume goes on");
            c.stop_at = -1;
        } else {
            CHECK(sella_tape_run(&work, 8, data, err));
            assert_memory_equal(data, all, sizeof all);
            assert_int_equal(c.made, 8);
        }
    }
    free(tape);
}

/* ---- estimates ---- */

static void test_estimate(void **state)
{
    const sella_method *sella = sella_method_find("sella");
    sella_settings *settings = defaults();
    const sella_estimate_ask of_all = {.method = sella,
                                       .settings = settings,
                                       .seed = 1,
                                       .dataset = dataset,
                                       .model = TINY_MODEL};
    sella_estimate_ask of_some = of_all, of_budget = of_all;
    sella_estimate all, some, budget;
    int64_t train_rows, eval_rows;
    (void)state;
    of_some.train_rows = 100;
    of_some.eval_rows = 20;
    CHECK(sella->estimate(&of_all, &all, err));
    CHECK(sella->estimate(&of_some, &some, err));
    assert_int_equal(all.rows, 400);
    assert_int_equal(some.rows, 100);
    assert_true(some.tokens < all.tokens && some.tokens > 0);
    assert_true(all.bytes > 0 && all.trainable > 0 && all.frozen > 0);
    // a budget of just what 100 rows take gives about so many, and never fewer than 64
    double rate = 1e9, seconds = sella_estimate_seconds(&some, rate);
    CHECK(sella_budget_rows(&of_all, seconds, rate, &train_rows, &eval_rows, err));
    assert_true(train_rows >= 64 && train_rows < 160);
    assert_int_equal(eval_rows, train_rows / 4 + 1);
    of_budget.train_rows = train_rows;
    of_budget.eval_rows = eval_rows;
    CHECK(sella->estimate(&of_budget, &budget, err));
    assert_true(sella_estimate_seconds(&budget, rate) <= seconds);
    CHECK(sella_budget_rows(&of_some, 1e9, rate, &train_rows, &eval_rows, err));
    assert_int_equal(train_rows, 0);
    assert_int_equal(eval_rows, 0);
    CHECK(sella_budget_rows(&of_all, 0.001, rate, &train_rows, &eval_rows, err));
    assert_int_equal(train_rows, 64);
    // what --from saves is part of it; scoring valid on the way is
    assert_true(some.stage1_tokens > 0 && some.stage1_tokens < some.tokens &&
                some.stage1_flops < some.model_flops);
    CHECK(sella_settings_assign(settings, "stage3.evaluate=1", "test", err));
    CHECK(sella->estimate(&of_some, &budget, err));
    assert_true(budget.tokens > some.tokens && budget.stage1_tokens == some.stage1_tokens);
    sella_settings_free(settings);
}

/* A rate is measured once for its shape; a stage that stops on valid is not reckoned with all its
 * epochs. */
static void test_rates(void **state)
{
    sella_rates rates = {0};
    double first, again, other;
    char *json[3] = {0};
    double seconds[3];
    (void)state;
    CHECK(sella_rate(&rates, 64, 96, 32, &first, err));
    CHECK(sella_rate(&rates, 64, 96, 32, &again, err));
    assert_true(first > 0 && first == again);
    assert_int_equal(rates.count, 1);
    CHECK(sella_rate(&rates, 32, 96, 32, &other, err));
    assert_int_equal(rates.count, 2);
    assert_true(sella_estimate_epochs(100, 0, 0, dataset) == 100);
    assert_true(sella_estimate_epochs(100, 0, 5, dataset) < 100);
    assert_true(sella_estimate_epochs(100, 60, 5, dataset) == 60);
    sella_train_options options = {
        .method = "sella", .dataset = dataset->path, .model = TINY_MODEL, .dry_run = 1};
    for (int i = 0; i < 3; i++) {
        json_t *object;
        options.from = i == 2 ? "a-run" : NULL;
        CHECK(sella_train_dry_run(&options, &rates, NULL, &json[i], err));
        CHECK(sella_json_parse(json[i], strlen(json[i]), "an estimate", &object, err));
        seconds[i] = json_number_value(json_object_get(object, "seconds"));
        json_decref(object);
        free(json[i]);
    }
    assert_true(seconds[0] > 0 && seconds[0] == seconds[1] && seconds[2] < seconds[0]);
    assert_int_equal(rates.count, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create),       cmocka_unit_test(test_histories),
        cmocka_unit_test(test_hostile_runs), cmocka_unit_test(test_hostile_stages),
        cmocka_unit_test(test_format),       cmocka_unit_test(test_settings),
        cmocka_unit_test(test_samples),      cmocka_unit_test(test_queries),
        cmocka_unit_test(test_refs),         cmocka_unit_test(test_tape),
        cmocka_unit_test(test_tape_run),     cmocka_unit_test(test_estimate),
        cmocka_unit_test(test_rates),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
