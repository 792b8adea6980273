/* predictions.c - prediction files (eval/predictions.h).
 *
 * The reader walks the mapped file once. Every field is copied without its quotes into one pool: a
 * field and its NUL never take more than the field and its separator did in the file, so the pool
 * needs the file's size.
 */
#include "eval/predictions.h"

#include <math.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/text.h"

enum { COLUMNS_MAX = 256, USER = 0, ITEM, LABEL, SCORE, WARM, KNOWN };

static const char *const known_name[KNOWN] = {"user", "item", "label", "score", "warm"};

/* ---- CSV ---- */

typedef struct csv {
    const char *path;
    const char *at, *end;
    char *pool; /* next free byte */
    int64_t line, row_line; /* of `at`; where the row began */
    char *field[COLUMNS_MAX];
    size_t bytes[COLUMNS_MAX];
    int fields;
} csv;

static sella_status quoted_field(csv *c, sella_err *err)
{
    const int64_t open = c->line;
    c->at++;
    for (;;) {
        if (c->at == c->end) {
            return sella_err_set(err, SELLA_FORMAT, "%s:%lld: a quoted field is not closed",
                                 c->path, (long long)open);
        }
        if (*c->at == '"') {
            if (c->at + 1 < c->end && c->at[1] == '"') {
                c->at++;
            } else {
                c->at++;
                break;
            }
        }
        c->line += *c->at == '\n';
        *c->pool++ = *c->at++;
    }
    if (c->at < c->end && *c->at != ',' && *c->at != '\n' && *c->at != '\r') {
        return sella_err_set(
            err, SELLA_FORMAT,
            "%s:%lld: text follows a closing quote; expected a comma or the line's end", c->path,
            (long long)c->line);
    }
    return SELLA_OK;
}

static sella_status plain_field(csv *c, sella_err *err)
{
    for (; c->at < c->end && *c->at != ',' && *c->at != '\n' &&
           !(*c->at == '\r' && (c->at + 1 == c->end || c->at[1] == '\n'));
         c->at++) {
        if (*c->at == '"' || *c->at == '\r') {
            return sella_err_set(err, SELLA_FORMAT, "%s:%lld: %s inside a field without quotes",
                                 c->path, (long long)c->line,
                                 *c->at == '"' ? "a quote" : "a carriage return");
        }
        *c->pool++ = *c->at;
    }
    return SELLA_OK;
}

/* Next row into c->field; c->fields = 0 at the end of the file. */
static sella_status next_row(csv *c, sella_err *err)
{
    c->fields = 0;
    c->row_line = c->line;
    if (c->at == c->end) {
        return SELLA_OK;
    }
    for (;;) {
        if (c->fields == COLUMNS_MAX) {
            return sella_err_set(err, SELLA_FORMAT, "%s:%lld: more than %d columns", c->path,
                                 (long long)c->row_line, COLUMNS_MAX);
        }
        char *start = c->pool;
        const sella_status status =
            c->at < c->end && *c->at == '"' ? quoted_field(c, err) : plain_field(c, err);
        if (status != SELLA_OK) {
            return status;
        }
        const size_t bytes = (size_t)(c->pool - start);
        if (memchr(start, '\0', bytes) || sella_utf8_valid(start, bytes) != bytes) {
            return sella_err_set(err, SELLA_FORMAT, "%s:%lld: column %d is not valid UTF-8 text",
                                 c->path, (long long)c->row_line, c->fields + 1);
        }
        *c->pool++ = '\0';
        c->field[c->fields] = start;
        c->bytes[c->fields++] = bytes;
        if (c->at < c->end && *c->at == ',') {
            c->at++;
            continue;
        }
        if (c->at < c->end && *c->at == '\r') {
            c->at++;
        }
        if (c->at < c->end && *c->at == '\n') {
            c->at++;
            c->line++;
        } else if (c->at < c->end) {
            return sella_err_set(err, SELLA_FORMAT,
                                 "%s:%lld: a carriage return without a line feed", c->path,
                                 (long long)c->line);
        }
        return SELLA_OK;
    }
}

/* ---- equal ids, equal codes ---- */

typedef struct codes {
    char **id;     /* [capacity] by code */
    int32_t *slot; /* [2 * capacity, a power of two] code + 1; 0: empty */
    size_t slots;
    int32_t count;
} codes;

static void codes_release(codes *c)
{
    free(c->id);
    free(c->slot);
}

/* Twice as many slots; also the first ones. */
static sella_status codes_grow(codes *c, sella_err *err)
{
    codes bigger = {.slots = c->slots ? 2 * c->slots : 1024, .count = c->count};
    bigger.id = sella_alloc(bigger.slots / 2, sizeof *bigger.id, "ids", err);
    bigger.slot = sella_alloc(bigger.slots, sizeof *bigger.slot, "ids", err);
    if (!bigger.id || !bigger.slot) {
        codes_release(&bigger);
        return SELLA_MEMORY;
    }
    for (int32_t i = 0; i < c->count; i++) {
        size_t at = (size_t)sella_hash_bytes(c->id[i], strlen(c->id[i]), 0) & (bigger.slots - 1);
        while (bigger.slot[at] != 0) {
            at = (at + 1) & (bigger.slots - 1);
        }
        bigger.slot[at] = i + 1;
        bigger.id[i] = c->id[i];
    }
    codes_release(c);
    *c = bigger;
    return SELLA_OK;
}

