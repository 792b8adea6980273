/* test_methods_baselines.c - the methods with features in the prompt from end to end on a tiny
 * model: what each trains and leaves alone, byte for byte; that its score depends on what defines
 * it; --from, resuming, users and items never seen, refusals. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "formats/safetensors.h"
#include "methods_fixture.h"

enum { ITEM_COUNT = 20 };

static const char *const quick[] = {"stage1.batch=24", "stage3.batch=24",      "stage1.lr=1e-2",
                                    "stage3.lr=1e-2",  "checkpoint.seconds=0", NULL};
static char *folder, *data, *stage1; // stage1: a finished tallrec run
static sella_backbone *backbone;

static char *in(const char *name)
{
    return sella_path_join(folder, name, NULL);
}

static int setup(void **state)
{
    const fixture_shape shape = {
        .users = 12, .items = ITEM_COUNT, .train = 160, .valid = 60, .seed = 21};
    (void)state;
    sella_threads_set(1);
    folder = fixture_folder(&shape, &data);
    stage1 = in("stage1");
    fixture_train_ok("tallrec", data, stage1, NULL, NULL, quick);
    CHECK(sella_backbone_open(TINY_MODEL, NULL, &backbone, err));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sella_backbone_close(backbone);
    scratch_remove(folder);
    free(data);
    free(stage1);
    return 0;
}

/* Settings `quick` and up to two more. */
static void with(const char **list, const char *a, const char *b)
{
    fixture_set(list, quick, a, b);
}

/* Train into folder/NAME; the path is the caller's. */
static char *trained(const char *method, const char *name, const char *from, const char *a,
                     const char *b)
{
    const char *set[10];
    char *run = in(name);
    with(set, a, b);
    fixture_train_ok(method, data, run, NULL, from, set);
    return run;
}

/* Does a tensor of collab.safetensors (or FILE) differ between two runs in row `row` (-1:
 * anywhere)? */
static bool differs(const char *a, const char *b, const char *file, const char *name, int row)
{
    sella_safetensors *x = NULL, *y = NULL;
    char *p = sella_path_join(a, file, NULL), *q = sella_path_join(b, file, NULL);
    CHECK(sella_safetensors_open(p, &x, err));
    CHECK(sella_safetensors_open(q, &y, err));
    const sella_tensor *s = sella_safetensors_find(x, name), *t = sella_safetensors_find(y, name);
    if (!s || !t) {
        fail_msg("%s is not in both %s and %s", name, p, q);
    }
    assert_int_equal(s->bytes, t->bytes);
    size_t bytes = row < 0 ? s->bytes : (size_t)s->shape[1] * sizeof(float),
           at = row < 0 ? 0 : (size_t)row * bytes;
    bool different = memcmp((const char *)s->data + at, (const char *)t->data + at, bytes) != 0;
    sella_safetensors_close(x);
    sella_safetensors_close(y);
    free(p);
    free(q);
    return different;
}

/* Write back FILE of a run with value number `at` of a tensor moved by `by` (NAN: made so); shape:
 * one row fewer. */
static void change(const char *run, const char *file, const char *name, size_t at, float by,
                   bool shape)
{
    sella_safetensors *old = NULL;
    char *path = sella_path_join(run, file, NULL), *copy = in("copy.safetensors");
    CHECK(sella_file_copy(path, copy, err));
    CHECK(sella_safetensors_open(copy, &old, err));
    int count = sella_safetensors_count(old);
    sella_tensor_out *out = calloc((size_t)count, sizeof *out);
    float *value = NULL;
    for (int i = 0; i < count; i++) {
        const sella_tensor *t = sella_safetensors_at(old, i);
        out[i] = (sella_tensor_out){t->name, t->rank, {t->shape[0], t->shape[1]}, t->data};
        if (strcmp(t->name, name) == 0) {
            value = malloc(t->bytes);
            memcpy(value, t->data, t->bytes);
            value[at] += by;
            out[i].data = value;
            out[i].shape[0] -= shape;
        }
    }
    assert_non_null(value);
    CHECK(sella_safetensors_write(path, out, count, NULL, err));
    sella_safetensors_close(old);
    free(out);
    free(value);
    free(path);
    free(copy);
}

