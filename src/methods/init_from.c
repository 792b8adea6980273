/* init_from.c - parameters of another run as a start (methods/init_from.h). */
#include "methods/init_from.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "kernels/activation.h"
#include "methods/collab_fit.h"
#include "methods/tensor_file.h"

/* Settings that the shapes and the meaning of the parameters follow from. */
static const char *const collab_keys[] = {"collab.model", "collab.width", "collab.bias",
                                          "collab.history", NULL};
static const char *const adapter_keys[] = {"lora.rank", "lora.alpha", "lora.targets",
                                           "lora.first_layer", NULL};
static const char *const sella_keys[] = {"proj.hidden", "score", NULL};

static sella_status same_settings(const sella_run *run, const sella_run *source,
                                  const char *const *key_n, sella_err *err)
{
    sella_status status = SELLA_OK;
    json_t *here = sella_settings_json(run->settings),
           *there = sella_settings_json(source->settings);
    for (; status == SELLA_OK && *key_n; key_n++) {
        const json_t *a = json_object_get(here, *key_n), *b = json_object_get(there, *key_n);
        if (!json_equal(a, b)) {
            char *is = sella_json_line(a), *was = sella_json_line(b);
            status = sella_err_set(
                err, SELLA_STATE,
                "--init-from %s: its %s is %s, here it is %s; its parameters do not fit",
                source->path, *key_n, was ? was : "absent", is ? is : "absent");
            free(is);
            free(was);
        }
    }
    json_decref(here);
    json_decref(there);
    return status;
}

static sella_status check_source(const sella_run *run, const sella_run *source, sella_err *err)
{
    sella_status status = SELLA_OK;
    const bool sella = strcmp(run->method, "sella") == 0;
    if (!source->complete) {
        return sella_err_set(err, SELLA_STATE, "--init-from %s: its training has not finished",
                             source->path);
    }
    if (strcmp(source->method, run->method) != 0) {
        return sella_err_set(err, SELLA_STATE, "--init-from %s: is a run of %s; this one trains %s",
                             source->path, source->method, run->method);
    }
    if (strcmp(source->model_fingerprint, run->model_fingerprint) != 0) {
        return sella_err_set(
            err, SELLA_STATE,
            "--init-from %s: was trained with a model of fingerprint %s; this one has %s",
            source->path, source->model_fingerprint, run->model_fingerprint);
    }
    SELLA_TRY(sella || strcmp(run->method, "mf") == 0 ? same_settings(run, source, collab_keys, err)
                                                      : SELLA_OK);
    SELLA_TRY(run->model_path ? same_settings(run, source, adapter_keys, err) : SELLA_OK);
    SELLA_TRY(sella ? same_settings(run, source, sella_keys, err) : SELLA_OK);
    if (sella && !sella_settings_is(run->settings, "collab.model", "mf")) {
        status = sella_err_set(err, SELLA_UNSUPPORTED,
                               "--init-from %s: goes on from collab.model=mf alone; it is %s",
                               source->path, sella_settings_text(run->settings, "collab.model"));
    }
done:
    return status;
}

sella_status sella_init_check(sella_job *job, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_run *run = job->run, *source = NULL;
    int64_t users = 0, items = 0, decided;
    if (!job->init_from || sella_run_decided(run, "init_from.items", &decided)) {
        return SELLA_OK;
    }
    SELLA_TRY(sella_run_open(job->init_from, &source, err));
    SELLA_TRY(check_source(run, source, err));
    for (int32_t u = 0; u < run->users; u++) {
        users += sella_run_find_user(source, run->user_id[u]) >= 0;
    }
    for (int32_t i = 0; i < run->items; i++) {
        items += sella_run_find_item(source, run->item_id[i]) >= 0;
    }
    sella_say(job->talk, SELLA_LEVEL_INFO,
              "starting from %s: it knows %lld of %d users and %lld of %d items", source->path,
              (long long)users, run->users, (long long)items, run->items);
    SELLA_TRY(sella_run_decide(run, "init_from.users", users, &decided, err));
    SELLA_TRY(sella_run_decide(run, "init_from.items", items, &decided, err));
done:
    sella_run_close(source);
    return status;
}

