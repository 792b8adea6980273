/* collab.h - the one interface behind which the collaborative models stand: mf, lightgcn, sasrec,
 * din.
 *
 * Does:     new -> [prepare] -> forward, backward (logits) or vectors, vectors_backward (what other
 *           models build on), an optimizer outside -> ready -> forward without gradients. A model
 *           is a row of a table of functions (sella_collab_ops); it adds its tensors to one
 *           parameter table, so that saving, loading, the optimizer and checkpoints need not know
 *           it. The user vector is what the model computes (mf: its row; lightgcn: propagated;
 *           sasrec: last position; din: the interest in the row's own target), the item vector is
 *           its item embedding (lightgcn: propagated), both [C]. Unless a model says otherwise
 *           (din: a network)
 *             z = p_u . q_i [+ b_u + b_i + b_0].
 *           Unseen users and items are -1, a normal input. A user never seen is made from the
 *           history where the model can (sasrec always; mf and lightgcn by config.unseen); an item
 *           never seen has the zero vector.
 * Layout:   `table`: what is trained: user.weight [U, C], item.weight [I, C] where the model has
 *           them, optional user.bias [U], item.bias [I], global.bias [1], and tensors under the
 *           model's own name ("sasrec.block.0..."). Rows that a model keeps up to date itself
 *           (running statistics) are trainable with decay = false and a gradient that stays zero:
 *           so the loop keeps, restores and checkpoints them like the rest. `derived`: tensors that
 *           `ready` computes from the trained ones and that scoring reads (lightgcn's propagated
 *           vectors); saved and read beside the table, never trained.
 * Memory:   owns its tables; batches are borrowed; what backward needs is kept in the caller's
 *           sella_collab_pass.
 * Threads:  internally parallel; same bytes for a fixed number of threads. One pass per thread.
 * Paper:    section 3 (Collaborative Filtering Recommendation), eq (6); docs/math.md has each
 *           model's formulas.
 */
#ifndef SELLA_COLLAB_COLLAB_H
#define SELLA_COLLAB_COLLAB_H

#include "base/param.h"
#include "collab/controls.h"

typedef struct sella_collab sella_collab;

/* Vector of a user never seen, where the model has none from the history; and of items of the
 * catalogue that no train row names: zero, else the mean of trained ones. */
typedef enum sella_unseen {
    SELLA_UNSEEN_ZERO,
    SELLA_UNSEEN_MEAN,
    SELLA_UNSEEN_HISTORY
} sella_unseen;

typedef struct sella_collab_config {
    int32_t users, items;   /* >= 1 */
    int C;                  /* width, 1 to SELLA_COLLAB_WIDTH_MAX */
    bool bias;              /* b_u, b_i, b_0 */
    double init;            /* standard deviation of embeddings at the start; >= 0 */
    double dropout;         /* of models that have one: 0 <= p < 1 */
    int32_t history_length; /* last positives that the model sees; 0: all (sasrec: at least 1) */
    sella_unseen unseen;
    struct {
        bool history; /* the implicit part of SVD++ */
    } mf;
    struct {
        int layers; /* K, 0 to 16 */
    } lightgcn;
    struct {
        int blocks; /* 1 to 16 */
        int heads;  /* a divisor of C */
    } sasrec;
    struct {
        int attention[2], top[2]; /* hidden widths of the two networks */
        double hide;              /* share of train rows whose user is taken away, 0 to 1 */
    } din;
} sella_collab_config;

enum { SELLA_COLLAB_WIDTH_MAX = 4096 };

/* Rows of train in the model's numbers, with the histories that the rows show (histories may be
 * NULL). */
typedef struct sella_collab_train {
    sella_interactions rows;
    const int32_t *const *history_n; /* [rows] item rows, >= 0 */
    const int32_t *history_count_n;  /* [rows] */
} sella_collab_train;

/* Positives of each train user, oldest first (a run's history.npy). */
typedef struct sella_collab_users {
    const int32_t *history;       /* pool of item rows */
    const int64_t *history_start; /* [users + 1] */
} sella_collab_users;

/* A batch of rows. Histories are cut to the last config.history_length and hold item rows >= 0
 * only. Where item vectors alone are asked for, users and histories may be NULL; where user vectors
 * alone, items, unless ops->target. */
