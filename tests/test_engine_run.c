/* test_engine_run.c - a trained run in use. The method is itembias: its scores can be worked out by
 * hand, (likes + 5 m) / (rows + 5) with m the train mean. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "base/json.h"
#include "base/text.h"
#include "data_fixture.h"
#include "sella/engine.h"
#include "sella/train.h"

#define HEADER "uid\tiid\tlabel\ttimestamp\tnot_cold\this\n"

static const char items[] = "iid\ttitle\n1\tAlpha (1990)\n2\tBeta (1991)\n3\tGamma; Part 2 "
                            "(1992)\n4\tDelta (1993)\n5\tEpsilon (1994)\n";
static const char train[] =
    HEADER "u1\t1\t1\t10\t1\t0\nu1\t2\t0\t11\t1\t0 1\nu2\t1\t1\t12\t1\t0\nu2\t2\t1\t13\t1\t0 "
           "1\nu3\t4\t0\t14\t1\t0\nu3\t1\t0\t15\t1\t0\n"
           "u2\t4\t1\t16\t1\t0 1 2\n";
static const char valid[] =
    HEADER "u1\t4\t1\t20\t1\t0 1\nu9\t1\t0\t21\t0\t0\nu2\t5\t1\t22\t0\t0 1 2 4\n";
/* Another data set on the same users: item 77 and user u8 are unknown to the run. */
static const char more_items[] =
    "iid\ttitle\n77\tOmega (2001)\n4\tDelta (1993)\n1\tAlpha (1990)\n2\tBeta (1991)\n";
static const char more_test[] =
    HEADER "u8\t4\t1\t30\t0\t0\nu2\t77\t0\t31\t0\t0 1 2 4\nu1\t1\t1\t32\t1\t0\n";

/* By hand: 4 of 7 train rows are likes. */
#define MEAN (4.0 / 7)
#define ALPHA ((2 + 5 * MEAN) / 8)
#define BETA ((1 + 5 * MEAN) / 7) /* and Delta: a tie */

typedef struct fixture {
    char *folder;
    char *run;
    char *other; /* data set with a test part */
    sella_engine *engine;
} fixture;

static void import_split(const char *folder, const char *name, const char *items_text,
                         const char *test_text)
{
    sella_err err = {0};
    char in[64];
    char file[96];
    snprintf(in, sizeof in, "in-%s", name);
    snprintf(file, sizeof file, "%s/items.tsv", in);
    put(folder, file, items_text);
    snprintf(file, sizeof file, "%s/train.tsv", in);
    put(folder, file, train);
    if (test_text != NULL) {
        snprintf(file, sizeof file, "%s/test.tsv", in);
        put(folder, file, test_text);
    } else {
        snprintf(file, sizeof file, "%s/valid.tsv", in);
        put(folder, file, valid);
    }
    if (import_into(folder, in, name, (sella_import_options){.format = "split", .noun = "movie"},
                    &err) != SELLA_OK) {
        fail_msg("%s", err.text);
    }
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    sella_err err = {0};
    char *json = NULL;
    f->folder = scratch_make();
    import_split(f->folder, "ds", items, NULL);
    import_split(f->folder, "other", more_items, more_test);
    char *dataset = sella_path_join(f->folder, "ds", NULL);
    f->run = sella_path_join(f->folder, "run", NULL);
    f->other = sella_path_join(f->folder, "other", NULL);
    const sella_train_options options = {.method = "itembias", .dataset = dataset, .run = f->run};
    if (sella_train(&options, NULL, &json, &err) != SELLA_OK ||
        sella_engine_open(f->run, NULL, &f->engine, &err) != SELLA_OK) {
        fail_msg("%s", err.text);
    }
    free(json);
    free(dataset);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    sella_engine_close(f->engine);
    scratch_remove(f->folder);
    free(f->run);
    free(f->other);
    free(f);
    return 0;
}

static void close_to(double got, double want)
{
    if (!(fabs(got - want) < 1e-6)) {
        fail_msg("got %.9f, want %.9f", got, want);
    }
}

