/* sasrec.c - SASRec: a user is the self-attention over the last positives, read at the last
 * position (collab/collab.h; Kang and McAuley 2018).
 *
 *   x_j = drop(sqrt(C) q_{i_j} + pos_{T - m + j}),  j = 1..m, the last m <= T positives each block:
 *   a = LN(x);  x += drop(softmax(a Wq (a Wk)^T / sqrt(C / heads)) a Wv), earlier positions only
 *                f = LN(x);  x += drop(relu(f W1 + b1) W2 + b2)
 *   p = LN(x_m);  z = p . q_i [+ biases];  an empty history leaves LN(0) = the bias of the last
 *   norm
 *
 * Rows are packed: a sequence has as many tokens as the history, no padding; place T is always the
 * last positive. Only the last position is read, so the last block computes keys and values of all
 * tokens and the rest for one token a sequence. Neighbouring rows of one history are one sequence
 * where there is no dropout.
 *
 * Easy to get wrong: query rows of a block are all tokens, but in the last block the sequences'
 * last tokens (rows_of).
 */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/rng.h"
#include "collab/collab.h"
#include "kernels/activation.h"
#include "kernels/gemm.h"
#include "kernels/layernorm.h"

enum {
    BLOCKS_MAX = 16,
    LENGTH_MAX = 1024,
    PIECE = 256,   /* rows of a pass: what is kept stays in the cache's reach */
    SMALL = 1 << 14 /* values that are not worth waking threads for */
};

/* Rows of the table; those of block b begin at BLOCK + b * BLOCK_ROWS. */
enum { ITEM, POSITION, NORM_W, NORM_B, BLOCK };
enum {
    NORM1_W,
    NORM1_B,
    QUERY,
    KEY,
    VALUE,
    NORM2_W,
    NORM2_B,
    FFN1_W,
    FFN1_B,
    FFN2_W,
    FFN2_B,
    BLOCK_ROWS
};
static const char *const block_name[BLOCK_ROWS] = {
    "norm1.weight", "norm1.bias",   "query.weight", "key.weight",   "value.weight", "norm2.weight",
    "norm2.bias",   "ffn.0.weight", "ffn.0.bias",   "ffn.2.weight", "ffn.2.bias"};

static sella_param *row_of(const sella_collab *c, int block, int row)
{
    return &c->table.param[BLOCK + block * BLOCK_ROWS + row];
}

/* ---- the tables ---- */

static sella_status sasrec_check(const sella_collab_config *config, sella_err *err)
{
    const int blocks = config->sasrec.blocks, heads = config->sasrec.heads;
    if (blocks < 1 || blocks > BLOCKS_MAX || heads < 1 || config->C % heads != 0) {
        return sella_err_set(err, SELLA_ARG,
                             "sasrec.blocks is %d, sasrec.heads %d and the width %d; expected 1 to "
                             "%d blocks and heads that divide the width",
                             blocks, heads, config->C, BLOCKS_MAX);
    }
    if (config->history_length < 1 || config->history_length > LENGTH_MAX) {
        return sella_err_set(err, SELLA_ARG, "sasrec with a history of %d items; expected 1 to %d",
                             config->history_length, LENGTH_MAX);
    }
    return SELLA_OK;
}

static void sasrec_cost(const sella_collab_config *config, sella_collab_cost *out)
{
    const double C = config->C, T = config->history_length, blocks = config->sasrec.blocks;
    const double full = 10 * C * C + 2 * T * C, last = 4 * C * C; // of a token
    out->parameters = (int64_t)config->C * (config->items + config->history_length + 2) +
                      (int64_t)config->sasrec.blocks * (5 * config->C + 6) * config->C;
    out->row_flops = T * ((blocks - 1) * full + last) + full;
    out->row_bytes =
        (size_t)(T * (blocks * (11 * C + config->sasrec.heads * T / 2) + 6 * C) * sizeof(float));
}

