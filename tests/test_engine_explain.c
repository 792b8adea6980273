/* test_engine_explain.c - what an explanation says against what the same run answers when it is
 * asked in other ways: other histories, an ablated run, prompts with a token taken out by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/session.h"
#include "formats/safetensors.h"
#include "kernels/activation.h"
#include "methods/lm_scorer_state.h"
#include "methods_fixture.h"
#include "sella/engine.h"

enum { LIKED = 6, LONG = 25 };
static const char *const liked[LIKED] = {"i3", "i7", "i1", "i12", "i18", "i5"};
static char *folder, *dataset, *sella, *din, *tallrec, *mf, *bias;

static char *train(const char *name, const char *method, const char *from, const char *const *set)
{
    char *path = sella_path_join(folder, name, NULL);
    fixture_train_ok(method, dataset, path, NULL, from, set);
    return path;
}

static int setup(void **state)
{
    static const char *const quick[] = {"stage1.batch=24", "stage3.batch=24", "stage2.epochs=6",
                                        "stage2.batch=64", "collab.width=8",  "proj.hidden=12",
                                        "stage3.lr=1e-2",  "stage1.lr=1e-2",  NULL};
    static const char *const target[] = {
        "stage1.batch=24", "stage3.batch=24",     "stage2.epochs=2",
        "collab.width=8",  "collab.model=din",    "proj.hidden=12",
        "stage3.lr=1e-2",  "stage3.residual=yes", NULL};
    static const char *const first[] = {"stage1.batch=24", "stage1.lr=1e-2", "template=paper",
                                        NULL};
    static const char *const factors[] = {"collab.optimizer=adam",
                                          "collab.history=yes",
                                          "collab.width=8",
                                          "collab.epochs=5",
                                          "collab.batch=64",
                                          "collab.lr=0.05",
                                          NULL};
    const fixture_shape shape = {.users = 12, .items = 20, .train = 200, .valid = 60, .seed = 13};
    (void)state;
    sella_threads_set(1);
    folder = scratch_make();
    dataset = sella_path_join(folder, "data", NULL);
    fixture_dataset(dataset, &shape);
    sella = train("sella", "sella", NULL, quick);
    din = train("sella-din", "sella", NULL, target);
    tallrec = train("tallrec", "tallrec", NULL, first);
    mf = train("mf", "mf", NULL, factors);
    bias = train("bias", "bias", NULL, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_remove(folder);
    free(dataset);
    free(sella);
    free(din);
    free(tallrec);
    free(mf);
    free(bias);
    return 0;
}

static sella_engine *open_engine(const char *run)
{
    sella_engine *engine = NULL;
    const sella_engine_options options = {.threads = 1};
    CHECK(sella_engine_open(run, &options, &engine, err));
    return engine;
}

static json_t *explain(sella_engine *engine, const sella_request *request, const char *item,
                       const sella_explain_options *options)
{
    char *json = NULL;
    json_t *object = NULL;
    CHECK(sella_engine_explain(engine, request, item, options, &json, err));
    CHECK(sella_json_parse(json, strlen(json), "explanation", &object, err));
    free(json);
    return object;
}

static double real(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static double score(sella_engine *engine, const sella_request *request, const char *item)
{
    double value;
    CHECK(sella_engine_score(engine, request, &item, 1, &value, err));
    return value;
}

static void near(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance)) {
        fail_msg("got %.9f, want %.9f", got, want);
    }
}

/* The score of each run's own users, of strangers and of people without a history. */
static void score_is_the_score(void **state)
{
    const char *const runs[] = {sella, tallrec, mf, bias, din};
    const sella_request who[] = {{.user = "u3", .history_count = -1},
                                 {.user = "u0", .history = liked, .history_count = LIKED},
                                 {.user = "nobody", .history_count = -1},
                                 {.history = liked, .history_count = LIKED},
                                 {.user = "u5", .history_count = 0}};
    (void)state;
    for (size_t r = 0; r < 5; r++) {
        sella_engine *engine = open_engine(runs[r]);
        for (size_t w = 0; w < sizeof who / sizeof *who; w++) {
            json_t *object = explain(engine, &who[w], "i9", NULL);
            near(real(object, "score"), score(engine, &who[w], "i9"), 1e-5);
            near(real(object, "score"), 1 / (1 + exp(-real(object, "logit"))), 1e-9);
            assert_string_equal(json_string_value(json_object_get(object, "item")), "i9");
            assert_true(json_is_true(json_object_get(object, "known")) == (w != 2 && w != 3));
            if (w == 4) { // an empty history: only soft tokens can be taken out
                assert_int_equal(json_array_size(json_object_get(object, "without")),
                                 r == 0 || r == 4 ? 3 : 0);
            }
            json_decref(object);
        }
        sella_engine_close(engine);
    }
}

