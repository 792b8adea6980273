/* din.c - Deep Interest Network (collab/din.h).
 *
 * Only real (row, history item) pairs are computed: what padding would add is zero, and it would
 * enter Dice's statistics. Pairs of a row stand together, in the order of its history.
 *
 * Two rows of a batch may meet in one row of a table, so threads share a table's columns, not the
 * batch's rows: each element of a gradient is summed by one thread in the batch's order.
 */
#include "collab/din.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/rng.h"
#include "collab/dice.h"
#include "kernels/activation.h"
#include "kernels/gemm.h"

/* Places in the table. A hidden layer has five rows, the last of a network two. */
enum { USER, ITEM, HISTORY, ATTENTION, TOP = ATTENTION + 12, PLACES = TOP + 12 };
enum { WEIGHT, BIAS, ALPHA, MEAN, VARIANCE, LAYER };
enum {
    COLUMNS = 32,        /* of one task that adds into a table */
    SMALL = 1 << 14,
    HIDE = 1,            /* what draws of a step are for */
    DROP = 2             /* + layer of the top network */
};

/* ---- the table ---- */

static void xavier_fill(sella_param *param, uint64_t seed, int place)
{
    const sella_rng rng = {.seed = seed, .stream = SELLA_STREAM_INIT, .a = (uint32_t)place};
    const double deviation = sqrt(2.0 / (double)(param->shape[0] + param->shape[1]));
    const int64_t count = (int64_t)param->count;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i++) {
        param->data[i] = (float)(deviation * sella_rng_normal(&rng, (uint64_t)i));
    }
}

static sella_status add_part(sella_param_table *table, const char *layer, const char *part,
                             int64_t rows, int64_t cols, sella_err *err)
{
    char name[64];
    snprintf(name, sizeof name, "din.%s.%s", layer, part);
    return sella_param_add(table, name, rows, cols, err);
}

static sella_status add_network(sella_param_table *table, const char *network, int in,
                                const int *hidden, sella_err *err)
{
    static const char *const state[] = {"alpha", "mean", "variance"};
    sella_status status = SELLA_OK;
    char layer[32];
    for (int l = 0; l <= SELLA_DIN_HIDDEN; l++) {
        const int out = l < SELLA_DIN_HIDDEN ? hidden[l] : 1;
        snprintf(layer, sizeof layer, "%s.%d", network, l);
        SELLA_TRY(add_part(table, layer, "weight", out, in, err));
        SELLA_TRY(add_part(table, layer, "bias", out, 0, err));
        for (int k = 0; l < SELLA_DIN_HIDDEN && k < 3; k++) {
            SELLA_TRY(add_part(table, layer, state[k], out, 0, err));
            sella_param *param = &table->param[table->count - 1];
            param->decay = false; // a slope is no weight, and statistics must stay as they are
            for (int c = 0; k == 2 && c < out; c++) {
                param->data[c] = 1.0f;
            }
        }
        in = out;
    }
done:
    return status;
}

sella_status sella_din_config_check(const sella_din_config *config, sella_err *err)
{
    bool fine = config->users >= 1 && config->items >= 1 && config->C >= 1 &&
                config->C <= SELLA_DIN_WIDTH_MAX;
    for (int l = 0; l < SELLA_DIN_HIDDEN; l++) {
        fine = fine && config->attention[l] >= 1 && config->attention[l] <= SELLA_DIN_WIDTH_MAX &&
               config->top[l] >= 1 && config->top[l] <= SELLA_DIN_WIDTH_MAX;
    }
    if (!fine) {
        return sella_err_set(err, SELLA_ARG,
                             "din of %d users, %d items, width %d, attention %d-%d, top %d-%d; "
                             "expected at least one each and widths of at most %d",
                             config->users, config->items, config->C, config->attention[0],
                             config->attention[1], config->top[0], config->top[1],
                             SELLA_DIN_WIDTH_MAX);
    }
    if (!(config->dropout >= 0 && config->dropout < 1 && config->hide >= 0 && config->hide <= 1)) {
        return sella_err_set(
            err, SELLA_ARG,
            "din with dropout %g and %g of the users hidden; expected 0 to below 1, and 0 to 1",
            config->dropout, config->hide);
    }
    return SELLA_OK;
}

