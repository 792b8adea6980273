/* test_data_dataset.c - the data set folder: split import, histories, figures, and folders that
 * lie. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>

#include "data_fixture.h"
#include "fuzz/mutate.h"

#define HEADER "uid\tiid\tlabel\ttimestamp\tnot_cold\this\n"

static const char items[] = "iid\ttitle\n10\tHeat (1995)\n11\tAlien\n12\tNo Escape\n13\t Brazil \n";
static const char train[] = HEADER "a\t10\t1\t100\t1\t0\n" /* a likes 10 */
                                   "a\t11\t0\t100\t1\t0 10\n"
                                   "b\t10\t1\t150\t1\t0\n"
                                   "a\t12\t1\t200\t1\t0 10\n";
static const char valid[] = HEADER "a\t10\t0\t300\t1\t0 10 12\n"
                                   "c\t11\t1\t310\t0\t0\n"
                                   "a\t13\t1\t320\t0\t0 12\n"; /* a history of its own */

static void put_split(const char *folder)
{
    put(folder, "in/items.tsv", items);
    put(folder, "in/train.tsv", train);
    put(folder, "in/valid.tsv", valid);
}

static void split_is_kept(void **state)
{
    (void)state;
    sella_err err;
    char *folder = scratch_make();
    put_split(folder);
    assert_int_equal(import_into(folder, "in", "ds",
                                 (sella_import_options){.format = "split", .noun = "movie"}, &err),
                     SELLA_OK);
    sella_dataset *d = open_in(folder, "ds");
    assert_int_equal(d->users, 3);
    assert_int_equal(d->train_users, 2);
    assert_int_equal(d->items, 4);
    assert_string_equal(d->noun, "movie");
    assert_string_equal(d->name, "ds");
    assert_string_equal(d->user_id[2], "c");
    assert_string_equal(d->item_id[3], "13");
    assert_string_equal(d->title[3], "Brazil");
    assert_int_equal(sella_dataset_find_user(d, "b"), 1);
    assert_int_equal(sella_dataset_find_user(d, "z"), -1);
    assert_int_equal(sella_dataset_find_item(d, "12"), 2);
    const sella_split *t = &d->split[SELLA_SPLIT_TRAIN], *v = &d->split[SELLA_SPLIT_VALID];
    assert_int_equal(t->rows, 4);
    assert_int_equal(v->rows, 3);
    assert_int_equal(d->split[SELLA_SPLIT_TEST].rows, 0);
    static const int32_t user[] = {0, 0, 1, 0}, item[] = {0, 1, 0, 2};
    static const uint8_t label[] = {1, 0, 1, 1}, warm[] = {1, 0, 0};
    static const int64_t time[] = {100, 100, 150, 200};
    assert_memory_equal(t->user_n, user, sizeof user);
    assert_memory_equal(t->item_n, item, sizeof item);
    assert_memory_equal(t->label_n, label, sizeof label);
    assert_memory_equal(t->time_n, time, sizeof time);
    assert_memory_equal(v->warm_n, warm, sizeof warm);
    const int32_t *h;
    assert_int_equal(sella_dataset_history(d, SELLA_SPLIT_TRAIN, 0, &h), 0);
    assert_int_equal(sella_dataset_history(d, SELLA_SPLIT_TRAIN, 3, &h), 1);
    assert_int_equal(h[0], 0);
    const int32_t *longer;
    assert_int_equal(sella_dataset_history(d, SELLA_SPLIT_VALID, 0, &longer), 2);
    assert_true(longer == h); // one list of the user
    assert_int_equal(longer[1], 2);
    assert_int_equal(sella_dataset_history(d, SELLA_SPLIT_VALID, 2, &h), 1);
    assert_int_equal(h[0], 2);
    assert_int_equal(d->history_total, 3); // 10 12 of user a, 12 alone
    int32_t *last, count;
    assert_int_equal(sella_dataset_user_history(d, 0, 1u << SELLA_SPLIT_TRAIN, &last, &count, &err),
                     SELLA_OK);
    assert_int_equal(count, 2); // 10, and 12 which the last row likes
    assert_int_equal(last[0], 0);
    assert_int_equal(last[1], 2);
    free(last);
    assert_int_equal(sella_dataset_user_history(d, 2, 1u << SELLA_SPLIT_TRAIN, &last, &count, &err),
                     SELLA_OK);
    assert_int_equal(count, 0);
    free(last);
    assert_int_equal(sella_dataset_user_history(d, 2, 7, &last, &count, &err), SELLA_OK);
    assert_int_equal(count, 1);
    free(last);
    sella_dataset_close(d);
    // The same input gives the same checksum; a folder with contents is left alone.
    char checksum[17];
    d = open_in(folder, "ds");
    memcpy(checksum, d->checksum, 17);
    sella_dataset_close(d);
    assert_int_equal(import_into(folder, "in", "ds2",
                                 (sella_import_options){.format = "split", .noun = "movie"}, &err),
                     SELLA_OK);
    d = open_in(folder, "ds2");
    assert_string_equal(checksum, d->checksum);
    sella_dataset_close(d);
    char *from = sella_path_join(folder, "in", NULL);
    const char *inputs[] = {from};
    sella_import_options options = {
        .format = "split", .inputs = inputs, .input_count = 1, .output = from};
    assert_int_equal(sella_import(&options, NULL, NULL, &err), SELLA_STATE);
    assert_says(err, "is not empty");
    free(from);
    scratch_remove(folder);
}

