/* test_methods_stage3.c - one step of stage 3 against PyTorch: prompts, logits, loss, and every
 * gradient through soft tokens and projections.
 * Expected values: tests/ref/methods_dump.py. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "methods/lm_step.h"
#include "methods/sella/soft_vectors.h"
#include "reference_rows.h"

/* Its own template, so that the dump does not depend on how the ones that come with the program are
 * worded. */
static const char template_text[] = "sella-template 1\n"
                                    "start = \"{Noun}s this person liked:\\n\"\n"
                                    "history = \"{title}\\n\"\n"
                                    "empty = \"none\\n\"\n"
                                    "user = \"{user}\"\n"
                                    "item = \"{item}\"\n"
                                    "warm = \"{warm}\"\n"
                                    "target = \"Like {title}? Answer:\"\n"
                                    "yes = \" Yes\"\n"
                                    "no = \" No\"\n"
                                    "distil = \"{Noun}: {title}\"\n"
                                    "distil_eol = \"The {noun} {title} means in one word:\"\n";

typedef struct room {
    ref_file ref;
    char *folder;
    sella_dataset *dataset;
    sella_settings *settings;
    sella_backbone *backbone;
    sella_lm lm;
    sella_vectors v;
    sella_soft_vectors tokens;
    sella_soft_source soft;
    sella_corpus corpus;
    sella_lm_step step;
    int rows;
} room;

/* The model knows the rows that it will be trained on. */
static void prepare_model(room *r)
{
    uint8_t label[7];
    for (int n = 0; n < r->rows; n++) {
        label[n] = ref_f32(&r->ref, "label", NULL)[n] > 0.5f;
    }
    const sella_collab_train rows = {
        .rows = {r->rows, ref_i32(&r->ref, "user", NULL), ref_i32(&r->ref, "item", NULL), label}};
    CHECK(sella_collab_prepare(r->v.collab, &rows, err));
}

/* model: "mf" or "din". */
static void open_room(room *r, bool share, const char *model)
{
    size_t starts;
    const bool din = strcmp(model, "din") == 0;
    const char *const set[] = {"collab.width=5",     "proj.hidden=7",      "collab.bias=yes",
                               "collab.history=yes", "stage2.text=no",     "stage3.residual=yes",
                               "collab.model=din",   "din.attention_1=4",  "din.attention_2=3",
                               "din.top_1=5",        "din.top_2=2"};
    const int64_t index[] = {0, 1, 2, 3, 4, 5, 6};
    memset(r, 0, sizeof *r);
    r->ref = ref_open("tests/ref/methods_stage3.ref");
    ref_i32(&r->ref, "start", &starts);
    r->rows = (int)starts - 1;
    assert_int_equal(r->rows, 7);
    r->folder = scratch_make();
    r->dataset = reference_dataset(&r->ref, r->folder, r->rows);
    CHECK(sella_training_resolve(sella_method_find("sella"), NULL, NULL, set, din ? 11 : 6,
                                 &r->settings, err));
    CHECK(sella_backbone_open(TINY_MODEL, NULL, &r->backbone, err));
    char *tmpl = scratch_file(r->folder, "template.txt", template_text, sizeof template_text - 1);
    CHECK(sella_lm_open(r->settings, tmpl, r->backbone, NULL, r->dataset->title, ITEMS, "movie",
                        SELLA_SLOT_SET_ALL, &r->lm, err));
    free(tmpl);
    CHECK(sella_lora_load(r->backbone, TINY_MODEL "/adapter", &r->lm.lora, err));
    for (int i = 0; i < sella_lora_params(r->lm.lora)->count; i++) {
        CHECK(sella_param_train(&sella_lora_params(r->lm.lora)->param[i], false, err));
    }
    CHECK(sella_vectors_init(r->settings, USERS, ITEMS, 32, true, 1, &r->v, err));
    reference_load(&r->ref, "", &r->v.collab->table);
    reference_load(&r->ref, "", &r->v.projection.table);
    reference_load(&r->ref, "", &r->v.semantic);
    reference_load(&r->ref, "", &r->v.logit);
    const sella_corpus_options options = {
        .budget = share ? 512 : 96,
        .share = share,
        .refs = sella_collab_refs(r->v.collab->ops, &r->v.collab->config),
        .batch = 100,
        .seed = 1};
    assert_int_equal(options.refs, din ? SELLA_REFS_TARGET : SELLA_REFS_HISTORY);
    prepare_model(r);
    CHECK(sella_corpus_open(&r->lm, r->dataset, SELLA_SPLIT_TRAIN, index, r->rows, &options,
                            &r->corpus, err));
    r->tokens = (sella_soft_vectors){.v = &r->v, .align_weight = 0.5, .align = {.tau = 0.2}};
    r->soft = sella_soft_of_vectors(&r->tokens, false);
    r->step = (sella_lm_step){.lm = &r->lm,
                              .corpus = &r->corpus,
                              .soft = &r->soft,
                              .v = &r->v,
                              .logit = &r->v.logit,
                              .residual = SELLA_RESIDUAL_ALL};
    CHECK(sella_lm_step_open(&r->step, err));
}

