/* test_data_import_amazon.c - Amazon's reviews and metadata: the three releases, their defects, the
 * protocol of the paper on small files. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/resource.h>
#include <zlib.h>

#include "base/text.h"
#include "data/import.h"
#include "data_fixture.h"
#include "fuzz/mutate.h"

static const sella_import_options defaults = {.format = "amazon"};

static void put_gzip(const char *folder, const char *name, const char *text)
{
    char *path = sella_path_join(folder, name, NULL);
    gzFile file = gzopen(path, "wb1");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, text, (unsigned)strlen(text)), (int)strlen(text));
    assert_int_equal(gzclose(file), Z_OK);
    free(path);
}

static sella_status import_pair(const char *folder, const char *reviews, const char *metadata,
                                const char *out, sella_import_options options, char **json,
                                sella_err *err)
{
    const char *in[] = {reviews, metadata};
    return import_files(folder, in, 2, out, options, json, err);
}

/* ---- the releases ---- */

enum { ROWS = 40, ITEMS = 5 };

/* Row r of a small log: nothing special, both labels, three users. */
static void row(int r, const char **user, const char **item, int *rating, long long *time)
{
    static const char *const users[] = {"A3SGXH7AUHU8GW", "A1D87F6ZCVE5NK",
                                        "AHMO3YMSTZGXEV3LTV4W7NLGSIQQ"},
                             *const items[] = {"0001048791", "B0002", "B0003", "B0004", "B0005"};
    *user = users[r * 7 % 3];
    *item = items[r * 3 % ITEMS];
    *rating = 1 + (r * 11 + r / 5) % 5;
    *time = 1400000000LL + r * 1000;
}

static const char *const titles[ITEMS] = {"The Crucible: \"A\" & 'B'", "Caf\xc3\xa9", "Three",
                                          "Four", "Five"};

/* Reviews and metadata as released in a year. */
static void put_release(const char *folder, int year)
{
    static const char *const raw_2014[ITEMS] = {"'The Crucible: \"A\" &amp; \\'B\\''",
                                                "'Caf\\xc3\\xa9'", "\"Three\"", "' Four '",
                                                "'F\\x69ve'"};
    static const char *const raw_json[ITEMS] = {
        "\"The Crucible: &quot;A&quot; &amp; &#39;B&#x27;\"", "\"Caf\\u00e9\"", "\"Three\"",
        "\"\\tFour \"", "\"F\\u0069ve\""};
    sella_text reviews = {0}, metadata = {0};
    for (int r = 0; r < ROWS; r++) {
        const char *user, *item;
        int rating;
        long long time;
        row(r, &user, &item, &rating, &time);
        if (year == 2014) {
            sella_text_format(
                &reviews, NULL,
                "{\"reviewerID\": \"%s\", \"asin\": \"%s\", \"reviewerName\": \"J. \\\"Q\\\" "
                "\\u00e9\", \"helpful\": [0, %d], \"reviewText\": \"asin\\\\\", \"overall\": %d.0, "
                "\"summary\": \"\", \"unixReviewTime\": %lld, \"reviewTime\": \"09 13, 2009\"}\n",
                user, item, r, rating, time);
        } else if (year == 2018) {
            sella_text_format(
                &reviews, NULL,
                "{\"overall\": %d.0, \"vote\": \"1,%03d\", \"verified\": %s, \"reviewTime\": \"01 "
                "1, 2018\", \"reviewerID\": \"%s\", \"asin\": \"%s\", \"style\": {\"Format:\": \" "
                "Hardcover\"}, \"image\": [\"a\", \"b\"], \"reviewText\": \"{\\\"asin\\\": 1}\", "
                "\"unixReviewTime\": %lld}\r\n",
                rating, r, r % 2 ? "true" : "false", user, item, time);
        } else {
            sella_text_format(
                &reviews, NULL,
                "{\"rating\": %d.0, \"title\": \"t\", \"text\": \"\\ud83d\\ude00\", \"images\": "
                "[], \"asin\": \"VARIANT%d\", \"parent_asin\": \"%s\", \"user_id\": \"%s\", "
                "\"timestamp\": %lld%03d, \"helpful_vote\": 0, \"verified_purchase\": true}\n",
                rating, r, item, user, time, r);
        }
    }
    for (int i = ITEMS - 1; i >= 0; i--) { // the order of the metadata does not matter
        static const char *const id[ITEMS] = {"0001048791", "B0002", "B0003", "B0004", "B0005"};
        if (year == 2014) {
            sella_text_format(&metadata, NULL,
                              "{'asin': '%s', 'salesRank': {'Books': 6334800}, 'imUrl': "
                              "'http://x/y.jpg', 'categories': [['Books'], ('a',)], 'price': 1.5, "
                              "'x': None, 'y': True, 'title': %s,}\n",
                              id[i], raw_2014[i]);
        } else {
            sella_text_format(&metadata, NULL,
                              "{\"%s\": \"Books\", %s\"title\": %s, \"price\": null, \"details\": "
                              "{\"title\": \"no\", \"asin\": \"no\"}, \"%s\": \"%s\"}\n",
                              year == 2018 ? "main_cat" : "main_category",
                              year == 2018 ? "\"also_buy\": [], " : "\"store\": null, ",
                              raw_json[i], year == 2018 ? "asin" : "parent_asin", id[i]);
        }
    }
    sella_text_format(&metadata, NULL,
                      year == 2014 ? "{'asin': 'never', 'title': 'Never reviewed'}\n"
                                   : "{\"%s\": \"never\", \"title\": \"Never reviewed\"}\n",
                      year == 2018 ? "asin" : "parent_asin");
    put(folder, "reviews", reviews.data);
    put_gzip(folder, "reviews.gz", reviews.data);
    put(folder, "metadata", metadata.data);
    put_gzip(folder, "metadata.gz", metadata.data);
    sella_text_release(&reviews);
    sella_text_release(&metadata);
}

