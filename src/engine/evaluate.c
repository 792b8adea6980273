/* evaluate.c - figures of a run on a split, and the prompt of one row.
 *
 * Easy to get wrong: the split may belong to another data set than the run's. Users and items are
 * then matched by external id, and only rows of the run's own tables have vectors: everything else
 * is unseen.
 */
#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "engine/rank_split.h"
#include "engine/session.h"
#include "eval/metrics.h"
#include "eval/predictions.h"
#include "kernels/activation.h"
#include "methods/score_all.h"

/* Open `path`, or the data set recorded in the run, whose checksum must still agree. */
static sella_status open_dataset(const sella_run *run, const char *path, sella_dataset **out,
                                 sella_err *err)
{
    sella_status status = sella_dataset_open(path != NULL ? path : run->dataset_path, out, err);
    if (status != SELLA_OK) {
        return path != NULL ? status
                            : sella_err_prefix(err, status,
                                               "%s: the data set that it was trained on does not "
                                               "open; name one with --data",
                                               run->path);
    }
    if (path == NULL && strcmp((*out)->checksum, run->dataset_checksum) != 0) {
        status =
            sella_err_set(err, SELLA_STATE,
                          "%s was trained on a data set with checksum %s; %s now has checksum %s: "
                          "name it with --data to use it anyway",
                          run->path, run->dataset_checksum, run->dataset_path, (*out)->checksum);
        sella_dataset_close(*out);
        *out = NULL;
    }
    return status;
}

static sella_status find_split(const sella_dataset *dataset, const char *name, sella_split_id *out,
                               sella_err *err)
{
    int found = sella_split_find(name);
    if (found < 0) {
        return sella_err_set(err, SELLA_ARG, "split '%s' is unknown; expected train, valid or test",
                             name);
    }
    *out = (sella_split_id)found;
    if (dataset->split[found].rows == 0) {
        return sella_err_set(err, SELLA_STATE, "%s has no rows in its %s part", dataset->path,
                             name);
    }
    return SELLA_OK;
}

static sella_status find_row(const sella_dataset *dataset, sella_split_id id, int64_t row,
                             sella_err *err)
{
    if (row < 0 || row >= dataset->split[id].rows) {
        return sella_err_set(err, SELLA_ARG,
                             "row %lld is not in the %s part of %s; expected 0 to %lld",
                             (long long)row, sella_split_name(id), dataset->path,
                             (long long)(dataset->split[id].rows - 1));
    }
    return SELLA_OK;
}

sella_status sella_engine_check(const char *run_path, const char *dataset_path, const char *split,
                                const int64_t *row, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_run *run = NULL;
    sella_dataset *dataset = NULL;
    sella_split_id id = SELLA_SPLIT_TEST;
    if (run_path == NULL) {
        return sella_err_set(err, SELLA_ARG, "the path of a run is needed");
    }
    SELLA_TRY(sella_run_open(run_path, &run, err));
    SELLA_TRY(open_dataset(run, dataset_path, &dataset, err));
    SELLA_TRY(find_split(dataset, split != NULL ? split : "test", &id, err));
    SELLA_TRY(row != NULL ? find_row(dataset, id, *row, err) : SELLA_OK);
done:
    sella_dataset_close(dataset);
    sella_run_close(run);
    return status;
}

/* What eval gathers about the rows it scores, in the order of the split. */
typedef struct eval_rows {
    int64_t count;
    int64_t *index_k; /* rows of the split, ascending */
    int32_t *user_n;
    uint8_t *label_n;
    uint8_t *warm_n;
    double *score_n;
    const char **user_id;
    const char **item_id;
} eval_rows;

static void eval_rows_release(eval_rows *rows)
{
    free(rows->index_k);
    free(rows->user_n);
    free(rows->label_n);
    free(rows->warm_n);
    free(rows->score_n);
    free(rows->user_id);
    free(rows->item_id);
}