static void close_room(room *r)
{
    sella_lm_step_release(&r->step);
    sella_corpus_release(&r->corpus);
    sella_vectors_release(&r->v);
    sella_lm_release(&r->lm);
    sella_backbone_close(r->backbone);
    sella_settings_free(r->settings);
    sella_dataset_close(r->dataset);
    scratch_remove(r->folder);
    ref_close(&r->ref);
}

/* prefix: of what the dump says of this model. */
static void one_step(bool share, const char *model, const char *prefix)
{
    room r;
    const int64_t *tree;
    double loss;
    int64_t rows;
    float z[7];
    char name[2][16];
    open_room(&r, share, model);
    snprintf(name[0], sizeof name[0], "%sz", prefix);
    snprintf(name[1], sizeof name[1], "%sloss", prefix);
    reference_prompts(&r.ref, "", &r.lm, r.corpus.query_n, r.rows);
    int64_t trees = sella_corpus_step(&r.corpus, 0, 0, &tree);
    CHECK(sella_lm_step_run(&r.step, tree, trees, 0, true, &loss, &rows, z, err));
    assert_int_equal(rows, 7);
    const float got = (float)loss;
    ref_close_to(name[0], z, ref_f32(&r.ref, name[0], NULL), 7, 1e-5);
    ref_close_to(name[1], &got, ref_f32(&r.ref, name[1], NULL), 1, 1e-5);
    reference_gradients(&r.ref, prefix, &r.v.collab->table);
    reference_gradients(&r.ref, prefix, &r.v.projection.table);
    reference_gradients(&r.ref, prefix, &r.v.semantic);
    reference_gradients(&r.ref, prefix, &r.v.logit);
    if (share) {
        assert_true(r.corpus.tokens < r.corpus.row_tokens);
    } else {
        assert_int_equal(r.corpus.trees, 7);
    }
    close_room(&r);
}

static void test_shared(void **state)
{
    (void)state;
    one_step(true, "mf", "");
}

/* Row by row, in several packed batches of one step. */
static void test_single_rows(void **state)
{
    (void)state;
    one_step(false, "mf", "");
}

/* The user token is the interest in the row's own target: rows of one user and history have one
 * each, and their gradients reach the attention, the items and what histories are read with. */
static void test_din(void **state)
{
    room r;
    sella_refs refs;
    sella_soft soft;
    (void)state;
    one_step(true, "din", "din.");
    one_step(false, "din", "din.");
    open_room(&r, true, "din");
    CHECK(sella_refs_make(r.corpus.query_n, r.rows, r.soft.refs, &refs, err));
    assert_int_equal(refs.users, 7); // three users, five users with history, seven with target
    CHECK(sella_soft_make(&r.soft, r.corpus.query_n, &refs, SELLA_SLOT_SET_ALL, false, &soft, err));
    const float *e = soft.e[SELLA_SLOT_USER];
    double apart = 0;
    for (int c = 0; c < 32; c++) { // rows 1 and 2: one user, one history, two targets
        assert_int_equal(refs.user_ref_n[1] == refs.user_ref_n[2], 0);
        const double d =
            (double)e[refs.user_ref_n[1] * 32 + c] - (double)e[refs.user_ref_n[2] * 32 + c];
        apart += d * d;
    }
    assert_true(apart > 1e-4);
    sella_soft_release(&soft);
    sella_refs_release(&refs);
    // what the vectors do not read can be frozen apart from the rest
    CHECK(sella_collab_freeze_logit(r.v.collab, false, err));
    assert_null(sella_param_find(&r.v.collab->table, "din.top.1.weight")->grad);
    assert_null(sella_param_find(&r.v.collab->table, "user.weight")->grad);
    assert_non_null(sella_param_find(&r.v.collab->table, "user.bias")->grad);
    assert_non_null(sella_param_find(&r.v.collab->table, "din.attention.1.weight")->grad);
    CHECK(sella_collab_freeze_logit(r.v.collab, true, err));
    assert_null(sella_param_find(&r.v.collab->table, "user.bias")->grad);
    close_room(&r);
}

