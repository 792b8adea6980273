/* experiment.c - train what is missing, score it, write the page (sella/experiment.h). */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "engine/experiment_part.h"
#include "methods/estimate.h"
#include "sella/engine.h"
#include "sella/train.h"

/* ---- runs ---- */

static sella_train_options training_of(const sella_experiment_plan *plan,
                                       const sella_planned_run *run)
{
    const sella_experiment_options *o = plan->options;
    return (sella_train_options){.method = run->row->method,
                                 .dataset = o->dataset,
                                 .run = run->path,
                                 .model = run->method->needs_model ? o->model : NULL,
                                 .preset = o->preset,
                                 .set = run->set,
                                 .set_count = run->set_count,
                                 .from = run->state == SELLA_RUN_TRAIN ? run->from : NULL,
                                 .seed = run->seed,
                                 .seed_given = 1,
                                 .threads = o->threads,
                                 .resume = 1,
                                 .weights = run->method->needs_model ? o->weights : NULL};
}

static sella_status train_run(const sella_experiment_plan *plan, const sella_planned_run *run,
                              const sella_talk *talk, sella_err *err)
{
    char *json = NULL,
         *parent = sella_path_join(plan->options->output, "runs", run->row->key, NULL);
    sella_status status =
        parent ? sella_dir_make(parent, err) : sella_err_memory(err, "a path", 64);
    free(parent);
    if (status != SELLA_OK) {
        return status;
    }
    const sella_train_options options = training_of(plan, run);
    sella_say(talk, SELLA_LEVEL_INFO, "%s, seed %llu: %s%s%s", run->row->label,
              (unsigned long long)run->seed,
              run->state == SELLA_RUN_RESUME ? "going on" : "training",
              options.from ? ", stage 1 from " : "", options.from ? options.from : "");
    status = sella_train(&options, talk, &json, err);
    free(json);
    return status == SELLA_OK || status == SELLA_INTERRUPTED
               ? status
               : sella_err_prefix(err, status, "%s, seed %llu", run->row->label,
                                  (unsigned long long)run->seed);
}

/* predictions-test.csv; training has left those of valid. */
static sella_status score_run(const sella_experiment_plan *plan, const sella_planned_run *run,
                              const sella_talk *talk, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_engine *engine = NULL;
    char *json = NULL, *file = sella_path_join(run->path, "predictions-test.csv", NULL);
    if (!file) {
        return sella_err_memory(err, "a path", strlen(run->path));
    }
    if (plan->split != SELLA_SPLIT_TEST || sella_path_exists(file)) {
        goto done;
    }
    const bool needs_model =
        run->method->needs_model && !sella_settings_is(run->settings, "score", "vectors");
    const sella_engine_options open = {.model = needs_model ? plan->options->model : NULL,
                                       .threads = plan->options->threads,
                                       .talk = talk,
                                       .weights = needs_model ? plan->options->weights : NULL};
    const sella_eval_options eval = {.dataset = plan->options->dataset,
                                     .split = "test",
                                     .rows = sella_settings_int(run->settings, "eval.rows"),
                                     .predictions = file};
    SELLA_TRY(sella_engine_open(run->path, &open, &engine, err));
    SELLA_TRY(sella_engine_eval(engine, &eval, &json, err));
done:
    sella_engine_close(engine);
    free(json);
    free(file);
    return status;
}

/* ---- dry run ---- */

static const char *const state_word[] = {"complete", "resume", "train"};

/* An earlier run of the same row that was estimated with the same stages to train; -1: none. What a
 * row takes does not depend on the seed but for the rows that are drawn. */
static int estimated_before(const sella_experiment_plan *plan, int at)
{
    const sella_planned_run *run = &plan->run[at];
    for (int i = 0; i < at; i++) {
        const sella_planned_run *other = &plan->run[i];
        if (other->row == run->row && other->state == run->state && !other->from == !run->from) {
            return i;
        }
    }
    return -1;
}

static sella_status dry_one(const sella_experiment_plan *plan, int at, sella_rates *rates,
                            const sella_talk *talk, json_t *list, double *total, sella_err *err)
{
    const sella_planned_run *run = &plan->run[at];
    const int before = estimated_before(plan, at);
    sella_status status = SELLA_OK;
    char *text = NULL;
    json_t *estimate = NULL,
           *entry = json_pack("{s:s, s:I, s:s}", "row", run->row->key, "seed",
                              (json_int_t)run->seed, "state", state_word[run->state]);
    if (!entry || json_array_append_new(list, entry) != 0) {
        return sella_err_memory(err, "a plan", 64);
    }
    if (run->state == SELLA_RUN_COMPLETE) {
        return SELLA_OK;
    }
    if (before >= 0) {
        estimate = json_incref(json_array_get(list, (size_t)before));
    } else {
        sella_train_options options = training_of(plan, run);
        options.dry_run = 1;
        SELLA_TRY(sella_train_dry_run(&options, rates, talk, &text, err));
        SELLA_TRY(sella_json_parse(text, strlen(text), "an estimate", &estimate, err));
    }
    json_object_set(entry, "seconds", json_object_get(estimate, "seconds"));
    json_object_set(entry, "peak_mb", json_object_get(estimate, "peak_mb"));
    if (run->from) {
        json_object_set_new(entry, "from", json_string(run->from));
    }
    *total += json_number_value(json_object_get(estimate, "seconds"));
done:
    json_decref(estimate);
    free(text);
    return status;
}

