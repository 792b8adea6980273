/* train.c - from options to a finished run: resolve, check, estimate, create or resume, train,
 * score valid, tell (sella/train.h). */
#include "sella/train.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "eval/metrics.h"
#include "eval/predictions.h"
#include "kernels/activation.h"
#include "kernels/gemm.h"
#include "methods/estimate.h"
#include "methods/init_from.h"
#include "methods/method.h"
#include "methods/score_all.h"

/* All that one call of sella_train holds. */
typedef struct training {
    const sella_train_options *options;
    const sella_talk *talk;
    const sella_method *method;
    const char *preset;
    sella_settings *settings;
    sella_dataset *dataset;
    sella_backbone *backbone;
    sella_run *run;
    bool made; /* the run folder is this call's */
    sella_weights weights;
    sella_rates *rates; /* borrowed */
    double start;
} training;

/* ---- checks ---- */

static sella_status check_options(const sella_train_options *options, sella_err *err)
{
    if (!options || !options->method || !options->dataset || (!options->run && !options->dry_run)) {
        return sella_err_set(err, SELLA_ARG,
                             "training needs a method, a data set and a folder for the run");
    }
    if (options->set_count < 0 || (options->set_count > 0 && !options->set)) {
        return sella_err_set(err, SELLA_ARG,
                             "training was given %d assignments without their texts",
                             options->set_count);
    }
    if (options->seed > INT64_MAX) {
        return sella_err_set(err, SELLA_ARG,
                             "seed %llu is too large; expected 0 to 9223372036854775807",
                             (unsigned long long)options->seed);
    }
    return SELLA_OK;
}

static sella_status check_labels(const sella_dataset *dataset, sella_err *err)
{
    const sella_split *train = &dataset->split[SELLA_SPLIT_TRAIN];
    int64_t likes = 0;
    if (train->rows == 0) {
        return sella_err_set(err, SELLA_STATE, "%s: the train split is empty", dataset->path);
    }
    for (int64_t r = 0; r < train->rows; r++) {
        likes += train->label_n[r];
    }
    if (likes == 0 || likes == train->rows) {
        return sella_err_set(
            err, SELLA_STATE,
            "%s: all %lld labels of the train split are %d; nothing can be learnt from one class",
            dataset->path, (long long)train->rows, likes > 0);
    }
    return SELLA_OK;
}

/* How the weights were kept, refusing what this call asks otherwise. */
static sella_status recorded_weights(training *t, const sella_run *recorded, sella_err *err)
{
    int64_t stored;
    if (!sella_run_decided(recorded, "weights.stored", &stored)) {
        return SELLA_OK;
    }
    const sella_weights was = stored ? SELLA_WEIGHTS_STORED : SELLA_WEIGHTS_EXPANDED;
    if (t->weights != SELLA_WEIGHTS_AUTO && t->weights != was) {
        return sella_err_set(
            err, SELLA_STATE, "%s: was begun with --weights %s; --resume was asked for %s",
            t->options->run, sella_weights_word(was), sella_weights_word(t->weights));
    }
    t->weights = was;
    return SELLA_OK;
}

/* Settings of a run that is there, refusing what this call asks otherwise. */
static sella_status recorded_settings(training *t, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_train_options *options = t->options;
    sella_run *recorded = NULL;
    sella_settings *asked = NULL;
    json_t *was = NULL, *now = NULL;
    const char *key;
    json_t *value;
    SELLA_TRY(sella_run_open(options->run, &recorded, err));
    if (options->preset && strcmp(options->preset, recorded->preset) != 0) {
        status = sella_err_set(err, SELLA_STATE,
                               "%s: was begun with --preset %s; --resume was asked for %s",
                               options->run, recorded->preset, options->preset);
        goto done;
    }
    SELLA_TRY(sella_settings_copy(recorded->settings, &asked, err));
    if (options->config) {
        SELLA_TRY(sella_settings_load(asked, options->config, err));
    }
    for (int i = 0; i < options->set_count; i++) {
        SELLA_TRY(sella_settings_assign(asked, options->set[i], "--set", err));
    }
    was = sella_settings_json(recorded->settings);
    now = sella_settings_json(asked);
    json_object_foreach(now, key, value)
    {
        if (!json_equal(value, json_object_get(was, key))) {
            status = sella_err_set(
                err, SELLA_STATE,
                "%s: was begun with another %s; --resume goes on with the recorded settings",
                options->run, key);
            goto done;
        }
    }
    if (options->threads == 0) {
        sella_threads_set(recorded->threads);
    }
    SELLA_TRY(recorded_weights(t, recorded, err));
    t->settings = asked;
    asked = NULL;
done:
    sella_settings_free(asked);
    sella_run_close(recorded);
    json_decref(was);
    json_decref(now);
    return status;
}

