/* score_file.c - the rows of a CSV file with a score behind each.
 *
 * Two passes over the same bytes: the first resolves every name, so that a bad line 900,000 is told
 * before anything is written; the second resolves again and scores in chunks, so that memory does
 * not grow with the file.
 */
#include <inttypes.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/text.h"
#include "data/delimited.h"
#include "engine/session.h"
#include "kernels/activation.h"
#include "methods/score_all.h"

enum { CHUNK = 1 << 14, RECORD_LIMIT = 1 << 20 };

/* One row, with places in pools instead of pointers: the pools move while they grow. */
typedef struct pair {
    int32_t user, item, group;
    bool recorded;        /* the history is the run's own */
    size_t history_at;    /* into history_pool */
    int32_t history_count;
    size_t title_at;      /* into text, of target_text; item < 0 only */
    const char *raw;      /* the record as it stands in the file */
    size_t raw_bytes;
} pair;

typedef struct pairs {
    sella_engine *engine;
    sella_delimited table;
    int user_column, item_column, history_column, title_column; /* -1: absent */
    pair *pair_n; /* [CHUNK] */
    int count;
    int32_t *history_pool;
    size_t history_used, history_capacity;
    sella_text text;  /* titles of items that the catalogue lacks */
    sella_text field; /* one field as a C string */
    sella_query *query_n; /* [CHUNK] */
    double *logit_n;      /* [CHUNK] */
} pairs;

static void pairs_release(pairs *p)
{
    sella_delimited_release(&p->table);
    sella_text_release(&p->text);
    sella_text_release(&p->field);
    free(p->pair_n);
    free(p->history_pool);
    free(p->query_n);
    free(p->logit_n);
}

static sella_status pairs_open(pairs *p, sella_engine *engine, const char *name, const char *data,
                               size_t bytes, sella_err *err)
{
    sella_status status = SELLA_OK;
    *p = (pairs){.engine = engine};
    SELLA_TRY(sella_delimited_open(&p->table, name, data, bytes, 0, true, RECORD_LIMIT, err));
    SELLA_TRY(sella_delimited_need(&p->table, "user", &p->user_column, err));
    SELLA_TRY(sella_delimited_need(&p->table, "item", &p->item_column, err));
    p->history_column = sella_delimited_column(&p->table, "history");
    p->title_column = sella_delimited_column(&p->table, "title");
    if (sella_delimited_column(&p->table, "score") >= 0) {
        SELLA_TRY(sella_err_set(
            err, SELLA_FORMAT,
            "%s:1: there is a column 'score' already; a second one would be ambiguous", name));
    }
    p->pair_n = sella_alloc(CHUNK, sizeof *p->pair_n, "the rows to score", err);
    p->query_n = sella_alloc(CHUNK, sizeof *p->query_n, "the rows to score", err);
    p->logit_n = sella_alloc(CHUNK, sizeof *p->logit_n, "the rows to score", err);
    if (p->pair_n == NULL || p->query_n == NULL || p->logit_n == NULL) {
        status = SELLA_MEMORY;
    }
done:
    return status;
}

/* Field `column` of the last record as a C string, valid until the next call. */
static sella_status field_text(pairs *p, int column, const char **out, sella_err *err)
{
    const sella_field *field = &p->table.field_n[column];
    p->field.size = 0;
    sella_status status = sella_text_append(&p->field, field->data, field->bytes, err);
    *out = p->field.data;
    return status;
}

static sella_status history_push(pairs *p, int32_t item, sella_err *err)
{
    if (p->history_used == p->history_capacity) {
        const size_t capacity = p->history_capacity == 0 ? 1024 : 2 * p->history_capacity;
        int32_t *grown = realloc(p->history_pool, capacity * sizeof *grown);
        if (grown == NULL) {
            return sella_err_memory(err, "the histories of rows to score",
                                    capacity * sizeof *grown);
        }
        p->history_pool = grown;
        p->history_capacity = capacity;
    }
    p->history_pool[p->history_used++] = item;
    return SELLA_OK;
}

static const char *skip_blanks(const char *text)
{
    while (*text == ' ' || *text == '\t') {
        text++;
    }
    return text;
}