static void a_train_only_folder_works(void **state)
{
    (void)state;
    sella_err err;
    char *folder = scratch_make();
    put(folder, "in/items.tsv", items);
    put(folder, "in/train.tsv", train);
    assert_int_equal(
        import_into(folder, "in", "ds", (sella_import_options){.format = "split"}, &err), SELLA_OK);
    sella_dataset *d = open_in(folder, "ds");
    assert_int_equal(d->split[SELLA_SPLIT_VALID].rows, 0);
    assert_string_equal(d->noun, "item");
    sella_dataset_close(d);
    put(folder, "in/train.tsv",
        "extra\this\tnot_cold\ttimestamp\tlabel\tiid\tuid\nx\t0\t1\t5\t1\t10\ta\nx\t0 "
        "10\t1\t6\t0\t11\ta\n");
    /* by name, any order */
    assert_int_equal(
        import_into(folder, "in", "ds", (sella_import_options){.format = "split"}, &err), SELLA_OK);
    scratch_remove(folder);
}

static void bad_splits_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *file, *text, *says;
    } cases[] = {
        {"train.tsv", HEADER "a\t10\t1\t100\t1\n",
         "train.tsv:2: the record has 5 fields; expected 6"},
        {"train.tsv", HEADER "a\t10\t2\t100\t1\t0\n", "train.tsv:2: label 2 is outside 0 to 1"},
        {"train.tsv", HEADER "a\t10\tnan\t100\t1\t0\n",
         "train.tsv:2: label 'nan' is not a whole number"},
        {"train.tsv", HEADER "a\t10\t1\t99999999999999999999\t1\t0\n", "train.tsv:2: timestamp"},
        {"train.tsv", HEADER "a\t77\t1\t100\t1\t0\n",
         "train.tsv:2: item '77' has no title in items.tsv"},
        {"train.tsv", HEADER "a\t10\t1\t100\t1\t0 78\n",
         "train.tsv:2: history item '78' has no title"},
        {"train.tsv", HEADER "a\t10\t1\t100\t0\t0\n",
         "train.tsv:2: not_cold is 0; user 'a' and item '10' both occur in train.tsv"},
        {"valid.tsv", HEADER "a\t13\t1\t100\t1\t0\n",
         "valid.tsv:2: not_cold is 1; user 'a' and item '13' do not both occur in train.tsv"},
        {"train.tsv", HEADER "\t10\t1\t100\t1\t0\n", "train.tsv:2: the user id is empty"},
        {"train.tsv", HEADER "\xff\t10\t1\t100\t1\t0\n", "train.tsv:2: the record is not UTF-8"},
        {"train.tsv", "uid\tiid\tlabel\ttimestamp\this\n",
         "train.tsv:1: there is no column 'not_cold'; the header has uid, iid"},
        {"train.tsv", "uid\tiid\tlabel\ttimestamp\tnot_cold\this\tuid\n",
         "train.tsv:1: two columns are named 'uid'"},
        {"train.tsv", "", "train.tsv: is empty"},
        {"train.tsv", HEADER, "the train split is empty"},
        {"valid.tsv", HEADER, "the valid split is empty"},
        {"train.tsv", HEADER "a\t10\t1\t100\t1\t0\n", "all 1 rows of train have label 1"},
        {"items.tsv", "iid\ttitle\n10\t \n", "items.tsv:2: the title has 0 bytes"},
        {"items.tsv", "iid\ttitle\n10\tA\n10\tB\n", "items.tsv:3: item '10' occurs twice"},
        {"items.tsv", "iid\ttitle\n0\tA\n", "items.tsv:2: the item id '0' cannot be used"},
        {"items.tsv", "iid\ttitle\n", "items.tsv: has no items"},
        {"items.tsv", "iid\ttitle\n1\tA\x01\n",
         "items.tsv:2: the title 'A?' has a control character"},
    };
    sella_err err;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        char *folder = scratch_make();
        put_split(folder);
        char name[32];
        snprintf(name, sizeof name, "in/%s", cases[c].file);
        put(folder, name, cases[c].text);
        assert_int_not_equal(
            import_into(folder, "in", "ds", (sella_import_options){.format = "split"}, &err),
            SELLA_OK);
        assert_says(err, cases[c].says);
        char **left;
        size_t count;
        assert_int_equal(sella_dir_list(folder, &left, &count, NULL), SELLA_OK);
        assert_int_equal(count, 1); // "in" alone: no temporary folder
        sella_names_free(left, count);
        scratch_remove(folder);
    }
    char *folder = scratch_make();
    put_split(folder);
    put_bytes(folder, "in/train.tsv", HEADER "a\t1\0\t1\t100\t1\t0\n", sizeof HEADER - 1 + 15);
    assert_int_equal(
        import_into(folder, "in", "ds", (sella_import_options){.format = "split"}, &err),
        SELLA_FORMAT);
    assert_says(err, "train.tsv:2: the record has a NUL byte");
    size_t huge = (size_t)5 << 20; // one line over the limit
    char *line = malloc(huge);
    memset(line, 'x', huge);
    memcpy(line, HEADER, sizeof HEADER - 1);
    put_bytes(folder, "in/train.tsv", line, huge);
    free(line);
    assert_int_equal(
        import_into(folder, "in", "ds", (sella_import_options){.format = "split"}, &err),
        SELLA_FORMAT);
    assert_says(err, "train.tsv:2: the record has more than 4194304 bytes");
    put_split(folder);
    assert_int_equal(import_into(folder, "in", "ds",
                                 (sella_import_options){.format = "split", .protocol = "time"},
                                 &err),
                     SELLA_ARG);
    assert_int_equal(import_into(folder, "in", "ds",
                                 (sella_import_options){.format = "split", .noun = "song"}, &err),
                     SELLA_ARG);
    assert_int_equal(
        import_into(folder, "in", "ds", (sella_import_options){.format = "parquet"}, &err),
        SELLA_ARG);
    assert_says(err, "unknown format 'parquet'; expected ");
    assert_int_equal(
        import_into(folder, "nowhere", "ds", (sella_import_options){.format = "split"}, &err),
        SELLA_MISSING);
    scratch_remove(folder);
}

