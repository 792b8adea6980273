/* Kernels against PyTorch and transformers (tests/ref/kernels_dump.py). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "kernels/activation.h"
#include "kernels/attention.h"
#include "kernels/loss.h"
#include "kernels/norm.h"
#include "kernels/rope.h"
#include "ref_file.h"

#define DUMP "tests/ref/kernels.ref"

static const float *get(const ref_file *ref, const char *tag, const char *name, size_t *count)
{
    char full[64];
    snprintf(full, sizeof full, "%s.%s", tag, name);
    return ref_f32(ref, full, count);
}

static float *zeros(size_t n)
{
    float *x = calloc(n + 1, sizeof *x);
    assert_non_null(x);
    return x;
}

static void test_rmsnorm(void **state)
{
    (void)state;
    ref_file ref = ref_open(DUMP);
    static const char *const tags[] = {"norm0", "norm1", "norm2"};
    for (size_t i = 0; i < 3; i++) {
        char full[64];
        size_t count, width;
        const float *x = get(&ref, tags[i], "x", &count), *w = get(&ref, tags[i], "w", &width);
        snprintf(full, sizeof full, "%s.eps", tags[i]);
        const int C = (int)width, N = (int)(count / width);
        float *y = zeros(count), *r = zeros((size_t)N), *dx = zeros(count);
        sella_rmsnorm_forward(y, C, r, x, C, w, N, C, (float)ref_number(&ref, full, 0));
        ref_close_to("y", y, get(&ref, tags[i], "y", NULL), count, 2e-6);
        sella_rmsnorm_backward(dx, C, get(&ref, tags[i], "dy", NULL), C, x, C, w, r, N, C);
        ref_close_to("dx", dx, get(&ref, tags[i], "dx", NULL), count, 2e-6);
        free(y);
        free(r);
        free(dx);
    }
    ref_close(&ref);
}

static void test_rope(void **state)
{
    (void)state;
    ref_file ref = ref_open(DUMP);
    static const char *const tags[] = {"rope0", "rope1", "rope2"};
    for (size_t i = 0; i < 3; i++) {
        char full[64];
        size_t count, positions;
        snprintf(full, sizeof full, "%s.setting", tags[i]);
        const double *setting = ref_f64(&ref, full, NULL);
        const int D = (int)setting[0];
        const sella_rope_scaling scaling = {setting[2] != 0, setting[3], setting[4], setting[5],
                                            setting[6]};
        const float *x = get(&ref, tags[i], "x", &count), *inv = get(&ref, tags[i], "inv", NULL);
        snprintf(full, sizeof full, "%s.position", tags[i]);
        const int32_t *position = ref_i32(&ref, full, &positions);
        double *frequency = calloc((size_t)D, sizeof *frequency);
        sella_rope_frequencies(frequency, D, setting[1], &scaling);
        for (int d = 0; d < D / 2; d++) {
            assert_true(fabs(frequency[d] - (double)inv[d]) <= 2e-6 * (double)inv[d]);
        }
        const int half = D / 2, table = 1001, T = (int)positions, H = (int)(count / positions) / D;
        float *cosine = zeros((size_t)(table * half)), *sine = zeros((size_t)(table * half)),
              *y = zeros(count);
        sella_rope_table(cosine, sine, table, D, frequency);
        memcpy(y, x, count * sizeof *y);
        sella_rope_apply(y, H * D, T, H, D, position, cosine, sine, 0);
        /* transformers multiplies angles in f32: up to 1000 * 2^-24 off at position 1000 */
        ref_close_to("rotated", y, get(&ref, tags[i], "y", NULL), count, 1e-4);
        sella_rope_apply(y, H * D, T, H, D, position, cosine, sine, 1);
        ref_close_to("rotated back", y, x, count, 1e-6);
        free(frequency);
        free(cosine);
        free(sine);
        free(y);
    }
    ref_close(&ref);
}

static void test_swiglu(void **state)
{
    (void)state;
    ref_file ref = ref_open(DUMP);
    size_t count;
    const float *gu = get(&ref, "swiglu", "gu", &count);
    const int N = 5, F = (int)(count / 10);
    float *y = zeros(count / 2), *dgu = zeros(count);
    sella_swiglu_forward(y, F, gu, 2 * F, N, F);
    ref_close_to("y", y, get(&ref, "swiglu", "y", NULL), count / 2, 1e-6);
    memcpy(dgu, gu, count * sizeof *dgu); /* in place, as allowed */
    sella_swiglu_backward(dgu, 2 * F, get(&ref, "swiglu", "dy", NULL), F, dgu, 2 * F, N, F);
    ref_close_to("dgu", dgu, get(&ref, "swiglu", "dgu", NULL), count, 1e-6);
    free(y);
    free(dgu);
    ref_close(&ref);
}

