/* test_backbone_smollm2.c - the real SmolLM2 GGUF against transformers' reading of the same file
 * (tests/ref/backbone_smollm2_dump.py). Skipped when neither SELLA_MODEL nor models/ has the
 * file. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backbone_case.h"

static const char *model_path(void)
{
    static const char *const places[] = {"models/SmolLM2-135M-Instruct.Q4_1.gguf",
                                         "models/smollm2-135m-instruct.Q4_1.gguf"};
    const char *path = getenv("SELLA_MODEL");
    for (int i = 0; (path == NULL || !sella_path_exists(path)) && i < 2; i++) {
        path = places[i];
    }
    return sella_path_exists(path) && !sella_path_is_dir(path) ? path : NULL;
}

static void logits(void **state)
{
    const char *path = model_path();
    if (path == NULL || strstr(path, "SmolLM2-135M-Instruct.Q4_1") == NULL) {
        skip();
    }
    ref_file ref = ref_open(ref_path("backbone_smollm2.ref"));
    size_t n, C, top;
    const int32_t *token = ref_i32(&ref, "token", &n), *id = ref_i32(&ref, "top.id", &top);
    const float *hidden = ref_f32(&ref, "hidden", &C), *value = ref_f32(&ref, "top.logit", NULL);
    sella_backbone *backbone = NULL;
    CHECK(sella_backbone_open(path, NULL, &backbone, err));
    const sella_backbone_config *shape = sella_backbone_shape(backbone);
    assert_int_equal(shape->C, C);
    assert_int_equal(shape->layers, 30);
    assert_int_equal(shape->V, 49152);
    assert_true(shape->tied && !shape->qkv_bias && shape->H == 9 && shape->G == 3 &&
                shape->D == 64 && shape->F == 1536);
    sella_rows rows;
    sella_tree_batch batch;
    sella_rows_init(&rows);
    CHECK(sella_rows_add(&rows, token, NULL, (int)n, NULL, 0, 0, 1, 1, err));
    batch_of(&rows, false, &batch);
    sella_pass *pass = NULL;
    CHECK(sella_pass_new(backbone, NULL, &(sella_pass_options){.max_tokens = (int)n}, &pass, err));
    float *answer = calloc(C, sizeof *answer), *logit = calloc((size_t)shape->V, sizeof *logit),
          *best = calloc(top, sizeof *best);
    CHECK(sella_pass_forward(pass, &batch, NULL, 0, -1, answer, err));
    close_relative("hidden", answer, hidden, C, 1e-4);
    CHECK(sella_backbone_logits(backbone, answer, logit, err));
    for (size_t i = 0; i < top; i++) {
        best[i] = logit[id[i]];
    }
    close_relative("top logits", best, value, top, 1e-4);
    for (int v = 0; v < shape->V; v++) { // no other logit is above the twentieth
        bool listed = false;
        for (size_t i = 0; i < top; i++) {
            listed = listed || id[i] == v;
        }
        assert_true(listed || logit[v] <= value[top - 1] + 1e-3f);
    }
    free(answer);
    free(logit);
    free(best);
    sella_pass_free(pass);
    sella_tree_batch_release(&batch);
    sella_rows_release(&rows);
    sella_backbone_close(backbone);
    ref_close(&ref);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(logits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
