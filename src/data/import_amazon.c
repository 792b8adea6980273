/* import_amazon.c - Amazon's reviews and metadata as McAuley's group published them in 2014, 2018
 * and 2023, one object a line.
 *
 *       user        item                    rating   time
 * 2014  reviewerID  asin                    overall  unixReviewTime (seconds)
 * 2018  reviewerID  asin                    overall  unixReviewTime (seconds)
 * 2023  user_id     parent_asin, else asin  rating   timestamp (milliseconds)
 *
 * Metadata: 2014 Python literals: asin, title; 2018 JSON: asin, title; 2023 JSON: parent_asin,
 * title.
 *
 * Reviews are read first, so that of the metadata, which covers every product that ever was, only
 * titles of reviewed items are kept.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "data/import.h"
#include "data/line_object.h"
#include "data/line_stream.h"
#include "data/protocol.h"
#include "data/title_text.h"

typedef enum release { UNKNOWN, OF_2014, OF_2018, OF_2023 } release;
static const char *const release_names[] = {"2014 or 2018", "2014", "2018", "2023"};

enum { REVIEWS, METADATA };

enum {
    R_USER,
    R_ITEM,
    R_RATING,
    R_TIME,
    R_HELPFUL,
    R_VERIFIED,
    R_USER_23,
    R_PARENT,
    R_RATING_23,
    R_TIME_23,
    R_SORT_TIME,
    R_FIELDS
};
static const sella_line_name review_names[R_FIELDS] = {
    [R_USER] = SELLA_LINE_NAME("reviewerID"),          [R_ITEM] = SELLA_LINE_NAME("asin"),
    [R_RATING] = SELLA_LINE_NAME("overall"),           [R_TIME] = SELLA_LINE_NAME("unixReviewTime"),
    [R_HELPFUL] = SELLA_LINE_NAME("helpful"),          [R_VERIFIED] = SELLA_LINE_NAME("verified"),
    [R_USER_23] = SELLA_LINE_NAME("user_id"),          [R_PARENT] = SELLA_LINE_NAME("parent_asin"),
    [R_RATING_23] = SELLA_LINE_NAME("rating"),         [R_TIME_23] = SELLA_LINE_NAME("timestamp"),
    [R_SORT_TIME] = SELLA_LINE_NAME("sort_timestamp"),
};

enum {
    M_ITEM,
    M_PARENT,
    M_TITLE,
    M_IMAGE_14,
    M_RANK_14,
    M_ALSO_18,
    M_MAIN_18,
    M_USER,
    M_USER_23,
    M_FIELDS
};
static const sella_line_name metadata_names[M_FIELDS] = {
    [M_ITEM] = SELLA_LINE_NAME("asin"),         [M_PARENT] = SELLA_LINE_NAME("parent_asin"),
    [M_TITLE] = SELLA_LINE_NAME("title"),       [M_IMAGE_14] = SELLA_LINE_NAME("imUrl"),
    [M_RANK_14] = SELLA_LINE_NAME("salesRank"), [M_ALSO_18] = SELLA_LINE_NAME("also_buy"),
    [M_MAIN_18] = SELLA_LINE_NAME("main_cat"),  [M_USER] = SELLA_LINE_NAME("reviewerID"),
    [M_USER_23] = SELLA_LINE_NAME("user_id"),
};

typedef struct amazon {
    sella_import_job *job;
    bool started, is_2023; // told by the first good review
    release of[2];         // REVIEWS, METADATA
    int64_t rows[2];
    bool has_window;
    int64_t from, to;
    double done_before, total; // bytes of files that are read, and of both
    uint8_t *met_n;            // [items] a record of the metadata has come
    int64_t repeated, cut, scripts;
    sella_text user, item, title;
} amazon;

/* A field that must be a text, without its escapes. */
static sella_status need_text(const sella_line_value *value, const char *name, sella_text *room,
                              const char **text, size_t *bytes, sella_err *err)
{
    if (value->kind == SELLA_LINE_ABSENT) {
        return sella_err_set(err, SELLA_FORMAT, "the line has no '%s'", name);
    }
    if (value->kind != SELLA_LINE_TEXT) {
        return sella_err_set(err, SELLA_FORMAT, "'%s' is %s; expected a text", name,
                             sella_line_kind_text(value->kind));
    }
    *text = value->data;
    *bytes = value->bytes;
    if (!value->escaped) {
        return SELLA_OK;
    }
    sella_status status = sella_line_text(value, room, err);
    *text = room->data ? room->data : "";
    *bytes = room->size;
    return status;
}