static sella_status sasrec_init(sella_collab *c, uint64_t seed, sella_err *err)
{
    sella_status status = SELLA_OK;
    const int C = c->config.C;
    sella_param_table *table = &c->table;
    char name[SELLA_PARAM_NAME_MAX];
    SELLA_TRY(sella_param_add(table, "item.weight", c->config.items, C, err));
    SELLA_TRY(sella_param_add(table, "sasrec.position.weight", c->config.history_length, C, err));
    SELLA_TRY(sella_param_add(table, "sasrec.norm.weight", C, 0, err));
    SELLA_TRY(sella_param_add(table, "sasrec.norm.bias", C, 0, err));
    for (int b = 0; b < c->config.sasrec.blocks; b++) {
        for (int row = 0; row < BLOCK_ROWS; row++) {
            const bool matrix =
                row == QUERY || row == KEY || row == VALUE || row == FFN1_W || row == FFN2_W;
            snprintf(name, sizeof name, "sasrec.block.%d.%s", b, block_name[row]);
            SELLA_TRY(sella_param_add(table, name, C, matrix ? C : 0, err));
            if (matrix) {
                sella_collab_normal(table, name, seed, 1 / sqrt(C));
            }
        }
    }
    sella_collab_normal(table, "item.weight", seed, c->config.init);
    sella_collab_normal(table, "sasrec.position.weight", seed, c->config.init);
    for (int k = 0; k < C; k++) {
        table->param[NORM_W].data[k] = 1;
        for (int b = 0; b < c->config.sasrec.blocks; b++) {
            row_of(c, b, NORM1_W)->data[k] = row_of(c, b, NORM2_W)->data[k] = 1;
        }
    }
done:
    return status;
}

/* ---- what a pass keeps ---- */

/* One block. R: its query rows (all M tokens, or the S last ones). */
typedef struct block {
    float *xhat1, *r1, *a, *k, *v; /* [M, C], [M], ... */
    float *q, *prob, *y;           /* [R, C]; probabilities; [R, C] after attention */
    float *xhat2, *r2, *f, *h;     /* [R, C], [R], ...; h after relu */
    float *x;                      /* [R, C] result */
    uint8_t *keep1, *keep2;        /* [R, C] 1: not dropped */
} block;

typedef struct kept {
    int N, S, M;
    bool dropout;
    int32_t *seq_n;         /* [N] sequence of a row, -1: empty history */
    int32_t *start_s;       /* [S + 1] first token */
    size_t *triangle_s;     /* [S + 1] sums of m (m + 1) / 2 */
    int32_t *item_m, *place_m, *last_s; /* [M], [M], [S] */
    block block[BLOCKS_MAX];
    float *x0;              /* [M, C] */
    uint8_t *keep0;         /* [M, C] */
    float *xhat, *r, *p;    /* [S, C], [S], [S, C] */
    float *dx, *dy, *da, *dq, *dk, *dv; /* [M, C] scratch of backward */
    float *slab;
    uint8_t *bytes;
    int32_t *numbers;
    size_t slab_room, byte_room, number_room, triangle_room;
} kept;

static void kept_free(void *opaque)
{
    kept *k = opaque;
    free(k->slab);
    free(k->bytes);
    free(k->numbers);
    free(k->triangle_s);
    free(k);
}

/* At least `count` values at *p, contents lost. */
static sella_status room(void **p, size_t *have, size_t count, size_t size, sella_err *err)
{
    if (count > *have) {
        free(*p);
        *have = 0;
        *p = sella_alloc(count, size, "a pass of sasrec", err);
        if (!*p) {
            return SELLA_MEMORY;
        }
        *have = count;
    }
    return SELLA_OK;
}

static bool same_history(const sella_collab_batch *batch, int a, int b)
{
    const int32_t count = batch->history_count_n[a];
    return count == batch->history_count_n[b] &&
           (batch->history_n[a] == batch->history_n[b] ||
            memcmp(batch->history_n[a], batch->history_n[b], (size_t)count * sizeof(int32_t)) == 0);
}

