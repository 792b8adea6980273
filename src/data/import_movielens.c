/* import_movielens.c - the three forms in which GroupLens published MovieLens, told apart by the
 * files that are there.
 *
 * ml-1m, ml-10m   ratings.dat movies.dat   fields separated by "::", titles in Latin-1 (ml-1m) or
 *                                          UTF-8
 * ml-100k         u.data u.item            tab and |, titles in Latin-1
 * ml-latest, ...  ratings.csv movies.csv   comma, quoted titles, UTF-8
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "data/delimited.h"
#include "data/import.h"
#include "data/inputs.h"

enum { RATINGS_DAT, MOVIES_DAT, U_DATA, U_ITEM, RATINGS_CSV, MOVIES_CSV, FILES };
static const char *const file_names[FILES] = {"ratings.dat", "movies.dat",  "u.data",
                                              "u.item",      "ratings.csv", "movies.csv"};

/* Split a line at a separator of one or two characters into at most `most` fields; the last takes
 * the rest. Returns how many. */
static int split_line(const char *text, size_t bytes, const char *separator, sella_field *field_n,
                      int most)
{
    size_t width = strlen(separator);
    int n = 0;
    const char *at = text, *end = text + bytes;
    while (n < most - 1) {
        const char *found = memmem(at, (size_t)(end - at), separator, width);
        if (!found) {
            break;
        }
        field_n[n++] = (sella_field){at, (size_t)(found - at)};
        at = found + width;
    }
    field_n[n++] = (sella_field){at, (size_t)(end - at)};
    return n;
}

static sella_status check_number(sella_field id, const char *what, sella_err *err)
{
    int64_t value;
    return sella_parse_int(id.data, id.bytes, 0, INT64_MAX, what, &value, err);
}

/* user, item, rating, time -> one event. */
static sella_status add_rating(sella_import_job *job, const sella_field *field_n,
                               const char **reason, sella_err *err)
{
    sella_status status = SELLA_OK;
    double rating;
    int64_t time;
    int32_t user, item;
    *reason = "user id";
    SELLA_TRY(check_number(field_n[0], "user id", err));
    *reason = "item id";
    SELLA_TRY(check_number(field_n[1], "movie id", err));
    *reason = "rating";
    SELLA_TRY(sella_parse_real(field_n[2].data, field_n[2].bytes, 0, 5, "rating", &rating, err));
    *reason = "time";
    SELLA_TRY(sella_parse_int(field_n[3].data, field_n[3].bytes, 0, SELLA_TIME_MAX, "timestamp",
                              &time, err));
    SELLA_TRY(
        sella_intern_add(&job->draft.users, field_n[0].data, field_n[0].bytes, &user, NULL, err));
    SELLA_TRY(
        sella_intern_add(&job->draft.items, field_n[1].data, field_n[1].bytes, &item, NULL, err));
    status = sella_events_add(&job->events, user, item, rating >= job->like_at, time, err);
done:
    return status;
}

static sella_status add_movie(sella_import_job *job, sella_field id, sella_field title, bool latin1,
                              const char **reason, sella_err *err)
{
    sella_status status = SELLA_OK;
    int32_t item;
    bool fresh;
    char *utf8 = NULL;
    *reason = "item id";
    SELLA_TRY(check_number(id, "movie id", err));
    SELLA_TRY(sella_intern_add(&job->draft.items, id.data, id.bytes, &item, &fresh, err));
    *reason = "title";
    if (!fresh && item < job->draft.titles && job->draft.title_n[item]) {
        status =
            sella_err_set(err, SELLA_FORMAT, "movie %.*s occurs twice", (int)id.bytes, id.data);
        goto done;
    }
    if (latin1) {
        utf8 = sella_latin1_to_utf8(title.data, title.bytes, err);
        if (!utf8) {
            status = SELLA_MEMORY;
            goto done;
        }
        status = sella_draft_title(&job->draft, item, utf8, strlen(utf8), NULL, err);
    } else {
        status = sella_draft_title(&job->draft, item, title.data, title.bytes, NULL, err);
    }
done:
    free(utf8);
    return status;
}

/* How the lines of a .dat or of u.data, u.item are read. */
typedef struct line_form {
    const char *separator;
    bool title_is_middle; // of .dat movies: the title may hold the separator; one field follows it
    bool latin1;
} line_form;

/* user, movie, rating, time */
static sella_status take_rating(sella_import_job *job, const line_form *form, const char *text,
                                size_t bytes, const char **reason, sella_err *err)
{
    sella_field field_n[5];
    if (split_line(text, bytes, form->separator, field_n, 5) != 4) {
        return sella_err_set(err, SELLA_FORMAT,
                             "the line has not the 4 fields user, movie, rating, time");
    }
    return add_rating(job, field_n, reason, err);
}

/* id, title, then fields that are not needed */
static sella_status take_movie(sella_import_job *job, const line_form *form, const char *text,
                               size_t bytes, const char **reason, sella_err *err)
{
    sella_field field_n[3];
    const size_t width = strlen(form->separator);
    if (split_line(text, bytes, form->separator, field_n, form->title_is_middle ? 2 : 3) < 2) {
        return sella_err_set(err, SELLA_FORMAT, "the line has no title");
    }
    sella_field title = field_n[1];
    const char *at = form->title_is_middle ? title.data + title.bytes : NULL;
    while (at && at >= title.data + width && memcmp(at - width, form->separator, width) != 0) {
        at--;
    }
    if (at && at >= title.data + width) {
        title.bytes = (size_t)(at - width - title.data); // without the genres
    }
    return add_movie(job, field_n[0], title, form->latin1, reason, err);
}