sella_status sella_din_init(const sella_din_config *config, uint64_t seed, sella_param_table *table,
                            sella_din *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    *out = (sella_din){.config = *config, .table = table};
    SELLA_TRY(sella_din_config_check(config, err));
    assert(table->count == 0);
    SELLA_TRY(sella_param_add(table, "user.weight", config->users, config->C, err));
    SELLA_TRY(sella_param_add(table, "item.weight", config->items, config->C, err));
    SELLA_TRY(sella_param_add(table, "din.history.weight", config->items, config->C, err));
    SELLA_TRY(add_network(table, "attention", 4 * config->C, config->attention, err));
    SELLA_TRY(add_network(table, "top", 3 * config->C, config->top, err));
    assert(table->count == PLACES);
    for (int i = 0; i < table->count; i++) {
        if (table->param[i].rank == 2) {
            xavier_fill(&table->param[i], seed, i);
        }
    }
done:
    return status;
}

sella_status sella_din_check(const sella_din *din, const char *what, sella_err *err)
{
    for (int i = 0; i < PLACES; i++) {
        const sella_param *param = &din->table->param[i];
        const size_t length = strlen(param->name);
        const bool variance = length > 9 && strcmp(param->name + length - 9, ".variance") == 0;
        for (size_t c = 0; variance && c < param->count; c++) {
            if (!(param->data[c] >= 0)) {
                return sella_err_set(err, SELLA_FORMAT,
                                     "%s: tensor '%s' holds %g; expected 0 or more", what,
                                     param->name, (double)param->data[c]);
            }
        }
    }
    return SELLA_OK;
}

/* ---- room for a pass ---- */

/* Values of one hidden layer for `rows` rows. */
typedef struct layer {
    int place, in, out;
    int drop;          /* draw of its dropout, 0: none */
    const float *x;    /* [rows, in] of the last forward */
    float *pre, *p;    /* [rows, out] */
    float *act, *keep; /* [rows, out]; keep NULL without dropout */
    float *moment;     /* [2, out] */
} layer;

struct sella_din_pass {
    int rows, pairs, P;
    sella_din_mode mode;
    const sella_din_batch *batch;
    int32_t *user, *first; /* [rows], [rows + 1] into pairs */
    int32_t *pair_row, *pair_item; /* [pairs] */
    float *x;      /* [pairs, 4C] q, k, q - k, q * k */
    float *weight; /* [pairs] */
    float *t;      /* [rows, 3C] p, v, q */
    layer attention[SELLA_DIN_HIDDEN], top[SELLA_DIN_HIDDEN];
    float *dx, *dweight, *dk, *dt, *dq, *da, *db; /* gradients; da and db: of activations, widest */
    float *slab;
};

/* Hands out floats from a slab, or counts them when there is none yet. */
typedef struct carver {
    float *base;
    size_t used;
} carver;

static float *carve(carver *from, size_t rows, size_t width)
{
    float *at = from->base ? from->base + from->used : NULL;
    from->used += (rows * width + 15) / 16 * 16;
    return at;
}

static void carve_layers(carver *from, const sella_din_config *config, size_t rows, int place,
                         int in, const int *hidden, bool drop, layer *out)
{
    for (int l = 0; l < SELLA_DIN_HIDDEN; l++) {
        const size_t width = (size_t)hidden[l];
        out[l] = (layer){
            .place = place + l * LAYER, .in = in, .out = hidden[l], .drop = drop ? DROP + l : 0};
        out[l].pre = carve(from, rows, width);
        out[l].p = carve(from, rows, width);
        out[l].act = carve(from, rows, width);
        out[l].keep = drop && config->dropout > 0 ? carve(from, rows, width) : NULL;
        out[l].moment = carve(from, 2, width);
        in = hidden[l];
    }
}