/* Sequences and tokens of the batch. */
static sella_status sequences(const sella_collab *c, const sella_collab_batch *batch, kept *k,
                              sella_err *err)
{
    sella_status status = SELLA_OK;
    const int32_t T = c->config.history_length;
    size_t M = 0;
    const size_t N = (size_t)batch->N;
    for (int n = 0; n < batch->N; n++) {
        assert(batch->history_count_n[n] >= 0 && batch->history_count_n[n] <= T);
        M += (size_t)batch->history_count_n[n];
    }
    SELLA_TRY(room((void **)&k->numbers, &k->number_room, 3 * N + 1 + 2 * M, sizeof(int32_t), err));
    SELLA_TRY(room((void **)&k->triangle_s, &k->triangle_room, N + 1, sizeof(size_t), err));
    k->seq_n = k->numbers;
    k->start_s = k->seq_n + N;
    k->last_s = k->start_s + N + 1;
    k->item_m = k->last_s + N;
    k->place_m = k->item_m + M;
    k->N = batch->N;
    k->S = k->M = 0;
    k->start_s[0] = 0;
    k->triangle_s[0] = 0;
    k->dropout = batch->dropout && c->config.dropout > 0;
    for (int n = 0; n < batch->N; n++) {
        const int32_t count = batch->history_count_n[n];
        if (count == 0) {
            k->seq_n[n] = -1;
            continue;
        }
        if (n > 0 && !k->dropout && same_history(batch, n, n - 1)) {
            k->seq_n[n] = k->seq_n[n - 1];
            continue;
        }
        for (int32_t j = 0; j < count; j++) {
            assert(batch->history_n[n][j] >= 0 && batch->history_n[n][j] < c->config.items);
            k->item_m[k->M] = batch->history_n[n][j];
            k->place_m[k->M++] = T - count + j;
        }
        k->seq_n[n] = k->S;
        k->last_s[k->S++] = k->M - 1;
        k->start_s[k->S] = k->M;
        k->triangle_s[k->S] = k->triangle_s[k->S - 1] + (size_t)count * (size_t)(count + 1) / 2;
    }
done:
    return status;
}

static bool is_last(const sella_collab *c, int b)
{
    return b == c->config.sasrec.blocks - 1;
}

static int rows_of(const sella_collab *c, const kept *k, int b)
{
    return is_last(c, b) ? k->S : k->M;
}

/* Cut the slab into arrays; with slab NULL the pointers mean nothing, and only *floats and *bytes
 * are wanted. */
static void carve(const sella_collab *c, kept *k, bool backward, size_t *floats, size_t *bytes)
{
    const size_t M = (size_t)k->M, S = (size_t)k->S, C = (size_t)c->config.C,
                 heads = (size_t)c->config.sasrec.heads;
    size_t at = 0, byte = 0;
#define TAKE(pointer, count)                                                                       \
    ((pointer) = k->slab ? k->slab + at : NULL, at += ((count) + 15) / 16 * 16)
#define MASK(pointer, count)                                                                       \
    ((pointer) = k->bytes ? k->bytes + byte : NULL, byte += k->dropout ? (count) : 0)
    TAKE(k->x0, M * C);
    MASK(k->keep0, M * C);
    for (int b = 0; b < c->config.sasrec.blocks; b++) {
        block *to = &k->block[b];
        const size_t R = (size_t)rows_of(c, k, b);
        float **const wide[] = {&to->xhat1, &to->a, &to->k, &to->v};
        float **const rows[] = {&to->q, &to->y, &to->xhat2, &to->f, &to->h, &to->x};
        for (size_t i = 0; i < sizeof wide / sizeof wide[0]; i++) {
            TAKE(*wide[i], M * C);
        }
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            TAKE(*rows[i], R * C);
        }
        TAKE(to->r1, M);
        TAKE(to->r2, R);
        TAKE(to->prob, heads * (is_last(c, b) ? M : k->triangle_s[k->S]));
        MASK(to->keep1, R * C);
        MASK(to->keep2, R * C);
    }
    TAKE(k->xhat, S * C);
    TAKE(k->r, S);
    TAKE(k->p, S * C);
    float **const scratch[] = {&k->dx, &k->dy, &k->da, &k->dq, &k->dk, &k->dv};
    for (size_t i = 0; backward && i < sizeof scratch / sizeof scratch[0]; i++) {
        TAKE(*scratch[i], M * C);
    }
#undef TAKE
#undef MASK
    *floats = at;
    *bytes = byte;
}

static sella_status kept_for(const sella_collab *c, const sella_collab_batch *batch,
                             sella_collab_pass *pass, kept **out, sella_err *err)
{
    sella_status status = SELLA_OK;
    size_t floats, bytes;
    if (!pass->kept) {
        pass->kept = sella_alloc(1, sizeof(kept), "a pass of sasrec", err);
        if (!pass->kept) {
            return SELLA_MEMORY;
        }
    }
    kept *k = *out = pass->kept;
    SELLA_TRY(sequences(c, batch, k, err));
    carve(c, k, batch->backward, &floats, &bytes);
    SELLA_TRY(room((void **)&k->slab, &k->slab_room, floats, sizeof(float), err));
    SELLA_TRY(room((void **)&k->bytes, &k->byte_room, bytes, 1, err));
    carve(c, k, batch->backward, &floats, &bytes);
done:
    return status;
}

