/* Prediction files: round trip, RFC 4180, strictness, mutations, figures and comparison of
 *                   files. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rng.h"
#include "eval/predictions.h"
#include "sella/eval.h"

static char dir[200];

static int group_setup(void **state)
{
    const char *tmp = getenv("TMPDIR");
    (void)state;
    snprintf(dir, sizeof dir, "%s/sella-predictions-XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(dir) ? 0 : -1;
}

static int group_teardown(void **state)
{
    (void)state;
    return sella_path_remove(dir, NULL) == SELLA_OK ? 0 : -1;
}

static const char *file(int k)
{
    static char path[2][240];
    snprintf(path[k], sizeof path[k], "%s/%c.csv", dir, 'a' + k);
    return path[k];
}

static const char *text_file(int k, const char *text)
{
    assert_int_equal(sella_write_file(file(k), text, strlen(text), NULL), SELLA_OK);
    return file(k);
}

static void test_round_trip(void **state)
{
    (void)state;
    static const char *const user[] = {"u1", "a,b", "say \"hi\"", "two\nlines", "\xd0\x96", "u1"};
    static const char *const item[] = {"1", "2", "\"", ",", "cr\rlf", "2"};
    static const uint8_t label[] = {0, 1, 1, 0, 1, 0}, warm[] = {1, 0, 1, 0, 1, 1};
    static const double score[] = {0, 1, .123456789, 1e-9, 2.0 / 3, .5};
    sella_predictions p;
    sella_map map;
    assert_int_equal(sella_predictions_write(file(0), user, item, label, score, warm, 6, NULL),
                     SELLA_OK);
    assert_int_equal(sella_map_open(file(0), &map, NULL), SELLA_OK);
    static const char want[] =
        "user,item,label,score,warm\nu1,1,0,0,1\n\"a,b\",2,1,1,0\n\"say "
        "\"\"hi\"\"\",\"\"\"\",1,0.123456789,1\n"
        "\"two\nlines\",\",\",0,1e-09,0\n\xd0\x96,\"cr\rlf\",1,0.666666667,1\nu1,2,0,0.5,1\n";
    assert_int_equal(map.size, sizeof want - 1);
    assert_memory_equal(map.data, want, map.size);
    sella_map_close(&map);
    assert_int_equal(sella_predictions_read(file(0), &p, NULL), SELLA_OK);
    assert_int_equal(p.count, 6);
    static const int64_t line[] = {2, 3, 4, 5, 7, 8};
    for (int i = 0; i < 6; i++) {
        assert_string_equal(p.user[i], user[i]);
        assert_string_equal(p.item[i], item[i]);
        assert_int_equal(p.label[i], label[i]);
        assert_int_equal(p.warm[i], warm[i]);
        assert_true(fabs(p.score[i] - score[i]) <= 1e-9);
        assert_int_equal(p.line[i], line[i]);
    }
    assert_ptr_equal(p.user[0], p.user[5]);
    assert_int_equal(p.user_code[5], 0);
    assert_int_equal(p.user_code[4], 4);
    assert_int_equal(p.item_code[5], 1);
    sella_predictions_release(&p);
    const double bad[] = {0, NAN, 0, 0, 0, 0};
    sella_err err = {0};
    assert_int_equal(sella_predictions_write(file(0), user, item, label, bad, NULL, 6, &err),
                     SELLA_DIVERGED);
    assert_non_null(strstr(err.text, "row 2"));
    assert_int_equal(sella_predictions_read(file(0), &p, NULL), SELLA_OK); /* the old file stands */
    sella_predictions_release(&p);
}