static sella_status eval_rows_gather(const sella_dataset *dataset, sella_split_id id,
                                     const sella_eval_options *options, eval_rows *rows,
                                     sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_split *split = &dataset->split[id];
    SELLA_TRY(sella_sample_rows(options->rows, SELLA_EVAL_RUN, options->sample_seed, dataset, id,
                                &rows->index_k, &rows->count, err));
    const size_t n = (size_t)rows->count;
    rows->user_n = sella_alloc(n, sizeof *rows->user_n, "the rows to evaluate", err);
    rows->label_n = sella_alloc(n, sizeof *rows->label_n, "the rows to evaluate", err);
    rows->warm_n = sella_alloc(n, sizeof *rows->warm_n, "the rows to evaluate", err);
    rows->score_n = sella_alloc(n, sizeof *rows->score_n, "the rows to evaluate", err);
    rows->user_id = sella_alloc(n, sizeof *rows->user_id, "the rows to evaluate", err);
    rows->item_id = sella_alloc(n, sizeof *rows->item_id, "the rows to evaluate", err);
    if (rows->user_n == NULL || rows->label_n == NULL || rows->warm_n == NULL ||
        rows->score_n == NULL || rows->user_id == NULL || rows->item_id == NULL) {
        SELLA_TRY(SELLA_MEMORY);
    }
    for (int64_t k = 0; k < rows->count; k++) {
        const int64_t row = rows->index_k[k];
        rows->user_n[k] = split->user_n[row];
        rows->label_n[k] = split->label_n[row];
        rows->warm_n[k] = split->warm_n[row];
        rows->user_id[k] = dataset->user_id[split->user_n[row]];
        rows->item_id[k] = dataset->item_id[split->item_n[row]];
    }
done:
    return status;
}

static sella_status eval_score(sella_engine *engine, const sella_dataset *dataset,
                               sella_split_id id, eval_rows *rows, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_query *query_n = NULL;
    int32_t *pool = NULL;
    SELLA_TRY(sella_queries_from_split(engine->run, dataset, id, rows->index_k, rows->count,
                                       &query_n, &pool, err));
    SELLA_TRY(sella_score_all(engine->scorer, query_n, rows->count, rows->score_n, "scoring", NULL,
                              0.0, sella_engine_scoring_talk(engine), err));
    for (int64_t k = 0; k < rows->count; k++) {
        rows->score_n[k] = sella_sigmoid(rows->score_n[k]);
    }
done:
    free(query_n);
    free(pool);
    return status;
}

/* RUN/predictions-SPLIT.csv unless another file is named; a sample has a name of its own, so that
 * it replaces neither all rows nor what training wrote. */
static char *predictions_path(const sella_engine *engine, const sella_eval_options *options,
                              const char *split, bool sample)
{
    if (options->predictions != NULL) {
        return sella_path_join(options->predictions, (char *)NULL);
    }
    char name[128];
    if (sample) {
        snprintf(name, sizeof name, "predictions-%s-rows-%lld-seed-%llu.csv", split,
                 (long long)options->rows, (unsigned long long)options->sample_seed);
    } else {
        snprintf(name, sizeof name, "predictions-%s.csv", split);
    }
    return sella_run_file(engine->run, name);
}

/* ---- subsets ---- */

enum { STRICT_ROWS = 3 }; // strict warm: user and item have more train rows than this

/* Train rows of each user or item. */
static int32_t *count_train(const sella_dataset *dataset, const int32_t *code_n, int32_t codes,
                            sella_err *err)
{
    int32_t *count = sella_alloc((size_t)codes, sizeof *count, "counts of train rows", err);
    for (int64_t n = 0; count != NULL && n < dataset->split[SELLA_SPLIT_TRAIN].rows; n++) {
        count[code_n[n]]++;
    }
    return count;
}

static bool subset_known(const char *name)
{
    return strcmp(name, "warm") == 0 || strcmp(name, "cold") == 0 ||
           strcmp(name, "user-cold") == 0 || strcmp(name, "item-cold") == 0 ||
           strcmp(name, "strict-warm") == 0;
}

/* Is the row in the subset? user and item: how many train rows theirs have. */
static bool in_subset(const char *name, int32_t user, int32_t item)
{
    if (strcmp(name, "user-cold") == 0) {
        return user == 0;
    }
    return strcmp(name, "item-cold") == 0 ? item == 0 : user > STRICT_ROWS && item > STRICT_ROWS;
}