/* "title;title" or ids into the pool. Destroys text. */
static sella_status history_split(pairs *p, char *text, pair *row, sella_err *err)
{
    row->history_at = p->history_used;
    for (char *at = text; at != NULL;) {
        char *semicolon = strchr(at, ';');
        if (semicolon != NULL) {
            *semicolon = '\0';
        }
        const char *entry = skip_blanks(at);
        if (*entry != '\0') {
            int32_t item = -1;
            for (char *end = at + strlen(at); end > entry && end[-1] == ' ';) {
                *--end = '\0';
            }
            sella_status status = sella_engine_resolve_entry(p->engine, entry, 0, &item, err);
            status = status == SELLA_OK ? history_push(p, item, err) : status;
            if (status != SELLA_OK) {
                return status;
            }
        }
        at = semicolon != NULL ? semicolon + 1 : NULL;
    }
    row->history_count = (int32_t)(p->history_used - row->history_at);
    return SELLA_OK;
}

static sella_status resolve_item(pairs *p, pair *row, sella_err *err)
{
    sella_status status = SELLA_OK;
    const char *text = NULL;
    SELLA_TRY(field_text(p, p->item_column, &text, err));
    row->item = sella_run_find_item(p->engine->run, text);
    if (row->item >= 0) {
        return SELLA_OK;
    }
    if (p->title_column < 0 || p->table.field_n[p->title_column].bytes == 0) {
        SELLA_TRY(sella_err_set(err, SELLA_MISSING,
                                "item '%s' is not in the catalogue of %s; a column 'title' would "
                                "let it be scored by its text",
                                text, p->engine->run->path));
    }
    SELLA_TRY(field_text(p, p->title_column, &text, err));
    row->title_at = p->text.size;
    SELLA_TRY(sella_text_append(&p->text, text, strlen(text) + 1, err));
done:
    return status;
}

/* The record that was just read as a row of the chunk. */
static sella_status resolve_row(pairs *p, const char *start, sella_err *err)
{
    sella_status status = SELLA_OK;
    const char *text = NULL;
    pair *row = &p->pair_n[p->count];
    const char *end = p->table.cursor;
    *row = (pair){.user = -1, .recorded = true};
    while (start < end && (*start == '\n' || *start == '\r')) {
        start++;
    }
    while (end > start && (end[-1] == '\n' || end[-1] == '\r')) {
        end--;
    }
    row->raw = start;
    row->raw_bytes = (size_t)(end - start);
    SELLA_TRY(field_text(p, p->user_column, &text, err));
    row->user = sella_run_find_user(p->engine->run, text);
    SELLA_TRY(resolve_item(p, row, err));
    if (p->history_column >= 0 && p->table.field_n[p->history_column].bytes > 0) {
        SELLA_TRY(field_text(p, p->history_column, &text, err));
        SELLA_TRY(history_split(p, p->field.data, row, err));
        row->recorded = false;
    }
    /* Rows of a known user may share a prefix; unseen ones only when nothing is known of them
     * either. */
    row->group = row->user >= 0  ? row->user
                 : row->recorded ? p->engine->run->users
                                 : p->engine->run->users + 1 + p->count;
    p->count++;
done:
    if (status != SELLA_OK && status != SELLA_MEMORY) {
        status = sella_err_prefix(err, status, "%s:%" PRId64, p->table.path, p->table.line);
    }
    return status;
}

/* Fill the chunk; *more is false when the file has ended. */
static sella_status chunk_read(pairs *p, bool *more, sella_err *err)
{
    p->count = 0;
    p->history_used = 0;
    p->text.size = 0;
    *more = true;
    while (p->count < CHUNK) {
        const char *start = p->table.cursor;
        sella_status status = sella_delimited_next(&p->table, more, err);
        if (status != SELLA_OK || !*more) {
            return status;
        }
        status = resolve_row(p, start, err);
        if (status != SELLA_OK) {
            return status;
        }
    }
    return SELLA_OK;
}

/* part of parts, from 1: long files are scored in several. */
static sella_status chunk_score(pairs *p, int64_t part, int64_t parts, sella_err *err)
{
    char what[64] = "scoring";
    for (int i = 0; i < p->count; i++) {
        const pair *row = &p->pair_n[i];
        sella_query *query = &p->query_n[i];
        *query = (sella_query){.user = row->user, .item = row->item, .group = row->group};
        if (!row->recorded) {
            query->history_n = p->history_pool + row->history_at;
            query->history_count = row->history_count;
        } else if (row->user >= 0) {
            query->history_count = sella_run_history(p->engine->run, row->user, &query->history_n);
        }
        if (row->item < 0) {
            query->target_text = p->text.data + row->title_at;
        }
    }
    if (parts > 1) {
        snprintf(what, sizeof what, "scoring, part %" PRId64 " of %" PRId64, part, parts);
    }
    return sella_score_all(p->engine->scorer, p->query_n, p->count, p->logit_n, what, NULL, 0.0,
                           sella_engine_scoring_talk(p->engine), err);
}