static void carve_pass(carver *from, const sella_din_config *config, size_t rows, size_t pairs,
                       bool backward, sella_din_pass *p)
{
    const size_t C = (size_t)config->C;
    p->x = carve(from, pairs, 4 * C);
    p->weight = carve(from, pairs, 1);
    p->t = carve(from, rows, 3 * C);
    carve_layers(from, config, pairs, ATTENTION, 4 * config->C, config->attention, false,
                 p->attention);
    carve_layers(from, config, rows, TOP, 3 * config->C, config->top, true, p->top);
    if (backward) {
        size_t widest = 0;
        for (int l = 0; l < SELLA_DIN_HIDDEN; l++) {
            const size_t a = pairs * (size_t)config->attention[l],
                         b = rows * (size_t)config->top[l];
            widest = a > widest ? a : widest;
            widest = b > widest ? b : widest;
        }
        p->dx = carve(from, pairs, 4 * C);
        p->dweight = carve(from, pairs, 1);
        p->dk = carve(from, pairs, C);
        p->dt = carve(from, rows, 3 * C);
        p->dq = carve(from, rows, C);
        p->da = carve(from, widest, 1);
        p->db = carve(from, widest, 1);
    }
}

size_t sella_din_pass_bytes(const sella_din_config *config, int64_t rows, int64_t pairs,
                            bool backward)
{
    sella_din_pass pass = {0};
    carver count = {NULL, 0};
    carve_pass(&count, config, (size_t)rows, (size_t)pairs, backward, &pass);
    return count.used * sizeof(float) + (size_t)(2 * rows + 1 + 2 * pairs) * sizeof(int32_t);
}

sella_status sella_din_pass_new(const sella_din *din, int rows, int pairs, bool backward,
                                sella_din_pass **out, sella_err *err)
{
    const size_t indexes = 2 * (size_t)rows + 1 + 2 * (size_t)pairs;
    carver count = {NULL, 0};
    sella_din_pass *p = sella_alloc(1, sizeof *p, "a pass of din", err);
    *out = NULL;
    if (!p) {
        return SELLA_MEMORY;
    }
    carve_pass(&count, &din->config, (size_t)rows, (size_t)pairs, backward, p);
    p->slab = sella_alloc(count.used, sizeof *p->slab, "the activations of din", err);
    p->user = sella_alloc(indexes, sizeof *p->user, "the activations of din", err);
    if (!p->slab || !p->user) {
        sella_din_pass_free(p);
        return SELLA_MEMORY;
    }
    carver from = {p->slab, 0};
    carve_pass(&from, &din->config, (size_t)rows, (size_t)pairs, backward, p);
    p->first = p->user + rows;
    p->pair_row = p->first + rows + 1;
    p->pair_item = p->pair_row + pairs;
    p->rows = rows;
    p->pairs = pairs;
    *out = p;
    return SELLA_OK;
}

void sella_din_pass_free(sella_din_pass *pass)
{
    if (pass) {
        free(pass->slab);
        free(pass->user);
        free(pass);
    }
}

/* ---- layers ---- */

static sella_dice dice_of(const sella_din *din, const layer *l)
{
    const sella_param *param = din->table->param + l->place;
    return (sella_dice){l->out, param[ALPHA].data, param[MEAN].data, param[VARIANCE].data};
}

/* y [N, out] = x W^T + b */
static void linear_forward(const sella_param *param, float *y, const float *x, int N, int in,
                           int out)
{
    sella_gemm(false, true, N, out, in, 1.0f, x, in, param[WEIGHT].data, in, 0.0f, y, out);
    sella_bias_add(y, out, param[BIAS].data, N, out);
}

/* Accumulates into W and b unless frozen; dx out [N, in]. */
static void linear_backward(sella_param *param, float *dx, const float *dy, const float *x, int N,
                            int in, int out)
{
    if (param[WEIGHT].grad) {
        sella_gemm(true, false, out, in, N, 1.0f, dy, out, x, in, 1.0f, param[WEIGHT].grad, in);
    }
    if (param[BIAS].grad) {
        sella_bias_backward(param[BIAS].grad, dy, out, N, out);
    }
    sella_gemm(false, false, N, in, out, 1.0f, dy, out, param[WEIGHT].data, in, 0.0f, dx, in);
}

