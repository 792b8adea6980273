/* test_methods_features.c - one step of the methods with features in the prompt against PyTorch:
 * prompts, logits, loss, and every gradient.
 * Expected values: tests/ref/methods_features_dump.py. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "methods/collab_fit.h"
#include "methods/features.h"
#include "reference_rows.h"

enum { ROWS = 7, L = 32 };

/* Its own template, so that the dump does not depend on how the ones that come with the program are
 * worded. */
static const char template_text[] = "sella-template 1\n"
                                    "start = \"{Noun}s this person liked:\\n\"\n"
                                    "history = \"{title}\\n\"\n"
                                    "empty = \"none\\n\"\n"
                                    "user = \"{user}\"\n"
                                    "item = \"{item}\"\n"
                                    "user_code = \"Person {user}\\n\"\n"
                                    "item_code = \"{Noun} {item}\\n\"\n"
                                    "target = \"Like {title}? Answer:\"\n"
                                    "yes = \" Yes\"\n"
                                    "no = \" No\"\n";

typedef struct room {
    ref_file ref;
    char *folder;
    sella_dataset *dataset;
    sella_settings *settings;
    sella_backbone *backbone;
    sella_features features;
    sella_codes codes;
    sella_param_table logit;
    sella_lm lm;
    sella_corpus corpus;
    sella_lm_step step;
} room;

static void open_room(room *r, const char *method, const char *const *set, int count)
{
    memset(r, 0, sizeof *r);
    r->ref = ref_open("tests/ref/methods_features.ref");
    r->folder = scratch_make();
    r->dataset = reference_dataset(&r->ref, r->folder, ROWS);
    CHECK(sella_training_resolve(sella_method_find(method), NULL, NULL, set, count, &r->settings,
                                 err));
    CHECK(sella_backbone_open(TINY_MODEL, NULL, &r->backbone, err));
    sella_param_table_init(&r->logit);
    CHECK(sella_param_add(&r->logit, "logit.bias", 1, 0, err));
    r->logit.param[0].data[0] = 0.3f;
}

/* Behind the features: model, rows and step, with or without sharing. */
static void open_step(room *r, bool share)
{
    const int64_t index[ROWS] = {0, 1, 2, 3, 4, 5, 6};
    const sella_soft_source *soft = r->features.soft.ops ? &r->features.soft : NULL;
    const sella_slot_set slots = soft ? SELLA_SLOT_SET_USER_ITEM : 0;
    const sella_corpus_options options = {.budget = share ? 512 : 96,
                                          .share = share,
                                          .refs = soft ? soft->refs : SELLA_REFS_USER,
                                          .batch = 100,
                                          .seed = 1};
    char *tmpl = scratch_file(r->folder, "template.txt", template_text, sizeof template_text - 1);
    CHECK(sella_lm_open(r->settings, tmpl, r->backbone, NULL, r->dataset->title, ITEMS, "movie",
                        slots, &r->lm, err));
    free(tmpl);
    r->lm.tokens = soft ? soft->tokens : 1;
    CHECK(sella_lm_codes(&r->lm, r->codes.text ? &r->codes : NULL, err));
    CHECK(sella_lora_load(r->backbone, TINY_MODEL "/adapter", &r->lm.lora, err));
    CHECK(sella_lora_train(r->lm.lora, r->features.train_adapter, err));
    CHECK(sella_corpus_open(&r->lm, r->dataset, SELLA_SPLIT_TRAIN, index, ROWS, &options,
                            &r->corpus, err));
    r->step = (sella_lm_step){.lm = &r->lm, .corpus = &r->corpus, .soft = soft, .logit = &r->logit};
    CHECK(sella_lm_step_open(&r->step, err));
}

static void close_room(room *r)
{
    sella_lm_step_release(&r->step);
    sella_corpus_release(&r->corpus);
    sella_lm_release(&r->lm);
    sella_soft_source_close(&r->features.soft);
    sella_codes_release(&r->codes);
    sella_param_table_release(&r->logit);
    sella_backbone_close(r->backbone);
    sella_settings_free(r->settings);
    sella_dataset_close(r->dataset);
    scratch_remove(r->folder);
    ref_close(&r->ref);
}

static void check_step(room *r, const char *prefix, bool share)
{
    const int64_t *tree;
    int64_t rows;
    double loss;
    float z[ROWS];
    char name[64];
    open_step(r, share);
    reference_prompts(&r->ref, prefix, &r->lm, r->corpus.query_n, ROWS);
    int64_t trees = sella_corpus_step(&r->corpus, 0, 0, &tree);
    CHECK(sella_lm_step_run(&r->step, tree, trees, 0, true, &loss, &rows, z, err));
    assert_int_equal(rows, ROWS);
    snprintf(name, sizeof name, "%sz", prefix);
    ref_close_to(name, z, ref_f32(&r->ref, name, NULL), ROWS, 1e-5);
    snprintf(name, sizeof name, "%sloss", prefix);
    const float got = (float)loss;
    ref_close_to(name, &got, ref_f32(&r->ref, name, NULL), 1, 1e-5);
    sella_param_table *const tables[] = {&r->logit, r->features.collab, r->features.projection,
                                         sella_lora_params(r->lm.lora)};
    for (int t = 0; t < 4; t++) {
        if (tables[t]) {
            reference_gradients(&r->ref, prefix, tables[t]);
        }
    }
    assert_true((sella_param_total(tables[3], true) > 0) == r->features.train_adapter);
}

static void prompt4nr(bool share)
{
    room r;
    open_room(&r, "prompt4nr", NULL, 0);
    CHECK(sella_prompt4nr_features(r.settings, L, 1, &r.features, err));
    reference_load(&r.ref, "p4.", r.features.collab);
    check_step(&r, "p4.", share);
    close_room(&r);
}

