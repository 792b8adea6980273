/* test_data_import.c - logs into rows: protocols by hand and by brute force, MovieLens forms, csv
 * dialects, hostile input. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <archive.h>
#include <archive_entry.h>
#include <math.h>

#include "base/json.h"
#include "base/text.h"
#include "data/import.h"
#include "data_fixture.h"
#include "fuzz/mutate.h"

static const sella_import_options csv_defaults = {.format = "csv"};

static void expect_csv(const char *text, sella_import_options options, sella_status status,
                       const char *says)
{
    sella_err err;
    char *folder = scratch_make();
    put(folder, "log.csv", text);
    options.format = "csv";
    sella_status got = import_into(folder, "log.csv", "ds", options, &err);
    if (got != status) {
        fail_msg("status %d, expected %d for: %s (%s)", got, status, text, err.text);
    }
    if (says) {
        assert_says(err, says);
    }
    scratch_remove(folder);
}

/* "user:item:label:history" of every row of a split, '|' between rows. */
static char *rows_text(const sella_dataset *d, sella_split_id split)
{
    sella_text text = {0};
    sella_text_append(&text, "", 0, NULL);
    for (int64_t r = 0; r < d->split[split].rows; r++) {
        const int32_t *h;
        int32_t n = sella_dataset_history(d, split, r, &h);
        sella_text_format(&text, NULL, "%s%s:%s:%d:", r ? "|" : "",
                          d->user_id[d->split[split].user_n[r]],
                          d->item_id[d->split[split].item_n[r]], d->split[split].label_n[r]);
        for (int32_t k = 0; k < n; k++) {
            sella_text_format(&text, NULL, "%s%s", k ? "," : "", d->item_id[h[k]]);
        }
    }
    return text.data;
}

static void expect_rows(const sella_dataset *d, sella_split_id split, const char *want)
{
    char *got = rows_text(d, split);
    assert_string_equal(got, want);
    free(got);
}

/* ---- protocols ---- */

/* Users 10 before 9 in the log, numbers are ordered as numbers; ties of one moment keep the log's
 * order. */
static void protocol_time(void **state)
{
    (void)state;
    sella_err err;
    char *folder = scratch_make();
    put(folder, "log.csv",
        "user,item,rating,time,title\n"
        "10,a,5,100,A\n10,b,3,100,B\n9,b,4,110,B\n9,a,1,120,A\n10,c,4,130,C\n10,d,2,130,D\n"
        "9,c,4,140,C\n9,d,5,140,D\n9,e,1,140,E\n10,e,5,150,E\n");
    assert_int_equal(import_into(folder, "log.csv", "ds", csv_defaults, &err), SELLA_OK);
    sella_dataset *d = open_in(folder, "ds");
    /* 10 rows: valid from the time of row 8 (140), test from that of row 9 (150); three rows share
     * 140 and stay together. */
    expect_rows(d, SELLA_SPLIT_TRAIN, "9:b:1:|9:a:0:b|10:a:1:|10:b:0:a|10:c:1:a|10:d:0:a,c");
    expect_rows(d, SELLA_SPLIT_VALID, "9:c:1:b|9:d:1:b,c|9:e:0:b,c,d");
    expect_rows(d, SELLA_SPLIT_TEST, "10:e:1:a,c");
    sella_dataset_close(d);
    sella_import_options options = {.format = "csv", .fractions = {0.7, 0.3, 0}, .like_at = 2};
    assert_int_equal(import_into(folder, "log.csv", "ds", options, &err), SELLA_OK);
    d = open_in(folder, "ds");
    /* row 7 is of the moment 140 too */
    expect_rows(d, SELLA_SPLIT_TRAIN, "9:b:1:|9:a:0:b|10:a:1:|10:b:1:a|10:c:1:a,b|10:d:1:a,b,c");
    expect_rows(d, SELLA_SPLIT_VALID, "9:c:1:b|9:d:1:b,c|9:e:0:b,c,d|10:e:1:a,b,c,d");
    expect_rows(d, SELLA_SPLIT_TEST, "");
    sella_dataset_close(d);
    options = (sella_import_options){.format = "csv", .fractions = {0.5, 0.5, 0.5}};
    assert_int_equal(import_into(folder, "log.csv", "ds", options, &err), SELLA_ARG);
    options =
        (sella_import_options){.format = "csv", .fractions = {0.8, 0.1, 0.1}, .protocol = "ml-1m"};
    assert_int_equal(import_into(folder, "log.csv", "ds", options, &err), SELLA_ARG);
    scratch_remove(folder);
}

static void protocol_last_out(void **state)
{
    (void)state;
    sella_err err;
    char *folder = scratch_make();
    put(folder, "log.csv",
        "user,item,label,time,title\nu,a,1,3,A\nu,b,0,1,B\nu,c,1,2,C\nu,d,1,4,D\nv,a,1,1,A\nv,b,0,"
        "2,B\nw,c,0,9,C\n");
    assert_int_equal(
        import_into(folder, "log.csv", "ds",
                    (sella_import_options){.format = "csv", .protocol = "leave-one-out"}, &err),
        SELLA_OK);
    sella_dataset *d = open_in(folder, "ds");
    expect_rows(d, SELLA_SPLIT_TRAIN, "u:b:0:|u:c:1:|v:a:1:|w:c:0:");
    expect_rows(d, SELLA_SPLIT_VALID, "u:a:1:c");
    expect_rows(d, SELLA_SPLIT_TEST, "u:d:1:c,a|v:b:0:a");
    sella_dataset_close(d);
    scratch_remove(folder);
}

