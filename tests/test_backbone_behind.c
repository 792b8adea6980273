/* test_backbone_behind.c - a pass behind given keys and values is the pass over the whole rows:
 * every cut of every reference row of every family against transformers' hidden states, trees with
 * soft tokens before and behind the cut; and the cache of prefixes by itself. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backbone/prefix_cache.h"
#include "base/rng.h"
#include "backbone_case.h"

static const double SAME = 1e-5;

/* Tokens from .. to of each row; positions are the caller's business. */
static void part_of(const sella_rows *rows, int64_t r, int from, int to, sella_rows *out)
{
    const int64_t at = rows->start[r];
    CHECK(sella_rows_add(out, rows->token + at + from, rows->slot + at + from, to - from,
                         rows->ref + r * SELLA_SLOTS, 0, r, 0, 1, err));
}

static void shift(sella_tree_batch *batch, int by)
{
    for (int t = 0; t < batch->T; t++) {
        batch->position_t[t] += by;
    }
}

static sella_pass *pass_new(const sella_backbone *backbone, sella_lora *lora, int tokens)
{
    sella_pass *pass = NULL;
    const sella_pass_options options = {.max_tokens = tokens};
    CHECK(sella_pass_new(backbone, lora, &options, &pass, err));
    return pass;
}

/* A pass over a part whose tokens stand behind `from` others; vector: of its soft tokens. */
static void pass_behind(sella_pass *pass, const sella_rows *part, bool share, int from,
                        const sella_pass_link *link, const float *vector, int C, float *answer)
{
    sella_tree_batch batch;
    batch_of(part, share, &batch);
    shift(&batch, from);
    float *soft = soft_of(&batch, vector, C);
    CHECK(sella_pass_forward_behind(pass, &batch, link, soft, answer, err));
    free(soft);
    sella_tree_batch_release(&batch);
}

/* The bare model: each row cut at every place, the head kept in two runs, against the dump. */
static void every_cut_is_transformers(void **state)
{
    (void)state;
    for (size_t i = 0; i < BACKBONE_CASES; i++) {
        ref_file ref = ref_open(ref_path(backbone_cases[i].dump));
        sella_backbone *backbone = NULL;
        sella_rows rows, head, tail;
        CHECK(sella_backbone_open(ref_path(backbone_cases[i].model), NULL, &backbone, err));
        rows_of(&ref, false, &rows);
        sella_rows_init(&head);
        sella_rows_init(&tail);
        const int C = sella_backbone_shape(backbone)->C;
        sella_pass *pass = pass_new(backbone, NULL, 64);
        float *answer = calloc((size_t)C, sizeof *answer);
        float *kv = calloc(64 * sella_kv_floats(sella_backbone_shape(backbone)), sizeof *kv);
        for (int64_t r = 0; r < rows.count; r++) {
            const int length = (int)(rows.start[r + 1] - rows.start[r]);
            for (int cut = 1; cut < length; cut++) {
                const int first = (cut + 1) / 2;
                const sella_kv_run runs[2] = {
                    {.data = kv, .tokens = first, .stride = first + 1},
                    {.data =
                         kv + (size_t)(first + 1) * sella_kv_floats(sella_backbone_shape(backbone)),
                     .tokens = cut - first,
                     .stride = 20}};
                sella_rows_clear(&head);
                sella_rows_clear(&tail);
                part_of(&rows, r, 0, cut, &head);
                part_of(&rows, r, cut, length, &tail);
                pass_behind(pass, &head, false, 0, &(sella_pass_link){.kept_n = runs, .keeps = 2},
                            NULL, C, answer);
                pass_behind(pass, &tail, false, cut,
                            &(sella_pass_link){.given_n = runs, .givens = 2}, NULL, C, answer);
                close_relative(backbone_cases[i].model, answer,
                               ref_f32(&ref, "hidden", NULL) + (size_t)r * (size_t)C, (size_t)C,
                               1e-4);
            }
        }
        free(kv);
        free(answer);
        sella_pass_free(pass);
        sella_rows_release(&rows);
        sella_rows_release(&head);
        sella_rows_release(&tail);
        sella_backbone_close(backbone);
        ref_close(&ref);
    }
}

enum { ROWS = 5, LENGTH = 14 };

/* Rows that share 8 tokens, the last of them soft; behind them a soft token each, and branches that
 * share further tokens. */