/* Import damaged copies of one file at a time: refused with a sentence, or accepted and then
 * opened. */
typedef struct fuzz_target {
    const char *folder, *file;
} fuzz_target;

static void import_damaged(const uint8_t *data, size_t bytes, void *user)
{
    const fuzz_target *target = user;
    sella_err err;
    put_bytes(target->folder, target->file, data, bytes);
    if (import_into(target->folder, "in", "ds", (sella_import_options){.format = "split"}, &err) ==
        SELLA_OK) {
        sella_dataset_close(open_in(target->folder, "ds"));
    }
}

static void damaged_splits(void **state)
{
    (void)state;
    char *folder = scratch_make();
    put_split(folder);
    fuzz_target target = {folder, "in/train.tsv"};
    mutate_run(train, sizeof train - 1, mutate_rounds(300, 20000), import_damaged, &target);
    put_split(folder);
    target.file = "in/items.tsv";
    mutate_run(items, sizeof items - 1, mutate_rounds(300, 20000), import_damaged, &target);
    scratch_remove(folder);
}

static void open_damaged(const uint8_t *data, size_t bytes, void *user)
{
    const fuzz_target *target = user;
    sella_err err = {0};
    sella_dataset *d = NULL;
    char *path = sella_path_join(target->folder, "ds", NULL);
    put_bytes(path, target->file, data, bytes);
    /* then all that is read is inside the columns */
    if (sella_dataset_open(path, &d, &err) == SELLA_OK) {
        const int32_t *h;
        int64_t sum = 0;
        for (int s = 0; s < SELLA_SPLITS; s++) {
            for (int64_t r = 0; r < d->split[s].rows; r++) {
                int32_t n = sella_dataset_history(d, (sella_split_id)s, r, &h);
                for (int32_t k = 0; k < n; k++) {
                    sum += d->title[h[k]][0];
                }
            }
        }
        assert_true(sum >= 0);
    } else {
        assert_true(err.text[0] != '\0');
        assert_null(d);
    }
    sella_dataset_close(d);
    free(path);
}

