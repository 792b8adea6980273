/* Attention over random forests: the fast kernels against their plain twin, and both gradients
 * against central differences. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "base/rng.h"
#include "kernels/attention.h"
#include "kernels/attention_tile.h"
#include "kernels/gemm.h"

enum { SEGMENTS = 400 };

static const sella_rng rng = {.seed = 3, .stream = SELLA_STREAM_TEST};
static uint64_t drawn;

static int draw(int n)
{
    return (int)sella_rng_below(&rng, drawn++, (uint64_t)n);
}

typedef enum kind { ROWS, CHAIN, CHILDREN, MIXED, KINDS } kind;

typedef struct forest {
    int32_t start[SEGMENTS + 1], parent[SEGMENTS], subtree[SEGMENTS];
    sella_attention_shape shape;
} forest;

/* Depth-first order means that a new segment's parent is on the path from the last one to its root,
 * or there is none. */
static void forest_grow(forest *f, kind k, int tokens, int longest)
{
    sella_attention_shape *shape = &f->shape;
    shape->T = shape->S = 0;
    while (shape->T < tokens && shape->S < SEGMENTS) {
        const int s = shape->S;
        int up = s - 1;
        if (k == ROWS) {
            up = -1;
        } else if (k == CHILDREN) {
            up = s == 0 ? -1 : 0;
        } else if (k == MIXED) {
            while (up >= 0 && draw(3) == 0) {
                up = f->parent[up];
            }
        }
        f->parent[s] = up;
        f->start[s] = shape->T;
        shape->T += 1 + draw(k == CHILDREN && s == 0 ? 3 * longest : longest);
        shape->S++;
        f->start[shape->S] = shape->T;
    }
    for (int s = shape->S - 1; s >= 0; s--) {
        f->subtree[s] = s + 1;
        while (f->subtree[s] < shape->S && f->parent[f->subtree[s]] >= s) {
            f->subtree[s]++;
        }
    }
    shape->start_s = f->start;
    shape->parent_s = f->parent;
    shape->subtree_s = f->subtree;
}

typedef struct tensors {
    int ldq, ldk;
    float *q, *k, *v, *o, *lse, *d, *dq, *dk, *dv;
} tensors;

static float *random_rows(int T, int ld)
{
    const size_t n = (size_t)T * (size_t)ld;
    float *x = malloc((n + 1) * sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)sella_rng_normal(&rng, drawn++);
    }
    return x;
}

static tensors tensors_new(const sella_attention_shape *shape, int gap)
{
    tensors t = {.ldq = shape->H * shape->D + gap, .ldk = shape->G * shape->D + 2 * gap};
    t.q = random_rows(shape->T, t.ldq);
    t.k = random_rows(shape->T, t.ldk);
    t.v = random_rows(shape->T, t.ldk);
    t.o = random_rows(shape->T, t.ldq);
    t.d = random_rows(shape->T, t.ldq);
    t.dq = random_rows(shape->T, t.ldq);
    t.dk = random_rows(shape->T, t.ldk);
    t.dv = random_rows(shape->T, t.ldk);
    t.lse = random_rows(shape->T, shape->H);
    return t;
}

static void tensors_free(tensors *t)
{
    float *all[] = {t->q, t->k, t->v, t->o, t->lse, t->d, t->dq, t->dk, t->dv};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        free(all[i]);
    }
}

static tensors tensors_copy(const tensors *t, const sella_attention_shape *shape)
{
    tensors copy = *t;
    float **all[] = {&copy.q, &copy.k,  &copy.v,  &copy.o, &copy.lse,
                     &copy.d, &copy.dq, &copy.dk, &copy.dv};
    const int ld[] = {t->ldq, t->ldk, t->ldk, t->ldq, shape->H, t->ldq, t->ldq, t->ldk, t->ldk};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const size_t bytes = (size_t)shape->T * (size_t)ld[i] * sizeof(float);
        float *x = malloc(bytes + 1);
        memcpy(x, *all[i], bytes);
        *all[i] = x;
    }
    return copy;
}

