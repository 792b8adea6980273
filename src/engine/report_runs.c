/* report_runs.c - finding and reading runs (engine/report_runs.h). */
#include "engine/report_runs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "methods/method.h"

enum { DEPTH_MOST = 4, RUNS_MOST = 10000, SEEDS_MOST = 1000 /* of one configuration */ };

static const char *text_or_empty(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static void facts_release(sella_run_facts *facts)
{
    free(facts->path);
    free(facts->label);
    json_decref(facts->document);
    json_decref(facts->result);
    *facts = (sella_run_facts){0};
}

void sella_runs_release(sella_runs *runs)
{
    for (int i = 0; i < runs->count; i++) {
        facts_release(&runs->run[i]);
    }
    free(runs->run);
    *runs = (sella_runs){0};
}

/* "a/b/mf/seed-1" -> "mf", "a/b/mf/" -> "mf". */
static char *label_of(const char *path)
{
    size_t end = strlen(path);
    for (int pass = 0; pass < 2; pass++) {
        while (end > 1 && path[end - 1] == '/') {
            end--;
        }
        size_t from = end;
        while (from > 0 && path[from - 1] != '/') {
            from--;
        }
        if (pass == 0 && from > 1 && end - from > 5 && strncmp(path + from, "seed-", 5) == 0) {
            end = from;
            continue;
        }
        return strndup(path + from, end - from);
    }
    return strdup(path);
}

static sella_status load_beside(const char *path, const char *name, bool needed, json_t **out,
                                sella_err *err)
{
    sella_status status = SELLA_OK;
    char *file = sella_path_join(path, name, NULL);
    *out = NULL;
    if (!file) {
        return sella_err_memory(err, "a path", strlen(path));
    }
    if (needed || sella_path_exists(file)) {
        status = sella_json_load(file, 1 << 24, out, err);
    }
    free(file);
    return status;
}

/* A number as eval writes it into a file's name: digits alone. *at moves behind it. */
static bool number_of(const char **at, int64_t *out)
{
    const size_t digits = strspn(*at, "0123456789");
    const char *from = *at;
    *at += digits;
    return sella_parse_int(from, digits, 0, INT64_MAX, "a number", out, NULL) == SELLA_OK;
}

/* predictions-SPLIT-rows-N-seed-S.csv (sella eval --rows)? */
static bool is_sample(const char *name, const char *split, int64_t *rows, int64_t *seed)
{
    static const char behind_rows[] = "-seed-";
    char start[64];
    const int n = snprintf(start, sizeof start, "predictions-%s-rows-", split);
    const char *at = name + n;
    if (strncmp(name, start, (size_t)n) != 0 || !number_of(&at, rows) ||
        strncmp(at, behind_rows, sizeof behind_rows - 1) != 0) {
        return false;
    }
    at += sizeof behind_rows - 1;
    return number_of(&at, seed) && strcmp(at, ".csv") == 0;
}

/* The file of this split: all rows, else the largest sample, the smallest seed first; NULL: none.
 */
static const char *prediction_file(sella_run_facts *facts, char *const *name_n, size_t count, int s)
{
    const char *split = sella_split_name((sella_split_id)s), *found = NULL;
    char whole[64];
    snprintf(whole, sizeof whole, "predictions-%s.csv", split);
    for (size_t i = 0; i < count; i++) {
        int64_t rows, seed;
        if (strcmp(name_n[i], whole) == 0) {
            facts->sample[s] = 0;
            facts->sample_seed[s] = 0;
            return name_n[i];
        }
        if (is_sample(name_n[i], split, &rows, &seed) &&
            (rows > facts->sample[s] ||
             (rows == facts->sample[s] && (uint64_t)seed < facts->sample_seed[s]))) {
            facts->sample[s] = rows;
            facts->sample_seed[s] = (uint64_t)seed;
            found = name_n[i];
        }
    }
    return found;
}

/* What training drew: eval.rows of valid, and of test where an experiment scored it; train.rows. */
static void read_samples(sella_run_facts *facts)
{
    const json_t *decided = json_object_get(facts->document, "decided");
    const int64_t rows = json_integer_value(json_object_get(decided, "eval.rows"));
    const sella_method *method = sella_method_find(facts->method);
    if (method && method->needs_model && !method->untrained) {
        facts->train_sample = json_integer_value(json_object_get(decided, "train.rows"));
    }
    for (int s = SELLA_SPLIT_VALID; s < SELLA_SPLITS; s++) {
        if (facts->scored[s] && facts->sample[s] == 0 && rows > 0 &&
            facts->metrics[s].all.rows == rows) {
            facts->sample[s] = rows;
            facts->sample_seed[s] = s == SELLA_SPLIT_VALID ? (uint64_t)facts->seed : 0;
        }
    }
}

static sella_status read_metrics(sella_run_facts *facts, sella_err *err)
{
    sella_status status = SELLA_OK;
    char **name = NULL, *file = NULL;
    size_t count = 0;
    SELLA_TRY(facts->result ? sella_dir_list(facts->path, &name, &count, err) : SELLA_OK);
    for (int s = 0; s < SELLA_SPLITS; s++) {
        const char *found = prediction_file(facts, name, count, s);
        if (!found) {
            continue;
        }
        free(file);
        file = sella_path_join(facts->path, found, NULL);
        SELLA_TRY(file ? sella_metrics_file(file, 0, 0, &facts->metrics[s], err)
                       : sella_err_memory(err, "a path", strlen(facts->path)));
        facts->scored[s] = true;
    }
    read_samples(facts);
done:
    sella_names_free(name, count);
    free(file);
    return status;
}

static sella_status read_run(const char *path, sella_run_facts *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    const json_t *dataset, *settings;
    const char *text;
    *out = (sella_run_facts){.group = -1};
    out->path = strdup(path);
    out->label = label_of(path);
    if (!out->path || !out->label) {
        SELLA_TRY(sella_err_memory(err, "a path", strlen(path)));
    }
    SELLA_TRY(load_beside(path, "run.json", true, &out->document, err));
    SELLA_TRY(load_beside(path, "result.json", false, &out->result, err));
    SELLA_TRY(sella_json_get_string(out->document, "method", path, &text, err));
    SELLA_TRY(sella_json_get_object(out->document, "dataset", path, &dataset, err));
    SELLA_TRY(sella_json_get_object(out->document, "settings", path, &settings, err));
    SELLA_TRY(sella_json_get_int(out->document, "seed", path, 0, INT64_MAX, &out->seed, err));
    SELLA_TRY(sella_json_get_int(out->document, "users", path, 0, INT32_MAX, &out->users, err));
    SELLA_TRY(sella_json_get_int(out->document, "items", path, 0, INT32_MAX, &out->items, err));
    out->method = text;
    out->preset = text_or_empty(out->document, "preset");
    out->dataset = text_or_empty(dataset, "name");
    out->checksum = text_or_empty(dataset, "checksum");
    out->fingerprint = text_or_empty(json_object_get(out->document, "model"), "fingerprint");
    SELLA_TRY(read_metrics(out, err));
done:
    if (status != SELLA_OK) {
        facts_release(out);
    }
    return status;
}

static sella_status add_run(sella_runs *runs, const char *path, sella_err *err)
{
    if (runs->count == RUNS_MOST) {
        return sella_err_set(err, SELLA_ARG, "more than %d runs are too many for one report",
                             RUNS_MOST);
    }
    if (runs->count == runs->room) {
        const int room = runs->room ? 2 * runs->room : 16;
        sella_run_facts *more = realloc(runs->run, (size_t)room * sizeof *more);
        if (!more) {
            return sella_err_memory(err, "runs", (size_t)room * sizeof *more);
        }
        runs->run = more;
        runs->room = room;
    }
    const sella_status status = read_run(path, &runs->run[runs->count], err);
    runs->count += status == SELLA_OK;
    return status;
}

static bool is_run(const char *path)
{
    char *file = sella_path_join(path, "run.json", NULL);
    const bool there = file && sella_path_exists(file);
    free(file);
    return there;
}

/* Runs at or below path, by name. */
static sella_status search(sella_runs *runs, const char *path, int depth, const sella_talk *talk,
                           sella_err *err)
{
    sella_status status = SELLA_OK;
    char **name = NULL;
    size_t count = 0;
    if (is_run(path)) {
        sella_err why = {0};
        status = add_run(runs, path, depth > 0 ? &why : err);
        if (status != SELLA_OK && status != SELLA_MEMORY && depth > 0) {
            sella_say(talk, SELLA_LEVEL_WARN, "left out: %s", why.text);
            status = SELLA_OK;
        }
        return status;
    }
    if (depth == DEPTH_MOST) {
        return SELLA_OK;
    }
    SELLA_TRY(sella_dir_list(path, &name, &count, err));
    for (size_t i = 0; i < count; i++) {
        char *below = sella_path_join(path, name[i], NULL);
        if (!below) {
            SELLA_TRY(sella_err_memory(err, "a path", strlen(path)));
        }
        status = sella_path_is_dir(below) ? search(runs, below, depth + 1, talk, err) : SELLA_OK;
        free(below);
        if (status != SELLA_OK) {
            goto done;
        }
    }
done:
    sella_names_free(name, count);
    return status;
}

static bool same_group(const sella_run_facts *a, const sella_run_facts *b)
{
    return strcmp(a->method, b->method) == 0 && strcmp(a->preset, b->preset) == 0 &&
           strcmp(a->checksum, b->checksum) == 0 && strcmp(a->fingerprint, b->fingerprint) == 0 &&
           a->seed != b->seed &&
           json_equal(json_object_get(a->document, "settings"),
                      json_object_get(b->document, "settings"));
}

/* Put run i to an earlier one's group that lacks its seed, or open a group. */
static void group_run(sella_runs *runs, int i)
{
    sella_run_facts *run = &runs->run[i];
    for (int k = 0; k < runs->count && run->group < 0; k++) {
        bool fits = runs->run[k].group >= 0 && same_group(run, &runs->run[k]);
        int seeds = 0;
        for (int other = 0; other < runs->count && fits; other++) {
            const bool beside = runs->run[other].group == runs->run[k].group;
            seeds += beside;
            fits = (!beside || runs->run[other].seed != run->seed) && seeds < SEEDS_MOST;
        }
        run->group = fits ? runs->run[k].group : -1;
    }
    run->group = run->group < 0 ? runs->groups++ : run->group;
}

/* Complete runs first: an unfinished copy of one must not take its place. */
static void group_runs(sella_runs *runs)
{
    for (int complete = 1; complete >= 0; complete--) {
        for (int i = 0; i < runs->count; i++) {
            if ((runs->run[i].result != NULL) == complete) {
                group_run(runs, i);
            }
        }
    }
}

sella_status sella_runs_read(const char *const *path_n, int n, const sella_talk *talk,
                             sella_runs *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    *out = (sella_runs){0};
    for (int i = 0; i < n; i++) {
        const int before = out->count;
        SELLA_TRY(search(out, path_n[i], 0, talk, err));
        if (out->count == before) {
            status = sella_err_set(err, SELLA_MISSING,
                                   "%s: holds no run that can be read (a folder with run.json)",
                                   path_n[i]);
            goto done;
        }
    }
    group_runs(out);
done:
    if (status != SELLA_OK) {
        sella_runs_release(out);
    }
    return status;
}

const sella_run_facts *sella_runs_first(const sella_runs *runs, int group)
{
    const sella_run_facts *found = NULL;
    for (int i = 0; i < runs->count; i++) {
        if (runs->run[i].group == group && (!found || (!found->result && runs->run[i].result))) {
            found = &runs->run[i];
        }
    }
    return found;
}

double sella_metrics_figure(const sella_metrics *m, sella_figure_of which)
{
    switch (which) {
    case SELLA_OF_AUC: return m->all.auc;
    case SELLA_OF_UAUC: return m->all.uauc;
    case SELLA_OF_LOGLOSS: return m->all.logloss;
    case SELLA_OF_WARM_AUC: return m->has_warm ? m->warm.auc : NAN;
    case SELLA_OF_WARM_UAUC: return m->has_warm ? m->warm.uauc : NAN;
    case SELLA_OF_COLD_AUC: return m->has_warm ? m->cold.auc : NAN;
    case SELLA_OF_COLD_UAUC: return m->has_warm ? m->cold.uauc : NAN;
    default: return NAN;
    }
}

sella_mean sella_mean_of(const double *value_n, int n)
{
    double sum = 0, square = 0;
    int count = 0;
    for (int i = 0; i < n; i++) {
        sum += isfinite(value_n[i]) ? value_n[i] : 0;
        count += isfinite(value_n[i]);
    }
    const double mean = count > 0 ? sum / count : NAN;
    for (int i = 0; i < n; i++) {
        square += isfinite(value_n[i]) ? (value_n[i] - mean) * (value_n[i] - mean) : 0;
    }
    return (sella_mean){mean, count > 1 ? sqrt(square / (count - 1)) : NAN, count};
}

sella_mean sella_runs_mean(const sella_runs *runs, int group, sella_split_id split,
                           sella_figure_of which)
{
    double value[SEEDS_MOST];
    int n = 0;
    for (int i = 0; i < runs->count && n < SEEDS_MOST; i++) {
        if (runs->run[i].group == group && runs->run[i].scored[split]) {
            value[n++] = sella_metrics_figure(&runs->run[i].metrics[split], which);
        }
    }
    return sella_mean_of(value, n);
}

int sella_runs_scored(const sella_runs *runs, int group, sella_split_id split)
{
    int n = 0;
    for (int i = 0; i < runs->count; i++) {
        n += runs->run[i].group == group && runs->run[i].scored[split];
    }
    return n;
}
