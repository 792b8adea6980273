/* test_backbone_tree.c - trees of rows against single rows, gradients by central differences,
 * dropout, row and token limits. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/rng.h"
#include "backbone_case.h"

enum { ROWS = 10, LENGTH = 24, REFS = 8 };
static const double TOLERANCE = 1e-4;

static float random_at(uint32_t a, uint64_t i)
{
    const sella_rng rng = {.seed = 11, .stream = SELLA_STREAM_TEST, .a = a};
    return (float)sella_rng_normal(&rng, i);
}

/* Nested prefixes in two groups, soft tokens behind them, a row twice, and a row that is the
 * beginning of another. */
static void nested_rows(sella_rows *rows)
{
    static const struct {
        int32_t group, history, branch, soft_user, soft_item;
        int length;
    } plan[ROWS] = {
        {0, 0, 0, 0, 4, 16}, {0, 0, 0, 0, 5, 16}, {0, 0, 1, 0, 4, 18}, {0, 0, 2, 1, 6, 14},
        {0, 0, 0, 0, 4, 16}, {0, 0, 0, 0, 4, 13}, {1, 1, 0, 2, 7, 20}, {1, 1, 1, 2, 5, 17},
        {1, 2, 0, 3, 5, 11}, {1, 1, 1, 2, 7, 17},
    };
    sella_rows_init(rows);
    for (int r = 0; r < ROWS; r++) {
        int32_t token[LENGTH], ref[SELLA_SLOTS] = {0, plan[r].soft_user, plan[r].soft_item, 0};
        uint8_t slot[LENGTH] = {0};
        for (int t = 0; t < plan[r].length; t++) {
            const int32_t kind = t < 6   ? plan[r].history * 7
                                 : t < 9 ? plan[r].history * 7 + plan[r].branch + 1
                                         : plan[r].branch + 31;
            token[t] = (kind * 41 + t * 13) % 500;
        }
        token[8] = token[11] = 509;
        slot[8] = SELLA_SLOT_USER;
        slot[11] = SELLA_SLOT_ITEM;
        CHECK(sella_rows_add(rows, token, slot, plan[r].length, ref, plan[r].group, r,
                             (float)(r % 2), 1.0f, err));
    }
}

typedef struct outcome {
    float *answer; /* [ROWS, C] by row number */
    float *dsoft;  /* [REFS, C] sums by ref */
    float *grad;   /* all LoRA gradients one after another */
    size_t grads;
} outcome;

static outcome outcome_new(const sella_backbone *backbone, sella_lora *lora)
{
    const size_t C = (size_t)sella_backbone_shape(backbone)->C;
    outcome o = {.grads = sella_param_total(sella_lora_params(lora), false)};
    o.answer = calloc(ROWS * C, sizeof(float));
    o.dsoft = calloc(REFS * C, sizeof(float));
    o.grad = calloc(o.grads, sizeof(float));
    return o;
}

static void outcome_free(outcome *o)
{
    free(o->answer);
    free(o->dsoft);
    free(o->grad);
}

static void gradients_take(sella_lora *lora, outcome *o)
{
    sella_param_table *table = sella_lora_params(lora);
    size_t at = 0;
    for (int p = 0; p < table->count; p++) {
        memcpy(o->grad + at, table->param[p].grad, table->param[p].count * sizeof(float));
        at += table->param[p].count;
    }
    sella_param_grad_zero(table);
}

/* Forward and backward of one batch with a fixed gradient for each row. */
static void run(sella_pass *pass, const sella_tree_batch *batch, int C, outcome *o)
{
    const size_t width = (size_t)C;
    float *soft = calloc((size_t)batch->M * width + 1, sizeof *soft),
          *dsoft = calloc((size_t)batch->M * width + 1, sizeof *dsoft);
    float *answer = calloc((size_t)batch->N * width, sizeof *answer),
          *danswer = calloc((size_t)batch->N * width, sizeof *danswer);
    for (int m = 0; m < batch->M; m++) {
        for (size_t c = 0; c < width; c++) {
            soft[(size_t)m * width + c] = random_at(1, (size_t)batch->soft_ref_m[m] * width + c);
        }
    }
    for (int n = 0; n < batch->N; n++) {
        for (size_t c = 0; c < width; c++) {
            danswer[(size_t)n * width + c] = random_at(2, (size_t)batch->row_n[n] * width + c);
        }
    }
    CHECK(sella_pass_forward(pass, batch, soft, 0, -1, answer, err));
    CHECK(sella_pass_backward(pass, danswer, dsoft, err));
    for (int n = 0; n < batch->N; n++) {
        memcpy(o->answer + (size_t)batch->row_n[n] * width, answer + (size_t)n * width,
               width * sizeof *answer);
    }
    for (int m = 0; m < batch->M; m++) {
        for (size_t c = 0; c < width; c++) {
            o->dsoft[(size_t)batch->soft_ref_m[m] * width + c] += dsoft[(size_t)m * width + c];
        }
    }
    free(soft);
    free(dsoft);
    free(answer);
    free(danswer);
}