typedef sella_status (*take_line)(sella_import_job *job, const line_form *form, const char *text,
                                  size_t bytes, const char **reason, sella_err *err);

static sella_status read_lines(sella_import_job *job, const sella_blob *blob, const line_form *form,
                               take_line take, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_lines lines;
    sella_lines_init(&lines, blob->path, blob->data, blob->size, SELLA_LINE_MAX);
    for (;;) {
        sella_err why = {0};
        const char *text, *reason = "line";
        size_t bytes;
        status = sella_lines_next(&lines, &text, &bytes, &why);
        if (status == SELLA_OK && !text) {
            break;
        }
        if (status == SELLA_OK && bytes > 0) {
            status = take(job, form, text, bytes, &reason, &why);
        }
        if (status != SELLA_OK) {
            SELLA_TRY(sella_reject_row(job, reason, status, &why, blob->path, lines.line, err));
        }
        SELLA_TRY(sella_import_tick(job, lines.line,
                                    (double)(lines.cursor - (const char *)blob->data),
                                    (double)blob->size, err));
    }
done:
    return status;
}

/* ratings.csv or movies.csv. */
static sella_status read_csv(sella_import_job *job, const sella_blob *blob, bool ratings,
                             sella_err *err)
{
    static const char *const rating_columns[] = {"userId", "movieId", "rating", "timestamp"},
                             *const movie_columns[] = {"movieId", "title"};
    sella_status status = SELLA_OK;
    sella_delimited table = {0};
    int column[4], columns = ratings ? 4 : 2;
    SELLA_TRY(sella_delimited_open(&table, blob->path, blob->data, blob->size, ',', true,
                                   SELLA_LINE_MAX, err));
    for (int c = 0; c < columns; c++) {
        SELLA_TRY(sella_delimited_need(&table, ratings ? rating_columns[c] : movie_columns[c],
                                       &column[c], err));
    }
    for (int64_t row = 1;; row++) {
        bool more;
        sella_err why = {0};
        const char *reason = "line";
        status = sella_delimited_next(&table, &more, &why);
        if (status == SELLA_OK && !more) {
            break;
        }
        if (status == SELLA_OK) {
            sella_field field_n[4];
            for (int c = 0; c < columns; c++) {
                field_n[c] = table.field_n[column[c]];
            }
            status = ratings ? add_rating(job, field_n, &reason, &why)
                             : add_movie(job, field_n[0], field_n[1], false, &reason, &why);
        }
        if (status != SELLA_OK) {
            SELLA_TRY(sella_reject_row(job, reason, status, &why, blob->path, table.line, err));
        }
        SELLA_TRY(sella_import_tick(job, row, (double)(table.cursor - (const char *)blob->data),
                                    (double)blob->size, err));
    }
done:
    sella_delimited_release(&table);
    return status;
}

sella_status sella_import_movielens(sella_import_job *job, sella_err *err)
{
    sella_status status = SELLA_OK;
    const char *path = job->options->inputs[0];
    sella_blob blob_n[FILES];
    status = sella_blobs_open(path, file_names, FILES, blob_n, err);
    if (status != SELLA_OK) {
        return status;
    }
    int form = -1, forms = 0;
    for (int f = 0; f < FILES; f += 2) {
        if (blob_n[f].path && blob_n[f + 1].path) {
            form = f;
            forms++;
        }
    }
    if (forms != 1) {
        status = sella_err_set(
            err, SELLA_FORMAT,
            "%s: holds %s; expected ratings.dat and movies.dat, or u.data and u.item, or "
            "ratings.csv and movies.csv",
            path, forms ? "more than one MovieLens data set" : "no MovieLens data set");
        goto done;
    }
    for (int f = form; f < form + 2; f++) {
        SELLA_TRY(sella_import_note(job, file_names[f], blob_n[f].data, blob_n[f].size, err));
    }
    // Movies first: items are numbered in catalogue order.
    if (form == RATINGS_CSV) {
        SELLA_TRY(read_csv(job, &blob_n[MOVIES_CSV], false, err));
        SELLA_TRY(read_csv(job, &blob_n[RATINGS_CSV], true, err));
    } else {
        const sella_blob *movies = &blob_n[form + 1];
        const line_form of_movies = {
            .separator = form == U_DATA ? "|" : "::",
            .title_is_middle = form == RATINGS_DAT,
            .latin1 =
                sella_utf8_valid(movies->size ? movies->data : "", movies->size) != movies->size};
        const line_form of_ratings = {.separator = form == U_DATA ? "\t" : "::"};
        SELLA_TRY(read_lines(job, movies, &of_movies, take_movie, err));
        SELLA_TRY(read_lines(job, &blob_n[form], &of_ratings, take_rating, err));
    }
done:
    for (int f = 0; f < FILES; f++) {
        sella_blob_release(&blob_n[f]);
    }
    return status;
}