static sella_status check_all(training *t, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_train_options *options = t->options;
    SELLA_TRY(check_options(options, err));
    SELLA_TRY(sella_method_get(options->method, &t->method, err));
    SELLA_TRY(sella_weights_of(options->weights, &t->weights, err));
    SELLA_TRY(sella_blas_check(err));
    sella_threads_set(options->threads);
    if (t->method->needs_model && !options->model) {
        status = sella_err_set(err, SELLA_ARG,
                               "method %s needs a language model: --model FILE or FOLDER",
                               t->method->name);
        goto done;
    }
    if (!t->method->needs_model && t->weights != SELLA_WEIGHTS_AUTO) {
        status = sella_err_set(err, SELLA_ARG,
                               "method %s has no language model whose weights could be %s",
                               t->method->name, options->weights);
        goto done;
    }
    if (!t->method->needs_model && options->model) {
        sella_say(t->talk, SELLA_LEVEL_WARN, "method %s has no language model: --model is not used",
                  t->method->name);
    }
    if (options->from && !t->method->reuses) {
        status = sella_err_set(err, SELLA_ARG, "method %s has no stages that --from could reuse",
                               t->method->name);
        goto done;
    }
    if (options->init_from && !t->method->continues) {
        status =
            sella_err_set(err, SELLA_ARG,
                          "method %s cannot begin with the parameters of another run (--init-from)",
                          t->method->name);
        goto done;
    }
    if (options->init_from && options->from) {
        status = sella_err_set(err, SELLA_ARG,
                               "--from takes finished stages as they are, --init-from trains them "
                               "on: give one of them");
        goto done;
    }
    t->preset = options->preset ? options->preset : "default";
    if (options->resume && !options->dry_run && sella_run_there(options->run)) {
        SELLA_TRY(recorded_settings(t, err));
    } else {
        SELLA_TRY(sella_training_resolve(t->method, options->preset, options->config, options->set,
                                         options->set_count, &t->settings, err));
    }
    SELLA_TRY(sella_dataset_open(options->dataset, &t->dataset, err));
    if (!t->method->untrained) {
        SELLA_TRY(check_labels(t->dataset, err));
    }
    if (t->method->check) {
        SELLA_TRY(t->method->check(t->method, t->settings, t->dataset, err));
    }
done:
    return status;
}

/* ---- estimate ---- */

static sella_status rate_of(const training *t, double *rate, sella_err *err)
{
    int C = 576, n = 1536, tokens = (int)sella_settings_int(t->settings, "train.tokens");
    if (t->method->needs_model) {
        sella_backbone_config shape;
        sella_backbone_need need;
        sella_status status = sella_backbone_probe(t->options->model, &shape, &need, err);
        if (status != SELLA_OK) {
            return status;
        }
        C = shape.C;
        n = shape.F;
    }
    return sella_rate(t->rates, C, n, tokens < 1024 ? tokens : 1024, rate, err);
}

static sella_estimate_ask ask_of(const training *t, int64_t train_rows, int64_t eval_rows)
{
    return (sella_estimate_ask){.method = t->method,
                                .settings = t->settings,
                                .seed = t->options->seed,
                                .dataset = t->dataset,
                                .model = t->method->needs_model ? t->options->model : NULL,
                                .train_rows = train_rows,
                                .eval_rows = eval_rows};
}

static sella_status estimate_of(const training *t, int64_t train_rows, int64_t eval_rows,
                                sella_estimate *out, sella_err *err)
{
    const sella_estimate_ask ask = ask_of(t, train_rows, eval_rows);
    *out = (sella_estimate){.rows = t->dataset->split[SELLA_SPLIT_TRAIN].rows};
    return t->method->estimate ? t->method->estimate(&ask, out, err) : SELLA_OK;
}

