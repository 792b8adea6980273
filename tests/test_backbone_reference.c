/* test_backbone_reference.c - logits, losses, every LoRA gradient, soft-row gradients and ten
 * training steps against transformers and PEFT on small random models of every family; dumps by
 * tests/ref/backbone_dump.py. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backbone_case.h"

enum { STEPS = 10 };
static const double TOLERANCE = 1e-4;

typedef struct fixture {
    const backbone_case *which;
    ref_file ref;
    sella_backbone *backbone;
    sella_lora *lora;
    int C, V;
    int32_t yes, no;
} fixture;

static void fixture_open(fixture *f, const backbone_case *which)
{
    char adapter[256];
    *f = (fixture){.which = which};
    f->ref = ref_open(ref_path(which->dump));
    CHECK(sella_backbone_open(ref_path(which->model), NULL, &f->backbone, err));
    snprintf(adapter, sizeof adapter, "tests/ref/%.*s/adapter", (int)strcspn(which->model, "."),
             which->model);
    CHECK(sella_lora_load(f->backbone, adapter, &f->lora, err));
    f->C = sella_backbone_shape(f->backbone)->C;
    f->V = sella_backbone_shape(f->backbone)->V;
    f->yes = ref_i32(&f->ref, "yes_no", NULL)[0];
    f->no = ref_i32(&f->ref, "yes_no", NULL)[1];
}

static void fixture_close(fixture *f)
{
    sella_lora_free(f->lora);
    sella_backbone_close(f->backbone);
    ref_close(&f->ref);
}

static void label(char *text, size_t bytes, const fixture *f, const char *what)
{
    snprintf(text, bytes, "%s: %s", f->which->model, what);
}

static void base_model(void **state)
{
    for (size_t i = 0; i < BACKBONE_CASES; i++) {
        fixture f;
        char what[256];
        fixture_open(&f, &backbone_cases[i]);
        sella_rows rows;
        sella_tree_batch batch;
        rows_of(&f.ref, false, &rows);
        batch_of(&rows, false, &batch);
        sella_pass *pass = NULL;
        const sella_pass_options options = {.max_tokens = batch.T};
        CHECK(sella_pass_new(f.backbone, NULL, &options, &pass, err));
        float *answer = calloc((size_t)batch.N * (size_t)f.C, sizeof *answer),
              *logit = calloc((size_t)f.V, sizeof *logit);
        CHECK(sella_pass_forward(pass, &batch, NULL, 0, -1, answer, err));
        label(what, sizeof what, &f, "hidden");
        close_relative(what, answer, ref_f32(&f.ref, "hidden", NULL), (size_t)batch.N * (size_t)f.C,
                       TOLERANCE);
        for (int n = 0; n < batch.N; n++) {
            CHECK(sella_backbone_logits(f.backbone, answer + (size_t)n * (size_t)f.C, logit, err));
            label(what, sizeof what, &f, "logits");
            close_relative(what, logit, ref_f32(&f.ref, "logits", NULL) + (size_t)n * (size_t)f.V,
                           (size_t)f.V, TOLERANCE);
        }
        free(answer);
        free(logit);
        sella_pass_free(pass);
        sella_tree_batch_release(&batch);
        sella_rows_release(&rows);
        fixture_close(&f);
    }
    (void)state;
}

static void gradients_check(const fixture *f)
{
    char name[256], what[384];
    const sella_param_table *table = sella_lora_params(f->lora);
    for (int p = 0; p < table->count; p++) {
        size_t count;
        snprintf(name, sizeof name, "lora.grad.%s", table->param[p].name);
        const float *expected = ref_f32(&f->ref, name, &count);
        assert_int_equal(count, table->param[p].count);
        label(what, sizeof what, f, name);
        close_relative(what, table->param[p].grad, expected, count, TOLERANCE);
    }
}

/* One forward and backward; returns the loss. */
static double step(const fixture *f, sella_pass *pass, const sella_tree_batch *batch,
                   const float *soft, float *z, float *dsoft)
{
    float *answer = calloc((size_t)batch->N * (size_t)f->C, sizeof *answer);
    CHECK(sella_pass_forward(pass, batch, soft, 0, -1, answer, err));
    const double loss = answers_loss(f->backbone, f->yes, f->no, batch, answer, z, answer);
    CHECK(sella_pass_backward(pass, answer, dsoft, err));
    free(answer);
    return loss;
}

static void lora_gradients(void **state)
{
    for (size_t i = 0; i < BACKBONE_CASES; i++) {
        fixture f;
        char what[256];
        float z[16];
        fixture_open(&f, &backbone_cases[i]);
        sella_rows rows;
        sella_tree_batch batch;
        rows_of(&f.ref, false, &rows);
        batch_of(&rows, false, &batch);
        sella_pass *pass = NULL;
        const sella_pass_options options = {
            .max_tokens = batch.T, .backward = true, .train_lora = true};
        CHECK(sella_pass_new(f.backbone, f.lora, &options, &pass, err));
        const float loss = (float)step(&f, pass, &batch, NULL, z, NULL);
        label(what, sizeof what, &f, "loss");
        close_relative(what, &loss, ref_f32(&f.ref, "lora.loss", NULL), 1, TOLERANCE);
        label(what, sizeof what, &f, "z");
        close_relative(what, z, ref_f32(&f.ref, "lora.z", NULL), (size_t)batch.N, TOLERANCE);
        gradients_check(&f);
        sella_pass_free(pass);
        sella_tree_batch_release(&batch);
        sella_rows_release(&rows);
        fixture_close(&f);
    }
    (void)state;
}