/* act = act * keep, keep = 0 with probability `dropout`, else 1 / (1 - dropout). */
static void drop_forward(const sella_din *din, const sella_din_mode *mode, const layer *l, int N)
{
    const sella_rng rng = {.seed = mode->seed,
                           .stream = SELLA_STREAM_DROPOUT,
                           .a = (uint32_t)mode->step,
                           .b = (uint32_t)l->drop};
    const size_t count = (size_t)N * (size_t)l->out;
    const float keep = (float)(1.0 / (1.0 - din->config.dropout));
    const uint32_t below = (uint32_t)(din->config.dropout * 4294967296.0);
#pragma omp parallel for schedule(static) if (count > SMALL)
    for (size_t i = 0; i < count; i += 4) {
        uint32_t word[4];
        sella_rng_block(&rng, i / 4, word);
        for (size_t k = 0; k < 4 && i + k < count; k++) {
            l->keep[i + k] = word[k] < below ? 0.0f : keep;
            l->act[i + k] *= l->keep[i + k];
        }
    }
}

static void layer_forward(const sella_din *din, const sella_din_pass *pass, layer *l,
                          const float *x, int N)
{
    const sella_dice dice = dice_of(din, l);
    l->x = x;
    linear_forward(din->table->param + l->place, l->pre, x, N, l->in, l->out);
    sella_dice_forward(&dice, l->act, l->p, l->moment, l->pre, N, pass->mode.train);
    if (l->keep && pass->mode.train) {
        drop_forward(din, &pass->mode, l, N);
    }
}

/* dact in [N, out], overwritten; slope scratch [N, out]; dx out [N, in]. */
static void layer_backward(sella_din *din, const sella_din_pass *pass, const layer *l, float *dx,
                           float *dact, float *slope, int N)
{
    sella_param *param = din->table->param + l->place;
    const sella_dice dice = dice_of(din, l);
    if (l->keep && pass->mode.train) {
        const size_t count = (size_t)N * (size_t)l->out;
#pragma omp parallel for schedule(static) if (count > SMALL)
        for (size_t i = 0; i < count; i++) {
            dact[i] *= l->keep[i];
        }
    }
    sella_dice_backward(&dice, dact, param[ALPHA].grad, dact, l->pre, l->p, l->moment, slope, N,
                        pass->mode.train);
    linear_backward(param, dx, dact, l->x, N, l->in, l->out);
}

/* ---- forward ---- */

/* Row of a table, or zeros. */
static const float *row_of(const sella_param *param, int32_t row, const float *zero)
{
    return row < 0 ? zero : param->data + (size_t)row * (size_t)param->shape[1];
}

static void batch_take(const sella_din *din, sella_din_pass *pass, const sella_din_batch *batch)
{
    const sella_rng rng = {.seed = pass->mode.seed,
                           .stream = SELLA_STREAM_DROPOUT,
                           .a = (uint32_t)pass->mode.step,
                           .b = HIDE};
    const bool hide = pass->mode.train && din->config.hide > 0;
    pass->batch = batch;
    pass->P = 0;
    assert(batch->N <= pass->rows);
    for (int n = 0; n < batch->N; n++) {
        const int32_t count = batch->history_count_n[n];
        assert(batch->user_n[n] >= -1 && batch->user_n[n] < din->config.users);
        assert(batch->item_n[n] >= -1 && batch->item_n[n] < din->config.items);
        assert(count >= 0 && count <= pass->pairs - pass->P);
        pass->user[n] = hide && (double)sella_rng_uniform(&rng, (uint64_t)n) < din->config.hide
                            ? -1
                            : batch->user_n[n];
        pass->first[n] = pass->P;
        for (int32_t k = 0; k < count; k++, pass->P++) {
            pass->pair_row[pass->P] = n;
            pass->pair_item[pass->P] = batch->history_n[n][k];
        }
    }
    pass->first[batch->N] = pass->P;
}

static void pairs_fill(const sella_din *din, sella_din_pass *pass)
{
    static const float zero[SELLA_DIN_WIDTH_MAX];
    const int C = din->config.C;
#pragma omp parallel for schedule(static) if ((size_t)pass->P * (size_t)C > SMALL)
    for (int j = 0; j < pass->P; j++) {
        const float *q =
            row_of(&din->table->param[ITEM], pass->batch->item_n[pass->pair_row[j]], zero);
        const float *k = row_of(&din->table->param[HISTORY], pass->pair_item[j], zero);
        float *x = pass->x + (size_t)j * 4 * (size_t)C;
        for (int c = 0; c < C; c++) {
            x[c] = q[c];
            x[C + c] = k[c];
            x[2 * C + c] = q[c] - k[c];
            x[3 * C + c] = q[c] * k[c];
        }
    }
}