static void scores_by_hand(void **state)
{
    fixture *f = *state;
    static const char *const item[] = {"5", "4", "1", "2"};
    double score[4];
    const sella_request who = {.user = "u1", .history_count = -1};
    assert_int_equal(sella_engine_score(f->engine, &who, item, 4, score, NULL), SELLA_OK);
    close_to(score[0], MEAN);
    close_to(score[1], BETA);
    close_to(score[2], ALPHA);
    close_to(score[3], BETA);
    static const char *const unknown[] = {"1", "99"};
    sella_err err = {0};
    assert_int_equal(sella_engine_score(f->engine, &who, unknown, 2, score, &err), SELLA_MISSING);
    assert_non_null(strstr(err.text, "'99'"));
}

/* The item ids that recommend gives, joined. */
static const char *best(fixture *f, const sella_request *who, const char *const *candidate, int n,
                        int k, int seen)
{
    static char text[128];
    sella_recommendation out[8];
    sella_err err = {0};
    int count = 0;
    text[0] = '\0';
    if (sella_engine_recommend(f->engine, who, candidate, n, k, seen, out, &count, &err) !=
        SELLA_OK) {
        fail_msg("%s", err.text);
    }
    size_t used = 0;
    for (int i = 0; i < count; i++) {
        assert_true(i == 0 || out[i].score <= out[i - 1].score);
        used += (size_t)snprintf(text + used, sizeof text - used, "%s ", out[i].item);
    }
    return text;
}

static void recommends_the_best(void **state)
{
    fixture *f = *state;
    const sella_request known = {.user = "u1", .history_count = -1};
    /* likes of train and valid (1, 4) are left out; 3 and 5 tie */
    assert_string_equal(best(f, &known, NULL, 0, 8, 0), "3 5 2 ");
    assert_string_equal(best(f, &known, NULL, 0, 8, 1), "1 3 5 2 4 ");
    assert_string_equal(best(f, &known, NULL, 0, 2, 1), "1 3 ");
    static const char *const liked[] = {"alpha (1990)", "5"};
    const sella_request unseen = {.history = liked, .history_count = 2};
    static const char *const candidate[] = {"4", "2", "2", "1"};
    /* a tie: catalogue order, duplicates once */
    assert_string_equal(best(f, &unseen, candidate, 4, 8, 0), "2 4 ");
    const sella_request nobody = {.user = "stranger", .history_count = -1};
    assert_string_equal(best(f, &nobody, NULL, 0, 1, 0), "1 ");
    sella_recommendation out[1];
    int count;
    assert_int_equal(sella_engine_recommend(f->engine, &known, NULL, 0, 0, 0, out, &count, NULL),
                     SELLA_ARG);
}

static void titles_of_a_history(void **state)
{
    fixture *f = *state;
    static const char *const liked[] = {"Alpa (1990)"};
    static const char *const item[] = {"1"};
    double score[1];
    sella_err err = {0};
    sella_request who = {.history = liked, .history_count = 1};
    assert_int_equal(sella_engine_score(f->engine, &who, item, 1, score, &err), SELLA_MISSING);
    assert_non_null(strstr(err.text, "Alpha (1990)"));
    who.free_titles = 1;
    assert_int_equal(sella_engine_score(f->engine, &who, item, 1, score, &err), SELLA_OK);
}

static json_t *evaluate(fixture *f, const sella_eval_options *options)
{
    sella_err err = {0};
    char *json = NULL;
    json_t *figures = NULL;
    if (sella_engine_eval(f->engine, options, &json, &err) != SELLA_OK) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(sella_json_parse(json, strlen(json), "figures", &figures, NULL), SELLA_OK);
    free(json);
    return figures;
}

static char *read_text(const char *folder, const char *name)
{
    char *path = sella_path_join(folder, name, NULL);
    sella_map map;
    assert_int_equal(sella_map_open(path, &map, NULL), SELLA_OK);
    char *text = calloc(map.size + 1, 1);
    memcpy(text, map.data, map.size);
    sella_map_close(&map);
    free(path);
    return text;
}

