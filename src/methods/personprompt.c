/* personprompt.c - one trained vector for every user and every item, directly in the language
 * model's input space.
 *
 *     e_U = p_u,   e_I = q_i                          p, q in R^L
 *     min over p, q of BCE(y, sigmoid(z))             backbone and the adapter of stage 1 frozen
 *
 * Users never seen, and rows that the sampled rows of train do not name, have the mean of the rows
 * that they do name: written into the tables before every evaluation and at the end (docs/math.md).
 *
 * Paper: section 5.1; Li et al. 2023 (PEPLER); REFERENCE 2, 4.3.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "collab/collab.h"
#include "methods/features.h"

enum { USER, ITEM, SIDES };

typedef struct personal {
    sella_param_table table; // user.weight [U, L], item.weight [I, L]
    /* [U], [I] 1: in the rows that it is trained on; NULL when it only scores */
    uint8_t *named[SIDES];
    float *mean[SIDES];      // [L] what unseen users and items get
} personal;

/* Which row of the tables each vector of a set is: out [n], -1 for one without. */
static void rows_of(const sella_soft *soft, int32_t *user_u)
{
    for (int64_t u = 0; u < soft->refs->users; u++) {
        user_u[u] = soft->query_n[soft->refs->user_query_u[u]].user;
    }
}

static void take(const personal *p, int side, const int32_t *row_n, int64_t n, float *out)
{
    const sella_param *param = &p->table.param[side];
    const size_t L = (size_t)param->shape[1];
    sella_rows_take(param, row_n, (int)n, out);
    for (int64_t i = 0; i < n; i++) {
        if (row_n[i] < 0) {
            memcpy(out + (size_t)i * L, p->mean[side], L * sizeof *out);
        }
    }
}

static sella_status forward(void *self, sella_soft *soft, sella_err *err)
{
    int32_t *user = sella_alloc((size_t)soft->refs->users, sizeof *user, "users of a batch", err);
    if (!user) {
        return SELLA_MEMORY;
    }
    rows_of(soft, user);
    take(self, USER, user, soft->refs->users, soft->e[SELLA_SLOT_USER]);
    take(self, ITEM, soft->refs->item_i, soft->refs->items, soft->e[SELLA_SLOT_ITEM]);
    free(user);
    return SELLA_OK;
}

static sella_status backward(void *self, sella_soft *soft, sella_err *err)
{
    personal *p = self;
    int32_t *user = sella_alloc((size_t)soft->refs->users, sizeof *user, "users of a batch", err);
    if (!user) {
        return SELLA_MEMORY;
    }
    rows_of(soft, user);
    sella_rows_give(&p->table.param[USER], user, (int)soft->refs->users, soft->de[SELLA_SLOT_USER]);
    sella_rows_give(&p->table.param[ITEM], soft->refs->item_i, (int)soft->refs->items,
                    soft->de[SELLA_SLOT_ITEM]);
    free(user);
    return SELLA_OK;
}

static void rows(void *self, const sella_query *query_n, int64_t N)
{
    personal *p = self;
    for (int64_t n = 0; n < N; n++) {
        p->named[USER][query_n[n].user] = 1;
        p->named[ITEM][query_n[n].item] = 1;
    }
}

/* Means over the named rows, into the others. Without names (scoring) over all rows: the others are
 * that mean already. */
static sella_status ready(void *self, const sella_run *run, sella_err *err)
{
    personal *p = self;
    (void)run;
    for (int side = 0; side < SIDES; side++) {
        sella_param *param = &p->table.param[side];
        const uint8_t *named = p->named[side];
        const size_t L = (size_t)param->shape[1];
        double *sum = sella_alloc(L, sizeof *sum, "a mean vector", err);
        int64_t count = 0;
        if (!sum) {
            return SELLA_MEMORY;
        }
        for (int64_t r = 0; r < param->shape[0]; r++) {
            for (size_t l = 0; (!named || named[r]) && l < L; l++) {
                sum[l] += param->data[(size_t)r * L + l];
            }
            count += !named || named[r];
        }
        for (size_t l = 0; l < L; l++) {
            p->mean[side][l] = count > 0 ? (float)(sum[l] / (double)count) : 0;
        }
        for (int64_t r = 0; named && r < param->shape[0]; r++) {
            if (!named[r]) {
                memcpy(param->data + (size_t)r * L, p->mean[side], L * sizeof(float));
            }
        }
        free(sum);
    }
    return SELLA_OK;
}