static void test_prompt4nr(void **state)
{
    (void)state;
    prompt4nr(true);
    prompt4nr(false);
}

static void personprompt(bool share)
{
    room r;
    open_room(&r, "personprompt", NULL, 0);
    CHECK(sella_personprompt_features(r.settings, USERS, ITEMS, L, true, 1, &r.features, err));
    reference_load(&r.ref, "pp.", r.features.collab);
    check_step(&r, "pp.", share);
    close_room(&r);
}

static void test_personprompt(void **state)
{
    (void)state;
    personprompt(true);
    personprompt(false);
}

/* A collaborative model under the projection; proj: it stays frozen and has no gradient. prefix: in
 * the dump. */
static void collm(const char *model, const char *prefix, bool share, const char *train)
{
    const char *const set[] = {
        "collab.width=5",    "collab.bias=no",    "collab.unseen=zero", train,
        "din.attention_1=4", "din.attention_2=3", "din.top_1=5",        "din.top_2=2"};
    sella_collab_config config;
    sella_collab *c = NULL;
    room r;
    uint8_t label[ROWS];
    open_room(&r, "collm", set, 8);
    sella_collab_config_of(r.settings, USERS, ITEMS, &config);
    CHECK(sella_collab_new(model, &config, 1, &c, err));
    for (int n = 0; n < ROWS; n++) {
        label[n] = ref_f32(&r.ref, "label", NULL)[n] > 0.5f;
    }
    const sella_collab_train rows = {
        .rows = {ROWS, ref_i32(&r.ref, "user", NULL), ref_i32(&r.ref, "item", NULL), label}};
    CHECK(sella_collab_prepare(c, &rows, err));
    const bool frozen = strcmp(train, "collm.train=proj") == 0;
    CHECK(sella_stage_train_table(&c->table, "", !frozen, err));
    CHECK(sella_collm_features(r.settings, c, L, 1, &r.features, err));
    reference_load(&r.ref, prefix, r.features.collab);
    reference_load(&r.ref, prefix, r.features.projection);
    check_step(&r, prefix, share);
    assert_int_equal(r.features.collab->param[0].grad == NULL, frozen);
    assert_non_null(r.features.projection->param[0].grad);
    close_room(&r);
}

static void test_collm(void **state)
{
    (void)state;
    collm("mf", "co.", true, "collm.train=proj+collab");
    collm("mf", "co.", false, "collm.train=proj+collab");
    collm("mf", "co.", true, "collm.train=proj");
    collm("din", "cd.", true, "collm.train=proj+collab");
    collm("din", "cd.", false, "collm.train=proj+collab");
    collm("din", "cd.", true, "collm.train=proj");
}

/* Texts of bits, by hand: the first of eight is the highest. */
static void test_codes(void **state)
{
    const uint8_t user[2][8] = {{0, 0, 0, 0, 0, 1, 1, 0}, {1, 1, 1, 1, 1, 1, 1, 1}},
                  item[1][8] = {{1}};
    const uint8_t wide[2][16] = {{0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 1, 0}, {0}};
    sella_codes codes;
    sella_err why = {0};
    (void)state;
    CHECK(sella_codes_make(user[0], 1, item[0], 0, 8, false, &codes, err));
    assert_string_equal(sella_codes_user(&codes, 0), "00000110");
    assert_string_equal(sella_codes_user(&codes, -1), "11111111");
    assert_string_equal(sella_codes_item(&codes, -1), "10000000");
    sella_codes_release(&codes);
    CHECK(sella_codes_make(user[0], 1, item[0], 0, 8, true, &codes, err));
    assert_string_equal(sella_codes_user(&codes, 0), "6");
    assert_string_equal(sella_codes_user(&codes, -1), "255");
    sella_codes_release(&codes);
    CHECK(sella_codes_make(wide[0], 1, wide[1], 0, 16, true, &codes, err));
    assert_string_equal(sella_codes_user(&codes, 0), "1.22");
    assert_string_equal(sella_codes_item(&codes, -1), "0.0");
    sella_codes_release(&codes);
    assert_int_equal(sella_codes_make(user[0], 1, item[0], 0, 7, true, &codes, &why), SELLA_ARG);
    assert_non_null(strstr(why.text, "multiple of 8"));
}

/* The dump's texts, put in directly: how codes come about is tests of codes.c and
 * collab/binary_mf.c. */
static void binllm(bool share)
{
    static const char *const user[] = {"0110", "1011", "0001", "1111"};
    static const char *const item[] = {"1.22", "255.0", "7.7", "0.0", "13.128", "99.1", "1.1"};
    room r;
    open_room(&r, "binllm", NULL, 0);
    r.codes = (sella_codes){
        .users = USERS, .items = ITEMS, .room = 8, .text = calloc(USERS + ITEMS + 2, 8)};
    assert_non_null(r.codes.text);
    for (int i = 0; i < USERS + ITEMS + 2; i++) {
        snprintf(r.codes.text + 8 * i, 8, "%s", i < USERS + 1 ? user[i] : item[i - USERS - 1]);
    }
    r.features.train_adapter = true;
    check_step(&r, "bi.", share);
    close_room(&r);
}

static void test_binllm(void **state)
{
    (void)state;
    binllm(true);
    binllm(false);
}

int main(void)
{
    sella_threads_set(2);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prompt4nr),
        cmocka_unit_test(test_personprompt),
        cmocka_unit_test(test_collm),
        cmocka_unit_test(test_codes),
        cmocka_unit_test(test_binllm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
