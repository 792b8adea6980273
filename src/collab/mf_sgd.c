/* mf_sgd.c - matrix factorisation by stochastic gradients (collab/mf_sgd.h).
 *
 * Users are put into a random order and cut into G parts with about as many rows each; items too.
 * Block (k, l) holds the rows of part k of the users and part l of the items, in random order: its
 * packed parameters fit the second-level cache, and neighbouring entries rarely share a row, so
 * that the processor works on several at once. An epoch starts each block at a drawn entry.
 */
#include "collab/mf_sgd.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/rng.h"
#include "kernels/factor.h"

enum {
    GRID_MOST = 32,
    BLOCK_ROWS = 1024, /* entries that a block should have: below that a barrier costs too much */
    /* second word of the draws: what they are for */
    DRAW_USERS = 1,
    DRAW_ITEMS = 2,
    DRAW_ROWS = 3,
    DRAW_DIAGONALS = 4,
    DRAW_STARTS = 5
};

/* One side of the grid. */
typedef struct side {
    int32_t count, named; /* rows of the table; those that train names */
    int32_t *row_of;      /* [count] row of the table at a packed place */
    int32_t *place_of;    /* [count] the inverse */
    int32_t *part_of;     /* [count] part of a row of the table */
    int64_t *entries_of;  /* [count] rows of train that name it */
    float *packed;        /* [count, stride] */
} side;

struct sella_mf_sgd {
    sella_mf_sgd_config config;
    int C, G;
    int64_t rows;
    side user, item;
    sella_factor_entry *entry; /* [rows] by block */
    int64_t *start;            /* [G * G + 1] */
    sella_factor_sums *sums;   /* [G] of one diagonal */
    sella_arena *arena;        /* the packed rows */
    sella_param_table state;
};

/* ---- the grid ---- */

static int grid_of(int64_t rows)
{
    int G = 1;
    while (G < GRID_MOST && (int64_t)(2 * G) * (2 * G) * BLOCK_ROWS <= rows) {
        G *= 2;
    }
    return G;
}

static sella_status side_init(side *s, int32_t count, const int32_t *id_n, int64_t rows, int G,
                              uint64_t seed, uint32_t draw, sella_err *err)
{
    const sella_rng rng = {.seed = seed, .stream = SELLA_STREAM_SHUFFLE, .b = draw};
    const size_t n = (size_t)count;
    s->count = count;
    s->row_of = sella_alloc(n, sizeof *s->row_of, "the grid", err);
    s->place_of = sella_alloc(n, sizeof *s->place_of, "the grid", err);
    s->part_of = sella_alloc(n, sizeof *s->part_of, "the grid", err);
    s->entries_of = sella_alloc(n, sizeof *s->entries_of, "the grid", err);
    int64_t *order = sella_alloc(n, sizeof *order, "the grid", err), before = 0;
    if (!s->row_of || !s->place_of || !s->part_of || !s->entries_of || !order) {
        free(order);
        return SELLA_MEMORY;
    }
    for (int64_t r = 0; r < rows; r++) {
        s->entries_of[id_n[r]]++;
    }
    for (size_t i = 0; i < n; i++) {
        order[i] = (int64_t)i;
    }
    sella_rng_shuffle(&rng, order, n);
    for (int32_t place = 0; place < count; place++) {
        const int32_t row = (int32_t)order[place];
        s->row_of[place] = row;
        s->place_of[row] = place;
        /* G only for rows without entries behind the last that has some */
        const int64_t part = before * G / rows;
        s->part_of[row] = part < G ? (int32_t)part : G - 1;
        before += s->entries_of[row];
        s->named += s->entries_of[row] > 0;
    }
    free(order);
    return SELLA_OK;
}