static void evaluates_the_recorded_data_set(void **state)
{
    fixture *f = *state;
    json_t *figures = evaluate(f, &(sella_eval_options){.split = "valid"});
    assert_int_equal(json_integer_value(json_object_get(figures, "rows")), 3);
    /* the only dislike has the highest score */
    close_to(json_number_value(json_object_get(figures, "auc")), 0.0);
    assert_true(json_is_null(json_object_get(figures, "uauc")));
    close_to(json_number_value(json_object_get(figures, "logloss")),
             -(log(BETA) + log(1 - ALPHA) + log(MEAN)) / 3);
    assert_int_equal(json_integer_value(json_object_get(
                         json_object_get(json_object_get(figures, "subsets"), "warm"), "rows")),
                     1);
    assert_string_equal(json_string_value(json_object_get(figures, "method")), "itembias");
    json_decref(figures);
    char *text = read_text(f->run, "predictions-valid.csv");
    const struct {
        const char *begin, *end;
        double score;
    } want[] = {{"u1,4,1,", ",1\n", BETA}, {"u9,1,0,", ",0\n", ALPHA}, {"u2,5,1,", ",0\n", MEAN}};
    static const char header[] = "user,item,label,score,warm\n";
    char *at = text + sizeof header - 1;
    assert_memory_equal(text, header, sizeof header - 1);
    for (int i = 0; i < 3; i++) {
        char *rest = NULL;
        assert_memory_equal(at, want[i].begin, strlen(want[i].begin));
        close_to(strtod(at + strlen(want[i].begin), &rest), want[i].score);
        assert_memory_equal(rest, want[i].end, strlen(want[i].end));
        at = rest + strlen(want[i].end);
    }
    assert_int_equal(*at, '\0');
    free(text);
}

static void evaluates_another_data_set(void **state)
{
    fixture *f = *state;
    char *csv = sella_path_join(f->folder, "p.csv", NULL);
    json_t *figures = evaluate(
        f, &(sella_eval_options){.dataset = f->other, .split = "test", .predictions = csv});
    assert_int_equal(json_integer_value(json_object_get(figures, "rows")), 3);
    close_to(json_number_value(json_object_get(figures, "logloss")),
             -(log(BETA) + log(1 - MEAN) + log(ALPHA)) / 3);
    close_to(json_number_value(json_object_get(figures, "auc")), 0.5);
    json_decref(figures);
    char *text = read_text(f->folder, "p.csv");
    assert_non_null(strstr(text, "\nu2,77,0,0.5714285"));
    free(text);
    free(csv);
}

static void samples_are_seeded(void **state)
{
    fixture *f = *state;
    char *csv = sella_path_join(f->folder, "s.csv", NULL);
    const sella_eval_options two = {
        .split = "valid", .rows = 2, .sample_seed = 5, .predictions = csv};
    json_t *a = evaluate(f, &two);
    json_t *b = evaluate(f, &two);
    assert_int_equal(json_integer_value(json_object_get(a, "rows")), 2);
    assert_true(json_equal(a, b));
    json_decref(a);
    json_decref(b);
    free(csv);
}

static void refuse_eval(fixture *f, const sella_eval_options *options, sella_status code,
                        const char *said)
{
    sella_err err = {0};
    char *json = NULL;
    assert_int_equal(sella_engine_eval(f->engine, options, &json, &err), code);
    assert_null(json);
    if (strstr(err.text, said) == NULL) {
        fail_msg("'%s' lacks '%s'", err.text, said);
    }
}

static void eval_refuses(void **state)
{
    fixture *f = *state;
    refuse_eval(f, NULL, SELLA_STATE, "no rows in its test part");
    refuse_eval(f, &(sella_eval_options){.split = "tset"}, SELLA_ARG, "tset");
    refuse_eval(f, &(sella_eval_options){.dataset = "nowhere"}, SELLA_MISSING, "nowhere");
    refuse_eval(f, &(sella_eval_options){.split = "valid", .predictions = "/nowhere/p.csv"},
                SELLA_IO, "/nowhere");
    char *json = NULL;
    sella_err err = {0};
    assert_int_equal(sella_engine_prompt(f->engine, NULL, "valid", 0, &json, &err),
                     SELLA_UNSUPPORTED);
    assert_non_null(strstr(err.text, "itembias"));
}

/* Cut to five digits: what a longer number begins with. */
static double down(double p)
{
    return floor(p * 1e5) / 1e5;
}

static int collect(void *user, const char *data, size_t bytes)
{
    return sella_text_append(user, data, bytes, NULL) != SELLA_OK;
}

static int fail_write(void *user, const char *data, size_t bytes)
{
    (void)user;
    (void)data;
    return bytes > 0;
}