static void candidates(sella_rows *rows)
{
    sella_rows_init(rows);
    for (int r = 0; r < ROWS; r++) {
        int32_t token[LENGTH], ref[SELLA_SLOTS] = {0, 0, 1 + r % 3, 0};
        uint8_t slot[LENGTH] = {0};
        for (int t = 0; t < LENGTH; t++) {
            token[t] = (t * 29 + (t > 8 ? r / 2 * 7 : 0) + (t > 11 ? r * 31 : 0)) % 500;
        }
        token[7] = token[8] = 509;
        slot[7] = SELLA_SLOT_USER;
        slot[8] = SELLA_SLOT_ITEM;
        CHECK(sella_rows_add(rows, token, slot, LENGTH - r % 2, ref, 0, r, 0, 1, err));
    }
}

static float *vectors(int n, int C)
{
    const sella_rng rng = {.seed = 11, .stream = SELLA_STREAM_TEST};
    float *x = calloc((size_t)n * (size_t)C, sizeof *x);
    for (size_t i = 0; i < (size_t)n * (size_t)C; i++) {
        x[i] = (float)sella_rng_normal(&rng, i);
    }
    return x;
}

/* Answers by row: all rows as one tree; then with the first `kept` tokens in one pass and the rest
 * in another, then with the rest of the shared tokens kept by the pass of the first row. */
static void tree_behind(void **state)
{
    (void)state;
    static const char *const models[] = {"tiny_llama", "backbone_qwen2", "backbone_qwen3"};
    for (size_t m = 0; m < 3; m++) {
        sella_backbone *backbone = NULL;
        sella_lora *lora = NULL;
        char adapter[256];
        snprintf(adapter, sizeof adapter, "tests/ref/%s/adapter", models[m]);
        CHECK(sella_backbone_open(ref_path(models[m]), NULL, &backbone, err));
        CHECK(sella_lora_load(backbone, adapter, &lora, err));
        const int C = sella_backbone_shape(backbone)->C;
        const size_t floats = sella_kv_floats(sella_backbone_shape(backbone));
        sella_pass *pass = pass_new(backbone, lora, 80);
        sella_rows rows, part;
        sella_tree_batch batch;
        candidates(&rows);
        sella_rows_init(&part);
        float *vector = vectors(4, C), *soft;
        float *want = calloc((size_t)ROWS * (size_t)C, sizeof *want),
              *got = calloc((size_t)ROWS * (size_t)C, sizeof *got);
        float *kv = calloc(16 * floats, sizeof *kv);
        batch_of(&rows, true, &batch);
        soft = soft_of(&batch, vector, C);
        CHECK(sella_pass_forward(pass, &batch, soft, 0, -1, want, err));
        free(soft);
        sella_tree_batch_release(&batch);
        /* the soft token 7 behind the cut, and before it */
        for (int kept = 3; kept <= 8; kept += 5) {
            const sella_kv_run runs[2] = {
                {.data = kv, .tokens = kept, .stride = kept},
                {.data = kv + (size_t)kept * floats, .tokens = 8 - kept, .stride = 8}};
            sella_rows_clear(&part);
            part_of(&rows, 0, 0, kept, &part);
            pass_behind(pass, &part, false, 0, &(sella_pass_link){.kept_n = runs, .keeps = 1},
                        vector, C, got);
            for (int first = 0; first < ROWS; first += 2) { /* two rows, two, one */
                const int from = first == 0 ? kept : 8;
                sella_rows_clear(&part);
                for (int r = first; r < ROWS && r < first + 2; r++) {
                    part_of(&rows, r, from, (int)(rows.start[r + 1] - rows.start[r]), &part);
                }
                const sella_pass_link link = {.given_n = runs,
                                              .givens = from == kept ? 1 : 2,
                                              .kept_n = runs + 1,
                                              .keeps = from == kept && kept < 8};
                pass_behind(pass, &part, true, from, &link, vector, C,
                            got + (size_t)first * (size_t)C);
            }
            close_relative(models[m], got, want, (size_t)ROWS * (size_t)C, SAME);
        }
        /* too many tokens for the pass are refused, and a usual pass afterwards is as before */
        sella_err why = {0};
        const sella_kv_run runs = {.data = kv, .tokens = 70, .stride = 70};
        batch_of(&rows, true, &batch);
        soft = soft_of(&batch, vector, C);
        assert_int_equal(
            sella_pass_forward_behind(
                pass, &batch, &(sella_pass_link){.given_n = &runs, .givens = 1}, soft, got, &why),
            SELLA_ARG);
        CHECK(sella_pass_forward(pass, &batch, soft, 0, -1, got, err));
        assert_memory_equal(got, want, (size_t)ROWS * (size_t)C * sizeof *got);
        free(soft);
        sella_tree_batch_release(&batch);
        free(kv);
        free(vector);
        free(want);
        free(got);
        sella_rows_release(&rows);
        sella_rows_release(&part);
        sella_pass_free(pass);
        sella_lora_free(lora);
        sella_backbone_close(backbone);
    }
}