static void damaged_folders(void **state)
{
    (void)state;
    static const char *const files[] = {"dataset.json",
                                        "users.tsv",
                                        "items.tsv",
                                        "history.npy",
                                        "train/user.npy",
                                        "train/label.npy",
                                        "train/history_start.npy",
                                        "valid/history_count.npy",
                                        "valid/warm.npy",
                                        "train/time.npy"};
    sella_err err;
    char *folder = scratch_make();
    put_split(folder);
    assert_int_equal(
        import_into(folder, "in", "ds", (sella_import_options){.format = "split"}, &err), SELLA_OK);
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        char *path = sella_path_join(folder, "ds", files[f], NULL);
        sella_map map;
        assert_int_equal(sella_map_open(path, &map, &err), SELLA_OK);
        size_t size = map.size;
        uint8_t *good = malloc(size);
        memcpy(good, map.data, size);
        sella_map_close(&map);
        fuzz_target target = {folder, files[f]};
        mutate_run(good, size, mutate_rounds(300, 20000), open_damaged, &target);
        // One changed value in the data part is seen by the checksum, if by nothing else.
        if (strstr(files[f], ".npy")) {
            sella_dataset *d = NULL;
            good[size - 1] ^= 1;
            char *ds = sella_path_join(folder, "ds", NULL);
            put_bytes(ds, files[f], good, size);
            assert_int_equal(sella_dataset_open(ds, &d, &err), SELLA_FORMAT);
            good[size - 1] ^= 1;
            free(ds);
        }
        put_bytes(folder, "ds/x", "", 0);
        char name[64];
        snprintf(name, sizeof name, "ds/%s", files[f]);
        put_bytes(folder, name, good, size);
        free(good);
        free(path);
    }
    sella_dataset_close(open_in(folder, "ds"));
    scratch_remove(folder);
}

