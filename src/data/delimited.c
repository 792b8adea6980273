/* delimited.c - text tables with a header (data/delimited.h).
 *
 * Easy to get wrong: fields that were rewritten live in a text that moves while it grows, so they
 * are kept as offsets until the record is complete.
 */
#include "data/delimited.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

void sella_delimited_release(sella_delimited *table)
{
    free(table->field_n);
    sella_text_release(&table->unquoted);
    sella_text_release(&table->names);
    *table = (sella_delimited){0};
}

static sella_status bad_record(const sella_delimited *t, sella_err *err, const char *what)
{
    return sella_err_set(err, SELLA_FORMAT, "%s:%lld: %s", t->path, (long long)t->line, what);
}

static sella_status push_field(sella_delimited *t, const char *data, size_t bytes, sella_err *err)
{
    enum { MOST = 4096 };
    if (t->fields == t->capacity) {
        if (t->capacity >= MOST) {
            return sella_err_set(err, SELLA_FORMAT, "%s:%lld: the record has more than %d fields",
                                 t->path, (long long)t->line, (int)MOST);
        }
        int capacity = t->capacity * 2 + 16;
        sella_field *bigger = realloc(t->field_n, (size_t)capacity * sizeof *bigger);
        if (!bigger) {
            return sella_err_memory(err, "fields", (size_t)capacity * sizeof *bigger);
        }
        t->field_n = bigger;
        t->capacity = capacity;
    }
    t->field_n[t->fields++] = (sella_field){data, bytes};
    return SELLA_OK;
}

/* A field that begins with a quote; *at moves behind the closing quote. data = NULL in the field
 * marks an offset. */
static sella_status quoted_field(sella_delimited *t, const char **at, const char *stop,
                                 sella_err *err)
{
    const char *p = *at + 1;
    size_t begin = t->unquoted.size;
    for (;;) {
        const char *quote = memchr(p, '"', (size_t)(stop - p));
        if (!quote) {
            return bad_record(t, err,
                              stop == t->end
                                  ? "a quoted field has no closing quote"
                                  : "a quoted field is too long or has no closing quote");
        }
        sella_status status = sella_text_append(&t->unquoted, p, (size_t)(quote - p), err);
        if (status == SELLA_OK && quote + 1 < stop && quote[1] == '"') {
            status = sella_text_append(&t->unquoted, "\"", 1, err);
            p = quote + 2;
        } else {
            p = quote + 1;
            *at = p;
            return status == SELLA_OK ? push_field(t, NULL, t->unquoted.size - begin, err) : status;
        }
        if (status != SELLA_OK) {
            return status;
        }
    }
}

static void skip_line(sella_delimited *t, const char *start)
{
    const char *stop = memchr(start, '\n', (size_t)(t->end - start));
    t->cursor = stop ? stop + 1 : t->end;
    t->next_line = t->line + 1;
}

/* One record from the cursor on. On failure the cursor stands behind the line on which the record
 * began. */
static sella_status split_record(sella_delimited *t, sella_err *err)
{
    const char *start = t->cursor, *at = start;
    const char *stop = (size_t)(t->end - start) > t->limit ? start + t->limit + 1 : t->end;
    sella_status status = SELLA_OK;
    bool done = false;
    t->fields = 0;
    t->unquoted.size = 0;
    t->line = t->next_line;
    while (!done) {
        if (t->quotes && at < stop && *at == '"') {
            SELLA_TRY(quoted_field(t, &at, stop, err));
        } else {
            const char *begin = at;
            while (at < stop && *at != t->delimiter && *at != '\n') {
                at++;
            }
            size_t bytes = (size_t)(at - begin);
            if ((at == t->end || *at == '\n') && bytes > 0 && begin[bytes - 1] == '\r') {
                bytes--;
            }
            SELLA_TRY(push_field(t, begin, bytes, err));
        }
        if (at < stop && *at == '\r' && (at + 1 == t->end || at[1] == '\n')) {
            at++; // behind a closing quote
        }
        if (at < stop && *at == t->delimiter) {
            at++;
        } else if (at == t->end || *at == '\n') {
            done = true;
        } else if (at < stop) {
            status = bad_record(
                t, err,
                "text stands behind a closing quote; expected a separator or the end of the line");
            goto done;
        } else {
            status = sella_err_set(err, SELLA_FORMAT, "%s:%lld: the record has more than %zu bytes",
                                   t->path, (long long)t->line, t->limit);
            goto done;
        }
    }
    size_t bytes = (size_t)(at - start);
    if (bytes > t->limit) {
        status = sella_err_set(err, SELLA_FORMAT, "%s:%lld: the record has more than %zu bytes",
                               t->path, (long long)t->line, t->limit);
        goto done;
    }
    if (memchr(start, '\0', bytes)) {
        status = bad_record(t, err, "the record has a NUL byte; expected text");
        goto done;
    }
    if (sella_utf8_valid(start, bytes) != bytes) {
        status = bad_record(t, err, "the record is not UTF-8");
        goto done;
    }
    t->cursor = at < t->end ? at + 1 : t->end;
    t->next_line++;
    for (const char *p = start; (p = memchr(p, '\n', (size_t)(at - p))) != NULL; p++) {
        t->next_line++; // line breaks inside quotes
    }
    size_t offset = 0;
    for (int f = 0; f < t->fields; f++) {
        if (!t->field_n[f].data) {
            t->field_n[f].data = t->unquoted.data ? t->unquoted.data + offset : "";
            offset += t->field_n[f].bytes;
        }
    }
done:
    if (status != SELLA_OK) {
        skip_line(t, start);
    }
    return status;
}