/* The borders of the months, ties by the item's first appearance, months outside left out,
 * catalogue of occurring items. */
static void protocol_ml_1m(void **state)
{
    (void)state;
    sella_err err;
    char *folder = scratch_make();
    put(folder, "in/movies.dat",
        "1::One (1990)::Drama\n2::Two::A::B\n3::T\xe9trois (1991)::Drama\n4::Never "
        "rated::Drama\n5::Five::X\n6::Early::X\n");
    put(folder, "in/ratings.dat",
        /* 2001-05-31 23:59:59: left out; its item does not occur elsewhere */
        "9::6::5::991353599\n"
        "9::5::3::991353600\n"   /* 2001-06-01 00:00:00: train */
        "8::3::4::1017619199\n"  /* 2002-03-31 23:59:59: train */
        "9::2::5::1017619200\n"  /* 2002-04-01: valid */
        "9::1::5::1030838399\n"  /* 2002-08-31 23:59:59: valid */
        "9::3::2::1030838400\n"  /* 2002-09-01: test */
        "8::2::4::1044057599\n"  /* 2003-01-31 23:59:59: test */
        "8::5::4::1044057600\n"  /* 2003-02-01: left out */
        "10::2::1::1000000000\n" /* three at one moment: items appeared 5, 3, 2, 1 in the log */
        "10::3::5::1000000000\n"
        "10::1::4::1000000000\n");
    assert_int_equal(import_into(folder, "in", "ds",
                                 (sella_import_options){.format = "movielens", .protocol = "ml-1m"},
                                 &err),
                     SELLA_OK);
    sella_dataset *d = open_in(folder, "ds");
    expect_rows(d, SELLA_SPLIT_TRAIN, "8:3:1:|9:5:0:|10:3:1:|10:2:0:3|10:1:1:3");
    expect_rows(d, SELLA_SPLIT_VALID, "9:2:1:|9:1:1:2");
    expect_rows(d, SELLA_SPLIT_TEST, "8:2:1:3|9:3:0:2,1");
    assert_int_equal(d->items, 4);
    assert_string_equal(d->noun, "movie");
    assert_string_equal(d->title[1], "Two::A"); // a separator inside a title
    assert_string_equal(d->title[2], "T\xc3\xa9trois (1991)");
    sella_dataset_close(d);
    scratch_remove(folder);
}

/* 21 rows of 2017 let a user or an item in, 20 do not; December is halved in order of time. */
static void protocol_amazon_book(void **state)
{
    (void)state;
    enum { USERS = 22, ITEMS = 22 };
    sella_err err;
    sella_text log = {0};
    char *folder = scratch_make();
    const int64_t january = 1483228800, december = 1512086400; // 2017-01-01, 2017-12-01
    sella_text_format(&log, NULL, "user,item,rating,time,title\n");
    for (int u = 0; u < USERS; u++) {
        for (int i = 0; i < ITEMS; i++) {
            if ((u == 21 && i >= 20) || (i == 21 && u >= 20)) {
                /* user 21 and item 21 have 20 rows: left out; the others' counts still hold those
                 * rows */
                continue;
            }
            int64_t time =
                (u + i) % 11 == 0 ? december + (37 * u + 11 * i) % 1000 : january + u * 1000 + i;
            sella_text_format(&log, NULL, "u%02d,i%02d,%d,%lld,T%d\n", u, i, 4 + (u * i) % 2,
                              (long long)time, i);
        }
    }
    sella_text_format(&log, NULL, "u00,i00,5,%lld,T0\nu00,i00,5,%lld,T0\n", (long long)january - 1,
                      (long long)december + 31 * 86400);
    put(folder, "log.csv", log.data);
    sella_text_release(&log);
    assert_int_equal(import_into(folder, "log.csv", "ds",
                                 (sella_import_options){
                                     .format = "csv", .protocol = "amazon-book", .noun = "book"},
                                 &err),
                     SELLA_OK);
    sella_dataset *d = open_in(folder, "ds");
    int64_t expected_train = 0, expected_december = 0;
    for (int u = 0; u < 21; u++) {
        for (int i = 0; i < 21; i++) {
            expected_december += (u + i) % 11 == 0;
            expected_train += (u + i) % 11 != 0;
        }
    }
    assert_int_equal(d->users, 21);
    assert_int_equal(d->items, 21);
    assert_int_equal(d->split[SELLA_SPLIT_TRAIN].rows, expected_train);
    assert_int_equal(d->split[SELLA_SPLIT_VALID].rows, expected_december / 2);
    assert_int_equal(d->split[SELLA_SPLIT_TEST].rows, expected_december - expected_december / 2);
    int64_t last_valid = INT64_MIN, first_test = INT64_MAX;
    for (int64_t r = 0; r < d->split[SELLA_SPLIT_VALID].rows; r++) {
        last_valid = d->split[SELLA_SPLIT_VALID].time_n[r] > last_valid
                         ? d->split[SELLA_SPLIT_VALID].time_n[r]
                         : last_valid;
    }
    for (int64_t r = 0; r < d->split[SELLA_SPLIT_TEST].rows; r++) {
        first_test = d->split[SELLA_SPLIT_TEST].time_n[r] < first_test
                         ? d->split[SELLA_SPLIT_TEST].time_n[r]
                         : first_test;
    }
    assert_true(last_valid <= first_test && last_valid >= december);
    for (int64_t r = 0; r < d->split[SELLA_SPLIT_TRAIN].rows; r++) { // like at 5: (u * i) odd
        int u = (int)strtol(d->user_id[d->split[0].user_n[r]] + 1, NULL, 10),
            i = (int)strtol(d->item_id[d->split[0].item_n[r]] + 1, NULL, 10);
        assert_int_equal(d->split[0].label_n[r], (u * i) % 2);
    }
    sella_dataset_close(d);
    scratch_remove(folder);
}

