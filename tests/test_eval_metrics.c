/* Figures against scikit-learn (tests/ref/eval_metrics_dump.py) and against counting all pairs; the
 * bootstrap against copied rows. */
#include "ref_file.h"

#include <math.h>
#include <omp.h>

#include "base/json.h"
#include "base/rng.h"
#include "eval/metrics.h"

static void near(double x, double y)
{
    if (!(fabs(x - y) <= 1e-12)) {
        fail_msg("%.17g is not %.17g", x, y);
    }
}

static void test_scikit_learn(void **state)
{
    (void)state;
    static const char *const names[] = {"ties", "fine", "few"};
    ref_file ref = ref_open("tests/ref/eval_metrics.ref");
    for (int k = 0; k < 3; k++) {
        char name[40];
        size_t n;
        snprintf(name, sizeof name, "%s.user", names[k]);
        const int32_t *user = ref_i32(&ref, name, &n);
        snprintf(name, sizeof name, "%s.label", names[k]);
        const uint8_t *label = ref_u8(&ref, name, NULL);
        snprintf(name, sizeof name, "%s.score", names[k]);
        const double *score = ref_f64(&ref, name, NULL);
        snprintf(name, sizeof name, "%s.mask", names[k]);
        const uint8_t *subset = ref_u8(&ref, name, NULL);
        for (int part = 0; part < 2; part++) {
            sella_figures f;
            snprintf(name, sizeof name, "%s.%s", names[k], part == 0 ? "all" : "subset");
            const double *want = ref_f64(&ref, name, NULL);
            assert_int_equal(sella_figures_compute(user, label, score, part == 0 ? NULL : subset,
                                                   (int64_t)n, &f, NULL),
                             SELLA_OK);
            assert_int_equal(f.rows, (int64_t)want[0]);
            near(f.auc, want[1]);
            near(f.uauc, want[2]);
            assert_int_equal(f.uauc_users, (int64_t)want[3]);
            assert_int_equal(f.uauc_skipped, (int64_t)want[4]);
            near(f.logloss, want[5]);
            if (part == 0) {
                near(sella_auc(score, label, (int64_t)n, NULL), want[1]);
            }
        }
    }
    ref_close(&ref);
}

/* By definition: the share of pairs in the right order. */
static double brute_auc(const double *score, const uint8_t *label, const int32_t *user,
                        int32_t only, int n)
{
    double right = 0, pairs = 0;
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++) {
            if (label[i] == 1 && label[j] == 0 &&
                (only < 0 || (user[i] == only && user[j] == only))) {
                right += score[i] > score[j] ? 1 : score[i] == score[j] ? .5 : 0;
                pairs++;
            }
        }
    }
    return pairs > 0 ? right / pairs : NAN;
}

static int draw(int round, int index, int below)
{
    const sella_rng rng = {.seed = 21, .stream = SELLA_STREAM_TEST, .a = (uint32_t)round};
    return (int)sella_rng_below(&rng, (uint64_t)index, (uint64_t)below);
}

static void test_brute_force(void **state)
{
    (void)state;
    for (int round = 0; round < 200; round++) {
        enum { N_MAX = 60, U = 7 };
        const int n = draw(round, 9999, N_MAX);
        int32_t user[N_MAX];
        uint8_t label[N_MAX];
        double score[N_MAX], sum = 0;
        int used = 0, seen = 0;
        sella_figures f;
        for (int i = 0; i < n; i++) {
            user[i] = draw(round, 3 * i, U);
            label[i] = (uint8_t)(draw(round, 3 * i + 1, 3) == 0);
            score[i] = draw(round, 3 * i + 2, 6) / 5.0;
        }
        for (int32_t u = 0; u < U; u++) {
            const double auc = brute_auc(score, label, user, u, n);
            int rows = 0;
            for (int i = 0; i < n; i++) {
                rows += user[i] == u;
            }
            seen += rows > 0;
            if (!isnan(auc)) {
                sum += auc;
                used++;
            }
        }
        assert_int_equal(sella_figures_compute(user, label, score, NULL, n, &f, NULL), SELLA_OK);
        const double auc = brute_auc(score, label, user, -1, n);
        assert_true(isnan(auc) ? isnan(f.auc) : fabs(f.auc - auc) < 1e-14);
        assert_true(used == 0 ? isnan(f.uauc) : fabs(f.uauc - sum / used) < 1e-14);
        assert_int_equal(f.uauc_users, used);
        assert_int_equal(f.uauc_skipped, seen - used);
    }
}