/* Logits of queries by the run in a folder. */
static void score(const char *path, const sella_query *query_n, int N, double *z)
{
    sella_run *run = NULL;
    sella_scorer *scorer = NULL;
    CHECK(sella_run_open(path, &run, err));
    CHECK(sella_method_find(run->method)->open(run, backbone, &scorer, err));
    CHECK(scorer->ops->score(scorer, query_n, N, z, NULL, err));
    for (int n = 0; n < N; n++) {
        assert_true(isfinite(z[n]));
    }
    scorer->ops->close(scorer);
    sella_run_close(run);
}

static const int32_t liked[] = {3, 4};
/* Users 2 and 5 with the same history, items 5 and 6; a user and an item never seen. */
static const sella_query queries[] = {
    {.user = 2, .item = 5, .history_n = liked, .history_count = 2},
    {.user = 5, .item = 5, .history_n = liked, .history_count = 2},
    {.user = 2, .item = 6, .history_n = liked, .history_count = 2},
    {.user = -1, .item = 5, .history_n = liked, .history_count = 2},
    {.user = -1, .item = -1, .target_text = "New (2001)"}};
enum { QUERIES = sizeof queries / sizeof *queries };

/* A run that does not open, and says why. */
static void refused(const char *path, const char *why_has)
{
    sella_run *run = NULL;
    sella_scorer *scorer = NULL;
    sella_err why = {0};
    CHECK(sella_run_open(path, &run, err));
    assert_true(sella_method_find(run->method)->open(run, backbone, &scorer, &why) != SELLA_OK);
    assert_null(scorer);
    if (!strstr(why.text, why_has)) {
        fail_msg("'%s' lacks '%s'", why.text, why_has);
    }
    sella_run_close(run);
}

/* What a stage's done.json says of a component: "trained", "frozen" or NULL. */
static const char *said(const char *run, const char *stage, const char *component)
{
    json_t *record = NULL, *name;
    const char *found = NULL;
    size_t i;
    char *path = sella_path_join(run, "stages", stage, "done.json", NULL);
    CHECK(sella_json_load(path, 1 << 16, &record, err));
    json_array_foreach(json_object_get(record, "trained"), i, name)
    {
        found = strcmp(json_string_value(name), component) == 0 ? "trained" : found;
    }
    json_array_foreach(json_object_get(record, "frozen"), i, name)
    {
        found = strcmp(json_string_value(name), component) == 0 ? "frozen" : found;
    }
    json_decref(record);
    free(path);
    return found;
}

/* ---- stopping ---- */

typedef struct patience {
    int left;
} patience;

static int stop(void *user)
{
    return --((patience *)user)->left < 0;
}

/* Stopped again and again, a run ends with the bytes of `whole`. */
static void stopped(const char *method, const char *whole, const char *name, const char *a,
                    const char *b)
{
    static const char *const files[] = {
        "adapter/adapter_model.safetensors", "collab.safetensors", "projection.safetensors",
        "stages/stage1/adapter/adapter_model.safetensors", "predictions-valid.csv"};
    const char *set[10];
    char *run = in(name);
    int stops = 0;
    with(set, a, b);
    for (;; stops++) {
        sella_err why;
        // more each time: a block of rows to score is done whole or not at all
        patience p = {.left = 5 + 2 * stops};
        const sella_talk talk = {.stop = stop, .user = &p};
        sella_status status =
            fixture_train(method, data, run, NULL, stage1, true, set, &talk, &why);
        if (status == SELLA_OK) {
            break;
        }
        if (status != SELLA_INTERRUPTED) {
            fail_msg("%s", why.text);
        }
        if (stops == 200) {
            fail_msg("%s does not get on: %s", run, why.text);
        }
    }
    assert_true(stops > 1);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *path = sella_path_join(whole, files[i], NULL);
        if (sella_path_exists(path) && !fixture_same(whole, run, files[i])) {
            fail_msg("%s differs between %s and %s", files[i], whole, run);
        }
        free(path);
    }
    free(run);
}

/* ---- prompt4nr ---- */