/* Terms add up, nested ones to their own. */
static void terms_add_up(void **state)
{
    const char *const runs[] = {sella, tallrec, mf, bias, din};
    const sella_request who = {.user = "u3", .history_count = -1};
    (void)state;
    for (size_t r = 0; r < 5; r++) {
        sella_engine *engine = open_engine(runs[r]);
        json_t *object = explain(engine, &who, "i4", NULL),
               *list = json_object_get(object, "terms"), *term, *inner;
        double sum = 0;
        size_t i, j;
        assert_true(json_array_size(list) > 1);
        json_array_foreach(list, i, term) {
            sum += real(term, "value");
            json_t *nested = json_object_get(term, "terms");
            double of = 0;
            json_array_foreach(nested, j, inner) {
                of += real(inner, "value");
            }
            if (nested) {
                assert_string_equal(json_string_value(json_object_get(term, "term")),
                                    "collaborative residual");
                near(of, real(term, "value"), 1e-5);
                assert_true(fabs(of) > 1e-3);
            }
        }
        near(sum, real(object, "logit"), 1e-5);
        json_decref(object);
        sella_engine_close(engine);
    }
}

/* The biases and the intercept are the numbers in the run's file. */
static double stored(const char *run, const char *name, int32_t row)
{
    char *path = sella_path_join(run, "collab.safetensors", NULL);
    sella_safetensors *file = NULL;
    CHECK(sella_safetensors_open(path, &file, err));
    for (int i = 0; i < sella_safetensors_count(file); i++) {
        const sella_tensor *tensor = sella_safetensors_at(file, i);
        if (strcmp(tensor->name, name) == 0) {
            float value;
            memcpy(&value, (const char *)tensor->data + (size_t)row * sizeof value, sizeof value);
            sella_safetensors_close(file);
            free(path);
            return (double)value;
        }
    }
    fail_msg("%s has no %s", path, name);
    return 0;
}

static double term_of(const json_t *list, const char *name)
{
    const json_t *term;
    size_t i;
    json_array_foreach((json_t *)list, i, term) {
        if (strcmp(json_string_value(json_object_get(term, "term")), name) == 0) {
            return real(term, "value");
        }
    }
    fail_msg("there is no term '%s'", name);
    return 0;
}

static void terms_are_what_is_stored(void **state)
{
    const sella_request who = {.user = "u3", .history_count = -1};
    (void)state;
    sella_engine *engine = open_engine(bias);
    const int32_t user = sella_run_find_user(engine->run, "u3"),
                  item = sella_run_find_item(engine->run, "i4");
    json_t *object = explain(engine, &who, "i4", NULL);
    near(term_of(json_object_get(object, "terms"), "user bias"), stored(bias, "user.bias", user),
         1e-9);
    near(term_of(json_object_get(object, "terms"), "item bias"), stored(bias, "item.bias", item),
         1e-9);
    near(term_of(json_object_get(object, "terms"), "global bias"), stored(bias, "global.bias", 0),
         1e-9);
    json_decref(object);
    sella_engine_close(engine);
    engine = open_engine(sella);
    object = explain(engine, &who, "i4", NULL);
    near(term_of(json_object_get(object, "terms"), "intercept"), stored(sella, "logit.bias", 0),
         1e-9);
    json_decref(object);
    sella_engine_close(engine);
}

/* ---- titles of the history ---- */

/* Every entry taken out is the same request without it. shown: the part of the history that is
 * read. */