static sella_status left_out(const sella_experiment_plan *plan, json_t *list, sella_err *err)
{
    int count;
    const sella_experiment_row *row = sella_experiment_rows(&count);
    for (int i = 0; i < count; i++) {
        const char *why =
            row[i].parts & plan->parts ? sella_experiment_left_out(plan, &row[i]) : NULL;
        if (why && json_array_append_new(
                       list, json_pack("{s:s, s:s}", "row", row[i].key, "why", why)) != 0) {
            return sella_err_memory(err, "a plan", 64);
        }
    }
    return SELLA_OK;
}

static sella_status dry_run(const sella_experiment_plan *plan, const sella_talk *talk, char **json,
                            sella_err *err)
{
    sella_status status = SELLA_OK;
    double seconds = 0;
    sella_rates rates = {0};
    json_t *runs = json_array(), *out = json_array(), *object = NULL;
    for (int i = 0; i < plan->count; i++) {
        SELLA_TRY(dry_one(plan, i, &rates, talk, runs, &seconds, err));
    }
    SELLA_TRY(left_out(plan, out, err));
    object = json_pack("{s:s, s:O, s:O, s:f}", "name", plan->options->name, "runs", runs,
                       "left_out", out, "seconds", seconds);
    *json = object ? sella_json_line(object) : NULL;
    status = *json ? SELLA_OK : sella_err_memory(err, "a plan", 256);
done:
    json_decref(object);
    json_decref(runs);
    json_decref(out);
    return status;
}

/* ---- the page ---- */

static json_t *row_json(const sella_experiment_plan *plan, const sella_runs *runs,
                        const sella_experiment_row *row)
{
    const int group = sella_experiment_group(runs, row);
    const bool there = group >= 0 && sella_runs_scored(runs, group, plan->split) > 0;
    const sella_mean auc =
        there ? sella_runs_mean(runs, group, plan->split, SELLA_OF_AUC) : sella_mean_of(NULL, 0);
    const sella_mean uauc =
        there ? sella_runs_mean(runs, group, plan->split, SELLA_OF_UAUC) : sella_mean_of(NULL, 0);
    const char *why = sella_experiment_left_out(plan, row);
    const char *state = there                               ? "complete"
                        : !why                              ? "missing"
                        : strncmp(why, "not built", 9) == 0 ? "not built"
                                                            : "no model";
    return json_pack("{s:s, s:s, s:s, s:s, s:i, s:o, s:o, s:o, s:o}", "row", row->key, "label",
                     row->label, "method", row->method, "state", state, "seeds",
                     there ? sella_runs_scored(runs, group, plan->split) : 0, "auc",
                     sella_json_real(auc.mean), "auc_sd", sella_json_real(auc.sd), "uauc",
                     sella_json_real(uauc.mean), "uauc_sd", sella_json_real(uauc.sd));
}

/* How many rows the language-model stages saw, and the evaluation. --set is for every run, so that
 * one tells it for all. */