/* fast NULL: the plain twin. */
static void run(tensors *t, const forest *f, const int32_t *query, int N, const sella_fast *fast,
                float *scratch)
{
    const sella_attention_shape *shape = &f->shape;
    if (fast != NULL) {
        sella_attention_forward_with(fast, t->o, t->ldq, t->lse, t->q, t->ldq, t->k, t->ldk, t->v,
                                     t->ldk, query, N, shape, scratch);
        sella_attention_backward_with(fast, t->dq, t->ldq, t->dk, t->ldk, t->dv, t->ldk, t->d,
                                      t->ldq, t->o, t->ldq, t->lse, t->q, t->ldq, t->k, t->ldk,
                                      t->v, t->ldk, query, N, shape, scratch);
    } else {
        sella_attention_forward_plain(t->o, t->ldq, t->lse, t->q, t->ldq, t->k, t->ldk, t->v,
                                      t->ldk, query, N, shape);
        sella_attention_backward_plain(t->dq, t->ldq, t->dk, t->ldk, t->dv, t->ldk, t->d, t->ldq,
                                       t->o, t->ldq, t->lse, t->q, t->ldq, t->k, t->ldk, t->v,
                                       t->ldk, query, N, shape);
    }
}

/* The largest gap in units of (1 + largest value of the row): what is between the rows must be the
 * same bytes. */
static void same(const char *what, const float *x, const float *y, int T, int C, int ld,
                 double tolerance)
{
    for (int i = 0; i < T; i++) {
        double top = 1;
        for (int c = 0; c < ld; c++) {
            const size_t at = (size_t)i * (size_t)ld + (size_t)c;
            top = fmax(top, fabs((double)y[at]));
            if (c >= C) {
                assert_memory_equal(&x[at], &y[at], sizeof *x);
            } else if (!(fabs((double)x[at] - (double)y[at]) <=
                         tolerance * (1 + fabs((double)y[at])) * top)) {
                fail_msg("%s[%d][%d] of %d tokens is %.9g, the twin says %.9g", what, i, c, T,
                         (double)x[at], (double)y[at]);
            }
        }
    }
}

static int queries(int32_t *query, const sella_attention_shape *shape, int subset)
{
    int N = 0;
    for (int s = 0; s < shape->S && subset == 1; s++) { /* the last token of each segment */
        query[N++] = shape->start_s[s + 1] - 1;
    }
    for (int t = 0; t < shape->T && subset == 2; t++) {
        if (draw(4) == 0) {
            query[N++] = t;
        }
    }
    return N;
}

static void compare_level(const forest *f, const int32_t *query, int N, const sella_fast *table,
                          tensors *fast, const tensors *plain)
{
    const sella_attention_shape *shape = &f->shape;
    const size_t floats = sella_attention_scratch_with(table, shape);
    float *scratch = malloc((floats + 1) * sizeof *scratch);
    for (size_t i = 0; i <= floats; i++) {
        scratch[i] = NAN; /* whatever is in it must not matter */
    }
    run(fast, f, query, N, table, scratch);
    const int HD = shape->H * shape->D, GD = shape->G * shape->D;
    same("o", fast->o, plain->o, shape->T, HD, fast->ldq, 1e-5);
    same("lse", fast->lse, plain->lse, shape->T, shape->H, shape->H, 1e-5);
    same("dq", fast->dq, plain->dq, shape->T, HD, fast->ldq, 1e-5);
    same("dk", fast->dk, plain->dk, shape->T, GD, fast->ldk, 1e-5);
    same("dv", fast->dv, plain->dv, shape->T, GD, fast->ldk, 1e-5);
    assert_true(isnan(scratch[floats]));
    free(scratch);
}