static void test_prompt4nr(void **state)
{
    double z[QUERIES], moved[QUERIES];
    (void)state;
    char *start = trained("prompt4nr", "p4-start", stage1, "lora.start=stage1", "stage3.steps=0");
    char *run = trained("prompt4nr", "p4", stage1, "lora.start=stage1", NULL);
    /* starts from stage 1 and was not trained */
    assert_true(fixture_same(stage1, start, "adapter/adapter_model.safetensors"));
    assert_false(fixture_same(stage1, run, "adapter/adapter_model.safetensors"));
    assert_true(fixture_same(stage1, run, "stages/stage1/collab.safetensors"));
    assert_true(differs(start, run, "collab.safetensors", "soft.user", -1));
    assert_true(differs(start, run, "collab.safetensors", "soft.item", -1));
    for (int t = 0; t < 3; t++) { // every one of the tokens
        assert_true(differs(start, run, "collab.safetensors", "soft.user", t));
    }
    assert_string_equal(said(run, "prompt4nr", "adapter"), "trained");
    assert_string_equal(said(run, "prompt4nr", "soft.user"), "trained");
    assert_string_equal(said(run, "prompt4nr", "backbone"), "frozen");
    char *kept = sella_path_join(run, "stages/stage1/adapter", NULL),
         *first = sella_path_join(stage1, "adapter", NULL);
    assert_true(fixture_same(first, kept, "adapter_model.safetensors"));
    free(kept);
    free(first);
    stopped("prompt4nr", run, "p4-stopped", "lora.start=stage1", NULL);
    // another run takes stage 1 from it, not what was trained on
    char *next = trained("personprompt", "pp-of-p4", run, "stage3.steps=0", NULL);
    assert_true(fixture_same(stage1, next, "adapter/adapter_model.safetensors"));
    // nobody owns the vectors: equal texts have equal scores; each vector matters
    score(run, queries, QUERIES, z);
    assert_true(fabs(z[0] - z[1]) < 1e-6);
    assert_true(fabs(z[0] - z[3]) < 1e-6);
    assert_true(fabs(z[0] - z[2]) > 1e-6);
    change(run, "collab.safetensors", "soft.user", 2 * 32 + 5, 0.5f, false);
    score(run, queries, QUERIES, moved);
    assert_true(fabs(moved[0] - z[0]) > 1e-6);
    change(run, "collab.safetensors", "soft.item", 0, 0.5f, false);
    score(run, queries, QUERIES, z);
    assert_true(fabs(moved[0] - z[0]) > 1e-6);
    change(run, "collab.safetensors", "soft.item", 0, 0, true);
    refused(run, "soft.item");
    free(next);
    free(start);
    free(run);
}

/* lora.start=scratch has no stage 1, and nothing to take from another run. */
static void test_scratch(void **state)
{
    sella_err why;
    const char *set[10];
    (void)state;
    char *run = trained("prompt4nr", "p4-scratch", NULL, NULL, NULL), *refusal = in("p4-refused"),
         *folder1 = sella_path_join(run, "stages/stage1", NULL);
    assert_false(sella_path_exists(folder1));
    with(set, NULL, NULL);
    assert_int_equal(
        fixture_train("prompt4nr", data, refusal, NULL, stage1, false, set, NULL, &why), SELLA_ARG);
    assert_non_null(strstr(why.text, "lora.start=scratch"));
    fixture_train_ok("prompt4nr", data, refusal, "paper", NULL,
                     (const char *const[]){"lora.rank=4", NULL});
    free(run);
    free(refusal);
    free(folder1);
}

/* ---- personprompt ---- */

static void test_personprompt(void **state)
{
    double z[QUERIES], moved[QUERIES];
    (void)state;
    char *start = trained("personprompt", "pp-start", stage1, "stage3.steps=0", NULL);
    char *run = trained("personprompt", "pp", stage1, NULL, NULL);
    assert_true(fixture_same(stage1, run, "adapter/adapter_model.safetensors"));
    assert_true(differs(start, run, "collab.safetensors", "user.weight", -1));
    assert_true(differs(start, run, "collab.safetensors", "item.weight", -1));
    assert_string_equal(said(run, "personprompt", "adapter"), "frozen");
    assert_string_equal(said(run, "personprompt", "user.weight"), "trained");
    stopped("personprompt", run, "pp-stopped", NULL, NULL);
    score(run, queries, QUERIES, z);
    assert_true(fabs(z[0] - z[1]) > 1e-6); // the same text, another user
    assert_true(fabs(z[0] - z[3]) > 1e-6);
    change(run, "collab.safetensors", "user.weight", 2 * 32 + 7, 1, false);
    score(run, queries, QUERIES, moved);
    assert_true(fabs(z[0] - moved[0]) > 1e-6);
    assert_true(fabs(z[1] - moved[1]) < 1e-6); // only the one whose vector it is
    assert_true(fabs(z[3] - moved[3]) > 1e-9); // and, a little, those who have the mean
    change(run, "collab.safetensors", "item.weight", 5 * 32 + 7, 1, false);
    score(run, queries, QUERIES, z);
    assert_true(fabs(z[1] - moved[1]) > 1e-6);
    assert_true(fabs(z[2] - moved[2]) < 1e-6);
    change(run, "collab.safetensors", "user.weight", 3, NAN, false);
    refused(run, "user.weight");
    free(start);
    free(run);
}