/* ---- dropout ---- */

/* x *= keep / (1 - p) with a fresh mask: 16 bits of a draw for each value. */
static void drop(const sella_collab *c, const sella_collab_batch *batch, int place, float *x,
                 uint8_t *keep, size_t count)
{
    const sella_rng rng = {batch->seed, SELLA_STREAM_DROPOUT, (uint32_t)batch->number,
                           (uint32_t)place};
    const double p = c->config.dropout;
    const uint32_t below = (uint32_t)(p * 65536 + 0.5);
    const float scale = (float)(1 / (1 - p));
#pragma omp parallel for schedule(static) if (count > SMALL)
    for (size_t i0 = 0; i0 < count; i0 += 8) {
        uint32_t word[4];
        sella_rng_block(&rng, i0 / 8, word);
        for (size_t i = i0; i < i0 + 8 && i < count; i++) {
            const uint32_t draw = word[(i - i0) / 2] >> 16 * (i % 2) & 0xffff;
            keep[i] = draw >= below;
            x[i] = keep[i] ? x[i] * scale : 0;
        }
    }
}

/* dx = keep / (1 - p) * dy; without dropout a copy. May alias. */
static void drop_backward(const sella_collab *c, const kept *k, float *dx, const float *dy,
                          const uint8_t *keep, size_t count)
{
    const float scale = (float)(1 / (1 - c->config.dropout));
    if (!k->dropout) {
        memmove(dx, dy, count * sizeof *dx);
        return;
    }
#pragma omp parallel for schedule(static) if (count > SMALL)
    for (size_t i = 0; i < count; i++) {
        dx[i] = keep[i] ? dy[i] * scale : 0;
    }
}

/* ---- linear maps: y = x W^T [+ b], as torch.nn.Linear stores them ---- */

static void linear(float *y, const float *x, const sella_param *w, const sella_param *b, int R,
                   int C)
{
    sella_gemm(false, true, R, C, C, 1, x, C, w->data, C, 0, y, C);
    if (b) {
        sella_bias_add(y, C, b->data, R, C);
    }
}

/* dx = dy W, or += it; gradients of W and b. */
static void linear_backward(float *dx, bool add, const float *dy, const float *x, sella_param *w,
                            sella_param *b, int R, int C)
{
    sella_gemm(false, false, R, C, C, 1, dy, C, w->data, C, add ? 1 : 0, dx, C);
    if (w->grad) {
        sella_gemm(true, false, C, C, R, 1, dy, C, x, C, 1, w->grad, C);
    }
    if (b && b->grad) {
        sella_bias_backward(b->grad, dy, C, R, C);
    }
}

/* ---- attention ---- */

/* The query rows of sequence s of a block: first row, how many, and the token of the first. */
typedef struct span {
    int row, rows, token, first; /* first: of the sequence's tokens */
    float *prob;                 /* of head 0; the others follow */
    size_t head;                 /* values of a head */
} span;

static span span_of(const sella_collab *c, const kept *k, int b, int s)
{
    const int first = k->start_s[s], m = k->start_s[s + 1] - first;
    const size_t heads = (size_t)c->config.sasrec.heads;
    if (is_last(c, b)) {
        return (span){s,        1, first + m - 1, first, k->block[b].prob + heads * (size_t)first,
                      (size_t)m};
    }
    return (span){first,
                  m,
                  first,
                  first,
                  k->block[b].prob + heads * k->triangle_s[s],
                  (size_t)m * (size_t)(m + 1) / 2};
}