/* A random log: histories of all rows equal what REFERENCE 1.2 says, recomputed from the rows
 * themselves. */
static void histories_by_brute_force(void **state)
{
    (void)state;
    sella_err err;
    uint32_t seed = 7;
    char *folder = scratch_make();
    sella_text log = {0};
    sella_text_format(&log, NULL, "user|item|rating|time|title\n");
    for (int e = 0; e < 3000; e++) {
        uint32_t r[4];
        for (int k = 0; k < 4; k++) {
            seed = seed * 1664525u + 1013904223u;
            r[k] = seed >> 10;
        }
        sella_text_format(&log, NULL, "%u|%u|%u|%u|Item %u\n", r[0] % 60, r[1] % 90, 1 + r[2] % 5,
                          1000 + r[3] % 500, r[1] % 90);
    }
    put(folder, "log.csv", log.data);
    sella_text_release(&log);
    static const char *const protocols[] = {"time", "leave-one-out"};
    for (int p = 0; p < 2; p++) {
        assert_int_equal(
            import_into(folder, "log.csv", "ds",
                        (sella_import_options){.format = "csv", .protocol = protocols[p]}, &err),
            SELLA_OK);
        sella_dataset *d = open_in(folder, "ds");
        int64_t rows = 0;
        for (int32_t u = 0; u < d->users; u++) {
            int32_t liked[3000], n = 0;
            int64_t last = INT64_MIN;
            for (int s = 0; s < SELLA_SPLITS; s++) {
                for (int64_t r = 0; r < d->split[s].rows; r++) {
                    const int32_t *h;
                    if (d->split[s].user_n[r] != u) {
                        continue;
                    }
                    assert_true(d->split[s].time_n[r] >= last);
                    last = d->split[s].time_n[r];
                    assert_int_equal(sella_dataset_history(d, (sella_split_id)s, r, &h), n);
                    assert_memory_equal(h, liked, (size_t)n * sizeof *liked);
                    if (d->split[s].label_n[r]) {
                        liked[n++] = d->split[s].item_n[r];
                    }
                    rows++;
                }
            }
            int32_t *all, count;
            assert_int_equal(sella_dataset_user_history(d, u, 7, &all, &count, &err), SELLA_OK);
            assert_int_equal(count, n);
            assert_memory_equal(all, liked, (size_t)n * sizeof *liked);
            free(all);
        }
        assert_int_equal(rows, 3000); // repeated pairs are kept
        sella_dataset_close(d);
    }
    scratch_remove(folder);
}

/* ---- MovieLens ---- */

static void put_small_movielens(const char *folder, int form)
{
    static const char *const user[] = {"1", "2"};
    sella_text ratings = {0}, movies = {0};
    const char *sep = form == 0 ? "::" : form == 1 ? "\t" : ",";
    if (form == 2) {
        sella_text_format(&ratings, NULL, "userId,movieId,rating,timestamp\n");
        sella_text_format(&movies, NULL, "movieId,title,genres\r\n");
    }
    for (int e = 0; e < 20; e++) {
        sella_text_format(&ratings, NULL, "%s%s%d%s%d%s%d\n", user[e % 2], sep, 1 + e % 3, sep,
                          1 + e % 5, sep, 1000 + e);
    }
    sella_text_format(
        &movies, NULL, "%s",
        form == 0 ? "1::Heat (1995)::Crime\n2::Caf\xe9 (1990)::Drama\n3::Alien::SF\n"
        : form == 1
            ? "1|Heat (1995)|01-Jan-1995||http://x|0|1\n2|Caf\xe9 (1990)|||\n3|Alien|\n"
            : "1,Heat (1995),Crime\r\n2,\"Caf\xc3\xa9 (1990)\",Drama\r\n3,\"Alien\",\"S,F\"\r\n");
    put(folder,
        form == 0   ? "in/ratings.dat"
        : form == 1 ? "in/u.data"
                    : "in/ratings.csv",
        ratings.data);
    put(folder,
        form == 0   ? "in/movies.dat"
        : form == 1 ? "in/u.item"
                    : "in/movies.csv",
        movies.data);
    sella_text_release(&ratings);
    sella_text_release(&movies);
}

static void three_forms_are_one(void **state)
{
    (void)state;
    sella_err err;
    char *first = NULL;
    for (int form = 0; form < 3; form++) {
        char *folder = scratch_make();
        put_small_movielens(folder, form);
        if (import_into(folder, "in", "ds", (sella_import_options){.format = "movielens"}, &err) !=
            SELLA_OK) {
            fail_msg("%s", err.text);
        }
        sella_dataset *d = open_in(folder, "ds");
        assert_string_equal(d->title[1], "Caf\xc3\xa9 (1990)");
        assert_string_equal(d->title[2], "Alien");
        char *checksum = strdup(d->checksum);
        if (first) {
            assert_string_equal(first, checksum); // the same data in another form
            free(checksum);
        } else {
            first = checksum;
        }
        sella_dataset_close(d);
        scratch_remove(folder);
    }
    free(first);
}