static void expect_generation(const char *folder, const char *name, const char *says)
{
    char *path = sella_path_join(folder, name, "dataset.json", NULL);
    sella_map map;
    assert_int_equal(sella_map_open(path, &map, NULL), SELLA_OK);
    if (!memmem(map.data, map.size, says, strlen(says))) {
        fail_msg("dataset.json does not say %s: %.*s", says, (int)map.size, (const char *)map.data);
    }
    sella_map_close(&map);
    free(path);
}

/* Plain or gzip, in each release, the log is the one that the same rows give as csv. */
static void releases_are_one_log(void **state)
{
    (void)state;
    static const struct {
        int year;
        const char *says;
    } releases[] = {{2014, "\"generation\": \"2014\""},
                    {2018, "\"generation\": \"2018\""},
                    {2023, "\"generation\": \"2023\""}};
    sella_err err;
    sella_text csv = {0};
    char *folder = scratch_make();
    sella_text_format(&csv, NULL, "user|item|rating|time|title\n");
    for (int r = 0; r < ROWS; r++) {
        const char *user, *item;
        int rating;
        long long time;
        row(r, &user, &item, &rating, &time);
        sella_text quoted = {0};
        for (const char *t = titles[r * 3 % ITEMS]; *t; t++) {
            sella_text_append(&quoted, "\"\"", *t == '"' ? 2 : 0, NULL);
            sella_text_append(&quoted, t, *t != '"', NULL);
        }
        sella_text_format(&csv, NULL, "%s|%s|%d|%lld|\"%s\"\n", user, item, rating, time,
                          quoted.data);
        sella_text_release(&quoted);
    }
    put(folder, "log.csv", csv.data);
    sella_text_release(&csv);
    assert_int_equal(
        import_into(folder, "log.csv", "csv", (sella_import_options){.format = "csv"}, &err),
        SELLA_OK);
    sella_dataset *want = open_in(folder, "csv");
    for (size_t y = 0; y < 3; y++) {
        put_release(folder, releases[y].year);
        for (int gzip = 0; gzip < 2; gzip++) {
            if (import_pair(folder, gzip ? "reviews.gz" : "reviews",
                            gzip ? "metadata" : "metadata.gz", "ds", defaults, NULL,
                            &err) != SELLA_OK) {
                fail_msg("%d: %s", releases[y].year, err.text);
            }
            sella_dataset *got = open_in(folder, "ds");
            assert_string_equal(got->checksum, want->checksum);
            assert_string_equal(got->title[0], titles[0]);
            sella_dataset_close(got);
            expect_generation(folder, "ds", releases[y].says);
        }
    }
    sella_dataset_close(want);
    scratch_remove(folder);
}

/* ---- the protocol of the paper ---- */

typedef struct review {
    int user, item, stars, split; // split -1: left out
    long long time;
} review;

static uint32_t draw(uint32_t *seed, uint32_t n)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (*seed >> 8) % n;
}

enum {
    PEOPLE = 42,
    THINGS = 42,
    UNTITLED = 7,
    JANUARY = 1483228800,
    DECEMBER = 1512086400,
    NEW_YEAR = 1514764800
};