typedef struct sella_collab_batch {
    int N;
    const int32_t *user_n;           /* [N] -1 to users - 1 */
    const int32_t *item_n;           /* [N] -1 to items - 1 */
    const int32_t *const *history_n; /* [N] oldest first */
    const int32_t *history_count_n;  /* [N] */
    /* a backward pass follows: computed from the trained tensors, not from derived ones */
    bool backward;
    /* with the model's dropout and batch statistics: a training step */
    bool dropout;
    uint64_t seed;                   /* of dropout, with number: the same draws for the same pair */
    uint64_t number;                 /* of the step or piece of a step */
} sella_collab_batch;

/* What a forward pass keeps for its backward pass; zero-initialised by the caller, used again for
 * batch after batch. */
typedef struct sella_collab_pass {
    const struct sella_collab_ops *ops;
    float *user, *item; /* [N, C] vectors of the batch, of models whose logit is their product */
    size_t room;        /* values in each */
    void *kept;         /* the model's own; kept_free */
} sella_collab_pass;

/* Work and size of a model, for estimates. */
typedef struct sella_collab_cost {
    int64_t parameters;
    double row_flops;  /* forward, a row; backward takes twice as much */
    double step_flops; /* forward, a step, beside its rows */
    size_t row_bytes;  /* kept by a forward pass, a row */
    size_t model_bytes; /* beside tables, gradients and moments */
} sella_collab_cost;

typedef struct sella_collab_ops {
    const char *name;
    /* Most rows of one forward pass: larger batches are cut into pieces, so that what is kept stays
     * small. 0: a step's batch must stay whole. */
    int piece;
    bool sequence; /* the user vector of a train user depends on the row's history */
    bool target;   /* the user vector depends on the row's item */
    /* Beginnings of the names of tensors that the logit reads and the vectors do not, biases apart;
     * ended by NULL. NULL: none. */
    const char *const *logit_only;
    /* the logit is the product of the vectors and the biases, also where forward is the model's
     * own */
    bool product;
    /* Refuse a config that this model cannot have. */
    sella_status (*check)(const sella_collab_config *config, sella_err *err);
    void (*cost)(const sella_collab_config *config, sella_collab_cost *out);
    /* Add and fill the model's rows of c->table and c->derived; c->model is its own to use. The
     * biases are added by sella_collab_new for models without a forward of their own. */
    sella_status (*init)(sella_collab *c, uint64_t seed, sella_err *err);
    void (*release)(sella_collab *c); /* c->model; NULL: nothing */
    /* NULL: nothing */
    sella_status (*prepare)(sella_collab *c, const sella_collab_train *train, sella_err *err);
    /* NULL: nothing */
    sella_status (*ready)(sella_collab *c, const sella_collab_users *users, sella_err *err);
    /* user, item out [N, C]; either may be NULL. The rows have items where ops->target and user is
     * asked for. */
    sella_status (*vectors)(const sella_collab *c, const sella_collab_batch *batch,
                            sella_collab_pass *pass, float *user, float *item, sella_err *err);
    /* Accumulate; duser, ditem in [N, C], either may be NULL. The vectors before must have been
     * asked for with batch->backward, both of them when both have a gradient. NULL: the model is
     * not trained through its vectors. */
    sella_status (*vectors_backward)(sella_collab *c, const sella_collab_batch *batch,
                                     sella_collab_pass *pass, const float *duser,
                                     const float *ditem, sella_err *err);
    /* Logits; NULL: the product of the vectors and the biases. */
    sella_status (*forward)(sella_collab *c, const sella_collab_batch *batch,
                            sella_collab_pass *pass, float *z, sella_err *err);
    sella_status (*backward)(sella_collab *c, const sella_collab_batch *batch,
                             sella_collab_pass *pass, const float *dz, sella_err *err);
    void (*kept_free)(void *kept); /* NULL: nothing is kept */
} sella_collab_ops;

struct sella_collab {
    const sella_collab_ops *ops;
    sella_collab_config config;
    sella_param_table table;   /* trained */
    sella_param_table derived; /* computed by ready, read by forward without gradients */
    bool prepared;
    /* [items] 1: in train rows; in their histories, or without those positive; NULL before
     * prepare */
    uint8_t *seen_i, *liked_i;
    void *model;               /* the model's own */
};

extern const sella_collab_ops sella_collab_mf;       /* collab/mf_model.c */
extern const sella_collab_ops sella_collab_lightgcn; /* collab/lightgcn.c */
extern const sella_collab_ops sella_collab_sasrec;   /* collab/sasrec.c */
extern const sella_collab_ops sella_collab_din;      /* collab/din_model.c */