typedef struct zip_entry {
    const char *name;
    const void *data;
    size_t bytes;
} zip_entry;

static void put_zip(const char *folder, const char *name, const zip_entry *entry_n, int count)
{
    char *path = sella_path_join(folder, name, NULL);
    struct archive *a = archive_write_new();
    assert_int_equal(archive_write_set_format_zip(a), ARCHIVE_OK);
    assert_int_equal(archive_write_open_filename(a, path), ARCHIVE_OK);
    for (int e = 0; e < count; e++) {
        struct archive_entry *entry = archive_entry_new();
        archive_entry_set_pathname(entry, entry_n[e].name);
        archive_entry_set_size(entry, (la_int64_t)entry_n[e].bytes);
        archive_entry_set_filetype(entry, AE_IFREG);
        archive_entry_set_perm(entry, 0644);
        assert_int_equal(archive_write_header(a, entry), ARCHIVE_OK);
        assert_int_equal(archive_write_data(a, entry_n[e].data, entry_n[e].bytes),
                         (la_ssize_t)entry_n[e].bytes);
        archive_entry_free(entry);
    }
    assert_int_equal(archive_write_close(a), ARCHIVE_OK);
    archive_write_free(a);
    free(path);
}

static const char zip_ratings[] = "1::1::5::1\n1::2::1::2\n2::1::4::3\n2::2::2::4\n1::1::1::5\n2::"
                                  "1::5::6\n1::2::5::7\n2::2::1::8\n1::1::3::9\n2::2::5::10\n";
static const char zip_movies[] = "1::Heat (1995)::Crime\n2::Alien::SF\n";

static void zips(void **state)
{
    (void)state;
    sella_err err;
    char *folder = scratch_make();
    const sella_import_options movielens = {.format = "movielens"};
    zip_entry good[] = {{"ml/", "", 0},
                        {"ml/README", "hi", 2},
                        {"ml/ratings.dat", zip_ratings, sizeof zip_ratings - 1},
                        {"ml/movies.dat", zip_movies, sizeof zip_movies - 1}};
    put_zip(folder, "good.zip", good + 1, 3);
    if (import_into(folder, "good.zip", "ds", movielens, &err) != SELLA_OK) {
        fail_msg("%s", err.text);
    }
    sella_dataset *d = open_in(folder, "ds");
    assert_int_equal(d->split[0].rows + d->split[1].rows + d->split[2].rows, 10);
    sella_dataset_close(d);
    // Every truncation is refused or, when only the directory at the end is lost, read.
    char *path = sella_path_join(folder, "good.zip", NULL);
    sella_map map;
    assert_int_equal(sella_map_open(path, &map, &err), SELLA_OK);
    size_t size = map.size;
    uint8_t *bytes = malloc(size);
    memcpy(bytes, map.data, size);
    sella_map_close(&map);
    free(path);
    for (size_t cut = 0; cut < size; cut += 7) {
        put_bytes(folder, "cut.zip", bytes, cut);
        sella_status status = import_into(folder, "cut.zip", "ds", movielens, &err);
        assert_true(status == SELLA_FORMAT || (status == SELLA_OK && cut > size / 2));
    }
    free(bytes);
    size_t huge = (size_t)20 << 20;
    char *zeros = calloc(huge, 1);
    zip_entry bomb[] = {{"ratings.dat", zeros, huge},
                        {"movies.dat", zip_movies, sizeof zip_movies - 1}};
    put_zip(folder, "bomb.zip", bomb, 2);
    assert_int_equal(import_into(folder, "bomb.zip", "ds", movielens, &err), SELLA_FORMAT);
    assert_says(err, "refused as a zip bomb");
    free(zeros);
    zip_entry traversal[] = {{"../../ratings.dat", zip_ratings, sizeof zip_ratings - 1},
                             {"movies.dat", zip_movies, sizeof zip_movies - 1}};
    put_zip(folder, "up.zip", traversal, 2);
    assert_int_equal(import_into(folder, "up.zip", "ds", movielens, &err), SELLA_FORMAT);
    assert_says(err, "names a place outside the archive");
    zip_entry twice[] = {{"a/ratings.dat", zip_ratings, sizeof zip_ratings - 1},
                         {"b/ratings.dat", zip_ratings, sizeof zip_ratings - 1}};
    put_zip(folder, "twice.zip", twice, 2);
    assert_int_equal(import_into(folder, "twice.zip", "ds", movielens, &err), SELLA_FORMAT);
    assert_says(err, "holds ratings.dat twice");
    put_zip(folder, "half.zip", good + 2, 1);
    assert_int_equal(import_into(folder, "half.zip", "ds", movielens, &err), SELLA_FORMAT);
    assert_says(err, "holds no MovieLens data set");
    put(folder, "not.zip", "just text");
    assert_int_equal(import_into(folder, "not.zip", "ds", movielens, &err), SELLA_FORMAT);
    assert_says(err, "could not be read as a zip archive");
    scratch_remove(folder);
}

