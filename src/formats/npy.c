/* npy.c - reading and writing of .npy version 1.0.
 *
 * The header is a Python dictionary literal with the three keys 'descr', 'fortran_order' and
 * 'shape' in any order. Only what numpy itself writes for plain types is accepted, so the reader
 * below knows single-quoted words, True/False and one tuple.
 */
#include "formats/npy.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/text.h"

enum { NPY_PREAMBLE = 10, NPY_ALIGN = 64 };

static const struct {
    const char *descr;
    int64_t size;
    const char *name;
} npy_types[] = {
    [SELLA_NPY_U8] = {"|u1", 1, "unsigned 8-bit integers"},
    [SELLA_NPY_I32] = {"<i4", 4, "32-bit integers"},
    [SELLA_NPY_I64] = {"<i8", 8, "64-bit integers"},
    [SELLA_NPY_F32] = {"<f4", 4, "32-bit reals"},
    [SELLA_NPY_F64] = {"<f8", 8, "64-bit reals"},
};

/* What the dictionary said. */
typedef struct npy_header {
    char descr[16];
    bool fortran;
    int rank;
    int64_t shape[2];
    bool has_descr, has_fortran, has_shape;
} npy_header;

typedef struct npy_cursor {
    const char *at;
    const char *end;
    const char *path;
} npy_cursor;

static void npy_blanks(npy_cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n')) {
        c->at++;
    }
}

static bool npy_take(npy_cursor *c, const char *text)
{
    size_t n = strlen(text);
    npy_blanks(c);
    if ((size_t)(c->end - c->at) < n || memcmp(c->at, text, n) != 0) {
        return false;
    }
    c->at += n;
    return true;
}

static sella_status npy_bad(const npy_cursor *c, const char *expected, sella_err *err)
{
    return sella_err_set(err, SELLA_FORMAT,
                         "%s: the npy header does not read as numpy writes it; expected %s",
                         c->path, expected);
}

/* 'word' into text [bytes]. */
static sella_status npy_quoted(npy_cursor *c, char *text, size_t bytes, sella_err *err)
{
    if (!npy_take(c, "'")) {
        return npy_bad(c, "a word in single quotes", err);
    }
    size_t n = 0;
    while (c->at < c->end && *c->at != '\'') {
        if (n + 1 >= bytes) {
            return npy_bad(c, "a short word in single quotes", err);
        }
        text[n++] = *c->at++;
    }
    text[n] = '\0';
    return npy_take(c, "'") ? SELLA_OK : npy_bad(c, "a closing quote", err);
}

static sella_status npy_shape(npy_cursor *c, npy_header *h, sella_err *err)
{
    if (!npy_take(c, "(")) {
        return npy_bad(c, "a shape such as (3, 4)", err);
    }
    h->rank = 0;
    h->shape[0] = h->shape[1] = 1;
    while (!npy_take(c, ")")) {
        npy_blanks(c);
        const char *start = c->at;
        while (c->at < c->end && *c->at >= '0' && *c->at <= '9') {
            c->at++;
        }
        int64_t value = 0;
        sella_status status =
            sella_parse_int(start, (size_t)(c->at - start), 0, INT64_MAX, "dimension", &value, err);
        if (status != SELLA_OK) {
            return sella_err_prefix(err, status, "%s: npy header", c->path);
        }
        if (h->rank == 2) {
            return sella_err_set(err, SELLA_SHAPE,
                                 "%s: the array has more than two dimensions; expected one or two",
                                 c->path);
        }
        h->shape[h->rank++] = value;
        if (!npy_take(c, ",")) {
            if (!npy_take(c, ")")) {
                return npy_bad(c, "a comma or the end of the shape", err);
            }
            break;
        }
    }
    return h->rank > 0
               ? SELLA_OK
               : sella_err_set(err, SELLA_SHAPE,
                               "%s: the array has no dimensions; expected one or two", c->path);
}