/* t [N, 3C] = p_u, v, q */
static void rows_fill(const sella_din *din, sella_din_pass *pass)
{
    static const float zero[SELLA_DIN_WIDTH_MAX];
    const int C = din->config.C;
#pragma omp parallel for schedule(static) if ((size_t)pass->batch->N * (size_t)C > SMALL)
    for (int n = 0; n < pass->batch->N; n++) {
        float *t = pass->t + (size_t)n * 3 * (size_t)C;
        memcpy(t, row_of(&din->table->param[USER], pass->user[n], zero), (size_t)C * sizeof *t);
        memcpy(t + 2 * C, row_of(&din->table->param[ITEM], pass->batch->item_n[n], zero),
               (size_t)C * sizeof *t);
        memset(t + C, 0, (size_t)C * sizeof *t);
        for (int j = pass->first[n]; j < pass->first[n + 1]; j++) {
            const float *k = pass->x + (size_t)j * 4 * (size_t)C + C;
            for (int c = 0; c < C; c++) {
                t[C + c] += pass->weight[j] * k[c];
            }
        }
    }
}

void sella_din_forward(sella_din *din, sella_din_pass *pass, const sella_din_batch *batch,
                       const sella_din_mode *mode, float *z, float *interest)
{
    const sella_param *param = din->table->param;
    const int C = din->config.C, N = batch->N, last = SELLA_DIN_HIDDEN * LAYER;
    pass->mode = *mode;
    batch_take(din, pass, batch);
    pairs_fill(din, pass);
    const float *x = pass->x;
    for (int l = 0; l < SELLA_DIN_HIDDEN; x = pass->attention[l++].act) {
        layer_forward(din, pass, &pass->attention[l], x, pass->P);
    }
    linear_forward(param + ATTENTION + last, pass->weight, x, pass->P, din->config.attention[1], 1);
    rows_fill(din, pass);
    for (int n = 0; interest && n < N; n++) {
        memcpy(interest + (size_t)n * (size_t)C, pass->t + (size_t)n * 3 * (size_t)C + C,
               (size_t)C * sizeof *interest);
    }
    x = pass->t;
    for (int l = 0; z && l < SELLA_DIN_HIDDEN; x = pass->top[l++].act) {
        layer_forward(din, pass, &pass->top[l], x, N);
    }
    if (z) {
        linear_forward(param + TOP + last, z, x, N, din->config.top[1], 1);
    }
}

const float *sella_din_sample(const sella_din_pass *pass)
{
    return pass->top[SELLA_DIN_HIDDEN - 1].act;
}

/* ---- backward ---- */

/* dt [N, 3C] from the logits and the sample vectors. */
static void top_backward(sella_din *din, sella_din_pass *pass, const float *dz,
                         const float *dsample)
{
    sella_param *param = din->table->param + TOP + SELLA_DIN_HIDDEN * LAYER;
    const int N = pass->batch->N, H = din->config.top[1];
    if (dz) {
        linear_backward(param, pass->da, dz, sella_din_sample(pass), N, H, 1);
    } else {
        memset(pass->da, 0, (size_t)N * (size_t)H * sizeof *pass->da);
    }
    if (dsample) {
        sella_axpy(pass->da, 1.0f, dsample, (size_t)N * (size_t)H);
    }
    /* da -> da: the products read dact after Dice, then write the next dact into db; two buffers
     * take turns */
    float *dact = pass->da, *other = pass->db;
    for (int l = SELLA_DIN_HIDDEN - 1; l >= 0; l--) {
        float *slope = other, *to = l > 0 ? other : pass->dt;
        layer_backward(din, pass, &pass->top[l], to, dact, slope, N);
        other = dact;
        dact = to;
    }
}

/* dx [P, 4C] from dweight. */
static void attention_backward(sella_din *din, sella_din_pass *pass)
{
    sella_param *param = din->table->param + ATTENTION + SELLA_DIN_HIDDEN * LAYER;
    float *dact = pass->da, *other = pass->db;
    linear_backward(param, dact, pass->dweight, pass->attention[SELLA_DIN_HIDDEN - 1].act, pass->P,
                    din->config.attention[1], 1);
    for (int l = SELLA_DIN_HIDDEN - 1; l >= 0; l--) {
        float *slope = other, *to = l > 0 ? other : pass->dx;
        layer_backward(din, pass, &pass->attention[l], to, dact, slope, pass->P);
        other = dact;
        dact = to;
    }
}