static void bad_movielens_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *ratings, *says;
    } cases[] = {
        {"1::1::5::100\n1::1::5\n", "ratings.dat:2: the line has not the 4 fields"},
        {"1::1::5::100::7\n", "ratings.dat:1: the line has not the 4 fields"},
        {"x::1::5::100\n", "ratings.dat:1: user id 'x' is not a whole number"},
        {"-1::1::5::100\n", "ratings.dat:1: user id -1 is outside"},
        {"99999999999999999999::1::5::100\n",
         "ratings.dat:1: user id 99999999999999999999 is outside"},
        {"1::1::nan::100\n", "ratings.dat:1: rating 'nan' is not a number"},
        {"1::1::6::100\n", "ratings.dat:1: rating 6 is outside 0 to 5"},
        {"1::1::5::99999999999999999999\n",
         "ratings.dat:1: timestamp 99999999999999999999 is outside"},
        {"1::7::5::100\n", "item '7' was rated and has no title (--skip-bad leaves such rows out)"},
        {"", "the train split is empty"},
    };
    sella_err err;
    const sella_import_options movielens = {.format = "movielens"};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        char *folder = scratch_make();
        put(folder, "in/ratings.dat", cases[c].ratings);
        put(folder, "in/movies.dat", zip_movies);
        assert_int_not_equal(import_into(folder, "in", "ds", movielens, &err), SELLA_OK);
        assert_says(err, cases[c].says);
        scratch_remove(folder);
    }
    char *folder = scratch_make();
    put(folder, "in/ratings.dat", zip_ratings);
    put(folder, "in/movies.dat", "1::Heat::X\n1::Alien::X\n");
    assert_int_equal(import_into(folder, "in", "ds", movielens, &err), SELLA_FORMAT);
    assert_says(err, "movies.dat:2: movie 1 occurs twice");
    put(folder, "in/movies.dat", "1::Heat::X\njust a line\n");
    assert_int_equal(import_into(folder, "in", "ds", movielens, &err), SELLA_FORMAT);
    assert_says(err, "movies.dat:2: the line has no title");
    put(folder, "in/movies.dat", "1::::X\n");
    assert_int_equal(import_into(folder, "in", "ds", movielens, &err), SELLA_FORMAT);
    assert_says(err, "movies.dat:1: the title has 0 bytes");
    put(folder, "in/movies.dat", zip_movies);
    put(folder, "in/u.data", "");
    put(folder, "in/u.item", "");
    assert_int_equal(import_into(folder, "in", "ds", movielens, &err), SELLA_FORMAT);
    assert_says(err, "more than one MovieLens data set");
    scratch_remove(folder);
}

/* ---- csv ---- */

static void csv_dialects(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "user,item,rating,time,title\nu,a,5,1,A\nu,b,1,2,\"B, "
        "\"\"two\"\"\"\nu,c,5,3,C\nv,a,5,4,A\n",
        "\xef\xbb\xbfuser;item;rating;time;title\r\nu;a;5;1;A\r\nu;b;1;2;\"B, "
        "\"\"two\"\"\"\r\nu;c;5;3;C\r\nv;a;5;4;A",
        "title\ttime\trating\titem\tuser\tmore\nA\t1\t5.0\ta\tu\t?\nB, "
        "\"two\"\t1970-01-01T00:00:02Z\t1\tb\tu\t?\n\nC\t1970-01-01 "
        "02:00:03+02:00\t5\tc\tu\t?\nA\t4.9\t5\ta\tv\t?\n",
        "user|item|label|timestamp|title\nu|a|1|1|A\nu|b|0|2|\"B, "
        "\"\"two\"\"\"\nu|c|1|3|\"\nC\n\"\nv|a|1|4|A\n",
    };
    sella_err err;
    char checksum[17] = "";
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
        char *folder = scratch_make();
        put(folder, "log.csv", texts[t]);
        sella_import_options options = {.format = "csv", .fractions = {0.5, 0.25, 0.25}};
        if (t == 2) {
            put(folder, "log.csv", texts[t]);
        }
        if (import_into(folder, "log.csv", "ds", options, &err) != SELLA_OK) {
            fail_msg("%zu: %s", t, err.text);
        }
        sella_dataset *d = open_in(folder, "ds");
        assert_string_equal(d->title[1], "B, \"two\"");
        if (t > 0) {
            assert_string_equal(d->checksum, checksum);
        }
        memcpy(checksum, d->checksum, sizeof checksum);
        sella_dataset_close(d);
        scratch_remove(folder);
    }
}

/* A catalogue of its own: its order, its titles, items that nobody rated; several logs; mapped
 * names. */
static void csv_with_catalogue(void **state)
{
    (void)state;
    sella_err err;
    char *folder = scratch_make();
    put(folder, "items.csv", "sku,name,price\nz,Zulu,1\na,\"Alpha, \nbeta\",2\nb,Bravo,3\n");
    put(folder, "1.csv", "who,sku,stars,at\nu,a,9,1\nu,b,2,2\nv,a,9,3\n");
    put(folder, "2.csv", "sku,who,at,stars\nb,v,4,9\na,v,5,1\n");
    char *items = sella_path_join(folder, "items.csv", NULL),
         *one = sella_path_join(folder, "1.csv", NULL),
         *two = sella_path_join(folder, "2.csv", NULL);
    char *out = sella_path_join(folder, "ds", NULL), *json = NULL;
    const char *inputs[] = {one, two};
    sella_import_options options = {.format = "csv",
                                    .inputs = inputs,
                                    .input_count = 2,
                                    .output = out,
                                    .items = items,
                                    .like_at = 8.5,
                                    .columns = "user=who,item=sku,rating=stars,time=at,title=name",
                                    .fractions = {0.6, 0.2, 0.2}};
    if (sella_import(&options, NULL, &json, &err) != SELLA_OK) {
        fail_msg("%s", err.text);
    }
    assert_non_null(strstr(json, "\"rejected\":{}"));
    free(json);
    sella_dataset *d = open_in(folder, "ds");
    assert_int_equal(d->items, 3);
    assert_string_equal(d->item_id[0], "z");
    assert_string_equal(d->title[1], "Alpha,  beta");
    expect_rows(d, SELLA_SPLIT_TRAIN, "u:a:1:|u:b:0:a|v:a:1:");
    expect_rows(d, SELLA_SPLIT_VALID, "v:b:1:a");
    expect_rows(d, SELLA_SPLIT_TEST, "v:a:0:a,b");
    sella_dataset_close(d);
    free(items);
    free(one);
    free(two);
    free(out);
    scratch_remove(folder);
}

