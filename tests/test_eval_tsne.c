/* t-SNE: similarities against scikit-learn's, gradient against central differences, the tree
 * against all pairs, divergence reached against scikit-learn's. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "base/rng.h"
#include "eval/pca.h"
#include "eval/tsne.h"
#include "eval/tsne_tree.h"
#include "kernels/fast.h"
#include "kernels/gemm.h"
#include "kernels/repulsion.h"
#include "ref_file.h"

enum { POINTS = 150, WIDTH = 6 };

static const sella_rng rng = {.seed = 8, .stream = SELLA_STREAM_TEST};

static void normal(float *x, size_t n, double scale)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)(scale * sella_rng_normal(&rng, i));
    }
}

/* p_ij, 0 when it is not stored. */
static double entry(const sella_affinity *p, int i, int j)
{
    for (int64_t e = p->start[i]; e < p->start[i + 1]; e++) {
        if (p->index[e] == j) {
            return (double)p->p[e];
        }
    }
    return 0;
}

static void affinity_is_scikit_learns(void **state)
{
    (void)state;
    ref_file file = ref_open("tests/ref/eval_tsne.ref");
    const float *x = ref_f32(&file, "x", NULL);
    const double *want = ref_data(&file, "p", REF_F64, NULL); /* condensed, sum 1/2 */
    sella_affinity p;
    assert_int_equal(sella_affinity_fill(x, POINTS, WIDTH, POINTS - 1, 15, &p, NULL), SELLA_OK);
    double sum = 0;
    for (int i = 0, at = 0; i < POINTS; i++) {
        assert_true(entry(&p, i, i) == 0);
        for (int j = i + 1; j < POINTS; j++, at++) {
            const double got = entry(&p, i, j);
            if (!(fabs(got - want[at]) <= 1e-4 * want[at] + 1e-10) || got != entry(&p, j, i)) {
                fail_msg("p of %d and %d is %.9g, expected %.9g", i, j, got, want[at]);
            }
            sum += 2 * got;
        }
    }
    assert_true(fabs(sum - 1) < 1e-5);
    sella_affinity_release(&p);
    ref_close(&file);
}

/* With few neighbours: those that a plain search finds, or that name the point. */
static void neighbours_are_the_nearest(void **state)
{
    (void)state;
    enum { N = 61, C = 3, NEAR = 7 };
    float x[N * C];
    bool near[N][N] = {{false}};
    normal(x, N * C, 1);
    for (int i = 0; i < N; i++) {
        double distance[N];
        for (int j = 0; j < N; j++) {
            distance[j] = 0;
            for (int c = 0; c < C; c++) {
                distance[j] += pow((double)x[i * C + c] - (double)x[j * C + c], 2);
            }
        }
        for (int k = 0; k < NEAR; k++) {
            int best = -1;
            for (int j = 0; j < N; j++) {
                if (j != i && !near[i][j] && (best < 0 || distance[j] < distance[best])) {
                    best = j;
                }
            }
            near[i][best] = true;
        }
    }
    sella_affinity p;
    assert_int_equal(sella_affinity_fill(x, N, C, NEAR, 3, &p, NULL), SELLA_OK);
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++) {
            bool stored = false;
            for (int64_t e = p.start[i]; e < p.start[i + 1]; e++) {
                stored |= p.index[e] == j;
                assert_true(e == p.start[i] || p.index[e] > p.index[e - 1]);
            }
            assert_int_equal(stored, near[i][j] || near[j][i]);
        }
    }
    sella_affinity_release(&p);
}

/* KL(p || q) with all sums written out. */
static double brute_divergence(const sella_affinity *p, const float *x, const float *y)
{
    double Z = 0, sum = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < p->N; i++) {
            for (int j = 0; j < p->N; j++) {
                const double dx = (double)x[i] - (double)x[j], dy = (double)y[i] - (double)y[j];
                const double w = 1 / (1 + dx * dx + dy * dy), pij = entry(p, i, j);
                if (i != j && pass == 0) {
                    Z += w;
                } else if (i != j && pij > 0) {
                    sum += pij * log(pij / (w / Z));
                }
            }
        }
    }
    return sum;
}

