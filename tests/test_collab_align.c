/* Alignment losses against torch (tests/ref/collab_dump.py), against central differences, and the
 * checks of REFERENCE 9.4. */
#include "ref_file.h"

#include <math.h>

#include "base/rng.h"
#include "collab/align.h"

static const char *const loss_name[] = {"infonce", "rince"};
static const char *const negatives_name[] = {"batch", "all", "matched"};

static sella_align_config config_of(int loss, int negatives, bool both)
{
    return (sella_align_config){.loss = (sella_align_loss)loss,
                                .negatives = (sella_align_negatives)negatives,
                                .both = both,
                                .tau = .2,
                                .q = .01,
                                .lambda = .1};
}

static double run(const sella_align_config *config, const float *a, const float *c,
                  const int *positive, int B, int K, int L, float *da, float *dc)
{
    float *scratch = malloc(sella_align_scratch(B, K, L) * sizeof *scratch + 1);
    const double loss =
        sella_align_forward_backward(config, a, c, positive, B, K, L, da, dc, scratch);
    free(scratch);
    return loss;
}

static void test_torch(void **state)
{
    (void)state;
    enum { B = 6, K = 9, L = 10 };
    ref_file ref = ref_open("tests/ref/collab.ref");
    const float *anchor = ref_f32(&ref, "align.anchor", NULL),
                *candidate = ref_f32(&ref, "align.candidate", NULL);
    for (int k = 0; k < 12; k++) {
        const sella_align_config config = config_of(k / 6, k / 2 % 3, k % 2 == 1);
        const bool all = config.negatives == SELLA_NEGATIVES_ALL;
        const int used = all ? K : B;
        const int *positive = ref_i32(&ref, all ? "align.own" : "align.batch", NULL);
        char name[64], part[80];
        float da[B * L], dc[K * L], only[K * L];
        snprintf(name, sizeof name, "align.%s.%s.%d", loss_name[k / 6], negatives_name[k / 2 % 3],
                 k % 2);
        const double loss = run(&config, anchor, candidate, positive, B, used, L, da, dc);
        snprintf(part, sizeof part, "%s.loss", name);
        if (fabs(loss - ref_number(&ref, part, 0)) > 2e-6) {
            fail_msg("%s is %.9g, expected %.9g", part, loss, ref_number(&ref, part, 0));
        }
        snprintf(part, sizeof part, "%s.da", name);
        ref_close_to(part, da, ref_f32(&ref, part, NULL), B * L, 1e-6);
        snprintf(part, sizeof part, "%s.dc", name);
        ref_close_to(part, dc, ref_f32(&ref, part, NULL), (size_t)used * L, 1e-6);
        /* a frozen side */
        assert_true(run(&config, anchor, candidate, positive, B, used, L, NULL, only) == loss);
        assert_memory_equal(only, dc, (size_t)used * L * sizeof *dc);
        assert_true(run(&config, anchor, candidate, positive, B, used, L, only, NULL) == loss);
        assert_memory_equal(only, da, sizeof da);
    }
    ref_close(&ref);
}

static void fill(float *x, size_t n, uint32_t what)
{
    const sella_rng rng = {.seed = 4, .stream = SELLA_STREAM_TEST, .a = what};
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)sella_rng_normal(&rng, i);
    }
}

/* Larger than one block of columns, with repeated positives. */
static void test_differences(void **state)
{
    (void)state;
    enum { B = 7, K = 301, L = 5 };
    static float a[B * L], c[K * L], da[B * L], dc[K * L];
    fill(a, B * L, 1);
    fill(c, K * L, 2);
    static const int own[B] = {0, 256, 300, 17, 17, 255, 3};
    for (int k = 0; k < 12; k++) {
        sella_align_config config = config_of(k / 6, k / 2 % 3, k % 2 == 1);
        const int used = config.negatives == SELLA_NEGATIVES_ALL ? K : B;
        int positive[B];
        config.tau = .7;
        config.q = .3;
        for (int b = 0; b < B; b++) {
            positive[b] = used == K ? own[b] : (b * 3 + 1) % B;
        }
        run(&config, a, c, positive, B, used, L, da, dc);
        for (int side = 0; side < 2; side++) {
            float *x = side == 0 ? a : c;
            const float *dx = side == 0 ? da : dc;
            const int n = side == 0 ? B * L : used * L;
            for (int i = 0; i < n; i += n > 100 ? 41 : 1) {
                const float keep = x[i], step = 4e-3f;
                x[i] = keep + step;
                const double up = run(&config, a, c, positive, B, used, L, NULL, NULL);
                const double width = (double)x[i];
                x[i] = keep - step;
                const double slope = (up - run(&config, a, c, positive, B, used, L, NULL, NULL)) /
                                     (width - (double)x[i]);
                x[i] = keep;
                if (fabs(slope - (double)dx[i]) > 2e-4 * (1 + fabs(slope))) {
                    fail_msg("case %d side %d value %d: %g, by differences %g", k, side, i,
                             (double)dx[i], slope);
                }
            }
        }
    }
}