static void test_accepted(void **state)
{
    (void)state;
    sella_predictions p;
    text_file(0, "\xef\xbb\xbfscore,other,\"item\",label,user\r\n0.5,x,7,1,u\r\n1e-3,,8,0,v");
    assert_int_equal(sella_predictions_read(file(0), &p, NULL), SELLA_OK);
    assert_int_equal(p.count, 2);
    assert_null(p.warm);
    assert_string_equal(p.item[1], "8");
    assert_true(p.score[1] == 1e-3);
    sella_predictions_release(&p);
    text_file(0, "user,item,label,score\n");
    assert_int_equal(sella_predictions_read(file(0), &p, NULL), SELLA_OK);
    assert_int_equal(p.count, 0);
    sella_predictions_release(&p);
    FILE *many = fopen(file(0), "w"); /* more ids than the first table of codes holds */
    fputs("user,item,label,score\n", many);
    for (int i = 0; i < 9000; i++) {
        fprintf(many, "user%d,i%d,%d,0.%d\n", i % 3000, i, i % 2, i % 10);
    }
    fclose(many);
    assert_int_equal(sella_predictions_read(file(0), &p, NULL), SELLA_OK);
    assert_int_equal(p.count, 9000);
    for (int i = 0; i < 9000; i++) {
        assert_int_equal(p.user_code[i], i % 3000);
        assert_int_equal(p.item_code[i], i);
    }
    sella_predictions_release(&p);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"", "a.csv:1: there is no column 'user'"},
        {"user,item,label\nu,1,0\n", "a.csv:1: there is no column 'score'"},
        {"user,item,label,score,user\n", "column 'user' is there twice"},
        {"user,item,label,score\nu,1,0\n", "a.csv:2: 3 columns; expected 4"},
        {"user,item,label,score\nu,1,0,.5,9\n", "a.csv:2: 5 columns; expected 4"},
        {"user,item,label,score\nu,1,0,.5\n\n", "a.csv:3: 1 columns; expected 4"},
        {"user,item,label,score\n,1,0,.5\n", "a.csv:2: user is empty"},
        {"user,item,label,score\nu,,0,.5\n", "a.csv:2: item is empty"},
        {"user,item,label,score\nu,1,2,.5\n", "a.csv:2: label '2' is not 0 or 1"},
        {"user,item,label,score\nu,1,01,.5\n", "label '01' is not 0 or 1"},
        {"user,item,label,score\nu,1,0,nan\n", "a.csv:2:"},
        {"user,item,label,score\nu,1,0,inf\n", "a.csv:2:"},
        {"user,item,label,score\nu,1,0,0.5x\n", "a.csv:2:"},
        {"user,item,label,score\nu,1,0,\n", "a.csv:2:"},
        {"user,item,label,score\nu,1,0, 0.5\n", "a.csv:2:"},
        {"user,item,label,score,warm\nu,1,0,.5,yes\n", "warm 'yes' is not 0 or 1"},
        {"user,item,label,score\n\"u,1,0,.5\n", "a.csv:2: a quoted field is not closed"},
        {"user,item,label,score\n\"u\"x,1,0,.5\n", "text follows a closing quote"},
        {"user,item,label,score\nu\"x,1,0,.5\n", "a quote inside a field without quotes"},
        {"user,item,label,score\nu\rx,1,0,.5\n", "a carriage return inside"},
        {"user,item,label,score\n\"u\"\rx,1,0,.5\n", "a.csv:2:"},
        {"user,item,label,score\n\xff,1,0,.5\n", "a.csv:2: column 1 is not valid UTF-8"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        sella_predictions p;
        sella_err err = {0};
        assert_int_equal(sella_predictions_read(text_file(0, rows[i].text), &p, &err),
                         SELLA_FORMAT);
        if (!strstr(err.text, rows[i].says)) {
            fail_msg("case %zu says: %s", i, err.text);
        }
        assert_null(p.pool);
    }
    sella_predictions p;
    char *wide = malloc(5000); /* more columns than any file of ours */
    memset(wide, ',', 4999);
    wide[4999] = '\0';
    assert_int_equal(sella_predictions_read(text_file(0, wide), &p, NULL), SELLA_FORMAT);
    free(wide);
    assert_int_equal(sella_write_file(file(0), "user,item,label,score\nu\0,1,0,.5\n", 32, NULL),
                     SELLA_OK);
    assert_int_equal(sella_predictions_read(file(0), &p, NULL), SELLA_FORMAT);
    assert_int_equal(sella_predictions_read("no such folder/x.csv", &p, NULL), SELLA_MISSING);
}