/* Ratings of each user and item among those that are in (split >= 0); those of 20 or fewer go out.
 * Returns how many went. */
static int filter(review *r, int count)
{
    int by_user[PEOPLE] = {0}, by_item[THINGS] = {0}, went = 0;
    for (int k = 0; k < count; k++) {
        by_user[r[k].user] += r[k].split >= 0;
        by_item[r[k].item] += r[k].split >= 0;
    }
    for (int k = 0; k < count; k++) {
        if (r[k].split >= 0 && (by_user[r[k].user] <= 20 || by_item[r[k].item] <= 20)) {
            r[k].split = -1;
            went++;
        }
    }
    return went;
}

/* REFERENCE 1.5 read aloud, quadratic. */
static void split_by_hand(review *r, int count)
{
    int decembers = 0;
    for (int k = 0; k < count; k++) {
        r[k].split =
            r[k].item % UNTITLED == 0 || r[k].time < JANUARY || r[k].time >= NEW_YEAR ? -1 : 0;
    }
    filter(r, count);
    for (int k = 0; k < count; k++) {
        decembers += r[k].split >= 0 && r[k].time >= DECEMBER;
    }
    for (int k = 0; k < count; k++) {
        int before = 0;
        if (r[k].split < 0 || r[k].time < DECEMBER) {
            continue;
        }
        for (int j = 0; j < count; j++) {
            before += r[j].split >= 0 && r[j].time >= DECEMBER &&
                      (r[j].time < r[k].time || (r[j].time == r[k].time && j < k));
        }
        r[k].split = before < decembers / 2 ? 1 : 2;
    }
}

/* "user:item:label|" of a split as split_by_hand has it: by user, time, place in the log. */
static char *hand_text(const review *r, int count, int split)
{
    sella_text text = {0};
    bool *taken = calloc((size_t)count, 1);
    sella_text_append(&text, "", 0, NULL);
    for (;;) {
        int best = -1;
        for (int k = 0; k < count; k++) {
            if (r[k].split == split && !taken[k] &&
                (best < 0 || r[k].user < r[best].user ||
                 (r[k].user == r[best].user && r[k].time < r[best].time))) {
                best = k;
            }
        }
        if (best < 0) {
            free(taken);
            return text.data;
        }
        taken[best] = true;
        sella_text_format(&text, NULL, "U%02d:I%02d:%d|", r[best].user, r[best].item,
                          r[best].stars == 5);
    }
}

static void paper_protocol(void **state)
{
    (void)state;
    sella_err err;
    sella_text reviews = {0}, metadata = {0};
    review *log = calloc(2 * PEOPLE * THINGS, sizeof *log);
    int count = 0;
    uint32_t seed = 5;
    char *folder = scratch_make(), *json = NULL;
    for (int k = 0; k < PEOPLE * THINGS; k++) {
        if (draw(&seed, 100) < 62) {
            bool late = draw(&seed, 8) == 0;
            int day = (int)(late ? draw(&seed, 31) : draw(&seed, 334)); // day resolution: many ties
            log[count++] = (review){k % PEOPLE, k / PEOPLE, 1 + (int)draw(&seed, 5), 0,
                                    (late ? DECEMBER : JANUARY) + day * 86400LL};
        }
        if (draw(&seed, 20) == 0) { // other years, on both sides of the border, and repeated pairs
            log[count++] = (review){k % PEOPLE, k / PEOPLE, 5, 0,
                                    k % 3 == 0   ? JANUARY - 1LL
                                    : k % 3 == 1 ? (long long)NEW_YEAR
                                                 : NEW_YEAR - 1LL};
        }
    }
    for (int k = 0; k < count; k++) {
        sella_text_format(&reviews, NULL,
                          "{\"overall\": %d, \"verified\": true, \"reviewerID\": \"U%02d\", "
                          "\"asin\": \"I%02d\", \"unixReviewTime\": %lld}\n",
                          log[k].stars, log[k].user, log[k].item, log[k].time);
    }
    for (int i = 0; i < THINGS; i++) {
        sella_text_format(&metadata, NULL, "{\"asin\": \"I%02d\", \"title\": %s}\n", i,
                          i % UNTITLED ? "\"T\""
                          : i % 2      ? "null"
                                       : "\" \"");
    }
    put_gzip(folder, "reviews.json.gz", reviews.data);
    put(folder, "metadata.json", metadata.data);
    if (import_pair(folder, "reviews.json.gz", "metadata.json", "ds",
                    (sella_import_options){.format = "amazon", .protocol = "amazon-book"}, &json,
                    &err) != SELLA_OK) {
        fail_msg("%s", err.text);
    }
    free(json);
    split_by_hand(log, count);
    sella_dataset *d = open_in(folder, "ds");
    assert_string_equal(d->noun, "book");
    for (int s = 0; s < SELLA_SPLITS; s++) {
        sella_text got = {0};
        for (int64_t r = 0; r < d->split[s].rows; r++) {
            sella_text_format(&got, NULL, "%s:%s:%d|", d->user_id[d->split[s].user_n[r]],
                              d->item_id[d->split[s].item_n[r]], d->split[s].label_n[r]);
        }
        char *want = hand_text(log, count, s);
        assert_true(strlen(want) > 200);
        assert_string_equal(got.data, want);
        free(want);
        sella_text_release(&got);
    }
    /* counting again would have thrown out more: the case can tell */
    assert_true(filter(log, count) > 0);
    sella_dataset_close(d);
    free(log);
    sella_text_release(&reviews);
    sella_text_release(&metadata);
    scratch_remove(folder);
}