sella_status sella_init_adapter(const sella_job *job, sella_lora *lora, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_lora *old = NULL;
    char *folder = NULL;
    if (!job->init_from) {
        return SELLA_OK;
    }
    folder = sella_path_join(job->init_from, "adapter", NULL);
    if (!folder) {
        return sella_err_memory(err, "a path", strlen(job->init_from));
    }
    SELLA_TRY(sella_lora_load(job->backbone, folder, &old, err));
    const sella_param_table *from = sella_lora_params(old);
    sella_param_table *to = sella_lora_params(lora);
    for (int p = 0; p < to->count; p++) {
        const sella_param *x = sella_param_find(from, to->param[p].name);
        if (!x || x->count != to->param[p].count ||
            sella_lora_scale(old) != sella_lora_scale(lora)) {
            status =
                sella_err_set(err, SELLA_STATE, "%s: its %s does not fit the adapter of this run",
                              folder, to->param[p].name);
            goto done;
        }
        memcpy(to->param[p].data, x->data, x->count * sizeof *x->data);
    }
done:
    sella_lora_free(old);
    free(folder);
    return status;
}

/* ---- tables ---- */

typedef enum rows_of { ROWS_USERS, ROWS_ITEMS, ROWS_OTHER } rows_of;

static rows_of kind_of(const char *name)
{
    return strncmp(name, "user.", 5) == 0 ? ROWS_USERS
           : strncmp(name, "item.", 5) == 0 || strncmp(name, "history.", 8) == 0 ||
                   strncmp(name, "semantic.", 9) == 0
               ? ROWS_ITEMS
               : ROWS_OTHER;
}

/* The rows of `like` with the source's numbers of users and items; numbers that the file lacks are
 * left out. */
static sella_status table_like(const sella_param_table *like, const sella_run *source,
                               const char *path, sella_param_table *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_param_table_init(out);
    for (int p = 0; p < like->count; p++) {
        const sella_param *param = &like->param[p];
        const rows_of kind = kind_of(param->name);
        const int64_t rows = kind == ROWS_USERS   ? source->users
                             : kind == ROWS_ITEMS ? source->items
                                                  : param->shape[0];
        if (kind == ROWS_OTHER && param->count == 1 && !sella_tensors_has(path, param->name)) {
            continue;
        }
        SELLA_TRY(
            sella_param_add(out, param->name, rows, param->rank == 2 ? param->shape[1] : 0, err));
        SELLA_TRY(sella_param_train(&out->param[out->count - 1], false, err));
    }
done:
    return status;
}

/* Rows that both know; map_u, map_i: source row of each row here, -1: new. */
static void copy_known(sella_param_table *to, const sella_param_table *from, const int32_t *map_u,
                       const int32_t *map_i)
{
    for (int p = 0; p < to->count; p++) {
        sella_param *x = &to->param[p];
        const sella_param *old = sella_param_find(from, x->name);
        const rows_of kind = kind_of(x->name);
        const size_t width = (size_t)x->shape[1];
        if (!old) {
            continue;
        }
        if (kind == ROWS_OTHER) {
            memcpy(x->data, old->data, x->count * sizeof *x->data);
            continue;
        }
        const int32_t *map = kind == ROWS_USERS ? map_u : map_i;
        for (int64_t r = 0; r < x->shape[0]; r++) {
            if (map[r] >= 0) {
                memcpy(x->data + (size_t)r * width, old->data + (size_t)map[r] * width,
                       width * sizeof *x->data);
            }
        }
    }
}

/* x [C] += the vector that the source gives a user it never saw, whose likes of train rows are
 * known. What the history part of mf would add is left out: it is added at every use. */
static sella_status add_unseen_user(const sella_job *job, const sella_collab *old,
                                    const int32_t *map_i, int32_t user, float *x, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_collab_pass pass = {0};
    const int32_t nobody = -1, no_item = -1;
    int32_t *items = NULL, count = 0, known = 0;
    float *p = sella_alloc((size_t)old->config.C, sizeof *p, "a user's vector", err);
    if (!p) {
        return SELLA_MEMORY;
    }
    SELLA_TRY(sella_dataset_user_history(job->dataset, user, 1u << SELLA_SPLIT_TRAIN, &items,
                                         &count, err));
    const int32_t first = old->config.history_length > 0 && count > old->config.history_length
                              ? count - old->config.history_length
                              : 0;
    for (int32_t j = first; j < count && !old->config.mf.history; j++) {
        if (map_i[items[j]] >= 0) {
            items[known++] = map_i[items[j]];
        }
    }
    const int32_t *history = items;
    const sella_collab_batch batch = {.N = 1,
                                      .user_n = &nobody,
                                      .item_n = &no_item,
                                      .history_n = &history,
                                      .history_count_n = &known};
    SELLA_TRY(sella_collab_vectors(old, &batch, &pass, p, NULL, err));
    sella_axpy(x, 1, p, (size_t)old->config.C);
done:
    sella_collab_pass_release(&pass);
    free(items);
    free(p);
    return status;
}