/* Entries in random order, gathered by block (a counting sort keeps that order inside a block). */
static sella_status entries_init(sella_mf_sgd *sgd, const sella_interactions *rows, sella_err *err)
{
    const sella_rng rng = {
        .seed = sgd->config.seed, .stream = SELLA_STREAM_SHUFFLE, .b = DRAW_ROWS};
    const size_t N = (size_t)rows->rows, blocks = (size_t)sgd->G * (size_t)sgd->G;
    sgd->entry = sella_alloc(N, sizeof *sgd->entry, "the grid", err);
    sgd->start = sella_alloc(blocks + 1, sizeof *sgd->start, "the grid", err);
    int64_t *order = sella_alloc(N, sizeof *order, "the grid", err);
    int64_t *next = sella_alloc(blocks, sizeof *next, "the grid", err);
    if (!sgd->entry || !sgd->start || !order || !next) {
        free(order);
        free(next);
        return SELLA_MEMORY;
    }
    for (size_t r = 0; r < N; r++) {
        order[r] = (int64_t)r;
        sgd->start[sgd->user.part_of[rows->user_n[r]] * sgd->G +
                   sgd->item.part_of[rows->item_n[r]] + 1]++;
    }
    for (size_t b = 0; b < blocks; b++) {
        sgd->start[b + 1] += sgd->start[b];
        next[b] = sgd->start[b];
    }
    sella_rng_shuffle(&rng, order, N);
    for (size_t k = 0; k < N; k++) {
        const int64_t r = order[k];
        const int32_t u = rows->user_n[r], i = rows->item_n[r];
        const int block = sgd->user.part_of[u] * sgd->G + sgd->item.part_of[i];
        sgd->entry[next[block]++] = (sella_factor_entry){.user = sgd->user.place_of[u],
                                                         .item = sgd->item.place_of[i],
                                                         .label = rows->label_n[r] ? 1.0f : 0.0f};
    }
    free(order);
    free(next);
    return SELLA_OK;
}

static sella_status packed_init(sella_mf_sgd *sgd, sella_err *err)
{
    const size_t stride = sella_factor_stride(sgd->C);
    const size_t users = (size_t)sgd->user.count * stride, items = (size_t)sgd->item.count * stride;
    const size_t bytes =
        sella_arena_need(users, sizeof(float)) + sella_arena_need(items, sizeof(float));
    const sella_status status = sella_arena_new(bytes, "packed factors", &sgd->arena, err);
    if (status == SELLA_OK) {
        sgd->user.packed = sella_arena_alloc(sgd->arena, users, sizeof(float));
        sgd->item.packed = sella_arena_alloc(sgd->arena, items, sizeof(float));
    }
    return status;
}

static sella_status state_add(sella_mf_sgd *sgd, const char *name, int32_t count, sella_err *err)
{
    const sella_status status = sella_param_add(&sgd->state, name, count, 0, err);
    for (int32_t i = 0; status == SELLA_OK && i < count; i++) {
        sgd->state.param[sgd->state.count - 1].data[i] = (float)sgd->config.squares;
    }
    return status;
}

static sella_status state_init(sella_mf_sgd *sgd, bool bias, sella_err *err)
{
    sella_status status = SELLA_OK;
    SELLA_TRY(state_add(sgd, "user.squares", sgd->user.count, err));
    SELLA_TRY(state_add(sgd, "item.squares", sgd->item.count, err));
    if (bias) {
        SELLA_TRY(state_add(sgd, "user.bias.squares", sgd->user.count, err));
        SELLA_TRY(state_add(sgd, "item.bias.squares", sgd->item.count, err));
    }
done:
    return status;
}

static sella_status check(const sella_mf *mf, const sella_interactions *rows,
                          const sella_mf_sgd_config *config, sella_err *err)
{
    if (mf->config.history) {
        return sella_err_set(
            err, SELLA_ARG,
            "stochastic gradients do not train the history part of matrix factorisation");
    }
    if (rows->rows < 1 || config->grid < 0 || config->grid > 4096 ||
        !(config->decay >= 0 && isfinite(config->decay)) ||
        !(config->squares > 0 && isfinite(config->squares))) {
        return sella_err_set(
            err, SELLA_ARG,
            "stochastic gradients on %lld rows, grid %d, decay %g, squares from %g; expected at "
            "least one row, a grid of 0 to 4096, a decay of 0 or more and squares above 0",
            (long long)rows->rows, config->grid, config->decay, config->squares);
    }
    for (int64_t r = 0; r < rows->rows; r++) {
        if (rows->user_n[r] < 0 || rows->user_n[r] >= mf->config.users || rows->item_n[r] < 0 ||
            rows->item_n[r] >= mf->config.items) {
            return sella_err_set(
                err, SELLA_ARG,
                "row %lld of train is of user %d and item %d; expected less than %d and %d",
                (long long)r + 1, rows->user_n[r], rows->item_n[r], mf->config.users,
                mf->config.items);
        }
    }
    return SELLA_OK;
}

