/* text_vectors.c - mean-pooled text vectors of train rows (methods/text_vectors.h).
 *
 * The backbone gives hidden states of answer tokens; here every token is one. Sums run along the
 * tree: a token's sum is its parent token's sum plus its own state, so that a prefix that rows
 * share is added up once.
 */
#include "methods/text_vectors.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "methods/lm.h"
#include "methods/place.h"
#include "methods/sella/stages.h"
#include "methods/tape.h"
#include "methods/tensor_file.h"

enum { BLOCK_ROWS = 64 };

#define TAPE "checkpoints/text.tape"
#define VECTORS "stages/text/text.safetensors"

sella_status sella_text_means(sella_pass *pass, const sella_tree_batch *batch, int C, float *hidden,
                              float *mean_n, sella_err *err)
{
    sella_status status = SELLA_OK;
    const size_t width = (size_t)C, T = (size_t)batch->T;
    sella_tree_batch every = *batch;
    every.N = batch->T;
    every.answer_n = sella_alloc(T, sizeof *every.answer_n, "tokens of a batch", err);
    /* for errors: not told apart */
    every.row_n = sella_alloc(T, sizeof *every.row_n, "tokens of a batch", err);
    if (!every.answer_n || !every.row_n) {
        status = SELLA_MEMORY;
        goto done;
    }
    for (int t = 0; t < batch->T; t++) {
        every.answer_n[t] = t;
        every.row_n[t] = batch->row_n[0];
    }
    SELLA_TRY(sella_pass_forward(pass, &every, NULL, 0, -1, hidden, err));
    for (int s = 0; s < batch->S; s++) {
        for (int t = batch->start_s[s]; t < batch->start_s[s + 1]; t++) {
            const int before = t > batch->start_s[s] ? t - 1
                               : batch->parent_s[s] >= 0
                                   ? batch->start_s[batch->parent_s[s] + 1] - 1
                                   : -1;
            for (size_t c = 0; before >= 0 && c < width; c++) {
                hidden[(size_t)t * width + c] += hidden[(size_t)before * width + c];
            }
        }
    }
    for (int n = 0; n < batch->N; n++) {
        const size_t t = (size_t)batch->answer_n[n];
        const float scale = 1.0f / (float)(batch->position_t[t] + 1);
        for (size_t c = 0; c < width; c++) {
            mean_n[(size_t)n * width + c] = scale * hidden[t * width + c];
        }
    }
done:
    free(every.answer_n);
    free(every.row_n);
    return status;
}

typedef struct work {
    sella_job *job;
    sella_lm lm;
    sella_pass *pass;
    int budget;
    sella_query *query; /* [K] by user */
    float *hidden, *mean; /* [budget, C], [BLOCK_ROWS, C] */
} work;

/* Vectors of queries first .. first + k - 1: out [k, C]. */
static sella_status some_rows(void *user, int64_t first, int64_t k, void *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    work *w = user;
    float *vector = out;
    sella_rows rows;
    sella_tree_plan plan = {0};
    sella_tree_batch batch = {0};
    const size_t C = (size_t)w->lm.C;
    const sella_tree_options options = {w->budget, 0, true};
    sella_rows_init(&rows);
    for (int64_t i = 0; i < k; i++) {
        SELLA_TRY(sella_lm_render(&w->lm, &w->query[first + i], NULL, i, 0, &rows, err));
    }
    SELLA_TRY(sella_tree_plan_new(&rows, &options, &plan, err));
    for (int64_t b = 0; b < plan.batches; b++) {
        sella_tree_batch_release(&batch);
        SELLA_TRY(sella_tree_build(&rows, plan.order + plan.first[b],
                                   plan.first[b + 1] - plan.first[b], &options, &batch, err));
        SELLA_TRY(sella_text_means(w->pass, &batch, w->lm.C, w->hidden, w->mean, err));
        for (int n = 0; n < batch.N; n++) {
            memcpy(vector + (size_t)batch.row_n[n] * C, w->mean + (size_t)n * C,
                   C * sizeof *vector);
        }
    }
done:
    sella_tree_batch_release(&batch);
    sella_tree_plan_release(&plan);
    sella_rows_release(&rows);
    return status;
}

/* All rows, through the tape: vector_k [K, C] in the order of the queries. */
static sella_status all_rows(work *w, uint64_t key, int64_t K, float *vector_k, sella_err *err)
{
    sella_status status = SELLA_OK;
    char *path = NULL;
    SELLA_TRY(sella_run_place(w->job->run, TAPE, &path, err));
    const sella_tape_work all = {.what = "text",
                                 .unit = "rows",
                                 .path = path,
                                 .record = (size_t)w->lm.C * sizeof *vector_k,
                                 .key = key,
                                 .seconds =
                                     sella_settings_real(w->job->settings, "checkpoint.seconds"),
                                 .block = BLOCK_ROWS,
                                 .make = some_rows,
                                 .user = w,
                                 .talk = w->job->talk};
    SELLA_TRY(sella_tape_run(&all, K, vector_k, err));
done:
    free(path);
    return status;
}

