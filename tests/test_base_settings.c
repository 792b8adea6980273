/* Settings: types, precedence, hostile YAML, JSON and YAML round trips. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/json.h"
#include "base/settings.h"
#include "fuzz/mutate.h"
#include "scratch_folder.h"

static const sella_setting table[] = {
    {"seed", SELLA_TYPE_INT, "0", 0, 4294967295.0, NULL, "", "Seed of all draws."},
    {"stage1.lr", SELLA_TYPE_REAL, "8e-5", 0, 1, NULL, "", "Learning rate."},
    {"stage1.batch", SELLA_TYPE_INT, "128", 1, 1e6, NULL, "rows", "Rows a step."},
    {"stage2.loss", SELLA_TYPE_WORD, "bce", 0, 0, "bce|mse|bcelogits", "", "Loss."},
    {"stage2.lr", SELLA_TYPE_REAL, "0.01", 0, 1, NULL, "", "Learning rate."},
    {"semantic.train", SELLA_TYPE_BOOL, "yes", 0, 0, NULL, "", "Train the table."},
    {"template", SELLA_TYPE_TEXT, "compact", 0, 0, NULL, "", "Template or file."},
};
enum { ROWS = sizeof table / sizeof *table };

static sella_settings *fresh(void)
{
    sella_settings *s = NULL;
    sella_err err = {0};
    if (sella_settings_new(table, ROWS, &s, &err) != SELLA_OK) {
        fail_msg("%s", err.text);
    }
    return s;
}

static void defaults_and_precedence(void **state)
{
    (void)state;
    sella_settings *s = fresh(), *copy = NULL;
    assert_true(sella_settings_real(s, "stage1.lr") == 8e-5);
    assert_int_equal(sella_settings_int(s, "stage1.batch"), 128);
    assert_true(sella_settings_bool(s, "semantic.train"));
    assert_true(sella_settings_is(s, "stage2.loss", "bce"));
    const char *yaml = "stage1:\n  lr: 0.5 # comment\n  batch: 7\nsemantic.train: off\ntemplate: "
                       "\"my file: #1.txt\"\n";
    char *path = scratch_file(folder, "conf.yaml", yaml, strlen(yaml));
    assert_int_equal(sella_settings_set(s, "stage1.lr", "0.1", "preset paper", NULL), SELLA_OK);
    assert_int_equal(sella_settings_load(s, path, NULL), SELLA_OK);
    assert_int_equal(sella_settings_assign(s, "stage1.batch=9", "--set", NULL), SELLA_OK);
    /* at the first '=' */
    assert_int_equal(sella_settings_assign(s, "template=a=b", "--set", NULL), SELLA_OK);
    assert_true(sella_settings_real(s, "stage1.lr") == 0.5);
    assert_int_equal(sella_settings_int(s, "stage1.batch"), 9);
    assert_false(sella_settings_bool(s, "semantic.train"));
    assert_string_equal(sella_settings_text(s, "template"), "a=b");
    assert_int_equal(sella_settings_copy(s, &copy, NULL), SELLA_OK);
    assert_int_equal(sella_settings_set(s, "template", "other", "--set", NULL), SELLA_OK);
    assert_string_equal(sella_settings_text(copy, "template"), "a=b");
    sella_settings_free(copy);
    sella_settings_free(s);
    free(path);
}