static void adapter_new(const sella_backbone *backbone, const sella_lora_config *config,
                        sella_lora **lora)
{
    CHECK(sella_lora_new(backbone, config, 5, lora, err));
    sella_param_table *table = sella_lora_params(*lora);
    for (int p = 1; p < table->count; p += 2) {
        for (size_t i = 0; i < table->param[p].count; i++) {
            table->param[p].data[i] = 0.2f * random_at(3 + (uint32_t)p, i);
        }
    }
}

static void tree_case(const char *model, unsigned targets, int first_layer, bool train_lora,
                      bool train_soft)
{
    sella_backbone *backbone = NULL;
    sella_lora *lora = NULL;
    sella_rows rows;
    sella_tree_batch tree;
    char what[128];
    CHECK(sella_backbone_open(ref_path(model), NULL, &backbone, err));
    const int C = sella_backbone_shape(backbone)->C;
    adapter_new(
        backbone,
        &(sella_lora_config){.rank = 3, .alpha = 6, .targets = targets, .first_layer = first_layer},
        &lora);
    nested_rows(&rows);
    batch_of(&rows, true, &tree);
    assert_true(tree.T < tree.row_tokens && tree.S > 6);
    sella_pass *pass = NULL;
    const sella_pass_options options = {
        .max_tokens = tree.T, .backward = true, .train_lora = train_lora, .train_soft = train_soft};
    CHECK(sella_pass_new(backbone, lora, &options, &pass, err));
    outcome together = outcome_new(backbone, lora), single = outcome_new(backbone, lora);
    run(pass, &tree, C, &together);
    gradients_take(lora, &together);
    for (int64_t r = 0; r < rows.count; r++) {
        sella_tree_batch one;
        CHECK(sella_tree_build(&rows, &r, 1, &(sella_tree_options){.budget = LENGTH}, &one, err));
        run(pass, &one, C, &single);
        sella_tree_batch_release(&one);
    }
    gradients_take(lora, &single);
    snprintf(what, sizeof what, "%s, targets %#x from layer %d, train %d %d", model, targets,
             first_layer, train_lora, train_soft);
    close_relative(what, together.answer, single.answer, ROWS * (size_t)C, TOLERANCE);
    close_relative(what, together.grad, single.grad, together.grads, TOLERANCE);
    close_relative(what, together.dsoft, single.dsoft, REFS * (size_t)C, TOLERANCE);
    float most = 0, most_soft = 0;
    for (size_t i = 0; i < single.grads; i++) {
        most = fmaxf(most, fabsf(single.grad[i]));
    }
    for (size_t i = 0; i < REFS * (size_t)C; i++) {
        most_soft = fmaxf(most_soft, fabsf(single.dsoft[i]));
    }
    assert_true((most > 1e-3f) == train_lora && (most_soft > 1e-3f) == train_soft);
    outcome_free(&together);
    outcome_free(&single);
    sella_pass_free(pass);
    sella_tree_batch_release(&tree);
    sella_rows_release(&rows);
    sella_lora_free(lora);
    sella_backbone_close(backbone);
}