/* Any bytes: refused or read, never a crash (sanitizers watch). */
static void test_mutations(void **state)
{
    (void)state;
    static const char start[] = "user,item,label,score,warm\nu1,1,0,0.25,1\n\"a,\"\"b\",2,1,0.5,"
                                "0\r\nu1,\"x\ny\",1,1e-3,1\n";
    static const char bytes[] = ",\"\r\n01.e-\0\xff x";
    int read = 0;
    for (int round = 0; round < 3000; round++) {
        const sella_rng rng = {.seed = 77, .stream = SELLA_STREAM_TEST, .a = (uint32_t)round};
        char text[sizeof start];
        size_t size = sizeof start - 1;
        sella_predictions p;
        memcpy(text, start, sizeof start);
        for (uint64_t k = 0; k <= sella_rng_below(&rng, 0, 3); k++) {
            text[sella_rng_below(&rng, 2 * k + 1, size)] =
                bytes[sella_rng_below(&rng, 2 * k + 2, sizeof bytes - 1)];
        }
        if (round % 3 == 0) {
            size = (size_t)sella_rng_below(&rng, 99, size);
        }
        FILE *out = fopen(file(0), "wb"); /* not sella_write_file: thousands of fsyncs */
        assert_int_equal(fwrite(text, 1, size, out), size);
        fclose(out);
        if (sella_predictions_read(file(0), &p, NULL) == SELLA_OK) {
            read++;
            for (int64_t i = 0; i < p.count; i++) {
                assert_true(isfinite(p.score[i]) && p.label[i] <= 1 && strlen(p.user[i]) > 0);
            }
            sella_predictions_release(&p);
        }
    }
    assert_true(read > 100 && read < 2900);
}

/* ---- files ---- */

static void test_metrics_file(void **state)
{
    (void)state;
    sella_metrics m;
    sella_err err = {0};
    char *json = NULL;
    text_file(0, "user,item,label,score,warm\na,1,1,0.75,1\na,2,0,0.25,1\nb,1,1,0.5,0\nb,3,0,0.5,"
                 "0\nc,1,1,0.75,0\n");
    assert_int_equal(sella_metrics_file(file(0), 200, 1, &m, NULL), SELLA_OK);
    assert_int_equal(m.all.rows, 5);
    assert_true(fabs(m.all.auc - 5.5 / 6) < 1e-15 && m.all.uauc == .75 && m.all.uauc_users == 2 &&
                m.all.uauc_skipped == 1);
    assert_true(m.has_warm && m.warm.rows == 2 && m.warm.auc == 1 && m.cold.rows == 3 &&
                m.cold.auc == .75);
    assert_true(m.auc_ci.low <= m.all.auc && m.auc_ci.high >= m.all.auc);
    assert_int_equal(sella_metrics_json(&m, &json, NULL), SELLA_OK);
    assert_non_null(strstr(json, "{\"method\":null,\"dataset\":null,\"split\":null,\"rows\":5,"
                                 "\"auc\":0.91666666666666663,"));
    assert_non_null(strstr(json, "\"uauc_ci\":[0."));
    free(json);
    assert_int_equal(sella_metrics_file(file(0), 0, 1, &m, NULL), SELLA_OK);
    assert_int_equal(sella_metrics_json(&m, &json, NULL), SELLA_OK);
    assert_non_null(strstr(json, "\"auc_ci\":null,\"uauc_ci\":null}"));
    free(json);
    assert_int_equal(sella_metrics_file(file(0), -1, 1, &m, &err), SELLA_ARG);
    text_file(0, "user,item,label,score\n");
    assert_int_equal(sella_metrics_file(file(0), 10, 1, &m, &err), SELLA_FORMAT);
    assert_non_null(strstr(err.text, "has no rows"));
}