/* AUTO becomes what fits; returns the peak memory with these weights. */
static size_t choose_weights(const training *t, const sella_estimate *estimate,
                             sella_weights *weights)
{
    if (!t->method->needs_model) {
        return estimate->bytes;
    }
    *weights = sella_weights_choose(t->weights, &estimate->weights, estimate->bytes, NULL);
    if (t->weights == SELLA_WEIGHTS_AUTO && !t->rates->told[*weights]) {
        sella_weights_choose(t->weights, &estimate->weights, estimate->bytes, t->talk);
        t->rates->told[*weights] = true;
    }
    return estimate->bytes + sella_weights_bytes(*weights, &estimate->weights);
}

/* Rows of the samples: the settings, or what a budget of minutes affords. */
static sella_status sample_sizes(const training *t, int64_t *train_rows, int64_t *eval_rows,
                                 sella_err *err)
{
    sella_status status = SELLA_OK;
    double minutes = sella_settings_real(t->settings, "budget.minutes"), rate;
    *train_rows = sella_settings_int(t->settings, "train.rows");
    *eval_rows = sella_settings_int(t->settings, "eval.rows");
    if (minutes > 0 && t->method->estimate && t->method->needs_model) {
        const sella_estimate_ask ask = ask_of(t, 0, 0);
        int64_t train_fit, eval_fit;
        SELLA_TRY(rate_of(t, &rate, err));
        SELLA_TRY(sella_budget_rows(&ask, minutes * 60, rate, &train_fit, &eval_fit, err));
        *train_rows = *train_rows > 0 && (train_fit == 0 || *train_rows < train_fit) ? *train_rows
                                                                                     : train_fit;
        *eval_rows =
            *eval_rows > 0 && (eval_fit == 0 || *eval_rows < eval_fit) ? *eval_rows : eval_fit;
    }
done:
    return status;
}

static sella_status dry_run(const training *t, char **json, sella_err *err)
{
    sella_status status = SELLA_OK;
    int64_t train_rows, eval_rows;
    sella_estimate estimate;
    double rate;
    sella_weights weights = t->weights;
    json_t *out = NULL;
    SELLA_TRY(sample_sizes(t, &train_rows, &eval_rows, err));
    SELLA_TRY(estimate_of(t, train_rows, eval_rows, &estimate, err));
    SELLA_TRY(rate_of(t, &rate, err));
    if (t->options->from) { // its stage 1 is copied
        estimate.model_flops -= estimate.stage1_flops;
        estimate.tokens -= estimate.stage1_tokens;
    }
    const size_t bytes = choose_weights(t, &estimate, &weights);
    out = json_pack("{s:s, s:s, s:I, s:I, s:I, s:{s:I, s:I}, s:o, s:o, s:o, s:s*, s:o}", "method",
                    t->method->name, "preset", t->preset, "rows", (json_int_t)estimate.rows,
                    "tokens", (json_int_t)estimate.tokens, "steps", (json_int_t)estimate.steps,
                    "parameters", "trainable", (json_int_t)estimate.trainable, "frozen",
                    (json_int_t)estimate.frozen, "seconds",
                    sella_json_real(sella_estimate_seconds(&estimate, rate)), "peak_mb",
                    sella_json_real((double)bytes / 1048576.0), "cache_mb",
                    sella_json_real((double)estimate.cache_bytes / 1048576.0), "weights",
                    t->method->needs_model ? sella_weights_word(weights) : NULL, "settings",
                    sella_settings_json(t->settings));
    *json = out ? sella_json_line(out) : NULL;
    if (!*json) {
        status = sella_err_memory(err, "an estimate", 4096);
    }
done:
    json_decref(out);
    return status;
}

/* Weights are chosen; what memory has no room for is refused with the figure. Only the memory
 * matters here: the smallest sample is planned. */
static sella_status check_memory(training *t, sella_err *err)
{
    sella_estimate estimate;
    if (!t->method->estimate) {
        return SELLA_OK;
    }
    sella_status status = estimate_of(t, 1, 1, &estimate, err);
    if (status != SELLA_OK) {
        return status;
    }
    status = sella_memory_check(choose_weights(t, &estimate, &t->weights), t->method->name, err);
    if (status != SELLA_OK) {
        const bool smaller = t->weights == SELLA_WEIGHTS_EXPANDED &&
                             estimate.weights.stored < estimate.weights.expanded;
        return sella_err_set(err, status,
                             "%s; lower train.tokens, lora.rank or collab.width, or take %s",
                             err ? err->text : "",
                             smaller ? "--weights stored or a smaller model" : "a smaller model");
    }
    return SELLA_OK;
}