/* o [R, C] = attention of one sequence. */
static void attend(const sella_collab *c, const kept *k, int b, int s, float *o)
{
    const block *at = &k->block[b];
    const span to = span_of(c, k, b, s);
    const size_t C = (size_t)c->config.C;
    const int heads = c->config.sasrec.heads, D = c->config.C / heads;
    const float scale = 1.0f / sqrtf((float)D);
    for (int head = 0; head < heads; head++) {
        float *prob = to.prob + (size_t)head * to.head;
        for (int r = 0; r < to.rows; r++) {
            const int seen = to.token - to.first + r + 1; // earlier positions and itself
            const size_t row = (size_t)(to.row + r) * C + (size_t)head * (size_t)D;
            float top = -INFINITY, sum = 0;
            for (int j = 0; j < seen; j++) {
                prob[j] =
                    scale * sella_dot(at->q + row,
                                      at->k + (size_t)(to.first + j) * C + (size_t)head * (size_t)D,
                                      D);
                top = prob[j] > top ? prob[j] : top;
            }
            for (int j = 0; j < seen; j++) {
                prob[j] = expf(prob[j] - top);
                sum += prob[j];
            }
            memset(o + row, 0, (size_t)D * sizeof *o);
            for (int j = 0; j < seen; j++) {
                const float *v = at->v + (size_t)(to.first + j) * C + (size_t)head * (size_t)D;
                prob[j] /= sum;
                for (int d = 0; d < D; d++) {
                    o[row + (size_t)d] += prob[j] * v[d];
                }
            }
            prob += seen;
        }
    }
}

/* From do_ [R, C]: dq [R, C] is written; dk, dv [M, C] of the sequence are written. */
static void attend_backward(const sella_collab *c, const kept *k, int b, int s, const float *do_,
                            float *dq, float *dk, float *dv)
{
    const block *at = &k->block[b];
    const span to = span_of(c, k, b, s);
    const size_t C = (size_t)c->config.C, m = (size_t)(k->start_s[s + 1] - to.first);
    const int heads = c->config.sasrec.heads, D = c->config.C / heads;
    const float scale = 1.0f / sqrtf((float)D);
    memset(dq + (size_t)to.row * C, 0, (size_t)to.rows * C * sizeof *dq);
    memset(dk + (size_t)to.first * C, 0, m * C * sizeof *dk);
    memset(dv + (size_t)to.first * C, 0, m * C * sizeof *dv);
    for (int head = 0; head < heads; head++) {
        const float *prob = to.prob + (size_t)head * to.head;
        for (int r = 0; r < to.rows; r++) {
            const int seen = to.token - to.first + r + 1;
            const size_t row = (size_t)(to.row + r) * C + (size_t)head * (size_t)D;
            float dprob[LENGTH_MAX], along = 0;
            for (int j = 0; j < seen; j++) {
                const size_t token = (size_t)(to.first + j) * C + (size_t)head * (size_t)D;
                dprob[j] = sella_dot(do_ + row, at->v + token, D);
                along += prob[j] * dprob[j];
                for (int d = 0; d < D; d++) {
                    dv[token + (size_t)d] += prob[j] * do_[row + (size_t)d];
                }
            }
            for (int j = 0; j < seen; j++) {
                const size_t token = (size_t)(to.first + j) * C + (size_t)head * (size_t)D;
                const float dscore = scale * prob[j] * (dprob[j] - along);
                for (int d = 0; d < D; d++) {
                    dq[row + (size_t)d] += dscore * at->k[token + (size_t)d];
                    dk[token + (size_t)d] += dscore * at->q[row + (size_t)d];
                }
            }
            prob += seen;
        }
    }
}

/* ---- forward ---- */

/* rows [R, C] of x [M, C] that the last block works on. */
static void last_rows(const kept *k, const float *x, float *rows, int C)
{
    for (int s = 0; s < k->S; s++) {
        memcpy(rows + (size_t)s * (size_t)C, x + (size_t)k->last_s[s] * (size_t)C,
               (size_t)C * sizeof *rows);
    }
}