static sella_status npy_dictionary(npy_cursor *c, npy_header *h, sella_err *err)
{
    sella_status status = SELLA_OK;
    if (!npy_take(c, "{")) {
        return npy_bad(c, "a dictionary", err);
    }
    while (!npy_take(c, "}")) {
        char key[16];
        SELLA_TRY(npy_quoted(c, key, sizeof key, err));
        bool *seen = strcmp(key, "descr") == 0           ? &h->has_descr
                     : strcmp(key, "fortran_order") == 0 ? &h->has_fortran
                     : strcmp(key, "shape") == 0         ? &h->has_shape
                                                         : NULL;
        if (seen == NULL || *seen || !npy_take(c, ":")) {
            return npy_bad(c, "the keys descr, fortran_order and shape, once each", err);
        }
        *seen = true;
        if (seen == &h->has_descr) {
            npy_blanks(c);
            SELLA_TRY(npy_quoted(c, h->descr, sizeof h->descr, err));
        } else if (seen == &h->has_shape) {
            SELLA_TRY(npy_shape(c, h, err));
        } else if (npy_take(c, "True")) {
            h->fortran = true;
        } else if (!npy_take(c, "False")) {
            return npy_bad(c, "True or False after fortran_order", err);
        }
        if (!npy_take(c, ",")) {
            if (!npy_take(c, "}")) {
                return npy_bad(c, "a comma or the end of the dictionary", err);
            }
            break;
        }
    }
    npy_blanks(c);
    if (c->at != c->end || !h->has_descr || !h->has_fortran || !h->has_shape) {
        return npy_bad(c, "the keys descr, fortran_order and shape, once each, and nothing after",
                       err);
    }
done:
    return status;
}

static sella_status npy_check(const npy_header *h, sella_npy_type want, const sella_map *map,
                              size_t data_start, sella_err *err)
{
    if (strcmp(h->descr, npy_types[want].descr) != 0) {
        return sella_err_set(err, SELLA_SHAPE, "%s: the array's type is '%s'; expected '%s' (%s)",
                             map->path, h->descr, npy_types[want].descr, npy_types[want].name);
    }
    if (h->fortran) {
        return sella_err_set(err, SELLA_SHAPE,
                             "%s: the array is stored in Fortran order; expected C order",
                             map->path);
    }
    int64_t bytes = 0;
    if (__builtin_mul_overflow(h->shape[0], h->shape[1], &bytes) ||
        __builtin_mul_overflow(bytes, npy_types[want].size, &bytes) ||
        (uint64_t)bytes != map->size - data_start) {
        return sella_err_set(
            err, SELLA_FORMAT,
            "%s: %zu bytes follow the header; expected %lld x %lld values of %lld bytes", map->path,
            map->size - data_start, (long long)h->shape[0], (long long)h->shape[1],
            (long long)npy_types[want].size);
    }
    return SELLA_OK;
}

static sella_status npy_type_find(const char *descr, const char *path, sella_npy_type *out,
                                  sella_err *err)
{
    for (size_t i = 0; i < sizeof npy_types / sizeof *npy_types; i++) {
        if (strcmp(descr, npy_types[i].descr) == 0) {
            *out = (sella_npy_type)i;
            return SELLA_OK;
        }
    }
    return sella_err_set(err, SELLA_UNSUPPORTED,
                         "%s: the array's type is '%s'; expected |u1, <i4, <i8, <f4 or <f8", path,
                         descr);
}

/* Values that do not begin at a multiple of their size are copied to where they do. numpy aligns to
 * 64 bytes, before 1.14 to 16, other writers as they like. */
static sella_status npy_place(sella_npy *npy, size_t data_start, sella_err *err)
{
    const size_t bytes = npy->map.size - data_start;
    npy->data = npy->map.data + data_start;
    if (data_start % (size_t)npy_types[npy->type].size == 0) {
        return SELLA_OK;
    }
    npy->copy = sella_alloc(bytes, 1, "an array", err);
    if (npy->copy == NULL) {
        return SELLA_MEMORY;
    }
    memcpy(npy->copy, npy->data, bytes);
    npy->data = npy->copy;
    return SELLA_OK;
}

