/* import.c - sella_import: options, the job, and what the importers share (data/import.h). */
#include "data/import.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/aside.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "data/dataset_stats.h"
#include "data/protocol.h"

static const char *const format_names[] = {"movielens", "amazon", "recbole", "csv", "split", NULL};
static sella_status (*const format_calls[])(sella_import_job *job, sella_err *err) = {
    sella_import_movielens, sella_import_amazon, sella_import_recbole, sella_import_csv,
    sella_import_split};
static const char *const protocol_names[] = {"time", "ml-1m", "amazon-book", "leave-one-out", NULL};

const char *const *sella_import_formats(void)
{
    return format_names;
}

const char *const *sella_import_protocols(void)
{
    return protocol_names;
}

sella_status sella_events_add(sella_events *events, int32_t user, int32_t item, bool label,
                              int64_t time, sella_err *err)
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

/* False when there are more reasons than there is room for: our own list is short. */
static bool reject_count(sella_rejects *rejects, const char *reason, const sella_err *why)
{
    int r = 0;
    while (r < rejects->reasons && strcmp(rejects->of[r].reason, reason) != 0) {
        r++;
    }
    if (r == SELLA_REJECT_REASONS) {
        return false;
    }
    if (r == rejects->reasons) {
        rejects->of[r].reason = reason;
        snprintf(rejects->of[r].example, sizeof rejects->of[r].example, "%.*s",
                 (int)sizeof rejects->of[r].example - 1, why ? why->text : "");
        rejects->reasons++;
    }
    rejects->of[r].count++;
    return true;
}

sella_status sella_reject(sella_rejects *rejects, const char *reason, sella_status status,
                          const sella_err *why)
{
    bool bad_row = status == SELLA_FORMAT || status == SELLA_MISSING;
    return rejects->skip && bad_row && reject_count(rejects, reason, why) ? SELLA_OK : status;
}

sella_status sella_reject_row(sella_import_job *job, const char *reason, sella_status status,
                              sella_err *why, const char *path, int64_t line, sella_err *err)
{
    if (!why->text[0] || strncmp(why->text, path, strlen(path)) != 0) {
        sella_err_prefix(why, status, "%s:%lld", path, (long long)line);
    }
    status = sella_reject(&job->rejects, reason, status, why);
    return status == SELLA_OK ? SELLA_OK : sella_err_set(err, status, "%s", why->text);
}

static sella_status note_hash(sella_import_job *job, const char *path, uint64_t hash,
                              sella_err *err)
{
    char text[17];
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    json_t *files = json_object_get(job->source, "files");
    if (!files) {
        files = json_array();
        json_object_set_new(job->source, "files", files);
    }
    snprintf(text, sizeof text, "%016" PRIx64, hash);
    json_t *entry =
        json_pack("{s:s, s:s}", "name",
                  sella_utf8_valid(name, strlen(name)) == strlen(name) ? name : "?", "xxh3", text);
    return entry && json_array_append_new(files, entry) == 0
               ? SELLA_OK
               : sella_err_memory(err, "an import", 1024);
}

sella_status sella_import_note(sella_import_job *job, const char *path, const void *data,
                               size_t bytes, sella_err *err)
{
    return note_hash(job, path, sella_hash_bytes(data, bytes, 0), err);
}

sella_status sella_import_note_file(sella_import_job *job, const char *path, sella_err *err)
{
    uint64_t hash = 0;
    sella_status status = sella_hash_file(path, &hash, err);
    return status == SELLA_OK ? note_hash(job, path, hash, err) : status;
}

sella_status sella_import_tick(sella_import_job *job, int64_t row, double done, double total,
                               sella_err *err)
{
    if (row % 65536 != 0) {
        return SELLA_OK;
    }
    const double megabyte = 1e6;
    char note[64];
    double seconds = sella_now() - job->ticked;
    job->rows_ticked += 65536;
    snprintf(note, sizeof note, "%lld rows, %.0f rows/s", (long long)job->rows_ticked,
             seconds > 0 ? (double)job->rows_ticked / seconds : 0.0);
    sella_progress progress = {.talk = job->talk,
                               .what = "import",
                               .unit = "MB",
                               .total = total / megabyte,
                               .start_seconds = job->ticked};
    sella_progress_step(&progress, done / megabyte, note);
    return sella_stop_wanted(job->talk)
               ? sella_err_set(err, SELLA_INTERRUPTED,
                               "the import was stopped; nothing was written")
               : SELLA_OK;
}

