/* test_backbone_lora.c - adapters: targets, fresh values, PEFT files out and in, refusals.
 *
 * `test_backbone_lora write MODEL DIR` writes an adapter with random values, some ids and the
 * logits that they get into DIR, for tests/ref/backbone_peft_check.py, which loads the adapter in
 * PEFT. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backbone_case.h"
#include "base/json.h"
#include "base/rng.h"
#include "formats/npy.h"
#include "formats/safetensors.h"
#include "scratch.h"

static sella_backbone *open_model(const char *name)
{
    sella_backbone *backbone = NULL;
    CHECK(sella_backbone_open(ref_path(name), NULL, &backbone, err));
    return backbone;
}

static void fill(sella_lora *lora)
{
    sella_param_table *table = sella_lora_params(lora);
    for (int p = 1; p < table->count; p += 2) {
        const sella_rng rng = {.seed = 2, .stream = SELLA_STREAM_TEST, .a = (uint32_t)p};
        for (size_t i = 0; i < table->param[p].count; i++) {
            table->param[p].data[i] = 0.05f * (float)sella_rng_normal(&rng, i);
        }
    }
}

static void targets(void **state)
{
    unsigned bits;
    sella_err why = {0};
    CHECK(sella_lora_targets("all", &bits, err));
    assert_int_equal(bits, 127);
    CHECK(sella_lora_targets("q_proj, v_proj", &bits, err));
    assert_int_equal(bits, 1u << SELLA_MATRIX_Q | 1u << SELLA_MATRIX_V);
    CHECK(sella_lora_targets("down_proj", &bits, err));
    assert_int_equal(bits, 1u << SELLA_MATRIX_DOWN);
    assert_int_equal(sella_lora_targets("q_proj,w_proj", &bits, &why), SELLA_ARG);
    assert_non_null(strstr(why.text, "'w_proj' is no matrix"));
    assert_int_equal(sella_lora_targets("", &bits, &why), SELLA_ARG);
    assert_int_equal(sella_lora_targets("q_proj,", &bits, &why), SELLA_ARG);
    (void)state;
}

static void fresh(void **state)
{
    sella_backbone *backbone = open_model("tiny_llama");
    sella_lora *one = NULL, *same = NULL, *other = NULL;
    const sella_lora_config config = {.rank = 4, .alpha = 8, .targets = 127, .first_layer = 1};
    CHECK(sella_lora_new(backbone, &config, 1, &one, err));
    CHECK(sella_lora_new(backbone, &config, 1, &same, err));
    CHECK(sella_lora_new(backbone, &config, 2, &other, err));
    const sella_param_table *table = sella_lora_params(one);
    assert_int_equal(table->count, 14);
    assert_string_equal(table->param[0].name,
                        "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight");
    assert_string_equal(table->param[13].name,
                        "base_model.model.model.layers.1.mlp.down_proj.lora_B.weight");
    assert_null(sella_lora_at(one, 0, SELLA_MATRIX_Q).a);
    for (int p = 0; p < table->count; p++) {
        const sella_param *param = &table->param[p];
        double square = 0, bound = 1 / sqrt((double)param->shape[1]);
        assert_true(param->trainable);
        for (size_t i = 0; i < param->count; i++) {
            square += (double)param->data[i] * (double)param->data[i];
            assert_true(fabs((double)param->data[i]) <= bound);
        }
        if (p % 2 == 0) { // uniform in +-bound: mean square bound^2 / 3
            assert_int_equal(param->shape[0], 4);
            const double mean = square / (double)param->count / (bound * bound);
            assert_true(mean > 0.25 && mean < 0.42);
            assert_memory_equal(param->data, sella_lora_params(same)->param[p].data,
                                param->count * sizeof(float));
            assert_memory_not_equal(param->data, sella_lora_params(other)->param[p].data,
                                    param->count * sizeof(float));
        } else {
            assert_true(square == 0);
        }
    }
    assert_true(sella_lora_scale(one) == 2.0f);
    CHECK(sella_lora_train(one, false, err));
    assert_true(!table->param[3].trainable && table->param[3].grad == NULL);
    sella_err why = {0};
    sella_lora *none = NULL;
    assert_int_equal(sella_lora_new(backbone,
                                    &(sella_lora_config){.rank = 0, .alpha = 1, .targets = 1}, 0,
                                    &none, &why),
                     SELLA_ARG);
    assert_int_equal(sella_lora_new(backbone,
                                    &(sella_lora_config){.rank = 1, .alpha = 1, .targets = 0}, 0,
                                    &none, &why),
                     SELLA_ARG);
    assert_int_equal(
        sella_lora_new(backbone,
                       &(sella_lora_config){.rank = 1, .alpha = 1, .targets = 1, .dropout = 1}, 0,
                       &none, &why),
        SELLA_ARG);
    assert_int_equal(sella_lora_new(backbone,
                                    &(sella_lora_config){.rank = 1, .alpha = NAN, .targets = 1}, 0,
                                    &none, &why),
                     SELLA_ARG);
    assert_int_equal(
        sella_lora_new(backbone,
                       &(sella_lora_config){.rank = 1, .alpha = 1, .targets = 1, .first_layer = 2},
                       0, &none, &why),
        SELLA_ARG);
    assert_null(none);
    sella_lora_free(one);
    sella_lora_free(same);
    sella_lora_free(other);
    sella_backbone_close(backbone);
    (void)state;
}

static void round_trip(void **state)
{
    char *dir = scratch_make(), *adapter = sella_path_join(dir, "a", "adapter", NULL),
         *file = sella_path_join(adapter, "adapter_config.json", NULL);
    sella_backbone *backbone = open_model("backbone_qwen3_bias");
    sella_lora *lora = NULL, *back = NULL;
    const sella_lora_config config = {.rank = 4,
                                      .alpha = 2.5,
                                      .dropout = 0.05,
                                      .targets = 1u << SELLA_MATRIX_Q | 1u << SELLA_MATRIX_UP,
                                      .first_layer = 1,
                                      .rslora = true};
    CHECK(sella_lora_new(backbone, &config, 1, &lora, err));
    fill(lora);
    CHECK(sella_lora_save(lora, adapter, "models/some", err));
    CHECK(sella_lora_load(backbone, adapter, &back, err));
    const sella_lora_config *read = sella_lora_settings(back);
    assert_true(read->rank == config.rank && read->alpha == config.alpha &&
                read->dropout == config.dropout && read->targets == config.targets &&
                read->first_layer == config.first_layer && read->rslora == config.rslora);
    assert_true(sella_lora_scale(back) == 1.25f);
    const sella_param_table *a = sella_lora_params(lora), *b = sella_lora_params(back);
    assert_int_equal(a->count, b->count);
    for (int p = 0; p < a->count; p++) {
        assert_string_equal(a->param[p].name, b->param[p].name);
        assert_memory_equal(a->param[p].data, b->param[p].data, a->param[p].count * sizeof(float));
    }
    json_t *root = NULL;
    CHECK(sella_json_load(file, 1 << 16, &root, err));
    assert_string_equal(json_string_value(json_object_get(root, "base_model_name_or_path")),
                        "models/some");
    assert_string_equal(json_string_value(json_object_get(root, "peft_type")), "LORA");
    assert_string_equal(json_string_value(json_object_get(root, "task_type")), "CAUSAL_LM");
    assert_int_equal(json_integer_value(json_object_get(root, "r")), 4);
    assert_true(json_real_value(json_object_get(root, "lora_alpha")) == 2.5);
    assert_int_equal(json_array_size(json_object_get(root, "layers_to_transform")), 2);
    assert_int_equal(
        json_integer_value(json_array_get(json_object_get(root, "layers_to_transform"), 0)), 1);
    json_decref(root);
    sella_lora_free(lora);
    sella_lora_free(back);
    sella_backbone_close(backbone);
    free(adapter);
    free(file);
    scratch_remove(dir);
    (void)state;
}

/* ---- refusals ---- */