#define LOG "user,item,rating,time,title\nu,a,5,1,A\nu,b,1,2,B\nv,a,5,3,A\nv,b,1,4,B\n"

/* dataset.json names what was read, with its XXH3 (expected values: the xxhash package of
 * Python). */
static void expect_files(const char *folder, const char *want)
{
    json_t *json = NULL;
    sella_err err = {0};
    char *path = sella_path_join(folder, "ds", "dataset.json", NULL);
    assert_int_equal(sella_json_load(path, 1 << 20, &json, &err), SELLA_OK);
    char *got = json_dumps(json_object_get(json_object_get(json, "source"), "files"), JSON_COMPACT);
    assert_string_equal(got, want);
    free(got);
    json_decref(json);
    free(path);
}

static void sources_are_noted(void **state)
{
    (void)state;
    sella_err err;
    char *folder = scratch_make();
    put(folder, "log.csv", LOG "u,a,5,5,A\nv,b,1,6,B\nu,b,5,7,B\nv,a,1,8,A\n");
    put(folder, "items.csv", "item,title\nb,B\na,A\n");
    char *items = sella_path_join(folder, "items.csv", NULL);
    if (import_into(folder, "log.csv", "ds",
                    (sella_import_options){.format = "csv", .items = items}, &err) != SELLA_OK) {
        fail_msg("%s", err.text);
    }
    expect_files(folder, "[{\"name\":\"items.csv\",\"xxh3\":\"a3f414942f299507\"},{\"name\":\"log."
                         "csv\",\"xxh3\":\"89cba15ab9f44b7b\"}]");
    free(items);
    scratch_remove(folder);
    folder = scratch_make(); // of an archive the members, whatever folder they stand in
    put_zip(folder, "in.zip",
            (zip_entry[]){{"x/ratings.dat", zip_ratings, sizeof zip_ratings - 1},
                          {"x/movies.dat", zip_movies, sizeof zip_movies - 1}},
            2);
    if (import_into(folder, "in.zip", "ds", (sella_import_options){.format = "movielens"}, &err) !=
        SELLA_OK) {
        fail_msg("%s", err.text);
    }
    expect_files(folder, "[{\"name\":\"ratings.dat\",\"xxh3\":\"f91c4d8ce45639f6\"},{\"name\":"
                         "\"movies.dat\",\"xxh3\":\"227d04b826641a4c\"}]");
    scratch_remove(folder);
}