/* ---- defects ---- */

#define REVIEW(user, item, stars, time)                                                            \
    "{\"reviewerID\":\"" user "\",\"asin\":\"" item "\",\"overall\":" stars                        \
    ",\"unixReviewTime\":" time "}\n"
static const char good_reviews[] = REVIEW("u", "a", "5", "1") REVIEW("v", "b", "1.0", "2")
    REVIEW("u", "b", "5", "3") REVIEW("u", "b", "5", "3") REVIEW("v", "a", "2", "9");
static const char good_metadata[] =
    "{\"asin\":\"a\",\"title\":\"A\"}\n{\"asin\":\"b\",\"title\":\"B\"}\n";
static const sella_import_options halves = {.format = "amazon", .fractions = {0.6, 0.4, 0}};

static void bad_lines(void **state)
{
    (void)state;
    static const struct {
        const char *line, *says, *reason;
    } reviews[] =
        {
            {"{\"reviewerID\":\"u\",\"asin\":\"a\",\"overall\":5,",
             "reviews:6: an object has no name in quotes at byte 42 of the line", "line"},
            {"{\"reviewerID\":\"u\",\"asin\":\"a\",\"overall\":5,\"unixReviewTime\":1",
             "neither a comma nor its end", "line"},
            {"{\"reviewerID\":\"u\",\"asin\":\"a\",\"overall\":5,\"unixReviewTime\":1} {}",
             "text follows the object", "line"},
            {"not json", "reviews:6: the line is no object in braces", "line"},
            {"[1]", "no object in braces", "line"},
            {"{\"reviewerID\":\"u\",\"asin\":\"a\xff\",\"overall\":5,\"unixReviewTime\":1}",
             "reviews:6: the line is not UTF-8 at its byte 28", "line"},
            {"{\"reviewerID\":\"u\",\"asin\":\"a\",\"asin\":\"b\",\"overall\":5,\"unixReviewTime\":"
             "1}",
             "the line has 'asin' twice", "line"},
            {"{\"asin\":\"a\",\"overall\":5,\"unixReviewTime\":1}", "the line has no 'reviewerID'",
             "user id"},
            {"{\"user_id\":\"u\",\"asin\":\"a\",\"rating\":5,\"timestamp\":1}",
             "the line has no 'reviewerID'", "user id"},
            {"{\"reviewerID\":7,\"asin\":\"a\",\"overall\":5,\"unixReviewTime\":1}",
             "'reviewerID' is a number; expected a text", "user id"},
            {"{\"reviewerID\":\"\",\"asin\":\"a\",\"overall\":5,\"unixReviewTime\":1}",
             "the user id is empty", "user id"},
            {"{\"reviewerID\":\"u\\u0007\",\"asin\":\"a\",\"overall\":5,\"unixReviewTime\":1}",
             "control character", "user id"},
            {"{\"reviewerID\":\"u\",\"overall\":5,\"unixReviewTime\":1}", "the line has no 'asin'",
             "item id"},
            {"{\"reviewerID\":\"u\",\"asin\":null,\"overall\":5,\"unixReviewTime\":1}",
             "'asin' is null; expected a text", "item id"},
            {"{\"reviewerID\":\"u\",\"asin\":\"a\",\"unixReviewTime\":1}",
             "the line has no 'overall'", "rating"},
            {"{\"reviewerID\":\"u\",\"asin\":\"a\",\"overall\":\"5\",\"unixReviewTime\":1}",
             "'overall' is a text; expected a number", "rating"},
            {"{\"reviewerID\":\"u\",\"asin\":\"a\",\"overall\":5.5,\"unixReviewTime\":1}",
             "reviews:6: rating 5.5 is outside 0 to 5", "rating"},
            {"{\"reviewerID\":\"u\",\"asin\":\"a\",\"overall\":-1,\"unixReviewTime\":1}",
             "rating -1 is outside", "rating"},
            {"{\"reviewerID\":\"u\",\"asin\":\"a\",\"overall\":NaN,\"unixReviewTime\":1}",
             "there is no value at byte 40", "line"},
            {"{\"reviewerID\":\"u\",\"asin\":\"a\",\"overall\":5}",
             "the line has no 'unixReviewTime'", "time"},
            {"{\"reviewerID\":\"u\",\"asin\":\"a\",\"overall\":5,\"unixReviewTime\":[1]}",
             "'unixReviewTime' is a list; expected a number", "time"},
            {"{\"reviewerID\":\"u\",\"asin\":\"a\",\"overall\":5,\"unixReviewTime\":"
             "9999999999999999}",
             "is outside the years", "time"},
        },
      metadata[] = {
          {"{\"asin\":\"a\",\"title\":\"A}", "metadata:3: a string has no end", "line"},
          {"{'asin':'a','title':null}", "there is no value", "line"},
          {"{\"title\":\"A\"}", "the line has no 'asin'", "item id"},
          {"{\"asin\":\"a\",\"title\":[\"A\"]}", "'title' is a list; expected a text", "title"},
          {"{'asin':'a','title':'\\U00110000'}", "no character", "title"},
          {"{\"reviewerID\":\"u\",\"asin\":\"a\",\"overall\":5,\"unixReviewTime\":1}",
           "metadata:3: the line is a review; expected metadata", "item id"},
      };
    sella_err err;
    char *folder = scratch_make(), clean[17];
    put(folder, "reviews", good_reviews);
    put(folder, "metadata", good_metadata);
    assert_int_equal(import_pair(folder, "reviews", "metadata", "ds", halves, NULL, &err),
                     SELLA_OK);
    sella_dataset *d = open_in(folder, "ds");
    assert_int_equal(d->split[0].rows + d->split[1].rows, 5); // the repeated row stays
    memcpy(clean, d->checksum, sizeof clean);
    sella_dataset_close(d);
    expect_generation(folder, "ds", "\"generation\": \"2014 or 2018\"");
    for (size_t c = 0; c < sizeof reviews / sizeof *reviews + sizeof metadata / sizeof *metadata;
         c++) {
        bool is_review = c < sizeof reviews / sizeof *reviews;
        size_t k = is_review ? c : c - sizeof reviews / sizeof *reviews;
        const char *line = is_review ? reviews[k].line : metadata[k].line,
                   *says = is_review ? reviews[k].says : metadata[k].says,
                   *reason = is_review ? reviews[k].reason : metadata[k].reason;
        sella_text text = {0};
        sella_text_format(&text, NULL, "%s%s\n\n%s\n", is_review ? good_reviews : good_metadata,
                          line, line);
        put(folder, is_review ? "reviews" : "metadata", text.data);
        sella_text_release(&text);
        if (import_pair(folder, "reviews", "metadata", "ds", halves, NULL, &err) != SELLA_FORMAT) {
            fail_msg("not refused: %s (%s)", line, err.text);
        }
        assert_says(err, says);
        sella_import_options skip = halves;
        char *json = NULL, want[64];
        skip.skip_bad = 1;
        if (import_pair(folder, "reviews", "metadata", "ds", skip, &json, &err) != SELLA_OK) {
            fail_msg("%s: %s", line, err.text);
        }
        snprintf(want, sizeof want, "\"rejected\":{\"%s\":2}", reason);
        if (!strstr(json, want)) {
            fail_msg("%s: no %s in %s", line, want, json);
        }
        free(json);
        d = open_in(folder, "ds");
        assert_string_equal(d->checksum, clean);
        sella_dataset_close(d);
        put(folder, "reviews", good_reviews);
        put(folder, "metadata", good_metadata);
    }
    scratch_remove(folder);
}