static void tell_samples(sella_report_page *page, const sella_experiment_plan *plan)
{
    sella_html *h = &page->html;
    const int64_t all = plan->dataset->split[SELLA_SPLIT_TRAIN].rows,
                  scored = plan->dataset->split[plan->split].rows;
    if (plan->count == 0) {
        return; // a table of counts
    }
    const sella_settings *settings = plan->run[plan->count - 1].settings;
    const int64_t train = sella_settings_int(settings, "train.rows"),
                  eval = sella_settings_int(settings, "eval.rows");
    const double minutes = sella_settings_real(settings, "budget.minutes");
    sella_html_raw(h, "<p class=\"note\">");
    if (minutes > 0) {
        sella_html_format(h,
                          "Each language-model run had %.0f minutes; the rows that this gave are "
                          "in its configuration. ",
                          minutes);
    } else if (train > 0 && train < all) {
        sella_html_raw(h, "Language-model stages saw a seeded sample of <b>");
        sella_html_count(h, train);
        sella_html_raw(h, " of the ");
        sella_html_count(h, all);
        sella_html_raw(h, "</b> train rows; collaborative stages all. ");
    } else {
        sella_html_raw(h, "All stages saw all ");
        sella_html_count(h, all);
        sella_html_raw(h, " train rows. ");
    }
    const bool drawn = eval > 0 && eval < scored;
    sella_html_raw(h, drawn ? "Figures are of a seeded sample of <b>" : "Figures are of all ");
    if (drawn) {
        sella_html_count(h, eval);
        sella_html_raw(h, " of the ");
    }
    sella_html_count(h, scored);
    sella_html_format(h, "%s %s rows.", drawn ? "</b>" : "", sella_split_name(plan->split));
    if (plan->split == SELLA_SPLIT_VALID) {
        sella_html_raw(h, " Valid also decides when to stop, so that these figures flatter; "
                          "published ones are of test.");
    }
    if (plan->options->model) {
        char *path = sella_path_absolute(plan->options->model);
        const char *slash = path ? strrchr(path, '/') : NULL;
        sella_html_raw(h, " Language model: <b>");
        sella_html_text(h, slash ? slash + 1 : plan->options->model);
        sella_html_raw(h, "</b>.");
        free(path);
    }
    sella_html_raw(h, "</p>\n");
}

static sella_status write_page(const sella_experiment_plan *plan, const sella_talk *talk,
                               int trained, char **json, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_runs runs = {0};
    sella_report_page page = {0};
    json_t *object = NULL, *list = json_array();
    char title[300], *below = sella_path_join(plan->options->output, "runs", NULL), *told = NULL;
    const char *path = below;
    int count;
    const sella_experiment_row *row = sella_experiment_rows(&count);
    if (!below || !list) {
        SELLA_TRY(sella_err_memory(err, "a report", 64));
    }
    if (plan->count > 0 || sella_path_is_dir(below)) {
        SELLA_TRY(sella_runs_read(&path, 1, talk, &runs, err));
    }
    snprintf(title, sizeof title, "SeLLa-Rec experiments on %.200s, %s rows", plan->dataset->name,
             sella_split_name(plan->split));
    SELLA_TRY(sella_report_start(&page, &runs, plan->options->output, title, talk, err));
    tell_samples(&page, plan);
    SELLA_TRY(sella_experiment_tables(&page, plan, err));
    SELLA_TRY(sella_experiment_figures(&page, plan, err));
    if (runs.count > 0) {
        sella_report_tables(&page);
        SELLA_TRY(sella_report_curves(&page, err));
        sella_report_configuration(&page);
    }
    sella_report_environment(&page);
    for (int i = 0; i < count; i++) {
        if (row[i].parts & plan->parts) {
            json_array_append_new(list, row_json(plan, &runs, &row[i]));
        }
    }
done:
    status = sella_report_end(&page, status, &told, err);
    if (status == SELLA_OK) {
        status = sella_json_parse(told, strlen(told), "a report", &object, err);
    }
    if (status == SELLA_OK) {
        json_object_del(object, "runs");
        json_object_del(object, "methods");
        json_object_set_new(object, "name", json_string(plan->options->name));
        json_object_set_new(object, "dataset", json_string(plan->dataset->name));
        json_object_set_new(object, "split", json_string(sella_split_name(plan->split)));
        json_object_set(object, "rows", list);
        json_object_set_new(object, "trained", json_integer(trained));
        json_object_set_new(object, "reused", json_integer(plan->count - trained));
        *json = sella_json_line(object);
        status = *json ? SELLA_OK : sella_err_memory(err, "a report", 256);
    }
    json_decref(object);
    json_decref(list);
    sella_runs_release(&runs);
    free(below);
    free(told);
    return status;
}

sella_status sella_experiment(const sella_experiment_options *options, const sella_talk *talk,
                              char **json, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_dataset *dataset = NULL;
    sella_experiment_plan plan = {0};
    int trained = 0;
    *json = NULL;
    if (!options || !options->dataset) {
        return sella_err_set(err, SELLA_ARG,
                             "an experiment needs a name, a data set and a folder to write");
    }
    SELLA_TRY(sella_dataset_open(options->dataset, &dataset, err));
    SELLA_TRY(sella_experiment_plan_make(options, dataset, talk, &plan, err));
    if (options->dry_run) {
        status = dry_run(&plan, talk, json, err);
        goto done;
    }
    for (int i = 0; i < plan.count; i++) {
        if (plan.run[i].state != SELLA_RUN_COMPLETE) {
            SELLA_TRY(train_run(&plan, &plan.run[i], talk, err));
            trained++;
        }
        SELLA_TRY(score_run(&plan, &plan.run[i], talk, err));
    }
    SELLA_TRY(write_page(&plan, talk, trained, json, err));
done:
    sella_experiment_plan_release(&plan);
    sella_dataset_close(dataset);
    return status;
}