static void close_personal(void *self)
{
    personal *p = self;
    sella_param_table_release(&p->table);
    for (int side = 0; side < SIDES; side++) {
        free(p->named[side]);
        free(p->mean[side]);
    }
    free(p);
}

static const sella_soft_ops ops = {.forward = forward,
                                   .backward = backward,
                                   .rows = rows,
                                   .ready = ready,
                                   .close = close_personal};

sella_status sella_personprompt_features(const sella_settings *settings, int32_t users,
                                         int32_t items, int L, bool trains, uint64_t seed,
                                         sella_features *out, sella_err *err)
{
    static const char *const name[SIDES] = {"user.weight", "item.weight"};
    sella_status status = SELLA_OK;
    const int32_t count[SIDES] = {users, items};
    personal *p = sella_alloc(1, sizeof *p, "user and item vectors", err);
    *out = (sella_features){.stage = "personprompt"};
    if (!p) {
        return SELLA_MEMORY;
    }
    sella_param_table_init(&p->table);
    out->soft =
        (sella_soft_source){.ops = &ops, .self = p, .L = L, .tokens = 1, .refs = SELLA_REFS_USER};
    out->collab = &p->table;
    for (int side = 0; side < SIDES; side++) {
        SELLA_TRY(sella_param_add(&p->table, name[side], count[side], L, err));
        sella_collab_normal(&p->table, name[side], seed,
                            sella_settings_real(settings, "soft.init"));
        p->mean[side] = sella_alloc((size_t)L, sizeof(float), "a mean vector", err);
        p->named[side] = trains ? sella_alloc((size_t)count[side], 1, "named rows", err) : NULL;
        if (!p->mean[side] || (trains && !p->named[side])) {
            status = SELLA_MEMORY;
            goto done;
        }
    }
done:
    if (status != SELLA_OK) {
        sella_soft_source_close(&out->soft);
    }
    return status;
}

static sella_status personprompt_train(sella_job *job, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_features features = {0};
    SELLA_TRY(sella_features_begin(job, false, err));
    SELLA_TRY(sella_personprompt_features(
        job->settings, job->run->users, job->run->items, sella_backbone_shape(job->backbone)->C,
        true, sella_stage_seed(job->run, "personprompt"), &features, err));
    SELLA_TRY(sella_features_train(job, &features, err));
done:
    sella_soft_source_close(&features.soft);
    return status;
}

static sella_status personprompt_open(const sella_run *run, sella_backbone *backbone,
                                      sella_scorer **out, sella_err *err)
{
    sella_features features;
    int L = 0;
    sella_status status = sella_features_recorded_width(run, "user.weight", &L, err);
    if (status == SELLA_OK) {
        status = sella_personprompt_features(run->settings, run->users, run->items, L, false, 0,
                                             &features, err);
    }
    return status == SELLA_OK ? sella_features_open(run, backbone, &features, out, err) : status;
}

static sella_status personprompt_estimate(const sella_estimate_ask *ask, sella_estimate *out,
                                          sella_err *err)
{
    const int64_t vectors = (int64_t)ask->dataset->train_users + ask->dataset->items;
    const sella_stage_plan plan = {.slots = SELLA_SLOT_SET_USER_ITEM,
                                   .tokens = 1,
                                   .refs = SELLA_REFS_USER,
                                   .soft = true,
                                   .width_rows = vectors};
    const sella_stage_choice stages = {.stage1 = true, .features = &plan};
    return sella_stages_estimate(ask, &stages, out, err);
}

static const char *const paper[] = {SELLA_PAPER_STAGE1, "stage3.lr=1e-2",
                                    "stage3.weight_decay=1e-3", NULL};
static const char *const usual[] = {"stage3.lr=1e-2", NULL};

const sella_method sella_method_personprompt = {
    .name = "personprompt",
    .help =
        "one trained vector a user and an item in the language model's input space, behind stage 1",
    .needs_model = true,
    .reuses = true,
    .preset_paper = paper,
    .preset_default = usual,
    .check = sella_features_check,
    .estimate = personprompt_estimate,
    .train = personprompt_train,
    .open = personprompt_open,
};
