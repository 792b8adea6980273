/* vectors.h - the collaborative and semantic half of sella: a collaborative model, both
 * projections, the semantic table, and the numbers beside them.
 *
 * Does:     init (or read) -> ready -> collaborative logits and user vectors of queries.
 *             z_cf(u, i, H) = z of the model (collab.model) [+ text.gain * f(H, i)]
 *             f = (1/|H|) sum_{j in H} c_j . c_i,   c = unit(s0 - mean s0)
 *           with s0 the vectors as distilled and H the last collab.history_length positives
 *           (docs/math.md). What users and items never seen get is the model's (collab/collab.h).
 * Memory:   owns its parameter tables.
 * Threads:  reading is internally parallel.
 * Paper:    eqs (6), (7), (10).
 */
#ifndef SELLA_METHODS_VECTORS_H
#define SELLA_METHODS_VECTORS_H

#include "collab/projection.h"
#include "methods/collab_fit.h"
#include "methods/refs.h"

/* What stage 3 adds to the language model's logit (stage3.residual). */
typedef enum sella_residual {
    SELLA_RESIDUAL_NO,
    SELLA_RESIDUAL_ALL,
    SELLA_RESIDUAL_BIAS
} sella_residual;

typedef struct sella_vectors {
    int32_t users, items;
    int C, L;
    sella_collab *collab;        /* owned */
    sella_projection projection; /* proj.*, warm.* */
    sella_param_table semantic;  /* semantic.weight [I, L], no weight decay */
    /* logit.bias [1], logit.gain [1], text.gain [1]: those that the settings ask for */
    sella_param_table logit;
    /* item.rows [I]: rows of train that name the item; empty without stage3.gain_rows */
    sella_param_table evidence;
    float gain_rows;             /* K of stage3.gain_rows */
    float *centred;              /* [I, L] c; NULL without text.gain */
    uint8_t *distilled_i;        /* [I] 1: has a distilled vector */
} sella_vectors;

/* Fresh parameters for a run's users and items; L: width of the language model. intercept: with
 * logit.bias. */
sella_status sella_vectors_init(const sella_settings *settings, int32_t users, int32_t items, int L,
                                bool intercept, uint64_t seed, sella_vectors *out, sella_err *err);
void sella_vectors_release(sella_vectors *v);

/* collaborative, semantic and logit tables to and from collab.safetensors, the projection to and
 * from projection.safetensors. */
sella_status sella_vectors_write(const sella_vectors *v, const char *collab, const char *projection,
                                 sella_err *err);
sella_status sella_vectors_read(sella_vectors *v, const char *collab, const char *projection,
                                sella_err *err);

/* The semantic table as distilled: the start of semantic.weight (fill) and of c. */
sella_status sella_vectors_distilled(sella_vectors *v, const char *path, bool fill, sella_err *err);
/* c of the vectors as distilled: out [I, L], the caller frees; zero rows: items without one. */
sella_status sella_vectors_centred(const sella_vectors *v, const char *path, float **out,
                                   sella_err *err);

/* After parameters moved or were read: sella_collab_ready with the run's histories. */
sella_status sella_vectors_ready(sella_vectors *v, const sella_run *run, sella_err *err);

/* Rows as the collaborative model sees them (sella_collab_rows_make with its window). */
sella_status sella_vectors_rows(const sella_vectors *v, const sella_query *query_n,
                                const int64_t *place_n, int64_t N, bool items,
                                sella_collab_rows *out, sella_err *err);
/* f of each row: f_n out [N]. Requires: centred. */
void sella_vectors_text(const sella_vectors *v, const sella_collab_batch *batch, float *f_n);
/* z_cf of queries: z out [N]. */
sella_status sella_vectors_logits(const sella_vectors *v, const sella_query *query_n, int64_t N,
                                  float *z, sella_err *err);

/* z_cf of many items for one user and history (who->item is not looked at), which costs one user
 * vector and a product an item: z out [N]. Equal to sella_vectors_logits but for rounding: f is
 * (mean of c_j) . c_i. */
sella_status sella_vectors_scan(const sella_vectors *v, const sella_query *who,
                                const int32_t *item_n, int32_t N, double *z, sella_err *err);

sella_residual sella_residual_of(const sella_settings *settings);
/* With stage3.residual and stage3.gain_rows: add item.rows, to be read or filled (zeros now). */
sella_status sella_vectors_evidence(sella_vectors *v, const sella_settings *settings,
                                    sella_err *err);
/* K / (n + K), n the item's rows of train (docs/math.md); -1, a title outside the catalogue, has
 * none. 1 without stage3.gain_rows. */
float sella_vectors_weight(const sella_vectors *v, int32_t item);
/* z_cf, or b_u + b_i + b_0 alone: z out [N]. Requires: which is not NO; biases for BIAS. */
sella_status sella_vectors_residual(const sella_vectors *v, const sella_query *query_n, int64_t N,
                                    sella_residual which, float *z, sella_err *err);
/* Its gradient into trainable tables (not through the text term: text.gain is frozen in stage
 * 3). */
sella_status sella_vectors_residual_backward(sella_vectors *v, const sella_query *query_n,
                                             int64_t N, sella_residual which, const float *dz,
                                             sella_err *err);

/* Value of a row of the logit table, or `otherwise`. */
float sella_vectors_number(const sella_vectors *v, const char *name, float otherwise);

#endif