static sella_status save(sella_job *job, int C, const sella_place *order, int64_t K,
                         const float *vector_k, double seconds, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_param_table table;
    const sella_param_table *const tables[] = {&table};
    char *path = NULL, *tape = sella_run_file(job->run, TAPE);
    json_t *record = sella_stage_record_new("text", seconds);
    sella_param_table_init(&table);
    if (!record || !tape) {
        status = sella_err_memory(err, "the record of the text vectors", 256);
        goto done;
    }
    SELLA_TRY(sella_param_add(&table, "text.weight", K, C, err));
    for (int64_t k = 0; k < K; k++) {
        memcpy(table.param[0].data + (size_t)order[k].index * (size_t)C,
               vector_k + (size_t)k * (size_t)C, (size_t)C * sizeof *vector_k);
    }
    SELLA_TRY(sella_param_check_finite(&table, false, "text vectors", err));
    SELLA_TRY(sella_run_place(job->run, VECTORS, &path, err));
    SELLA_TRY(sella_tensors_write(path, tables, 1, err));
    sella_stage_record_name(record, false, "backbone");
    json_object_set_new(record, "rows", json_integer(K));
    SELLA_TRY(sella_run_stage_finish(job->run, "text", record, err));
    SELLA_TRY(sella_path_remove(tape, err));
done:
    sella_param_table_release(&table);
    json_decref(record);
    free(path);
    free(tape);
    return status;
}

sella_status sella_text_vectors_run(sella_job *job, const int64_t *index_k, int64_t K,
                                    sella_err *err)
{
    sella_status status = SELLA_OK;
    work w = {.job = job, .budget = (int)sella_settings_int(job->settings, "eval.tokens")};
    const sella_pass_options options = {.max_tokens = w.budget};
    const double start = sella_now();
    const int32_t *user_n = job->dataset->split[SELLA_SPLIT_TRAIN].user_n;
    sella_place *order = NULL;
    int64_t *sorted = NULL;
    float *vector = NULL;
    if (sella_run_stage_done(job->run, "text")) {
        return SELLA_OK;
    }
    SELLA_TRY(sella_lm_open_run(job->run, job->backbone, 0, false, &w.lm, err));
    SELLA_TRY(sella_pass_new(job->backbone, NULL, &options, &w.pass, err));
    const size_t C = (size_t)w.lm.C;
    order = sella_alloc((size_t)K, sizeof *order, "text rows", err);
    sorted = sella_alloc((size_t)K, sizeof *sorted, "text rows", err);
    vector = sella_alloc((size_t)K * C, sizeof *vector, "text vectors", err);
    w.hidden = sella_alloc((size_t)w.budget * C, sizeof *w.hidden, "hidden states", err);
    w.mean = sella_alloc((size_t)BLOCK_ROWS * C, sizeof *w.mean, "hidden states", err);
    if (!order || !sorted || !vector || !w.hidden || !w.mean) {
        status = SELLA_MEMORY;
        goto done;
    }
    for (int64_t k = 0; k < K; k++) {
        order[k] = (sella_place){user_n[index_k[k]], k};
    }
    sella_places_sort(order, K);
    for (int64_t k = 0; k < K; k++) {
        sorted[k] = index_k[order[k].index];
    }
    SELLA_TRY(sella_lm_queries(job->dataset, SELLA_SPLIT_TRAIN, sorted, K, &w.query, err));
    SELLA_TRY(all_rows(&w, sella_hash_bytes(sorted, (size_t)K * sizeof *sorted, job->run->seed), K,
                       vector, err));
    SELLA_TRY(save(job, w.lm.C, order, K, vector, sella_now() - start, err));
done:
    sella_pass_free(w.pass);
    sella_lm_release(&w.lm);
    free(w.query);
    free(w.hidden);
    free(w.mean);
    free(order);
    free(sorted);
    free(vector);
    return status;
}

sella_status sella_text_vectors_read(const sella_run *run, int64_t K, sella_param_table *table,
                                     sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_param_table *const tables[] = {table};
    int64_t rows, L;
    char *path = sella_run_file(run, VECTORS);
    if (!path) {
        return sella_err_memory(err, "a path", 32);
    }
    SELLA_TRY(sella_tensors_shape(path, "text.weight", &rows, &L, err));
    if (rows != K) {
        status =
            sella_err_set(err, SELLA_SHAPE, "%s: tensor 'text.weight' has %lld rows; expected %lld",
                          path, (long long)rows, (long long)K);
        goto done;
    }
    SELLA_TRY(sella_param_add(table, "text.weight", K, L, err));
    SELLA_TRY(sella_param_train(&table->param[table->count - 1], false, err));
    SELLA_TRY(sella_tensors_read(path, tables, 1, err));
done:
    free(path);
    return status;
}