static void test_compare_files(void **state)
{
    (void)state;
    sella_comparison c;
    sella_err err = {0};
    char *json = NULL;
    text_file(0, "user,item,label,score\na,1,1,0.75\na,2,0,0.25\nb,1,1,0.5\nb,3,0,0.6\n");
    text_file(
        1,
        /* other order of rows and columns */
        "item,user,score,label\n3,b,0.1,0\n2,a,0.3,0\n1,b,0.9,1\n1,a,0.2,1\n");
    assert_int_equal(sella_compare_files(file(0), file(1), 100, 2, &c, NULL), SELLA_OK);
    assert_int_equal(c.rows, 4);
    assert_int_equal(c.users, 2);
    assert_true(c.auc_a == .75 && c.auc_b == .75 && c.auc_diff == 0 && c.uauc_diff == 0);
    assert_int_equal(sella_comparison_json(&c, &json, NULL), SELLA_OK);
    assert_non_null(strstr(
        json,
        "{\"rows\":4,\"users\":2,\"auc_a\":0.75,\"auc_b\":0.75,\"auc_diff\":0.0,\"auc_ci\":["));
    assert_non_null(strstr(json, "\"draws\":100}"));
    free(json);
    static const struct {
        const char *b, *says;
    } rows[] = {
        {"user,item,label,score\na,1,1,0.75\na,2,0,0.25\nb,1,1,0.5\n",
         "a.csv:5: user 'b', item '3' is not in"},
        {"user,item,label,score\na,1,1,0.75\na,2,0,0.25\nb,1,1,0.5\nb,3,0,0.6\nb,4,0,1\n",
         "b.csv:6: user 'b', item '4' is not in"},
        {"user,item,label,score\na,1,1,0.75\na,2,1,0.25\nb,1,1,0.5\nb,3,0,0.6\n",
         "a.csv:3: the label of user 'a', item '2' is 0, but 1 in"},
        {"user,item,label,score\na,1,1,0.75\na,9,0,0.25\nb,1,1,0.5\nb,3,0,0.6\n",
         "a.csv:3: user 'a', item '2' is not in"},
        {"user,item,label,score\na,1,1,0.75\nb,1,0,0.25\nb,1,1,0.5\nb,3,0,0.6\n",
         "a.csv:3: the row (user 'a', item '2') is another than"},
        {"user,item,label,score\na,1,1,0.75\na,2,0,0.25\na,2,0,0.25\nb,1,1,0.5\nb,3,0,0.6\n",
         "a.csv:4: the row (user 'b', item '1') is"},
        {"user,item,label,score\na,1,1,0.75\na,2,0,0.25\nb,1,1,0.5\nb,3,0,0.6\nb,3,0,0.6\n",
         "b.csv:6: the row (user 'b', item '3') has no partner:"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(sella_compare_files(file(0), text_file(1, rows[i].b), 10, 2, &c, &err),
                         SELLA_STATE);
        if (!strstr(err.text, rows[i].says)) {
            fail_msg("case %zu says: %s", i, err.text);
        }
    }
    text_file(
        0,
        /* a pair twice is fine when the files agree row by row */
        "user,item,label,score\na,1,1,0.75\na,1,0,0.25\n");
    text_file(1, "user,item,label,score\na,1,1,0.1\na,1,0,0.2\n");
    assert_int_equal(sella_compare_files(file(0), file(1), 10, 2, &c, &err), SELLA_OK);
    assert_true(c.auc_diff == 1 && c.auc_ci.low == 1 && c.uauc_ci.high == 1);
    assert_int_equal(sella_compare_files(file(0), file(1), 0, 2, &c, &err), SELLA_ARG);
}

int main(void)
{
    /* every checkpoint and file is synced: in memory that costs nothing */
    if (access("/dev/shm", W_OK) == 0) {
        setenv("TMPDIR", "/dev/shm", 0);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_refused),      cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_metrics_file), cmocka_unit_test(test_compare_files)};
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
