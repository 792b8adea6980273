/* bias_only.c - the controls: fit, write, score (methods/bias_only.h). */
#include "methods/bias_only.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "collab/controls.h"
#include "methods/inside.h"
#include "methods/sella/stages.h"
#include "methods/tensor_file.h"

/* Biases of users, too? */
static bool with_users(const char *method)
{
    return strcmp(method, "bias") == 0;
}

/* Train rows in the run's numbers. Release: free() of both. */
static sella_status interactions_of(const sella_job *job, sella_interactions *out, int32_t **user,
                                    int32_t **item, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_split *train = &job->dataset->split[SELLA_SPLIT_TRAIN];
    sella_query *query = NULL;
    int32_t *pool = NULL;
    *user = sella_alloc((size_t)train->rows, sizeof **user, "train rows", err);
    *item = sella_alloc((size_t)train->rows, sizeof **item, "train rows", err);
    if (!*user || !*item) {
        status = SELLA_MEMORY;
        goto done;
    }
    SELLA_TRY(sella_queries_from_split(job->run, job->dataset, SELLA_SPLIT_TRAIN, NULL, train->rows,
                                       &query, &pool, err));
    for (int64_t n = 0; n < train->rows; n++) {
        (*user)[n] = query[n].user;
        (*item)[n] = query[n].item;
    }
    *out = (sella_interactions){
        .rows = train->rows, .user_n = *user, .item_n = *item, .label_n = train->label_n};
done:
    free(query);
    free(pool);
    return status;
}

sella_status sella_controls_train(sella_job *job, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_param_table table;
    const sella_param_table *const tables[] = {&table};
    sella_interactions train;
    int32_t *user = NULL, *item = NULL;
    char *path = NULL;
    json_t *record = NULL;
    const double start = sella_now();
    const char *stage = job->run->method;
    if (sella_run_stage_done(job->run, stage)) {
        return SELLA_OK;
    }
    sella_param_table_init(&table);
    SELLA_TRY(interactions_of(job, &train, &user, &item, err));
    if (with_users(stage)) {
        SELLA_TRY(sella_bias_fit(&train, job->run->users, job->run->items, NULL, &table, err));
    } else {
        SELLA_TRY(sella_itembias_fit(&train, job->run->items, &table, err));
    }
    SELLA_TRY(sella_run_place(job->run, "collab.safetensors", &path, err));
    SELLA_TRY(sella_tensors_write(path, tables, 1, err));
    record = sella_stage_record_new(stage, sella_now() - start);
    if (!record) {
        status = sella_err_memory(err, "done.json", 256);
        goto done;
    }
    sella_stage_record_table(record, &table);
    json_object_set_new(record, "rows", json_integer(train.rows));
    status = sella_run_stage_finish(job->run, stage, record, err);
done:
    sella_param_table_release(&table);
    free(user);
    free(item);
    free(path);
    json_decref(record);
    return status;
}

/* ---- scoring ---- */

typedef struct bias_scorer {
    sella_scorer base;
    sella_param_table table;
} bias_scorer;

static sella_status bias_score(sella_scorer *scorer, const sella_query *query_n, int64_t N,
                               double *logit_n, const sella_talk *talk, sella_err *err)
{
    const sella_param_table *table = &((bias_scorer *)scorer)->table;
    const sella_param *user = sella_param_find(table, "user.bias");
    const float *item = sella_param_find(table, "item.bias")->data;
    const double base = (double)sella_param_find(table, "global.bias")->data[0];
    (void)talk;
    (void)err;
    for (int64_t n = 0; n < N; n++) {
        const int32_t u = query_n[n].user, i = query_n[n].item;
        logit_n[n] =
            base + (user && u >= 0 ? (double)user->data[u] : 0) + (i >= 0 ? (double)item[i] : 0);
    }
    return SELLA_OK;
}

static int32_t bias_history_start(const sella_scorer *scorer, const sella_query *query)
{
    (void)scorer;
    return query->history_count;
}

static sella_status bias_terms(sella_scorer *scorer, const sella_query *query, double logit,
                               sella_terms *out, sella_err *err)
{
    const sella_param_table *table = &((bias_scorer *)scorer)->table;
    const sella_param *user = sella_param_find(table, "user.bias"),
                      *item = sella_param_find(table, "item.bias");
    (void)logit;
    (void)err;
    *out = (sella_terms){0};
    sella_terms_add(out, "global bias", (double)sella_param_find(table, "global.bias")->data[0], 0);
    if (user) {
        sella_terms_add(out, "user bias", query->user >= 0 ? (double)user->data[query->user] : 0,
                        0);
    }
    sella_terms_add(out, "item bias", query->item >= 0 ? (double)item->data[query->item] : 0, 0);
    return SELLA_OK;
}

static const sella_inside_ops bias_inside = {.history_start = bias_history_start,
                                             .terms = bias_terms};

static void bias_close(sella_scorer *scorer)
{
    sella_param_table_release(&((bias_scorer *)scorer)->table);
    free(scorer);
}

static const sella_scorer_ops bias_ops = {bias_score, NULL, bias_close};

sella_status sella_controls_open(const sella_run *run, sella_backbone *backbone, sella_scorer **out,
                                 sella_err *err)
{
    sella_status status = SELLA_OK;
    (void)backbone;
    char *path = sella_run_file(run, "collab.safetensors");
    bias_scorer *s = sella_alloc(1, sizeof *s, "a scorer", err);
    if (!s || !path) {
        free(s);
        free(path);
        return sella_err_memory(err, "a scorer", sizeof *s);
    }
    s->base = (sella_scorer){
        .ops = &bias_ops, .inside = &bias_inside, .run = run, .yes_id = -1, .no_id = -1};
    sella_param_table_init(&s->table);
    sella_param_table *const tables[] = {&s->table};
    if (with_users(run->method)) {
        SELLA_TRY(sella_param_add(&s->table, "user.bias", run->users, 0, err));
    }
    SELLA_TRY(sella_param_add(&s->table, "item.bias", run->items, 0, err));
    SELLA_TRY(sella_param_add(&s->table, "global.bias", 1, 0, err));
    SELLA_TRY(sella_tensors_read(path, tables, 1, err));
    *out = &s->base;
    s = NULL;
done:
    if (s) {
        bias_close(&s->base);
    }
    free(path);
    return status;
}

sella_status sella_controls_estimate(const sella_estimate_ask *ask, sella_estimate *out,
                                     sella_err *err)
{
    const sella_dataset *dataset = ask->dataset;
    const bool users = with_users(ask->method->name);
    (void)err;
    const size_t rows = (size_t)dataset->split[SELLA_SPLIT_TRAIN].rows,
                 items = (size_t)dataset->items;
    const size_t trainable = items + 1 + (users ? (size_t)dataset->train_users : 0);
    out->rows = (int64_t)rows;
    out->trainable = (int64_t)trainable;
    /* with users: some ten Newton steps of some twenty products each */
    out->other_flops = users ? 200.0 * 10.0 * (double)rows : 4.0 * (double)rows;
    out->bytes = rows * (sizeof(sella_query) + 2 * sizeof(int32_t) + sizeof(double)) +
                 trainable * 10 * sizeof(double);
    return SELLA_OK;
}