static void trees_equal_single_rows(void **state)
{
    static const char *const models[] = {"tiny_llama", "backbone_qwen2", "backbone_qwen3_bias"};
    const unsigned all = (1u << SELLA_MATRICES) - 1,
                   qv = 1u << SELLA_MATRIX_Q | 1u << SELLA_MATRIX_V;
    for (int i = 0; i < 3; i++) {
        tree_case(models[i], all, 0, true, false);
        tree_case(models[i], all, 0, false, true);
        tree_case(models[i], all, 0, true, true);
        tree_case(models[i], qv, 1, true, false);
        tree_case(models[i], qv, 1, true, true);
        for (unsigned m = 0; m < SELLA_MATRICES;
             m++) { // each alone, in the lowest layer: the backward pass stops inside the layer
            tree_case(models[i], 1u << m, 1, true, false);
        }
    }
    (void)state;
}

/* ---- central differences, with dropout, whose mask is a function of seed and step ---- */

static double projected(sella_pass *pass, const sella_tree_batch *batch, const float *soft, int C,
                        int64_t step)
{
    float *answer = calloc((size_t)batch->N * (size_t)C, sizeof *answer);
    double sum = 0;
    CHECK(sella_pass_forward(pass, batch, soft, 77, step, answer, err));
    for (size_t i = 0; i < (size_t)batch->N * (size_t)C; i++) {
        sum += (double)answer[i] * (double)random_at(2, i);
    }
    free(answer);
    return sum;
}

static void difference_check(const char *what, sella_pass *pass, const sella_tree_batch *batch,
                             const float *soft, int C, float *value, float gradient, float largest)
{
    const float kept = *value, eps = 4e-3f;
    *value = kept + eps;
    const double up = projected(pass, batch, soft, C, 9);
    *value = kept - eps;
    const double down = projected(pass, batch, soft, C, 9);
    *value = kept;
    const double slope = (up - down) / (2.0 * (double)eps), gap = fabs(slope - (double)gradient);
    if (!(gap <= 0.02 * (double)largest + 2e-3)) {
        fail_msg("%s: gradient %.6g, central difference %.6g (largest of the tensor %.6g)", what,
                 (double)gradient, slope, (double)largest);
    }
}

static float largest_of(const float *x, size_t n)
{
    float most = 0;
    for (size_t i = 0; i < n; i++) {
        most = fmaxf(most, fabsf(x[i]));
    }
    return most;
}

static void central_differences(void **state)
{
    sella_backbone *backbone = NULL;
    sella_lora *lora = NULL;
    sella_rows rows;
    sella_tree_batch batch;
    CHECK(sella_backbone_open(ref_path("backbone_qwen3_bias"), NULL, &backbone, err));
    const int C = sella_backbone_shape(backbone)->C;
    adapter_new(backbone,
                &(sella_lora_config){
                    .rank = 3, .alpha = 3, .dropout = 0.3, .targets = (1u << SELLA_MATRICES) - 1},
                &lora);
    nested_rows(&rows);
    batch_of(&rows, true, &batch);
    sella_pass *pass = NULL;
    CHECK(sella_pass_new(
        backbone, lora,
        &(sella_pass_options){
            .max_tokens = batch.T, .backward = true, .train_lora = true, .train_soft = true},
        &pass, err));
    const size_t values = (size_t)batch.M * (size_t)C;
    float *soft = calloc(values, sizeof *soft), *dsoft = calloc(values, sizeof *dsoft);
    float *danswer = calloc((size_t)batch.N * (size_t)C, sizeof *danswer);
    for (size_t i = 0; i < values; i++) {
        soft[i] = random_at(1, i);
    }
    for (size_t i = 0; i < (size_t)batch.N * (size_t)C; i++) {
        danswer[i] = random_at(2, i);
    }
    projected(pass, &batch, soft, C, 9);
    CHECK(sella_pass_backward(pass, danswer, dsoft, err));
    sella_param_table *table = sella_lora_params(lora);
    for (int p = 0; p < table->count; p++) {
        sella_param *param = &table->param[p];
        const size_t i = (size_t)(p * 31 + 7) % param->count;
        difference_check(param->name, pass, &batch, soft, C, &param->data[i], param->grad[i],
                         largest_of(param->grad, param->count));
    }
    for (size_t i = 3; i < values; i += 37) {
        difference_check("a soft row", pass, &batch, soft, C, &soft[i], dsoft[i],
                         largest_of(dsoft, values));
    }
    free(soft);
    free(dsoft);
    free(danswer);
    sella_pass_free(pass);
    sella_tree_batch_release(&batch);
    sella_rows_release(&rows);
    sella_lora_free(lora);
    sella_backbone_close(backbone);
    (void)state;
}

