/* backbone_case.h - what the tests of the backbone share: reference cases, rows to batches,
 * relative comparison.
 *
 * Include after <cmocka.h>. Cases are made by tests/ref/backbone_dump.py. */
#ifndef SELLA_TESTS_BACKBONE_CASE_H
#define SELLA_TESTS_BACKBONE_CASE_H

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backbone/pass.h"
#include "base/file.h"
#include "check.h"
#include "kernels/gemm.h"
#include "kernels/loss.h"
#include "ref_file.h"

typedef struct backbone_case {
    const char *model; /* folder or file in tests/ref */
    const char *dump;  /* in tests/ref */
} backbone_case;

static const backbone_case backbone_cases[] = {
    {"tiny_llama", "backbone_tiny_llama.ref"},
    {"backbone_llama3", "backbone_llama3.ref"},
    {"backbone_qwen2", "backbone_qwen2.ref"},
    {"backbone_qwen3", "backbone_qwen3.ref"},
    {"backbone_qwen3_bias", "backbone_qwen3_bias.ref"},
    {"backbone_llama3.gguf", "backbone_llama3.ref"},
    {"backbone_qwen2.gguf", "backbone_qwen2.ref"},
    {"backbone_qwen3.gguf", "backbone_qwen3.ref"},
};
enum { BACKBONE_CASES = sizeof backbone_cases / sizeof *backbone_cases };

static inline char *ref_path(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "tests/ref/%s", name);
    return path;
}

/* Fail unless |x - y| <= tolerance * max |y| for every value. */
static inline void close_relative(const char *what, const float *x, const float *y, size_t n,
                                  double tolerance)
{
    double most = 0, worst = -1;
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)y[i]));
        const double gap = fabs((double)x[i] - (double)y[i]);
        if (!(gap <= worst)) {
            worst = gap;
            at = i;
        }
    }
    if (n > 0 && !(worst <= tolerance * most)) {
        fail_msg("%s: value %zu of %zu is %.9g, expected %.9g (off by %.3g of the largest, allowed "
                 "%.3g)",
                 what, at, n, (double)x[at], (double)y[at], worst / most, tolerance);
    }
}

/* Rows of a dump; with_soft marks the dump's soft places as slots (ref = their number, the slot's
 * kind by turns). */
static inline void rows_of(const ref_file *ref, bool with_soft, sella_rows *rows)
{
    size_t starts, places = 0;
    const int32_t *start = ref_i32(ref, "start", &starts), *token = ref_i32(ref, "token", NULL);
    const int32_t *place = ref_i32(ref, "soft.place", &places);
    const float *label = ref_f32(ref, "label", NULL);
    sella_rows_init(rows);
    for (size_t r = 0; r + 1 < starts; r++) {
        uint8_t slot[64] = {0};
        int32_t reference[SELLA_SLOTS] = {0};
        int kind = 0;
        for (size_t p = 0; with_soft && p < places / 2; p++) {
            if (place[2 * p] == (int32_t)r) {
                kind++;
                slot[place[2 * p + 1]] = (uint8_t)kind;
                reference[kind] = (int32_t)p;
            }
        }
        CHECK(sella_rows_add(rows, token + start[r], slot, start[r + 1] - start[r], reference,
                             (int32_t)r, (int64_t)r, label[r], 1.0f, err));
    }
}

/* One batch of all rows, in order. */
static inline void batch_of(const sella_rows *rows, bool share, sella_tree_batch *batch)
{
    const sella_tree_options options = {.budget = (int)rows->start[rows->count], .share = share};
    int64_t *index = calloc((size_t)rows->count + 1, sizeof *index);
    for (int64_t i = 0; i < rows->count; i++) {
        index[i] = i;
    }
    CHECK(sella_tree_build(rows, index, rows->count, &options, batch, err));
    free(index);
}

/* Soft vectors in the order of the batch from those numbered by ref. */
static inline float *soft_of(const sella_tree_batch *batch, const float *vector, int C)
{
    float *soft = calloc((size_t)batch->M * (size_t)C + 1, sizeof *soft);
    for (int m = 0; m < batch->M; m++) {
        memcpy(soft + (size_t)m * (size_t)C, vector + (size_t)batch->soft_ref_m[m] * (size_t)C,
               (size_t)C * sizeof *soft);
    }
    return soft;
}

/* Mean BCE of sigmoid(hidden . (head[yes] - head[no])): z_n, and danswer [N, C] when not NULL. */
static inline double answers_loss(const sella_backbone *backbone, int32_t yes, int32_t no,
                                  const sella_tree_batch *batch, const float *answer, float *z_n,
                                  float *danswer)
{
    const int C = sella_backbone_shape(backbone)->C, N = batch->N;
    const int32_t ids[2] = {yes, no};
    float *head = calloc(2 * (size_t)C, sizeof *head), *dz = calloc((size_t)N, sizeof *dz);
    CHECK(sella_backbone_head(backbone, ids, 2, head, err));
    for (int n = 0; n < N; n++) {
        double z = 0;
        for (int c = 0; c < C; c++) {
            z += (double)answer[(size_t)n * (size_t)C + (size_t)c] *
                 ((double)head[c] - (double)head[C + c]);
        }
        z_n[n] = (float)z;
    }
    const double loss = sella_bce_forward(dz, z_n, batch->label_n, NULL, N) / N;
    for (int n = 0; danswer && n < N; n++) {
        for (int c = 0; c < C; c++) {
            danswer[(size_t)n * (size_t)C + (size_t)c] = dz[n] / (float)N * (head[c] - head[C + c]);
        }
    }
    free(head);
    free(dz);
    return loss;
}

#endif
