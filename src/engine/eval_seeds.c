/* eval_seeds.c - evaluating every run of a folder of seeds (sella/engine.h). */
#include <stdlib.h>

#include "base/arena.h"
#include "base/json.h"
#include "base/log.h"
#include "methods/seeds.h"
#include "sella/engine.h"

int sella_seeds_there(const char *path)
{
    uint64_t *seed_n = NULL;
    int count = 0;
    const sella_status status =
        path != NULL ? sella_seeds_list(path, &seed_n, &count, NULL) : SELLA_ARG;
    free(seed_n);
    return status == SELLA_OK ? count : 0;
}

static sella_status eval_one(const char *run, const sella_engine_options *open,
                             const sella_eval_options *options, json_t **figures, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_engine *engine = NULL;
    char *json = NULL;
    SELLA_TRY(sella_engine_check(run, options != NULL ? options->dataset : NULL,
                                 options != NULL ? options->split : NULL, NULL, err));
    SELLA_TRY(sella_engine_open(run, open, &engine, err));
    SELLA_TRY(sella_engine_eval(engine, options, &json, err));
    *figures = json_loads(json, 0, NULL);
    status = *figures != NULL ? SELLA_OK : sella_err_memory(err, "figures", 0);
done:
    free(json);
    sella_engine_close(engine);
    return status;
}

sella_status sella_eval_seeds(const char *path, const sella_engine_options *open,
                              const sella_eval_options *options, char **json, sella_err *err)
{
    sella_status status = SELLA_OK;
    uint64_t *seed_n = NULL;
    json_t **figures = NULL, *summary = NULL;
    int count = 0;
    *json = NULL;
    if (path == NULL) {
        return sella_err_set(err, SELLA_ARG, "the path of a folder of runs is needed");
    }
    if (options != NULL && options->predictions != NULL) {
        return sella_err_set(err, SELLA_ARG,
                             "%s holds several runs, each with its own predictions; one file for "
                             "them cannot be named",
                             path);
    }
    SELLA_TRY(sella_seeds_list(path, &seed_n, &count, err));
    if (count == 0) {
        SELLA_TRY(sella_err_set(err, SELLA_MISSING, "%s: holds no runs seed-N", path));
    }
    figures = sella_alloc((size_t)count, sizeof *figures, "figures", err);
    if (figures == NULL) {
        SELLA_TRY(SELLA_MEMORY);
    }
    for (int i = 0; i < count; i++) {
        char *run = sella_seeds_path(path, seed_n[i]);
        sella_say(open != NULL ? open->talk : NULL, SELLA_LEVEL_INFO, "seed %llu, %d of %d",
                  (unsigned long long)seed_n[i], i + 1, count);
        status = run != NULL ? eval_one(run, open, options, &figures[i], err)
                             : sella_err_memory(err, "a path", 0);
        free(run);
        SELLA_TRY(status);
    }
    SELLA_TRY(sella_seeds_summary(seed_n, (const json_t *const *)figures, count, &summary, err));
    *json = sella_json_line(summary);
    if (*json == NULL) {
        status = sella_err_memory(err, "a summary", 0);
    }
done:
    for (int i = 0; figures != NULL && i < count; i++) {
        json_decref(figures[i]);
    }
    free(figures);
    free(seed_n);
    json_decref(summary);
    return status;
}