/* ---- the run ---- */

static sella_status open_run(training *t, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_train_options *options = t->options;
    const char *fingerprint = NULL;
    if (t->method->needs_model) {
        SELLA_TRY(sella_backbone_open_as(options->model, t->weights, t->talk, &t->backbone, err));
        fingerprint = sella_backbone_fingerprint(t->backbone);
    }
    const sella_run_new make = {.method = t->method->name,
                                .preset = t->preset,
                                .settings = t->settings,
                                .seed = options->seed,
                                .dataset = t->dataset,
                                .model_path = t->backbone ? sella_backbone_path(t->backbone) : NULL,
                                .model_fingerprint = fingerprint,
                                .from = options->from,
                                .init_from = options->init_from,
                                .threads = sella_threads()};
    if (options->resume && sella_run_there(options->run)) {
        SELLA_TRY(sella_run_resume(options->run, &make, &t->run, err));
        if (t->run->seed != options->seed && options->seed_given) {
            status = sella_err_set(err, SELLA_STATE,
                                   "%s: was begun with seed %llu; --resume goes on with it, --seed "
                                   "%llu needs a run of its own",
                                   options->run, (unsigned long long)t->run->seed,
                                   (unsigned long long)options->seed);
            goto done;
        }
        if (options->init_from) {
            char *asked = sella_path_absolute(options->init_from);
            const bool same = asked && t->run->init_from && strcmp(asked, t->run->init_from) == 0;
            free(asked);
            if (!same) {
                status = sella_err_set(
                    err, SELLA_STATE,
                    "%s: was begun with the parameters of %s; --resume goes on with that",
                    options->run, t->run->init_from ? t->run->init_from : "no other run");
                goto done;
            }
        }
        if (t->run->seed != options->seed) {
            sella_say(t->talk, SELLA_LEVEL_INFO, "going on with the recorded seed %llu",
                      (unsigned long long)t->run->seed);
        }
    } else {
        SELLA_TRY(sella_run_create(options->run, &make, &t->run, err));
        t->made = true;
    }
done:
    return status;
}

static sella_status decide_weights(training *t, sella_err *err)
{
    int64_t decided;
    return t->backbone ? sella_run_decide(t->run, "weights.stored",
                                          sella_backbone_stored(t->backbone), &decided, err)
                       : SELLA_OK;
}

static sella_status decide_rows(training *t, sella_job *job, sella_err *err)
{
    sella_status status = SELLA_OK;
    int64_t train_rows = 0, eval_rows = 0, decided;
    if (!sella_run_decided(t->run, "train.rows", &decided) ||
        !sella_run_decided(t->run, "eval.rows", &decided)) {
        SELLA_TRY(sample_sizes(t, &train_rows, &eval_rows, err));
    }
    SELLA_TRY(sella_run_decide(t->run, "train.rows", train_rows, &job->train_rows, err));
    SELLA_TRY(sella_run_decide(t->run, "eval.rows", eval_rows, &job->eval_rows, err));
    if (job->train_rows > 0 && job->train_rows < t->dataset->split[SELLA_SPLIT_TRAIN].rows &&
        t->method->needs_model && !t->method->untrained) {
        sella_say(t->talk, SELLA_LEVEL_INFO,
                  "language-model stages see a seeded sample of %lld of %lld train rows",
                  (long long)job->train_rows, (long long)t->dataset->split[SELLA_SPLIT_TRAIN].rows);
    }
    if (job->eval_rows > 0 && job->eval_rows < t->dataset->split[SELLA_SPLIT_VALID].rows) {
        sella_say(t->talk, SELLA_LEVEL_INFO, "valid is a seeded sample of %lld of %lld rows",
                  (long long)job->eval_rows, (long long)t->dataset->split[SELLA_SPLIT_VALID].rows);
    }
done:
    return status;
}