sella_status sella_mf_sgd_new(const sella_mf *mf, const sella_interactions *rows,
                              const sella_mf_sgd_config *config, sella_mf_sgd **out, sella_err *err)
{
    *out = NULL;
    sella_status status = check(mf, rows, config, err);
    if (status != SELLA_OK) {
        return status;
    }
    sella_mf_sgd *sgd = sella_alloc(1, sizeof *sgd, "stochastic gradients", err);
    if (!sgd) {
        return SELLA_MEMORY;
    }
    sgd->config = *config;
    sgd->C = mf->config.C;
    sgd->rows = rows->rows;
    sgd->G = config->grid > 0 ? config->grid : grid_of(rows->rows);
    sella_param_table_init(&sgd->state);
    SELLA_TRY(side_init(&sgd->user, mf->config.users, rows->user_n, rows->rows, sgd->G,
                        config->seed, DRAW_USERS, err));
    SELLA_TRY(side_init(&sgd->item, mf->config.items, rows->item_n, rows->rows, sgd->G,
                        config->seed, DRAW_ITEMS, err));
    SELLA_TRY(entries_init(sgd, rows, err));
    SELLA_TRY(packed_init(sgd, err));
    SELLA_TRY(state_init(sgd, mf->config.bias, err));
    sgd->sums = sella_alloc((size_t)sgd->G, sizeof *sgd->sums, "the grid", err);
    if (!sgd->sums) {
        status = SELLA_MEMORY;
        goto done;
    }
    *out = sgd;
    sgd = NULL;
done:
    sella_mf_sgd_free(sgd);
    return status;
}

static void side_release(side *s)
{
    free(s->row_of);
    free(s->place_of);
    free(s->part_of);
    free(s->entries_of);
}

void sella_mf_sgd_free(sella_mf_sgd *sgd)
{
    if (!sgd) {
        return;
    }
    side_release(&sgd->user);
    side_release(&sgd->item);
    free(sgd->entry);
    free(sgd->start);
    free(sgd->sums);
    sella_arena_free(sgd->arena);
    sella_param_table_release(&sgd->state);
    free(sgd);
}

sella_param_table *sella_mf_sgd_state(sella_mf_sgd *sgd)
{
    return &sgd->state;
}

/* ---- an epoch ---- */

/* The places where a side's numbers live: bias parts NULL without biases. */
typedef struct tables {
    float *weight, *squares, *bias, *bias_squares;
} tables;

static tables tables_of(const sella_mf_sgd *sgd, const sella_mf *mf, int which)
{
    const bool bias = mf->config.bias;
    return (tables){.weight = mf->table.param[which].data,
                    .squares = sgd->state.param[which].data,
                    .bias = bias ? mf->table.param[2 + which].data : NULL,
                    .bias_squares = bias ? sgd->state.param[2 + which].data : NULL};
}

static void pack(const sella_mf_sgd *sgd, const side *s, const tables *t)
{
    const size_t C = (size_t)sgd->C, stride = sella_factor_stride(sgd->C);
    const double decay = sgd->config.decay * (double)sgd->rows,
                 mean = (double)sgd->rows / (double)s->named;
#pragma omp parallel for schedule(static)
    for (int32_t place = 0; place < s->count; place++) {
        const size_t row = (size_t)s->row_of[place];
        float *to = s->packed + (size_t)place * stride, *tail = to + stride - SELLA_FACTOR_TAIL;
        memcpy(to, t->weight + row * C, C * sizeof *to);
        tail[SELLA_FACTOR_SQUARES] = t->squares[row];
        tail[SELLA_FACTOR_BIAS_SQUARES] = t->bias ? t->bias_squares[row] : 1.0f;
        tail[SELLA_FACTOR_BIAS] = t->bias ? t->bias[row] : 0.0f;
        tail[SELLA_FACTOR_DECAY] = s->entries_of[row] > 0
                                       ? (float)(decay / sqrt(mean * (double)s->entries_of[row]))
                                       : 0.0f;
    }
}

