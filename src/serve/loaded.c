/* loaded.c - reference counting of an engine (serve/loaded.h). */
#include "serve/loaded.h"

#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"

/* The path of the recorded language model as it stands in messages; *out NULL: none. */
static sella_status recorded_model(const char *info, char **out, sella_err *err)
{
    json_t *facts = NULL;
    sella_status status = sella_json_parse(info, strlen(info), "the run", &facts, err);
    const char *path = json_string_value(json_object_get(facts, "model"));
    if (status == SELLA_OK && path != NULL) {
        *out = strdup(path);
        status = *out != NULL ? SELLA_OK : sella_err_memory(err, "a path", strlen(path));
    }
    json_decref(facts);
    return status;
}

static void hand_on(void *user, sella_level level, const char *text)
{
    sella_loaded *loaded = user;
    if (atomic_load(&loaded->opening)) {
        sella_say(loaded->told, level, "%s", text);
    }
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
    atomic_init(&loaded->opening, true);
    loaded->told = options->talk;
    loaded->talk = (sella_talk){.line = hand_on, .user = loaded};
    sella_engine_options own = *options;
    own.talk = &loaded->talk;
    loaded->path = sella_path_absolute(run);
    loaded->model = options->model != NULL ? sella_path_absolute(options->model) : NULL;
    own.model = loaded->model;
    if (loaded->path == NULL || (own.model == NULL) != (options->model == NULL)) {
        SELLA_TRY(sella_err_memory(err, "a path", strlen(run)));
    }
    SELLA_TRY(sella_engine_open(loaded->path, &own, &loaded->engine, err));
    SELLA_TRY(sella_engine_info(loaded->engine, &loaded->info, err));
    if (loaded->model == NULL) {
        SELLA_TRY(recorded_model(loaded->info, &loaded->model, err));
    }
    loaded->seconds = sella_now() - start;
    *out = loaded;
    loaded = NULL;
done:
    sella_loaded_drop(loaded);
    return status;
}

void sella_loaded_opened(sella_loaded *loaded)
{
    atomic_store(&loaded->opening, false);
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
        free(loaded->path);
        free(loaded);
    }
}