/* The subsets of options->by, added to figures["subsets"]. */
static sella_status add_subsets(const sella_dataset *dataset, sella_split_id id,
                                const sella_eval_options *options, const eval_rows *rows,
                                json_t *figures, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_split *train = &dataset->split[SELLA_SPLIT_TRAIN], *split = &dataset->split[id];
    uint8_t *member = sella_alloc((size_t)rows->count, 1, "a subset", err);
    int32_t *user_rows = count_train(dataset, train->user_n, dataset->users, err);
    int32_t *item_rows = count_train(dataset, train->item_n, dataset->items, err);
    if (member == NULL || user_rows == NULL || item_rows == NULL) {
        SELLA_TRY(SELLA_MEMORY);
    }
    for (int b = 0; b < options->by_count; b++) {
        sella_figures part;
        if (json_object_get(json_object_get(figures, "subsets"), options->by[b]) != NULL) {
            continue; // warm, cold, or asked for twice
        }
        for (int64_t k = 0; k < rows->count; k++) {
            const int64_t row = rows->index_k[k];
            member[k] = in_subset(options->by[b], user_rows[split->user_n[row]],
                                  item_rows[split->item_n[row]]);
        }
        SELLA_TRY(sella_figures_compute(rows->user_n, rows->label_n, rows->score_n, member,
                                        rows->count, &part, err));
        if (json_object_set_new(json_object_get(figures, "subsets"), options->by[b],
                                sella_subset_object(&part)) != 0) {
            SELLA_TRY(sella_err_memory(err, "the figures", 0));
        }
    }
done:
    free(member);
    free(user_rows);
    free(item_rows);
    return status;
}

static sella_status check_eval(const sella_eval_options *options, sella_err *err)
{
    if (options->rows < 0) {
        return sella_err_set(err, SELLA_ARG, "a sample of %lld rows cannot be drawn",
                             (long long)options->rows);
    }
    for (int b = 0; b < options->by_count; b++) {
        if (!subset_known(options->by[b])) {
            return sella_err_set(
                err, SELLA_ARG,
                "subset '%s' is unknown; expected warm, cold, user-cold, item-cold or strict-warm",
                options->by[b]);
        }
    }
    return SELLA_OK;
}

/* What was asked for beside the figures that are always there. */
static sella_status add_more(const sella_engine *engine, const sella_dataset *dataset,
                             sella_split_id id, const sella_eval_options *options,
                             const eval_rows *rows, json_t *figures, sella_err *err)
{
    json_t *ranking = NULL;
    sella_status status =
        options->by_count > 0 ? add_subsets(dataset, id, options, rows, figures, err) : SELLA_OK;
    if (status == SELLA_OK && options->ranking != NULL) {
        status = sella_rank_split(engine, dataset, id, rows->index_k, rows->count, options->ranking,
                                  &ranking, err);
        if (status == SELLA_OK && json_object_set_new(figures, "ranking", ranking) != 0) {
            status = sella_err_memory(err, "the figures", 0);
        }
    }
    return status;
}

sella_status sella_engine_eval(sella_engine *engine, const sella_eval_options *options, char **json,
                               sella_err *err)
{
    static const sella_eval_options none = {0};
    sella_status status = SELLA_OK;
    sella_dataset *dataset = NULL;
    eval_rows rows = {0};
    json_t *figures = NULL;
    char *path = NULL;
    sella_split_id id = SELLA_SPLIT_TEST;
    *json = NULL;
    options = options != NULL ? options : &none;
    const char *split = options->split != NULL ? options->split : "test";
    SELLA_TRY(check_eval(options, err));
    SELLA_TRY(open_dataset(engine->run, options->dataset, &dataset, err));
    SELLA_TRY(find_split(dataset, split, &id, err));
    SELLA_TRY(eval_rows_gather(dataset, id, options, &rows, err));
    if (rows.count < dataset->split[id].rows) {
        sella_say(engine->talk, SELLA_LEVEL_INFO,
                  "a seeded sample of %lld of the %lld %s rows is evaluated (seed %llu)",
                  (long long)rows.count, (long long)dataset->split[id].rows, split,
                  (unsigned long long)options->sample_seed);
    }
    path = predictions_path(engine, options, split, rows.count < dataset->split[id].rows);
    if (path == NULL) {
        SELLA_TRY(sella_err_memory(err, "a path", 0));
    }
    SELLA_TRY(sella_write_try(path, err));
    SELLA_TRY(eval_score(engine, dataset, id, &rows, err));
    SELLA_TRY(sella_figures_json(engine->run->method, dataset->name, split, rows.user_n,
                                 rows.label_n, rows.score_n, rows.warm_n, rows.count, &figures,
                                 err));
    SELLA_TRY(add_more(engine, dataset, id, options, &rows, figures, err));
    *json = sella_json_line(figures);
    if (*json == NULL) {
        SELLA_TRY(sella_err_memory(err, "the figures", 0));
    }
    SELLA_TRY(sella_predictions_write(path, rows.user_id, rows.item_id, rows.label_n, rows.score_n,
                                      rows.warm_n, rows.count, err));
    sella_say(engine->talk, SELLA_LEVEL_INFO, "predictions: %s", path);
done:
    if (status != SELLA_OK) {
        free(*json);
        *json = NULL;
    }
    free(path);
    json_decref(figures);
    eval_rows_release(&rows);
    sella_dataset_close(dataset);
    return status;
}

