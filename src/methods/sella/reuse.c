/* reuse.c - --from RUN: a finished stage 1 of another run is copied, not trained again
 * (methods/sella/stages.h).
 *
 * What must agree is what stage 1 follows from: data set, backbone, template, history, sample of
 * rows, seed, adapter and stage1 settings. The distillation is copied too when its own settings
 * agree; otherwise it is done again.
 */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "methods/sella/stages.h"

static bool begins(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* What stage 1 depends on: also how rows are packed, since a step takes whole trees. */
static bool matters(const char *key)
{
    return strcmp(key, "lora.start") != 0 &&
           (strcmp(key, "train.run") == 0 || begins(key, "stage1.") || begins(key, "lora.") ||
            begins(key, "history."));
}

/* SELLA_STATE naming the first setting that differs. */
static sella_status same_settings(const sella_run *run, const sella_run *source, sella_err *err)
{
    sella_status status = SELLA_OK;
    json_t *here = sella_settings_json(run->settings),
           *there = sella_settings_json(source->settings), *value;
    char *is = NULL, *was = NULL;
    const char *key;
    json_object_foreach(here, key, value)
    {
        const json_t *other = json_object_get(there, key);
        if (matters(key) && !json_equal(value, other)) {
            is = sella_json_line(value);
            was = sella_json_line(other);
            status = sella_err_set(
                err, SELLA_STATE,
                "--from %s: its %s is %s, here it is %s; stage 1 would be another one",
                source->path, key, was ? was : "absent", is ? is : "");
            goto done;
        }
    }
done:
    free(is);
    free(was);
    json_decref(here);
    json_decref(there);
    return status;
}

static sella_status same_template(const sella_run *run, const sella_run *source, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_map a = {0}, b = {0};
    char *x = sella_run_file(run, "template.txt"), *y = sella_run_file(source, "template.txt");
    if (!x || !y) {
        status = sella_err_memory(err, "a path", 32);
        goto done;
    }
    SELLA_TRY(sella_map_open(x, &a, err));
    SELLA_TRY(sella_map_open(y, &b, err));
    if (a.size != b.size || (a.size > 0 && memcmp(a.data, b.data, a.size) != 0)) {
        status = sella_err_set(err, SELLA_STATE,
                               "--from %s: was trained with another prompt template", source->path);
    }
done:
    sella_map_close(&a);
    sella_map_close(&b);
    free(x);
    free(y);
    return status;
}

static sella_status check_source(const sella_job *job, const sella_run *source, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_run *run = job->run;
    int64_t rows = 0;
    if (!sella_run_stage_done(source, "stage1")) {
        return sella_err_set(err, SELLA_STATE, "--from %s: holds no finished stage 1",
                             source->path);
    }
    SELLA_TRY(sella_run_stages_check(source, err));
    if (strcmp(source->dataset_checksum, run->dataset_checksum) != 0) {
        return sella_err_set(
            err, SELLA_STATE, "--from %s: was trained on data with checksum %s; %s has %s",
            source->path, source->dataset_checksum, run->dataset_path, run->dataset_checksum);
    }
    if (!source->model_path || strcmp(source->model_fingerprint, run->model_fingerprint) != 0) {
        return sella_err_set(
            err, SELLA_STATE,
            "--from %s: was trained with a model of fingerprint %s; this one has %s", source->path,
            source->model_fingerprint, run->model_fingerprint);
    }
    if (source->seed != run->seed) {
        return sella_err_set(err, SELLA_STATE, "--from %s: has seed %llu; this run has %llu",
                             source->path, (unsigned long long)source->seed,
                             (unsigned long long)run->seed);
    }
    if (!sella_run_decided(source, "train.rows", &rows) || rows != job->train_rows) {
        return sella_err_set(err, SELLA_STATE,
                             "--from %s: its stage 1 saw a sample of %lld train rows; this run "
                             "asks for %lld (0: all)",
                             source->path, (long long)rows, (long long)job->train_rows);
    }
    SELLA_TRY(same_settings(run, source, err));
    SELLA_TRY(same_template(run, source, err));
done:
    return status;
}

sella_status sella_stage_copy(const char *from, const char *to, const char *last, sella_err *err)
{
    sella_status status = SELLA_OK;
    char **names = NULL, *a = NULL, *b = NULL;
    size_t count = 0;
    SELLA_TRY(sella_dir_make(to, err));
    SELLA_TRY(sella_dir_list(from, &names, &count, err));
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < count; i++) {
            if ((pass == 1) != (last && strcmp(names[i], last) == 0)) {
                continue;
            }
            free(a);
            free(b);
            a = sella_path_join(from, names[i], NULL);
            b = sella_path_join(to, names[i], NULL);
            if (!a || !b) {
                status = sella_err_memory(err, "a path", 64);
                goto done;
            }
            if (!sella_path_is_dir(a)) {
                SELLA_TRY(sella_file_copy(a, b, err));
            }
        }
    }
done:
    sella_names_free(names, count);
    free(a);
    free(b);
    return status;
}

/* The files of SOURCE/inside become those of RUN/folder; nothing to do when the source has none. */
static sella_status copy_folder(const sella_run *run, const sella_run *source, const char *inside,
                                const char *folder, const char *last, bool *copied, sella_err *err)
{
    sella_status status = SELLA_OK;
    char *from = sella_run_file(source, inside), *to = sella_run_file(run, folder);
    *copied = false;
    if (!from || !to) {
        status = sella_err_memory(err, "a path", 64);
    } else if (sella_path_is_dir(from)) {
        status = sella_stage_copy(from, to, last, err);
        *copied = true;
    }
    free(from);
    free(to);
    return status;
}

/* True when the source's distillation is what this run would make. */
static bool same_distillation(const sella_job *job, const sella_run *source)
{
    const sella_settings *a = job->settings, *b = source->settings;
    int64_t rows = -1;
    bool all = sella_settings_is(a, "distil.items", "all");
    return sella_run_stage_done(source, "distil") &&
           sella_settings_is(b, "distil.items", sella_settings_text(a, "distil.items")) &&
           sella_settings_is(b, "distil.wording", sella_settings_text(a, "distil.wording")) &&
           (all || (sella_run_decided(source, "eval.rows", &rows) && rows == job->eval_rows));
}

sella_status sella_stages_reuse(sella_job *job, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_run *source = NULL;
    bool copied;
    if (sella_run_stage_done(job->run, "stage1")) {
        return SELLA_OK;
    }
    SELLA_TRY(sella_run_open(job->from, &source, err));
    SELLA_TRY(check_source(job, source, err));
    SELLA_TRY(
        copy_folder(job->run, source, "stages/stage1/adapter", "adapter", NULL, &copied, err));
    if (!copied) { // the usual case: no later stage has trained the adapter on
        SELLA_TRY(copy_folder(job->run, source, "adapter", "adapter", NULL, &copied, err));
    }
    if (same_distillation(job, source)) {
        SELLA_TRY(copy_folder(job->run, source, "stages/distil", "stages/distil", "done.json",
                              &copied, err));
    }
    SELLA_TRY(
        copy_folder(job->run, source, "stages/stage1", "stages/stage1", "done.json", &copied, err));
    sella_say(job->talk, SELLA_LEVEL_INFO, "stage 1%s taken from %s",
              sella_run_stage_done(job->run, "distil") ? " and the distillation are" : " is",
              job->from);
done:
    sella_run_close(source);
    return status;
}
