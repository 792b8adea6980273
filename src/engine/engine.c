/* engine.c - opening a run for use, and resolving what a caller names into rows of the run. */
#include "sella/engine.h"

#include "base/arena.h"
#include "base/json.h"
#include "engine/session.h"
#include "kernels/gemm.h"

#define CACHE_BYTES ((size_t)256 << 20) /* sella_engine_options.cache_bytes = 0 */

/* The backbone that the run was trained with: from `model` or the recorded path, with the recorded
 * fingerprint. */
static sella_status open_backbone(sella_engine *engine, const char *model, sella_weights weights,
                                  sella_err *err)
{
    const sella_run *run = engine->run;
    const char *path = model != NULL ? model : run->model_path;
    if (path == NULL) {
        return sella_err_set(err, SELLA_STATE,
                             "%s: run.json names no model, but the method '%s' needs one",
                             run->path, run->method);
    }
    sella_status status =
        sella_backbone_open_as(path, weights, engine->talk, &engine->backbone, err);
    if (status != SELLA_OK) {
        return model != NULL ? status
                             : sella_err_prefix(err, status,
                                                "%s: the model that it was trained with does not "
                                                "open; give its new place with --model",
                                                run->path);
    }
    const char *found = sella_backbone_fingerprint(engine->backbone);
    if (strcmp(found, run->model_fingerprint) != 0) {
        return sella_err_set(err, SELLA_STATE,
                             "%s was trained on a model with fingerprint %s; %s has fingerprint %s",
                             run->path, run->model_fingerprint, path, found);
    }
    return SELLA_OK;
}

static sella_status count_likes(sella_engine *engine, sella_err *err)
{
    const sella_run *run = engine->run;
    engine->liked_i =
        sella_alloc((size_t)run->items, sizeof *engine->liked_i, "counts of likes", err);
    if (engine->liked_i == NULL) {
        return SELLA_MEMORY;
    }
    for (int64_t j = 0; j < run->history_start[run->users]; j++) {
        engine->liked_i[run->history[j]]++;
    }
    return SELLA_OK;
}

sella_status sella_engine_open(const char *run, const sella_engine_options *options,
                               sella_engine **out, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_engine *engine = NULL;
    sella_weights weights;
    *out = NULL;
    SELLA_TRY(sella_weights_of(options != NULL ? options->weights : NULL, &weights, err));
    if (run == NULL) {
        return sella_err_set(err, SELLA_ARG, "the path of a run is needed");
    }
    engine = sella_alloc(1, sizeof *engine, "an engine", err);
    if (engine == NULL) {
        return SELLA_MEMORY;
    }
    pthread_mutex_init(&engine->lock, NULL);
    if (options != NULL && options->talk != NULL) {
        engine->talk_copy = *options->talk;
        engine->talk = &engine->talk_copy;
    }
    SELLA_TRY(sella_blas_check(err));
    sella_threads_set(options != NULL ? options->threads : 0);
    SELLA_TRY(sella_run_open(run, &engine->run, err));
    if (!engine->run->complete) {
        SELLA_TRY(sella_err_set(err, SELLA_STATE,
                                "%s: training has not finished (result.json is missing); finish it "
                                "with 'sella train ... --resume'",
                                run));
    }
    engine->method = sella_method_find(engine->run->method);
    if (engine->method == NULL) {
        SELLA_TRY(sella_err_set(err, SELLA_UNSUPPORTED,
                                "%s: this version does not know the method '%s'", run,
                                engine->run->method));
    }
    const char *model = options != NULL ? options->model : NULL;
    const sella_method *method = engine->method;
    if (method->scores_with_model ? method->scores_with_model(engine->run->settings)
                                  : method->needs_model) {
        SELLA_TRY(open_backbone(engine, model, weights, err));
    } else if (model != NULL || weights != SELLA_WEIGHTS_AUTO) {
        SELLA_TRY(sella_err_set(err, SELLA_ARG,
                                "%s ('%s') scores without a language model: leave --%s out", run,
                                engine->run->method, model != NULL ? "model" : "weights"));
    }
    SELLA_TRY(engine->method->open(engine->run, engine->backbone, &engine->scorer, err));
    SELLA_TRY(count_likes(engine, err));
    engine->cache_bytes = options == NULL || options->cache_bytes == 0 ? CACHE_BYTES
                          : options->cache_bytes < 0                   ? 0
                                                     : (size_t)options->cache_bytes;
    if (engine->scorer->serving != NULL && engine->scorer->serving->cache != NULL) {
        SELLA_TRY(engine->scorer->serving->cache(engine->scorer, engine->cache_bytes, err));
    } else {
        engine->cache_bytes = 0;
    }
    *out = engine;
    engine = NULL;
done:
    sella_engine_close(engine);
    return status;
}