static void test_edges(void **state)
{
    (void)state;
    const int32_t user[] = {INT32_MIN, INT32_MAX, INT32_MIN, INT32_MAX};
    const uint8_t ones[] = {1, 1, 1, 1}, mixed[] = {0, 1, 1, 0}, wrong[] = {0, 1, 2, 0},
                  none[4] = {0};
    const double score[] = {.1, .2, .3, .4}, bad[] = {.1, NAN, .3, .4}, logits[] = {-1, 0, 2, 1},
                 certain[] = {0, 1, 1, 0};
    sella_figures f;
    sella_err err = {0};
    assert_int_equal(sella_figures_compute(user, ones, score, NULL, 4, &f, NULL), SELLA_OK);
    assert_true(isnan(f.auc) && isnan(f.uauc) && f.uauc_users == 0 && f.uauc_skipped == 2 &&
                f.rows == 4 && f.logloss > 0);
    assert_true(isnan(sella_auc(score, ones, 4, NULL)));
    assert_int_equal(sella_figures_compute(user, mixed, score, none, 4, &f, NULL), SELLA_OK);
    assert_true(f.rows == 0 && isnan(f.auc) && isnan(f.logloss) && f.uauc_skipped == 0);
    assert_int_equal(sella_figures_compute(user, mixed, score, NULL, 0, &f, NULL), SELLA_OK);
    assert_int_equal(sella_figures_compute(user, mixed, bad, NULL, 4, &f, &err), SELLA_DIVERGED);
    assert_non_null(strstr(err.text, "row 2"));
    assert_true(isnan(sella_auc(bad, mixed, 4, NULL)));
    assert_int_equal(sella_figures_compute(user, wrong, score, NULL, 4, &f, &err), SELLA_ARG);
    assert_int_equal(sella_figures_compute(user, mixed, logits, NULL, 4, &f, NULL), SELLA_OK);
    /* no probabilities: ranks only; users 1 and 0 */
    assert_true(isnan(f.logloss) && f.auc == .75 && f.uauc == .5);
    assert_int_equal(sella_figures_compute(user, mixed, certain, NULL, 4, &f, NULL), SELLA_OK);
    assert_true(f.logloss >= 0 && f.logloss < 2e-15);
}

static void test_json(void **state)
{
    (void)state;
    const int32_t user[] = {1, 1, 2, 2};
    const uint8_t label[] = {0, 1, 1, 1}, warm[] = {1, 1, 0, 0};
    const double score[] = {.25, .75, .5, .5};
    json_t *object = NULL;
    assert_int_equal(
        sella_figures_json("mf", "ml", "valid", user, label, score, warm, 4, &object, NULL),
        SELLA_OK);
    char *line = sella_json_line(object);
    const double loss = (-log(.75) * 2 - log(.5) * 2) / 4;
    char want[600];
    snprintf(want, sizeof want,
             "{\"method\":\"mf\",\"dataset\":\"ml\",\"split\":\"valid\",\"rows\":4,\"auc\":1.0,"
             "\"uauc\":1.0,\"uauc_users\":1,\"uauc_skipped_users\":1,\"logloss\":%.17g,\"subsets\":"
             "{\"warm\":{\"rows\":2,\"auc\":1.0,\"uauc\":1.0,\"uauc_users\":1},\"cold\":{\"rows\":"
             "2,\"auc\":null,\"uauc\":null,\"uauc_users\":0}}}",
             loss);
    assert_string_equal(line, want);
    free(line);
    json_decref(object);
    assert_int_equal(
        sella_figures_json("mf", "ml", "valid", user, label, score, NULL, 4, &object, NULL),
        SELLA_OK);
    assert_int_equal(json_object_size(json_object_get(object, "subsets")), 0);
    json_decref(object);
}

/* ---- bootstrap ---- */

enum { N = 300, U = 23, DRAWS = 40 };

static void rows_draw(int32_t *user, uint8_t *label, double *a, double *b)
{
    for (int i = 0; i < N; i++) {
        user[i] = draw(1000, 4 * i, U) * 7 - 20;
        label[i] = (uint8_t)(draw(1000, 4 * i + 1, 2));
        a[i] = (draw(1000, 4 * i + 2, 20) + 3 * label[i]) / 30.0;
        b[i] = (draw(1000, 4 * i + 3, 20) + label[i]) / 30.0;
    }
}