static sella_status need_number(const sella_line_value *value, const char *name, sella_err *err)
{
    if (value->kind == SELLA_LINE_NUMBER) {
        return SELLA_OK;
    }
    return value->kind == SELLA_LINE_ABSENT
               ? sella_err_set(err, SELLA_FORMAT, "the line has no '%s'", name)
               : sella_err_set(err, SELLA_FORMAT, "'%s' is %s; expected a number", name,
                               sella_line_kind_text(value->kind));
}

/* ---- reviews ---- */

static sella_status take_review(amazon *a, const sella_line_value *value_n, const char **reason,
                                sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_import_job *job = a->job;
    bool old = value_n[R_USER].kind != SELLA_LINE_ABSENT,
         new = value_n[R_USER_23].kind != SELLA_LINE_ABSENT,
         is_2023 = a->started ? a->is_2023 : new;
    const char *user = "", *item = "";
    size_t user_bytes = 0, item_bytes = 0;
    double rating;
    int64_t time;
    int32_t u, i;
    *reason = "user id";
    if (!a->started && old == new) {
        return sella_err_set(err, SELLA_FORMAT,
                             "the line has %s 'reviewerID' (2014, 2018) %s 'user_id' (2023); "
                             "expected reviews, then metadata",
                             old ? "both" : "neither", old ? "and" : "nor");
    }
    int user_field = is_2023 ? R_USER_23 : R_USER, rating_field = is_2023 ? R_RATING_23 : R_RATING;
    int item_field = is_2023 && value_n[R_PARENT].kind != SELLA_LINE_ABSENT ? R_PARENT : R_ITEM;
    int time_field = !is_2023 ? R_TIME
                     : value_n[R_TIME_23].kind == SELLA_LINE_ABSENT &&
                             value_n[R_SORT_TIME].kind != SELLA_LINE_ABSENT
                         ? R_SORT_TIME
                         : R_TIME_23;
    SELLA_TRY(need_text(&value_n[user_field], review_names[user_field].text, &a->user, &user,
                        &user_bytes, err));
    SELLA_TRY(sella_id_check(user, user_bytes, "user", err));
    *reason = "item id";
    SELLA_TRY(need_text(&value_n[item_field], review_names[item_field].text, &a->item, &item,
                        &item_bytes, err));
    SELLA_TRY(sella_id_check(item, item_bytes, "item", err));
    *reason = "rating";
    SELLA_TRY(need_number(&value_n[rating_field], review_names[rating_field].text, err));
    SELLA_TRY(sella_parse_real(value_n[rating_field].data, value_n[rating_field].bytes, 0, 5,
                               "rating", &rating, err));
    *reason = "time";
    SELLA_TRY(need_number(&value_n[time_field], review_names[time_field].text, err));
    SELLA_TRY(sella_parse_time(value_n[time_field].data, value_n[time_field].bytes, &time, err));
    a->started = true;
    a->is_2023 = is_2023;
    if (a->of[REVIEWS] == UNKNOWN) {
        a->of[REVIEWS] = is_2023                                             ? OF_2023
                         : value_n[R_HELPFUL].kind != SELLA_LINE_ABSENT  ? OF_2014
                         : value_n[R_VERIFIED].kind != SELLA_LINE_ABSENT ? OF_2018
                                                                         : UNKNOWN;
    }
    if (a->has_window && (time < a->from || time >= a->to)) {
        job->outside++;
        goto done;
    }
    SELLA_TRY(sella_intern_add(&job->draft.users, user, user_bytes, &u, NULL, err));
    SELLA_TRY(sella_intern_add(&job->draft.items, item, item_bytes, &i, NULL, err));
    status = sella_events_add(&job->events, u, i, rating >= job->like_at, time, err);
done:
    return status;
}

/* ---- metadata ---- */

static release metadata_release(const sella_line_value *value_n)
{
    if (value_n[M_PARENT].kind != SELLA_LINE_ABSENT) {
        return OF_2023;
    }
    if (value_n[M_TITLE].python || value_n[M_ITEM].python ||
        value_n[M_IMAGE_14].kind != SELLA_LINE_ABSENT ||
        value_n[M_RANK_14].kind != SELLA_LINE_ABSENT) {
        return OF_2014;
    }
    return value_n[M_ALSO_18].kind != SELLA_LINE_ABSENT ||
                   value_n[M_MAIN_18].kind != SELLA_LINE_ABSENT
               ? OF_2018
               : UNKNOWN;
}