void sella_engine_close(sella_engine *engine)
{
    if (engine == NULL) {
        return;
    }
    if (engine->scorer != NULL) {
        engine->scorer->ops->close(engine->scorer);
    }
    for (int32_t i = 0; engine->folded_i != NULL && i < engine->run->items; i++) {
        free(engine->folded_i[i]);
    }
    free(engine->folded_i);
    free(engine->liked_i);
    sella_backbone_close(engine->backbone);
    sella_run_close(engine->run);
    pthread_mutex_destroy(&engine->lock);
    free(engine);
}

sella_status sella_engine_info(const sella_engine *engine, char **json, sella_err *err)
{
    const sella_run *run = engine->run;
    json_t *info = json_object();
    json_object_set_new(info, "method", json_string(run->method));
    json_object_set_new(info, "preset", json_string(run->preset));
    json_object_set_new(info, "noun", json_string(run->noun));
    json_object_set_new(info, "users", json_integer(run->users));
    json_object_set_new(info, "items", json_integer(run->items));
    json_object_set_new(info, "model",
                        engine->backbone != NULL
                            ? json_string(sella_backbone_path(engine->backbone))
                            : json_null());
    json_object_set_new(info, "model_fingerprint",
                        engine->backbone != NULL ? json_string(run->model_fingerprint)
                                                 : json_null());
    json_object_set_new(info, "dataset", json_string(run->dataset_name));
    json_object_set_new(info, "dataset_checksum", json_string(run->dataset_checksum));
    json_object_set_new(info, "seed", json_integer((json_int_t)run->seed));
    json_object_set_new(info, "settings", sella_settings_json(run->settings));
    *json = sella_json_line(info);
    json_decref(info);
    return *json != NULL ? SELLA_OK : sella_err_memory(err, "the facts about a run", 0);
}

sella_status sella_engine_resolve_entry(const sella_engine *engine, const char *entry,
                                        int free_titles, int32_t *item, sella_err *err)
{
    const sella_run *run = engine->run;
    *item = sella_run_find_item(run, entry);
    if (*item < 0) {
        *item = sella_run_find_title(run, entry);
    }
    if (*item >= 0 || free_titles) {
        return SELLA_OK;
    }
    int32_t nearest = sella_run_nearest_title(run, entry);
    if (nearest < 0) {
        return sella_err_set(
            err, SELLA_MISSING,
            "history: the catalogue of %s has no item or title '%s', and nothing near it",
            run->path, entry);
    }
    return sella_err_set(
        err, SELLA_MISSING,
        "history: the catalogue of %s has no item or title '%s'; the nearest title is '%s'",
        run->path, entry, run->title[nearest]);
}

sella_status sella_engine_resolve(const sella_engine *engine, const sella_request *request,
                                  sella_resolved *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_run *run = engine->run;
    *out = (sella_resolved){.user = -1};
    if (request->user != NULL) {
        out->user = sella_run_find_user(run, request->user);
        if (out->user < 0) {
            sella_say(engine->talk, SELLA_LEVEL_WARN,
                      "user '%s' is not in %s: scored as a user never seen", request->user,
                      run->path);
        }
    }
    if (request->history_count < 0) {
        if (out->user >= 0) {
            out->count = sella_run_history(run, out->user, &out->history_n);
        }
        return SELLA_OK;
    }
    if (request->history_count > 0 && request->history == NULL) {
        return sella_err_set(err, SELLA_ARG,
                             "history: %d entries are announced, but no list is given",
                             request->history_count);
    }
    size_t n = (size_t)request->history_count;
    out->owned_n = sella_alloc(n, sizeof *out->owned_n, "a history", err);
    out->owned_text_n = sella_alloc(n, sizeof *out->owned_text_n, "a history", err);
    if (out->owned_n == NULL || out->owned_text_n == NULL) {
        SELLA_TRY(SELLA_MEMORY);
    }
    for (size_t i = 0; i < n; i++) {
        SELLA_TRY(sella_engine_resolve_entry(engine, request->history[i], request->free_titles,
                                             &out->owned_n[i], err));
        if (out->owned_n[i] < 0) {
            out->owned_text_n[i] = request->history[i];
            out->text_n = out->owned_text_n;
        }
    }
    out->history_n = out->owned_n;
    out->count = request->history_count;
done:
    if (status != SELLA_OK) {
        sella_resolved_release(out);
    }
    return status;
}

void sella_resolved_release(sella_resolved *resolved)
{
    free(resolved->owned_n);
    free(resolved->owned_text_n);
    *resolved = (sella_resolved){.user = -1};
}

const sella_talk *sella_engine_scoring_talk(const sella_engine *engine)
{
    return engine->backbone != NULL ? engine->talk : NULL;
}

sella_query sella_engine_query(const sella_resolved *resolved, int32_t item)
{
    return (sella_query){.user = resolved->user,
                         .item = item,
                         .history_n = resolved->history_n,
                         .history_count = resolved->count,
                         .history_text = resolved->text_n};
}