/* Rows that the sampled rows do not name are the mean of those that they do. */
static void test_mean_rows(void **state)
{
    enum { L = 32 };
    sella_safetensors *file = NULL;
    sella_dataset *dataset = NULL;
    int64_t *index, k;
    uint8_t named[ITEM_COUNT] = {0};
    int count = 0;
    (void)state;
    char *run = trained("personprompt", "pp-sample", NULL, "train.rows=24", "train.run=4"),
         *path = sella_path_join(run, "collab.safetensors", NULL);
    CHECK(sella_dataset_open(data, &dataset, err));
    CHECK(sella_sample_rows(24, 4, 5, dataset, SELLA_SPLIT_TRAIN, &index, &k, err));
    for (int64_t i = 0; i < k; i++) {
        named[dataset->split[SELLA_SPLIT_TRAIN].item_n[index[i]]] = 1;
    }
    CHECK(sella_safetensors_open(path, &file, err));
    const float *weight = sella_safetensors_find(file, "item.weight")->data;
    double mean[L] = {0};
    for (int i = 0; i < ITEM_COUNT; i++) {
        count += named[i];
        for (int l = 0; named[i] && l < L; l++) {
            mean[l] += weight[i * L + l];
        }
    }
    assert_in_range(count, 1, ITEM_COUNT - 1);
    for (int i = 0; i < ITEM_COUNT; i++) {
        bool is_mean = true;
        for (int l = 0; l < L; l++) {
            is_mean = is_mean && fabs(weight[i * L + l] - mean[l] / count) < 1e-6;
        }
        assert_int_equal(is_mean, !named[i]);
    }
    sella_safetensors_close(file);
    sella_dataset_close(dataset);
    free(index);
    free(path);
    free(run);
}

/* ---- collm ---- */

#define FIT "collab.epochs=6"

static void test_collm(void **state)
{
    static const char alone[] = "stages/collab/collab.safetensors", collab[] = "collab.safetensors",
                      projection[] = "projection.safetensors";
    double z[QUERIES], moved[QUERIES];
    (void)state;
    char *start = trained("collm", "co-start", stage1, FIT, "stage3.steps=0");
    char *run = trained("collm", "co", stage1, FIT, NULL);
    char *both = trained("collm", "co-both", stage1, FIT, "collm.train=proj+collab");
    assert_true(fixture_same(stage1, run, "adapter/adapter_model.safetensors"));
    assert_true(fixture_same(start, run, alone));
    assert_true(fixture_same(run, both, alone)); // the model that both begin with
    assert_false(differs(start, run, collab, "user.weight", -1));
    assert_false(differs(start, run, collab, "item.weight", -1));
    assert_true(differs(start, run, projection, "proj.0.weight", -1));
    assert_true(differs(start, run, projection, "proj.2.bias", -1));
    assert_true(differs(run, both, collab, "user.weight", -1));
    assert_true(differs(run, both, collab, "item.weight", -1));
    assert_string_equal(said(run, "collm", "user.weight"), "frozen");
    assert_string_equal(said(both, "collm", "user.weight"), "trained");
    assert_string_equal(said(run, "collm", "adapter"), "frozen");
    assert_string_equal(said(run, "mf", "user.weight"), "trained");
    stopped("collm", both, "co-stopped", FIT, "collm.train=proj+collab");
    score(run, queries, QUERIES, z);
    assert_true(fabs(z[0] - z[1]) > 1e-7); // the same text, another user
    change(run, collab, "user.weight", 2 * 64 + 7, 5, false);
    score(run, queries, QUERIES, moved);
    assert_true(fabs(z[0] - moved[0]) > 1e-6);
    assert_true(fabs(z[1] - moved[1]) < 1e-7); // only the one whose vector it is
    change(run, collab, "item.weight", 6 * 64 + 7, 5, false);
    score(run, queries, QUERIES, z);
    assert_true(fabs(z[2] - moved[2]) > 1e-6);
    assert_true(fabs(z[1] - moved[1]) < 1e-7);
    change(run, projection, "proj.2.bias", 3, 0.5f, false);
    score(run, queries, QUERIES, moved);
    for (int n = 0; n < QUERIES; n++) {
        assert_true(fabs(z[n] - moved[n]) > 1e-6);
    }
    change(run, projection, "proj.0.weight", 5, NAN, false);
    refused(run, "proj.0.weight");
    free(start);
    free(run);
    free(both);
}

