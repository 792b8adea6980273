/* test_data_tree.c - forests of segments against a brute-force reading of the same rows, and
 * windows of histories. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "data/history.h"
#include "data/tree.h"

/* ---- histories ---- */

static void windows_by_hand(void **state)
{
    (void)state;
    assert_int_equal(sella_history_start(SELLA_WINDOW_SLIDING, 10, 0), 0);
    assert_int_equal(sella_history_start(SELLA_WINDOW_SLIDING, 10, 10), 0);
    assert_int_equal(sella_history_start(SELLA_WINDOW_SLIDING, 10, 11), 1);
    assert_int_equal(sella_history_start(SELLA_WINDOW_SLIDING, 10, 25), 15);
    assert_int_equal(sella_history_start(SELLA_WINDOW_ANCHORED, 10, 0), 0);
    assert_int_equal(sella_history_start(SELLA_WINDOW_ANCHORED, 10, 19), 0);
    assert_int_equal(sella_history_start(SELLA_WINDOW_ANCHORED, 10, 20), 10);
    assert_int_equal(sella_history_start(SELLA_WINDOW_ANCHORED, 10, 29), 10);
    assert_int_equal(sella_history_start(SELLA_WINDOW_ANCHORED, 10, 30), 20);
    assert_int_equal(sella_history_start(SELLA_WINDOW_ANCHORED, 1, 5), 4);
    assert_int_equal(sella_history_start(SELLA_WINDOW_ANCHORED, INT32_MAX, INT32_MAX), 0);
    for (int count = 20; count < 500; count++) { // n to 2n-1 items, from a multiple of n
        int start = sella_history_start(SELLA_WINDOW_ANCHORED, 10, count);
        assert_true(start % 10 == 0 && count - start >= 10 && count - start <= 19);
    }
}

/* ---- brute force ---- */

static bool same_token(const sella_rows *rows, int64_t a, int64_t b, int64_t depth)
{
    int64_t i = rows->start[a] + depth, j = rows->start[b] + depth;
    if (rows->token[i] != rows->token[j] || rows->slot[i] != rows->slot[j]) {
        return false;
    }
    return rows->slot[i] == SELLA_SLOT_NONE ||
           rows->ref[a * SELLA_SLOTS + rows->slot[i]] == rows->ref[b * SELLA_SLOTS + rows->slot[i]];
}

static int64_t length_of(const sella_rows *rows, int64_t r)
{
    return rows->start[r + 1] - rows->start[r];
}

/* Tokens that row `last` of index[0..last] adds to a perfect tree of the rows before it. */
static int64_t new_tokens(const sella_rows *rows, const int64_t *index, int64_t last)
{
    int64_t best = 0, r = index[last];
    for (int64_t i = 0; i < last; i++) {
        int64_t depth = 0;
        while (depth < length_of(rows, r) && depth < length_of(rows, index[i]) &&
               same_token(rows, r, index[i], depth)) {
            depth++;
        }
        best = depth > best ? depth : best;
    }
    return length_of(rows, r) - best;
}

/* Every promise of the header about one batch. */
static void check_batch(const sella_rows *rows, const int64_t *index, int64_t k,
                        const sella_tree_batch *b)
{
    assert_int_equal(b->N, k);
    assert_int_equal(b->start_s[0], 0);
    assert_int_equal(b->start_s[b->S], b->T);
    for (int s = 0; s < b->S; s++) {
        assert_true(b->start_s[s] < b->start_s[s + 1]);
        assert_true(b->parent_s[s] >= -1 && b->parent_s[s] < s);
        int end = s + 1; // descendants by walking up from each segment
        for (int d = s + 1; d < b->S; d++) {
            int up = d;
            while (up > s) {
                up = b->parent_s[up];
            }
            if (up == s) {
                assert_int_equal(end, d); // contiguous
                end = d + 1;
            }
        }
        assert_int_equal(b->subtree_s[s], end);
    }
    int *segment = malloc((size_t)(b->T + 1) * sizeof *segment),
        *uses = calloc((size_t)b->T + 1, sizeof *uses);
    int *soft = malloc((size_t)(b->T + 1) * sizeof *soft);
    for (int s = 0; s < b->S; s++) {
        for (int t = b->start_s[s]; t < b->start_s[s + 1]; t++) {
            segment[t] = s;
            soft[t] = -1;
        }
    }
    for (int m = 0; m < b->M; m++) {
        assert_true(b->soft_m[m] >= 0 && b->soft_m[m] < b->T &&
                    (m == 0 || b->soft_m[m] > b->soft_m[m - 1]));
        soft[b->soft_m[m]] = m;
    }
    int64_t total = 0;
    for (int64_t i = 0; i < k; i++) {
        int64_t r = index[i];
        assert_int_equal(b->row_n[i], rows->row[r]);
        assert_true(b->label_n[i] == rows->label[r] && b->weight_n[i] == rows->weight[r]);
        int64_t depth = length_of(rows, r) - 1;
        total += depth + 1;
        /* the row backwards, from its answer to the root */
        for (int t = b->answer_n[i]; depth >= 0; depth--) {
            int64_t at = rows->start[r] + depth;
            assert_true(t >= 0 && t < b->T);
            assert_int_equal(b->token_t[t], rows->token[at]);
            assert_int_equal(b->position_t[t], depth);
            if (rows->slot[at] == SELLA_SLOT_NONE) {
                assert_int_equal(soft[t], -1);
            } else {
                assert_true(soft[t] >= 0);
                assert_int_equal(b->soft_slot_m[soft[t]], rows->slot[at]);
                assert_int_equal(b->soft_ref_m[soft[t]],
                                 rows->ref[r * SELLA_SLOTS + rows->slot[at]]);
            }
            uses[t]++;
            int s = segment[t];
            if (t > b->start_s[s]) {
                t--;
            } else if (b->parent_s[s] >= 0) {
                t = b->start_s[b->parent_s[s] + 1] - 1;
            } else {
                assert_int_equal(depth, 0);
            }
        }
    }
    assert_int_equal(b->row_tokens, total);
    for (int t = 0; t < b->T; t++) {
        assert_true(uses[t] > 0);
    }
    free(segment);
    free(uses);
    free(soft);
}

