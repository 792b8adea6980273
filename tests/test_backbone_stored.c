/* test_backbone_stored.c - weights that stay as stored: products against plain loops over the
 * file's rows, whole passes against expanded weights (which test_backbone_reference holds to
 * transformers), values that are not finite, and the choice by free memory. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backbone/pass_state.h"
#include "backbone_case.h"
#include "base/memory.h"
#include "base/rng.h"
#include "formats/gguf.h"
#include "scratch.h"

/* ---- one matrix ---- */

static float *noise(size_t n, uint64_t seed)
{
    const sella_rng rng = {.seed = seed, .stream = SELLA_STREAM_TEST};
    float *x = calloc(n, sizeof *x);
    for (size_t i = 0; i < n; i++) {
        x[i] = sella_rng_uniform(&rng, i) - 0.5f;
    }
    return x;
}

/* q, k and v of the llama file one above the other, rows of q and k put in order by the converter's
 * formula read forwards. */
static float *by_hand(const sella_backbone *backbone, sella_gguf *file)
{
    static const char *const name[] = {"blk.1.attn_q.weight", "blk.1.attn_k.weight",
                                       "blk.1.attn_v.weight"};
    const sella_backbone_config *c = sella_backbone_shape(backbone);
    const int D = c->D, heads[] = {c->H, c->G, c->G};
    float *all = calloc((size_t)(c->H + 2 * c->G) * (size_t)D * (size_t)c->C, sizeof *all),
          *at = all;
    for (int p = 0; p < 3; p++) {
        const sella_tensor *t = sella_gguf_find(file, name[p]);
        assert_true(t != NULL && t->dtype == SELLA_DTYPE_BF16 && t->shape[0] == heads[p] * D &&
                    t->shape[1] == c->C);
        for (int h = 0; h < heads[p]; h++) {
            for (int i = 0; i < D / 2; i++) {
                for (int j = 0; j < 2; j++) {
                    const int in_file = h * D + 2 * i + j,
                              in_order = p < 2 ? h * D + j * (D / 2) + i : in_file;
                    for (int k = 0; k < c->C; k++) {
                        uint16_t half;
                        memcpy(&half,
                               (const uint8_t *)t->data +
                                   2 * ((size_t)in_file * (size_t)c->C + (size_t)k),
                               2);
                        const uint32_t bits = (uint32_t)half << 16;
                        memcpy(at + (size_t)in_order * (size_t)c->C + (size_t)k, &bits, 4);
                    }
                }
            }
        }
        at += (size_t)heads[p] * (size_t)D * (size_t)c->C;
    }
    return all;
}

/* Rows row .. row + rows - 1 of w through both products with a tile of tile_rows rows. */
static void products_of(const sella_weight *whole, const float *hand, int row, int rows,
                        int tile_rows)
{
    enum { N = 5, PAD = 3 };
    const sella_weight w = sella_weight_rows(whole, row, rows);
    const int in = w.in;
    sella_weight_tile tile = {.floats = (size_t)tile_rows * (size_t)in};
    tile.data = calloc(tile.floats, sizeof *tile.data);
    float *x = noise((size_t)N * (size_t)(in + PAD), 1),
          *y = noise((size_t)N * (size_t)(rows + PAD), 2);
    float *want = calloc((size_t)N * (size_t)(rows + PAD), sizeof *want);
    for (int beta = 0; beta < 2; beta++) {
        memcpy(want, y, (size_t)N * (size_t)(rows + PAD) * sizeof *y);
        for (int n = 0; n < N; n++) {
            for (int r = 0; r < rows; r++) {
                double sum = beta ? (double)y[n * (rows + PAD) + r] : 0.0;
                for (int k = 0; k < in; k++) {
                    sum += (double)x[n * (in + PAD) + k] *
                           (double)hand[(size_t)(row + r) * (size_t)in + (size_t)k];
                }
                want[n * (rows + PAD) + r] = (float)sum;
            }
        }
        sella_weight_forward(&w, N, x, in + PAD, (float)beta, y, rows + PAD, &tile);
        close_relative("y", y, want, (size_t)N * (size_t)(rows + PAD), 1e-5);
    }
    float *dx = noise((size_t)N * (size_t)(in + PAD), 3),
          *dwant = calloc((size_t)N * (size_t)(in + PAD), sizeof *dwant);
    memcpy(dwant, dx, (size_t)N * (size_t)(in + PAD) * sizeof *dx);
    for (int n = 0; n < N; n++) {
        for (int k = 0; k < in; k++) {
            double sum = 0.0;
            for (int r = 0; r < rows; r++) {
                sum += (double)y[n * (rows + PAD) + r] *
                       (double)hand[(size_t)(row + r) * (size_t)in + (size_t)k];
            }
            dwant[n * (in + PAD) + k] = (float)sum;
        }
    }
    sella_weight_backward(&w, N, y, rows + PAD, dx, in + PAD, &tile);
    close_relative("dx", dx, dwant, (size_t)N * (size_t)(in + PAD), 1e-5);
    assert_null(tile.fault);
    free(tile.data);
    free(x);
    free(y);
    free(want);
    free(dx);
    free(dwant);
}

