/* Stochastic gradients of matrix factorisation: steps against plain loops in double and against
 * differences of the loss, every level of CPU against the plain twin, epochs on any number of
 * threads, resuming, what they converge to. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "collab/mf_sgd.h"
#include "kernels/factor.h"
#include "kernels/fast.h"
#include "kernels/loss.h"

static const sella_rng rng = {.seed = 31, .stream = SELLA_STREAM_TEST};

/* ---- the steps ---- */

enum { USERS = 5, ITEMS = 4, ENTRIES = 60, WIDEST = 112, STRIDE = WIDEST + SELLA_FACTOR_TAIL };

typedef struct packed {
    _Alignas(64) float user[USERS * STRIDE];
    _Alignas(64) float item[ITEMS * STRIDE];
} packed;

static void packed_draw(packed *p, int C, double squares)
{
    const size_t stride = sella_factor_stride(C);
    memset(p, 0, sizeof *p);
    for (int row = 0; row < USERS + ITEMS; row++) {
        float *x =
            row < USERS ? p->user + (size_t)row * stride : p->item + (size_t)(row - USERS) * stride;
        float *tail = x + sella_factor_width(C);
        for (int c = 0; c < C; c++) {
            x[c] = (float)(.6 * sella_rng_normal(&rng, (uint64_t)(row * WIDEST + c)));
        }
        tail[SELLA_FACTOR_SQUARES] = (float)squares;
        tail[SELLA_FACTOR_BIAS_SQUARES] = (float)(2 * squares);
        tail[SELLA_FACTOR_BIAS] = .1f * (float)(row - 4);
        tail[SELLA_FACTOR_DECAY] = .01f * (float)row;
    }
}

static void entries_draw(sella_factor_entry *entry, int count)
{
    for (int n = 0; n < count; n++) {
        entry[n] =
            (sella_factor_entry){.user = (int32_t)sella_rng_below(&rng, 9000 + (uint64_t)n, USERS),
                                 .item = (int32_t)sella_rng_below(&rng, 9500 + (uint64_t)n, ITEMS),
                                 .label = n % 3 == 0 ? 1.0f : 0.0f};
    }
}

/* One step of one entry on rows of doubles {vector [C], A, A of the bias, bias, decay}. */
static void step_in_double(double *p, double *q, double y, int C, double b0, double rate,
                           double bias_rate, double sums[3])
{
    double z = b0 + p[C + 2] + q[C + 2], pp = 0, qq = 0;
    for (int c = 0; c < C; c++) {
        z += p[c] * q[c];
        pp += p[c] * p[c];
        qq += q[c] * q[c];
    }
    const double s = 1 / (1 + exp(-z)), d = s - y;
    sums[0] -= y > .5 ? log(s) : log(1 - s);
    sums[1] += d;
    sums[2] += s * (1 - s);
    p[C] += d * d * qq / C;
    q[C] += d * d * pp / C;
    p[C + 1] += d * d;
    q[C + 1] += d * d;
    const double ep = rate / sqrt(p[C]), eq = rate / sqrt(q[C]), bp = bias_rate / sqrt(p[C + 1]),
                 bq = bias_rate / sqrt(q[C + 1]);
    for (int c = 0; c < C; c++) {
        const double a = p[c], b = q[c];
        p[c] = (a - ep * d * b) / (1 + ep * p[C + 3]);
        q[c] = (b - eq * d * a) / (1 + eq * q[C + 3]);
    }
    p[C + 2] = (p[C + 2] - bp * d) / (1 + bp * p[C + 3]);
    q[C + 2] = (q[C + 2] - bq * d) / (1 + bq * q[C + 3]);
}

static void expect_rows(const char *level, const float *got, const double *want, int rows, int C)
{
    const size_t stride = sella_factor_stride(C), width = (size_t)sella_factor_width(C);
    for (int r = 0; r < rows; r++) {
        for (size_t c = 0; c < stride; c++) {
            const size_t tail = c < width ? 0 : c - width;
            const double expected = c < (size_t)C ? want[r * (WIDEST + 4) + (int)c]
                                    : c < width || tail > 3
                                        ? 0
                                        : want[r * (WIDEST + 4) + C + (int)tail];
            const double value = (double)got[(size_t)r * stride + c];
            if (!(fabs(value - expected) <= 2e-5 * (1 + fabs(expected)))) {
                fail_msg("%s, width %d, row %d, value %zu: %.9g, expected %.9g", level, C, r, c,
                         value, expected);
            }
        }
    }
}