/* The last record of an item decides, also when it has no title. */
static sella_status set_title(amazon *a, int32_t item, const sella_line_value *value,
                              sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_draft *draft = &a->job->draft;
    const char *text = "";
    size_t bytes = 0;
    bool cut = false;
    if (value->kind != SELLA_LINE_ABSENT && value->kind != SELLA_LINE_NULL) {
        SELLA_TRY(need_text(value, "title", &a->user, &text, &bytes, err));
    }
    SELLA_TRY(sella_title_clean(text, bytes, &a->title, &cut, err));
    a->repeated += a->met_n[item];
    a->met_n[item] = 1;
    if (item < draft->titles) {
        free(draft->title_n[item]);
        draft->title_n[item] = NULL;
    }
    if (a->title.size > 0) {
        SELLA_TRY(sella_draft_title(draft, item, a->title.data, a->title.size, NULL, err));
        a->cut += cut;
        a->scripts += memmem(a->title.data, a->title.size, "getTime", 7) != NULL;
    }
done:
    return status;
}

static sella_status take_metadata(amazon *a, const sella_line_value *value_n, const char **reason,
                                  sella_err *err)
{
    const char *item = "";
    size_t bytes = 0;
    int field = a->is_2023 ? M_PARENT : M_ITEM;
    *reason = "item id";
    if (value_n[M_USER].kind != SELLA_LINE_ABSENT || value_n[M_USER_23].kind != SELLA_LINE_ABSENT) {
        return sella_err_set(err, SELLA_FORMAT, "the line is a review; expected metadata");
    }
    if (a->is_2023 && value_n[M_PARENT].kind == SELLA_LINE_ABSENT &&
        value_n[M_ITEM].kind != SELLA_LINE_ABSENT) {
        return sella_err_set(
            err, SELLA_FORMAT,
            "the line has no 'parent_asin'; expected metadata of 2023 as the reviews are");
    }
    sella_status status =
        need_text(&value_n[field], metadata_names[field].text, &a->item, &item, &bytes, err);
    if (status != SELLA_OK) {
        return status;
    }
    a->of[METADATA] = a->of[METADATA] == UNKNOWN ? metadata_release(value_n) : a->of[METADATA];
    int32_t known = sella_intern_find(&a->job->draft.items, item, bytes);
    *reason = "title";
    return known < 0 ? SELLA_OK : set_title(a, known, &value_n[M_TITLE], err);
}

/* ---- files ---- */

static sella_status read_lines(amazon *a, int which, sella_line_stream *stream, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_import_job *job = a->job;
    const char *path = job->options->inputs[which];
    sella_line_value value_n[(int)R_FIELDS > (int)M_FIELDS ? (int)R_FIELDS : (int)M_FIELDS];
    sella_err why = {0};
    for (;;) {
        const char *text, *reason = "line";
        size_t bytes;
        status = sella_line_stream_next(stream, &text, &bytes, &why);
        if (status == SELLA_OK && !text) {
            break;
        }
        if (status == SELLA_OK && bytes == 0) {
            continue;
        }
        if (status == SELLA_OK) {
            status =
                sella_line_scan(text, bytes, which == REVIEWS ? review_names : metadata_names,
                                which == REVIEWS ? (int)R_FIELDS : (int)M_FIELDS, value_n, &why);
        }
        if (status == SELLA_OK) {
            status = which == REVIEWS ? take_review(a, value_n, &reason, &why)
                                      : take_metadata(a, value_n, &reason, &why);
        }
        if (status != SELLA_OK) {
            SELLA_TRY(sella_reject_row(job, reason, status, &why, path,
                                       sella_line_stream_line(stream), err));
            why.text[0] = '\0';
        }
        a->rows[which]++;
        SELLA_TRY(sella_import_tick(
            job, a->rows[which], a->done_before + sella_line_stream_done(stream), a->total, err));
    }
    a->done_before += sella_line_stream_done(stream);
done:
    return status;
}

/* Reviews take minutes: what is plainly wrong with the metadata is said before. */
static sella_status probe_metadata(amazon *a, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_line_stream *stream = NULL;
    sella_line_value value_n[M_FIELDS];
    const char *text, *path = a->job->options->inputs[METADATA];
    size_t bytes;
    SELLA_TRY(sella_line_stream_open(path, SELLA_LINE_MAX, &stream, err));
    a->total += sella_line_stream_size(stream);
    status = sella_line_stream_next(stream, &text, &bytes, err);
    if (status == SELLA_FORMAT) {
        status = SELLA_OK; // the reading proper says it or skips it
    } else if (status == SELLA_OK && text &&
               sella_line_scan(text, bytes, metadata_names, M_FIELDS, value_n, NULL) == SELLA_OK &&
               (value_n[M_USER].kind != SELLA_LINE_ABSENT ||
                value_n[M_USER_23].kind != SELLA_LINE_ABSENT)) {
        status = sella_err_set(
            err, SELLA_FORMAT,
            "%s:1: the line is a review; expected the reviews first, then the metadata", path);
    }
done:
    sella_line_stream_close(stream);
    return status;
}