static void products(void **state)
{
    (void)state;
    sella_backbone *stored = NULL;
    sella_gguf *file = NULL;
    CHECK(sella_backbone_open_as(ref_path("backbone_llama3.gguf"), SELLA_WEIGHTS_STORED, NULL,
                                 &stored, err));
    CHECK(sella_gguf_open("tests/ref/backbone_llama3.gguf", &file, err));
    const sella_backbone_config *c = sella_backbone_shape(stored);
    const sella_weight *w = &sella_backbone_layer(stored, 1)->w_qkv;
    const int Q = c->H * c->D, K = c->G * c->D, W = Q + 2 * K;
    assert_true(w->expanded == NULL && w->out == W && w->in == c->C && w->parts == 3);
    float *hand = by_hand(stored, file);
    float *read = calloc((size_t)W * (size_t)c->C, sizeof *read);
    assert_null(sella_weight_read(w, 0, W, read));
    assert_memory_equal(read, hand, (size_t)W * (size_t)c->C * sizeof *read); /* bit for bit */
    free(read);
    static const int tiles[] = {1, 3, 17, 1000};
    for (size_t i = 0; i < sizeof tiles / sizeof *tiles; i++) {
        products_of(w, hand, 0, W, tiles[i]);
        products_of(w, hand, 0, Q, tiles[i]);
        products_of(w, hand, Q, 2 * K, tiles[i]);
        products_of(w, hand, Q - 1, K + 2, tiles[i]); /* pieces of all three tensors */
    }
    free(hand);
    sella_gguf_close(file);
    sella_backbone_close(stored);
}

/* ---- whole passes ---- */

typedef struct outcome {
    float *answer, *dsoft, *grad;
    size_t answers, softs, grads;
} outcome;

static void outcome_free(outcome *o)
{
    free(o->answer);
    free(o->dsoft);
    free(o->grad);
}

/* Forward and backward of a seeded adapter and soft rows over the rows; tile_rows > 0: rows of the
 * widest matrix in a tile. */