/* Soft rows alone (live tokens only) and together with LoRA. */
static void soft_gradients(void **state)
{
    for (size_t i = 0; i < 2 * BACKBONE_CASES; i++) {
        fixture f;
        char what[256];
        float z[16];
        fixture_open(&f, &backbone_cases[i / 2]);
        sella_rows rows;
        sella_tree_batch batch;
        rows_of(&f.ref, true, &rows);
        batch_of(&rows, false, &batch);
        assert_int_equal(batch.M, 4);
        sella_pass *pass = NULL;
        const sella_pass_options options = {
            .max_tokens = batch.T, .backward = true, .train_soft = true, .train_lora = i % 2 == 1};
        CHECK(sella_pass_new(f.backbone, f.lora, &options, &pass, err));
        float *soft = soft_of(&batch, ref_f32(&f.ref, "soft.vector", NULL), f.C);
        float *dsoft = calloc((size_t)batch.M * (size_t)f.C, sizeof *dsoft);
        const float loss = (float)step(&f, pass, &batch, soft, z, dsoft);
        label(what, sizeof what, &f, "soft loss");
        close_relative(what, &loss, ref_f32(&f.ref, "soft.loss", NULL), 1, TOLERANCE);
        label(what, sizeof what, &f, "soft z");
        close_relative(what, z, ref_f32(&f.ref, "soft.z", NULL), (size_t)batch.N, TOLERANCE);
        label(what, sizeof what, &f, "gradient of soft rows");
        for (int m = 0; m < batch.M; m++) {
            const float *expected =
                ref_f32(&f.ref, "soft.grad", NULL) + (size_t)batch.soft_ref_m[m] * (size_t)f.C;
            close_relative(what, dsoft + (size_t)m * (size_t)f.C, expected, (size_t)f.C, TOLERANCE);
        }
        free(soft);
        free(dsoft);
        sella_pass_free(pass);
        sella_tree_batch_release(&batch);
        sella_rows_release(&rows);
        fixture_close(&f);
    }
    (void)state;
}

/* AdamW written out: lr .002, betas .9 .999, eps 1e-8, weight decay .01. */
static void adamw(sella_param_table *table, float **m, float **v, int t)
{
    for (int p = 0; p < table->count; p++) {
        sella_param *param = &table->param[p];
        for (size_t i = 0; i < param->count; i++) {
            const double g = (double)param->grad[i];
            m[p][i] = (float)(0.9 * (double)m[p][i] + 0.1 * g);
            v[p][i] = (float)(0.999 * (double)v[p][i] + 0.001 * g * g);
            const double mean = (double)m[p][i] / (1 - pow(0.9, t)),
                         square = (double)v[p][i] / (1 - pow(0.999, t));
            param->data[i] = (float)((double)param->data[i] * (1 - 0.002 * 0.01) -
                                     0.002 * mean / (sqrt(square) + 1e-8));
        }
    }
    sella_param_grad_zero(table);
}

static void ten_steps(void **state)
{
    const int threads = sella_threads();
    sella_threads_set(1); // tiny models: threads would mostly wait for each other
    for (size_t i = 0; i < BACKBONE_CASES; i++) {
        fixture f;
        char what[256];
        float z[16], *m[64], *v[64];
        fixture_open(&f, &backbone_cases[i]);
        sella_param_table *table = sella_lora_params(f.lora);
        assert_true(table->count <= 64);
        for (int p = 0; p < table->count; p++) {
            m[p] = calloc(table->param[p].count, sizeof **m);
            v[p] = calloc(table->param[p].count, sizeof **v);
        }
        sella_rows rows;
        sella_tree_batch batch;
        rows_of(&f.ref, false, &rows);
        batch_of(&rows, false, &batch);
        sella_pass *pass = NULL;
        const sella_pass_options options = {
            .max_tokens = batch.T, .backward = true, .train_lora = true};
        CHECK(sella_pass_new(f.backbone, f.lora, &options, &pass, err));
        for (int t = 0; t < STEPS; t++) {
            const float loss = (float)step(&f, pass, &batch, NULL, z, NULL);
            snprintf(what, sizeof what, "%s: loss of step %d", f.which->model, t);
            close_relative(what, &loss, ref_f32(&f.ref, "steps.loss", NULL) + t, 1, TOLERANCE);
            adamw(table, m, v, t + 1);
        }
        for (int p = 0; p < table->count; p++) {
            free(m[p]);
            free(v[p]);
        }
        sella_pass_free(pass);
        sella_tree_batch_release(&batch);
        sella_rows_release(&rows);
        fixture_close(&f);
    }
    sella_threads_set(threads);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base_model),
        cmocka_unit_test(lora_gradients),
        cmocka_unit_test(soft_gradients),
        cmocka_unit_test(ten_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