static void to_double(double *to, const float *from, int rows, int C)
{
    const size_t stride = sella_factor_stride(C), width = (size_t)sella_factor_width(C);
    for (int r = 0; r < rows; r++) {
        for (int c = 0; c < C + 4; c++) {
            to[r * (WIDEST + 4) + c] =
                (double)from[(size_t)r * stride + (c < C ? (size_t)c : width + (size_t)(c - C))];
        }
    }
}

static void test_steps(void **state)
{
    (void)state;
    static const int widths[] = {1, 3, 15, 16, 17, 37, 64, 100};
    static packed p;
    static double user[USERS * (WIDEST + 4)], item[ITEMS * (WIDEST + 4)];
    sella_factor_entry entry[ENTRIES];
    entries_draw(entry, ENTRIES);
    for (size_t k = 0; k < sizeof widths / sizeof widths[0]; k++) {
        const int C = widths[k];
        for (int level = 0; level < SELLA_FAST_LEVELS; level++) {
            const sella_fast *fast = sella_fast_level(level);
            if (!fast) {
                continue;
            }
            const sella_factor_block block = {.entry = entry,
                                              .count = ENTRIES,
                                              .user = p.user,
                                              .item = p.item,
                                              .C = C,
                                              .width = sella_factor_width(C),
                                              .b0 = .2f,
                                              .rate = .05f,
                                              .bias_rate = k % 2 ? .03f : 0};
            double want[3] = {0};
            sella_factor_sums sums = {0};
            packed_draw(&p, C, .1);
            to_double(user, p.user, USERS, C);
            to_double(item, p.item, ITEMS, C);
            for (int n = 0; n < ENTRIES; n++) {
                step_in_double(user + entry[n].user * (WIDEST + 4),
                               item + entry[n].item * (WIDEST + 4), (double)entry[n].label, C,
                               (double)block.b0, (double)block.rate, (double)block.bias_rate, want);
            }
            (fast->factor_steps ? fast->factor_steps : sella_factor_steps_plain)(&block, &sums);
            expect_rows(fast->name, p.user, user, USERS, C);
            expect_rows(fast->name, p.item, item, ITEMS, C);
            assert_true(fabs(sums.loss - want[0]) < 1e-4 && fabs(sums.slope - want[1]) < 1e-4 &&
                        fabs(sums.curvature - want[2]) < 1e-4);
        }
    }
}

/* Long lists: the products of the loss must not overflow, and large logits of either sign are
 *             exact. */
static void test_loss(void **state)
{
    (void)state;
    enum { MANY = 3000 };
    static packed p;
    static sella_factor_entry entry[MANY];
    static const float b0s[] = {0, 30, -30, 200, -200};
    for (size_t k = 0; k < 5; k++) {
        for (int level = 0; level < SELLA_FAST_LEVELS; level++) {
            const sella_fast *fast = sella_fast_level(level);
            if (!fast) {
                continue;
            }
            packed_draw(&p, 16, .1);
            memset(p.user, 0, sizeof p.user);
            for (int u = 0; u < USERS; u++) {
                p.user[(size_t)u * 32 + 16] = p.user[(size_t)u * 32 + 17] = 1;
            }
            for (int i = 0; i < ITEMS; i++) {
                p.item[(size_t)i * 32 + 18] = 0;
            }
            for (int n = 0; n < MANY; n++) {
                entry[n] = (sella_factor_entry){n % USERS, n % ITEMS, n % 2 ? 1.0f : 0.0f};
            }
            const sella_factor_block block = {.entry = entry,
                                              .count = MANY,
                                              .user = p.user,
                                              .item = p.item,
                                              .C = 16,
                                              .width = 16,
                                              .b0 = b0s[k]};
            sella_factor_sums sums = {0};
            (fast->factor_steps ? fast->factor_steps : sella_factor_steps_plain)(&block, &sums);
            const double z = (double)b0s[k], one = log1p(exp(-fabs(z))),
                         want = MANY / 2 * (fabs(z) + 2 * one);
            assert_true(fabs(sums.loss - want) < 1e-6 * want);
        }
    }
}

/* With a huge sum of squares the rates are constant: a step divided by its rate is the slope of BCE
 * and decay. */