static sella_status score_text(fixture *f, const char *csv, sella_text *out, sella_err *err)
{
    out->size = 0;
    return sella_engine_score_csv(f->engine, "pairs.csv", csv, strlen(csv), collect, out, err);
}

static void scores_a_file(void **state)
{
    fixture *f = *state;
    sella_text out = {0};
    sella_err err = {0};
    char want[512];
    static const char csv[] =
        "note,user,item,history\r\n\"a, \"\"b\"\"\",u1,2,\r\nx,u2,5,\r\n\r\ny,nobody,1,\"Alpha "
        "(1990); 3\"\n";
    if (score_text(f, csv, &out, &err) != SELLA_OK) {
        fail_msg("%s", err.text);
    }
    snprintf(want, sizeof want, "note,user,item,history,score\n\"a, \"\"b\"\"\",u1,2,,%.5f",
             down(BETA));
    assert_memory_equal(out.data, want, strlen(want));
    snprintf(want, sizeof want, "\nx,u2,5,,%.5f", down(MEAN));
    assert_non_null(strstr(out.data, want));
    snprintf(want, sizeof want, "\ny,nobody,1,\"Alpha (1990); 3\",%.5f", down(ALPHA));
    assert_non_null(strstr(out.data, want));
    assert_int_equal(score_text(f, "user\titem\ttitle\nu1\t77\tOmega\n", &out, &err), SELLA_OK);
    assert_non_null(strstr(out.data, "user\titem\ttitle\tscore\nu1\t77\tOmega\t0.571428"));
    sella_text_release(&out);
    assert_int_equal(
        sella_engine_score_csv(f->engine, "pairs.csv", csv, strlen(csv), fail_write, NULL, &err),
        SELLA_IO);
}

/* More rows than one chunk, in order. */
static void scores_many_rows(void **state)
{
    fixture *f = *state;
    sella_text in = {0}, out = {0};
    assert_int_equal(sella_text_format(&in, NULL, "user,item,n\n"), SELLA_OK);
    for (int i = 0; i < 40000; i++) {
        assert_int_equal(sella_text_format(&in, NULL, "u%d,%d,%d\n", i % 5, i % 5 + 1, i),
                         SELLA_OK);
    }
    assert_int_equal(score_text(f, in.data, &out, NULL), SELLA_OK);
    const char *at = strchr(out.data, '\n') + 1;
    for (int i = 0; i < 40000; i++) {
        char want[64];
        const double p = i % 5 == 0 ? ALPHA : i % 5 == 1 || i % 5 == 3 ? BETA : MEAN;
        snprintf(want, sizeof want, "u%d,%d,%d,%.5f", i % 5, i % 5 + 1, i, down(p));
        assert_memory_equal(at, want, strlen(want));
        at = strchr(at, '\n') + 1;
    }
    assert_int_equal(*at, '\0');
    sella_text_release(&in);
    sella_text_release(&out);
}

static void score_file_refuses(void **state)
{
    fixture *f = *state;
    static const struct {
        const char *csv, *said;
    } bad[] = {
        {"", "pairs.csv"},
        {"user,thing\nu1,1\n", "item"},
        {"user,item,score\nu1,1,0\n", "score"},
        {"user,item\nu1,1\nu1,99\n", "pairs.csv:3"},
        {"user,item\nu1,1,2\n", "pairs.csv:2"},
        {"user,item,history\nu1,1,Alpa (1990)\n", "Alpha (1990)"},
        {"user,item\nu1,\"1\n", "pairs.csv:2"},
        {"user,item\nu\xff,1\n", "pairs.csv:2"},
    };
    sella_text out = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        sella_err err = {0};
        assert_int_not_equal(score_text(f, bad[i].csv, &out, &err), SELLA_OK);
        assert_int_equal(out.size, 0); /* nothing before the whole file was found good */
        if (strstr(err.text, bad[i].said) == NULL) {
            fail_msg("'%s' lacks '%s'", err.text, bad[i].said);
        }
    }
    sella_text_release(&out);
    sella_err err = {0};
    char *csv = scratch_file(f->folder, "pairs.csv", "user,item\nu1,99\n", 16);
    char *target = sella_path_join(f->folder, "scored.csv", NULL);
    assert_int_equal(sella_engine_score_file(f->engine, csv, target, &err), SELLA_MISSING);
    assert_false(sella_path_exists(target));
    free(csv);
    free(target);
}