/* With one token, column c of dA is zero exactly where dropout took input c: the share of zeros is
 * p. */
static void dropout_takes_its_share(void **state)
{
    sella_backbone *backbone = NULL;
    sella_lora *lora = NULL;
    sella_rows rows;
    sella_tree_batch batch;
    CHECK(sella_backbone_open(ref_path("tiny_llama"), NULL, &backbone, err));
    const int C = sella_backbone_shape(backbone)->C;
    adapter_new(backbone,
                &(sella_lora_config){
                    .rank = 2, .alpha = 2, .dropout = 0.2, .targets = (1u << SELLA_MATRICES) - 1},
                &lora);
    sella_rows_init(&rows);
    CHECK(sella_rows_add(&rows, (const int32_t[]){17}, NULL, 1, NULL, 0, 0, 1, 1, err));
    batch_of(&rows, false, &batch);
    sella_pass *pass = NULL;
    CHECK(sella_pass_new(
        backbone, lora,
        &(sella_pass_options){.max_tokens = 1, .backward = true, .train_lora = true}, &pass, err));
    float *answer = calloc((size_t)C, sizeof *answer),
          *danswer = calloc((size_t)C, sizeof *danswer), *other = calloc((size_t)C, sizeof *other);
    int zeros = 0, all = 0;
    sella_param_table *table = sella_lora_params(lora);
    for (int i = 0; i < C; i++) {
        danswer[i] = random_at(2, (uint64_t)i);
    }
    for (int step = 0; step < 20; step++) {
        CHECK(sella_pass_forward(pass, &batch, NULL, 3, step, answer, err));
        CHECK(sella_pass_backward(pass, danswer, NULL, err));
        for (int p = 0; p < table->count; p += 2) {
            const sella_param *a = &table->param[p];
            if (strstr(a->name, ".q_proj.") || strstr(a->name, ".k_proj.")) {
                continue; // with one token attention does not depend on them
            }
            for (int64_t c = 0; c < a->shape[1]; c++) {
                zeros += a->grad[c] == 0.0f && a->grad[a->shape[1] + c] == 0.0f;
                all++;
            }
        }
        sella_param_grad_zero(table);
    }
    const double share = (double)zeros / all, sd = sqrt(0.2 * 0.8 / all);
    if (!(fabs(share - 0.2) < 4 * sd)) {
        fail_msg("dropout took %.4f of %d inputs; expected 0.2 +- %.4f", share, all, 4 * sd);
    }
    CHECK(sella_pass_forward(pass, &batch, NULL, 3, 19, other, err));
    assert_memory_equal(answer, other, (size_t)C * sizeof *answer);
    CHECK(sella_pass_forward(pass, &batch, NULL, 4, 19, other, err));
    assert_memory_not_equal(answer, other, (size_t)C * sizeof *answer);
    CHECK(sella_pass_forward(pass, &batch, NULL, 3, 18, other, err));
    assert_memory_not_equal(answer, other, (size_t)C * sizeof *answer);
    /* off: seed and step do not matter */
    CHECK(sella_pass_forward(pass, &batch, NULL, 3, -1, answer, err));
    CHECK(sella_pass_forward(pass, &batch, NULL, 4, -2, other, err));
    assert_memory_equal(answer, other, (size_t)C * sizeof *answer);
    free(answer);
    free(other);
    free(danswer);
    sella_pass_free(pass);
    sella_tree_batch_release(&batch);
    sella_rows_release(&rows);
    sella_lora_free(lora);
    sella_backbone_close(backbone);
    (void)state;
}

/* With dropout on, soft rows get the same gradient from live tokens alone (the adapter is frozen)
 * as from all tokens. */
