/* import.c - sella_import: options, the job, and what the importers share (data/import.h). */
#include "data/import.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "data/dataset_stats.h"

static const char *const format_names[] = {"split", NULL};
static sella_status (*const format_calls[])(sella_import_job *job, sella_err *err) = {sella_import_split};

const char *const *sella_import_formats(void)
{
    return format_names;
}

sella_status sella_events_add(sella_events *events, int32_t user, int32_t item, bool label, int64_t time, sella_err *err)
{
    if (events->count == events->capacity) {
        size_t n = (size_t)events->capacity * 2 + 4096;
        int32_t *u = realloc(events->user_n, n * sizeof *u);
        events->user_n = u ? u : events->user_n;
        int32_t *i = realloc(events->item_n, n * sizeof *i);
        events->item_n = i ? i : events->item_n;
        uint8_t *l = realloc(events->label_n, n * sizeof *l);
        events->label_n = l ? l : events->label_n;
        int64_t *t = realloc(events->time_n, n * sizeof *t);
        events->time_n = t ? t : events->time_n;
        if (!u || !i || !l || !t) {
            return sella_err_memory(err, "ratings", n * 17);
        }
        events->capacity = (int64_t)n;
    }
    int64_t e = events->count++;
    events->user_n[e] = user;
    events->item_n[e] = item;
    events->label_n[e] = label;
    events->time_n[e] = time;
    return SELLA_OK;
}

sella_status sella_reject(sella_rejects *rejects, const char *reason, sella_status status, const sella_err *why)
{
    if (!rejects->skip || (status != SELLA_FORMAT && status != SELLA_MISSING)) {
        return status;
    }
    int r = 0;
    while (r < rejects->reasons && strcmp(rejects->of[r].reason, reason) != 0) {
        r++;
    }
    if (r == SELLA_REJECT_REASONS) {
        return status; // more reasons than there are: our own list is short
    }
    if (r == rejects->reasons) {
        rejects->of[r].reason = reason;
        snprintf(rejects->of[r].example, sizeof rejects->of[r].example, "%.*s",
                 (int)sizeof rejects->of[r].example - 1, why ? why->text : "");
        rejects->reasons++;
    }
    rejects->of[r].count++;
    return SELLA_OK;
}

static void job_release(sella_import_job *job)
{
    sella_draft_release(&job->draft);
    free(job->events.user_n);
    free(job->events.item_n);
    free(job->events.label_n);
    free(job->events.time_n);
    json_decref(job->rules);
}

static int find_word(const char *const *words, const char *word)
{
    for (int i = 0; words[i]; i++) {
        if (strcmp(words[i], word) == 0) {
            return i;
        }
    }
    return -1;
}

/* "unknown WHAT 'x'; expected a, b or c". */
static sella_status unknown_word(const char *what, const char *word, const char *const *words, sella_err *err)
{
    sella_text list = {0};
    int count = 0;
    while (words[count]) {
        count++;
    }
    for (int i = 0; i < count; i++) {
        sella_text_format(&list, NULL, "%s%s", i == 0 ? "" : i + 1 < count ? ", " : " or ", words[i]);
    }
    sella_status status = sella_err_set(err, SELLA_ARG, "unknown %s '%s'; expected %s", what, word, list.data ? list.data : "");
    sella_text_release(&list);
    return status;
}

static sella_status options_check(const sella_import_options *o, int *format, sella_err *err)
{
    *format = o->format ? find_word(format_names, o->format) : -1;
    if (*format < 0) {
        return unknown_word("format", o->format ? o->format : "", format_names, err);
    }
    if (o->input_count < 1 || !o->output || !o->output[0]) {
        return sella_err_set(err, SELLA_ARG, "import needs an input and an output folder");
    }
    bool split = strcmp(o->format, "split") == 0;
    if (o->input_count > 1) {
        return sella_err_set(err, SELLA_ARG, "format %s takes one input; %d were given", o->format, o->input_count);
    }
    if (split && (o->protocol || o->like_at != 0 || o->fractions[0] != 0)) {
        return sella_err_set(err, SELLA_ARG, "format split is split and labelled already; protocol, like-at and fractions do not apply");
    }
    if (split && o->skip_bad) {
        return sella_err_set(err, SELLA_ARG, "format split is taken as it is; skip-bad does not apply");
    }
    if (o->columns || o->items) {
        return sella_err_set(err, SELLA_ARG, "columns and items apply to the format csv only");
    }
    if (o->noun && !sella_noun_known(o->noun)) {
        return sella_err_set(err, SELLA_ARG, "unknown noun '%s'; expected movie, book or item", o->noun);
    }
    return SELLA_OK;
}

/* {"format", "inputs": [names without folders]}: a data set says where it is from without telling the folders of a machine. */
static json_t *source_json(const sella_import_options *o)
{
    json_t *names = json_array();
    for (int i = 0; i < o->input_count; i++) {
        char *real = realpath(o->inputs[i], NULL);
        const char *slash = real ? strrchr(real, '/') : NULL;
        json_array_append_new(names, json_string(slash ? slash + 1 : o->inputs[i]));
        free(real);
    }
    return json_pack("{s:s, s:o}", "format", o->format, "inputs", names);
}

static sella_status report(const sella_import_job *job, char **json, sella_err *err)
{
    json_t *rejected = json_object(), *stats = NULL;
    for (int r = 0; r < job->rejects.reasons; r++) {
        sella_say(job->talk, SELLA_LEVEL_WARN, "left out %lld rows (%s), the first: %s", (long long)job->rejects.of[r].count,
                  job->rejects.of[r].reason, job->rejects.of[r].example);
        json_object_set_new(rejected, job->rejects.of[r].reason, json_integer(job->rejects.of[r].count));
    }
    sella_status status = SELLA_OK;
    if (json) {
        status = sella_stats_json(job->options->output, &stats, err);
        if (status == SELLA_OK) {
            json_object_set(stats, "rejected", rejected);
            *json = sella_json_line(stats);
            status = *json ? SELLA_OK : sella_err_memory(err, "a report", 1024);
        }
    }
    json_decref(rejected);
    json_decref(stats);
    return status;
}

sella_status sella_import(const sella_import_options *options, const sella_talk *talk, char **json, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_import_job job = {.options = options, .talk = talk, .rejects.skip = options->skip_bad != 0};
    json_t *source = NULL;
    int format;
    if (json) {
        *json = NULL;
    }
    SELLA_TRY(options_check(options, &format, err));
    SELLA_TRY(sella_target_check(options->output, err));
    job.protocol = options->protocol ? options->protocol : strcmp(options->format, "split") == 0 ? "split" : "time";
    job.noun = options->noun ? options->noun : strcmp(options->format, "movielens") == 0 ? "movie" : "item";
    job.rules = json_object();
    source = source_json(options);
    if (!job.rules || !source) {
        status = sella_err_memory(err, "an import", 1024);
        goto done;
    }
    SELLA_TRY(format_calls[format](&job, err));
    sella_draft_about about = {.noun = job.noun, .protocol = job.protocol, .source = source, .rules = job.rules};
    SELLA_TRY(sella_draft_write(&job.draft, &about, options->output, talk, err));
    SELLA_TRY(report(&job, json, err));
done:
    job_release(&job);
    json_decref(source);
    return status;
}