/* The prompt reads din through its attention: moving that moves the scores, moving what only din's
 * own logit reads does not; training with the prompt left the latter alone. pair: rows with a
 * history. */
static void target_attention(const char *run, const sella_query *pair)
{
    static const char *const attention[] = {"din.attention.0.weight", "din.attention.2.bias",
                                            "din.history.weight"};
    static const char *const logit[] = {"din.top.0.weight", "din.top.2.bias", "user.weight"};
    char *alone = sella_path_join(run, "stages/collab", NULL);
    double before[2], after[2];
    assert_string_equal(said(run, "collm", "din.attention.0.weight"), "trained");
    assert_true(differs(run, alone, "collab.safetensors", "din.attention.0.weight", -1));
    for (int i = 0; i < 3; i++) {
        assert_string_equal(said(run, "collm", logit[i]), "frozen");
        assert_false(differs(run, alone, "collab.safetensors", logit[i], -1));
        score(run, pair, 2, before);
        change(run, "collab.safetensors", logit[i], 0, 3, false);
        score(run, pair, 2, after);
        assert_true(fabs(before[0] - after[0]) < 1e-7);
        change(run, "collab.safetensors", attention[i], i == 2 ? (size_t)liked[1] * 64 : 0, 3,
               false);
        score(run, pair, 2, after);
        assert_true(fabs(before[0] - after[0]) > 1e-7);
    }
    free(alone);
}

/* Other collaborative models: what the user vector follows from is theirs. */
static void test_models(void **state)
{
    static const char *const model[] = {"collab.model=lightgcn", "collab.model=sasrec",
                                        "collab.model=din"};
    static const char *const name[] = {"co-lightgcn", "co-sasrec", "co-din"};
    static const int32_t other[] = {7, 8};
    (void)state;
    for (int m = 0; m < 3; m++) {
        const char *const set[] = {FIT,
                                   model[m],
                                   "collab.batch=64",
                                   "collab.init=0.5",
                                   "collab.lr=1e-2",
                                   "collm.train=proj+collab",
                                   "stage3.lr=1e-2",
                                   "din.attention_1=8",
                                   "din.top_1=8",
                                   "din.top_2=4",
                                   NULL};
        const char *const prompt[] = {"history.length=1", "history.window=sliding"};
        const char *all[13];
        double z[2];
        /* prompts that show the last title alone: users with the same one differ in their vectors
         * only */
        int n = 0;
        for (; set[n]; n++) {
            all[n] = set[n];
        }
        all[n++] = prompt[0];
        all[n++] = prompt[1];
        all[n] = NULL;
        char *run = in(name[m]);
        fixture_train_ok("collm", data, run, NULL, NULL, all);
        const int32_t longer[] = {other[0], other[1], liked[1]};
        const sella_query pair[] = {
            {.user = 2, .item = 5, .history_n = liked, .history_count = 2},
            {.user = 2, .item = 5, .history_n = longer, .history_count = 3, .group = 1}};
        score(run, pair, 2, z);
        assert_int_equal(fabs(z[0] - z[1]) > 1e-7,
                         m > 0); // the user of sasrec and of din is what the history says
        char *path = sella_path_join(run, "collab.safetensors", NULL);
        sella_safetensors *file = NULL;
        CHECK(sella_safetensors_open(path, &file, err));
        assert_non_null(sella_safetensors_find(file, "item.weight"));
        sella_safetensors_close(file);
        free(path);
        if (m == 2) {
            target_attention(run, pair);
        }
        free(run);
    }
}

/* ---- binllm ---- */

/* The text of one row's prompt, as `inspect prompt` shows it. */
static void prompt_text(const char *path, const sella_query *query, sella_text *text)
{
    sella_run *run = NULL;
    sella_scorer *scorer = NULL;
    sella_rows rows;
    sella_rows_init(&rows);
    CHECK(sella_run_open(path, &run, err));
    CHECK(sella_method_find(run->method)->open(run, backbone, &scorer, err));
    CHECK(scorer->ops->prompt(scorer, query, &rows, err));
    text->size = 0;
    CHECK(sella_tokenizer_decode(sella_backbone_tokenizer(backbone), rows.token, (int)rows.start[1],
                                 text, err));
    sella_rows_release(&rows);
    scorer->ops->close(scorer);
    sella_run_close(run);
}