/* NULL when unknown. */
const sella_collab_ops *sella_collab_find(const char *name);

/* Whether two rows of one train user may have different user vectors, their histories being
 * unequal. */
bool sella_collab_reads_history(const sella_collab_ops *ops, const sella_collab_config *config);

/* SELLA_ARG for a config out of range. Weights are drawn by (seed, place in the table, index). */
sella_status sella_collab_check(const char *name, const sella_collab_config *config,
                                sella_err *err);
sella_status sella_collab_new(const char *name, const sella_collab_config *config, uint64_t seed,
                              sella_collab **out, sella_err *err);
void sella_collab_free(sella_collab *c);
/* Cost with the biases. */
void sella_collab_cost_of(const char *name, const sella_collab_config *config,
                          sella_collab_cost *out);

/* Tell the model the rows of train: its graph, and which items they name. Before training; models
 * without an ops->prepare do without where no items are to be settled, and a run that only scores
 * does without. */
sella_status sella_collab_prepare(sella_collab *c, const sella_collab_train *train, sella_err *err);
/* Biases as sella_bias_fit finds them, for the start of a training. Requires: config.bias. */
sella_status sella_collab_start_biases(sella_collab *c, const sella_interactions *train,
                                       const sella_item_text *text, sella_err *err);
/* After parameters moved or were read: settle rows of items that train does not name (prepared
 * models), compute what is derived. users may be NULL for models that do not ask for it (all but
 * mf). */
sella_status sella_collab_ready(sella_collab *c, const sella_collab_users *users, sella_err *err);

/* z out [N]. */
sella_status sella_collab_forward(sella_collab *c, const sella_collab_batch *batch,
                                  sella_collab_pass *pass, float *z, sella_err *err);
/* Accumulates into trainable rows. Requires: forward of this batch with batch->backward just
 * before; dz in [N]. */
sella_status sella_collab_backward(sella_collab *c, const sella_collab_batch *batch,
                                   sella_collab_pass *pass, const float *dz, sella_err *err);
/* In pieces when no backward pass follows. */
sella_status sella_collab_vectors(const sella_collab *c, const sella_collab_batch *batch,
                                  sella_collab_pass *pass, float *user, float *item,
                                  sella_err *err);
/* SELLA_UNSUPPORTED for a model that is not trained through its vectors. */
sella_status sella_collab_vectors_backward(sella_collab *c, const sella_collab_batch *batch,
                                           sella_collab_pass *pass, const float *duser,
                                           const float *ditem, sella_err *err);
void sella_collab_pass_release(sella_collab_pass *pass);
/* Logits without gradients, in pieces: z out [N]. Requires: ready (or tables as read). */
sella_status sella_collab_score(sella_collab *c, const sella_collab_batch *batch, float *z,
                                sella_err *err);
/* Logits of many items for one user and history (one row of a batch, its item is not looked at):
 * one user vector and a product an item where the model is one. z out [N]. */
sella_status sella_collab_scan(sella_collab *c, const sella_collab_batch *who,
                               const int32_t *item_n, int32_t N, float *z, sella_err *err);
/* A part of a batch: rows first .. first + N - 1. */
sella_collab_batch sella_collab_piece(const sella_collab_batch *batch, int first, int N);

/* ---- for models ---- */

/* z [N] += b_u + b_i + b_0 where the table has them; and their gradients from dz [N]. */
void sella_collab_bias_forward(const sella_collab *c, const sella_collab_batch *batch, float *z);
void sella_collab_bias_backward(sella_collab *c, const sella_collab_batch *batch, const float *dz);
/* out [n, C] = rows row_n [n] of a table [rows, C] (-1: zero); and table gradients += a * drows, in
 * the order of n whatever the number of threads; nothing when the row is frozen. */
void sella_collab_rows_take(const sella_param *param, const int32_t *row_n, int n, float *out);
void sella_collab_rows_give(sella_param *param, const int32_t *row_n, int n, float a,
                            const float *drows);
/* Rows of items [I, C] that no train row names: zero, or the mean of the others. Requires:
 * prepared. */
void sella_collab_settle(const sella_collab *c, float *item);
/* Normal values, drawn by (seed, place of the row in the table, index). */
void sella_collab_normal(sella_param_table *table, const char *name, uint64_t seed,
                         double deviation);

#endif
