/* JSON: strictness, getters, saving; and the talk helpers. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "base/json.h"
#include "base/log.h"
#include "fuzz/mutate.h"
#include "scratch_folder.h"

static void refused(void **state)
{
    (void)state;
    const struct {
        const char *text, *sentence;
    } cases[] = {
        {"", "run.json:1: not valid JSON"},
        {"{", "run.json:1: not valid JSON"},
        {"{\n\"a\": 1,\n\"a\": 2}", "run.json:3: not valid JSON: duplicate object key"},
        {"{\"a\": 1} x", "not valid JSON"},
        {"{\"a\": 01}", "not valid JSON"},
        {"{\"a\": NaN}", "not valid JSON"},
        {"{\"a\": 1e999}", "not valid JSON"},
        {"{\"a\": 99999999999999999999}", "not valid JSON"},
        {"{\"a\": \"\xff\"}", "not valid JSON"},
        {"{\"a\": \"\\u0000\"}", "not valid JSON: a text holds the character U+0000"},
        {"{\"a\": \"\\ud800\"}", "not valid JSON"},
        {"7", "not valid JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sella_err err = {0};
        json_t *value = NULL;
        assert_int_equal(
            sella_json_parse(cases[i].text, strlen(cases[i].text), "run.json", &value, &err),
            SELLA_FORMAT);
        assert_null(value);
        assert_non_null(strstr(err.text, cases[i].sentence));
    }
    sella_err err = {0};
    json_t *value = NULL;
    char *deep = malloc(100000);
    memset(deep, '[', 100000);
    /* no stack overflow */
    assert_int_equal(sella_json_parse(deep, 100000, "deep", &value, &err), SELLA_FORMAT);
    free(deep);
    char *path = scratch_file(folder, "big.json", "{\"a\":1}", 7);
    assert_int_equal(sella_json_load(path, 6, &value, &err), SELLA_FORMAT);
    assert_non_null(strstr(err.text, "has 7 bytes; expected at most 6"));
    assert_int_equal(sella_json_load(path, 7, &value, &err), SELLA_OK);
    json_decref(value);
    assert_int_equal(sella_json_load("no/such", 7, &value, &err), SELLA_MISSING);
    free(path);
}

static void getters(void **state)
{
    (void)state;
    const char *text =
        "{\"i\": 7, \"r\": 0.5, \"b\": true, \"s\": \"x\", \"o\": {}, \"a\": [1], \"n\": null}";
    sella_err err = {0};
    json_t *o = NULL;
    int64_t i = 0;
    double r = 0;
    bool b = false;
    const char *s = NULL;
    const json_t *v = NULL;
    assert_int_equal(sella_json_parse(text, strlen(text), "run.json", &o, &err), SELLA_OK);
    assert_int_equal(sella_json_get_int(o, "i", "run.json", 0, 9, &i, &err), SELLA_OK);
    assert_int_equal(i, 7);
    assert_int_equal(sella_json_get_real(o, "r", "run.json", &r, &err), SELLA_OK);
    assert_true(r == 0.5);
    assert_int_equal(sella_json_get_real(o, "i", "run.json", &r, &err), SELLA_OK);
    assert_true(r == 7);
    assert_int_equal(sella_json_get_bool(o, "b", "run.json", &b, &err), SELLA_OK);
    assert_true(b);
    assert_int_equal(sella_json_get_string(o, "s", "run.json", &s, &err), SELLA_OK);
    assert_string_equal(s, "x");
    assert_int_equal(sella_json_get_object(o, "o", "run.json", &v, &err), SELLA_OK);
    assert_int_equal(sella_json_get_array(o, "a", "run.json", &v, &err), SELLA_OK);
    assert_int_equal(sella_json_get_int(o, "seed", "run.json", 0, 4294967295, &i, &err),
                     SELLA_FORMAT);
    assert_string_equal(
        err.text, "run.json: key 'seed' is missing; expected an integer from 0 to 4294967295");
    assert_int_equal(sella_json_get_int(o, "i", "run.json", 8, 9, &i, &err), SELLA_FORMAT);
    assert_string_equal(err.text, "run.json: key 'i' is 7; expected an integer from 8 to 9");
    assert_int_equal(sella_json_get_int(o, "r", "run.json", 0, 9, &i, &err), SELLA_FORMAT);
    assert_string_equal(
        err.text, "run.json: key 'r' is a number with a fraction; expected an integer from 0 to 9");
    assert_int_equal(sella_json_get_real(o, "n", "run.json", &r, &err), SELLA_FORMAT);
    assert_string_equal(err.text, "run.json: key 'n' is null; expected a number");
    assert_int_equal(sella_json_get_bool(o, "i", "run.json", &b, &err), SELLA_FORMAT);
    assert_int_equal(sella_json_get_string(o, "i", "run.json", &s, &err), SELLA_FORMAT);
    assert_int_equal(sella_json_get_object(o, "a", "run.json", &v, &err), SELLA_FORMAT);
    assert_int_equal(sella_json_get_array(o, "o", "run.json", &v, &err), SELLA_FORMAT);
    assert_int_equal(sella_json_get_array(json_object_get(o, "a"), "o", "run.json", &v, &err),
                     SELLA_FORMAT);
    assert_string_equal(err.text, "run.json: is an array; expected an object with key 'o'");
    assert_int_equal(sella_json_get_array(NULL, "o", "run.json", &v, &err), SELLA_FORMAT);
    json_decref(o);
}

