/* loaded.c - reference counting of an engine (serve/loaded.h). */
#include "serve/loaded.h"

#include "base/arena.h"
#include "base/json.h"
#include "base/log.h"

/* Where the language model is: what was asked for, else what the run recorded. */
static sella_status model_of(const char *info, const char *wanted, char **out, sella_err *err)
{
    json_t *facts = NULL;
    sella_status status = sella_json_parse(info, strlen(info), "the run", &facts, err);
    const char *path = wanted != NULL ? wanted : json_string_value(json_object_get(facts, "model"));
    if (status == SELLA_OK && path != NULL) {
        *out = strdup(path);
        status = *out != NULL ? SELLA_OK : sella_err_memory(err, "a path", strlen(path));
    }
    json_decref(facts);
    return status;
}

sella_status sella_loaded_open(const char *run, const sella_engine_options *options,
                               sella_loaded **out, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_loaded *loaded = sella_alloc(1, sizeof *loaded, "an opened run", err);
    *out = NULL;
    if (loaded == NULL) {
        return SELLA_MEMORY;
    }
    const double start = sella_now();
    atomic_init(&loaded->holders, 1);
    SELLA_TRY(sella_engine_open(run, options, &loaded->engine, err));
    SELLA_TRY(sella_engine_info(loaded->engine, &loaded->info, err));
    SELLA_TRY(model_of(loaded->info, options->model, &loaded->model, err));
    loaded->seconds = sella_now() - start;
    *out = loaded;
    loaded = NULL;
done:
    sella_loaded_drop(loaded);
    return status;
}

sella_loaded *sella_loaded_take(sella_loaded *loaded)
{
    if (loaded != NULL) {
        atomic_fetch_add(&loaded->holders, 1);
    }
    return loaded;
}

void sella_loaded_drop(sella_loaded *loaded)
{
    if (loaded != NULL && atomic_fetch_sub(&loaded->holders, 1) == 1) {
        sella_engine_close(loaded->engine);
        free(loaded->info);
        free(loaded->model);
        free(loaded);
    }
}