/* Scores of the valid sample -> predictions-valid.csv and the figures. */
static sella_status predict(training *t, const sella_job *job, const int64_t *index_k, int64_t k,
                            json_t **figures, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_split *valid = &t->dataset->split[SELLA_SPLIT_VALID];
    sella_scorer *scorer = NULL;
    sella_query *query = NULL;
    int32_t *pool = NULL;
    char *tape = NULL, *csv = sella_run_file(t->run, "predictions-valid.csv");
    double *score = sella_alloc((size_t)k, sizeof *score, "scores", err);
    int32_t *user = sella_alloc((size_t)k, sizeof *user, "scores", err);
    uint8_t *label = sella_alloc((size_t)k * 2, 1, "scores", err), *warm = label ? label + k : NULL;
    const char **name = sella_alloc((size_t)k * 2, sizeof *name, "scores", err);
    if (!score || !user || !label || !name || !csv) {
        status = SELLA_MEMORY;
        goto done;
    }
    SELLA_TRY(sella_run_place(t->run, "checkpoints/predict.tape", &tape, err));
    SELLA_TRY(t->method->open(t->run, t->backbone, &scorer, err));
    SELLA_TRY(sella_queries_from_split(t->run, t->dataset, SELLA_SPLIT_VALID, index_k, k, &query,
                                       &pool, err));
    SELLA_TRY(sella_score_all(scorer, query, k, score, "scoring valid", tape,
                              sella_settings_real(job->settings, "checkpoint.seconds"), t->talk,
                              err));
    for (int64_t i = 0; i < k; i++) {
        int64_t r = index_k[i];
        score[i] = sella_sigmoid(score[i]);
        user[i] = valid->user_n[r];
        label[i] = valid->label_n[r];
        warm[i] = valid->warm_n[r];
        name[i] = t->dataset->user_id[valid->user_n[r]];
        name[k + i] = t->dataset->item_id[valid->item_n[r]];
    }
    SELLA_TRY(sella_predictions_write(csv, name, name + k, label, score, warm, k, err));
    SELLA_TRY(sella_figures_json(t->method->name, t->dataset->name, "valid", user, label, score,
                                 warm, k, figures, err));
done:
    if (scorer) {
        scorer->ops->close(scorer);
    }
    free(query);
    free(pool);
    free(tape);
    free(csv);
    free(score);
    free(user);
    free(label);
    free(name);
    return status;
}

static sella_status finish(training *t, const sella_job *job, char **json, sella_err *err)
{
    sella_status status = SELLA_OK;
    int64_t *index = NULL, k = 0;
    json_t *figures = NULL;
    char *checkpoints = sella_run_file(t->run, "checkpoints");
    if (t->dataset->split[SELLA_SPLIT_VALID].rows > 0) {
        SELLA_TRY(sella_sample_rows(job->eval_rows, SELLA_EVAL_RUN, t->run->seed, t->dataset,
                                    SELLA_SPLIT_VALID, &index, &k, err));
        SELLA_TRY(predict(t, job, index, k, &figures, err));
    } else {
        sella_say(t->talk, SELLA_LEVEL_INFO,
                  "the data set has no valid split: no early stopping, no figures");
        SELLA_TRY(sella_figures_json(t->method->name, t->dataset->name, "valid", NULL, NULL, NULL,
                                     NULL, 0, &figures, err));
    }
    if (json_object_set_new(figures, "seconds", sella_json_real(sella_now() - t->start)) != 0) {
        status = sella_err_memory(err, "result.json", 64);
        goto done;
    }
    SELLA_TRY(sella_run_finish(t->run, figures, err));
    if (checkpoints) {
        SELLA_TRY(sella_path_remove(checkpoints, err));
    }
    *json = sella_json_line(figures);
    status = *json ? SELLA_OK : sella_err_memory(err, "result.json", 4096);
done:
    free(index);
    free(checkpoints);
    json_decref(figures);
    return status;
}

/* What a kill right after result.json left; a run on a read-only disk keeps it. */
static void tidy_complete(const sella_run *run)
{
    char *checkpoints = sella_run_file(run, "checkpoints");
    if (checkpoints && sella_path_exists(checkpoints)) {
        sella_path_remove(checkpoints, NULL);
    }
    sella_dir_sweep(run->path, NULL);
    free(checkpoints);
}