/* New users and items of the table begin as the source sees those that it never saw. */
static sella_status add_unseen(const sella_job *job, const sella_collab *old, const int32_t *map_u,
                               const int32_t *map_i, sella_collab *c, sella_err *err)
{
    sella_status status = SELLA_OK;
    const size_t C = (size_t)c->config.C;
    float *user = sella_param_find(&c->table, "user.weight")->data,
          *item = sella_param_find(&c->table, "item.weight")->data;
    const float *weight = sella_param_find(&old->table, "item.weight")->data;
    float *mean = sella_alloc(C, sizeof *mean, "the mean item", err);
    if (!mean) {
        return SELLA_MEMORY;
    }
    /* rows never trained hold the mean already */
    for (int32_t i = 0; old->config.unseen != SELLA_UNSEEN_ZERO && i < old->config.items; i++) {
        sella_axpy(mean, 1.0f / (float)old->config.items, weight + (size_t)i * C, C);
    }
    for (int32_t u = 0; u < c->config.users; u++) {
        if (map_u[u] < 0) {
            SELLA_TRY(add_unseen_user(job, old, map_i, u, user + (size_t)u * C, err));
        }
    }
    for (int32_t i = 0; i < c->config.items; i++) {
        if (map_i[i] < 0) {
            sella_axpy(item + (size_t)i * C, 1, mean, C);
        }
    }
done:
    free(mean);
    return status;
}

/* The source's rows in the order of this run; NULL table: skipped. */
static sella_status take_tables(const sella_run *source, const char *file,
                                sella_param_table *const *to_n, int n, const int32_t *map_u,
                                const int32_t *map_i, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_param_table old;
    sella_param_table *const tables[] = {&old};
    char *path = sella_run_file(source, file);
    sella_param_table_init(&old);
    if (!path) {
        return sella_err_memory(err, "a path", strlen(file));
    }
    for (int t = 0; t < n; t++) {
        sella_param_table_release(&old);
        SELLA_TRY(table_like(to_n[t], source, path, &old, err));
        SELLA_TRY(sella_tensors_read(path, tables, 1, err));
        copy_known(to_n[t], &old, map_u, map_i);
    }
done:
    sella_param_table_release(&old);
    free(path);
    return status;
}

/* v NULL: the collaborative table alone. */
static sella_status init_tables(const sella_job *job, sella_collab *c, sella_vectors *v,
                                sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_run *run = job->run;
    sella_run *source = NULL;
    sella_collab *old = NULL;
    int32_t *map_u = NULL, *map_i = NULL;
    if (!job->init_from) {
        return SELLA_OK;
    }
    map_u = sella_alloc((size_t)run->users, sizeof *map_u, "matched users", err);
    map_i = sella_alloc((size_t)run->items, sizeof *map_i, "matched items", err);
    if (!map_u || !map_i) {
        status = SELLA_MEMORY;
        goto done;
    }
    SELLA_TRY(sella_run_open(job->init_from, &source, err));
    for (int32_t u = 0; u < run->users; u++) {
        map_u[u] = sella_run_find_user(source, run->user_id[u]);
    }
    for (int32_t i = 0; i < run->items; i++) {
        map_i[i] = sella_run_find_item(source, run->item_id[i]);
    }
    SELLA_TRY(sella_collab_load(source, c->ops->name, "collab.safetensors", false, &old, err));
    copy_known(&c->table, &old->table, map_u, map_i);
    SELLA_TRY(add_unseen(job, old, map_u, map_i, c, err));
    if (v) {
        sella_param_table *const tables[] = {&v->semantic, &v->logit}, *const maps[] = {
                                                                           &v->projection.table};
        SELLA_TRY(take_tables(source, "collab.safetensors", tables, 2, map_u, map_i, err));
        SELLA_TRY(take_tables(source, "projection.safetensors", maps, 1, map_u, map_i, err));
    }
done:
    sella_collab_free(old);
    sella_run_close(source);
    free(map_u);
    free(map_i);
    return status;
}

sella_status sella_init_vectors(const sella_job *job, sella_vectors *v, sella_err *err)
{
    return init_tables(job, v->collab, v, err);
}

sella_status sella_init_collab(const sella_job *job, sella_collab *c, sella_err *err)
{
    return init_tables(job, c, NULL, err);
}