/* Records of the metadata: the last one decides, also without a title; items nobody reviewed are
 * not kept; an item without a record or a title loses its rows and they are counted, without
 * --skip-bad too. */
static void metadata_is_joined(void **state)
{
    (void)state;
    const sella_import_options whole = {.format = "amazon", .fractions = {1, 0, 0}};
    sella_err err;
    char *folder = scratch_make(), *json = NULL;
    put(folder, "reviews",
        REVIEW("u", "a", "5", "1") REVIEW("u", "b", "1", "2") REVIEW("u", "c", "1", "3")
            REVIEW("v", "d", "5", "4") REVIEW("v", "e", "5", "5") REVIEW("v", "a", "3", "6")
                REVIEW("v", "f", "3", "7") REVIEW("v", "f", "3", "8"));
    put(folder, "metadata",
        "{\"asin\":\"a\",\"title\":\"First\"}\n{\"asin\":\"x\",\"title\":\"X\"}\n{\"asin\":\"b\","
        "\"title\":\"B &amp;amp; &nosuch; &#0; &#x41;&#8217;s  x "
        "\"}\n{\"asin\":\"c\",\"title\":\"C\"}\n"
        "{\"asin\":\"d\"}\n{\"asin\":\"c\",\"title\":\"\"}\n{\"asin\":\"a\",\"title\":\"Last\"}\n{"
        "\"asin\":\"e\",\"title\":null}");
    if (import_pair(folder, "reviews", "metadata", "ds", whole, &json, &err) != SELLA_OK) {
        fail_msg("%s", err.text);
    }
    assert_non_null(strstr(json, "\"rejected\":{\"item without title\":5}"));
    free(json);
    expect_generation(folder, "ds", "\"item without title\": 5");
    sella_dataset *d = open_in(folder, "ds");
    assert_int_equal(d->items, 2);
    assert_string_equal(d->title[0], "Last");
    assert_string_equal(d->title[1], "B &amp; &nosuch; &#0; A\xe2\x80\x99s x");
    assert_int_equal(d->split[0].rows + d->split[1].rows, 3);
    sella_dataset_close(d);
    // A very long title is kept as far as titles go.
    sella_text text = {0};
    sella_text_format(&text, NULL,
                      "{\"asin\":\"b\",\"title\":\"B\"}\n{\"asin\":\"a\",\"title\":\"x");
    for (int k = 0; k < 4000; k++) {
        sella_text_format(&text, NULL, "\xc3\xa9");
    }
    sella_text_format(&text, NULL, "\"}\n");
    put(folder, "metadata", text.data);
    sella_text_release(&text);
    assert_int_equal(import_pair(folder, "reviews", "metadata", "ds", whole, NULL, &err), SELLA_OK);
    d = open_in(folder, "ds");
    assert_int_equal(strlen(d->title[0]), 4095); // x and 2,047 whole characters
    sella_dataset_close(d);
    scratch_remove(folder);
}