/* result.json of a run that was complete already. */
static sella_status tell_result(const sella_run *run, char **json, sella_err *err)
{
    json_t *result = NULL;
    char *file = sella_run_file(run, "result.json");
    sella_status status =
        file ? sella_json_load(file, 1 << 24, &result, err) : sella_err_memory(err, "a path", 16);
    if (status == SELLA_OK) {
        *json = sella_json_line(result);
        status = *json ? SELLA_OK : sella_err_memory(err, "result.json", 4096);
    }
    json_decref(result);
    free(file);
    return status;
}

/* The resolved settings as the lines of a config file, several on a line. */
static sella_status say_settings(const training *t, sella_err *err)
{
    enum { COLUMNS = 100 };
    sella_status status = SELLA_OK;
    sella_text yaml = {0}, line = {0};
    SELLA_TRY(sella_settings_yaml(t->run->settings, &yaml, err));
    sella_say(t->talk, SELLA_LEVEL_INFO,
              "%s, preset %s, seed %llu, %d threads, settings:", t->method->name, t->run->preset,
              (unsigned long long)t->run->seed, t->run->threads);
    for (const char *at = yaml.data ? yaml.data : ""; *at;) {
        const size_t bytes = strcspn(at, "\n");
        if (line.size > 0 && line.size + bytes + 2 > COLUMNS) {
            sella_say(t->talk, SELLA_LEVEL_INFO, "%s", line.data);
            line.size = 0;
        }
        SELLA_TRY(sella_text_append(&line, "  ", 2, err));
        SELLA_TRY(sella_text_append(&line, at, bytes, err));
        at += bytes + (at[bytes] == '\n');
    }
    sella_say(t->talk, SELLA_LEVEL_INFO, "%s", line.data ? line.data : "");
done:
    sella_text_release(&yaml);
    sella_text_release(&line);
    return status;
}

/* A run that was refused before any work leaves no folder behind, so that the same command can be
 * corrected and given again. */
static void drop_refused(const training *t)
{
    static const char *const work[] = {"checkpoints", "stages", "adapter", "collab.safetensors"};
    bool began = false;
    for (size_t i = 0; t->made && i < sizeof work / sizeof work[0]; i++) {
        char *path = sella_run_file(t->run, work[i]);
        began = began || !path || sella_path_exists(path);
        free(path);
    }
    if (t->made && !began) {
        sella_path_remove(t->run->path, NULL);
    }
}

sella_status sella_train_dry_run(const sella_train_options *options, sella_rates *rates,
                                 const sella_talk *talk, char **json, sella_err *err)
{
    sella_status status = SELLA_OK;
    training t = {.options = options, .talk = talk, .rates = rates};
    *json = NULL;
    SELLA_TRY(check_all(&t, err));
    SELLA_TRY(dry_run(&t, json, err));
done:
    sella_dataset_close(t.dataset);
    sella_settings_free(t.settings);
    return status;
}

sella_status sella_train(const sella_train_options *options, const sella_talk *talk, char **json,
                         sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_rates rates = {0};
    training t = {.options = options, .talk = talk, .rates = &rates, .start = sella_now()};
    *json = NULL;
    if (options->dry_run) {
        return sella_train_dry_run(options, &rates, talk, json, err);
    }
    SELLA_TRY(check_all(&t, err));
    SELLA_TRY(check_memory(&t, err));
    SELLA_TRY(open_run(&t, err));
    if (t.run->complete) {
        sella_say(talk, SELLA_LEVEL_INFO, "%s is complete", options->run);
        tidy_complete(t.run);
        status = tell_result(t.run, json, err);
        goto done;
    }
    sella_job job = {.run = t.run,
                     .settings = t.run->settings,
                     .dataset = t.dataset,
                     .backbone = t.backbone,
                     .from = t.run->from,
                     .init_from = t.run->init_from,
                     .talk = talk};
    SELLA_TRY(say_settings(&t, err));
    SELLA_TRY(sella_init_check(&job, err));
    SELLA_TRY(decide_weights(&t, err));
    SELLA_TRY(decide_rows(&t, &job, err));
    SELLA_TRY(t.method->train(&job, err));
    SELLA_TRY(finish(&t, &job, json, err));
done:
    if (status != SELLA_OK) {
        drop_refused(&t);
    }
    sella_run_close(t.run);
    sella_backbone_close(t.backbone);
    sella_dataset_close(t.dataset);
    sella_settings_free(t.settings);
    return status;
}