static void wrong_values(void **state)
{
    (void)state;
    const struct {
        const char *assignment, *sentence;
    } cases[] = {
        {"stage1.lrr=1", "--set: unknown setting 'stage1.lrr'; did you mean 'stage1.lr'?"},
        {"batch=1", "--set: unknown setting 'batch'; did you mean 'stage1.batch'?"},
        {"temperature=1", "--set: unknown setting 'temperature'"},
        {"stage1=1", "--set: unknown setting 'stage1'"},
        {"stage1.lr", "--set: 'stage1.lr' is not key=value"},
        {"=1", "--set: '=1' is not key=value"},
        {"stage1.lr=x", "--set: stage1.lr 'x' is not a number"},
        {"stage1.lr=2", "--set: stage1.lr 2 is outside 0 to 1"},
        {"stage1.lr=nan", "--set: stage1.lr 'nan' is not a number"},
        {"stage1.batch=1.5", "--set: stage1.batch '1.5' is not a whole number"},
        {"stage1.batch=0", "--set: stage1.batch 0 is outside 1 to 1000000"},
        {"seed=-1", "--set: seed -1 is outside 0 to 4294967295"},
        {"stage2.loss=bc", "--set: stage2.loss 'bc' is not one of bce|mse|bcelogits"},
        {"stage2.loss=", "--set: stage2.loss '' is not one of bce|mse|bcelogits"},
        {"stage2.loss=bce|mse", "--set: stage2.loss 'bce|mse' is not one of bce|mse|bcelogits"},
        {"semantic.train=maybe", "--set: semantic.train 'maybe' is neither yes nor no"},
        {"template=a\tb", "--set: template 'a?b' holds a control character"},
        {"template=\xff", "--set: template '?' is not UTF-8"},
    };
    sella_settings *s = fresh();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sella_err err = {0};
        assert_int_equal(sella_settings_assign(s, cases[i].assignment, "--set", &err), SELLA_ARG);
        assert_string_equal(err.text, cases[i].sentence);
        assert_int_equal(err.code, SELLA_ARG);
        assert_int_equal(sella_settings_assign(s, cases[i].assignment, "--set", NULL), SELLA_ARG);
    }
    assert_int_equal(sella_settings_assign(s, "stage2.loss=bcelogits", "--set", NULL), SELLA_OK);
    assert_true(sella_settings_real(s, "stage1.lr") == 8e-5); // failures changed nothing
    sella_settings_free(s);
    sella_err err = {0};
    const sella_setting wrong[] = {{"a", SELLA_TYPE_INT, "x", 0, 1, NULL, "", ""}};
    assert_int_equal(sella_settings_new(wrong, 1, &s, &err), SELLA_ARG);
    assert_null(s);
}