static void gradient_is_the_slope(void **state)
{
    (void)state;
    enum { N = 37, C = 4 };
    float x[N * C], y[2 * N], g[2 * N];
    double Z, scratch[N];
    sella_affinity p;
    sella_tsne_field *field;
    normal(x, N * C, 1);
    normal(y, 2 * N, 2);
    assert_int_equal(sella_affinity_fill(x, N, C, N - 1, 8, &p, NULL), SELLA_OK);
    assert_int_equal(sella_tsne_field_new(N, 0, &field, NULL), SELLA_OK);
    assert_int_equal(sella_tsne_gradient(field, &p, 1, y, y + N, g, g + N, &Z, NULL), SELLA_OK);
    const double here = brute_divergence(&p, y, y + N);
    assert_true(fabs(sella_tsne_divergence(&p, y, y + N, Z, scratch) - here) < 1e-6 * here);
    for (int i = 0; i < 2 * N; i++) {
        const float kept = y[i], h = 1.0f / 256;
        y[i] = kept + h;
        const double up = brute_divergence(&p, y, y + N);
        y[i] = kept - h;
        const double down = brute_divergence(&p, y, y + N);
        y[i] = kept;
        const double slope = (up - down) / (2 * (double)h);
        if (!(fabs((double)g[i] - slope) < 2e-3 * fabs(slope) + 2e-6)) {
            fail_msg("gradient %d is %.7g, expected %.7g", i, (double)g[i], slope);
        }
    }
    sella_tsne_field_free(field);
    sella_affinity_release(&p);
}

/* Every level of CPU, ranges that end inside a vector or overlap. */
static void repulsion_is_the_plain_one(void **state)
{
    (void)state;
    enum { N = 157, RANGES = 6 };
    static const int range[RANGES][4] = {{0, N, 0, N},     {0, 64, 64, N},   {3, 20, 9, 77},
                                         {64, 128, 64, 128}, {5, 6, 5, 6}, {100, 157, 149, 157}};
    float x[N], y[N], want[2 * N], got[2 * N];
    normal(x, N, 3);
    normal(y, N, 5);
    for (int level = 1; level < SELLA_FAST_LEVELS; level++) {
        const sella_fast *fast = sella_fast_level(level);
        for (int r = 0; fast && r < RANGES; r++) {
            memset(want, 0, sizeof want);
            memset(got, 0, sizeof got);
            const sella_plane a = {x, y, want, want + N}, b = {x, y, got, got + N};
            const double z =
                sella_repulsion_plain(&a, range[r][0], range[r][1], range[r][2], range[r][3]);
            const double fz =
                fast->repulsion(&b, range[r][0], range[r][1], range[r][2], range[r][3]);
            assert_true(fabs(z - fz) <= 1e-5 * z);
            for (int i = 0; i < 2 * N; i++) {
                if (!(fabsf(want[i] - got[i]) <= 1e-4f * (0.01f + fabsf(want[i])))) {
                    fail_msg("%s, range %d: force %d is %.7g, expected %.7g", fast->name, r, i,
                             (double)got[i], (double)want[i]);
                }
            }
        }
    }
}

static void tree_against_all_pairs(void **state)
{
    (void)state;
    enum { N = 700 };
    static float x[N], y[N], fx[N], fy[N], tx[N], ty[N];
    normal(x, N, 10);
    normal(y, N, 20);
    x[1] = x[0]; /* the same place twice */
    y[1] = y[0];
    const sella_plane plane = {x, y, fx, fy};
    memset(fx, 0, sizeof fx);
    memset(fy, 0, sizeof fy);
    const double want = 2 * sella_repulsion_plain(&plane, 0, N, 0, N);
    sella_tsne_tree *tree;
    assert_int_equal(sella_tsne_tree_new(N, &tree, NULL), SELLA_OK);
    static const struct {
        double theta, sum, force;
    } most[] = {{0, 1e-5, 1e-4},
                {0.5, 0.02, 0.05}}; /* relative errors of Z, and of the forces' lengths */
    for (int k = 0; k < 2; k++) {
        double Z, off = 0, all = 0;
        assert_int_equal(sella_tsne_tree_forces(tree, x, y, most[k].theta, tx, ty, &Z, NULL),
                         SELLA_OK);
        for (int i = 0; i < N; i++) {
            off += pow((double)fx[i] - (double)tx[i], 2) + pow((double)fy[i] - (double)ty[i], 2);
            all += pow((double)fx[i], 2) + pow((double)fy[i], 2);
        }
        if (!(fabs(Z - want) < most[k].sum * want) || !(sqrt(off / all) < most[k].force)) {
            fail_msg("theta %g: sum off by %g, forces by %g", most[k].theta, Z / want - 1,
                     sqrt(off / all));
        }
    }
    sella_tsne_tree_free(tree);
}

