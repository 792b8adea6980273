/* experiment_plan.c - the rows of the paper's tables, and which runs have to be made
 * (engine/experiment_part.h). */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "engine/experiment_part.h"

#define ALL_TABLES                                                                                 \
    (SELLA_PART_TABLE3 | SELLA_PART_TABLE4 | SELLA_PART_TABLE5 | SELLA_PART_TABLE6 |               \
     SELLA_PART_FIG5)
#define MAPS (SELLA_PART_FIG6 | SELLA_PART_FIG7)

/* In the order of the paper's tables. */
static const sella_experiment_row rows[] = {
    {"itembias", "item mean (control)", "Controls", "itembias", {0}, SELLA_PART_TABLE3, {0}},
    {"bias", "bias (control)", "Controls", "bias", {0}, ALL_TABLES, {0}},
    {"mf", "MF", "Collab.", "mf", {0}, SELLA_PART_TABLE3 | SELLA_PART_FIG5, {0}},
    {"lightgcn", "LightGCN", "Collab.", "lightgcn", {0}, SELLA_PART_TABLE3, {0}},
    {"sasrec", "SASRec", "Collab.", "sasrec", {0}, SELLA_PART_TABLE3, {0}},
    {"din", "DIN", "Collab.", "din", {0}, SELLA_PART_TABLE3, {0}},
    {"zeroshot", "Zero-shot LLM", "LLMRec", "zeroshot", {0},
     SELLA_PART_TABLE3 | SELLA_PART_TABLE4, {0}},
    {"prompt4nr", "Prompt4NR", "LLMRec", "prompt4nr", {0}, SELLA_PART_TABLE3, {"tallrec"}},
    {"tallrec", "TALLRec", "LLMRec", "tallrec", {0}, SELLA_PART_TABLE3 | SELLA_PART_FIG5, {0}},
    {"ctrl-din", "CTRL(DIN)", "Collab. with LLM", "ctrl-din", {0}, SELLA_PART_TABLE3, {0}},
    {"personprompt", "PersonPrompt", "LLMRec with Collab.", "personprompt", {0},
     SELLA_PART_TABLE3, {"tallrec"}},
    {"collm", "CoLLM-MF", "LLMRec with Collab.", "collm", {0},
     SELLA_PART_TABLE3 | SELLA_PART_FIG5, {"tallrec"}},
    {"binllm", "BinLLM", "LLMRec with Collab.", "binllm", {0},
     SELLA_PART_TABLE3 | SELLA_PART_FIG5, {"tallrec"}},
    {"sella", "SeLLa-Rec", "Ours", "sella", {0},
     SELLA_PART_TABLE3 | SELLA_PART_TABLE5 | SELLA_PART_FIG5 | MAPS | SELLA_PART_FIG8,
     {"tallrec"}},
    {"sella-wo", "SeLLa-w/o", "Model structure", "sella", {"ablation=w/o"}, SELLA_PART_TABLE5,
     {"sella", "tallrec"}},
    {"sella-proj", "SeLLa-Proj", "Model structure", "sella", {"ablation=proj"},
     SELLA_PART_TABLE5, {"sella", "tallrec"}},
    {"sella-warm", "SeLLa-Warm", "Model structure", "sella", {"ablation=warm"},
     SELLA_PART_TABLE5, {"sella", "tallrec"}},
    {"sella-ui", "SeLLa-UI", "Model structure", "sella", {"ablation=ui"}, SELLA_PART_TABLE5,
     {"sella", "tallrec"}},
    {"sella-w-ui", "SeLLa-W-UI", "Order of training", "sella", {"ablation=w-ui"},
     SELLA_PART_TABLE5, {"sella", "tallrec"}},
    {"sella-ui-w", "SeLLa-UI-W", "Order of training", "sella", {"ablation=ui-w"},
     SELLA_PART_TABLE5, {"sella", "tallrec"}},
    {"step0", "CL + Projection", "", "sella", {"stage3.steps=0"}, SELLA_PART_TABLE6,
     {"sella", "tallrec"}},
    {"step0-proj", "CL", "", "sella", {"stage3.steps=0", "ablation=proj"}, SELLA_PART_TABLE6,
     {"sella", "step0"}},
    {"step0-wo", "w/o", "", "sella", {"stage3.steps=0", "ablation=w/o"}, SELLA_PART_TABLE6,
     {"sella", "step0"}},
    {"noalign", "without contrastive learning", "", "sella",
     {"stage3.steps=0", "align.weight=0"}, MAPS, {"sella", "tallrec"}},
};
enum { ROWS = sizeof rows / sizeof *rows };