static double objective(const packed *p, const sella_factor_entry *entry, int C, double b0)
{
    const size_t stride = sella_factor_stride(C), width = (size_t)sella_factor_width(C);
    const float *u = p->user + (size_t)entry->user * stride,
                *i = p->item + (size_t)entry->item * stride;
    double z = b0 + (double)u[width + 2] + (double)i[width + 2], decay = 0;
    for (int c = 0; c < C; c++) {
        z += (double)u[c] * (double)i[c];
        decay += (double)u[width + 3] * (double)u[c] * (double)u[c] +
                 (double)i[width + 3] * (double)i[c] * (double)i[c];
    }
    decay += (double)u[width + 3] * (double)u[width + 2] * (double)u[width + 2] +
             (double)i[width + 3] * (double)i[width + 2] * (double)i[width + 2];
    return log1p(exp(z)) - (double)entry->label * z + decay / 2;
}

static void test_differences(void **state)
{
    (void)state;
    enum { C = 5 };
    static packed before, after, moved;
    const sella_factor_entry entry = {.user = 3, .item = 2, .label = 1};
    const double S = 1e10, rate = 1e3, eta = rate / sqrt(S); /* .01 */
    packed_draw(&before, C, S);
    for (int k = 0; k < 2; k++) { /* both sums of squares alike, so that both rates are eta */
        float *row =
            k ? before.item + 2 * sella_factor_stride(C) : before.user + 3 * sella_factor_stride(C);
        row[16 + SELLA_FACTOR_BIAS_SQUARES] = (float)S;
    }
    after = before;
    const sella_factor_block block = {.entry = &entry,
                                      .count = 1,
                                      .user = after.user,
                                      .item = after.item,
                                      .C = C,
                                      .width = 16,
                                      .b0 = -.3f,
                                      .rate = (float)rate,
                                      .bias_rate = (float)rate};
    sella_factor_sums sums = {0};
    sella_factor_steps(&block, &sums);
    for (int k = 0; k < 2; k++) {
        for (size_t c = 0; c < 19; c++) {
            if (c >= C && c != 18) {
                continue;
            }
            const size_t at = (k ? 2 : 3) * sella_factor_stride(C) + c;
            float *x = k ? moved.item : moved.user;
            const double was = (double)(k ? before.item : before.user)[at],
                         is = (double)(k ? after.item : after.user)[at];
            moved = before;
            x[at] = (float)(was + 1e-2);
            const double up = objective(&moved, &entry, C, -.3), high = (double)x[at];
            x[at] = (float)(was - 1e-2);
            const double slope = (up - objective(&moved, &entry, C, -.3)) / (high - (double)x[at]);
            if (fabs((was - is) / eta - slope) > 2e-3 * (1 + fabs(slope))) {
                fail_msg("%s value %zu: step %g, slope %g", k ? "item" : "user", c,
                         (was - is) / eta, slope);
            }
        }
    }
}

/* ---- epochs ---- */

enum { U = 90, I = 70, N = 4000 };

typedef struct rows {
    int32_t user[N], item[N];
    uint8_t label[N];
    sella_interactions all;
} rows;

/* Labels from biases and two hidden factors. */
static rows *rows_draw(int count)
{
    rows *r = calloc(1, sizeof *r);
    for (int n = 0; n < count; n++) {
        const uint64_t at = 100000 + 4 * (uint64_t)n;
        const int32_t u = (int32_t)sella_rng_below(&rng, at, U),
                      i = (int32_t)sella_rng_below(&rng, at + 1, I);
        const double z = .5 + sella_rng_normal(&rng, (uint64_t)u) +
                         2 * sella_rng_normal(&rng, 200 + (uint64_t)u) *
                             sella_rng_normal(&rng, 300 + (uint64_t)i);
        r->user[n] = u;
        r->item[n] = i;
        r->label[n] = (double)sella_rng_uniform(&rng, at + 2) < 1 / (1 + exp(-z));
    }
    r->all = (sella_interactions){
        .rows = count, .user_n = r->user, .item_n = r->item, .label_n = r->label};
    return r;
}

static sella_mf model(int C, bool bias)
{
    sella_mf mf;
    const sella_mf_config config = {.users = U, .items = I, .C = C, .bias = bias, .init = .1};
    assert_int_equal(sella_mf_init(&config, 5, &mf, NULL), SELLA_OK);
    return mf;
}

static sella_mf_sgd *sgd_new(const sella_mf *mf, const rows *r, double decay, int grid)
{
    sella_mf_sgd *sgd;
    const sella_mf_sgd_config config = {.decay = decay, .squares = .1, .grid = grid, .seed = 9};
    assert_int_equal(sella_mf_sgd_new(mf, &r->all, &config, &sgd, NULL), SELLA_OK);
    return sgd;
}