static int compare_double(const void *x, const void *y)
{
    const double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

/* Resample by copying the rows of every drawn user under a new code, figures by the functions
 * tested above. */
static void copied_draw(const int32_t *user, const uint8_t *label, const double *score, int d,
                        sella_figures *f)
{
    const sella_rng rng = {.seed = 5, .stream = SELLA_STREAM_BOOTSTRAP, .a = (uint32_t)d};
    int32_t codes[U], *u = malloc(U * N * sizeof *u);
    uint8_t *y = malloc(U * N);
    double *s = malloc(U * N * sizeof *s);
    int n = 0, users = 0;
    for (int k = 0; k < U; k++) {
        codes[k] = k * 7 - 20;
    }
    for (int k = 0; k < U; k++) {
        const int32_t who = codes[sella_rng_below(&rng, (uint64_t)k, U)];
        for (int i = 0; i < N; i++) {
            if (user[i] == who) {
                u[n] = users;
                y[n] = label[i];
                s[n++] = score[i];
            }
        }
        users++;
    }
    assert_int_equal(sella_figures_compute(u, y, s, NULL, n, f, NULL), SELLA_OK);
    free(u);
    free(y);
    free(s);
}

static void check_interval(const sella_interval *got, double *value)
{
    qsort(value, DRAWS, sizeof *value, compare_double);
    const double low = .025 * (DRAWS - 1), high = .975 * (DRAWS - 1);
    near(got->low, value[(int)low] + (low - floor(low)) * (value[(int)low + 1] - value[(int)low]));
    near(got->high,
         value[(int)high] + (high - floor(high)) * (value[(int)high + 1] - value[(int)high]));
}

static void test_bootstrap(void **state)
{
    (void)state;
    int32_t user[N];
    uint8_t label[N];
    double a[N], b[N], auc[DRAWS], uauc[DRAWS], auc_diff[DRAWS], uauc_diff[DRAWS];
    sella_interval auc_ci, uauc_ci;
    sella_comparison c, again;
    rows_draw(user, label, a, b);
    for (int d = 0; d < DRAWS; d++) {
        sella_figures fa, fb;
        copied_draw(user, label, a, d, &fa);
        copied_draw(user, label, b, d, &fb);
        auc[d] = fa.auc;
        uauc[d] = fa.uauc;
        auc_diff[d] = fa.auc - fb.auc;
        uauc_diff[d] = fa.uauc - fb.uauc;
    }
    assert_int_equal(sella_bootstrap(user, label, a, N, DRAWS, 5, &auc_ci, &uauc_ci, NULL),
                     SELLA_OK);
    check_interval(&auc_ci, auc);
    check_interval(&uauc_ci, uauc);
    assert_int_equal(sella_bootstrap_paired(user, label, a, b, N, DRAWS, 5, &c, NULL), SELLA_OK);
    check_interval(&c.auc_ci, auc_diff);
    check_interval(&c.uauc_ci, uauc_diff);
    assert_int_equal(c.rows, N);
    assert_int_equal(c.users, U);
    near(c.auc_a, sella_auc(a, label, N, NULL));
    near(c.auc_diff, sella_auc(a, label, N, NULL) - sella_auc(b, label, N, NULL));
    const int threads = omp_get_max_threads();
    omp_set_num_threads(3);
    assert_int_equal(sella_bootstrap_paired(user, label, a, b, N, DRAWS, 5, &again, NULL),
                     SELLA_OK);
    omp_set_num_threads(threads);
    assert_memory_equal(&c, &again, offsetof(sella_comparison, draws));
    assert_int_equal(sella_bootstrap_paired(user, label, a, a, N, DRAWS, 5, &again, NULL),
                     SELLA_OK);
    assert_true(again.auc_ci.low == 0 && again.auc_ci.high == 0 && again.uauc_diff == 0);
    assert_int_equal(sella_bootstrap(user, label, a, N, 0, 5, &auc_ci, &uauc_ci, NULL), SELLA_ARG);
    memset(label, 1, sizeof label);
    assert_int_equal(sella_bootstrap(user, label, a, N, DRAWS, 5, &auc_ci, &uauc_ci, NULL),
                     SELLA_OK);
    assert_true(isnan(auc_ci.low) && isnan(auc_ci.high) && isnan(uauc_ci.low));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_scikit_learn),
                                       cmocka_unit_test(test_brute_force),
                                       cmocka_unit_test(test_edges), cmocka_unit_test(test_json),
                                       cmocka_unit_test(test_bootstrap)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