static outcome run_pass(const char *model, sella_weights weights, const sella_rows *rows,
                        bool train_lora, size_t tile_rows)
{
    sella_backbone *backbone = NULL;
    sella_lora *lora = NULL;
    sella_pass *pass = NULL;
    sella_tree_batch batch;
    sella_lora_config config = {.rank = 4, .alpha = 8, .dropout = 0.1};
    outcome o = {0};
    CHECK(sella_backbone_open_as(ref_path(model), weights, NULL, &backbone, err));
    assert_int_equal(sella_backbone_stored(backbone), weights == SELLA_WEIGHTS_STORED);
    CHECK(sella_lora_targets("all", &config.targets, err));
    CHECK(sella_lora_new(backbone, &config, 7, &lora, err));
    sella_param_table *table = sella_lora_params(lora);
    for (int p = 0; p < table->count; p++) { /* B begins as zero, which would hide A's gradient */
        float *value = noise(table->param[p].count, (uint64_t)p);
        for (size_t i = 0; i < table->param[p].count; i++) {
            table->param[p].data[i] += 0.1f * value[i];
        }
        free(value);
        o.grads += table->param[p].count;
    }
    batch_of(rows, true, &batch);
    const int C = sella_backbone_shape(backbone)->C,
              widest =
                  sella_backbone_shape(backbone)->F > C ? sella_backbone_shape(backbone)->F : C;
    const sella_pass_options options = {
        .max_tokens = batch.T, .backward = true, .train_lora = train_lora, .train_soft = true};
    CHECK(sella_pass_new(backbone, lora, &options, &pass, err));
    if (tile_rows > 0 && pass->tile.floats > tile_rows * (size_t)widest) {
        pass->tile.floats = tile_rows * (size_t)widest;
    }
    o.answers = (size_t)batch.N * (size_t)C;
    o.softs = (size_t)batch.M * (size_t)C;
    o.answer = calloc(o.answers, sizeof *o.answer);
    o.dsoft = calloc(o.softs + 1, sizeof *o.dsoft);
    o.grad = calloc(o.grads, sizeof *o.grad);
    float *soft = noise(o.softs + 1, 11), *danswer = noise(o.answers, 12);
    CHECK(sella_pass_forward(pass, &batch, soft, 3, 1, o.answer, err));
    CHECK(sella_pass_backward(pass, danswer, o.dsoft, err));
    float *to = o.grad;
    for (int p = 0; p < table->count; p++) {
        memcpy(to, table->param[p].grad, table->param[p].count * sizeof *to);
        to += table->param[p].count;
    }
    free(soft);
    free(danswer);
    sella_pass_free(pass);
    sella_tree_batch_release(&batch);
    sella_lora_free(lora);
    sella_backbone_close(backbone);
    return o;
}

/* Whole matrices as tiles: the very same products, the same bits. Small tiles: equal but for
 * rounding. */
static void same(const char *model, const sella_rows *rows, bool train_lora)
{
    outcome expanded = run_pass(model, SELLA_WEIGHTS_EXPANDED, rows, train_lora, 0);
    outcome stored = run_pass(model, SELLA_WEIGHTS_STORED, rows, train_lora, 0);
    double sum = 0;
    for (size_t i = 0; i < expanded.grads; i++) {
        sum += fabs((double)expanded.grad[i]);
    }
    assert_true(expanded.softs > 0 && (sum > 0) == train_lora);
    assert_memory_equal(stored.answer, expanded.answer, expanded.answers * sizeof(float));
    assert_memory_equal(stored.dsoft, expanded.dsoft, expanded.softs * sizeof(float));
    assert_memory_equal(stored.grad, expanded.grad, expanded.grads * sizeof(float));
    outcome_free(&stored);
    stored = run_pass(model, SELLA_WEIGHTS_STORED, rows, train_lora, 7);
    close_relative(model, stored.answer, expanded.answer, expanded.answers, 1e-5);
    close_relative(model, stored.dsoft, expanded.dsoft, expanded.softs, 1e-5);
    close_relative(model, stored.grad, expanded.grad, expanded.grads, 1e-5);
    outcome_free(&stored);
    outcome_free(&expanded);
}

static void passes(void **state)
{
    for (size_t i = 0; i < BACKBONE_CASES; i++) {
        ref_file ref = ref_open(ref_path(backbone_cases[i].dump));
        sella_rows rows;
        rows_of(&ref, true, &rows);
        same(backbone_cases[i].model, &rows, true);
        same(backbone_cases[i].model, &rows, false);
        sella_rows_release(&rows);
        ref_close(&ref);
    }
    (void)state;
}