static void test_binllm(void **state)
{
    double z[QUERIES], moved[QUERIES];
    sella_text text = {0}, other = {0}, unseen = {0}, later = {0};
    (void)state;
    char *start = trained("binllm", "bi-start", stage1, "collab.epochs=8", "stage3.steps=0");
    char *run = trained("binllm", "bi", stage1, "collab.epochs=8", NULL);
    /* starts from stage 1 */
    assert_true(fixture_same(stage1, start, "adapter/adapter_model.safetensors"));
    assert_false(fixture_same(stage1, run, "adapter/adapter_model.safetensors"));
    assert_true(fixture_same(start, run, "stages/codes/collab.safetensors"));
    /* codes are not trained by the prompt */
    assert_false(differs(start, run, "collab.safetensors", "user.weight", -1));
    assert_false(differs(start, run, "collab.safetensors", "item.code.weight", -1));
    assert_string_equal(said(run, "codes", "user.weight"), "trained");
    assert_string_equal(said(run, "binllm", "user.weight"), "frozen");
    assert_string_equal(said(run, "binllm", "adapter"), "trained");
    stopped("binllm", run, "bi-stopped", "collab.epochs=8", NULL);
    score(run, queries, QUERIES, z);
    prompt_text(run, &queries[0], &text);
    prompt_text(run, &queries[1], &other);
    prompt_text(run, &queries[3], &unseen);
    const char *code = strstr(text.data, " Person ");
    assert_non_null(code);
    assert_int_equal(strspn(code + 8, "01"), 32);
    const char *item_code = strstr(text.data, " Candidate ");
    assert_non_null(item_code);
    assert_int_equal(strspn(item_code + 11, "01"), 32);
    assert_true(strcmp(text.data, other.data) != 0); // another user, another code, another score
    assert_true(fabs(z[0] - z[1]) > 1e-6);
    assert_int_equal(strspn(strstr(unseen.data, " Person ") + 8, "01"), 32);
    // one bit: moved far to the other side by the bias of its map
    const bool one = code[8 + 3] == '1';
    change(run, "collab.safetensors", "user.code.bias", 3, one ? -100.0f : 100.0f, false);
    prompt_text(run, &queries[0], &later);
    assert_int_equal(text.size, later.size);
    for (size_t i = 0; i < text.size; i++) {
        assert_int_equal(text.data[i] != later.data[i], i == (size_t)(code + 8 + 3 - text.data));
    }
    score(run, queries, QUERIES, moved);
    assert_true(fabs(z[0] - moved[0]) > 1e-6);
    change(run, "collab.safetensors", "user.code.weight", 0, 0, true);
    refused(run, "user.code.weight");
    sella_text_release(&text);
    sella_text_release(&other);
    sella_text_release(&unseen);
    sella_text_release(&later);
    free(start);
    free(run);
}

/* The dotted form; codes of a width that has none are refused before anything starts. */
static void test_dotted(void **state)
{
    sella_err why;
    sella_text text = {0};
    const char *set[10];
    int a, b, c, d, end = 0;
    (void)state;
    char *run = trained("binllm", "bi-dotted", stage1, "collab.epochs=8", "binllm.code=dotted"),
         *refusal = in("bi-no");
    prompt_text(run, &queries[0], &text);
    const char *code = strstr(text.data, " Person ");
    assert_non_null(code);
    assert_int_equal(sscanf(code, " Person %d.%d.%d.%d%n", &a, &b, &c, &d, &end), 4);
    assert_in_range(a, 0, 255);
    assert_in_range(d, 0, 255);
    assert_int_equal(code[end], ';');
    with(set, "collab.width=12", "binllm.code=dotted");
    assert_int_equal(fixture_train("binllm", data, refusal, NULL, NULL, false, set, NULL, &why),
                     SELLA_ARG);
    assert_non_null(strstr(why.text, "multiple of 8"));
    assert_false(sella_path_exists(refusal));
    sella_text_release(&text);
    free(run);
    free(refusal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prompt4nr),
        cmocka_unit_test(test_scratch),
        cmocka_unit_test(test_personprompt),
        cmocka_unit_test(test_mean_rows),
        cmocka_unit_test(test_collm),
        cmocka_unit_test(test_models),
        cmocka_unit_test(test_binllm),
        cmocka_unit_test(test_dotted),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