static void test_gelu(void **state)
{
    (void)state;
    ref_file ref = ref_open(DUMP);
    size_t count;
    const float *x = get(&ref, "gelu", "x", &count);
    float *y = zeros(count), *dx = zeros(count);
    sella_gelu_forward(y, x, count);
    ref_close_to("y", y, get(&ref, "gelu", "y", NULL), count, 1e-6);
    memcpy(dx, get(&ref, "gelu", "dy", NULL), count * sizeof *dx);
    sella_gelu_backward(dx, dx, x, count);
    ref_close_to("dx", dx, get(&ref, "gelu", "dx", NULL), count, 1e-6);
    free(y);
    free(dx);
    ref_close(&ref);
}

static void test_bce(void **state)
{
    (void)state;
    ref_file ref = ref_open(DUMP);
    size_t count;
    const float *z = get(&ref, "bce", "z", &count), *y = get(&ref, "bce", "y", NULL),
                *weight = get(&ref, "bce", "weight", NULL);
    float *dz = zeros(count);
    const double loss = sella_bce_forward(dz, z, y, weight, (int)count);
    assert_true(fabs(loss - ref_f64(&ref, "bce.loss", NULL)[0]) < 1e-5);
    ref_close_to("dz", dz, get(&ref, "bce", "dz", NULL), count, 1e-6);
    assert_true(sella_bce_forward(NULL, z, y, weight, (int)count) == loss);
    assert_true(isnan(sella_bce_forward(dz, &(float){NAN}, y, NULL, 1)) && isnan(dz[0]));
    free(dz);
    ref_close(&ref);
}

static void test_attention(void **state)
{
    (void)state;
    ref_file ref = ref_open(DUMP);
    static const char *const tags[] = {"att0", "att1"};
    for (size_t i = 0; i < 2; i++) {
        char full[64];
        snprintf(full, sizeof full, "%s.shape", tags[i]);
        const int32_t *dims = ref_i32(&ref, full, NULL);
        sella_attention_shape shape = {
            .T = dims[0], .S = dims[1], .H = dims[2], .G = dims[3], .D = dims[4]};
        shape.scale = 1.0f / sqrtf((float)shape.D);
        snprintf(full, sizeof full, "%s.start", tags[i]);
        shape.start_s = ref_i32(&ref, full, NULL);
        snprintf(full, sizeof full, "%s.parent", tags[i]);
        shape.parent_s = ref_i32(&ref, full, NULL);
        snprintf(full, sizeof full, "%s.subtree", tags[i]);
        shape.subtree_s = ref_i32(&ref, full, NULL);
        const float *q = get(&ref, tags[i], "q", NULL), *k = get(&ref, tags[i], "k", NULL),
                    *v = get(&ref, tags[i], "v", NULL);
        const float *d = get(&ref, tags[i], "do", NULL);
        const int HD = shape.H * shape.D, GD = shape.G * shape.D;
        const size_t wide = (size_t)(shape.T * HD), narrow = (size_t)(shape.T * GD);
        float *o = zeros(wide), *lse = zeros((size_t)(shape.T * shape.H)),
              *scratch = zeros(sella_attention_scratch(&shape));
        float *dq = zeros(wide), *dk = zeros(narrow), *dv = zeros(narrow);
        for (int plain = 0; plain < 2; plain++) {
            if (plain) {
                sella_attention_forward_plain(o, HD, lse, q, HD, k, GD, v, GD, NULL, 0, &shape);
                sella_attention_backward_plain(dq, HD, dk, GD, dv, GD, d, HD, o, HD, lse, q, HD, k,
                                               GD, v, GD, NULL, 0, &shape);
            } else {
                sella_attention_forward(o, HD, lse, q, HD, k, GD, v, GD, NULL, 0, &shape, scratch);
                sella_attention_backward(dq, HD, dk, GD, dv, GD, d, HD, o, HD, lse, q, HD, k, GD, v,
                                         GD, NULL, 0, &shape, scratch);
            }
            ref_close_to("o", o, get(&ref, tags[i], "o", NULL), wide, 2e-6);
            ref_close_to("lse", lse, get(&ref, tags[i], "lse", NULL), (size_t)(shape.T * shape.H),
                         2e-6);
            ref_close_to("dq", dq, get(&ref, tags[i], "dq", NULL), wide, 5e-6);
            ref_close_to("dk", dk, get(&ref, tags[i], "dk", NULL), narrow, 5e-6);
            ref_close_to("dv", dv, get(&ref, tags[i], "dv", NULL), narrow, 5e-6);
        }
        free(o);
        free(lse);
        free(scratch);
        free(dq);
        free(dk);
        free(dv);
    }
    ref_close(&ref);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rmsnorm), cmocka_unit_test(test_rope),
        cmocka_unit_test(test_swiglu),  cmocka_unit_test(test_gelu),
        cmocka_unit_test(test_bce),     cmocka_unit_test(test_attention),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