sella_status sella_import_need_titles(sella_import_job *job, sella_err *err)
{
    sella_events *events = &job->events;
    const sella_draft *draft = &job->draft;
    int64_t kept = 0;
    for (int64_t e = 0; e < events->count; e++) {
        int32_t item = events->item_n[e];
        if (item >= draft->titles || !draft->title_n[item]) {
            sella_err why = {0};
            sella_err_set(&why, SELLA_MISSING, "item '%s' was rated and has no title",
                          sella_intern_text(&draft->items, item));
            if (job->drop_untitled) {
                reject_count(&job->rejects, "item without title", &why);
            } else if (sella_reject(&job->rejects, "item without title", SELLA_MISSING, &why) !=
                       SELLA_OK) {
                return sella_err_set(err, SELLA_MISSING, "%s (--skip-bad leaves such rows out)",
                                     why.text);
            }
            continue;
        }
        events->user_n[kept] = events->user_n[e];
        events->item_n[kept] = item;
        events->label_n[kept] = events->label_n[e];
        events->time_n[kept++] = events->time_n[e];
    }
    events->count = kept;
    return SELLA_OK;
}

/* Days since 1970-01-01 of a date of the Gregorian calendar (months from 1). */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2; // years begin in March, so that the leap day is the last
    int64_t era = (year >= 0 ? year : year - 399) / 400, of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* Take exactly `digits` digits. */
static bool take_digits(const char **at, const char *end, int digits, int64_t min, int64_t max,
                        int64_t *out)
{
    *out = 0;
    for (int i = 0; i < digits; i++, (*at)++) {
        if (*at >= end || **at < '0' || **at > '9') {
            return false;
        }
        *out = *out * 10 + (**at - '0');
    }
    return *out >= min && *out <= max;
}

static bool take_char(const char **at, const char *end, const char *set)
{
    if (*at < end && strchr(set, **at) && **at) {
        (*at)++;
        return true;
    }
    return false;
}

static bool parse_date(const char *at, const char *end, int64_t *seconds)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t year, month, day, hour = 0, minute = 0, second = 0, zone_hour, zone_minute = 0;
    if (!take_digits(&at, end, 4, 1, 9999, &year) || !take_char(&at, end, "-") ||
        !take_digits(&at, end, 2, 1, 12, &month) || !take_char(&at, end, "-") ||
        !take_digits(&at, end, 2, 1, 31, &day)) {
        return false;
    }
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (day > lengths[month - 1] + (month == 2 && leap)) {
        return false;
    }
    if (take_char(&at, end, "T t")) {
        if (!take_digits(&at, end, 2, 0, 23, &hour) || !take_char(&at, end, ":") ||
            !take_digits(&at, end, 2, 0, 59, &minute)) {
            return false;
        }
        if (take_char(&at, end, ":") && !take_digits(&at, end, 2, 0, 60, &second)) {
            return false;
        }
        if (take_char(&at, end, ".,")) {
            const char *fraction = at;
            while (at < end && *at >= '0' && *at <= '9') {
                at++;
            }
            if (at == fraction) {
                return false;
            }
        }
    }
    *seconds = days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    if (at < end && (*at == '+' || *at == '-')) {
        int64_t sign = *at++ == '+' ? -1 : 1;
        if (!take_digits(&at, end, 2, 0, 23, &zone_hour) ||
            (take_char(&at, end, ":") && at == end) ||
            (at < end && !take_digits(&at, end, 2, 0, 59, &zone_minute))) {
            return false;
        }
        *seconds += sign * (zone_hour * 3600 + zone_minute * 60);
    } else {
        take_char(&at, end, "Zz");
    }
    return at == end && *seconds >= SELLA_TIME_MIN && *seconds <= SELLA_TIME_MAX;
}