static void saving(void **state)
{
    (void)state;
    const double figures[] = {0.1, 1.0 / 3, 0.68999999999999995, 1e-300, 12345678.9};
    char *path = sella_path_join(folder, "result.json", NULL);
    json_t *o = json_object(), *back = NULL;
    json_object_set_new(o, "z", json_integer(1));
    json_object_set_new(o, "a", sella_json_real(NAN));
    json_object_set_new(o, "inf", sella_json_real(INFINITY));
    assert_int_equal(sella_json_save(path, o, NULL), SELLA_OK);
    /* insertion order */
    assert_true(scratch_holds(path, "{\n  \"z\": 1,\n  \"a\": null,\n  \"inf\": null\n}\n"));
    char *line = sella_json_line(o);
    assert_string_equal(line, "{\"z\":1,\"a\":null,\"inf\":null}");
    free(line);
    /* 17 digits bring every double back */
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        double value = 0;
        json_object_set_new(o, "x", sella_json_real(figures[i]));
        assert_int_equal(sella_json_save(path, o, NULL), SELLA_OK);
        assert_int_equal(sella_json_load(path, 1000, &back, NULL), SELLA_OK);
        assert_int_equal(sella_json_get_real(back, "x", "x", &value, NULL), SELLA_OK);
        assert_true(value == figures[i]);
        json_decref(back);
    }
    sella_err err = {0};
    assert_int_equal(sella_json_save("/dev/full", o, &err), SELLA_IO);
    assert_non_null(strstr(err.text, "No space left"));
    json_decref(o);
    free(path);
}

static void parse_json(const uint8_t *data, size_t bytes, void *user)
{
    json_t *value = NULL;
    sella_err err = {0};
    sella_status status = sella_json_parse((const char *)data, bytes, "fuzz", &value, &err);
    (void)user;
    if (status == SELLA_OK) { // what was accepted can be written and read again
        char *line = sella_json_line(value);
        json_t *again = NULL;
        assert_non_null(line);
        assert_int_equal(sella_json_parse(line, strlen(line), "again", &again, NULL), SELLA_OK);
        assert_true(json_equal(value, again));
        json_decref(again);
        free(line);
    } else {
        assert_int_equal(status, SELLA_FORMAT);
        assert_null(value);
        assert_true(err.text[0] != '\0');
    }
    json_decref(value);
}

static void fuzz(void **state)
{
    (void)state;
    const char text[] = "{\"method\": \"sella\", \"auc\": 0.69000000000000006, \"rows\": 10401, "
                        "\"subsets\": {\"warm\": {\"rows\": -3, \"auc\": null}},\n"
                        " \"list\": [true, false, [1, 2.5e-7, \"caf\xc3\xa9 \\u00e9 \\\"q\\\"\"]]}";
    mutate_run(text, sizeof text - 1, mutate_rounds(10000, 1000000), parse_json, NULL);
}

typedef struct heard {
    int lines, reports, stop;
    sella_level level;
    char text[100];
    sella_progress_report last;
} heard;

static void on_line(void *user, sella_level level, const char *text)
{
    heard *h = user;
    h->lines++;
    h->level = level;
    snprintf(h->text, sizeof h->text, "%s", text);
}

static void on_progress(void *user, const sella_progress_report *report)
{
    heard *h = user;
    h->reports++;
    h->last = *report;
}

static int on_stop(void *user)
{
    return ((heard *)user)->stop;
}

static void talking(void **state)
{
    (void)state;
    heard h = {0};
    const sella_talk talk = {.line = on_line, .progress = on_progress, .stop = on_stop, .user = &h},
                     silent = {0};
    sella_progress p;
    sella_say(&talk, SELLA_LEVEL_WARN, "%d rows", 3);
    assert_string_equal(h.text, "3 rows");
    assert_int_equal(h.level, SELLA_LEVEL_WARN);
    sella_say(NULL, SELLA_LEVEL_INFO, "x");
    sella_say(&silent, SELLA_LEVEL_INFO, "x");
    assert_false(sella_stop_wanted(NULL));
    assert_false(sella_stop_wanted(&silent));
    assert_false(sella_stop_wanted(&talk));
    h.stop = 1;
    assert_true(sella_stop_wanted(&talk));
    sella_progress_start(&p, &talk, "stage 1", "rows", 300, 100); // resumed at 100
    p.start_seconds -= 10; // as if ten seconds had passed
    sella_progress_step(&p, 200, "loss 0.6");
    assert_true(fabs(h.last.rate - 10) < 0.1);
    assert_true(fabs(h.last.eta_seconds - 10) < 0.1);
    assert_string_equal(h.last.note, "loss 0.6");
    assert_int_equal(h.last.finished, 0);
    sella_progress_end(&p);
    assert_int_equal(h.last.finished, 1);
    assert_int_equal(h.reports, 3);
    sella_progress_start(&p, &talk, "read", "lines", 0, 0); // total unknown
    sella_progress_step(&p, 5, NULL);
    assert_true(h.last.eta_seconds < 0);
    sella_progress_start(&p, NULL, "read", "lines", 0, 0);
    sella_progress_step(&p, 5, NULL);
    sella_progress_end(&p);
    double now = sella_now();
    assert_true(sella_now() >= now);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(refused), cmocka_unit_test(getters),
                                       cmocka_unit_test(saving), cmocka_unit_test(fuzz),
                                       cmocka_unit_test(talking)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
