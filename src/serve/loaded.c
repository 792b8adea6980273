/* loaded.c - reference counting of an engine (serve/loaded.h). */
#include "serve/loaded.h"

#include "base/arena.h"
#include "base/log.h"

sella_status sella_loaded_open(const char *run, const sella_engine_options *options, sella_loaded **out, sella_err *err)
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
        free(loaded);
    }
}