static void check_titles(sella_engine *engine, const char *user, const char *const *history,
                         int count, int first)
{
    const sella_request whole = {.user = user, .history = history, .history_count = count};
    json_t *object = explain(engine, &whole, "i9", NULL), *row;
    const char *rest[LONG];
    size_t i;
    int seen = first, differ = 0;
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(object, "history"), "titles")), count);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(object, "history"), "read")),
        count - first);
    json_array_foreach(json_object_get(object, "without"), i, row) {
        if (strcmp(json_string_value(json_object_get(row, "what")), "history") != 0) {
            continue;
        }
        assert_int_equal(json_integer_value(json_object_get(row, "entry")), seen);
        assert_string_equal(json_string_value(json_object_get(row, "item")), history[seen]);
        int n = 0;
        for (int j = first; j < count; j++) {
            rest[n] = history[j];
            n += j != seen;
        }
        const sella_request less = {.user = user, .history = rest, .history_count = n};
        near(real(row, "score"), score(engine, &less, "i9"), 1e-5);
        near(real(row, "delta"), real(object, "score") - real(row, "score"), 1e-12);
        differ += fabs(real(row, "delta")) > 1e-6;
        seen++;
    }
    assert_int_equal(seen, count);
    assert_true(differ > (count - first) / 2);
    json_decref(object);
}

static void titles_taken_out(void **state)
{
    char name[LONG][8];
    const char *history[LONG];
    (void)state;
    for (int j = 0; j < LONG; j++) {
        snprintf(name[j], sizeof name[j], "i%d", j * 7 % 20);
        history[j] = name[j];
    }
    sella_engine *engine = open_engine(sella);
    check_titles(engine, "u2", liked, LIKED, 0);
    check_titles(engine, NULL, liked, LIKED, 0);
    sella_engine_close(engine);
    engine = open_engine(din); // its user token and its residual read the history against the item
    check_titles(engine, "u2", liked, LIKED, 0);
    check_titles(engine, NULL, liked, LIKED, 0);
    sella_engine_close(engine);
    engine = open_engine(mf);
    check_titles(engine, "u2", liked, LIKED, 0);
    check_titles(engine, "stranger", history, LONG, 0); // its window is 50
    sella_engine_close(engine);
    engine = open_engine(tallrec);
    check_titles(engine, "u2", liked, LIKED, 0);
    check_titles(engine, "u2", history, LONG, 10); // anchored at 10: the last 15 are shown
    check_titles(engine, "u2", history, 20, 10);   // one less would be shown from 0
    sella_engine_close(engine);
    engine = open_engine(bias);
    const sella_request who = {.user = "u2", .history = liked, .history_count = LIKED};
    json_t *object = explain(engine, &who, "i9", NULL);
    assert_int_equal(json_array_size(json_object_get(object, "without")), 0);
    json_decref(object);
    sella_engine_close(engine);
}

static void titles_by_name(void **state)
{
    (void)state;
    sella_engine *engine = open_engine(tallrec);
    static const char *const texts[] = {"i3", "A Film Nobody Has Seen (1999)", "i3", "i7"};
    const sella_request who = {
        .user = "u2", .history = texts, .history_count = 4, .free_titles = 1};
    const char *name[] = {"i3", "a film nobody has seen (1999)"};
    json_t *object =
        explain(engine, &who, "i9", &(sella_explain_options){.without = name, .without_count = 2});
    const json_t *list = json_object_get(object, "without");
    assert_int_equal(json_array_size(list), 3); // both entries of i3
    assert_true(json_is_null(json_object_get(json_array_get(list, 1), "item")));
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 1), "title")),
                        texts[1]);
    json_decref(object);
    sella_err err = {0};
    char *json = NULL;
    const char *wrong[] = {"A Film Nobody Has Sean (1999)"};
    assert_int_equal(
        sella_engine_explain(engine, &who, "i9",
                             &(sella_explain_options){.without = wrong, .without_count = 1}, &json,
                             &err),
        SELLA_MISSING);
    assert_non_null(strstr(err.text, "the nearest is 'A Film Nobody Has Seen (1999)'"));
    assert_null(json);
    wrong[0] = "i11"; // in the catalogue, but not in this history
    assert_int_equal(
        sella_engine_explain(engine, &who, "i9",
                             &(sella_explain_options){.without = wrong, .without_count = 1}, &json,
                             &err),
        SELLA_MISSING);
    const sella_request empty = {.user = "u2", .history_count = 0};
    assert_int_equal(
        sella_engine_explain(engine, &empty, "i9",
                             &(sella_explain_options){.without = wrong, .without_count = 1}, &json,
                             &err),
        SELLA_MISSING);
    assert_non_null(strstr(err.text, "the history is empty"));
    sella_engine_close(engine);
    engine = open_engine(bias);
    assert_int_equal(
        sella_engine_explain(engine, &who, "i9",
                             &(sella_explain_options){.without = name, .without_count = 1}, &json,
                             &err),
        SELLA_MISSING);
    assert_non_null(strstr(err.text, "does not read the history"));
    sella_engine_close(engine);
}