static const char *slot_name(uint8_t slot)
{
    switch (slot) {
    case SELLA_SLOT_USER: return "user";
    case SELLA_SLOT_ITEM: return "item";
    case SELLA_SLOT_WARM: return "warm";
    default: return NULL;
    }
}

/* The object of `inspect prompt` from one rendered row. */
static sella_status prompt_json(const sella_engine *engine, const sella_rows *rows, double label,
                                double score, char **json, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_text text = {0};
    json_t *object = json_object();
    json_t *ids = json_array();
    json_t *soft = json_array();
    json_t *labels = json_object();
    const int n = (int)(rows->start[1] - rows->start[0]);
    SELLA_TRY(sella_tokenizer_decode(sella_backbone_tokenizer(engine->backbone), rows->token, n,
                                     &text, err));
    for (int i = 0; i < n; i++) {
        json_array_append_new(ids, json_integer(rows->token[i]));
        const char *name = slot_name(rows->slot[i]);
        if (name != NULL) {
            json_array_append_new(soft, json_pack("{s:s, s:i}", "slot", name, "position", i));
        }
    }
    json_object_set_new(labels, "yes", json_integer(engine->scorer->yes_id));
    json_object_set_new(labels, "no", json_integer(engine->scorer->no_id));
    json_object_set_new(object, "text",
                        json_stringn(text.data != NULL ? text.data : "", text.size));
    json_object_set(object, "ids", ids);
    json_object_set(object, "soft", soft);
    json_object_set_new(object, "answer_position", json_integer(n - 1));
    json_object_set(object, "label_ids", labels);
    json_object_set_new(object, "label", json_integer((json_int_t)label));
    json_object_set_new(object, "score", sella_json_real(score));
    *json = sella_json_line(object);
    if (*json == NULL) {
        status = sella_err_memory(err, "a prompt", 0);
    }
done:
    json_decref(labels);
    json_decref(soft);
    json_decref(ids);
    json_decref(object);
    sella_text_release(&text);
    return status;
}

sella_status sella_engine_prompt(sella_engine *engine, const char *dataset_path, const char *split,
                                 int64_t row, char **json, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_dataset *dataset = NULL;
    sella_split_id id = SELLA_SPLIT_TEST;
    sella_query *query = NULL;
    int32_t *pool = NULL;
    sella_rows rows;
    double logit = 0.0;
    *json = NULL;
    sella_rows_init(&rows);
    split = split != NULL ? split : "test";
    if (engine->scorer->ops->prompt == NULL || engine->backbone == NULL) {
        SELLA_TRY(sella_err_set(err, SELLA_UNSUPPORTED, "%s ('%s') scores without prompts",
                                engine->run->path, engine->run->method));
    }
    SELLA_TRY(open_dataset(engine->run, dataset_path, &dataset, err));
    SELLA_TRY(find_split(dataset, split, &id, err));
    SELLA_TRY(find_row(dataset, id, row, err));
    SELLA_TRY(sella_queries_from_split(engine->run, dataset, id, &row, 1, &query, &pool, err));
    SELLA_TRY(engine->scorer->ops->prompt(engine->scorer, query, &rows, err));
    if (rows.count != 1) {
        SELLA_TRY(sella_err_set(err, SELLA_STATE, "%s: %lld prompts were made for one row",
                                engine->run->path, (long long)rows.count));
    }
    SELLA_TRY(engine->scorer->ops->score(engine->scorer, query, 1, &logit, NULL, err));
    SELLA_TRY(prompt_json(engine, &rows, dataset->split[id].label_n[row], sella_sigmoid(logit),
                          json, err));
done:
    sella_rows_release(&rows);
    free(query);
    free(pool);
    sella_dataset_close(dataset);
    return status;
}