static void test_uniform_and_limit(void **state)
{
    (void)state;
    enum { B = 13, L = 4 };
    float a[B * L], c[B * L], da[B * L], dc[B * L], other[B * L];
    int positive[B];
    for (int b = 0; b < B; b++) {
        positive[b] = b;
        for (int k = 0; k < L; k++) {
            a[b * L + k] = (float)(k + 1) * (float)(b + 1); /* one direction, any length */
            c[b * L + k] = (float)(k - 2);
        }
    }
    for (int k = 0; k < 4; k++) {
        const sella_align_config config = config_of(0, k / 2 * 2, k % 2 == 1);
        assert_true(fabs(run(&config, a, c, positive, B, B, L, da, dc) - log(B)) < 1e-5);
    }
    fill(a, B * L, 3);
    fill(c, B * L, 4);
    /* RINCE, q -> 0, minus InfoNCE with the positive counted twice: log lambda; the gradients are
     * those of the limit */
    sella_align_config tiny = config_of(1, 0, false), limit = tiny, twice = tiny;
    tiny.q = 1e-9;
    limit.q = 0;
    const double x = run(&tiny, a, c, positive, B, B, L, da, dc),
                 y = run(&limit, a, c, positive, B, B, L, other, NULL);
    assert_true(fabs(x - y) < 1e-6);
    for (int i = 0; i < B * L; i++) {
        assert_true(fabsf(da[i] - other[i]) < 1e-6f);
    }
    twice.q = 0;
    twice.lambda = 1;
    assert_true(fabs(x - run(&twice, a, c, positive, B, B, L, NULL, NULL) - log(.1)) < 1e-6);
    double want = 0; /* counted by hand: K + 1 candidates, the positive twice */
    for (int b = 0; b < B; b++) {
        double sum = 0, own = 0;
        for (int k = 0; k < B; k++) {
            double ab = 0, aa = 0, bb = 0;
            for (int l = 0; l < L; l++) {
                ab += (double)a[b * L + l] * (double)c[k * L + l];
                aa += (double)a[b * L + l] * (double)a[b * L + l];
                bb += (double)c[k * L + l] * (double)c[k * L + l];
            }
            const double m = ab / sqrt(aa * bb) / .2;
            sum += exp(m) * (k == b ? 2 : 1);
            own = k == b ? m : own;
        }
        want += (log(sum) - own) / B;
    }
    assert_true(fabs(x - want - log(.1)) < 1e-5);
}

static void test_edges(void **state)
{
    (void)state;
    float zero[12] = {0}, a[12], da[12], dc[12];
    const int positive[3] = {0, 1, 2};
    const sella_align_config config = config_of(0, 0, true);
    fill(a, 12, 6);
    assert_true(isfinite(run(&config, zero, a, positive, 3, 3, 4, da, dc)));
    for (int i = 0; i < 12; i++) {
        assert_true(isfinite(da[i]) && isfinite(dc[i]));
    }
    assert_true(run(&config, a, a, positive, 0, 3, 4, da, dc) == 0);
    assert_true(dc[0] == 0 && dc[11] == 0);
    assert_true(sella_align_scratch(INT32_MAX, INT32_MAX, INT32_MAX) > (size_t)1 << 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_torch), cmocka_unit_test(test_differences),
        cmocka_unit_test(test_uniform_and_limit), cmocka_unit_test(test_edges)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