static void block_forward(const sella_collab *c, const sella_collab_batch *batch, kept *k, int b,
                          const float *x)
{
    block *at = &k->block[b];
    const int C = c->config.C, M = k->M, R = rows_of(c, k, b);
    const size_t count = (size_t)R * (size_t)C;
    sella_layernorm_forward(at->a, at->xhat1, at->r1, x, row_of(c, b, NORM1_W)->data,
                            row_of(c, b, NORM1_B)->data, M, C);
    linear(at->k, at->a, row_of(c, b, KEY), NULL, M, C);
    linear(at->v, at->a, row_of(c, b, VALUE), NULL, M, C);
    const float *queries = at->a, *from = x;
    if (is_last(c, b)) { // f and x are free until later
        last_rows(k, at->a, at->f, C);
        last_rows(k, x, at->x, C);
        queries = at->f;
        from = at->x;
    }
    linear(at->q, queries, row_of(c, b, QUERY), NULL, R, C);
#pragma omp parallel for schedule(static) if (count > SMALL)
    for (int s = 0; s < k->S; s++) {
        attend(c, k, b, s, at->y);
    }
    if (k->dropout) {
        drop(c, batch, 1 + 2 * b, at->y, at->keep1, count);
    }
    sella_axpy(at->y, 1, from, count);
    sella_layernorm_forward(at->f, at->xhat2, at->r2, at->y, row_of(c, b, NORM2_W)->data,
                            row_of(c, b, NORM2_B)->data, R, C);
    linear(at->h, at->f, row_of(c, b, FFN1_W), row_of(c, b, FFN1_B), R, C);
    for (size_t i = 0; i < count; i++) {
        at->h[i] = at->h[i] > 0 ? at->h[i] : 0;
    }
    linear(at->x, at->h, row_of(c, b, FFN2_W), row_of(c, b, FFN2_B), R, C);
    if (k->dropout) {
        drop(c, batch, 2 + 2 * b, at->x, at->keep2, count);
    }
    sella_axpy(at->x, 1, at->y, count);
}

static sella_status user_vectors(const sella_collab *c, const sella_collab_batch *batch,
                                 sella_collab_pass *pass, float *user, sella_err *err)
{
    sella_status status = SELLA_OK;
    const size_t C = (size_t)c->config.C;
    const sella_param *item = &c->table.param[ITEM], *position = &c->table.param[POSITION];
    kept *k;
    SELLA_TRY(kept_for(c, batch, pass, &k, err));
    const float scale = sqrtf((float)C);
#pragma omp parallel for schedule(static) if ((size_t)k->M * C > SMALL)
    for (int m = 0; m < k->M; m++) {
        const float *q = item->data + (size_t)k->item_m[m] * C,
                    *at = position->data + (size_t)k->place_m[m] * C;
        for (size_t d = 0; d < C; d++) {
            k->x0[(size_t)m * C + d] = scale * q[d] + at[d];
        }
    }
    if (k->dropout) {
        drop(c, batch, 0, k->x0, k->keep0, (size_t)k->M * C);
    }
    const float *x = k->x0;
    for (int b = 0; b < c->config.sasrec.blocks; b++) {
        block_forward(c, batch, k, b, x);
        x = k->block[b].x;
    }
    sella_layernorm_forward(k->p, k->xhat, k->r, x, c->table.param[NORM_W].data,
                            c->table.param[NORM_B].data, k->S, (int)C);
    for (int n = 0; n < k->N; n++) {
        const float *p =
            k->seq_n[n] >= 0 ? k->p + (size_t)k->seq_n[n] * C : c->table.param[NORM_B].data;
        memcpy(user + (size_t)n * C, p, C * sizeof *user);
    }
done:
    return status;
}

static sella_status sasrec_vectors(const sella_collab *c, const sella_collab_batch *batch,
                                   sella_collab_pass *pass, float *user, float *item,
                                   sella_err *err)
{
    if (item) {
        sella_collab_rows_take(&c->table.param[ITEM], batch->item_n, batch->N, item);
    }
    return user ? user_vectors(c, batch, pass, user, err) : SELLA_OK;
}

/* ---- backward ---- */