/* Load with one key of PEFT's own config changed; *why holds the sentence. */
static sella_status load_changed(const sella_backbone *backbone, const char *dir, const char *key,
                                 const char *value, sella_err *why)
{
    char *from = sella_path_join("tests/ref/tiny_llama/adapter", "adapter_model.safetensors", NULL);
    char *model = sella_path_join(dir, "adapter_model.safetensors", NULL),
         *config = sella_path_join(dir, "adapter_config.json", NULL);
    json_t *root = NULL, *changed = NULL;
    sella_lora *lora = NULL;
    CHECK(sella_json_load("tests/ref/tiny_llama/adapter/adapter_config.json", 1 << 16, &root, err));
    if (value) {
        CHECK(sella_json_parse(value, strlen(value), "a value", &changed, err));
        json_object_set_new(root, key,
                            json_object_get(changed, "x")
                                ? json_incref(json_object_get(changed, "x"))
                                : json_null());
        json_decref(changed);
    } else {
        json_object_del(root, key);
    }
    CHECK(sella_json_save(config, root, err));
    if (!sella_path_exists(model)) {
        CHECK(sella_file_copy(from, model, err));
    }
    *why = (sella_err){0};
    const sella_status status = sella_lora_load(backbone, dir, &lora, why);
    assert_true((status == SELLA_OK) == (lora != NULL));
    sella_lora_free(lora);
    json_decref(root);
    free(from);
    free(model);
    free(config);
    return status;
}