static void wrong_files(void **state)
{
    (void)state;
    sella_err err;
    char *folder = scratch_make();
    put(folder, "reviews", good_reviews);
    put(folder, "metadata", good_metadata);
    assert_int_equal(import_pair(folder, "metadata", "reviews", "ds", halves, NULL, &err),
                     SELLA_FORMAT);
    assert_says(err,
                "reviews:1: the line is a review; expected the reviews first, then the metadata");
    assert_int_equal(import_pair(folder, "metadata", "metadata", "ds", halves, NULL, &err),
                     SELLA_FORMAT);
    assert_says(err, "metadata:1: the line has neither 'reviewerID' (2014, 2018) nor 'user_id' "
                     "(2023); expected reviews");
    assert_int_equal(import_pair(folder, "reviews", "nowhere", "ds", halves, NULL, &err),
                     SELLA_MISSING);
    assert_int_equal(import_pair(folder, "nowhere", "metadata", "ds", halves, NULL, &err),
                     SELLA_MISSING);
    assert_int_equal(import_pair(folder, ".", "metadata", "ds", halves, NULL, &err), SELLA_IO);
    assert_says(err, "is a folder");
    const char *one[] = {"reviews", "metadata", "metadata"};
    assert_int_equal(import_files(folder, one, 1, "ds", halves, NULL, &err), SELLA_ARG);
    assert_says(err, "two inputs, the reviews and the metadata; 1 was given");
    assert_int_equal(import_files(folder, one, 3, "ds", halves, NULL, &err), SELLA_ARG);
    put(folder, "empty", "");
    assert_int_equal(import_pair(folder, "empty", "metadata", "ds", halves, NULL, &err),
                     SELLA_STATE);
    assert_says(err, "there are no ratings");
    assert_int_equal(import_pair(folder, "reviews", "empty", "ds", halves, NULL, &err),
                     SELLA_MISSING);
    assert_says(err, "has a title for none of the 2 items");
    put(folder, "other", "{\"asin\":\"zz\",\"title\":\"Z\"}\n");
    assert_int_equal(import_pair(folder, "reviews", "other", "ds", halves, NULL, &err),
                     SELLA_MISSING);
    assert_int_equal(
        import_pair(folder, "reviews", "metadata", "ds",
                    (sella_import_options){.format = "amazon", .protocol = "amazon-book"}, NULL,
                    &err),
        SELLA_STATE);
    assert_says(err, "none of 5 ratings is in the time that the protocol amazon-book takes");
    put_release(folder, 2023);
    put(folder, "old", good_metadata);
    assert_int_equal(import_pair(folder, "reviews", "old", "ds", defaults, NULL, &err),
                     SELLA_FORMAT);
    assert_says(err, "old:1: the line has no 'parent_asin'; expected metadata of 2023");
    scratch_remove(folder);
}