/* k->dx: on entry the gradient of the block's result [R, C], after it that of its input [M, C]. */
static void block_backward(sella_collab *c, kept *k, int b)
{
    const block *at = &k->block[b];
    const int C = c->config.C, M = k->M, R = rows_of(c, k, b);
    const size_t count = (size_t)R * (size_t)C;
    float *dh = k->dq, *df = k->dk, *doutput = k->dy;
    drop_backward(c, k, k->da, k->dx, at->keep2, count);
    linear_backward(dh, false, k->da, at->h, row_of(c, b, FFN2_W), row_of(c, b, FFN2_B), R, C);
    for (size_t i = 0; i < count; i++) {
        dh[i] = at->h[i] > 0 ? dh[i] : 0;
    }
    linear_backward(df, false, dh, at->f, row_of(c, b, FFN1_W), row_of(c, b, FFN1_B), R, C);
    sella_layernorm_backward(k->dx, row_of(c, b, NORM2_W)->grad, row_of(c, b, NORM2_B)->grad, df,
                             at->xhat2, at->r2, row_of(c, b, NORM2_W)->data, R, C);
    // k->dx is now the gradient of y = x + drop(attention)
    drop_backward(c, k, doutput, k->dx, at->keep1, count);
#pragma omp parallel for schedule(static) if (count > SMALL)
    for (int s = 0; s < k->S; s++) {
        attend_backward(c, k, b, s, doutput, k->dq, k->dk, k->dv);
    }
    linear_backward(k->da, false, k->dk, at->a, row_of(c, b, KEY), NULL, M, C);
    linear_backward(k->da, true, k->dv, at->a, row_of(c, b, VALUE), NULL, M, C);
    /* queries and the residual belong to the last tokens: dk is free, dv as well */
    if (is_last(c, b)) {
        last_rows(k, at->a, k->dk, C);
        linear_backward(doutput, false, k->dq, k->dk, row_of(c, b, QUERY), NULL, R, C);
        memcpy(k->dv, k->dx, count * sizeof(float));
        memset(k->dx, 0, (size_t)M * (size_t)C * sizeof(float));
        for (int s = 0; s < k->S; s++) {
            const size_t token = (size_t)k->last_s[s] * (size_t)C, row = (size_t)s * (size_t)C;
            memcpy(k->dx + token, k->dv + row, (size_t)C * sizeof(float));
            for (int d = 0; d < C; d++) {
                k->da[token + (size_t)d] += doutput[row + (size_t)d];
            }
        }
    } else {
        linear_backward(k->da, true, k->dq, at->a, row_of(c, b, QUERY), NULL, R, C);
    }
    sella_layernorm_backward(k->dx, row_of(c, b, NORM1_W)->grad, row_of(c, b, NORM1_B)->grad, k->da,
                             at->xhat1, at->r1, row_of(c, b, NORM1_W)->data, M, C);
}

static void user_backward(sella_collab *c, kept *k, const float *duser)
{
    const size_t C = (size_t)c->config.C;
    sella_param *item = &c->table.param[ITEM], *position = &c->table.param[POSITION],
                *norm_b = &c->table.param[NORM_B];
    float *dp = k->dy;
    memset(dp, 0, (size_t)k->S * C * sizeof *dp);
    for (int n = 0; n < k->N; n++) {
        float *to = k->seq_n[n] >= 0 ? dp + (size_t)k->seq_n[n] * C : norm_b->grad;
        for (size_t d = 0; to && d < C; d++) {
            to[d] += duser[(size_t)n * C + d];
        }
    }
    memset(k->dx, 0, (size_t)k->S * C * sizeof *k->dx);
    sella_layernorm_backward(k->dx, c->table.param[NORM_W].grad, norm_b->grad, dp, k->xhat, k->r,
                             c->table.param[NORM_W].data, k->S, (int)C);
    for (int b = c->config.sasrec.blocks - 1; b >= 0; b--) {
        block_backward(c, k, b);
    }
    drop_backward(c, k, k->dx, k->dx, k->keep0, (size_t)k->M * C);
    sella_collab_rows_give(position, k->place_m, k->M, 1, k->dx);
    sella_collab_rows_give(item, k->item_m, k->M, sqrtf((float)C), k->dx);
}

static sella_status sasrec_vectors_backward(sella_collab *c, const sella_collab_batch *batch,
                                            sella_collab_pass *pass, const float *duser,
                                            const float *ditem, sella_err *err)
{
    (void)err;
    if (ditem) {
        sella_collab_rows_give(&c->table.param[ITEM], batch->item_n, batch->N, 1, ditem);
    }
    if (duser) {
        assert(pass->kept && ((kept *)pass->kept)->N == batch->N);
        user_backward(c, pass->kept, duser);
    }
    return SELLA_OK;
}

const sella_collab_ops sella_collab_sasrec = {
    .name = "sasrec",
    .sequence = true,
    .product = true,
    .piece = PIECE,
    .check = sasrec_check,
    .cost = sasrec_cost,
    .init = sasrec_init,
    .vectors = sasrec_vectors,
    .vectors_backward = sasrec_vectors_backward,
    .kept_free = kept_free,
};