static double mean_loss(const sella_mf *mf, const rows *r)
{
    static float z[N], y[N];
    const sella_mf_batch batch = {.N = (int)r->all.rows, .user_n = r->user, .item_n = r->item};
    sella_mf_forward(mf, &batch, z, NULL);
    for (int n = 0; n < r->all.rows; n++) {
        y[n] = r->label[n];
    }
    return sella_bce_forward(NULL, z, y, NULL, (int)r->all.rows) / (double)r->all.rows;
}

/* At rate 0 an epoch is a pass: each row once, in every grid, with few rows or many. */
static void test_every_row(void **state)
{
    (void)state;
    static const int counts[] = {1, 3, 50, N}, grids[] = {0, 1, 3, 7, 64};
    for (size_t k = 0; k < 4; k++) {
        rows *r = rows_draw(counts[k]);
        sella_mf mf = model(7, false), before = model(7, false);
        for (size_t g = 0; g < 5; g++) {
            sella_mf_sgd *sgd = sgd_new(&mf, r, 1e-3, grids[g]);
            const double loss = sella_mf_sgd_epoch(sgd, &mf, 3, 0), want = mean_loss(&mf, r);
            assert_true(fabs(loss - want) < 1e-5);
            for (int i = 0; i < 2; i++) {
                assert_memory_equal(mf.table.param[i].data, before.table.param[i].data,
                                    mf.table.param[i].count * sizeof(float));
            }
            sella_mf_sgd_free(sgd);
        }
        sella_mf_release(&mf);
        sella_mf_release(&before);
        free(r);
    }
}

static void expect_same(const sella_param_table *a, const sella_param_table *b)
{
    assert_int_equal(a->count, b->count);
    for (int i = 0; i < a->count; i++) {
        assert_memory_equal(a->param[i].data, b->param[i].data, a->param[i].count * sizeof(float));
    }
}

static void test_threads(void **state)
{
    (void)state;
    const int threads = omp_get_max_threads();
    rows *r = rows_draw(N);
    sella_mf mf[3];
    sella_mf_sgd *sgd[3];
    for (int t = 0; t < 3; t++) {
        omp_set_num_threads(t + 1);
        mf[t] = model(20, true);
        sgd[t] = sgd_new(&mf[t], r, 1e-4, 5);
        for (int epoch = 0; epoch < 4; epoch++) {
            sella_mf_sgd_epoch(sgd[t], &mf[t], epoch, .05);
        }
        expect_same(&mf[t].table, &mf[0].table);
        expect_same(sella_mf_sgd_state(sgd[t]), sella_mf_sgd_state(sgd[0]));
    }
    omp_set_num_threads(threads);
    sella_mf other = model(20, true);
    sella_mf_sgd *fresh = sgd_new(&other, r, 1e-4, 5);
    sella_mf_sgd_epoch(fresh, &other, 1, .05); /* the epoch's number changes the order */
    sella_mf first = model(20, true);
    sella_mf_sgd *zero = sgd_new(&first, r, 1e-4, 5);
    sella_mf_sgd_epoch(zero, &first, 0, .05);
    assert_memory_not_equal(other.table.param[0].data, first.table.param[0].data, 64);
    sella_mf_sgd_free(fresh);
    sella_mf_sgd_free(zero);
    sella_mf_release(&other);
    sella_mf_release(&first);
    for (int t = 0; t < 3; t++) {
        sella_mf_sgd_free(sgd[t]);
        sella_mf_release(&mf[t]);
    }
    free(r);
}

static void copy_table(sella_param_table *to, const sella_param_table *from)
{
    for (int i = 0; i < to->count; i++) {
        memcpy(to->param[i].data, from->param[i].data, to->param[i].count * sizeof(float));
    }
}

static void test_resume(void **state)
{
    (void)state;
    rows *r = rows_draw(N);
    sella_mf whole = model(9, true), half = model(9, true), rest = model(9, true);
    sella_mf_sgd *a = sgd_new(&whole, r, 1e-4, 0), *b = sgd_new(&half, r, 1e-4, 0),
                 *c = sgd_new(&rest, r, 1e-4, 0);
    for (int epoch = 0; epoch < 5; epoch++) {
        sella_mf_sgd_epoch(a, &whole, epoch, .05);
        if (epoch < 2) {
            sella_mf_sgd_epoch(b, &half, epoch, .05);
        }
    }
    copy_table(&rest.table, &half.table);
    copy_table(sella_mf_sgd_state(c), sella_mf_sgd_state(b));
    for (int epoch = 2; epoch < 5; epoch++) {
        sella_mf_sgd_epoch(c, &rest, epoch, .05);
    }
    expect_same(&whole.table, &rest.table);
    expect_same(sella_mf_sgd_state(a), sella_mf_sgd_state(c));
    sella_mf_sgd_free(a);
    sella_mf_sgd_free(b);
    sella_mf_sgd_free(c);
    sella_mf_release(&whole);
    sella_mf_release(&half);
    sella_mf_release(&rest);
    free(r);
}