/* Compression: members in a row, cut and damaged files, kinds that are not gzip. */
static void compressed_files(void **state)
{
    (void)state;
    sella_err err;
    char *folder = scratch_make();
    put_gzip(folder, "r.gz", good_reviews);
    put(folder, "metadata", good_metadata);
    char *path = sella_path_join(folder, "r.gz", NULL);
    sella_map map;
    assert_int_equal(sella_map_open(path, &map, NULL), SELLA_OK);
    size_t size = map.size;
    uint8_t *twice = malloc(2 * size + 64);
    memcpy(twice, map.data, size);
    memcpy(twice + size, map.data, size);
    memset(twice + 2 * size, 0, 64);
    sella_map_close(&map);
    free(path);
    for (int padding = 0; padding <= 64; padding += 64) { // zeros fill the block of a tape
        put_bytes(folder, "two.gz", twice, 2 * size + (size_t)padding);
        assert_int_equal(import_pair(folder, "two.gz", "metadata", "ds", halves, NULL, &err),
                         SELLA_OK);
        sella_dataset *d = open_in(folder, "ds");
        assert_int_equal(d->split[0].rows + d->split[1].rows, 10);
        sella_dataset_close(d);
    }
    sella_import_options skip = halves;
    skip.skip_bad = 1; // no excuse for half a file
    for (size_t cut = 2; cut < size; cut++) {
        put_bytes(folder, "cut.gz", twice, cut);
        assert_int_equal(import_pair(folder, "cut.gz", "metadata", "ds", skip, NULL, &err),
                         SELLA_IO);
        assert_says(err, "cut.gz: the gzip stream ends early");
    }
    for (size_t at = size - 8; at < size; at++) { // checksum and length
        put_bytes(folder, "cut.gz", twice, size);
        twice[at] ^= 1;
        put_bytes(folder, "cut.gz", twice, size);
        twice[at] ^= 1;
        assert_int_equal(import_pair(folder, "cut.gz", "metadata", "ds", skip, NULL, &err),
                         SELLA_IO);
        assert_says(err, "is damaged");
    }
    memcpy(twice + size, "garbage", 7);
    put_bytes(folder, "cut.gz", twice, size + 7);
    assert_int_equal(import_pair(folder, "cut.gz", "metadata", "ds", skip, NULL, &err), SELLA_IO);
    static const struct {
        const char *bytes, *says;
    } other[] = {{"PK\3\4....", "zip"},
                 {"\xfd"
                  "7zXZ...",
                  "xz"},
                 {"\x28\xb5\x2f\xfd....", "zstd"},
                 {"BZh9....", "bzip2"}};
    for (size_t o = 0; o < 4; o++) {
        put(folder, "other", other[o].bytes);
        assert_int_equal(import_pair(folder, "other", "metadata", "ds", skip, NULL, &err),
                         SELLA_FORMAT);
        assert_says(err, other[o].says);
    }
    free(twice);
    scratch_remove(folder);
}