/* ---- the cache ---- */

/* 4 floats a token and layer, 40 bytes a token */
static const sella_backbone_config small = {.layers = 2, .G = 1, .D = 2};
enum { TOKEN = 40 };

/* What stands for k and v of the token at `depth` of this path in layer l. */
static float value_of(const uint64_t *key_n, int depth, int l)
{
    uint64_t sum = 0;
    for (int d = 0; d <= depth; d++) {
        sum = sum * 31 + key_n[d];
    }
    return (float)(sum % 100000) + 0.25f * (float)l;
}

/* Look up, check what is given, extend, write what is kept, commit. Returns the tokens found; *kept
 * = was there room. */
static int use(sella_prefix_cache *cache, const uint64_t *key_n, const uint8_t *cut_n, int n,
               bool *kept)
{
    static const uint8_t none[64] = {0};
    const int found = sella_prefix_cache_find(cache, key_n, n);
    CHECK(sella_prefix_cache_extend(cache, key_n, cut_n ? cut_n : none, n, kept, err));
    const sella_pass_link link = sella_prefix_cache_link(cache);
    int at = 0;
    for (int i = 0; i < link.givens; i++) {
        for (int t = 0; t < link.given_n[i].tokens; t++, at++) {
            for (int l = 0; l < 2; l++) {
                const float *row = link.given_n[i].data +
                                   ((size_t)l * (size_t)link.given_n[i].stride + (size_t)t) * 4;
                assert_true(row[0] == value_of(key_n, at, l) && row[3] == row[0] + 3);
            }
        }
    }
    assert_int_equal(at, found);
    for (int i = 0; i < link.keeps; i++) {
        for (int t = 0; t < link.kept_n[i].tokens; t++, at++) {
            for (int l = 0; l < 2; l++) {
                float *row = link.kept_n[i].data +
                             ((size_t)l * (size_t)link.kept_n[i].stride + (size_t)t) * 4;
                row[0] = value_of(key_n, at, l);
                row[3] = row[0] + 3;
            }
        }
    }
    assert_int_equal(at, *kept ? n : found);
    sella_prefix_cache_commit(cache);
    const sella_prefix_cache_stats now = sella_prefix_cache_state(cache);
    assert_true(now.bytes <= now.limit);
    return found;
}

