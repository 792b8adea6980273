/* collab_rows.c - collaborative models and the rows they see, from settings, runs and queries
 * (methods/collab_fit.h). */
#include <stdlib.h>

#include "base/arena.h"
#include "methods/collab_fit.h"
#include "methods/sella/stages.h"
#include "methods/tensor_file.h"

void sella_collab_config_of(const sella_settings *settings, int32_t users, int32_t items,
                            sella_collab_config *out)
{
    *out = (sella_collab_config){
        .users = users,
        .items = items,
        .C = (int)sella_settings_int(settings, "collab.width"),
        .bias = sella_settings_bool(settings, "collab.bias"),
        .init = sella_settings_real(settings, "collab.init"),
        .dropout = sella_settings_real(settings, "collab.dropout"),
        .history_length = (int32_t)sella_settings_int(settings, "collab.history_length"),
        .unseen = sella_settings_is(settings, "collab.unseen", "zero")   ? SELLA_UNSEEN_ZERO
                  : sella_settings_is(settings, "collab.unseen", "mean") ? SELLA_UNSEEN_MEAN
                                                                         : SELLA_UNSEEN_HISTORY,
        .mf = {.history = sella_settings_bool(settings, "collab.history")},
        .lightgcn = {.layers = (int)sella_settings_int(settings, "lightgcn.layers")},
        .sasrec = {.blocks = (int)sella_settings_int(settings, "sasrec.blocks"),
                   .heads = (int)sella_settings_int(settings, "sasrec.heads")},
        .din = {.attention = {(int)sella_settings_int(settings, "din.attention_1"),
                              (int)sella_settings_int(settings, "din.attention_2")},
                .top = {(int)sella_settings_int(settings, "din.top_1"),
                        (int)sella_settings_int(settings, "din.top_2")},
                .hide = sella_settings_real(settings, "din.hide")}};
}

sella_refs_kind sella_collab_refs(const sella_collab_ops *ops, const sella_collab_config *config)
{
    return ops->target                               ? SELLA_REFS_TARGET
           : sella_collab_reads_history(ops, config) ? SELLA_REFS_HISTORY
                                                     : SELLA_REFS_USER;
}

sella_status sella_collab_freeze_logit(sella_collab *c, bool biases, sella_err *err)
{
    static const char *const none[] = {NULL}, *const bias[] = {"user.bias", "item.bias",
                                                               "global.bias", NULL};
    const char *const *const lists[] = {c->ops->logit_only ? c->ops->logit_only : none,
                                        biases ? bias : none};
    sella_status status = SELLA_OK;
    for (int l = 0; l < 2; l++) {
        for (const char *const *start = lists[l]; *start; start++) {
            SELLA_TRY(sella_stage_train_table(&c->table, *start, false, err));
        }
    }
done:
    return status;
}

sella_status sella_collab_load(const sella_run *run, const char *name, const char *file,
                               bool trainable, sella_collab **out, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_collab_config config;
    sella_collab *c = NULL;
    char *path = sella_run_file(run, file);
    *out = NULL;
    if (!path) {
        return sella_err_memory(err, "a path", 64);
    }
    sella_collab_config_of(run->settings, run->users, run->items, &config);
    SELLA_TRY(sella_collab_new(name, &config, run->seed, &c, err));
    sella_param_table *const tables[] = {&c->table, &c->derived};
    for (int i = 0; !trainable && i < c->table.count; i++) {
        SELLA_TRY(sella_param_train(&c->table.param[i], false, err));
    }
    SELLA_TRY(sella_tensors_read(path, tables, 2, err));
    const sella_collab_users users = {run->history, run->history_start};
    SELLA_TRY(sella_collab_ready(c, &users, err));
    *out = c;
    c = NULL;
done:
    sella_collab_free(c);
    free(path);
    return status;
}

sella_status sella_collab_prepare_job(const sella_job *job, sella_collab *c, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_split *split = &job->dataset->split[SELLA_SPLIT_TRAIN];
    sella_query *query = NULL;
    int32_t *pool = NULL;
    sella_collab_rows rows = {0};
    SELLA_TRY(sella_queries_from_split(job->run, job->dataset, SELLA_SPLIT_TRAIN, NULL, split->rows,
                                       &query, &pool, err));
    SELLA_TRY(sella_collab_rows_make(query, NULL, split->rows, 0, true, &rows, err));
    const sella_collab_train train = {.rows = {.rows = split->rows,
                                               .user_n = rows.user_n,
                                               .item_n = rows.item_n,
                                               .label_n = split->label_n},
                                      .history_n = rows.history_n,
                                      .history_count_n = rows.count_n};
    SELLA_TRY(sella_collab_prepare(c, &train, err));
done:
    sella_collab_rows_release(&rows);
    free(query);
    free(pool);
    return status;
}

static int32_t window_start(int32_t length, int32_t count)
{
    return length > 0 && count > length ? count - length : 0;
}

sella_status sella_collab_rows_make(const sella_query *query_n, const int64_t *place_n, int64_t N,
                                    int32_t length, bool items, sella_collab_rows *out,
                                    sella_err *err)
{
    const size_t n = (size_t)N;
    size_t total = 0;
    *out = (sella_collab_rows){0};
    for (int64_t q = 0; q < N; q++) {
        const int32_t count = query_n[place_n ? place_n[q] : q].history_count;
        total += (size_t)(count - window_start(length, count));
    }
    out->user_n = sella_alloc(n, sizeof *out->user_n, "a batch", err);
    out->item_n = sella_alloc(n, sizeof *out->item_n, "a batch", err);
    out->count_n = sella_alloc(n, sizeof *out->count_n, "a batch", err);
    out->history_n = sella_alloc(n, sizeof *out->history_n, "a batch", err);
    out->pool = sella_alloc(total, sizeof *out->pool, "a batch", err);
    if (!out->user_n || !out->item_n || !out->count_n || !out->history_n || !out->pool) {
        sella_collab_rows_release(out);
        return SELLA_MEMORY;
    }
    int32_t *cursor = out->pool;
    for (int64_t q = 0; q < N; q++) {
        const sella_query *query = &query_n[place_n ? place_n[q] : q];
        out->user_n[q] = query->user;
        out->item_n[q] = items ? query->item : -1;
        out->history_n[q] = cursor;
        for (int32_t j = window_start(length, query->history_count); j < query->history_count;
             j++) {
            if (query->history_n && query->history_n[j] >= 0) {
                *cursor++ = query->history_n[j];
            }
        }
        out->count_n[q] = (int32_t)(cursor - out->history_n[q]);
    }
    out->batch = (sella_collab_batch){.N = (int)N,
                                      .user_n = out->user_n,
                                      .item_n = out->item_n,
                                      .history_n = out->history_n,
                                      .history_count_n = out->count_n};
    return SELLA_OK;
}

void sella_collab_rows_release(sella_collab_rows *rows)
{
    free(rows->user_n);
    free(rows->item_n);
    free(rows->count_n);
    free(rows->history_n);
    free(rows->pool);
    *rows = (sella_collab_rows){0};
}

int32_t sella_collab_rows_start(const sella_collab *c, const sella_query *query)
{
    const bool reads = sella_collab_reads_history(c->ops, &c->config) ||
                       (query->user < 0 && c->config.unseen == SELLA_UNSEEN_HISTORY);
    return reads ? window_start(c->config.history_length, query->history_count)
                 : query->history_count;
}