static void refused_configs(void **state)
{
    static const struct {
        const char *key, *value, *text;
        sella_status status;
    } cases[] = {
        {"r", "{\"x\": 4}", "", SELLA_OK},
        {"target_modules", "{\"x\": \"all-linear\"}", "", SELLA_OK},
        {"peft_type", "{\"x\": \"IA3\"}", "'IA3' is not supported", SELLA_UNSUPPORTED},
        {"use_dora", "{\"x\": true}", "'use_dora' is set", SELLA_UNSUPPORTED},
        {"rank_pattern", "{\"x\": {\"q_proj\": 2}}", "'rank_pattern' is set", SELLA_UNSUPPORTED},
        {"modules_to_save", "{\"x\": [\"lm_head\"]}", "'modules_to_save' is set",
         SELLA_UNSUPPORTED},
        {"bias", "{\"x\": \"all\"}", "bias 'all'", SELLA_UNSUPPORTED},
        {"r", "{\"x\": 3}", "expected [3, 32]", SELLA_SHAPE},
        {"r", "{\"x\": 0}", "key 'r' is 0", SELLA_FORMAT},
        {"r", NULL, "key 'r' is missing", SELLA_FORMAT},
        {"lora_alpha", "{\"x\": \"a\"}", "key 'lora_alpha'", SELLA_FORMAT},
        {"lora_alpha", "{\"x\": -1}", "LoRA alpha -1", SELLA_ARG},
        {"lora_dropout", "{\"x\": 1.5}", "LoRA dropout 1.5", SELLA_ARG},
    };
    char *dir = scratch_make();
    sella_backbone *backbone = open_model("tiny_llama");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sella_err why;
        const sella_status status = load_changed(backbone, dir, cases[i].key, cases[i].value, &why);
        if (status != cases[i].status || strstr(why.text, cases[i].text) == NULL) {
            fail_msg("%s = %s: status %d, '%s'", cases[i].key,
                     cases[i].value ? cases[i].value : "absent", status, why.text);
        }
    }
    sella_backbone_close(backbone);
    scratch_remove(dir);
    (void)state;
}