/* ---- soft tokens ---- */

/* Logit of the prompt from which the soft token of one kind is cut out by hand. The compact
 * template says nothing around soft tokens. */
static double cut_by_hand(sella_engine *engine, const sella_query *query, uint8_t slot,
                          double residual)
{
    sella_lm_scorer *s = (sella_lm_scorer *)engine->scorer;
    sella_rows rows, cut;
    sella_refs refs = {0};
    sella_soft soft = {0};
    int32_t token[512];
    uint8_t kind[512];
    const int32_t ref[SELLA_SLOTS] = {0};
    double logit = 0;
    int n = 0;
    sella_rows_init(&rows);
    sella_rows_init(&cut);
    CHECK(engine->scorer->ops->prompt(engine->scorer, query, &rows, err));
    for (int64_t t = 0; t < rows.start[1]; t++) {
        token[n] = rows.token[t];
        kind[n] = rows.slot[t];
        n += rows.slot[t] != slot;
    }
    assert_int_equal(n, rows.start[1] - 1);
    CHECK(sella_rows_add(&cut, token, kind, n, ref, 0, 0, 0.0f, 1.0f, err));
    CHECK(sella_lm_scorer_soft(s, query, 1, &refs, &soft, err));
    CHECK(sella_lm_scorer_rows(s, &cut, &soft, &logit, NULL, err));
    sella_soft_release(&soft);
    sella_refs_release(&refs);
    sella_rows_release(&rows);
    sella_rows_release(&cut);
    const double weight = (double)sella_vectors_weight(s->options.vectors, query->item);
    /* preset default: stage3.gain_rows=4, and train names the item */
    assert_true(weight > 0 && weight < 1);
    return (double)s->options.gain * weight * logit + (double)s->options.bias + residual;
}

static void soft_tokens_taken_out(void **state)
{
    static const char *const what[] = {"U", "I", "W"};
    double without[3];
    (void)state;
    sella_engine *engine = open_engine(sella);
    const sella_request who = {.user = "u3", .history = liked, .history_count = LIKED};
    sella_resolved resolved;
    CHECK(sella_engine_resolve(engine, &who, &resolved, err));
    const sella_query query = sella_engine_query(&resolved, sella_run_find_item(engine->run, "i9"));
    json_t *object = explain(engine, &who, "i9", NULL);
    const double residual = term_of(json_object_get(object, "terms"), "collaborative residual");
    for (int i = 0; i < 3; i++) {
        const json_t *row = json_array_get(json_object_get(object, "without"), (size_t)i);
        assert_string_equal(json_string_value(json_object_get(row, "what")), what[i]);
        near(real(row, "logit"), cut_by_hand(engine, &query, (uint8_t)(i + 1), residual), 1e-4);
        assert_true(fabs(real(row, "delta")) > 1e-6);
        without[i] = real(row, "score");
    }
    json_decref(object);
    sella_resolved_release(&resolved);
    sella_engine_close(engine);
    /* the same run, read as one whose prompts never had a warm token */
    char *path = sella_path_join(sella, "run.json", NULL);
    json_t *document = NULL;
    CHECK(sella_json_load(path, 1 << 20, &document, err));
    json_object_set_new(json_object_get(document, "settings"), "ablation", json_string("warm"));
    CHECK(sella_json_save(path, document, err));
    engine = open_engine(sella);
    near(score(engine, &who, "i9"), without[2], 1e-5);
    object = explain(engine, &who, "i9", NULL);
    assert_string_equal(json_string_value(json_object_get(
                            json_array_get(json_object_get(object, "without"), 1), "what")),
                        "I");
    assert_string_equal(json_string_value(json_object_get(
                            json_array_get(json_object_get(object, "without"), 2), "what")),
                        "history");
    json_decref(object);
    sella_engine_close(engine);
    json_object_set_new(json_object_get(document, "settings"), "ablation", json_string("none"));
    CHECK(sella_json_save(path, document, err));
    json_decref(document);
    free(path);
}