/* want NULL: the type that the header names. */
static sella_status npy_open_as(const char *path, const sella_npy_type *want, sella_npy *out,
                                sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_map map = {0};
    npy_header h = {0};
    *out = (sella_npy){0};
    SELLA_TRY(sella_map_open(path, &map, err));
    if (map.size < NPY_PREAMBLE || memcmp(map.data, "\x93NUMPY", 6) != 0) {
        SELLA_TRY(sella_err_set(err, SELLA_FORMAT,
                                "%s: this is not an npy file: it does not begin with \\x93NUMPY",
                                path));
    }
    if (map.data[6] != 1 || map.data[7] != 0) {
        SELLA_TRY(sella_err_set(err, SELLA_UNSUPPORTED, "%s: npy version %d.%d; expected 1.0", path,
                                map.data[6], map.data[7]));
    }
    size_t header = (size_t)map.data[8] | (size_t)map.data[9] << 8;
    if (header > map.size - NPY_PREAMBLE) {
        SELLA_TRY(
            sella_err_set(err, SELLA_FORMAT,
                          "%s: the npy header should take %zu bytes but the file ends after %zu",
                          path, header, map.size - NPY_PREAMBLE));
    }
    npy_cursor cursor = {(const char *)map.data + NPY_PREAMBLE,
                         (const char *)map.data + NPY_PREAMBLE + header, path};
    SELLA_TRY(npy_dictionary(&cursor, &h, err));
    sella_npy_type type = SELLA_NPY_U8;
    if (want != NULL) {
        type = *want;
    } else {
        SELLA_TRY(npy_type_find(h.descr, path, &type, err));
    }
    SELLA_TRY(npy_check(&h, type, &map, NPY_PREAMBLE + header, err));
    *out = (sella_npy){.map = map, .type = type, .rank = h.rank, .shape = {h.shape[0], h.shape[1]}};
    map = (sella_map){0};
    SELLA_TRY(npy_place(out, NPY_PREAMBLE + header, err));
done:
    sella_map_close(&map);
    if (status != SELLA_OK) {
        sella_npy_close(out);
    }
    return status;
}

sella_status sella_npy_open(const char *path, sella_npy_type want, sella_npy *out, sella_err *err)
{
    return npy_open_as(path, &want, out, err);
}

sella_status sella_npy_open_any(const char *path, sella_npy *out, sella_err *err)
{
    return npy_open_as(path, NULL, out, err);
}

const char *sella_npy_type_name(sella_npy_type type)
{
    return npy_types[type].name;
}

void sella_npy_close(sella_npy *npy)
{
    if (npy != NULL) {
        sella_map_close(&npy->map);
        free(npy->copy);
        *npy = (sella_npy){0};
    }
}

sella_status sella_npy_write(const char *path, sella_npy_type type, const void *data, int64_t rows,
                             int64_t cols, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_writer *writer = NULL;
    char head[256];
    int64_t bytes = 0;
    if (rows < 0 || cols < 0 || __builtin_mul_overflow(rows, cols == 0 ? 1 : cols, &bytes) ||
        __builtin_mul_overflow(bytes, npy_types[type].size, &bytes)) {
        return sella_err_set(err, SELLA_ARG, "%s: cannot write an array of %lld x %lld values",
                             path, (long long)rows, (long long)cols);
    }
    char shape[64];
    if (cols == 0) {
        snprintf(shape, sizeof shape, "(%lld,)", (long long)rows);
    } else {
        snprintf(shape, sizeof shape, "(%lld, %lld)", (long long)rows, (long long)cols);
    }
    memset(head, ' ', sizeof head);
    memcpy(head, "\x93NUMPY\x01\x00", 8);
    int n = snprintf(head + NPY_PREAMBLE, sizeof head - NPY_PREAMBLE,
                     "{'descr': '%s', 'fortran_order': False, 'shape': %s, }",
                     npy_types[type].descr, shape);
    head[NPY_PREAMBLE + n] = ' '; /* over the terminator */
    size_t total = ((size_t)(NPY_PREAMBLE + n) + 1 + NPY_ALIGN - 1) / NPY_ALIGN * NPY_ALIGN;
    head[total - 1] = '\n';
    head[8] = (char)((total - NPY_PREAMBLE) & 0xff);
    head[9] = (char)((total - NPY_PREAMBLE) >> 8);
    SELLA_TRY(sella_write_open(path, &writer, err));
    SELLA_TRY(sella_write_bytes(writer, head, total, err));
    SELLA_TRY(sella_write_bytes(writer, data, (size_t)bytes, err));
    sella_writer *finished = writer;
    writer = NULL;
    SELLA_TRY(sella_write_commit(finished, err));
done:
    sella_write_abandon(writer);
    return status;
}