static void bad_csv_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "log.csv: is empty"},
        {"user\n", "log.csv:1: the header has no separator"},
        {"user,item,rating,time,title,user\n", "log.csv:1: two columns are named 'user'"},
        {"user,,rating,time\n", "log.csv:1: column 2 has no name"},
        {"user,item,time,title\n", "log.csv:1: there is no column 'rating' nor 'label'"},
        {"user,item,rating,title\n",
         "no column for time (see --columns): log.csv:1: there is no column 'time'"},
        {"user,item,rating,time\n", "there is no column for titles (--columns title=NAME)"},
        {LOG "u,a,5,1\n", "log.csv:6: the record has 4 fields; expected 5"},
        {LOG "u,a,NaN,1,A\n", "log.csv:6: rating 'NaN' is not a number"},
        {LOG "u,a,inf,1,A\n", "log.csv:6: rating 'inf' is not a number"},
        {LOG "u,a,1e999,1,A\n", "log.csv:6: rating 1e999 is outside"},
        {LOG "u,a,5,tomorrow,A\n", "log.csv:6: time 'tomorrow' is neither seconds"},
        {LOG "u,a,5,2001-02-29,A\n", "log.csv:6: time '2001-02-29' is neither"},
        {LOG "u,a,5,9223372036854775807,A\n",
         "log.csv:6: time 9223372036854775807 is outside the years"},
        {LOG "u,a,5,99999999999999999999999,A\n",
         "log.csv:6: time '99999999999999999999999' is neither"},
        {LOG ",a,5,1,A\n", "log.csv:6: the user id is empty"},
        {LOG "u\x01,a,5,1,A\n", "log.csv:6: the user id 'u?' has a control character"},
        {LOG "u,a,5,1,\"A\n", "log.csv:6: a quoted field has no closing quote"},
        {LOG "u,a,5,1,\"A\"x\n", "log.csv:6: text stands behind a closing quote"},
        {LOG "u,a,5,1,\xe9\n", "log.csv:6: the record is not UTF-8"},
        {LOG "u,\"x\ny\",5,1,X\n", "log.csv:6: the item id 'x?y' has a control character"},
        {LOG "u,c,5,1,\n", "item 'c' was rated and has no title"},
        {"user,item,label,time,title\nu,a,2,1,A\n", "log.csv:2: label 2 is outside 0 to 1"},
        {"user,item,rating,time,title\nu,a,5,1,A\nu,b,5,2,B\n",
         "all 1 rows of train have label 1; expected both labels (see --like-at)"},
        {"user,item,rating,time,title\nu,a,5,1,A\nu,b,1,1,B\n", "the train split is empty"},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        sella_err err;
        char *folder = scratch_make();
        put(folder, "log.csv", cases[c].text);
        char *before = NULL;
        assert_int_not_equal(import_into(folder, "log.csv", "ds", csv_defaults, &err), SELLA_OK);
        // The path of the scratch folder stands in front of the file's name.
        const char *want = cases[c].says, *name = strstr(want, "log.csv");
        if (name && name != want) {
            before = strndup(want, (size_t)(name - want));
            assert_says(err, before);
            want = name;
        }
        assert_says(err, want);
        free(before);
        scratch_remove(folder);
    }
    expect_csv(LOG, (sella_import_options){.columns = "user"}, SELLA_ARG, "columns has 'user'");
    expect_csv(LOG, (sella_import_options){.columns = "user=user,user=x"}, SELLA_ARG,
               "columns maps user twice");
    expect_csv(LOG, (sella_import_options){.columns = "rating=rating,label=x"}, SELLA_ARG,
               "columns maps both rating and label");
    expect_csv(LOG, (sella_import_options){.columns = "item=sku"}, SELLA_FORMAT,
               "there is no column 'sku'");
    expect_csv(LOG, (sella_import_options){.protocol = "random"}, SELLA_ARG,
               "unknown protocol 'random'; expected time, ml-1m, amazon-book or leave-one-out");
    expect_csv(LOG, (sella_import_options){.like_at = NAN}, SELLA_ARG,
               "like-at is not a finite number");
    sella_err err;
    char *folder = scratch_make();
    put_bytes(folder, "log.csv", LOG "u,a\0,5,1,A\n", sizeof LOG - 1 + 11);
    assert_int_equal(import_into(folder, "log.csv", "ds", csv_defaults, &err), SELLA_FORMAT);
    assert_says(err, "log.csv:6: the record has a NUL byte");
    size_t huge = (size_t)9 << 20; // a line that does not end, with and without a quote
    char *line = malloc(huge);
    for (int quote = 0; quote < 2; quote++) {
        memset(line, 'x', huge);
        memcpy(line, LOG, sizeof LOG - 1);
        line[sizeof LOG - 1] = quote ? '"' : 'x';
        put_bytes(folder, "log.csv", line, huge);
        assert_int_equal(import_into(folder, "log.csv", "ds", csv_defaults, &err), SELLA_FORMAT);
        assert_says(err, quote ? "log.csv:6: a quoted field is too long or has no closing quote"
                               : "log.csv:6: the record has more than 4194304 bytes");
    }
    free(line);
    assert_int_equal(import_into(folder, "nosuch.csv", "ds", csv_defaults, &err), SELLA_MISSING);
    scratch_remove(folder);
}

/* Bad rows are counted by reason; what is left is what a clean file would give. */
static void bad_rows_can_be_skipped(void **state)
{
    (void)state;
    sella_err err;
    char *folder = scratch_make(), *json = NULL;
    put(folder, "clean.csv", LOG "w,a,5,5,A\nw,b,1,6,B\nw,a,5,7,A\nw,b,5,8,B\n");
    put(folder, "dirty.csv",
        LOG "u,a,x,1,A\nu,a,5\n\"u,a,5,1,A\nw,a,5,5,A\nw,b,1,6,B\nu,a,5,never,A\nw,a,5,7,A\nu,zz,5,"
            "1,\nu,a,y,1,A\nw,b,5,8,B\n,a,5,9,A\n");
    char *in = sella_path_join(folder, "dirty.csv", NULL),
         *out = sella_path_join(folder, "dirty", NULL);
    const char *inputs[] = {in};
    sella_import_options options = {
        .format = "csv", .inputs = inputs, .input_count = 1, .output = out, .skip_bad = 1};
    if (sella_import(&options, NULL, &json, &err) != SELLA_OK) {
        fail_msg("%s", err.text);
    }
    assert_non_null(strstr(json, "\"rejected\":{\"rating\":2,\"record\":2,\"time\":1,\"user "
                                 "id\":1,\"item without title\":1}"));
    free(json);
    assert_int_equal(import_into(folder, "clean.csv", "ds", csv_defaults, &err), SELLA_OK);
    sella_dataset *a = open_in(folder, "ds"), *b = open_in(folder, "dirty");
    assert_string_equal(a->checksum, b->checksum);
    sella_dataset_close(a);
    sella_dataset_close(b);
    free(in);
    free(out);
    scratch_remove(folder);
}