/* ---- prompt and attention ---- */

static double sum_of(const json_t *list)
{
    const json_t *value;
    size_t i;
    double sum = 0;
    json_array_foreach((json_t *)list, i, value) {
        sum += json_number_value(value);
    }
    return sum;
}

static void check_prompt(const json_t *object, size_t layers)
{
    const json_t *parts = json_object_get(object, "parts"),
                 *tokens = json_object_get(object, "tokens"),
                 *map = json_object_get(object, "attention");
    const size_t T = json_array_size(tokens),
                 H = (size_t)json_integer_value(json_object_get(map, "heads"));
    size_t next = 0;
    char *text = calloc(1, 1);
    assert_int_equal(json_array_size(json_object_get(map, "layers")), layers);
    /* the parts are the prompt, and their texts its tokens */
    for (size_t p = 0; p < json_array_size(parts); p++) {
        const json_t *part = json_array_get(parts, p);
        const char *whole = json_string_value(json_object_get(part, "text"));
        assert_int_equal(json_integer_value(json_object_get(part, "first")), next);
        const size_t last = (size_t)json_integer_value(json_object_get(part, "last"));
        text[0] = '\0';
        for (; next <= last; next++) {
            const char *piece = json_string_value(json_array_get(tokens, next));
            text = realloc(text, strlen(text) + strlen(piece) + 1);
            memcpy(text + strlen(text), piece, strlen(piece) + 1);
        }
        /* a token that is a piece of a character has no text of its own */
        if (!strstr(text, "\xEF\xBF\xBD")) {
            assert_string_equal(text, whole);
        }
    }
    assert_int_equal(next, T);
    for (size_t k = 0; k < layers; k++) {
        const json_t *rows = json_array_get(json_object_get(map, "head_mean"), k);
        assert_int_equal(json_array_size(rows), T);
        for (size_t t = 0; t < T; t++) {
            assert_int_equal(json_array_size(json_array_get(rows, t)), T);
            near(sum_of(json_array_get(rows, t)), 1, 1e-5);
            assert_true(t + 1 == T ||
                        json_number_value(json_array_get(json_array_get(rows, t), t + 1)) == 0);
        }
        const json_t *from = json_array_get(json_object_get(map, "from_answer"), k),
                     *answer = json_array_get(rows, T - 1);
        near(sum_of(from), 1, 1e-5);
        for (size_t p = 0; p < json_array_size(parts); p++) {
            double sum = 0;
            for (size_t t =
                     (size_t)json_integer_value(json_object_get(json_array_get(parts, p), "first"));
                 t <= (size_t)json_integer_value(json_object_get(json_array_get(parts, p), "last"));
                 t++) {
                sum += json_number_value(json_array_get(answer, t));
            }
            near(json_number_value(json_array_get(from, p)), sum, 1e-9);
        }
        const json_t *heads = json_array_get(json_object_get(map, "by_head"), k);
        for (size_t t = 0; heads && t < T; t++) {
            double mean = 0;
            for (size_t h = 0; h < H; h++) {
                mean += json_number_value(json_array_get(json_array_get(heads, h), t)) / (double)H;
            }
            near(json_number_value(json_array_get(answer, t)), mean, 1e-6);
        }
    }
    free(text);
}