/* *known is true when the id was there before. */
static sella_status codes_find(codes *c, char *id, size_t bytes, int32_t *code, bool *known,
                               sella_err *err)
{
    if ((size_t)c->count + 1 > c->slots / 2) {
        const sella_status status = codes_grow(c, err);
        if (status != SELLA_OK) {
            return status;
        }
    }
    size_t at = (size_t)sella_hash_bytes(id, bytes, 0) & (c->slots - 1);
    for (; c->slot[at] != 0; at = (at + 1) & (c->slots - 1)) {
        *code = c->slot[at] - 1;
        if (strcmp(c->id[*code], id) == 0) {
            *known = true;
            return SELLA_OK;
        }
    }
    *known = false;
    *code = c->count++;
    c->id[*code] = id;
    c->slot[at] = *code + 1;
    return SELLA_OK;
}

/* ---- reading ---- */

static sella_status header_read(csv *c, int column[KNOWN], sella_err *err)
{
    sella_status status = next_row(c, err);
    if (status != SELLA_OK) {
        return status;
    }
    for (int k = 0; k < KNOWN; k++) {
        column[k] = -1;
        for (int f = 0; f < c->fields; f++) {
            if (strcmp(c->field[f], known_name[k]) == 0) {
                if (column[k] >= 0) {
                    return sella_err_set(err, SELLA_FORMAT, "%s:1: column '%s' is there twice",
                                         c->path, known_name[k]);
                }
                column[k] = f;
            }
        }
        if (column[k] < 0 && k != WARM) {
            return sella_err_set(
                err, SELLA_FORMAT,
                "%s:1: there is no column '%s'; expected user,item,label,score and optionally warm",
                c->path, known_name[k]);
        }
    }
    return SELLA_OK;
}

/* 0 or 1, also as 0.0 or 1.0: a program that keeps labels as reals writes them so. */
static sella_status flag_read(const csv *c, int f, const char *name, uint8_t *out, sella_err *err)
{
    const char *text = c->field[f];
    const size_t bytes = c->bytes[f];
    const bool whole = bytes == 1 || (bytes == 3 && memcmp(text + 1, ".0", 2) == 0);
    if (!whole || (text[0] != '0' && text[0] != '1')) {
        return sella_err_set(err, SELLA_FORMAT, "%s:%lld: %s '%.40s' is not 0 or 1", c->path,
                             (long long)c->row_line, name, text);
    }
    *out = text[0] == '1';
    return SELLA_OK;
}

static sella_status id_read(csv *c, int f, const char *name, codes *all, char **id, int32_t *code,
                            sella_err *err)
{
    bool known;
    if (c->bytes[f] == 0) {
        return sella_err_set(err, SELLA_FORMAT, "%s:%lld: %s is empty", c->path,
                             (long long)c->row_line, name);
    }
    const sella_status status = codes_find(all, c->field[f], c->bytes[f], code, &known, err);
    if (status == SELLA_OK) {
        *id = all->id[*code];
    }
    return status;
}

/* array, made longer; the old one, with *ok = false, when memory is out. */
static void *longer(void *array, int64_t n, size_t size, bool *ok)
{
    void *bigger = realloc(array, (size_t)n * size);
    *ok = *ok && bigger;
    return bigger ? bigger : array;
}

static sella_status grow(sella_predictions *p, int64_t *capacity, bool warm, sella_err *err)
{
    const int64_t n = *capacity ? 2 * *capacity : 4096;
    bool ok = true;
    p->user = longer(p->user, n, sizeof *p->user, &ok);
    p->item = longer(p->item, n, sizeof *p->item, &ok);
    p->user_code = longer(p->user_code, n, sizeof *p->user_code, &ok);
    p->item_code = longer(p->item_code, n, sizeof *p->item_code, &ok);
    p->label = longer(p->label, n, sizeof *p->label, &ok);
    p->score = longer(p->score, n, sizeof *p->score, &ok);
    p->line = longer(p->line, n, sizeof *p->line, &ok);
    if (warm) {
        p->warm = longer(p->warm, n, sizeof *p->warm, &ok);
    }
    *capacity = n;
    return ok ? SELLA_OK : sella_err_memory(err, "predictions", (size_t)n * sizeof *p->score);
}

