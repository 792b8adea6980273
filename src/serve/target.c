/* target.c - percent decoding of request targets (serve/target.h). */
#include "serve/target.h"

#include <strings.h>

#include "base/text.h"

void sella_target_release(sella_target *target)
{
    free(target->path);
    free(target->buffer);
    *target = (sella_target){0};
}

static int hex(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static sella_status decode_bytes(const char *text, size_t bytes, int plus, char *out,
                                 const char *what, sella_err *err)
{
    size_t size = 0;
    for (size_t i = 0; i < bytes; i++) {
        char c = text[i];
        if (c == '%') {
            const int a = bytes - i > 2 ? hex(text[i + 1]) : -1;
            const int b = bytes - i > 2 ? hex(text[i + 2]) : -1;
            if (a < 0 || b < 0) {
                return sella_err_set(err, SELLA_ARG,
                                     "the %s has a '%%' without two hexadecimal digits behind it",
                                     what);
            }
            c = (char)(a * 16 + b);
            i += 2;
        } else if (plus && c == '+') {
            c = ' ';
        }
        if (c == '\0') {
            return sella_err_set(err, SELLA_ARG, "the %s has a zero byte; expected text", what);
        }
        out[size++] = c;
    }
    out[size] = '\0';
    return sella_utf8_valid(out, size) == size
               ? SELLA_OK
               : sella_err_set(err, SELLA_ARG, "the %s is not UTF-8", what);
}

/* Decode text [bytes] into out, NUL-terminated; out has room for bytes + 1. After an error it is
 * the empty text: nobody reads half of one. */
static sella_status decode(const char *text, size_t bytes, int plus, char *out, const char *what,
                           sella_err *err)
{
    sella_status status = decode_bytes(text, bytes, plus, out, what, err);
    if (status != SELLA_OK) {
        out[0] = '\0';
    }
    return status;
}

/* "name=value&name=value" into pairs; their texts go to target->buffer, which has room. */
static sella_status split_query(const char *query, sella_target *out, sella_err *err)
{
    char *room = out->buffer;
    while (*query != '\0') {
        const size_t bytes = strcspn(query, "&");
        const size_t name = strcspn(query, "=&");
        const size_t value = name < bytes ? name + 1 : bytes;
        if (bytes > 0) {
            if (out->count == SELLA_QUERY_MAX) {
                return sella_err_set(err, SELLA_ARG, "the query has more than %d parts",
                                     SELLA_QUERY_MAX);
            }
            sella_status status = decode(query, name, 1, room, "query", err);
            if (status != SELLA_OK) {
                return status;
            }
            out->pair_n[out->count].name = room;
            room += strlen(room) + 1;
            status = decode(query + value, bytes - value, 1, room, "query", err);
            if (status != SELLA_OK) {
                return status;
            }
            out->pair_n[out->count++].value = room;
            room += strlen(room) + 1;
        }
        query += bytes + (query[bytes] == '&');
    }
    return SELLA_OK;
}

/* Behind "http://host" of a target in absolute form, which is how proxies are asked (RFC 9112,
 * 3.2.2). */
static const char *origin_form(const char *raw)
{
    const size_t scheme = strncasecmp(raw, "http://", 7) == 0    ? 7
                          : strncasecmp(raw, "https://", 8) == 0 ? 8
                                                                 : 0;
    const char *rest = raw + scheme + strcspn(raw + scheme, "/?");
    return scheme > 0 && *rest == '/' ? rest : raw;
}

sella_status sella_target_parse(const char *raw, sella_target *out, sella_err *err)
{
    raw = origin_form(raw);
    const size_t bytes = strlen(raw);
    const size_t path = strcspn(raw, "?");
    *out = (sella_target){0};
    if (bytes > SELLA_TARGET_MAX) {
        return sella_err_set(err, SELLA_ARG,
                             "the request's target has %zu bytes; expected at most %d", bytes,
                             SELLA_TARGET_MAX);
    }
    out->path = malloc(path + 2);
    out->buffer = malloc(bytes + 2 * SELLA_QUERY_MAX + 2);
    if (out->path == NULL || out->buffer == NULL) {
        return sella_err_memory(err, "a request", bytes);
    }
    sella_status status = decode(raw, path, 0, out->path, "path", err);
    if (status == SELLA_OK && out->path[0] != '/') {
        status = sella_err_set(err, SELLA_ARG, "the path does not begin with '/'");
    }
    return status == SELLA_OK ? split_query(raw + path + (raw[path] == '?'), out, err) : status;
}

const char *sella_target_query(const sella_target *target, const char *name)
{
    for (int i = 0; i < target->count; i++) {
        if (strcmp(target->pair_n[i].name, name) == 0) {
            return target->pair_n[i].value;
        }
    }
    return NULL;
}