/* 32 MiB of reviews outside the year leave no trace in memory. */
static void memory_does_not_grow(void **state)
{
    (void)state;
    enum { LINES = 4000, TIMES = 8, BYTES = 1000 };
    sella_err err;
    char *folder = scratch_make(), filler[BYTES + 1],
         *path = sella_path_join(folder, "big.gz", NULL);
    sella_text text = {0};
    memset(filler, 'x', BYTES);
    filler[BYTES] = '\0';
    for (int k = 0; k < LINES; k++) {
        sella_text_format(&text, NULL,
                          "{\"reviewerID\":\"u%d\",\"asin\":\"i%d\",\"reviewText\":\"%s\","
                          "\"overall\":5,\"unixReviewTime\":%d}\n",
                          k, k, filler, k);
    }
    gzFile file = gzopen(path, "wb1");
    for (int k = 0; k < TIMES; k++) {
        assert_int_equal(gzwrite(file, text.data, (unsigned)text.size), (int)text.size);
    }
    assert_int_equal(gzclose(file), Z_OK);
    put(folder, "metadata", good_metadata);
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    assert_int_equal(
        import_pair(folder, "big.gz", "metadata", "ds",
                    (sella_import_options){.format = "amazon", .protocol = "amazon-book"}, NULL,
                    &err),
        SELLA_STATE);
    getrusage(RUSAGE_SELF, &after);
    assert_says(err, "none of 32000 ratings is in the time");
    assert_true(after.ru_maxrss - before.ru_maxrss < 8 << 10); // KiB
    sella_text_release(&text);
    free(path);
    scratch_remove(folder);
}

static int stop_at_once(void *user)
{
    (void)user;
    return 1;
}

static void note_progress(void *user, const sella_progress_report *report)
{
    char *note = user;
    snprintf(note, 128, "%s", report->note ? report->note : "");
}

static void an_import_can_be_stopped(void **state)
{
    (void)state;
    sella_err err = {0};
    sella_text text = {0};
    char *folder = scratch_make(), note[128] = "";
    for (int k = 0; k < 66000; k++) {
        sella_text_format(&text, NULL, REVIEW("u", "a", "5", "%d"), k);
    }
    put(folder, "reviews", text.data);
    put(folder, "metadata", good_metadata);
    sella_text_release(&text);
    char *in = sella_path_join(folder, "reviews", NULL),
         *metadata = sella_path_join(folder, "metadata", NULL),
         *out = sella_path_join(folder, "ds", NULL);
    const char *inputs[] = {in, metadata};
    const sella_talk talk = {.stop = stop_at_once, .progress = note_progress, .user = note};
    sella_import_options options = {
        .format = "amazon", .inputs = inputs, .input_count = 2, .output = out};
    assert_int_equal(sella_import(&options, &talk, NULL, &err), SELLA_INTERRUPTED);
    assert_false(sella_path_exists(out));
    assert_non_null(strstr(note, "65536 rows, "));
    free(in);
    free(metadata);
    free(out);
    scratch_remove(folder);
}

/* ---- damage ---- */

typedef struct damage {
    const char *folder, *file;
    int skip;
} damage;

static void import_damaged(const uint8_t *data, size_t bytes, void *user)
{
    const damage *d = user;
    sella_err err;
    put_bytes(d->folder, d->file, data, bytes);
    if (import_pair(d->folder, "reviews", "metadata", "ds",
                    (sella_import_options){
                        .format = "amazon", .fractions = {0.6, 0.4, 0}, .skip_bad = d->skip},
                    NULL, &err) == SELLA_OK) {
        sella_dataset_close(open_in(d->folder, "ds"));
    }
}

static void damaged_files(void **state)
{
    (void)state;
    char *folder = scratch_make();
    static const int years[] = {2014, 2018, 2023};
    static const char *const files[] = {"reviews", "metadata", "reviews.gz"};
    for (int y = 0; y < 3; y++) {
        for (int f = 0; f < 3; f++) {
            put_release(folder, years[y]);
            char *path = sella_path_join(folder, files[f], NULL);
            sella_map map;
            assert_int_equal(sella_map_open(path, &map, NULL), SELLA_OK);
            damage d = {folder, f == 1 ? "metadata" : "reviews", f < 2};
            uint8_t *copy = malloc(map.size); // the file itself is written over
            memcpy(copy, map.data, map.size);
            size_t size = map.size;
            sella_map_close(&map);
            mutate_run(copy, size, mutate_rounds(60, 5000), import_damaged, &d);
            free(copy);
            free(path);
        }
    }
    scratch_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(releases_are_one_log),
        cmocka_unit_test(paper_protocol),
        cmocka_unit_test(bad_lines),
        cmocka_unit_test(metadata_is_joined),
        cmocka_unit_test(wrong_files),
        cmocka_unit_test(compressed_files),
        cmocka_unit_test(memory_does_not_grow),
        cmocka_unit_test(an_import_can_be_stopped),
        cmocka_unit_test(damaged_files),
    };
    scratch_in_memory();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