sella_status sella_parse_time(const char *text, size_t bytes, int64_t *seconds, sella_err *err)
{
    enum { MILLISECOND = 1000 };
    /* the year 5138 in seconds, 1973 in milliseconds */
    const int64_t seconds_end = INT64_C(100000000000);
    double real;
    if (bytes >= 10 && text[4] == '-' && parse_date(text, text + bytes, seconds)) {
        return SELLA_OK;
    }
    if (sella_parse_int(text, bytes, INT64_MIN, INT64_MAX, "time", seconds, NULL) != SELLA_OK) {
        if (sella_parse_real(text, bytes, -1e17, 1e17, "time", &real, NULL) != SELLA_OK) {
            return sella_err_set(err, SELLA_FORMAT,
                                 "time '%.*s' is neither seconds, milliseconds nor a date such as "
                                 "2001-06-01T00:41:48Z",
                                 (int)(bytes < 40 ? bytes : 40), text);
        }
        *seconds = (int64_t)floor(real);
    }
    if (*seconds >= seconds_end || *seconds <= -seconds_end) {
        *seconds = *seconds / MILLISECOND - (*seconds % MILLISECOND < 0);
    }
    if (*seconds < SELLA_TIME_MIN || *seconds > SELLA_TIME_MAX) {
        return sella_err_set(err, SELLA_FORMAT, "time %.*s is outside the years 1 to 9999",
                             (int)(bytes < 40 ? bytes : 40), text);
    }
    return SELLA_OK;
}

static void events_release(sella_events *events)
{
    free(events->user_n);
    free(events->item_n);
    free(events->label_n);
    free(events->time_n);
    *events = (sella_events){0};
}

