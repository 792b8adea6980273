/* Ranking figures against scikit-learn and numpy (tests/ref/eval_ranking_dump.py), by hand, and
 * against sorting every candidate, with ties. */
#include "ref_file.h"

#include <math.h>
#include <stdbool.h>

#include "base/rng.h"
#include "eval/ranking.h"

static void near(double x, double y)
{
    if (!(fabs(x - y) <= 1e-12)) {
        fail_msg("%.17g is not %.17g", x, y);
    }
}

static void test_reference(void **state)
{
    (void)state;
    ref_file ref = ref_open("tests/ref/eval_ranking.ref");
    size_t cutoffs, n;
    const int32_t *at = ref_i32(&ref, "cutoffs", &cutoffs);
    for (int c = 0; c < 6; c++) {
        char name[40];
        sella_ranking ranking;
        sella_err err = {0};
        snprintf(name, sizeof name, "%d.score", c);
        const double *score = ref_f64(&ref, name, &n);
        snprintf(name, sizeof name, "%d.relevant", c);
        const uint8_t *relevant = ref_u8(&ref, name, NULL);
        snprintf(name, sizeof name, "%d.figures", c);
        const double *want = ref_f64(&ref, name, NULL);
        assert_int_equal(sella_ranking_init(&ranking, at, (int)cutoffs, &err), SELLA_OK);
        assert_int_equal(sella_ranking_case(&ranking, score, relevant, (int64_t)n, &err), SELLA_OK);
        for (int k = 0; k < (int)cutoffs; k++) {
            const sella_ranking_figures f = sella_ranking_mean(&ranking, k);
            near(f.ndcg, want[4 * k]);
            near(f.recall, want[4 * k + 1]);
            near(f.mrr, want[4 * k + 2]);
            near(f.hit_rate, want[4 * k + 3]);
        }
    }
    ref_close(&ref);
}

/* Places 2 and 4 of five: a tie at the top goes to the candidate that is not relevant. */
static void test_by_hand(void **state)
{
    (void)state;
    static const double score[] = {.5, .9, .9, .1, .5};
    static const uint8_t relevant[] = {1, 1, 0, 0, 0};
    static const int at[] = {1, 2, 3, 5};
    const double log3 = 1 / log2(3), log5 = 1 / log2(5);
    sella_ranking ranking;
    sella_err err = {0};
    assert_int_equal(sella_ranking_init(&ranking, at, 4, &err), SELLA_OK);
    assert_true(isnan(sella_ranking_mean(&ranking, 0).ndcg));
    assert_int_equal(sella_ranking_case(&ranking, score, relevant, 5, &err), SELLA_OK);
    sella_ranking_figures f = sella_ranking_mean(&ranking, 0);
    near(f.ndcg, 0), near(f.recall, 0), near(f.mrr, 0), near(f.hit_rate, 0);
    f = sella_ranking_mean(&ranking, 1);
    near(f.ndcg, log3 / (1 + log3)), near(f.recall, .5), near(f.mrr, .5), near(f.hit_rate, 1);
    f = sella_ranking_mean(&ranking, 2);
    near(f.recall, .5);
    f = sella_ranking_mean(&ranking, 3);
    near(f.ndcg, (log3 + log5) / (1 + log3)), near(f.recall, 1), near(f.mrr, .5);
    // the mean over two cases; the second is perfect
    static const double second[] = {2, 1};
    static const uint8_t best[] = {1, 0};
    assert_int_equal(sella_ranking_case(&ranking, second, best, 2, &err), SELLA_OK);
    f = sella_ranking_mean(&ranking, 0);
    near(f.ndcg, .5), near(f.recall, .5), near(f.mrr, .5), near(f.hit_rate, .5);
    assert_int_equal(ranking.cases, 2);
    assert_int_equal(ranking.relevant, 3);
    assert_int_equal(ranking.candidates, 7);
}

/* By definition: sort all candidates, irrelevant first among equals. */
static void brute(const double *score, const uint8_t *relevant, int n, int k, double out[4])
{
    int order[64], R = 0, found = 0, first = 0;
    double gain = 0, ideal = 0;
    for (int i = 0; i < n; i++) {
        int j = i;
        for (; j > 0; j--) {
            const int before = order[j - 1];
            const bool stays = score[before] > score[i] ||
                               (score[before] == score[i] && relevant[before] <= relevant[i]);
            if (stays) {
                break;
            }
            order[j] = before;
        }
        order[j] = i;
        R += relevant[i];
    }
    for (int p = 1; p <= n && p <= k; p++) {
        if (relevant[order[p - 1]]) {
            gain += 1 / log2(p + 1);
            found++;
            first = first == 0 ? p : first;
        }
        ideal += p <= R ? 1 / log2(p + 1) : 0;
    }
    out[0] = gain / ideal;
    out[1] = (double)found / R;
    out[2] = first > 0 ? 1.0 / first : 0;
    out[3] = found > 0;
}

static void test_brute_force(void **state)
{
    (void)state;
    static const int at[] = {1, 3, 10, 100};
    for (uint32_t trial = 0; trial < 400; trial++) {
        const sella_rng rng = {11, SELLA_STREAM_TEST, trial, 0};
        const int n = 1 + (int)sella_rng_below(&rng, 0, 60);
        const uint64_t levels = 1 + sella_rng_below(&rng, 1, 12),
                       share = 1 + sella_rng_below(&rng, 2, 8);
        double score[64], want[4];
        uint8_t relevant[64];
        for (int i = 0; i < n; i++) {
            score[i] = (double)sella_rng_below(&rng, 10 + (uint64_t)i, levels) - 3.5;
            relevant[i] = sella_rng_below(&rng, 100 + (uint64_t)i, share) == 0;
        }
        relevant[sella_rng_below(&rng, 3, (uint64_t)n)] = 1;
        sella_ranking ranking;
        sella_err err = {0};
        assert_int_equal(sella_ranking_init(&ranking, at, 4, &err), SELLA_OK);
        assert_int_equal(sella_ranking_case(&ranking, score, relevant, n, &err), SELLA_OK);
        for (int c = 0; c < 4; c++) {
            const sella_ranking_figures f = sella_ranking_mean(&ranking, c);
            brute(score, relevant, n, at[c], want);
            near(f.ndcg, want[0]), near(f.recall, want[1]), near(f.mrr, want[2]),
                near(f.hit_rate, want[3]);
        }
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const int at[] = {1, 0};
    static const double score[] = {1, NAN};
    static const uint8_t relevant[] = {1, 0}, none[] = {0, 0};
    sella_ranking ranking;
    sella_err err = {0};
    assert_int_equal(sella_ranking_init(&ranking, at, 2, &err), SELLA_ARG);
    assert_int_equal(sella_ranking_init(&ranking, at, 0, &err), SELLA_ARG);
    assert_int_equal(sella_ranking_init(&ranking, at, SELLA_CUTOFFS_MAX + 1, &err), SELLA_ARG);
    assert_int_equal(sella_ranking_init(&ranking, at, 1, &err), SELLA_OK);
    assert_int_equal(sella_ranking_case(&ranking, score, relevant, 2, &err), SELLA_DIVERGED);
    assert_int_equal(sella_ranking_case(&ranking, score, none, 1, &err), SELLA_ARG);
    assert_int_equal(ranking.cases, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference), cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_brute_force), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