static void hostile_yaml(void **state)
{
    (void)state;
    const struct {
        const char *yaml, *sentence; // after the path; NULL: accepted
    } cases[] = {
        {"", NULL},
        {"# nothing\n", NULL},
        {"---\nseed: 1\n...\n", NULL},
        {"{stage1: {lr: 0.1}, seed: 3}", NULL},
        {"stage1:\nseed: 3\n", NULL}, // all keys of a group commented out
        {"seed: '3'\n", NULL},
        {"seed: 1\nseed: 2\n", ":2: duplicate key 'seed'"},
        {"stage1:\n  lr: 1\nstage1:\n  batch: 2\n", ":4: duplicate key 'stage1'"},
        {"stage1.lr: 1\nstage1:\n  lr: 0.5\n", ":3: duplicate key 'stage1.lr'"},
        {"seed: &a 1\n", ":1: an anchor or a tag"},
        {"stage1: &a\n  lr: 1\nstage2: *a\n", ": an anchor or a tag"},
        {"seed: *a\n", ":1: an alias"},
        {"seed: !!int 1\n", ":1: an anchor or a tag"},
        {"seed: [1, 2]\n", ":1: a list"},
        {"- seed\n", ":1: a list"},
        {"seed: 1\n\nstage1:\n  lrr: 1\n",
         ":4: unknown setting 'stage1.lrr'; did you mean 'stage1.lr'?"},
        {"stage9:\n  lr: 1\n", ": unknown setting 'stage9'"},
        {"<<: 1\n", ":1: unknown setting '<<'"},
        {"seed:\n  a: 1\n", ": a map where one value belongs"},
        {"stage1: 3\n", ":1: 'stage1' is a group of settings; expected keys below it"},
        {"seed: x\n", ":1: seed 'x' is not a whole number"},
        {"seed:\n", ":1: seed '' is not a whole number"},
        {"\n\nstage1:\n  lr: 7\n", ":4: stage1.lr 7 is outside 0 to 1"},
        {"stage1:\n\tlr: 1\n", ":2: not valid YAML"},
        {"seed: 1\n stage1: 2\n", ":1: seed '1 stage1' is not a whole number"},
        {"seed: 'x\n", ": not valid YAML"},
        {"seed: 1\n---\nseed: 2\n", ":2: a second document"},
        {"just text\n", ":1: a value without a key"},
        {"? {a: 1}\n: 2\n", ":1: a map as a key"},
        {"? [a]\n: 2\n", ":1: a list"},
        {"'': 1\n", ":1: an empty key"},
        {"\"se\\0ed\": 1\n", ":1: a key with a NUL byte"},
        {"template: \"a\\0b\"\n", ":1: a value with a NUL byte"},
        {"template: \"a\\tb\"\n", ":1: template 'a?b' holds a control character"},
        {"template: |\n  a\n  b\n", "holds a control character"},
        {"seed: 1\ntemplate: \xff\n", ":2: not UTF-8 at byte 18"},
        {"\xff\xfes\0", ":1: not UTF-8 at byte 0"},
        {"%YAML 9.9\n---\nseed: 1\n", ": not valid YAML"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sella_err err = {0};
        sella_settings *s = fresh();
        char *path = scratch_file(folder, "hostile.yaml", cases[i].yaml, strlen(cases[i].yaml));
        sella_status status = sella_settings_load(s, path, &err);
        if (status != SELLA_OK) { // unreadable as YAML, or a wrong setting
            const bool unreadable =
                strstr(err.text, "not UTF-8 at") || strstr(err.text, "not valid YAML");
            assert_int_equal(status, unreadable ? SELLA_FORMAT : SELLA_ARG);
        }
        if ((status == SELLA_OK) != (cases[i].sentence == NULL) ||
            (cases[i].sentence && !strstr(err.text, cases[i].sentence))) {
            fail_msg("'%s': %s", cases[i].yaml, err.text);
        }
        /* place first, and nothing changed, not even by the good lines before */
        if (status != SELLA_OK) {
            assert_int_equal(strncmp(err.text, path, strlen(path)), 0);
            assert_int_equal(sella_settings_int(s, "seed"), 0);
        }
        sella_settings_free(s);
        free(path);
    }
}

static void large_yaml(void **state)
{
    (void)state;
    enum { BYTES = 10 << 20 };
    const char *fill[] = {"[", "{", "- ", "a: ", "? ", "\"", "&a ", "seed: 1\n", "\n"};
    char *data = malloc(BYTES);
    for (size_t i = 0; i < sizeof fill / sizeof *fill; i++) {
        /* at the limit, and (refused unread: one filling will do) far above */
        for (size_t size = 1 << 20; size <= BYTES; size *= 10) {
            if (size > 1 << 20 && i > 0) {
                continue;
            }
            sella_err err = {0};
            sella_settings *s = fresh();
            for (size_t j = 0; j < size; j++) {
                data[j] = fill[i][j % strlen(fill[i])];
            }
            char *path = scratch_file(folder, "large.yaml", data, size);
            bool blank = fill[i][0] == '\n' && size == 1 << 20;
            assert_int_equal(sella_settings_load(s, path, &err) == SELLA_OK, blank);
            assert_int_equal(size > 1 << 20,
                             strstr(err.text, "expected settings of at most") != NULL);
            sella_settings_free(s);
            free(path);
        }
    }
    free(data);
    sella_settings *s = fresh();
    assert_int_equal(sella_settings_load(s, "no/such.yaml", NULL), SELLA_MISSING);
    sella_settings_free(s);
}

static void round_trips(void **state)
{
    (void)state;
    const char *given[] = {"seed=4294967295", "stage1.lr=0.1234567890123456789", "stage2.loss=mse",
                           "semantic.train=no", "template=a \"b\" \\ # caf\xc3\xa9: x"};
    sella_settings *s = fresh(), *back = fresh(), *third = fresh();
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
        assert_int_equal(sella_settings_assign(s, given[i], "--set", NULL), SELLA_OK);
    }
    json_t *object = sella_settings_json(s);
    char *line = sella_json_line(object);
    assert_string_equal(line, "{\"seed\":4294967295,\"stage1.lr\":0.12345678901234568,\"stage1."
                              "batch\":128,\"stage2.loss\":\"mse\",\"stage2.lr\":0.01,\"semantic."
                              "train\":false,\"template\":\"a \\\"b\\\" \\\\ # caf\xc3\xa9: x\"}");
    assert_int_equal(sella_settings_from_json(back, object, "run.json", NULL), SELLA_OK);
    json_t *again = sella_settings_json(back);
    assert_true(json_equal(object, again));
    json_decref(again);
    sella_text yaml = {0};
    assert_int_equal(sella_settings_yaml(s, &yaml, NULL), SELLA_OK);
    char *path = scratch_file(folder, "resolved.yaml", yaml.data, yaml.size);
    sella_err err = {0};
    if (sella_settings_load(third, path, &err) != SELLA_OK) {
        fail_msg("%s\n%s", err.text, yaml.data);
    }
    again = sella_settings_json(third);
    assert_true(json_equal(object, again));
    json_decref(again);
    json_decref(object);
    free(line), free(path);
    sella_text_release(&yaml);
    sella_settings_free(s), sella_settings_free(back), sella_settings_free(third);
}