static void test_convergence(void **state)
{
    (void)state;
    rows *r = rows_draw(N);
    double positive = 0, known = 0;
    for (int n = 0; n < N; n++) {
        const double z = .5 + sella_rng_normal(&rng, (uint64_t)r->user[n]) +
                         2 * sella_rng_normal(&rng, 200 + (uint64_t)r->user[n]) *
                             sella_rng_normal(&rng, 300 + (uint64_t)r->item[n]);
        known += log1p(exp(z)) - r->label[n] * z;
        positive += r->label[n];
    }
    known /= N;
    positive /= N;
    sella_mf mf = model(4, true);
    sella_mf_sgd *sgd = sgd_new(&mf, r, 1e-5, 4);
    double loss = 0;
    for (int epoch = 0; epoch < 60; epoch++) {
        loss = sella_mf_sgd_epoch(sgd, &mf, epoch, .1);
    }
    assert_true(fabs(loss - mean_loss(&mf, r)) < .02);
    assert_true(loss <
                /* more parameters than the process that drew the labels: it fits them better than
                 * the truth */
                known);
    sella_mf_sgd_free(sgd);
    sella_mf_release(&mf);
    /* everything but b_0 held at zero: the log-odds of the mean label */
    mf = model(4, true);
    sgd = sgd_new(&mf, r, 1e6, 4);
    for (int epoch = 0; epoch < 20; epoch++) {
        sella_mf_sgd_epoch(sgd, &mf, epoch, .1);
    }
    assert_true(fabs((double)mf.table.param[4].data[0] - log(positive / (1 - positive))) < .03);
    for (size_t k = 0; k < mf.table.param[0].count; k++) {
        assert_true(fabsf(mf.table.param[0].data[k]) < 1e-2f);
    }
    sella_mf_sgd_free(sgd);
    sella_mf_release(&mf);
    free(r);
}

static void test_refused(void **state)
{
    (void)state;
    rows *r = rows_draw(50);
    sella_mf mf = model(4, true), with;
    sella_mf_sgd *sgd;
    sella_err err = {0};
    const sella_mf_config history = {.users = U, .items = I, .C = 4, .history = true, .init = .1};
    const sella_mf_sgd_config fine = {.decay = 1e-4, .squares = .1},
                              bad[] = {{.decay = -1, .squares = .1},
                                       {.decay = NAN, .squares = .1},
                                       {.squares = 0},
                                       {.squares = .1, .grid = -1},
                                       {.squares = .1, .grid = 5000}};
    for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++) {
        assert_int_equal(sella_mf_sgd_new(&mf, &r->all, &bad[k], &sgd, &err), SELLA_ARG);
        assert_null(sgd);
    }
    r->user[7] = U;
    r->item[7] = 55;
    assert_int_equal(sella_mf_sgd_new(&mf, &r->all, &fine, &sgd, &err), SELLA_ARG);
    assert_string_equal(err.text,
                        "row 8 of train is of user 90 and item 55; expected less than 90 and 70");
    r->user[7] = 0;
    assert_int_equal(sella_mf_init(&history, 1, &with, NULL), SELLA_OK);
    assert_int_equal(sella_mf_sgd_new(&with, &r->all, &fine, &sgd, &err), SELLA_ARG);
    sella_mf_release(&with);
    assert_int_equal(sella_mf_sgd_new(&mf, &r->all, &fine, &sgd, &err), SELLA_OK);
    mf.table.param[0].data[4 * r->user[0]] = NAN;
    const double loss = sella_mf_sgd_epoch(sgd, &mf, 0, .05);
    assert_true(isnan(loss));
    sella_mf_sgd_free(sgd);
    sella_mf_release(&mf);
    free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps),       cmocka_unit_test(test_loss),
        cmocka_unit_test(test_differences), cmocka_unit_test(test_every_row),
        cmocka_unit_test(test_threads),     cmocka_unit_test(test_resume),
        cmocka_unit_test(test_convergence), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