static const char *const names[] = {"table2", "table3", "table4", "table5", "table6", "fig5",
                                    "fig6",   "fig7",   "fig8",   "all",    NULL};

const char *const *sella_experiment_names(void)
{
    return names;
}

unsigned sella_experiment_parts(const char *name)
{
    for (int i = 0; names[i]; i++) {
        if (strcmp(name, names[i]) == 0) {
            return i == SELLA_PARTS ? (1u << SELLA_PARTS) - 1 : 1u << i;
        }
    }
    return 0;
}

const sella_experiment_row *sella_experiment_rows(int *count)
{
    *count = ROWS;
    return rows;
}

const sella_experiment_row *sella_experiment_find(const char *key)
{
    for (int i = 0; i < ROWS; i++) {
        if (strcmp(rows[i].key, key) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

bool sella_experiment_control(const sella_experiment_row *row)
{
    return strcmp(row->group, "Controls") == 0;
}

const char *sella_experiment_left_out(const sella_experiment_plan *plan,
                                      const sella_experiment_row *row)
{
    const sella_method *method = sella_method_find(row->method);
    return !method                                        ? "not built in this version"
           : method->needs_model && !plan->options->model ? "needs --model"
                                                          : NULL;
}

/* ---- one run of the plan ---- */

static void run_release(sella_planned_run *run)
{
    free(run->path);
    free(run->set);
    sella_settings_free(run->settings);
}

void sella_experiment_plan_release(sella_experiment_plan *plan)
{
    for (int i = 0; i < plan->count; i++) {
        run_release(&plan->run[i]);
    }
    free(plan->run);
    *plan = (sella_experiment_plan){0};
}

/* Refuse a run at `path` that was made with other settings, data or backbone than asked for. */
static sella_status check_recorded(const sella_experiment_plan *plan, const sella_planned_run *run,
                                   const char *path, const json_t *document, sella_err *err)
{
    sella_status status = SELLA_OK;
    const json_t *was = json_object_get(document, "settings");
    const char *checksum =
        json_string_value(json_object_get(json_object_get(document, "dataset"), "checksum"));
    const char *fingerprint =
        json_string_value(json_object_get(json_object_get(document, "model"), "fingerprint"));
    const char *method = json_string_value(json_object_get(document, "method"));
    json_t *now = sella_settings_json(run->settings), *value;
    const char *key;
    if (!method || strcmp(method, run->row->method) != 0) {
        status = sella_err_set(err, SELLA_STATE,
                               "%s: is a run of %s; this experiment needs one of %s there",
                               path, method ? method : "nothing", run->row->method);
    } else if (!checksum || strcmp(checksum, plan->dataset->checksum) != 0) {
        status = sella_err_set(
            err, SELLA_STATE, "%s: was trained on data with checksum %s; %s has %s", path,
            checksum ? checksum : "?", plan->dataset->path, plan->dataset->checksum);
    } else if (run->method->needs_model &&
               (!fingerprint || strcmp(fingerprint, plan->fingerprint) != 0)) {
        status = sella_err_set(err, SELLA_STATE,
                               "%s: was trained with a backbone of fingerprint %s; this one has "
                               "%s: one experiment has one backbone",
                               path, fingerprint ? fingerprint : "?", plan->fingerprint);
    }
    json_object_foreach(now, key, value)
    {
        const json_t *other = json_object_get(was, key);
        const bool same = json_is_number(value) && json_is_number(other)
                              ? json_number_value(value) == json_number_value(other)
                              : json_equal(value, other);
        if (status == SELLA_OK && !same) {
            status = sella_err_set(err, SELLA_STATE,
                                   "%s: was made with another %s; give the same settings, another "
                                   "-o, or remove that run",
                                   path, key);
        }
    }
    json_decref(now);
    return status;
}

static sella_status find_state(const sella_experiment_plan *plan, sella_planned_run *run,
                               sella_err *err)
{
    sella_status status = SELLA_OK;
    json_t *document = NULL;
    char *file = sella_path_join(run->path, "run.json", NULL),
         *result = sella_path_join(run->path, "result.json", NULL);
    run->state = SELLA_RUN_TRAIN;
    if (!file || !result) {
        SELLA_TRY(sella_err_memory(err, "a path", strlen(run->path)));
    }
    if (sella_path_exists(file)) {
        SELLA_TRY(sella_json_load(file, 1 << 24, &document, err));
        SELLA_TRY(check_recorded(plan, run, run->path, document, err));
        run->state = sella_path_exists(result) ? SELLA_RUN_COMPLETE : SELLA_RUN_RESUME;
    }
done:
    json_decref(document);
    free(file);
    free(result);
    return status;
}

/* A run below DIR/runs/KEY, of these seeds or others; ask: the caller's. */
typedef sella_status (*visit_run)(const sella_experiment_plan *plan, const void *ask,
                                  const char *path, const json_t *document, sella_err *err);

static sella_status visit_runs(const sella_experiment_plan *plan, const char *key, visit_run visit,
                               const void *ask, sella_err *err)
{
    sella_status status = SELLA_OK;
    char **name = NULL, *dir = sella_path_join(plan->options->output, "runs", key, NULL);
    size_t count = 0;
    if (!dir) {
        return sella_err_memory(err, "a path", 64);
    }
    if (sella_path_is_dir(dir)) {
        SELLA_TRY(sella_dir_list(dir, &name, &count, err));
    }
    for (size_t i = 0; i < count && status == SELLA_OK; i++) {
        char *path = sella_path_join(dir, name[i], NULL),
             *file = sella_path_join(dir, name[i], "run.json", NULL);
        json_t *document = NULL;
        if (path && file && sella_path_exists(file) &&
            sella_json_load(file, 1 << 24, &document, NULL) == SELLA_OK) {
            status = visit(plan, ask, path, document, err);
        }
        json_decref(document);
        free(path);
        free(file);
    }
done:
    sella_names_free(name, count);
    free(dir);
    return status;
}

/* The runs of other seeds beside this one: the page takes them together, so they must agree. */
static sella_status check_beside(const sella_experiment_plan *plan, const void *ask,
                                 const char *path, const json_t *document, sella_err *err)
{
    const sella_planned_run *run = ask;
    return strcmp(path, run->path) == 0 ? SELLA_OK
                                        : check_recorded(plan, run, path, document, err);
}

static sella_status fill_run(const sella_experiment_plan *plan, const sella_experiment_row *row,
                             uint64_t seed, sella_planned_run *run, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_experiment_options *o = plan->options;
    char part[40];
    *run = (sella_planned_run){.row = row, .method = sella_method_find(row->method), .seed = seed};
    snprintf(part, sizeof part, "seed-%llu", (unsigned long long)seed);
    run->path = sella_path_join(o->output, "runs", row->key, part, NULL);
    run->set = sella_alloc((size_t)o->set_count + 4, sizeof *run->set, "settings", err);
    if (!run->path || !run->set) {
        return sella_err_memory(err, "a plan", 64);
    }
    for (int i = 0; i < o->set_count; i++) {
        run->set[run->set_count++] = o->set[i];
    }
    for (size_t i = 0; i < sizeof row->set / sizeof *row->set && row->set[i]; i++) {
        run->set[run->set_count++] = row->set[i];
    }
    SELLA_TRY(sella_training_resolve(run->method, o->preset, NULL, run->set, run->set_count,
                                     &run->settings, err));
    if (run->method->check) {
        SELLA_TRY(run->method->check(run->method, run->settings, plan->dataset, err));
    }
    SELLA_TRY(find_state(plan, run, err));
    SELLA_TRY(visit_runs(plan, run->row->key, check_beside, run, err));
done:
    return status;
}

/* ---- which earlier run's stages it may take ---- */

static bool begins(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* Would stage 1 of both be the same? The library checks it again when it copies. */
static bool same_stage1(const sella_planned_run *a, const sella_planned_run *b)
{
    json_t *x = sella_settings_json(a->settings), *y = sella_settings_json(b->settings), *value;
    // A budget gives each run rows of its own; an adapter that starts from scratch has no stage 1.
    bool same = sella_settings_real(a->settings, "budget.minutes") == 0 &&
                !sella_settings_is(a->settings, "lora.start", "scratch");
    const char *key;
    json_object_foreach(x, key, value)
    {
        const bool matters = begins(key, "stage1.") || begins(key, "lora.") ||
                             begins(key, "history.") || strcmp(key, "template") == 0 ||
                             strcmp(key, "train.rows") == 0;
        same = same && (!matters || json_equal(value, json_object_get(y, key)));
    }
    json_decref(x);
    json_decref(y);
    return same;
}

static void find_source(sella_experiment_plan *plan, int at)
{
    sella_planned_run *run = &plan->run[at];
    for (size_t f = 0; f < 2 && run->method->reuses && run->row->from[f] && !run->from; f++) {
        for (int i = 0; i < at; i++) {
            const sella_planned_run *other = &plan->run[i];
            if (strcmp(other->row->key, run->row->from[f]) == 0 && other->seed == run->seed &&
                same_stage1(run, other)) {
                run->from = other->path;
            }
        }
    }
}

/* ---- the plan ---- */

static sella_status check_options(const sella_experiment_options *o, sella_experiment_plan *plan,
                                  sella_err *err)
{
    if (!o->name || !o->dataset || !o->output || !o->output[0]) {
        return sella_err_set(err, SELLA_ARG,
                             "an experiment needs a name, a data set and a folder to write");
    }
    plan->parts = sella_experiment_parts(o->name);
    if (plan->parts == 0) {
        const int near = sella_text_nearest(o->name, names, SELLA_PARTS + 1);
        return sella_err_set(
            err, SELLA_ARG,
            "experiment '%.40s' is unknown; expected table2 to table6, fig5 to fig8 or all%s%s",
            o->name, near >= 0 ? "; did you mean " : "", near >= 0 ? names[near] : "");
    }
    const int split = sella_split_find(o->split ? o->split : "test");
    if (split != SELLA_SPLIT_VALID && split != SELLA_SPLIT_TEST) {
        return sella_err_set(err, SELLA_ARG,
                             "split '%.40s' cannot be reported; expected test or valid", o->split);
    }
    plan->split = (sella_split_id)split;
    if (o->preset && strcmp(o->preset, "default") != 0 && strcmp(o->preset, "paper") != 0) {
        return sella_err_set(err, SELLA_ARG,
                             "preset '%.40s' does not fit every row; expected default or paper",
                             o->preset);
    }
    for (int i = 0; i < o->seed_count; i++) {
        for (int k = 0; k < i; k++) {
            if (o->seed[i] == o->seed[k]) {
                return sella_err_set(err, SELLA_ARG, "seed %llu is given twice",
                                     (unsigned long long)o->seed[i]);
            }
        }
    }
    return SELLA_OK;
}

/* Does any row of the parts, controls aside, have a chance? */
static sella_status check_possible(const sella_experiment_plan *plan, sella_err *err)
{
    bool possible = plan->parts == SELLA_PART_TABLE2;
    for (int i = 0; i < ROWS; i++) {
        possible =
            possible || ((rows[i].parts & plan->parts) && !sella_experiment_control(&rows[i]) &&
                         !sella_experiment_left_out(plan, &rows[i]));
    }
    return possible
               ? SELLA_OK
               : sella_err_set(err, SELLA_ARG, "%s needs a language model: --model FILE or FOLDER",
                               plan->options->name);
}

static sella_status read_fingerprint(const char *model, char *out, sella_err *err)
{
    sella_backbone *backbone;
    const sella_status status =
        sella_backbone_open_as(model, SELLA_WEIGHTS_STORED, NULL, &backbone, err);
    if (status == SELLA_OK) {
        snprintf(out, 17, "%s", sella_backbone_fingerprint(backbone));
        sella_backbone_close(backbone);
    }
    return status;
}

/* Refuse a run that has another backbone than the model given. */
static sella_status check_backbone(const sella_experiment_plan *plan, const void *ask,
                                   const char *path, const json_t *document, sella_err *err)
{
    const char *was =
        json_string_value(json_object_get(json_object_get(document, "model"), "fingerprint"));
    (void)ask;
    return !was || strcmp(was, plan->fingerprint) == 0
               ? SELLA_OK
               : sella_err_set(err, SELLA_STATE,
                               "%s: was trained with a backbone of fingerprint %s; this one has "
                               "%s: one experiment has one backbone",
                               path, was, plan->fingerprint);
}

/* One sentence for each reason. */
static sella_status tell_left_out(const sella_experiment_plan *plan, const sella_talk *talk,
                                  sella_err *err)
{
    static const char *const reasons[] = {"not built in this version", "needs --model"};
    sella_status status = SELLA_OK;
    sella_text text = {0};
    for (int k = 0; k < 2; k++) {
        text.size = 0;
        for (int i = 0; i < ROWS; i++) {
            const char *why =
                rows[i].parts & plan->parts ? sella_experiment_left_out(plan, &rows[i]) : NULL;
            if (why && strcmp(why, reasons[k]) == 0) {
                SELLA_TRY(
                    sella_text_format(&text, err, "%s%s", text.size ? ", " : "", rows[i].label));
            }
        }
        if (text.size > 0) {
            sella_say(talk, SELLA_LEVEL_WARN, "left out (%s): %s", reasons[k], text.data);
        }
    }
done:
    sella_text_release(&text);
    return status;
}

/* The runs of one seed in the order of work: what others reuse comes first. */
static sella_status plan_seed(sella_experiment_plan *plan, uint64_t seed, sella_err *err)
{
    sella_status status = SELLA_OK;
    for (int reusing = 0; reusing < 2; reusing++) {
        for (int i = 0; i < ROWS; i++) {
            if ((rows[i].parts & plan->parts) && (rows[i].from[0] != NULL) == reusing &&
                !sella_experiment_left_out(plan, &rows[i])) {
                sella_planned_run *run = &plan->run[plan->count++];
                SELLA_TRY(fill_run(plan, &rows[i], seed, run, err));
                find_source(plan, plan->count - 1);
            }
        }
    }
done:
    return status;
}

sella_status sella_experiment_plan_make(const sella_experiment_options *options,
                                        const sella_dataset *dataset, const sella_talk *talk,
                                        sella_experiment_plan *out, sella_err *err)
{
    static const uint64_t zero = 0;
    sella_status status = SELLA_OK;
    *out = (sella_experiment_plan){.options = options, .dataset = dataset};
    const uint64_t *seed = options->seed_count > 0 ? options->seed : &zero;
    const int seeds = options->seed_count > 0 ? options->seed_count : 1;
    SELLA_TRY(check_options(options, out, err));
    SELLA_TRY(check_possible(out, err));
    SELLA_TRY(tell_left_out(out, talk, err));
    if (dataset->split[out->split].rows == 0 && out->parts != SELLA_PART_TABLE2) {
        status = sella_err_set(
            err, SELLA_STATE, "%s has no rows in its %s part%s", dataset->path,
            sella_split_name(out->split),
            out->split == SELLA_SPLIT_TEST ? "; --split valid reports the valid part" : "");
        goto done;
    }
    if (options->model) {
        SELLA_TRY(read_fingerprint(options->model, out->fingerprint, err));
        for (int i = 0; i < ROWS; i++) {
            SELLA_TRY(visit_runs(out, rows[i].key, check_backbone, NULL, err));
        }
    }
    out->run = sella_alloc((size_t)seeds * ROWS, sizeof *out->run, "a plan", err);
    if (!out->run) {
        SELLA_TRY(SELLA_MEMORY);
    }
    for (int s = 0; s < seeds; s++) {
        SELLA_TRY(plan_seed(out, seed[s], err));
    }
done:
    if (status != SELLA_OK) {
        sella_experiment_plan_release(out);
    }
    return status;
}