/* The whole plan: order, greedy cuts, totals, batches. */
static void check_plan(const sella_rows *rows, const sella_tree_options *options)
{
    sella_err err = {0};
    sella_tree_plan plan;
    int64_t cap = options->tree_cap && options->tree_cap < options->budget ? options->tree_cap
                                                                           : options->budget;
    assert_int_equal(sella_tree_plan_new(rows, options, &plan, &err), SELLA_OK);
    char *seen = calloc((size_t)rows->count + 1, 1);
    for (int64_t i = 0; i < rows->count; i++) {
        int64_t r = plan.order[i];
        assert_true(r >= 0 && r < rows->count && !seen[r]);
        seen[r] = 1;
        if (!options->share) {
            assert_int_equal(r, i);
        } else if (i > 0 && rows->group[r] == rows->group[plan.order[i - 1]]) {
            assert_true(r > plan.order[i - 1]);
        } else {
            for (int64_t j = 0; j < i; j++) {
                assert_int_not_equal(rows->group[plan.order[j]], rows->group[r]);
            }
        }
    }
    free(seen);
    assert_int_equal(plan.tree_first[0], 0);
    assert_int_equal(plan.tree_first[plan.trees], rows->count);
    int64_t tokens = 0;
    for (int64_t t = 0; t < plan.trees; t++) {
        const int64_t *index = plan.order + plan.tree_first[t];
        int64_t k = plan.tree_first[t + 1] - plan.tree_first[t], size = 0;
        assert_true(k > 0);
        for (int64_t i = 0; i < k; i++) {
            size += new_tokens(rows, index, i);
            assert_true(rows->group[index[i]] == rows->group[index[0]]);
            assert_true(i == 0 || (options->share && size <= cap));
        }
        assert_int_equal(plan.tree_tokens[t], size);
        /* cut only when needed */
        if (options->share && t + 1 < plan.trees &&
            rows->group[index[k]] == rows->group[index[0]]) {
            assert_true(size + new_tokens(rows, index, k) > cap);
        }
        tokens += size;
    }
    assert_int_equal(plan.tokens, tokens);
    assert_int_equal(plan.first[0], 0);
    assert_int_equal(plan.first[plan.batches], rows->count);
    int64_t built = 0;
    for (int64_t b = 0; b < plan.batches; b++) {
        sella_tree_batch batch;
        int64_t k = plan.first[b + 1] - plan.first[b];
        assert_true(k > 0);
        assert_int_equal(
            sella_tree_build(rows, plan.order + plan.first[b], k, options, &batch, &err), SELLA_OK);
        assert_true(batch.T <= options->budget);
        check_batch(rows, plan.order + plan.first[b], k, &batch);
        built += batch.T;
        sella_tree_batch_release(&batch);
    }
    assert_int_equal(built, plan.tokens);
    sella_tree_plan_release(&plan);
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static void random_rows(sella_rows *rows, uint32_t seed, int count, int groups, int alphabet,
                        int longest, bool soft)
{
    sella_err err = {0};
    sella_rows_clear(rows);
    for (int r = 0; r < count; r++) {
        int32_t token[64], ref[SELLA_SLOTS];
        uint8_t slot[64];
        int n = 1 + (int)(next_random(&seed) % (uint32_t)longest);
        for (int i = 0; i < n; i++) {
            slot[i] =
                (uint8_t)(soft && next_random(&seed) % 4 == 0 ? 1 + next_random(&seed) % 3 : 0);
            token[i] = slot[i] ? 99 : (int32_t)(next_random(&seed) % (uint32_t)alphabet);
        }
        for (int s = 0; s < SELLA_SLOTS; s++) {
            ref[s] = (int32_t)(next_random(&seed) % 2);
        }
        assert_int_equal(sella_rows_add(rows, token, soft ? slot : NULL, n, soft ? ref : NULL,
                                        (int32_t)(next_random(&seed) % (uint32_t)groups) - 1,
                                        1000 + r, (float)(r % 2), 0.5f + (float)r, &err),
                         SELLA_OK);
    }
}

static void random_forests_equal_brute_force(void **state)
{
    (void)state;
    sella_rows rows;
    sella_rows_init(&rows);
    for (uint32_t seed = 0; seed < 120; seed++) {
        int longest = 1 + (int)(seed % 20);
        random_rows(&rows, seed, 1 + (int)(seed % 70), 1 + (int)(seed % 5), 1 + (int)(seed % 3),
                    longest, seed % 2);
        sella_tree_options options = {.budget = longest + (int)(seed % 90),
                                      .tree_cap = (int)(seed * 7 % 50),
                                      .share = seed % 7 != 0};
        check_plan(&rows, &options);
        options.budget = 100000;
        options.tree_cap = 0;
        check_plan(&rows, &options);
    }
    sella_rows_release(&rows);
}

/* History "1 2 3", two targets behind it, one row that is a prefix of the others, one that repeats
 * a row. */
static void a_tree_by_hand(void **state)
{
    (void)state;
    sella_err err = {0};
    sella_rows rows;
    sella_tree_batch b;
    sella_rows_init(&rows);
    int32_t a[] = {1, 2, 3, 7, 8}, c[] = {1, 2, 3, 9}, prefix[] = {1, 2},
            longer[] = {1, 2, 3, 7, 8, 5};
    sella_rows_add(&rows, a, NULL, 5, NULL, 4, 10, 1, 1, &err);
    sella_rows_add(&rows, c, NULL, 4, NULL, 4, 11, 0, 1, &err);
    sella_rows_add(&rows, prefix, NULL, 2, NULL, 4, 12, 0, 1, &err);
    sella_rows_add(&rows, a, NULL, 5, NULL, 4, 13, 0, 1, &err);
    sella_rows_add(&rows, longer, NULL, 6, NULL, 4, 14, 0, 1, &err);
    sella_rows_add(&rows, a, NULL, 5, NULL, 5, 15, 0, 1, &err);
    int64_t index[] = {0, 1, 2, 3, 4, 5};
    sella_tree_options options = {.budget = 64, .tree_cap = 0, .share = true};
    assert_int_equal(sella_tree_build(&rows, index, 6, &options, &b, &err), SELLA_OK);
    static const int32_t token[] = {1, 2, 3, 7, 8, 5, 9, 1, 2, 3, 7, 8},
                         position[] = {0, 1, 2, 3, 4, 5, 3, 0, 1, 2, 3, 4};
    static const int32_t start[] = {0, 3, 6, 7, 12}, parent[] = {-1, 0, 0, -1},
                         subtree[] = {3, 2, 3, 4}, answer[] = {4, 6, 1, 4, 5, 11};
    assert_int_equal(b.T, 12);
    assert_int_equal(b.S, 4);
    assert_int_equal(b.row_tokens, 27);
    assert_memory_equal(b.token_t, token, sizeof token);
    assert_memory_equal(b.position_t, position, sizeof position);
    assert_memory_equal(b.start_s, start, sizeof start);
    assert_memory_equal(b.parent_s, parent, sizeof parent);
    assert_memory_equal(b.subtree_s, subtree, sizeof subtree);
    assert_memory_equal(b.answer_n, answer, sizeof answer);
    sella_tree_batch_release(&b);
    options.share = false;
    assert_int_equal(sella_tree_build(&rows, index, 6, &options, &b, &err), SELLA_OK);
    assert_int_equal(b.T, 27);
    assert_int_equal(b.S, 6);
    sella_tree_batch_release(&b);
    sella_rows_release(&rows);
}

/* Equal ids but another user behind the slot: no sharing from there on. */
static void soft_tokens_share_by_meaning(void **state)
{
    (void)state;
    sella_err err = {0};
    sella_rows rows;
    sella_tree_batch b;
    sella_rows_init(&rows);
    int32_t token[] = {5, 99, 6};
    uint8_t user[] = {0, SELLA_SLOT_USER, 0}, item[] = {0, SELLA_SLOT_ITEM, 0};
    int32_t ref1[] = {0, 1, 3, 0}, ref2[] = {0, 2, 3, 0}, ref3[] = {0, 1, 4, 0};
    sella_rows_add(&rows, token, user, 3, ref1, 0, 0, 0, 1, &err);
    sella_rows_add(&rows, token, user, 3, ref2, 0, 1, 0, 1, &err); // another user
    /* the same user; the item has no slot here */
    sella_rows_add(&rows, token, user, 3, ref3, 0, 2, 0, 1, &err);
    sella_rows_add(&rows, token, item, 3, ref1, 0, 3, 0, 1, &err); // another slot
    sella_rows_add(&rows, token, NULL, 3, NULL, 0, 4, 0, 1, &err); // plain text with the same ids
    int64_t index[] = {0, 1, 2, 3, 4};
    sella_tree_options options = {.budget = 64, .tree_cap = 0, .share = true};
    assert_int_equal(sella_tree_build(&rows, index, 5, &options, &b, &err), SELLA_OK);
    assert_int_equal(b.T, 1 + 4 * 2);
    assert_int_equal(b.M, 3);
    assert_int_equal(b.answer_n[0], b.answer_n[2]);
    check_batch(&rows, index, 5, &b);
    sella_tree_batch_release(&b);
    sella_rows_release(&rows);
}

static void refusals(void **state)
{
    (void)state;
    sella_err err = {0};
    sella_rows rows;
    sella_tree_plan plan;
    sella_rows_init(&rows);
    int32_t token[] = {1, 2, 3};
    sella_tree_options options = {.budget = 2, .tree_cap = 0, .share = true};
    /* no rows: no batches */
    assert_int_equal(sella_tree_plan_new(&rows, &options, &plan, &err), SELLA_OK);
    assert_int_equal(plan.batches, 0);
    sella_tree_plan_release(&plan);
    assert_int_equal(sella_rows_add(&rows, token, NULL, 0, NULL, 0, 7, 0, 1, &err), SELLA_ARG);
    assert_non_null(strstr(err.text, "row 7 has no tokens"));
    sella_rows_add(&rows, token, NULL, 3, NULL, 0, 41, 0, 1, &err);
    assert_int_equal(sella_tree_plan_new(&rows, &options, &plan, &err), SELLA_ARG);
    assert_string_equal(err.text, "row 41 has 3 tokens; a batch holds at most 2");
    int64_t index[] = {0};
    sella_tree_batch b;
    assert_int_equal(sella_tree_build(&rows, index, 1, &options, &b, &err), SELLA_ARG);
    options.budget = 0;
    assert_int_equal(sella_tree_plan_new(&rows, &options, &plan, &err), SELLA_ARG);
    options = (sella_tree_options){.budget = 8, .tree_cap = -1, .share = true};
    assert_int_equal(sella_tree_plan_new(&rows, &options, &plan, &err), SELLA_ARG);
    options.tree_cap = 2; // a row longer than the cap has a tree of its own
    assert_int_equal(sella_tree_plan_new(&rows, &options, &plan, &err), SELLA_OK);
    assert_int_equal(plan.tokens, 3);
    sella_tree_plan_release(&plan);
    sella_rows_release(&rows);
}

/* 20,000 candidates below one history: linear work, one tree (a scan over siblings would take
 * minutes under sanitizers). */
static void many_candidates(void **state)
{
    (void)state;
    sella_err err = {0};
    sella_rows rows;
    sella_tree_plan plan;
    sella_rows_init(&rows);
    int32_t token[60];
    for (int i = 0; i < 60; i++) {
        token[i] = i;
    }
    for (int r = 0; r < 20000; r++) {
        token[58] = 1000 + r;
        sella_rows_add(&rows, token, NULL, 60, NULL, 0, r, 0, 1, &err);
    }
    sella_tree_options options = {.budget = 100000, .tree_cap = 0, .share = true};
    assert_int_equal(sella_tree_plan_new(&rows, &options, &plan, &err), SELLA_OK);
    assert_int_equal(plan.tokens, 58 + 2 * 20000);
    assert_int_equal(plan.trees, 1);
    sella_tree_plan_release(&plan);
    sella_rows_release(&rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_by_hand),
        cmocka_unit_test(random_forests_equal_brute_force),
        cmocka_unit_test(a_tree_by_hand),
        cmocka_unit_test(soft_tokens_share_by_meaning),
        cmocka_unit_test(refusals),
        cmocka_unit_test(many_candidates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