/* Q4_K, Q5_K, Q6_K, Q5_0, Q5_1 and Q8_0 in one model, on two threads. */
static void quantized(void **state)
{
    (void)state;
    ref_file ref = ref_open(ref_path("backbone_quantized.ref"));
    size_t starts;
    const int32_t *start = ref_i32(&ref, "start", &starts), *token = ref_i32(&ref, "token", NULL);
    sella_rows rows;
    sella_rows_init(&rows);
    for (size_t r = 0; r + 1 < starts; r++) {
        uint8_t slot[64] = {0};
        const int n = start[r + 1] - start[r];
        const int32_t reference[SELLA_SLOTS] = {0};
        slot[n / 2] = 1;
        CHECK(sella_rows_add(&rows, token + start[r], slot, n, reference, (int32_t)r, (int64_t)r,
                             1.0f, 1.0f, err));
    }
    sella_threads_set(2);
    same("backbone_quantized.gguf", &rows, true);
    same("backbone_quantized.gguf", &rows, false);
    sella_threads_set(1);
    sella_rows_release(&rows);
    ref_close(&ref);
}

/* ---- values that are not finite ---- */

static void faults(void **state)
{
    (void)state;
    ref_file ref = ref_open(ref_path("backbone_quantized.ref"));
    sella_rows rows;
    sella_tree_batch batch;
    sella_map map;
    sella_gguf *file = NULL;
    sella_backbone *backbone = NULL;
    sella_pass *pass = NULL;
    sella_err why = {0};
    char *dir = scratch_make();
    CHECK(sella_map_open("tests/ref/backbone_quantized.gguf", &map, err));
    CHECK(sella_gguf_open("tests/ref/backbone_quantized.gguf", &file, err));
    const sella_tensor *t = sella_gguf_find(file, "blk.0.ffn_up.weight");
    uint8_t *copy = malloc(map.size);
    memcpy(copy, map.data, map.size);
    uint8_t *at = memmem(copy, map.size, t->data, (size_t)t->bytes);
    assert_non_null(at);
    at[5 * 176 + 1] = 0x7c; /* a scale of Q5_K: infinite */
    char *path = scratch_file(dir, "m.gguf", copy, map.size);
    rows_of(&ref, false, &rows);
    batch_of(&rows, false, &batch);
    /* not read before its use */
    CHECK(sella_backbone_open_as(path, SELLA_WEIGHTS_STORED, NULL, &backbone, err));
    const sella_pass_options options = {.max_tokens = batch.T};
    CHECK(sella_pass_new(backbone, NULL, &options, &pass, err));
    float *answer =
        calloc((size_t)batch.N * (size_t)sella_backbone_shape(backbone)->C, sizeof *answer);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(sella_pass_forward(pass, &batch, NULL, 0, -1, answer, &why), SELLA_FORMAT);
        assert_non_null(strstr(
            why.text, "m.gguf: tensor 'blk.0.ffn_up.weight' holds a value that is not finite"));
    }
    assert_int_equal(sella_pass_backward(pass, answer, NULL, &why), SELLA_STATE);
    sella_pass_free(pass);
    sella_backbone_close(backbone);
    backbone = NULL;
    /* expanded: at opening */
    assert_int_equal(sella_backbone_open(path, NULL, &backbone, &why), SELLA_FORMAT);
    assert_null(backbone);
    free(answer);
    free(copy);
    free(path);
    sella_tree_batch_release(&batch);
    sella_rows_release(&rows);
    sella_gguf_close(file);
    sella_map_close(&map);
    scratch_remove(dir);
    ref_close(&ref);
}

/* ---- memory ---- */

static void line(void *user, sella_level level, const char *text)
{
    if (level == SELLA_LEVEL_INFO) {
        snprintf(user, 256, "%s", text);
    }
}