static void reaches_scikit_learns_divergence(void **state)
{
    (void)state;
    ref_file file = ref_open("tests/ref/eval_tsne.ref");
    const float *x = ref_f32(&file, "x", NULL);
    const double want = *(const double *)ref_data(&file, "kl", REF_F64, NULL);
    const sella_tsne_options exact = {.perplexity = 15, .neighbours = POINTS - 1};
    const sella_tsne_options tree = {
        .perplexity = 15, .neighbours = POINTS - 1, .method = SELLA_TSNE_TREE};
    float y[2 * POINTS], again[2 * POINTS];
    double kl, kl_again, kl_tree;
    assert_int_equal(sella_tsne(x, POINTS, WIDTH, &exact, y, &kl, NULL, NULL), SELLA_OK);
    if (!(fabs(kl - want) < 0.02 * want)) {
        fail_msg("KL is %.6f, scikit-learn's is %.6f", kl, want);
    }
    const sella_tsne_options short_one = {
        .perplexity = 15, .iterations = 60, .random = true, .seed = 3};
    assert_int_equal(sella_tsne(x, POINTS, WIDTH, &short_one, y, &kl_again, NULL, NULL), SELLA_OK);
    assert_int_equal(sella_tsne(x, POINTS, WIDTH, &short_one, again, &kl_again, NULL, NULL),
                     SELLA_OK);
    assert_memory_equal(y, again, sizeof y);
    assert_int_equal(sella_tsne(x, POINTS, WIDTH, &tree, again, &kl_tree, NULL, NULL), SELLA_OK);
    /* another local minimum, of much the same depth */
    assert_true(fabs(kl_tree - want) < 0.1 * want);
    ref_close(&file);
}

/* Points on a line in space, stretched threefold along it. */
static void principal_components(void **state)
{
    (void)state;
    enum { N = 200, C = 3 };
    float x[N * C], y[2 * N];
    for (int i = 0; i < N; i++) {
        const float a = 3 * (float)sella_rng_normal(&rng, (size_t)i),
                    b = (float)sella_rng_normal(&rng, (size_t)(N + i));
        x[i * C] = 7 + 0.6f * a - 0.8f * b;
        x[i * C + 1] = 0.8f * a + 0.6f * b;
        x[i * C + 2] = 5;
        y[2 * i] = a;
        y[2 * i + 1] = b;
    }
    float got[2 * N];
    sella_center(x, N, C);
    sella_center(y, N, 2);
    assert_int_equal(sella_pca(x, N, C, 2, got, NULL), SELLA_OK);
    double first = 0, second = 0, product = 0, ab = 0, aa = 0;
    for (int i = 0; i < N; i++) {
        first += pow((double)got[2 * i], 2);
        second += pow((double)got[2 * i + 1], 2);
        product += (double)got[2 * i] * (double)got[2 * i + 1];
        ab += (double)got[2 * i] * (double)y[2 * i];
        aa += pow((double)y[2 * i], 2);
    }
    assert_true(first > second && fabs(product) < 1e-3 * first);  /* uncorrelated */
    assert_true(fabs(ab) > 0.98 * sqrt(first * aa));              /* the long direction */
    /* the third has no variance */
    assert_int_equal(sella_pca(x, N, C, 3, (float[3 * N]){0}, NULL), SELLA_OK);
}

static void refuses(void **state)
{
    (void)state;
    float x[10] = {0}, y[20];
    sella_err err = {0};
    sella_tsne_options options = {.perplexity = 5};
    assert_int_equal(sella_tsne(x, 3, 2, NULL, y, NULL, NULL, &err), SELLA_ARG);
    assert_int_equal(sella_tsne(x, 5, 2, &options, y, NULL, NULL, &err), SELLA_ARG);
    options = (sella_tsne_options){.perplexity = 2, .neighbours = 5};
    assert_int_equal(sella_tsne(x, 5, 2, &options, y, NULL, NULL, &err), SELLA_ARG);
    options = (sella_tsne_options){.perplexity = 2, .theta = 1.5};
    assert_int_equal(sella_tsne(x, 5, 2, &options, y, NULL, NULL, &err), SELLA_ARG);
    options = (sella_tsne_options){.perplexity = 2};
    /* all in one place */
    assert_int_equal(sella_tsne(x, 5, 2, &options, y, NULL, NULL, &err), SELLA_OK);
    for (int i = 0; i < 10; i++) {
        assert_true(isfinite(y[i]));
    }
    x[7] = NAN;
    assert_int_equal(sella_tsne(x, 5, 2, &options, y, NULL, NULL, &err), SELLA_DIVERGED);
    assert_string_equal(err.text, "t-SNE: value 1 of point 3 is not finite");
}

static int set_up(void **state)
{
    (void)state;
    sella_threads_set(2);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(affinity_is_scikit_learns),
        cmocka_unit_test(neighbours_are_the_nearest),
        cmocka_unit_test(gradient_is_the_slope),
        cmocka_unit_test(repulsion_is_the_plain_one),
        cmocka_unit_test(tree_against_all_pairs),
        cmocka_unit_test(reaches_scikit_learns_divergence),
        cmocka_unit_test(principal_components),
        cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