static void unpack(const sella_mf_sgd *sgd, const side *s, const tables *t)
{
    const size_t C = (size_t)sgd->C, stride = sella_factor_stride(sgd->C);
#pragma omp parallel for schedule(static)
    for (int32_t place = 0; place < s->count; place++) {
        const size_t row = (size_t)s->row_of[place];
        const float *from = s->packed + (size_t)place * stride,
                    *tail = from + stride - SELLA_FACTOR_TAIL;
        memcpy(t->weight + row * C, from, C * sizeof *from);
        t->squares[row] = tail[SELLA_FACTOR_SQUARES];
        if (t->bias) {
            t->bias_squares[row] = tail[SELLA_FACTOR_BIAS_SQUARES];
            t->bias[row] = tail[SELLA_FACTOR_BIAS];
        }
    }
}

/* All entries of a block, from a drawn one on and round. */
static void block_walk(const sella_mf_sgd *sgd, int block, int64_t epoch,
                       const sella_factor_block *like, sella_factor_sums *sums)
{
    const sella_rng rng = {.seed = sgd->config.seed,
                           .stream = SELLA_STREAM_SHUFFLE,
                           .a = (uint32_t)epoch,
                           .b = DRAW_STARTS};
    const int64_t first = sgd->start[block], count = sgd->start[block + 1] - first;
    sella_factor_block steps = *like;
    *sums = (sella_factor_sums){0};
    if (count > 0) {
        const int64_t turn = (int64_t)sella_rng_below(&rng, (uint64_t)block, (uint64_t)count);
        steps.entry = sgd->entry + first + turn;
        steps.count = count - turn;
        sella_factor_steps(&steps, sums);
        steps.entry = sgd->entry + first;
        steps.count = turn;
        sella_factor_steps(&steps, sums);
    }
}

/* Blocks (k, k + shift) have no user and no item in common. */
static void diagonal_walk(sella_mf_sgd *sgd, int shift, int64_t epoch,
                          const sella_factor_block *like)
{
    const int G = sgd->G;
#pragma omp parallel for schedule(dynamic, 1)
    for (int k = 0; k < G; k++) {
        block_walk(sgd, k * G + (k + shift) % G, epoch, like, &sgd->sums[k]);
    }
}

double sella_mf_sgd_epoch(sella_mf_sgd *sgd, sella_mf *mf, int64_t epoch, double lr)
{
    const int G = sgd->G;
    const bool bias = mf->config.bias;
    const sella_rng rng = {.seed = sgd->config.seed,
                           .stream = SELLA_STREAM_SHUFFLE,
                           .a = (uint32_t)epoch,
                           .b = DRAW_DIAGONALS};
    const tables user = tables_of(sgd, mf, 0), item = tables_of(sgd, mf, 1);
    int64_t shift[4096];
    double loss = 0, b0 = bias ? (double)mf->table.param[4].data[0] : 0;
    sella_factor_block like = {.user = sgd->user.packed,
                               .item = sgd->item.packed,
                               .C = sgd->C,
                               .width = sella_factor_width(sgd->C),
                               .rate = (float)lr,
                               .bias_rate = bias ? (float)lr : 0};
    for (int g = 0; g < G; g++) {
        shift[g] = g;
    }
    sella_rng_shuffle(&rng, shift, (size_t)G);
    pack(sgd, &sgd->user, &user);
    pack(sgd, &sgd->item, &item);
    for (int g = 0; g < G; g++) {
        sella_factor_sums sum = {0};
        like.b0 = (float)b0;
        diagonal_walk(sgd, (int)shift[g], epoch, &like);
        for (int k = 0; k < G; k++) { // in this order, whoever was first
            sum.loss += sgd->sums[k].loss;
            sum.slope += sgd->sums[k].slope;
            sum.curvature += sgd->sums[k].curvature;
        }
        loss += sum.loss;
        /* a G-th of a Newton step on each diagonal: about one an epoch; rows without curvature are
         * at a */
        if (bias) {
                    // wall
            b0 -= sum.slope / (fmax(sum.curvature, 1e-3 * fabs(sum.slope)) + 1e-12) / G;
        }
    }
    unpack(sgd, &sgd->user, &user);
    unpack(sgd, &sgd->item, &item);
    if (bias) {
        mf->table.param[4].data[0] = (float)b0;
    }
    return loss / (double)sgd->rows;
}