/* One forest, fast and plain. subset: 0 all tokens, 1 last tokens, 2 a random quarter. */
static void compare(const forest *f, int subset)
{
    const sella_attention_shape *shape = &f->shape;
    int32_t *query = malloc((size_t)(shape->T + 1) * sizeof *query);
    const int N = queries(query, shape, subset);
    const int32_t *chosen = subset == 0 ? NULL : query;
    tensors plain = tensors_new(shape, draw(2) * 3), before = tensors_copy(&plain, shape);
    run(&plain, f, chosen, N, NULL, NULL);
    for (int level = 0; level < SELLA_FAST_LEVELS; level++) {
        const sella_fast *table = sella_fast_level(level);
        if (table != NULL) {
            tensors fast = tensors_copy(&before, shape);
            compare_level(f, chosen, N, table, &fast, &plain);
            tensors_free(&fast);
        }
    }
    free(query);
    tensors_free(&before);
    tensors_free(&plain);
}

static const int heads[][3] = {{3, 1, 64}, {1, 1, 16}, {2, 2, 32},  {6, 2, 16},
                               {7, 1, 8},  {3, 3, 5},  {3, 1, 128}, {9, 3, 64}};

static void shape_heads(forest *f, size_t which)
{
    f->shape.H = heads[which][0];
    f->shape.G = heads[which][1];
    f->shape.D = heads[which][2];
    f->shape.scale = 1.0f / sqrtf((float)f->shape.D);
}

static void test_twins_small(void **state)
{
    (void)state;
    forest *f = calloc(1, sizeof *f);
    sella_threads_set(1); /* many tiny calls: waiting for threads would take longer than the work */
    drawn = 0;
    for (int round = 0; round < 160; round++) {
        shape_heads(f, (size_t)round % 8);
        forest_grow(f, (kind)(round / 8 % KINDS), 1 + draw(70), 1 + draw(12));
        compare(f, round % 3);
    }
    sella_threads_set(0);
    free(f);
}

static void test_twins_large(void **state)
{
    (void)state;
    forest *f = calloc(1, sizeof *f);
    drawn = 1u << 24;
    for (int round = 0; round < 8; round++) {
        shape_heads(f, round % 2 ? 0 : 3);
        forest_grow(f, (kind)(round % KINDS), 150 + draw(200), round < 4 ? 14 : 120);
        compare(f, round % 3);
    }
    free(f);
}

/* Scores far apart and far from zero: the running maximum must hold. */
static void test_large_scores(void **state)
{
    (void)state;
    forest *f = calloc(1, sizeof *f);
    drawn = 1u << 26;
    shape_heads(f, 0);
    forest_grow(f, MIXED, 200, 14);
    const sella_attention_shape *shape = &f->shape;
    float *scratch = malloc(sella_attention_scratch(shape) * sizeof *scratch);
    tensors fast = tensors_new(shape, 0);
    for (int i = 0; i < shape->T * fast.ldq; i++) {
        fast.q[i] *= 12;
    }
    tensors plain = tensors_copy(&fast, shape);
    sella_attention_forward(fast.o, fast.ldq, fast.lse, fast.q, fast.ldq, fast.k, fast.ldk, fast.v,
                            fast.ldk, NULL, 0, shape, scratch);
    sella_attention_forward_plain(plain.o, plain.ldq, NULL, plain.q, plain.ldq, plain.k, plain.ldk,
                                  plain.v, plain.ldk, NULL, 0, shape);
    same("o", fast.o, plain.o, shape->T, shape->H * shape->D, fast.ldq, 5e-5);
    fast.q[7] = NAN; /* token 0 is seen through its own row only */
    sella_attention_forward(fast.o, fast.ldq, NULL, fast.q, fast.ldq, fast.k, fast.ldk, fast.v,
                            fast.ldk, NULL, 0, shape, scratch);
    assert_true(isnan(fast.o[0]));
    free(scratch);
    free(f);
    tensors_free(&fast);
    tensors_free(&plain);
}