static char sniff(const char *data, size_t bytes)
{
    static const char candidates[] = ",;\t|";
    const char *stop = memchr(data, '\n', bytes);
    size_t length = stop ? (size_t)(stop - data) : bytes, best = 0;
    char found = 0;
    for (const char *c = candidates; *c; c++) {
        size_t count = 0;
        bool inside = false;
        for (size_t i = 0; i < length; i++) {
            inside = inside != (data[i] == '"');
            count += !inside && data[i] == *c;
        }
        if (count > best) {
            best = count;
            found = *c;
        }
    }
    return found;
}

sella_status sella_delimited_open(sella_delimited *table, const char *path, const void *data,
                                  size_t bytes, char delimiter, bool quotes, size_t limit,
                                  sella_err *err)
{
    sella_status status = SELLA_OK;
    const char *text = bytes > 0 ? data : "";
    size_t mark = bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    *table = (sella_delimited){.path = path,
                               .cursor = text + mark,
                               .end = text + bytes,
                               .delimiter = delimiter,
                               .quotes = quotes,
                               .limit = limit,
                               .next_line = 1};
    if (bytes == mark) {
        status = sella_err_set(err, SELLA_FORMAT, "%s: is empty; expected a header line", path);
        goto done;
    }
    if (!memchr(text, '\n', bytes) && memchr(text, '\r', bytes)) {
        status = sella_err_set(err, SELLA_FORMAT,
                               "%s: its lines end in carriage returns alone; expected line feeds",
                               path);
        goto done;
    }
    if (!delimiter && (table->delimiter = sniff(text + mark, bytes - mark)) == 0) {
        status = sella_err_set(
            err, SELLA_FORMAT,
            "%s:1: the header has no separator; expected one of comma, semicolon, tab or |", path);
        goto done;
    }
    SELLA_TRY(split_record(table, err));
    for (int f = 0; f < table->fields; f++) {
        sella_field name = table->field_n[f];
        if (name.bytes == 0) {
            status = sella_err_set(err, SELLA_FORMAT, "%s:1: column %d has no name", path, f + 1);
            goto done;
        }
        for (int g = 0; g < f; g++) {
            if (table->field_n[g].bytes == name.bytes &&
                memcmp(table->field_n[g].data, name.data, name.bytes) == 0) {
                status = sella_err_set(err, SELLA_FORMAT, "%s:1: two columns are named '%.*s'",
                                       path, (int)(name.bytes < 80 ? name.bytes : 80), name.data);
                goto done;
            }
        }
        SELLA_TRY(sella_text_append(&table->names, name.data, name.bytes, err));
        SELLA_TRY(sella_text_append(&table->names, "", 1, err));
    }
    table->columns = table->fields;
done:
    if (status != SELLA_OK) {
        sella_delimited_release(table);
    }
    return status;
}

int sella_delimited_column(const sella_delimited *table, const char *name)
{
    const char *at = table->names.data;
    for (int c = 0; c < table->columns; c++, at += strlen(at) + 1) {
        if (strcmp(at, name) == 0) {
            return c;
        }
    }
    return -1;
}

/* True when a number stands among the names: the file has no header, most likely. */
static bool looks_like_row(const sella_delimited *table)
{
    const char *at = table->names.data;
    double number;
    for (int c = 0; c < table->columns; c++, at += strlen(at) + 1) {
        if (sella_parse_real(at, strlen(at), -1e300, 1e300, "", &number, NULL) == SELLA_OK) {
            return true;
        }
    }
    return false;
}

sella_status sella_delimited_need(const sella_delimited *table, const char *name, int *column,
                                  sella_err *err)
{
    *column = sella_delimited_column(table, name);
    if (*column >= 0) {
        return SELLA_OK;
    }
    sella_text there = {0};
    const char *at = table->names.data;
    for (int c = 0; c < table->columns && there.size < 300; c++, at += strlen(at) + 1) {
        sella_text_format(&there, NULL, "%s%.40s", c ? ", " : "", at);
    }
    sella_status status = sella_err_set(
        err, SELLA_FORMAT, "%s:1: there is no column '%s'; the header has %s%s", table->path, name,
        there.data ? there.data : "nothing",
        looks_like_row(table) ? ", which looks like a row: expected a line of names first" : "");
    sella_text_release(&there);
    return status;
}

sella_status sella_delimited_next(sella_delimited *table, bool *more, sella_err *err)
{
    for (;;) {
        *more = table->cursor < table->end;
        if (!*more) {
            return SELLA_OK;
        }
        sella_status status = split_record(table, err);
        if (status != SELLA_OK) {
            return status;
        }
        if (table->fields == 1 && table->field_n[0].bytes == 0 && table->columns > 1) {
            continue; // a blank line
        }
        if (table->fields != table->columns) {
            return sella_err_set(err, SELLA_FORMAT,
                                 "%s:%lld: the record has %d fields; expected %d as in the header",
                                 table->path, (long long)table->line, table->fields,
                                 table->columns);
        }
        return SELLA_OK;
    }
}