static int64_t figure(const json_t *stats, const char *split, const char *key)
{
    const json_t *value =
        json_object_get(json_object_get(json_object_get(stats, "splits"), split), key);
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

/* No room for files of more than a few bytes: one sentence, and neither the folder nor a temporary
 * one stays. */
static void a_full_disk_leaves_nothing(void **state)
{
    (void)state;
    sella_err err;
    struct rlimit before, small;
    char *folder = scratch_make(), **left;
    size_t count;
    put_split(folder);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    /* writing then fails with EFBIG instead of ending the program */
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    for (rlim_t bytes = 4; bytes < 600; bytes *= 3) {
        small = (struct rlimit){bytes, before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        sella_status status =
            import_into(folder, "in", "ds", (sella_import_options){.format = "split"}, &err);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(status, SELLA_IO);
        assert_says(err, "could not be written");
        assert_int_equal(sella_dir_list(folder, &left, &count, NULL), SELLA_OK);
        assert_int_equal(count, 1);
        sella_names_free(left, count);
    }
    signal(SIGXFSZ, handler);
    char *in = sella_path_join(folder, "in", NULL),
         *out = sella_path_join(folder, "in/items.tsv/ds", NULL);
    const char *inputs[] = {in};
    sella_import_options options = {
        .format = "split", .inputs = inputs, .input_count = 1, .output = out};
    assert_int_not_equal(sella_import(&options, NULL, NULL, &err), SELLA_OK);
    assert_true(err.text[0] != '\0');
    free(in);
    free(out);
    scratch_remove(folder);
}

/* REFERENCE 1.1, 1.2, 1.3 and 3.2, train and valid. */
static void ml_1m_figures(void **state)
{
    (void)state;
    sella_err err = {0};
    char *text = NULL, *from = shared_path("data/ml-1m");
    if (!from) {
        skip();
    }
    char *folder = scratch_make(), *to = sella_path_join(folder, "ds", NULL);
    const char *inputs[] = {from};
    sella_import_options options = {
        .format = "split", .inputs = inputs, .input_count = 1, .output = to, .noun = "movie"};
    /* 0 contradictions in not_cold */
    assert_int_equal(sella_import(&options, NULL, NULL, &err), SELLA_OK);
    assert_int_equal(sella_stats(to, &text, &err), SELLA_OK);
    json_t *stats = json_loads(text, 0, NULL);
    assert_non_null(stats);
    static const struct {
        const char *key;
        int64_t train, valid;
    } expected[] = {
        {"rows", 33891, 10401},     {"users", 740, 356},
        {"items", 3087, 2506},      {"warm_rows", 33891, 6609},
        {"cold_rows", 0, 3792},     {"user_cold_rows", 0, 3686},
        {"item_cold_rows", 0, 138}, {"empty_history_rows", 1275, 103},
    };
    for (size_t e = 0; e < sizeof expected / sizeof *expected; e++) {
        assert_int_equal(figure(stats, "train", expected[e].key), expected[e].train);
        assert_int_equal(figure(stats, "valid", expected[e].key), expected[e].valid);
    }
    assert_int_equal(figure(stats, "valid", "uauc_users"), 282);
    assert_int_equal(figure(stats, "valid", "single_row_users"), 30);
    assert_int_equal(figure(stats, "valid", "one_class_users"), 44);
    assert_int_equal(json_integer_value(json_object_get(stats, "items")), 3255);
    const json_t *splits = json_object_get(stats, "splits");
    assert_true(
        fabs(json_real_value(json_object_get(json_object_get(splits, "train"), "label_mean")) -
             0.53675) < 5e-6);
    assert_true(
        fabs(json_real_value(json_object_get(json_object_get(splits, "valid"), "label_mean")) -
             0.52831) < 5e-6);
    assert_true(
        fabs(json_real_value(json_object_get(json_object_get(splits, "train"), "history_mean")) -
             37.7) < 0.05);
    assert_true(
        fabs(json_real_value(json_object_get(json_object_get(splits, "valid"), "history_mean")) -
             57.8) < 0.05);
    assert_null(json_object_get(splits, "test"));
    json_decref(stats);
    free(text);
    sella_dataset *d = open_in(folder, "ds");
    assert_true(d->history_total < 33891 + 10401); // shared storage: one list a user
    sella_dataset_close(d);
    free(to);
    free(from);
    scratch_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(split_is_kept),
        cmocka_unit_test(a_train_only_folder_works),
        cmocka_unit_test(bad_splits_are_refused),
        cmocka_unit_test(damaged_splits),
        cmocka_unit_test(damaged_folders),
        cmocka_unit_test(ml_1m_figures),
        cmocka_unit_test(a_full_disk_leaves_nothing),
    };
    scratch_in_memory();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