static void refuse_open(const char *run, const sella_engine_options *options, sella_status code,
                        const char *said)
{
    sella_err err = {0};
    sella_engine *engine = NULL;
    assert_int_equal(sella_engine_open(run, options, &engine, &err), code);
    assert_null(engine);
    if (strstr(err.text, said) == NULL) {
        fail_msg("'%s' lacks '%s'", err.text, said);
    }
}

static void open_refuses(void **state)
{
    fixture *f = *state;
    refuse_open("no-such-run", NULL, SELLA_MISSING, "no-such-run");
    refuse_open(f->run, &(sella_engine_options){.model = "m.gguf"}, SELLA_ARG, "--model");
    char *result = sella_path_join(f->run, "result.json", NULL);
    char *aside = sella_path_join(f->run, "aside", NULL);
    assert_int_equal(rename(result, aside), 0);
    refuse_open(f->run, NULL, SELLA_STATE, "has not finished");
    assert_int_equal(rename(aside, result), 0);
    free(result);
    free(aside);
    char *catalogue = read_text(f->run, "items.tsv");
    free(scratch_file(f->run, "items.tsv", catalogue, strlen(catalogue) / 2));
    refuse_open(f->run, NULL, SELLA_FORMAT, "items.tsv");
    free(scratch_file(f->run, "items.tsv", catalogue, strlen(catalogue)));
    free(catalogue);
    free(scratch_file(f->run, "collab.safetensors", "x", 1));
    refuse_open(f->run, NULL, SELLA_FORMAT, "collab.safetensors");
}

static void a_changed_data_set(void **state)
{
    fixture *f = *state;
    char *dataset = sella_path_join(f->folder, "ds", NULL);
    assert_int_equal(sella_path_remove(dataset, NULL), SELLA_OK);
    refuse_eval(f, &(sella_eval_options){.split = "valid"}, SELLA_MISSING, "--data");
    sella_err err = {0};
    assert_int_equal(
        import_into(f->folder, "in-other", "ds", (sella_import_options){.format = "split"}, &err),
        SELLA_OK);
    refuse_eval(f, &(sella_eval_options){.split = "test"}, SELLA_STATE, "checksum");
    free(dataset);
}

static void what_a_run_is(void **state)
{
    fixture *f = *state;
    char *json = NULL;
    json_t *info = NULL;
    assert_int_equal(sella_engine_info(f->engine, &json, NULL), SELLA_OK);
    assert_int_equal(sella_json_parse(json, strlen(json), "info", &info, NULL), SELLA_OK);
    assert_string_equal(json_string_value(json_object_get(info, "method")), "itembias");
    assert_int_equal(json_integer_value(json_object_get(info, "users")), 3);
    assert_int_equal(json_integer_value(json_object_get(info, "items")), 5);
    json_decref(info);
    free(json);
    sella_err err = {0};
    if (sella_inspect(f->run, &json, &err) != SELLA_OK) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(sella_json_parse(json, strlen(json), "run", &info, NULL), SELLA_OK);
    assert_string_equal(json_string_value(json_object_get(info, "kind")), "run");
    assert_true(json_is_true(json_object_get(info, "complete")));
    json_decref(info);
    free(json);
    assert_int_equal(sella_inspect(f->other, &json, NULL), SELLA_OK);
    assert_int_equal(sella_json_parse(json, strlen(json), "dataset", &info, NULL), SELLA_OK);
    assert_string_equal(json_string_value(json_object_get(info, "kind")), "dataset");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(info, "rows"), "test")), 3);
    json_decref(info);
    free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_by_hand),
        cmocka_unit_test(recommends_the_best),
        cmocka_unit_test(titles_of_a_history),
        cmocka_unit_test(evaluates_the_recorded_data_set),
        cmocka_unit_test(evaluates_another_data_set),
        cmocka_unit_test(samples_are_seeded),
        cmocka_unit_test(eval_refuses),
        cmocka_unit_test(scores_a_file),
        cmocka_unit_test(scores_many_rows),
        cmocka_unit_test(score_file_refuses),
        cmocka_unit_test(what_a_run_is),
        cmocka_unit_test(a_changed_data_set), /* these two damage the fixture: last */
        cmocka_unit_test(open_refuses),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