/* Frozen tables get no gradient and stay as they are; the rest does not notice. */
static void test_frozen_tables(void **state)
{
    room r;
    const int64_t *tree;
    double loss;
    int64_t rows;
    (void)state;
    open_room(&r, true, "mf");
    for (int i = 0; i < r.v.collab->table.count; i++) {
        CHECK(sella_param_train(&r.v.collab->table.param[i], false, err));
    }
    CHECK(sella_param_train(&r.v.semantic.param[0], false, err));
    int64_t trees = sella_corpus_step(&r.corpus, 0, 0, &tree);
    CHECK(sella_lm_step_run(&r.step, tree, trees, 0, true, &loss, &rows, NULL, err));
    reference_gradients(&r.ref, "", &r.v.projection.table);
    reference_gradients(&r.ref, "", &r.v.logit);
    assert_null(r.v.semantic.param[0].grad);
    close_room(&r);
}

/* stage3.residual=bias: the same without p'_u . q_i, and what the biases get is what the logits
 * get. */
static void test_bias_residual(void **state)
{
    room r;
    const int64_t *tree;
    double loss, dz[7], expected[USERS] = {0};
    int64_t rows;
    float z[7];
    (void)state;
    open_room(&r, true, "mf");
    r.step.residual = SELLA_RESIDUAL_BIAS;
    r.tokens.align_weight = 0;
    int64_t trees = sella_corpus_step(&r.corpus, 0, 0, &tree);
    CHECK(sella_lm_step_run(&r.step, tree, trees, 0, true, &loss, &rows, z, err));
    const int32_t *user = ref_i32(&r.ref, "user", NULL), *item = ref_i32(&r.ref, "item", NULL);
    const int32_t *start = ref_i32(&r.ref, "history_start", NULL),
                  *history = ref_i32(&r.ref, "history", NULL);
    const float *p = ref_f32(&r.ref, "user.weight", NULL),
                *q = ref_f32(&r.ref, "item.weight", NULL);
    const float *y = ref_f32(&r.ref, "history.weight", NULL),
                *label = ref_f32(&r.ref, "label", NULL);
    for (int n = 0; n < 7; n++) {
        double product = 0;
        int count = start[n + 1] - start[n];
        for (int c = 0; c < 5; c++) {
            double x = p[user[n] * 5 + c];
            for (int j = 0; j < count; j++) {
                x += y[history[start[n] + j] * 5 + c] / sqrt(count);
            }
            product += x * q[item[n] * 5 + c];
        }
        double want = ref_f32(&r.ref, "z", NULL)[n] - product;
        assert_true(fabs(z[n] - want) < 1e-5);
        dz[n] = (1 / (1 + exp(-want)) - label[n]) / 7;
        expected[user[n]] += dz[n];
    }
    for (int u = 0; u < USERS; u++) {
        assert_true(fabs(sella_param_find(&r.v.collab->table, "user.bias")->grad[u] - expected[u]) <
                    1e-6);
    }
    close_room(&r);
}

/* stage3.gain_rows: the language model's logit of an item with n rows counts K / (n + K) as much,
 * in the logits and in what reaches logit.gain. */