/* Through v = sum w k, before the attention's own backward: dweight and the direct part of dk. */
static void pool_backward(sella_din_pass *pass, int C)
{
#pragma omp parallel for schedule(static) if ((size_t)pass->P * (size_t)C > SMALL)
    for (int j = 0; j < pass->P; j++) {
        const float *dv = pass->dt + (size_t)pass->pair_row[j] * 3 * (size_t)C + C;
        const float *k = pass->x + (size_t)j * 4 * (size_t)C + C;
        float *dk = pass->dk + (size_t)j * (size_t)C;
        pass->dweight[j] = sella_dot(dv, k, C);
        for (int c = 0; c < C; c++) {
            dk[c] = pass->weight[j] * dv[c];
        }
    }
}

/* Through [q, k, q - k, q * k]: dk += its part, dq [N, C] = the sum over the row's pairs and what
 * the top says of q. */
static void pairs_backward(sella_din_pass *pass, int C, const float *ditem)
{
#pragma omp parallel for schedule(static) if ((size_t)(pass->P + pass->batch->N) * (size_t)C >     \
                                              SMALL)
    for (int n = 0; n < pass->batch->N; n++) {
        float *dq = pass->dq + (size_t)n * (size_t)C;
        memcpy(dq, pass->dt + (size_t)n * 3 * (size_t)C + 2 * C, (size_t)C * sizeof *dq);
        for (int c = 0; ditem && c < C; c++) {
            dq[c] += ditem[(size_t)n * (size_t)C + (size_t)c];
        }
        for (int j = pass->first[n]; j < pass->first[n + 1]; j++) {
            const float *x = pass->x + (size_t)j * 4 * (size_t)C,
                        *dx = pass->dx + (size_t)j * 4 * (size_t)C;
            float *dk = pass->dk + (size_t)j * (size_t)C;
            for (int c = 0; c < C; c++) {
                dq[c] += dx[c] + dx[2 * C + c] + dx[3 * C + c] * x[C + c];
                dk[c] += dx[C + c] - dx[2 * C + c] + dx[3 * C + c] * x[c];
            }
        }
    }
}

/* param->grad[row_n] += dy [n, C] with rows ld apart; rows below 0 are nobody's. */
static void table_add(sella_param *param, const int32_t *row_n, int n, const float *dy, int ld)
{
    const int C = (int)param->shape[1];
    if (!param->grad) {
        return;
    }
#pragma omp parallel for schedule(static) if ((size_t)n * (size_t)C > SMALL)
    for (int c0 = 0; c0 < C; c0 += COLUMNS) {
        const int c1 = C - c0 < COLUMNS ? C : c0 + COLUMNS;
        for (int i = 0; i < n; i++) {
            const float *from = dy + (size_t)i * (size_t)ld;
            float *to = row_n[i] < 0 ? NULL : param->grad + (size_t)row_n[i] * (size_t)C;
            for (int c = c0; to && c < c1; c++) {
                to[c] += from[c];
            }
        }
    }
}

void sella_din_backward(sella_din *din, sella_din_pass *pass, const float *dz, const float *dsample,
                        const float *dinterest, const float *ditem)
{
    const int C = din->config.C, N = pass->batch->N;
    sella_param *param = din->table->param;
    assert(pass->dx);
    if (dz || dsample) {
        top_backward(din, pass, dz, dsample);
    } else {
        memset(pass->dt, 0, (size_t)N * 3 * (size_t)C * sizeof *pass->dt);
    }
    for (int n = 0; dinterest && n < N; n++) {
        sella_axpy(pass->dt + (size_t)n * 3 * (size_t)C + C, 1.0f,
                   dinterest + (size_t)n * (size_t)C, (size_t)C);
    }
    pool_backward(pass, C);
    attention_backward(din, pass);
    pairs_backward(pass, C, ditem);
    table_add(&param[USER], pass->user, N, pass->dt, 3 * C);
    table_add(&param[ITEM], pass->batch->item_n, N, pass->dq, C);
    table_add(&param[HISTORY], pass->pair_item, pass->P, pass->dk, C);
}