static void hostile_json(void **state)
{
    (void)state;
    const struct {
        const char *json, *sentence;
    } cases[] = {
        {"{\"sead\": 1}", "run.json: unknown setting 'sead'; did you mean 'seed'?"},
        {"{\"seed\": \"1\"}", "run.json: key 'seed' has the wrong type; expected a whole number"},
        {"{\"seed\": 1.5}", "run.json: key 'seed' has the wrong type; expected a whole number"},
        {"{\"seed\": -1}", "run.json: seed -1 is outside 0 to 4294967295"},
        {"{\"stage1.lr\": null}",
         "run.json: key 'stage1.lr' has the wrong type; expected a number"},
        {"{\"seed\": 5, \"semantic.train\": 1}",
         "run.json: key 'semantic.train' has the wrong type; expected true or false"},
        {"[]", "run.json: expected an object of settings"},
    };
    sella_settings *s = fresh();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sella_err err = {0};
        json_t *value = NULL;
        assert_int_equal(sella_json_parse(cases[i].json, strlen(cases[i].json), "x", &value, &err),
                         SELLA_OK);
        assert_true(sella_settings_from_json(s, value, "run.json", &err) != SELLA_OK);
        assert_string_equal(err.text, cases[i].sentence);
        json_decref(value);
    }
    assert_int_equal(sella_settings_int(s, "seed"), 0);
    sella_settings_free(s);
}

typedef struct target {
    sella_settings *settings;
    int fd; // a file in memory: hundreds of thousands of rounds must not wait for a disk
} target;

static void load_mutated(const uint8_t *data, size_t bytes, void *user)
{
    const target *t = user;
    sella_settings *s = t->settings;
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", t->fd);
    assert_int_equal(ftruncate(t->fd, 0), 0);
    assert_int_equal(pwrite(t->fd, data, bytes, 0), bytes);
    sella_err err = {0};
    if (sella_settings_load(s, path, &err) == SELLA_OK) {
        double lr = sella_settings_real(s, "stage1.lr");
        assert_true(lr >= 0 && lr <= 1);
        assert_true(sella_settings_int(s, "stage1.batch") >= 1);
    } else {
        assert_int_equal(strncmp(err.text, path, strlen(path)), 0);
    }
}

static void fuzz(void **state)
{
    (void)state;
    const char yaml[] = "# settings\nseed: 42\nstage1:\n  lr: 8e-5\n  batch: 128 # rows\nstage2: "
                        "{loss: mse, lr: '0.01'}\n"
                        "semantic.train: \"no\"\ntemplate: >-\n  folded caf\xc3\xa9\n";
    target t = {fresh(), memfd_create("settings", 0)};
    assert_true(t.fd >= 0);
    mutate_run(yaml, sizeof yaml - 1, mutate_rounds(5000, 300000), load_mutated, &t);
    close(t.fd);
    sella_settings_free(t.settings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(defaults_and_precedence),
                                       cmocka_unit_test(wrong_values),
                                       cmocka_unit_test(hostile_yaml),
                                       cmocka_unit_test(large_yaml),
                                       cmocka_unit_test(round_trips),
                                       cmocka_unit_test(hostile_json),
                                       cmocka_unit_test(fuzz)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
