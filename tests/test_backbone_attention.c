/* test_backbone_attention.c - attention weights handed out by a pass, against transformers'
 * output_attentions (tests/ref/attention_dump.py: adapters, soft vectors, grouped heads, head
 * norms). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backbone_case.h"

enum { LAYERS_MOST = 3 };
static const double TOLERANCE = 1e-5;

typedef struct subject {
    ref_file ref;
    sella_backbone *backbone;
    sella_lora *lora;
    sella_rows rows;
    sella_tree_batch batch;
    float *soft, *answer;
    int C, H, T, layers;
} subject;

/* The dump's row on the model `name`, its soft places as slots. */
static void subject_open(subject *s, const char *name)
{
    char text[256];
    size_t tokens, places;
    *s = (subject){.ref = ref_open(ref_path("backbone_attention.ref"))};
    CHECK(sella_backbone_open(ref_path(name), NULL, &s->backbone, err));
    snprintf(text, sizeof text, "tests/ref/%s/adapter", name);
    CHECK(sella_lora_load(s->backbone, text, &s->lora, err));
    s->C = sella_backbone_shape(s->backbone)->C;
    s->H = sella_backbone_shape(s->backbone)->H;
    s->layers = sella_backbone_shape(s->backbone)->layers;
    const int32_t *token = ref_i32(&s->ref, "token", &tokens),
                  *place = ref_i32(&s->ref, "place", &places);
    const int32_t ref[SELLA_SLOTS] = {0, 0, 1, 0};
    uint8_t slot[64] = {0};
    for (size_t p = 0; p < places; p++) {
        slot[place[p]] = (uint8_t)(p + 1);
    }
    s->T = (int)tokens;
    sella_rows_init(&s->rows);
    CHECK(sella_rows_add(&s->rows, token, slot, s->T, ref, 0, 0, 0.0f, 1.0f, err));
    batch_of(&s->rows, false, &s->batch);
    snprintf(text, sizeof text, "%s.soft", name);
    s->soft = soft_of(&s->batch, ref_f32(&s->ref, text, NULL), s->C);
    s->answer = calloc((size_t)s->C, sizeof *s->answer);
}

static void subject_close(subject *s)
{
    free(s->soft);
    free(s->answer);
    sella_tree_batch_release(&s->batch);
    sella_rows_release(&s->rows);
    sella_lora_free(s->lora);
    sella_backbone_close(s->backbone);
    ref_close(&s->ref);
}

static sella_pass *subject_pass(const subject *s)
{
    sella_pass *pass = NULL;
    const sella_pass_options options = {.max_tokens = s->T};
    CHECK(sella_pass_new(s->backbone, s->lora, &options, &pass, err));
    return pass;
}

static void equals_transformers(void **state)
{
    static const char *const model[] = {"tiny_llama", "backbone_llama3", "backbone_qwen2",
                                        "backbone_qwen3", "backbone_qwen3_bias"};
    (void)state;
    for (size_t m = 0; m < sizeof model / sizeof *model; m++) {
        subject s;
        char name[256];
        static const int layer[LAYERS_MOST] = {0, 1, 2};
        size_t count;
        subject_open(&s, model[m]);
        assert_true(s.layers <= LAYERS_MOST);
        const size_t square = (size_t)s.T * (size_t)s.T, heads = (size_t)s.H, K = (size_t)s.layers;
        float *mean = malloc(K * square * sizeof *mean),
              *head = malloc(K * heads * square * sizeof *head);
        memset(mean, 0xff, K * square * sizeof *mean); // what is not written shows
        memset(head, 0xff, K * heads * square * sizeof *head);
        const sella_attention_capture capture = {layer, s.layers, mean, head};
        sella_pass *pass = subject_pass(&s);
        sella_pass_capture_into(pass, &capture);
        CHECK(sella_pass_forward(pass, &s.batch, s.soft, 0, -1, s.answer, err));
        snprintf(name, sizeof name, "%s.weight", model[m]);
        const float *expected = ref_f32(&s.ref, name, &count);
        assert_int_equal(count, K * heads * square);
        close_relative(name, head, expected, count, TOLERANCE);
        for (size_t k = 0; k < K; k++) {
            for (size_t at = 0; at < square; at++) {
                double sum = 0;
                for (size_t h = 0; h < heads; h++) {
                    sum += (double)expected[(k * heads + h) * square + at];
                }
                assert_true(fabs((double)mean[k * square + at] - sum / s.H) < TOLERANCE);
                if (at % (size_t)s.T > at / (size_t)s.T) {
                    assert_true(mean[k * square + at] == 0.0f); // nobody looks ahead
                }
            }
            for (int t = 0; t < s.T; t++) {
                double sum = 0;
                for (int j = 0; j <= t; j++) {
                    sum += (double)mean[k * square + (size_t)t * (size_t)s.T + (size_t)j];
                }
                assert_true(fabs(sum - 1) < TOLERANCE);
            }
        }
        free(mean);
        free(head);
        sella_pass_free(pass);
        subject_close(&s);
    }
}

/* One layer alone gives what it gives among all; the answer is the one without looking; and looking
 * can be stopped. */
static void layers_alone(void **state)
{
    subject s;
    (void)state;
    subject_open(&s, "backbone_qwen3_bias");
    const size_t square = (size_t)s.T * (size_t)s.T;
    float *all = calloc(3 * square, sizeof *all), *one = calloc(square, sizeof *one),
          *plain = calloc((size_t)s.C, sizeof *plain);
    static const int every[] = {0, 1, 2}, single[] = {0, 1, 2};
    sella_pass *pass = subject_pass(&s);
    CHECK(sella_pass_forward(pass, &s.batch, s.soft, 0, -1, plain, err));
    const sella_attention_capture whole = {every, 3, all, NULL};
    sella_pass_capture_into(pass, &whole);
    CHECK(sella_pass_forward(pass, &s.batch, s.soft, 0, -1, s.answer, err));
    close_relative("the answer", s.answer, plain, (size_t)s.C, 1e-5);
    for (int l = 0; l < 3; l++) {
        const sella_attention_capture part = {single + l, 1, one, NULL};
        sella_pass_capture_into(pass, &part);
        CHECK(sella_pass_forward(pass, &s.batch, s.soft, 0, -1, s.answer, err));
        close_relative("one layer", one, all + (size_t)l * square, square, 1e-5);
        close_relative("the answer", s.answer, plain, (size_t)s.C, 1e-5);
    }
    sella_pass_capture_into(pass, NULL);
    memset(one, 0, square * sizeof *one);
    CHECK(sella_pass_forward(pass, &s.batch, s.soft, 0, -1, s.answer, err));
    assert_memory_equal(s.answer, plain, (size_t)s.C * sizeof *plain);
    for (size_t i = 0; i < square; i++) {
        assert_true(one[i] == 0.0f);
    }
    free(all);
    free(one);
    free(plain);
    sella_pass_free(pass);
    subject_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_transformers),
        cmocka_unit_test(layers_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