static void refused_tensors(void **state)
{
    char *dir = scratch_make(), *model = sella_path_join(dir, "adapter_model.safetensors", NULL);
    sella_backbone *backbone = open_model("tiny_llama");
    float data[4 * 32] = {0.5f}, bad[4 * 32] = {NAN};
    const char *q_a = "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight",
               *q_b = "base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight";
    const struct {
        sella_tensor_out tensor[2];
        int count;
        const char *text; /* NULL: accepted */
    } cases[] = {
        {{{q_a, 2, {4, 32}, data}, {q_b, 2, {32, 4}, data}}, 2, NULL},
        {{{q_a, 2, {4, 32}, data}}, 1, "q_proj.lora_B.weight' is missing"},
        {{{q_a, 2, {4, 32}, data}, {q_b, 2, {32, 4}, bad}}, 2, "not finite"},
        {{{q_a, 2, {4, 32}, data}, {q_b, 2, {4, 32}, data}}, 2, "expected [32, 4]"},
        {{{q_a, 1, {128}, data}, {q_b, 2, {32, 4}, data}}, 2, "expected [4, 32]"},
        {{{"base_model.model.lm_head.lora_A.weight", 2, {4, 32}, data}},
         1,
         "is not lora_A or lora_B"},
        {{{"base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight", 2, {4, 32}, data}},
         1,
         "the backbone has 2 layers"},
        {{{"base_model.model.model.layers.-1.self_attn.q_proj.lora_A.weight", 2, {4, 32}, data}},
         1,
         "is not lora_A or lora_B"},
        {{{"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", 2, {4, 32}, data},
          {q_b, 2, {32, 4}, data}},
         2,
         "is missing"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sella_err why;
        CHECK(sella_safetensors_write(model, cases[i].tensor, cases[i].count, NULL, err));
        const sella_status status = load_changed(backbone, dir, "revision", "{}", &why);
        if ((status == SELLA_OK) != (cases[i].text == NULL) ||
            (cases[i].text && strstr(why.text, cases[i].text) == NULL)) {
            fail_msg("case %zu: status %d, '%s'", i, status, why.text);
        }
    }
    free(model);
    sella_backbone_close(backbone);
    scratch_remove(dir);
    (void)state;
}

/* ---- the other way: for PEFT to read ---- */

enum { WRITTEN_ROWS = 3, WRITTEN_LENGTH = 17 };

static void write_for_peft(const char *model, const char *dir)
{
    sella_backbone *backbone = NULL;
    sella_lora *lora = NULL;
    sella_rows rows;
    sella_tree_batch batch;
    sella_pass *pass = NULL;
    CHECK(sella_backbone_open(model, NULL, &backbone, err));
    const sella_backbone_config *shape = sella_backbone_shape(backbone);
    CHECK(sella_lora_new(
        backbone, &(sella_lora_config){.rank = 8, .alpha = 16, .targets = 127, .first_layer = 1}, 1,
        &lora, err));
    fill(lora);
    CHECK(sella_lora_save(lora, dir, model, err));
    int32_t token[WRITTEN_ROWS * WRITTEN_LENGTH];
    sella_rows_init(&rows);
    for (int r = 0; r < WRITTEN_ROWS; r++) {
        for (int t = 0; t < WRITTEN_LENGTH; t++) {
            token[r * WRITTEN_LENGTH + t] = (r * 7919 + t * 104729) % (shape->V - 12);
        }
        CHECK(sella_rows_add(&rows, token + r * WRITTEN_LENGTH, NULL, WRITTEN_LENGTH, NULL, r, r, 0,
                             1, err));
    }
    batch_of(&rows, false, &batch);
    CHECK(sella_pass_new(backbone, lora, &(sella_pass_options){.max_tokens = batch.T}, &pass, err));
    float *answer = calloc(WRITTEN_ROWS * (size_t)shape->C, sizeof *answer),
          *logit = calloc(WRITTEN_ROWS * (size_t)shape->V, sizeof *logit);
    CHECK(sella_pass_forward(pass, &batch, NULL, 0, -1, answer, err));
    for (int r = 0; r < WRITTEN_ROWS; r++) {
        CHECK(sella_backbone_logits(backbone, answer + (size_t)r * (size_t)shape->C,
                                    logit + (size_t)r * (size_t)shape->V, err));
    }
    char *ids = sella_path_join(dir, "ids.npy", NULL),
         *logits = sella_path_join(dir, "logits.npy", NULL);
    CHECK(sella_npy_write(ids, SELLA_NPY_I32, token, WRITTEN_ROWS, WRITTEN_LENGTH, err));
    CHECK(sella_npy_write(logits, SELLA_NPY_F32, logit, WRITTEN_ROWS, shape->V, err));
    free(ids);
    free(logits);
    free(answer);
    free(logit);
    sella_pass_free(pass);
    sella_tree_batch_release(&batch);
    sella_rows_release(&rows);
    sella_lora_free(lora);
    sella_backbone_close(backbone);
}

static const char *const *arguments;

static void write_test(void **state)
{
    write_for_peft(arguments[2], arguments[3]);
    (void)state;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "write") == 0) {
        const struct CMUnitTest write[] = {cmocka_unit_test(write_test)};
        arguments = (const char *const *)argv;
        return cmocka_run_group_tests(write, NULL, NULL);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets),         cmocka_unit_test(fresh),
        cmocka_unit_test(round_trip),      cmocka_unit_test(refused_configs),
        cmocka_unit_test(refused_tensors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