/* The result is the same bytes whatever the number of threads. */
static void test_threads(void **state)
{
    (void)state;
    forest *f = calloc(1, sizeof *f);
    drawn = 1u << 27;
    shape_heads(f, 7);
    forest_grow(f, MIXED, 500, 20);
    f->shape.threads = 3;
    const sella_attention_shape *shape = &f->shape;
    float *scratch = malloc(sella_attention_scratch(shape) * sizeof *scratch);
    float *other = malloc(sella_attention_scratch(shape) * sizeof *other);
    tensors one = tensors_new(shape, 0), three = tensors_copy(&one, shape);
    f->shape.threads = 1;
    run(&one, f, NULL, 0, sella_fast_best(), scratch);
    f->shape.threads = 3;
    run(&three, f, NULL, 0, sella_fast_best(), other);
    const size_t wide = (size_t)shape->T * (size_t)one.ldq * sizeof(float),
                 narrow = (size_t)shape->T * (size_t)one.ldk * sizeof(float);
    assert_memory_equal(one.o, three.o, wide);
    assert_memory_equal(one.dq, three.dq, wide);
    assert_memory_equal(one.dk, three.dk, narrow);
    assert_memory_equal(one.dv, three.dv, narrow);
    free(other);
    free(scratch);
    free(f);
    tensors_free(&one);
    tensors_free(&three);
}

static double loss_of(tensors *t, const forest *f, const int32_t *query, int N, float *scratch)
{
    const sella_attention_shape *shape = &f->shape;
    sella_attention_forward(t->o, t->ldq, t->lse, t->q, t->ldq, t->k, t->ldk, t->v, t->ldk, query,
                            N, shape, scratch);
    double sum = 0;
    for (int n = 0; n < (query == NULL ? shape->T : N); n++) {
        const size_t row = (size_t)(query == NULL ? n : query[n]) * (size_t)t->ldq;
        for (int c = 0; c < shape->H * shape->D; c++) {
            sum += (double)t->o[row + (size_t)c] * (double)t->d[row + (size_t)c];
        }
    }
    return sum;
}

static void check_slopes(tensors *t, const forest *f, const int32_t *query, int N, float *scratch,
                         float *x, const float *dx, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float at = x[i], up = at + 0.01f, down = at - 0.01f;
        x[i] = up;
        const double above = loss_of(t, f, query, N, scratch);
        x[i] = down;
        const double below = loss_of(t, f, query, N, scratch);
        x[i] = at;
        const double slope = (above - below) / ((double)up - (double)down);
        if (!(fabs(slope - (double)dx[i]) <= 2e-3 * (1 + fabs(slope)))) {
            fail_msg("gradient %zu of %zu is %g, differences say %g", i, n, (double)dx[i], slope);
        }
    }
}

static void test_gradient(void **state)
{
    (void)state;
    forest *f = calloc(1, sizeof *f);
    sella_threads_set(1);
    drawn = 1u << 28;
    for (int round = 0; round < 6; round++) {
        int32_t query[64];
        f->shape.H = round % 2 ? 3 : 2;
        f->shape.G = round % 2 ? 1 : 2;
        f->shape.D = 5 + round;
        f->shape.scale = 0.4f;
        forest_grow(f, (kind)(round % KINDS), 17, 5);
        const sella_attention_shape *shape = &f->shape;
        const int subset = round % 3, N = queries(query, shape, subset);
        const int32_t *chosen = subset == 0 ? NULL : query;
        float *scratch = malloc(sella_attention_scratch(shape) * sizeof *scratch);
        tensors t = tensors_new(shape, 0);
        run(&t, f, chosen, N, sella_fast_best(), scratch);
        const size_t wide = (size_t)(shape->T * t.ldq), narrow = (size_t)(shape->T * t.ldk);
        check_slopes(&t, f, chosen, N, scratch, t.q, t.dq, wide);
        check_slopes(&t, f, chosen, N, scratch, t.k, t.dk, narrow);
        check_slopes(&t, f, chosen, N, scratch, t.v, t.dv, narrow);
        free(scratch);
        tensors_free(&t);
    }
    sella_threads_set(0);
    free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_twins_small),  cmocka_unit_test(test_twins_large),
        cmocka_unit_test(test_large_scores), cmocka_unit_test(test_threads),
        cmocka_unit_test(test_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