static void live_tokens_share_the_mask(void **state)
{
    sella_backbone *backbone = NULL;
    sella_lora *lora = NULL;
    sella_rows rows;
    sella_tree_batch batch;
    float *dsoft[2];
    CHECK(sella_backbone_open(ref_path("backbone_qwen3_bias"), NULL, &backbone, err));
    const size_t C = (size_t)sella_backbone_shape(backbone)->C;
    adapter_new(backbone,
                &(sella_lora_config){.rank = 3, .alpha = 9, .dropout = 0.4, .targets = 127}, &lora);
    nested_rows(&rows);
    batch_of(&rows, true, &batch);
    float *soft = calloc((size_t)batch.M * C, sizeof *soft),
          *answer = calloc((size_t)batch.N * C, sizeof *answer);
    for (size_t i = 0; i < (size_t)batch.M * C; i++) {
        soft[i] = random_at(1, i);
    }
    for (int both = 0; both < 2; both++) {
        const sella_pass_options options = {
            .max_tokens = batch.T, .backward = true, .train_soft = true, .train_lora = both == 1};
        sella_pass *pass = NULL;
        dsoft[both] = calloc((size_t)batch.M * C, sizeof *soft);
        CHECK(sella_pass_new(backbone, lora, &options, &pass, err));
        CHECK(sella_pass_forward(pass, &batch, soft, 5, 2, answer, err));
        CHECK(sella_pass_backward(pass, answer, dsoft[both], err));
        sella_pass_free(pass);
    }
    close_relative("gradient of soft rows", dsoft[0], dsoft[1], (size_t)batch.M * C, TOLERANCE);
    assert_true(largest_of(dsoft[1], (size_t)batch.M * C) > 1e-3f);
    free(dsoft[0]);
    free(dsoft[1]);
    free(soft);
    free(answer);
    sella_tree_batch_release(&batch);
    sella_rows_release(&rows);
    sella_lora_free(lora);
    sella_backbone_close(backbone);
    (void)state;
}

/* ---- refusals ---- */

static void refusals(void **state)
{
    sella_backbone *backbone = NULL;
    sella_rows rows;
    sella_tree_batch batch;
    sella_pass *pass = NULL;
    sella_err why = {0};
    CHECK(sella_backbone_open(ref_path("tiny_llama"), NULL, &backbone, err));
    const size_t C = (size_t)sella_backbone_shape(backbone)->C;
    nested_rows(&rows);
    batch_of(&rows, true, &batch);
    float *soft = calloc((size_t)batch.M * C, sizeof *soft),
          *answer = calloc((size_t)batch.N * C, sizeof *answer);
    CHECK(sella_pass_new(backbone, NULL, &(sella_pass_options){.max_tokens = batch.T - 1}, &pass,
                         err));
    assert_int_equal(sella_pass_forward(pass, &batch, soft, 0, -1, answer, &why), SELLA_ARG);
    assert_non_null(strstr(why.text, "this pass holds"));
    assert_int_equal(sella_pass_backward(pass, answer, NULL, &why), SELLA_STATE);
    sella_pass_free(pass);
    CHECK(sella_pass_new(backbone, NULL, &(sella_pass_options){.max_tokens = batch.T}, &pass, err));
    batch.token_t[2] = 512;
    assert_int_equal(sella_pass_forward(pass, &batch, soft, 0, -1, answer, &why), SELLA_ARG);
    assert_string_equal(why.text, "token id 512 is not in the vocabulary of 512");
    batch.token_t[2] = -1;
    assert_int_equal(sella_pass_forward(pass, &batch, soft, 0, -1, answer, &why), SELLA_ARG);
    batch.token_t[2] = 3;
    soft[1] = NAN;
    assert_int_equal(sella_pass_forward(pass, &batch, soft, 0, -1, answer, &why), SELLA_DIVERGED);
    assert_non_null(strstr(why.text, "not finite"));
    assert_int_equal(sella_pass_new(backbone, NULL, &(sella_pass_options){.max_tokens = 0},
                                    &(sella_pass *){NULL}, &why),
                     SELLA_ARG);
    free(soft);
    free(answer);
    sella_pass_free(pass);
    sella_tree_batch_release(&batch);
    sella_rows_release(&rows);
    sella_backbone_close(backbone);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trees_equal_single_rows),
        cmocka_unit_test(central_differences),
        cmocka_unit_test(dropout_takes_its_share),
        cmocka_unit_test(live_tokens_share_the_mask),
        cmocka_unit_test(refusals),
    };
    sella_threads_set(1); // the models are tiny: threads would mostly wait for each other
    return cmocka_run_group_tests(tests, NULL, NULL);
}