static void cache_extends_splits_forgets(void **state)
{
    (void)state;
    sella_prefix_cache *cache = NULL;
    bool kept;
    const uint64_t a[] = {1, 2, 3, 4, 90}, longer[] = {1, 2, 3, 4, 5, 6, 91}, fork[] = {1, 2, 7, 8},
                   other[] = {50, 51, 52};
    const uint8_t soft_a[] = {0, 0, 0, 0, 1}, soft_longer[] = {0, 0, 0, 0, 0, 0, 1};
    CHECK(sella_prefix_cache_new(&small, 20 * TOKEN, &cache, err));
    assert_int_equal(use(cache, a, soft_a, 5, &kept), 0);
    assert_true(kept);
    assert_int_equal(use(cache, a, soft_a, 5, &kept), 5);
    assert_int_equal(sella_prefix_cache_state(cache).nodes, 2);
    /* behind the history, beside its soft token: no split */
    assert_int_equal(use(cache, longer, soft_longer, 7, &kept), 4);
    assert_int_equal(sella_prefix_cache_state(cache).nodes, 4);
    assert_int_equal(use(cache, a, soft_a, 3, &kept), 3);           /* a part of a node */
    assert_int_equal(sella_prefix_cache_state(cache).nodes, 4);
    assert_int_equal(use(cache, fork, NULL, 4, &kept), 2);          /* splits 1 2 3 4 */
    assert_int_equal(sella_prefix_cache_state(cache).nodes, 6);
    assert_int_equal(sella_prefix_cache_state(cache).bytes, 10 * TOKEN);
    assert_int_equal(use(cache, longer, soft_longer, 7, &kept), 7);
    assert_int_equal(use(cache, a, soft_a, 5, &kept), 5);
    assert_int_equal(use(cache, other, NULL, 3, &kept), 0);
    assert_int_equal(sella_prefix_cache_state(cache).bytes, 13 * TOKEN);
    /* twelve more do not fit beside 13 of 20: the oldest leaves go, 7 8 first, then 91, 5 6 */
    uint64_t big[12];
    for (int i = 0; i < 12; i++) {
        big[i] = 200 + (uint64_t)i;
    }
    assert_int_equal(use(cache, big, NULL, 12, &kept), 0);
    assert_true(kept);
    assert_int_equal(sella_prefix_cache_state(cache).evicted, 3);
    assert_int_equal(sella_prefix_cache_find(cache, fork, 4), 2);
    assert_int_equal(sella_prefix_cache_find(cache, longer, 7), 4);
    assert_int_equal(use(cache, a, soft_a, 5, &kept), 5);
    /* what was found is not forgotten to make room for what follows it */
    uint64_t whole[21] = {1, 2, 3, 4, 90};
    for (int i = 5; i < 21; i++) {
        whole[i] = 300 + (uint64_t)i;
    }
    assert_int_equal(use(cache, whole, NULL, 21, &kept), 5);
    assert_false(kept);
    assert_int_equal(use(cache, whole, NULL, 20, &kept), 5);
    assert_true(kept);
    assert_int_equal(sella_prefix_cache_state(cache).bytes, 20 * TOKEN);
    assert_int_equal(use(cache, other, NULL, 3, &kept), 0);
    sella_prefix_cache_free(cache);
}

static void cache_smaller_than_one_prefix(void **state)
{
    (void)state;
    sella_prefix_cache *cache = NULL;
    const uint64_t a[] = {1, 2, 3, 4};
    const uint8_t none[4] = {0};
    bool room;
    CHECK(sella_prefix_cache_new(&small, 3 * TOKEN, &cache, err));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(sella_prefix_cache_find(cache, a, 4), 0);
        CHECK(sella_prefix_cache_extend(cache, a, none, 4, &room, err));
        assert_false(room);
        assert_int_equal(sella_prefix_cache_link(cache).keeps, 0);
    }
    /* made, then the pass fails: nothing stays */
    assert_int_equal(sella_prefix_cache_find(cache, a, 3), 0);
    CHECK(sella_prefix_cache_extend(cache, a, none, 3, &room, err));
    assert_true(room);
    sella_prefix_cache_drop(cache);
    assert_int_equal(sella_prefix_cache_state(cache).bytes, 0);
    assert_int_equal(sella_prefix_cache_find(cache, a, 3), 0);
    sella_prefix_cache_free(cache);
    sella_prefix_cache_free(NULL);
}

/* Random paths over few keys, against a plain memory of what was committed since: what is found
 * always begins the keys, values are right (use checks them) and the bound holds. */
static void cache_random(void **state)
{
    (void)state;
    sella_prefix_cache *cache = NULL;
    const sella_rng rng = {.seed = 3, .stream = SELLA_STREAM_TEST};
    uint64_t draw = 0;
    int found = 0;
    bool kept;
    CHECK(sella_prefix_cache_new(&small, 60 * TOKEN, &cache, err));
    for (int i = 0; i < 3000; i++) {
        uint64_t key[24];
        uint8_t cut[24];
        const int n = 1 + (int)sella_rng_below(&rng, draw++, 24);
        for (int t = 0; t < n; t++) {
            key[t] = 1 + sella_rng_below(&rng, draw++, t < 4 ? 2 : 3);
            cut[t] = sella_rng_below(&rng, draw++, 6) == 0;
        }
        found += use(cache, key, cut, n, &kept) > 0;
    }
    assert_true(found > 1000 && sella_prefix_cache_state(cache).evicted > 100);
    sella_prefix_cache_free(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cut_is_transformers),
        cmocka_unit_test(tree_behind),
        cmocka_unit_test(cache_extends_splits_forgets),
        cmocka_unit_test(cache_smaller_than_one_prefix),
        cmocka_unit_test(cache_random),
    };
    sella_threads_set(1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