static void job_release(sella_import_job *job)
{
    sella_draft_release(&job->draft);
    events_release(&job->events);
    json_decref(job->rules);
    json_decref(job->source);
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
static sella_status unknown_word(const char *what, const char *word, const char *const *words,
                                 sella_err *err)
{
    sella_text list = {0};
    int count = 0;
    while (words[count]) {
        count++;
    }
    for (int i = 0; i < count; i++) {
        sella_text_format(&list, NULL, "%s%s",
                          i == 0          ? ""
                          : i + 1 < count ? ", "
                                          : " or ",
                          words[i]);
    }
    sella_status status = sella_err_set(err, SELLA_ARG, "unknown %s '%s'; expected %s", what, word,
                                        list.data ? list.data : "");
    sella_text_release(&list);
    return status;
}

static sella_status fractions_check(const sella_import_options *o, sella_err *err)
{
    const double *f = o->fractions;
    if (f[0] == 0 && f[1] == 0 && f[2] == 0) {
        return SELLA_OK;
    }
    if (o->protocol && strcmp(o->protocol, "time") != 0) {
        return sella_err_set(err, SELLA_ARG, "fractions apply to the protocol time only");
    }
    if (!(f[0] > 0 && f[1] >= 0 && f[2] >= 0 && fabs(f[0] + f[1] + f[2] - 1) < 1e-6)) {
        return sella_err_set(err, SELLA_ARG,
                             "fractions %g,%g,%g are not three parts of 1 with a first above 0",
                             f[0], f[1], f[2]);
    }
    return SELLA_OK;
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
    bool csv = strcmp(o->format, "csv") == 0, recbole = strcmp(o->format, "recbole") == 0,
         amazon = strcmp(o->format, "amazon") == 0;
    if (amazon && o->input_count != 2) {
        return sella_err_set(
            err, SELLA_ARG,
            "format amazon takes two inputs, the reviews and the metadata; %d %s given",
            o->input_count, o->input_count == 1 ? "was" : "were");
    }
    if (recbole && o->input_count > 2) {
        return sella_err_set(
            err, SELLA_ARG,
            "format recbole takes NAME.inter and perhaps NAME.item; %d inputs were given",
            o->input_count);
    }
    if (o->input_count > 1 && !csv && !recbole && !amazon) {
        return sella_err_set(err, SELLA_ARG, "format %s takes one input; %d were given", o->format,
                             o->input_count);
    }
    if (split && (o->protocol || o->like_at != 0 || o->like_at_given || o->fractions[0] != 0)) {
        return sella_err_set(err, SELLA_ARG,
                             "format split is split and labelled already; protocol, like-at and "
                             "fractions do not apply");
    }
    if (split && o->skip_bad) {
        return sella_err_set(err, SELLA_ARG,
                             "format split is taken as it is; skip-bad does not apply");
    }
    if (o->columns && !csv && !recbole) {
        return sella_err_set(err, SELLA_ARG, "columns applies to the formats csv and recbole only");
    }
    if (o->items && !csv) {
        return sella_err_set(err, SELLA_ARG, "items applies to the format csv only");
    }
    if (o->protocol && find_word(protocol_names, o->protocol) < 0) {
        return unknown_word("protocol", o->protocol, protocol_names, err);
    }
    if (!isfinite(o->like_at)) {
        return sella_err_set(err, SELLA_ARG, "like-at is not a finite number");
    }
    sella_status status = fractions_check(o, err);
    if (status != SELLA_OK) {
        return status;
    }
    if (o->noun && !sella_noun_known(o->noun)) {
        return sella_err_set(err, SELLA_ARG, "unknown noun '%s'; expected movie, book or item",
                             o->noun);
    }
    return SELLA_OK;
}

/* {"format", "inputs": [names without folders]}: a data set says where it is from without telling
 * the folders of a machine. */
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

/* What was left out is a fact about the data set. */
static sella_status note_rejects(sella_import_job *job, sella_err *err)
{
    if (job->rejects.reasons == 0) {
        return SELLA_OK;
    }
    json_t *rejected = json_object();
    for (int r = 0; r < job->rejects.reasons; r++) {
        json_object_set_new(rejected, job->rejects.of[r].reason,
                            json_integer(job->rejects.of[r].count));
    }
    return json_object_set_new(job->source, "rejected", rejected) == 0
               ? SELLA_OK
               : sella_err_memory(err, "an import", 1024);
}

/* Said before the rows are cut: what was left out may be why a split is empty. */
static void say_rejects(const sella_import_job *job)
{
    for (int r = 0; r < job->rejects.reasons; r++) {
        sella_say(job->talk, SELLA_LEVEL_WARN, "rows left out: %lld (%s); the first: %s",
                  (long long)job->rejects.of[r].count, job->rejects.of[r].reason,
                  job->rejects.of[r].example);
    }
}

static sella_status report(const sella_import_job *job, char **json, sella_err *err)
{
    json_t *known = json_object_get(job->source, "rejected"),
           *rejected = known ? json_incref(known) : json_object(), *stats = NULL;
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

sella_status sella_import_with(const sella_import_options *options,
                               sella_status (*fill)(sella_import_job *job, void *context,
                                                    sella_err *err),
                               void *context, const sella_talk *talk, char **json, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_import_job job = {
        .options = options, .talk = talk, .rejects.skip = options->skip_bad != 0};
    if (json) {
        *json = NULL;
    }
    SELLA_TRY(sella_aside_check(options->output, err));
    job.protocol = options->protocol                       ? options->protocol
                   : strcmp(options->format, "split") == 0 ? "split"
                                                           : "time";
    job.like_at = options->like_at != 0 || options->like_at_given ? options->like_at
                  : strcmp(job.protocol, "amazon-book") == 0      ? 5
                                                                  : 4;
    job.ticked = sella_now();
    job.noun = options->noun                                   ? options->noun
               : strcmp(options->format, "movielens") == 0     ? "movie"
               : strcmp(job.protocol, "amazon-book") == 0      ? "book"
                                                               : "item";
    job.rules = json_object();
    job.source = source_json(options);
    if (!job.rules || !job.source) {
        status = sella_err_memory(err, "an import", 1024);
        goto done;
    }
    SELLA_TRY(fill(&job, context, err));
    if (job.events.count > 0 || strcmp(options->format, "split") != 0) {
        SELLA_TRY(sella_import_need_titles(&job, err));
        say_rejects(&job);
        SELLA_TRY(sella_protocol_apply(&job, err));
        events_release(&job.events); // they are rows now
    }
    SELLA_TRY(note_rejects(&job, err));
    sella_draft_about about = {
        .noun = job.noun, .protocol = job.protocol, .source = job.source, .rules = job.rules};
    SELLA_TRY(sella_draft_write(&job.draft, &about, options->output, talk, err));
    SELLA_TRY(report(&job, json, err));
done:
    job_release(&job);
    return status;
}

static sella_status by_format(sella_import_job *job, void *context, sella_err *err)
{
    return format_calls[*(const int *)context](job, err);
}

sella_status sella_import(const sella_import_options *options, const sella_talk *talk, char **json,
                          sella_err *err)
{
    int format;
    if (json) {
        *json = NULL;
    }
    sella_status status = options_check(options, &format, err);
    return status == SELLA_OK ? sella_import_with(options, by_format, &format, talk, json, err)
                              : status;
}