static void test_gain_rows(void **state)
{
    enum { K = 3 };
    room r;
    const int64_t *tree;
    double loss, expected = 0;
    int64_t rows;
    float z_no[7], z_even[7], z[7];
    (void)state;
    open_room(&r, true, "mf");
    r.tokens.align_weight = 0;
    float *gain = sella_param_find(&r.v.logit, "logit.gain")->data;
    const float was = *gain, *label = ref_f32(&r.ref, "label", NULL);
    const int64_t trees = sella_corpus_step(&r.corpus, 0, 0, &tree);
    CHECK(sella_lm_step_run(&r.step, tree, trees, 0, false, &loss, &rows, z_even, err));
    *gain = 0;
    CHECK(sella_lm_step_run(&r.step, tree, trees, 0, false, &loss, &rows, z_no, err));
    *gain = was;
    const char *const set[] = {"stage3.residual=yes", "stage3.gain_rows=3"};
    sella_settings *settings;
    CHECK(sella_training_resolve(sella_method_find("sella"), NULL, NULL, set, 2, &settings, err));
    CHECK(sella_vectors_evidence(&r.v, settings, err));
    sella_settings_free(settings);
    assert_null(r.v.evidence.param[0].grad);
    for (int i = 0; i < ITEMS; i++) {
        r.v.evidence.param[0].data[i] = (float)(2 * i);
    }
    assert_true(sella_vectors_weight(&r.v, -1) == 1);
    CHECK(sella_lm_step_run(&r.step, tree, trees, 0, true, &loss, &rows, z, err));
    const int32_t *item = ref_i32(&r.ref, "item", NULL);
    for (int n = 0; n < 7; n++) {
        const double factor = (double)K / (2 * item[n] + K), text = (double)(z_even[n] - z_no[n]);
        assert_true(fabs((double)z_no[n] + factor * text - (double)z[n]) < 1e-5);
        expected +=
            (1 / (1 + exp(-(double)z[n])) - (double)label[n]) / 7 * factor * text / (double)was;
    }
    assert_true(fabs((double)sella_param_find(&r.v.logit, "logit.gain")->grad[0] - expected) <
                1e-5);
    close_room(&r);
}

/* Soft targets, offsets and a batch's own intercept: the intercept by bisection, the gradient of
 * each row through the biases of its user. */
static void test_targets(void **state)
{
    static const float target[7] = {.9f, .2f, .6f, .5f, .1f, 1, .7f},
                       offset[7] = {.5f, -.25f, 1, 0, -1, .125f, 2};
    room r;
    const int64_t *tree;
    double loss, low = -20, high = 20, expected[USERS] = {0}, plain = 0, mean = 0;
    int64_t rows;
    float before[7], z[7];
    (void)state;
    open_room(&r, true, "mf");
    r.tokens.align_weight = 0;
    int64_t trees = sella_corpus_step(&r.corpus, 0, 0, &tree);
    /* one packed batch */
    assert_int_equal(trees > 0 && r.corpus.tokens <= r.corpus.options.budget, 1);
    CHECK(sella_lm_step_run(&r.step, tree, trees, 0, false, &loss, &rows, before, err));
    r.step.target_n = target;
    r.step.offset_n = offset;
    r.step.centre = true;
    const float *bias = sella_param_find(&r.v.logit, "logit.bias")->data, was = *bias;
    CHECK(sella_lm_step_run(&r.step, tree, trees, 0, true, &loss, &rows, z, err));
    for (int n = 0; n < 7; n++) {
        assert_true(fabs((double)(z[n] - before[n] - offset[n])) < 1e-5);
        plain += log1p(exp((double)z[n])) - (double)(target[n] * z[n]);
    }
    assert_true(fabs(loss - plain / 7) < 1e-6); // the loss is told without b
    while (high - low > 1e-12) {
        const double b = (low + high) / 2;
        double slope = b / 2;
        for (int n = 0; n < 7; n++) {
            slope += 1 / (1 + exp(-(double)z[n] - b)) - (double)target[n];
        }
        *(slope > 0 ? &high : &low) = b;
    }
    assert_true(fabs(low) > 0.05);
    for (int n = 0; n < 7; n++) {
        mean += (1 / (1 + exp(-(double)z[n] - low)) - (double)target[n]) / 7;
    }
    for (int n = 0; n < 7; n++) {
        expected[r.corpus.query_n[n].user] +=
            (1 / (1 + exp(-(double)z[n] - low)) - (double)target[n] - mean) / 7;
    }
    assert_true(fabs((double)(*bias - was) - low / 10) < 1e-6);
    const float *got = sella_param_find(&r.v.collab->table, "user.bias")->grad;
    for (int u = 0; u < USERS; u++) {
        assert_true(fabs((double)got[u] - expected[u]) < 1e-6);
    }
    close_room(&r);
}

int main(void)
{
    sella_threads_set(2);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shared),        cmocka_unit_test(test_single_rows),
        cmocka_unit_test(test_din),           cmocka_unit_test(test_frozen_tables),
        cmocka_unit_test(test_bias_residual), cmocka_unit_test(test_gain_rows),
        cmocka_unit_test(test_targets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