static void prompt_and_attention(void **state)
{
    static const char *const texts[] = {"i3",
                                        "\xE4\xB8\x83\xE4\xBA\xBA\xE3\x81\xAE\xE4\xBE\x8D (1954)"};
    static const int both[] = {2, 1, 2};
    const sella_request who[] = {{.user = "u3", .history_count = -1},
                                 {.user = "u3", .history_count = 0},
                                 {.history = texts, .history_count = 2, .free_titles = 1}};
    (void)state;
    for (int run = 0; run < 2; run++) {
        sella_engine *engine = open_engine(run ? tallrec : sella);
        for (int w = 0; w < 3; w++) {
            json_t *object = explain(engine, &who[w], "i9", NULL);
            check_prompt(object, 1); // of two layers the second is the last
            assert_int_equal(json_array_size(json_object_get(object, "soft")), run ? 0 : 3);
            json_decref(object);
            object = explain(engine, &who[w], "i9",
                             &(sella_explain_options){.layer_k = both, .layers = 3, .heads = 1});
            check_prompt(object, 2);
            assert_int_equal(
                json_array_size(json_object_get(json_object_get(object, "attention"), "by_head")),
                2);
            json_decref(object);
        }
        sella_engine_close(engine);
    }
    /* the names of the parts, in the paper's template */
    sella_engine *engine = open_engine(tallrec);
    json_t *object = explain(
        engine, &(sella_request){.user = "u3", .history = liked, .history_count = 2}, "i9", NULL);
    static const char *const name[] = {"start", "history", "history", "target", "end"};
    const json_t *parts = json_object_get(object, "parts");
    assert_int_equal(json_array_size(parts), 5);
    for (size_t p = 0; p < 5; p++) {
        assert_string_equal(json_string_value(json_object_get(json_array_get(parts, p), "part")),
                            name[p]);
    }
    assert_int_equal(json_integer_value(json_object_get(json_array_get(parts, 2), "entry")), 1);
    const char *title = json_string_value(json_object_get(json_array_get(parts, 2), "text"));
    assert_memory_equal(title, "2. ", 3);
    assert_non_null(strstr(title, engine->run->title[sella_run_find_item(engine->run, "i7")]));
    json_decref(object);
    sella_engine_close(engine);
}

/* ---- refusals ---- */

static void refusals(void **state)
{
    static const char bad[] = "caf\xE9";
    static const char *const bad_list[] = {bad};
    static const int zero[] = {0}, third[] = {3};
    const sella_request known = {.user = "u3", .history_count = -1},
                        bad_user = {.user = bad, .history_count = -1},
                        bad_history = {.history = bad_list, .history_count = 1, .free_titles = 1},
                        no_list = {.user = "u3", .history_count = 2};
    const struct {
        const sella_request *who;
        const char *item;
        sella_explain_options options;
        sella_status status;
        const char *text;
    } wrong[] = {
        {&known, "i99", {0}, SELLA_MISSING, "'i99'"},
        {&known, NULL, {0}, SELLA_ARG, "item"},
        {&known, bad, {0}, SELLA_ARG, "not UTF-8"},
        {&bad_user, "i9", {0}, SELLA_ARG, "the user is not UTF-8 text (byte 4)"},
        {&bad_history, "i9", {0}, SELLA_ARG, "history is not UTF-8"},
        {&no_list, "i9", {0}, SELLA_ARG, "no list"},
        {&known, "i9", {.without = bad_list, .without_count = 1}, SELLA_ARG, "not UTF-8"},
        {&known,
         "i9",
         {.layer_k = zero, .layers = 1},
         SELLA_ARG,
         "layer 0 is not in the language model; expected 1 to 2"},
        {&known, "i9", {.layer_k = third, .layers = 1}, SELLA_ARG, "layer 3"},
    };
    (void)state;
    sella_engine *engine = open_engine(sella), *none = open_engine(mf);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        sella_err err = {0};
        char *json = NULL;
        assert_int_equal(sella_engine_explain(engine, wrong[i].who, wrong[i].item,
                                              &wrong[i].options, &json, &err),
                         wrong[i].status);
        assert_null(json);
        if (!strstr(err.text, wrong[i].text)) {
            fail_msg("'%s' lacks '%s'", err.text, wrong[i].text);
        }
    }
    sella_err err = {0};
    char *json = NULL;
    assert_int_equal(
        sella_engine_explain(none, &known, "i9", &(sella_explain_options){.heads = 1}, &json, &err),
        SELLA_ARG);
    assert_int_equal(sella_engine_explain(none, &known, "i9",
                                          &(sella_explain_options){.layer_k = third, .layers = 1},
                                          &json, &err),
                     SELLA_ARG);
    json_t *object = explain(none, &known, "i9", NULL);
    assert_true(json_is_null(json_object_get(object, "attention")));
    assert_int_equal(json_array_size(json_object_get(object, "parts")), 0);
    json_decref(object);
    sella_engine_close(engine);
    sella_engine_close(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(score_is_the_score),       cmocka_unit_test(terms_add_up),
        cmocka_unit_test(terms_are_what_is_stored), cmocka_unit_test(titles_taken_out),
        cmocka_unit_test(titles_by_name),           cmocka_unit_test(soft_tokens_taken_out),
        cmocka_unit_test(prompt_and_attention),     cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
