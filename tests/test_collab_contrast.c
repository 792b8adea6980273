/* The contrastive loss: torch's values and gradients (tests/ref/din_dump.py), central differences,
 * its cosine form against collab/align.h. */
#include "ref_file.h"

#include <math.h>

#include "base/rng.h"
#include "collab/align.h"
#include "collab/contrast.h"
#include "kernels/gemm.h"

enum { B = 6, W = 8 };

static void test_torch(void **state)
{
    (void)state;
    ref_file ref = ref_open("tests/ref/din.ref");
    const float *a = ref_f32(&ref, "contrast.a", NULL), *b = ref_f32(&ref, "contrast.b", NULL);
    for (int parts = 1; parts <= 4; parts *= 2) {
        char name[32];
        float da[B * W], db[B * W];
        void *scratch = malloc(sella_contrast_scratch(B, W, parts));
        const double loss = sella_contrast_forward_backward(a, b, B, W, parts, .7, da, db, scratch);
        snprintf(name, sizeof name, "contrast.%d.loss", parts);
        assert_true(fabs(loss - ref_number(&ref, name, 0)) < 1e-6);
        snprintf(name, sizeof name, "contrast.%d.da", parts);
        ref_close_to(name, da, ref_f32(&ref, name, NULL), B * W, 1e-6);
        snprintf(name, sizeof name, "contrast.%d.db", parts);
        ref_close_to(name, db, ref_f32(&ref, name, NULL), B * W, 1e-6);
        free(scratch);
    }
    ref_close(&ref);
}

enum { N = 13, WIDE = 12 };

static void draw(float *x, int count, uint64_t from)
{
    const sella_rng rng = {.seed = 4, .stream = SELLA_STREAM_TEST};
    for (int i = 0; i < count; i++) {
        x[i] = (float)sella_rng_normal(&rng, from + (uint64_t)i);
    }
}

/* One part is the cosine: the loss that align.h has in both directions. */
static void test_cosine(void **state)
{
    (void)state;
    const sella_align_config config = {.both = true, .tau = .3};
    float a[N * WIDE], b[N * WIDE], da[N * WIDE], db[N * WIDE], ea[N * WIDE], eb[N * WIDE];
    int own[N];
    draw(a, N * WIDE, 0);
    draw(b, N * WIDE, 1000);
    for (int n = 0; n < N; n++) {
        own[n] = n;
    }
    void *scratch = malloc(sella_contrast_scratch(N, WIDE, 1));
    float *other = malloc(sella_align_scratch(N, N, WIDE) * sizeof *other);
    const double loss = sella_contrast_forward_backward(a, b, N, WIDE, 1, .3, da, db, scratch);
    assert_true(fabs(loss - sella_align_forward_backward(&config, a, b, own, N, N, WIDE, ea, eb,
                                                         other)) < 1e-6);
    ref_close_to("da", da, ea, N * WIDE, 1e-6);
    ref_close_to("db", db, eb, N * WIDE, 1e-6);
    free(scratch);
    free(other);
}

/* Places where another part becomes the largest within the step are kinks: there the two one-sided
 * slopes differ and the place is skipped. */
static void test_differences(void **state)
{
    (void)state;
    float x[2][N * WIDE], d[2][N * WIDE], waste[2][N * WIDE];
    void *scratch = malloc(sella_contrast_scratch(N, WIDE, 4));
    int skipped = 0;
    draw(x[0], N * WIDE, 0);
    draw(x[1], N * WIDE, 1000);
    const double loss =
        sella_contrast_forward_backward(x[0], x[1], N, WIDE, 4, .7, d[0], d[1], scratch);
    for (int side = 0; side < 2; side++) {
        for (int i = 0; i < N * WIDE; i++) {
            const float keep = x[side][i], step = 2e-2f;
            x[side][i] = keep + step;
            const double up = sella_contrast_forward_backward(x[0], x[1], N, WIDE, 4, .7, waste[0],
                                                              waste[1], scratch);
            const double above = (double)x[side][i];
            x[side][i] = keep - step;
            const double down = sella_contrast_forward_backward(x[0], x[1], N, WIDE, 4, .7,
                                                                waste[0], waste[1], scratch);
            const double below = (double)x[side][i];
            x[side][i] = keep;
            const double right = (up - loss) / (above - (double)keep),
                         left = (loss - down) / ((double)keep - below);
            if (fabs(right - left) > 1e-3) {
                skipped++;
            } else if (fabs((up - down) / (above - below) - (double)d[side][i]) > 5e-4) {
                fail_msg("side %d value %d: %g, by differences %g", side, i, (double)d[side][i],
                         (up - down) / (above - below));
            }
        }
    }
    assert_true(skipped < N * WIDE / 4);
    free(scratch);
}

static void test_small(void **state)
{
    (void)state;
    const float a[2] = {3, 4}, zero[2] = {0, 0};
    float da[2], db[2];
    void *scratch = malloc(sella_contrast_scratch(1, 2, 2));
    assert_true(sella_contrast_forward_backward(a, a, 0, 2, 2, .7, da, db, scratch) == 0);
    /* one row: no choice */
    assert_true(fabs(sella_contrast_forward_backward(a, a, 1, 2, 2, .7, da, db, scratch)) < 1e-6);
    sella_contrast_forward_backward(a, zero, 1, 2, 2, .7, da, db, scratch);
    assert_true(isfinite(da[0]) && isfinite(db[0]));
    free(scratch);
}

int main(void)
{
    sella_threads_set(1); // problems are small
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_torch), cmocka_unit_test(test_cosine),
                                       cmocka_unit_test(test_differences),
                                       cmocka_unit_test(test_small)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