typedef struct output {
    int (*write)(void *user, const char *data, size_t bytes);
    void *user;
    sella_text buffer;
} output;

static sella_status output_flush(output *out, sella_err *err)
{
    if (out->buffer.size > 0 && out->write(out->user, out->buffer.data, out->buffer.size) != 0) {
        return sella_err_set(err, SELLA_IO, "the scores could not be written");
    }
    out->buffer.size = 0;
    return SELLA_OK;
}

/* The header line as it stands, without its line end and byte order mark, and the new column. */
static sella_status write_header(const pairs *p, const char *data, output *out, sella_err *err)
{
    const char *end = p->table.cursor;
    const char *start = data;
    sella_status status = SELLA_OK;
    if (end - start >= 3 && memcmp(start, "\xEF\xBB\xBF", 3) == 0) {
        start += 3;
    }
    while (end > start && (end[-1] == '\n' || end[-1] == '\r')) {
        end--;
    }
    SELLA_TRY(sella_text_append(&out->buffer, start, (size_t)(end - start), err));
    SELLA_TRY(sella_text_format(&out->buffer, err, "%cscore\n", p->table.delimiter));
    SELLA_TRY(output_flush(out, err));
done:
    return status;
}

static sella_status write_rows(const pairs *p, output *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    for (int i = 0; i < p->count; i++) {
        SELLA_TRY(sella_text_append(&out->buffer, p->pair_n[i].raw, p->pair_n[i].raw_bytes, err));
        SELLA_TRY(sella_text_format(&out->buffer, err, "%c%.9g\n", p->table.delimiter,
                                    sella_sigmoid(p->logit_n[i])));
    }
    SELLA_TRY(output_flush(out, err));
done:
    return status;
}

sella_status sella_engine_score_csv(sella_engine *engine, const char *name, const char *data,
                                    size_t bytes,
                                    int (*write)(void *user, const char *data, size_t bytes),
                                    void *user, sella_err *err)
{
    sella_status status = SELLA_OK;
    pairs p = {0};
    output out = {.write = write, .user = user};
    bool more = true;
    SELLA_TRY(pairs_open(&p, engine, name, data, bytes, err));
    int64_t parts = 0;
    while (more) {
        SELLA_TRY(chunk_read(&p, &more, err));
        parts += p.count > 0;
    }
    pairs_release(&p);
    more = true;
    SELLA_TRY(pairs_open(&p, engine, name, data, bytes, err));
    SELLA_TRY(write_header(&p, data, &out, err));
    for (int64_t part = 1; more; part++) {
        if (sella_stop_wanted(engine->talk)) {
            SELLA_TRY(sella_err_set(err, SELLA_INTERRUPTED, "%s: interrupted near line %" PRId64,
                                    name, p.table.line));
        }
        SELLA_TRY(chunk_read(&p, &more, err));
        if (p.count > 0) {
            SELLA_TRY(chunk_score(&p, part, parts, err));
            SELLA_TRY(write_rows(&p, &out, err));
        }
    }
done:
    sella_text_release(&out.buffer);
    pairs_release(&p);
    return status;
}

static int to_writer(void *user, const char *data, size_t bytes)
{
    return sella_write_bytes(user, data, bytes, NULL) != SELLA_OK;
}

sella_status sella_engine_score_into(sella_engine *engine, const char *name, const char *data,
                                     size_t bytes, const char *output_path, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_writer *writer = NULL;
    if (output_path == NULL) {
        return sella_err_set(err, SELLA_ARG, "a file to write is needed");
    }
    SELLA_TRY(sella_write_open(output_path, &writer, err));
    status = sella_engine_score_csv(engine, name, data, bytes, to_writer, writer, err);
    if (status != SELLA_OK) {
        /* names the file and the reason when it was the writing that failed */
        sella_write_bytes(writer, NULL, 0, err);
        goto done;
    }
    sella_writer *finished = writer;
    writer = NULL;
    SELLA_TRY(sella_write_commit(finished, err));
done:
    sella_write_abandon(writer);
    return status;
}

sella_status sella_engine_score_file(sella_engine *engine, const char *pairs_csv,
                                     const char *output_path, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_map map = {0};
    if (pairs_csv == NULL || output_path == NULL) {
        return sella_err_set(err, SELLA_ARG, "a file of pairs and a file to write are needed");
    }
    SELLA_TRY(sella_map_open(pairs_csv, &map, err));
    status = sella_engine_score_into(engine, pairs_csv, (const char *)map.data, map.size,
                                     output_path, err);
done:
    sella_map_close(&map);
    return status;
}