static sella_status rows_read(csv *c, const int column[KNOWN], sella_predictions *p, codes *users,
                              codes *items, sella_err *err)
{
    sella_status status = SELLA_OK;
    const int fields = c->fields;
    int64_t capacity = 0;
    for (;;) {
        SELLA_TRY(next_row(c, err));
        if (c->fields == 0) {
            break;
        }
        if (c->fields != fields) {
            status = sella_err_set(err, SELLA_FORMAT,
                                   "%s:%lld: %d columns; expected %d as in the header", c->path,
                                   (long long)c->row_line, c->fields, fields);
            goto done;
        }
        if (p->count == INT32_MAX) {
            status = sella_err_set(err, SELLA_FORMAT, "%s: more than %d rows", c->path, INT32_MAX);
            goto done;
        }
        if (p->count == capacity) {
            SELLA_TRY(grow(p, &capacity, column[WARM] >= 0, err));
        }
        const int64_t n = p->count;
        SELLA_TRY(id_read(c, column[USER], "user", users, &p->user[n], &p->user_code[n], err));
        SELLA_TRY(id_read(c, column[ITEM], "item", items, &p->item[n], &p->item_code[n], err));
        SELLA_TRY(flag_read(c, column[LABEL], "label", &p->label[n], err));
        status = sella_parse_real(c->field[column[SCORE]], c->bytes[column[SCORE]], -1e300, 1e300,
                                  "score", &p->score[n], err);
        if (status != SELLA_OK) {
            status = sella_err_prefix(err, status, "%s:%lld", c->path, (long long)c->row_line);
            goto done;
        }
        if (column[WARM] >= 0) {
            SELLA_TRY(flag_read(c, column[WARM], "warm", &p->warm[n], err));
        }
        p->line[n] = c->row_line;
        p->count++;
    }
done:
    return status;
}

sella_status sella_predictions_parse(const char *where, const char *data, size_t bytes,
                                     sella_predictions *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    codes users = {0}, items = {0};
    int column[KNOWN];
    *out = (sella_predictions){0};
    csv *c = sella_alloc(1, sizeof *c, "a CSV reader", err);
    out->pool = sella_alloc(bytes + 2, 1, "predictions", err);
    if (!c || !out->pool) {
        status = SELLA_MEMORY;
        goto done;
    }
    data = bytes > 0 ? data : "";
    *c = (csv){.path = where, .at = data, .end = data + bytes, .pool = out->pool, .line = 1};
    if (bytes >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0) {
        c->at += 3;
    }
    SELLA_TRY(header_read(c, column, err));
    status = rows_read(c, column, out, &users, &items, err);
done:
    codes_release(&users);
    codes_release(&items);
    free(c);
    if (status != SELLA_OK) {
        sella_predictions_release(out);
    }
    return status;
}

sella_status sella_predictions_read(const char *path, sella_predictions *out, sella_err *err)
{
    sella_map map = {0};
    *out = (sella_predictions){0};
    sella_status status = sella_map_open(path, &map, err);
    if (status == SELLA_OK) {
        status = sella_predictions_parse(path, (const char *)map.data, map.size, out, err);
        sella_map_close(&map);
    }
    return status;
}

void sella_predictions_release(sella_predictions *predictions)
{
    free(predictions->user);
    free(predictions->item);
    free(predictions->user_code);
    free(predictions->item_code);
    free(predictions->label);
    free(predictions->score);
    free(predictions->warm);
    free(predictions->line);
    free(predictions->pool);
    *predictions = (sella_predictions){0};
}

/* ---- writing ---- */

sella_status sella_csv_field_write(sella_writer *writer, const char *text, sella_err *err)
{
    sella_status status = SELLA_OK;
    if (!strpbrk(text, ",\"\r\n")) {
        return sella_write_bytes(writer, text, strlen(text), err);
    }
    SELLA_TRY(sella_write_bytes(writer, "\"", 1, err));
    for (const char *quote; (quote = strchr(text, '"')) != NULL; text = quote + 1) {
        SELLA_TRY(sella_write_bytes(writer, text, (size_t)(quote - text) + 1, err));
        SELLA_TRY(sella_write_bytes(writer, "\"", 1, err));
    }
    SELLA_TRY(sella_write_bytes(writer, text, strlen(text), err));
    status = sella_write_bytes(writer, "\"", 1, err);
done:
    return status;
}

sella_status sella_predictions_write(const char *path, const char *const *user_id,
                                     const char *const *item_id, const uint8_t *label_n,
                                     const double *score_n, const uint8_t *warm_n, int64_t N,
                                     sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_writer *writer = NULL;
    SELLA_TRY(sella_write_open(path, &writer, err));
    SELLA_TRY(sella_write_format(writer, err, "user,item,label,score%s\n", warm_n ? ",warm" : ""));
    for (int64_t i = 0; i < N; i++) {
        if (!isfinite(score_n[i])) {
            status =
                sella_err_set(err, SELLA_DIVERGED, "%s: the score of row %lld is not finite (%g)",
                              path, (long long)i + 1, score_n[i]);
            goto done;
        }
        SELLA_TRY(sella_csv_field_write(writer, user_id[i], err));
        SELLA_TRY(sella_write_bytes(writer, ",", 1, err));
        SELLA_TRY(sella_csv_field_write(writer, item_id[i], err));
        SELLA_TRY(sella_write_format(writer, err, ",%d,%.9g%s\n", label_n[i] ? 1 : 0, score_n[i],
                                     !warm_n     ? ""
                                     : warm_n[i] ? ",1"
                                                 : ",0"));
    }
    status = sella_write_commit(writer, err);
    writer = NULL;
done:
    sella_write_abandon(writer);
    return status;
}