static void memory(void **state)
{
    (void)state;
    sella_backbone_config shape;
    sella_backbone_need need;
    sella_backbone *backbone = NULL;
    char said[256] = "";
    const sella_talk talk = {.line = line, .user = said};
    CHECK(sella_backbone_probe(ref_path("backbone_quantized.gguf"), &shape, &need, err));
    /* one layer's matrices: 128 rows of Q4_K, 32 of Q8_0, 32 of Q6_K, 256 of Q5_0; 128 of Q4_K and
     * of Q5_K, 256 of Q5_1 */
    const size_t matrices =
        128 * 144 + 32 * 8 * 34 + 32 * 210 + 256 * 4 * 22 + 128 * 144 + 128 * 176 + 256 * 4 * 24;
    const size_t tile = 4 * 2 * 128 * 256, vectors = 4 * 3 * 256;
    assert_int_equal(shape.layers, 1);
    assert_in_range(need.stored, matrices + tile + vectors, matrices + tile + vectors + 4 * 64);
    const size_t values = (128 + 32 + 32) * 256 + 256 * 128 + 2 * 128 * 256 + 256 * 128;
    assert_in_range(need.expanded, 4 * values + vectors, 4 * values + vectors + 8 * 64);

    CHECK(sella_backbone_open_as(ref_path("backbone_quantized.gguf"), SELLA_WEIGHTS_STORED, &talk,
                                 &backbone, err));
    assert_true(sella_backbone_bytes(backbone) < 2 * vectors &&
                sella_backbone_tile(backbone) * 4 == tile);
    assert_string_equal(said, "");
    sella_backbone_close(backbone);
    CHECK(sella_backbone_open_as(ref_path("backbone_quantized.gguf"), SELLA_WEIGHTS_AUTO, &talk,
                                 &backbone, err));
    assert_true(!sella_backbone_stored(backbone) && sella_backbone_tile(backbone) == 0);
    assert_non_null(strstr(said, "weights are expanded"));
    sella_backbone_close(backbone);

    /* a third of the free memory fits comfortably, seven eighths do not, nor does a third beside a
     * half */
    const size_t bytes = sella_memory_available();
    const sella_backbone_need third = {.expanded = bytes / 3, .stored = bytes / 12},
                              most = {.expanded = bytes / 8 * 7};
    assert_int_equal(sella_weights_choose(SELLA_WEIGHTS_AUTO, &third, 0, NULL),
                     SELLA_WEIGHTS_EXPANDED);
    assert_int_equal(sella_weights_choose(SELLA_WEIGHTS_AUTO, &most, 0, &talk),
                     SELLA_WEIGHTS_STORED);
    assert_non_null(strstr(said, "weights stay as stored"));
    assert_int_equal(sella_weights_choose(SELLA_WEIGHTS_AUTO, &third, bytes / 2, NULL),
                     SELLA_WEIGHTS_STORED);
    assert_int_equal(sella_weights_choose(SELLA_WEIGHTS_AUTO, &third, SIZE_MAX, NULL),
                     SELLA_WEIGHTS_STORED);
    assert_int_equal(sella_weights_choose(SELLA_WEIGHTS_EXPANDED, &most, 0, NULL),
                     SELLA_WEIGHTS_EXPANDED);
    assert_int_equal(sella_weights_choose(SELLA_WEIGHTS_STORED, &third, 0, NULL),
                     SELLA_WEIGHTS_STORED);
    assert_int_equal(sella_weights_bytes(SELLA_WEIGHTS_STORED, &third), bytes / 12);

    sella_weights weights;
    sella_err why = {0};
    CHECK(sella_weights_of(NULL, &weights, err));
    assert_int_equal(weights, SELLA_WEIGHTS_AUTO);
    CHECK(sella_weights_of("stored", &weights, err));
    assert_int_equal(weights, SELLA_WEIGHTS_STORED);
    assert_int_equal(sella_weights_of("store", &weights, &why), SELLA_ARG);
    assert_string_equal(why.text, "weights 'store' are unknown; expected auto, expanded or stored");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products), cmocka_unit_test(passes), cmocka_unit_test(quantized),
        cmocka_unit_test(faults),   cmocka_unit_test(memory),
    };
    sella_threads_set(1); // the models are tiny: threads would mostly wait for each other
    return cmocka_run_group_tests(tests, NULL, NULL);
}