static void times(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t seconds;
    } good[] = {
        {"0", 0},
        {"978300760", 978300760},
        {"978300760000", 978300760},
        {"978300760.9", 978300760},
        {"-5", -5},
        {"-1.5", -2},
        {"9.783e8", 978300000},
        {"1970-01-01", 0},
        {"2001-06-01T00:41:48Z", 991356108},
        {"2001-06-01 02:41:48+02:00", 991356108},
        {"2001-05-31T19:41:48.25-0500", 991356108},
        {"2000-02-29", 951782400},
        {"1969-12-31T23:59", -60},
        {"2017-12-01", 1512086400},
        {"0001-01-01", INT64_C(-62135596800)},
        {"9999-12-31T23:59:59", INT64_C(253402300799)},
        {"-978300760000", -978300760},
    };
    static const char *const bad[] = {"",
                                      "x",
                                      "2001-13-01",
                                      "2001-00-01",
                                      "1900-02-29",
                                      "2001-06-31",
                                      "2001-06-01T24:00",
                                      "2001-06-01T1:00",
                                      "2001-06-01x",
                                      "2001-06-01T00:41:48+",
                                      "2001-06-01T00:41:48.",
                                      "nan",
                                      "inf",
                                      "1e400",
                                      "9223372036854775808",
                                      "20010601T",
                                      "--1",
                                      "2001-6-1"};
    for (size_t g = 0; g < sizeof good / sizeof *good; g++) {
        sella_err err = {0};
        int64_t seconds = 77;
        if (sella_parse_time(good[g].text, strlen(good[g].text), &seconds, &err) != SELLA_OK) {
            fail_msg("%s", err.text);
        }
        assert_int_equal(seconds, good[g].seconds);
    }
    for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
        sella_err err = {0};
        int64_t seconds;
        if (sella_parse_time(bad[b], strlen(bad[b]), &seconds, &err) == SELLA_OK) {
            fail_msg("accepted '%s'", bad[b]);
        }
        assert_true(err.text[0] != '\0');
    }
}

/* ---- stopping, damage ---- */

static int stop_at_once(void *user)
{
    (void)user;
    return 1;
}

static void an_import_can_be_stopped(void **state)
{
    (void)state;
    sella_err err = {0};
    sella_text log = {0};
    char *folder = scratch_make();
    sella_text_format(&log, NULL, "user,item,rating,time,title\n");
    for (int e = 0; e < 70000; e++) {
        sella_text_format(&log, NULL, "u,a,%d,%d,A\n", 1 + e % 5, e);
    }
    put(folder, "log.csv", log.data);
    sella_text_release(&log);
    char *in = sella_path_join(folder, "log.csv", NULL), *out = sella_path_join(folder, "ds", NULL);
    const char *inputs[] = {in};
    const sella_talk talk = {.stop = stop_at_once};
    sella_import_options options = {
        .format = "csv", .inputs = inputs, .input_count = 1, .output = out};
    assert_int_equal(sella_import(&options, &talk, NULL, &err), SELLA_INTERRUPTED);
    assert_false(sella_path_exists(out));
    free(in);
    free(out);
    scratch_remove(folder);
}

typedef struct damage {
    const char *folder, *file, *input;
    sella_import_options options;
} damage;

static void import_damaged(const uint8_t *data, size_t bytes, void *user)
{
    const damage *d = user;
    sella_err err;
    put_bytes(d->folder, d->file, data, bytes);
    if (import_into(d->folder, d->input, "ds", d->options, &err) == SELLA_OK) {
        sella_dataset_close(open_in(d->folder, "ds"));
    }
}

static void damaged_logs(void **state)
{
    (void)state;
    char *folder = scratch_make();
    static const char quoted[] =
        "user,item,rating,time,title\nu,a,5,1,\"A, "
        "\"\"x\"\"\"\nu,b,1,2001-06-01T00:41:48Z,B\nv,a,5,3,\"A\n\"\nv,b,1,4,B\n";
    damage csv = {folder, "log.csv", "log.csv", {.format = "csv", .skip_bad = 1}};
    mutate_run(quoted, sizeof quoted - 1, mutate_rounds(300, 20000), import_damaged, &csv);
    damage dat = {folder, "in/ratings.dat", "in", {.format = "movielens"}};
    put(folder, "in/movies.dat", zip_movies);
    mutate_run(zip_ratings, sizeof zip_ratings - 1, mutate_rounds(300, 20000), import_damaged,
               &dat);
    put(folder, "in/ratings.dat", zip_ratings);
    dat.file = "in/movies.dat";
    mutate_run(zip_movies, sizeof zip_movies - 1, mutate_rounds(300, 20000), import_damaged, &dat);
    zip_entry good[] = {{"ml/ratings.dat", zip_ratings, sizeof zip_ratings - 1},
                        {"ml/movies.dat", zip_movies, sizeof zip_movies - 1}};
    put_zip(folder, "good.zip", good, 2);
    char *path = sella_path_join(folder, "good.zip", NULL);
    sella_map map;
    assert_int_equal(sella_map_open(path, &map, NULL), SELLA_OK);
    damage zip = {folder, "bad.zip", "bad.zip", {.format = "movielens", .skip_bad = 1}};
    mutate_run(map.data, map.size, mutate_rounds(300, 20000), import_damaged, &zip);
    sella_map_close(&map);
    free(path);
    scratch_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(protocol_time),
        cmocka_unit_test(protocol_last_out),
        cmocka_unit_test(protocol_ml_1m),
        cmocka_unit_test(protocol_amazon_book),
        cmocka_unit_test(histories_by_brute_force),
        cmocka_unit_test(three_forms_are_one),
        cmocka_unit_test(zips),
        cmocka_unit_test(bad_movielens_is_refused),
        cmocka_unit_test(csv_dialects),
        cmocka_unit_test(csv_with_catalogue),
        cmocka_unit_test(sources_are_noted),
        cmocka_unit_test(bad_csv_is_refused),
        cmocka_unit_test(bad_rows_can_be_skipped),
        cmocka_unit_test(times),
        cmocka_unit_test(an_import_can_be_stopped),
        cmocka_unit_test(damaged_logs),
    };
    scratch_in_memory();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
