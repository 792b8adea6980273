/* test_train_deal.c - rows dealt out to steps: each once an epoch, the same for the same seed and
 * epoch whatever was asked before, other orders otherwise. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "check.h"
#include "train/deal.h"

enum { ROWS = 23, BATCH = 5, STEPS = 5 };

/* Rows of an epoch in the order of its steps. */
static void epoch_of(sella_deal *deal, int64_t epoch, int64_t *out)
{
    int64_t n = 0;
    for (int64_t s = 0; s < STEPS; s++) {
        const int64_t *row;
        const int64_t N = sella_deal_step(deal, epoch, s, &row);
        assert_int_equal(N, s < STEPS - 1 ? BATCH : ROWS - (STEPS - 1) * BATCH);
        memcpy(out + n, row, (size_t)N * sizeof *row);
        n += N;
    }
    assert_int_equal(n, ROWS);
}

static void every_row_once(void **state)
{
    sella_deal deal;
    (void)state;
    CHECK(sella_deal_init(ROWS, BATCH, 3, &deal, err));
    assert_int_equal(sella_deal_steps(&deal), STEPS);
    for (int64_t epoch = 0; epoch < 4; epoch++) {
        int64_t row[ROWS];
        int seen[ROWS] = {0};
        epoch_of(&deal, epoch, row);
        for (int n = 0; n < ROWS; n++) {
            assert_in_range(row[n], 0, ROWS - 1);
            seen[row[n]]++;
        }
        for (int n = 0; n < ROWS; n++) {
            assert_int_equal(seen[n], 1);
        }
    }
    sella_deal_release(&deal);
}

/* A run that resumes in the middle of an epoch is dealt what it would have been. */
static void a_function_of_seed_and_epoch(void **state)
{
    sella_deal whole, resumed, other;
    int64_t a[ROWS], b[ROWS], c[ROWS];
    const int64_t *row;
    (void)state;
    CHECK(sella_deal_init(ROWS, BATCH, 3, &whole, err));
    CHECK(sella_deal_init(ROWS, BATCH, 3, &resumed, err));
    CHECK(sella_deal_init(ROWS, BATCH, 4, &other, err));
    epoch_of(&whole, 0, a);
    epoch_of(&whole, 1, b);
    assert_memory_not_equal(a, b, sizeof a);
    epoch_of(&other, 1, c);
    assert_memory_not_equal(b, c, sizeof b);
    for (int64_t s = STEPS - 1; s >= 0; s--) { // any order of steps
        const int64_t N = sella_deal_step(&resumed, 1, s, &row);
        assert_memory_equal(row, b + s * BATCH, (size_t)N * sizeof *row);
    }
    epoch_of(&resumed, 0, c);
    assert_memory_equal(a, c, sizeof a);
    sella_deal_release(&whole);
    sella_deal_release(&resumed);
    sella_deal_release(&other);
}

static void fewer_rows_than_a_batch(void **state)
{
    sella_deal deal;
    const int64_t *row;
    (void)state;
    CHECK(sella_deal_init(3, 100, 1, &deal, err));
    assert_int_equal(deal.batch, 3);
    assert_int_equal(sella_deal_steps(&deal), 1);
    assert_int_equal(sella_deal_step(&deal, 0, 0, &row), 3);
    sella_deal_release(&deal);
    CHECK(sella_deal_init(0, 100, 1, &deal, err));
    assert_int_equal(sella_deal_steps(&deal), 0);
    sella_deal_release(&deal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_row_once),
                                       cmocka_unit_test(a_function_of_seed_and_epoch),
                                       cmocka_unit_test(fewer_rows_than_a_batch)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
