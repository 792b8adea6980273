/* seeds.c - several trainings that differ in their seed only (methods/seeds.h, sella/train.h). */
#include "methods/seeds.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/aside.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "eval/spread.h"
#include "methods/run.h"
#include "sella/train.h"

enum { SEEDS_FORMAT = 1 };

char *sella_seeds_path(const char *dir, uint64_t seed)
{
    char name[40];
    snprintf(name, sizeof name, "seed-%llu", (unsigned long long)seed);
    return sella_path_join(dir, name, NULL);
}

static int ascending(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The seed of a folder's name, written as sella_seeds_path writes it. */
static bool seed_of(const char *dir, const char *name, uint64_t *seed)
{
    int64_t value = 0;
    if (strncmp(name, "seed-", 5) != 0 || name[5] < '0' || name[5] > '9' ||
        (name[5] == '0' && name[6] != '\0') ||
        sella_parse_int(name + 5, strlen(name + 5), 0, INT64_MAX, "seed", &value, NULL) !=
            SELLA_OK) {
        return false;
    }
    *seed = (uint64_t)value;
    char *path = sella_seeds_path(dir, *seed);
    const bool there = path && sella_run_there(path);
    free(path);
    return there;
}

sella_status sella_seeds_list(const char *dir, uint64_t **seed_n, int *count, sella_err *err)
{
    sella_status status = SELLA_OK;
    char **names = NULL;
    size_t found = 0;
    *seed_n = NULL;
    *count = 0;
    if (!sella_path_is_dir(dir) || sella_run_there(dir)) {
        return SELLA_OK;
    }
    SELLA_TRY(sella_dir_list(dir, &names, &found, err));
    *seed_n = sella_alloc(found, sizeof **seed_n, "seeds", err);
    if (!*seed_n) {
        status = SELLA_MEMORY;
        goto done;
    }
    for (size_t i = 0; i < found; i++) {
        *count += seed_of(dir, names[i], &(*seed_n)[*count]);
    }
    qsort(*seed_n, (size_t)*count, sizeof **seed_n, ascending);
done:
    sella_names_free(names, found);
    return status;
}

sella_status sella_seeds_summary(const uint64_t *seed_n, const json_t *const *figures_n, int count,
                                 json_t **out, sella_err *err)
{
    sella_status status = SELLA_OK;
    json_t *seeds = json_array(), *runs = json_array(), *mean = sella_spread_mean(figures_n, count),
           *sd = sella_spread_sd(figures_n, count);
    *out = json_object();
    for (int i = 0; i < count; i++) {
        json_t *run = json_pack("{s:I}", "seed", (json_int_t)seed_n[i]);
        if (!run || json_object_update(run, (json_t *)(uintptr_t)figures_n[i]) != 0 ||
            json_array_append_new(runs, run) != 0 ||
            json_array_append_new(seeds, json_integer((json_int_t)seed_n[i])) != 0) {
            SELLA_TRY(sella_err_memory(err, "a summary", 1024));
        }
    }
    static const char *const same[] = {"method", "dataset", "split"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        json_object_set(*out, same[i], json_object_get(figures_n[0], same[i]));
    }
    if (json_object_set(*out, "seeds", seeds) != 0 || json_object_set(*out, "runs", runs) != 0 ||
        json_object_set(*out, "mean", mean) != 0 || json_object_set(*out, "sd", sd) != 0) {
        SELLA_TRY(sella_err_memory(err, "a summary", 1024));
    }
done:
    json_decref(seeds);
    json_decref(runs);
    json_decref(mean);
    json_decref(sd);
    if (status != SELLA_OK) {
        json_decref(*out);
        *out = NULL;
    }
    return status;
}

/* ---- training ---- */

static sella_status check_seeds(const sella_train_options *options, const uint64_t *seed_n,
                                int count, sella_err *err)
{
    if (count < 1 || !seed_n) {
        return sella_err_set(err, SELLA_ARG, "no seeds are given");
    }
    for (int i = 0; i < count; i++) {
        for (int j = 0; j < i; j++) {
            if (seed_n[i] == seed_n[j]) {
                return sella_err_set(err, SELLA_ARG, "seed %llu is given twice",
                                     (unsigned long long)seed_n[i]);
            }
        }
    }
    if (options->dry_run) {
        return SELLA_OK;
    }
    if (!options->run) {
        return sella_err_set(err, SELLA_ARG, "training needs a folder for the runs");
    }
    if (sella_run_there(options->run)) {
        return sella_err_set(err, SELLA_STATE,
                             "%s: is one run; the runs of several seeds need a folder of their own",
                             options->run);
    }
    return options->resume ? SELLA_OK : sella_aside_check(options->run, err);
}

/* --from of one seed: a folder of seeds gives the run of the same seed. free(). */
static sella_status from_of(const char *from, uint64_t seed, char **out, sella_err *err)
{
    uint64_t *seed_n = NULL;
    int count = 0;
    *out = NULL;
    sella_status status = from ? sella_seeds_list(from, &seed_n, &count, err) : SELLA_OK;
    free(seed_n);
    if (status == SELLA_OK && from) {
        *out = count > 0 ? sella_seeds_path(from, seed) : strdup(from);
        status = *out ? SELLA_OK : sella_err_memory(err, "a path", strlen(from));
    }
    return status;
}

static sella_status train_one(const sella_train_options *options, uint64_t seed,
                              const sella_talk *talk, json_t **figures, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_train_options one = *options;
    char *run = options->run ? sella_seeds_path(options->run, seed) : NULL, *from = NULL,
         *json = NULL;
    if (options->run && !run) {
        return sella_err_memory(err, "a path", 64);
    }
    SELLA_TRY(from_of(options->from, seed, &from, err));
    one.run = run;
    one.from = from;
    one.seed = seed;
    one.seed_given = 1;
    SELLA_TRY(sella_train(&one, talk, &json, err));
    *figures = json_loads(json, 0, NULL);
    status = *figures ? SELLA_OK : sella_err_memory(err, "figures", strlen(json));
done:
    free(run);
    free(from);
    free(json);
    return status;
}

/* One estimate for all: the seeds take the same work. */
static sella_status estimate_all(const sella_train_options *options, const uint64_t *seed_n,
                                 int count, const sella_talk *talk, char **json, sella_err *err)
{
    json_t *object = NULL, *seeds = json_array();
    sella_status status = train_one(options, seed_n[0], talk, &object, err);
    for (int i = 0; i < count; i++) {
        json_array_append_new(seeds, json_integer((json_int_t)seed_n[i]));
    }
    if (status == SELLA_OK) {
        const double seconds = json_number_value(json_object_get(object, "seconds"));
        json_object_set(object, "seeds", seeds);
        json_object_set_new(object, "seconds", sella_json_real(seconds * count));
        *json = sella_json_line(object);
        status = *json ? SELLA_OK : sella_err_memory(err, "an estimate", 4096);
    }
    json_decref(object);
    json_decref(seeds);
    return status;
}

sella_status sella_train_seeds(const sella_train_options *options, const uint64_t *seed_n,
                               int count, const sella_talk *talk, char **json, sella_err *err)
{
    sella_status status = SELLA_OK;
    json_t **figures = NULL, *summary = NULL;
    char *file = NULL;
    *json = NULL;
    SELLA_TRY(check_seeds(options, seed_n, count, err));
    if (options->dry_run) {
        return estimate_all(options, seed_n, count, talk, json, err);
    }
    file = sella_path_join(options->run, "summary.json", NULL);
    figures = sella_alloc((size_t)count, sizeof *figures, "figures", err);
    if (!file || !figures) {
        status = sella_err_memory(err, "a summary", 64);
        goto done;
    }
    for (int i = 0; i < count; i++) {
        sella_say(talk, SELLA_LEVEL_INFO, "seed %llu, %d of %d", (unsigned long long)seed_n[i],
                  i + 1, count);
        SELLA_TRY(train_one(options, seed_n[i], talk, &figures[i], err));
    }
    SELLA_TRY(sella_seeds_summary(seed_n, (const json_t *const *)figures, count, &summary, err));
    if (json_object_set_new(summary, "format", json_integer(SEEDS_FORMAT)) != 0) {
        SELLA_TRY(sella_err_memory(err, "a summary", 64));
    }
    SELLA_TRY(sella_json_save(file, summary, err));
    *json = sella_json_line(summary);
    status = *json ? SELLA_OK : sella_err_memory(err, "a summary", 4096);
done:
    for (int i = 0; figures && i < count; i++) {
        json_decref(figures[i]);
    }
    free(figures);
    free(file);
    json_decref(summary);
    return status;
}