static void say_what_was_read(const amazon *a)
{
    const sella_talk *talk = a->job->talk;
    double seconds = sella_now() - a->job->ticked;
    const char *path = a->job->options->inputs[METADATA];
    sella_say(
        talk, SELLA_LEVEL_INFO,
        "read %lld reviews of %s and %lld records of metadata in %.1f s (%.0f lines a second)",
        (long long)a->rows[REVIEWS], release_names[a->of[REVIEWS]], (long long)a->rows[METADATA],
        seconds, seconds > 0 ? (double)(a->rows[REVIEWS] + a->rows[METADATA]) / seconds : 0.0);
    if (a->of[METADATA] != UNKNOWN && a->of[METADATA] != a->of[REVIEWS]) {
        sella_say(talk, SELLA_LEVEL_WARN,
                  "%s: is metadata of %s beside reviews of %s; dataset.json says so", path,
                  release_names[a->of[METADATA]], release_names[a->of[REVIEWS]]);
    }
    if (a->repeated > 0) {
        sella_say(talk, SELLA_LEVEL_WARN, "%s: %lld records repeat an item; the last one is kept",
                  path, (long long)a->repeated);
    }
    if (a->cut > 0) {
        sella_say(talk, SELLA_LEVEL_WARN,
                  "%s: %lld titles have more than %d bytes and are cut there", path,
                  (long long)a->cut, (int)SELLA_TITLE_MAX);
    }
    if (a->scripts > 0) {
        sella_say(talk, SELLA_LEVEL_WARN,
                  "%s: %lld titles hold a script of the page ('getTime') in place of a name; they "
                  "are kept as they are",
                  path, (long long)a->scripts);
    }
}

static sella_status read_both(amazon *a, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_line_stream *stream = NULL;
    sella_import_job *job = a->job;
    SELLA_TRY(probe_metadata(a, err));
    SELLA_TRY(sella_line_stream_open(job->options->inputs[REVIEWS], SELLA_LINE_MAX, &stream, err));
    a->total += sella_line_stream_size(stream);
    SELLA_TRY(read_lines(a, REVIEWS, stream, err));
    sella_line_stream_close(stream);
    stream = NULL;
    a->met_n = sella_alloc((size_t)job->draft.items.count + 1, 1, "items", err);
    if (!a->met_n) {
        status = SELLA_MEMORY;
        goto done;
    }
    SELLA_TRY(sella_line_stream_open(job->options->inputs[METADATA], SELLA_LINE_MAX, &stream, err));
    SELLA_TRY(read_lines(a, METADATA, stream, err));
    SELLA_TRY(sella_import_note_file(job, job->options->inputs[REVIEWS], err));
    SELLA_TRY(sella_import_note_file(job, job->options->inputs[METADATA], err));
done:
    sella_line_stream_close(stream);
    return status;
}

sella_status sella_import_amazon(sella_import_job *job, sella_err *err)
{
    sella_status status = SELLA_OK;
    amazon a = {.job = job};
    bool titled = false;
    a.has_window = sella_protocol_window(job->protocol, &a.from, &a.to);
    job->drop_untitled = true;
    SELLA_TRY(read_both(&a, err));
    if (a.of[REVIEWS] == UNKNOWN && a.of[METADATA] != OF_2023) {
        a.of[REVIEWS] = a.of[METADATA];
    }
    for (int32_t i = 0; i < job->draft.titles && !titled; i++) {
        titled = job->draft.title_n[i] != NULL;
    }
    if (job->events.count > 0 && !titled) {
        status = sella_err_set(err, SELLA_MISSING,
                               "%s: has a title for none of the %d items that were reviewed; "
                               "expected metadata of the same category",
                               job->options->inputs[METADATA], job->draft.items.count);
        goto done;
    }
    say_what_was_read(&a);
    json_object_set_new(job->source, "generation", json_string(release_names[a.of[REVIEWS]]));
    if (a.of[METADATA] != UNKNOWN && a.of[METADATA] != a.of[REVIEWS]) {
        json_object_set_new(job->source, "metadata_generation",
                            json_string(release_names[a.of[METADATA]]));
    }
    json_object_set_new(job->source, "reviews", json_integer(a.rows[REVIEWS]));
    json_object_set_new(job->source, "metadata", json_integer(a.rows[METADATA]));
done:
    free(a.met_n);
    sella_text_release(&a.user);
    sella_text_release(&a.item);
    sella_text_release(&a.title);
    return status;
}
