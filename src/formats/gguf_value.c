/* gguf_value.c - typed getters of GGUF metadata. */
#include "formats/gguf_value.h"

#include <math.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/text.h"

static const struct {
    const char *name; /* plural noun */
    uint64_t bytes;
} scalars[] = {
    [SELLA_GGUF_U8] = {"bytes", 1},       [SELLA_GGUF_I8] = {"integers", 1},
    [SELLA_GGUF_U16] = {"integers", 2},   [SELLA_GGUF_I16] = {"integers", 2},
    [SELLA_GGUF_U32] = {"integers", 4},   [SELLA_GGUF_I32] = {"integers", 4},
    [SELLA_GGUF_F32] = {"reals", 4},      [SELLA_GGUF_BOOL] = {"yes/no values", 1},
    [SELLA_GGUF_STRING] = {"strings", 0}, [SELLA_GGUF_ARRAY] = {"arrays", 0},
    [SELLA_GGUF_U64] = {"integers", 8},   [SELLA_GGUF_I64] = {"integers", 8},
    [SELLA_GGUF_F64] = {"reals", 8},
};

uint64_t sella_gguf_type_bytes(sella_gguf_type type)
{
    return scalars[type].bytes;
}

static bool is_integer(sella_gguf_type type)
{
    return type <= SELLA_GGUF_I32 || type == SELLA_GGUF_U64 || type == SELLA_GGUF_I64;
}

/* False when the value does not fit (U64 only). */
static bool integer_at(const uint8_t *p, sella_gguf_type type, int64_t *out)
{
    switch (type) {
    case SELLA_GGUF_U8: *out = p[0]; return true;
    case SELLA_GGUF_I8: *out = (int8_t)p[0]; return true;
    case SELLA_GGUF_U16: *out = (int64_t)p[0] | (int64_t)p[1] << 8; return true;
    case SELLA_GGUF_I16: *out = (int16_t)(p[0] | p[1] << 8); return true;
    case SELLA_GGUF_U32: *out = sella_u32_at(p); return true;
    case SELLA_GGUF_I32: *out = (int32_t)sella_u32_at(p); return true;
    default: *out = (int64_t)sella_u64_at(p); return type == SELLA_GGUF_I64 || *out >= 0;
    }
}

static double real_at(const uint8_t *p, sella_gguf_type type)
{
    if (type == SELLA_GGUF_F32) {
        uint32_t bits = sella_u32_at(p);
        float value;
        memcpy(&value, &bits, sizeof value);
        return (double)value;
    }
    uint64_t bits = sella_u64_at(p);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The text whose length stands at p; bounds were checked when the file was opened. */
static sella_span span_at(const uint8_t *p)
{
    return (sella_span){(const char *)p + 8, (size_t)sella_u64_at(p)};
}

bool sella_gguf_has(const sella_gguf *file, const char *key)
{
    return sella_gguf_value_find(file, key) != NULL;
}

static sella_status wrong(const sella_gguf *file, const sella_gguf_value *v, const char *expected,
                          sella_err *err)
{
    return sella_err_set(err, SELLA_FORMAT, "%s: key '%.*s' has %s%s; expected %s",
                         sella_gguf_path(file), (int)v->key.bytes, v->key.data,
                         v->type == SELLA_GGUF_ARRAY ? "an array of " : "a value of type ",
                         scalars[v->type == SELLA_GGUF_ARRAY ? v->element : v->type].name,
                         expected);
}

static sella_status find(const sella_gguf *file, const char *key, const sella_gguf_value **out,
                         sella_err *err)
{
    *out = sella_gguf_value_find(file, key);
    return *out != NULL ? SELLA_OK
                        : sella_err_set(err, SELLA_MISSING, "%s: key '%s' is missing",
                                        sella_gguf_path(file), key);
}

sella_status sella_gguf_int(const sella_gguf *file, const char *key, int64_t *out, sella_err *err)
{
    const sella_gguf_value *v;
    sella_status status = find(file, key, &v, err);
    if (status != SELLA_OK) {
        return status;
    }
    if (!is_integer(v->type) || !integer_at(v->data, v->type, out)) {
        return wrong(file, v, "an integer below 2^63", err);
    }
    return SELLA_OK;
}

sella_status sella_gguf_real(const sella_gguf *file, const char *key, double *out, sella_err *err)
{
    const sella_gguf_value *v;
    int64_t integer = 0;
    sella_status status = find(file, key, &v, err);
    if (status != SELLA_OK) {
        return status;
    }
    if (v->type == SELLA_GGUF_F32 || v->type == SELLA_GGUF_F64) {
        *out = real_at(v->data, v->type);
        return isfinite(*out) ? SELLA_OK : wrong(file, v, "a finite number", err);
    }
    if (!is_integer(v->type) || !integer_at(v->data, v->type, &integer)) {
        return wrong(file, v, "a number", err);
    }
    *out = (double)integer;
    return SELLA_OK;
}

sella_status sella_gguf_string(const sella_gguf *file, const char *key, sella_span *out,
                               sella_err *err)
{
    const sella_gguf_value *v;
    sella_status status = find(file, key, &v, err);
    if (status != SELLA_OK) {
        return status;
    }
    if (v->type != SELLA_GGUF_STRING) {
        return wrong(file, v, "a text", err);
    }
    *out = span_at(v->data);
    return SELLA_OK;
}

/* An array, and room for its elements of `size` bytes each. */
static sella_status find_array(const sella_gguf *file, const char *key, size_t size,
                               const sella_gguf_value **v, void **out, int64_t *count,
                               sella_err *err)
{
    *out = NULL;
    *count = 0;
    sella_status status = find(file, key, v, err);
    if (status != SELLA_OK) {
        return status;
    }
    if ((*v)->type != SELLA_GGUF_ARRAY) {
        return wrong(file, *v, "an array", err);
    }
    *out = sella_alloc((size_t)(*v)->count, size, key, err);
    *count = (int64_t)(*v)->count;
    return *out != NULL ? SELLA_OK : SELLA_MEMORY;
}

sella_status sella_gguf_strings(const sella_gguf *file, const char *key, sella_span **out,
                                int64_t *count, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_gguf_value *v;
    void *room = NULL;
    *out = NULL;
    SELLA_TRY(find_array(file, key, sizeof **out, &v, &room, count, err));
    if (v->element != SELLA_GGUF_STRING) {
        SELLA_TRY(wrong(file, v, "an array of texts", err));
    }
    const uint8_t *p = v->data;
    sella_span *span = room;
    for (int64_t i = 0; i < *count; i++) {
        span[i] = span_at(p);
        p += 8 + span[i].bytes;
    }
    *out = span;
    room = NULL;
done:
    free(room);
    return status;
}

sella_status sella_gguf_ints(const sella_gguf *file, const char *key, int32_t **out, int64_t *count,
                             sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_gguf_value *v;
    void *room = NULL;
    *out = NULL;
    SELLA_TRY(find_array(file, key, sizeof **out, &v, &room, count, err));
    if (!is_integer(v->element)) {
        SELLA_TRY(wrong(file, v, "an array of integers", err));
    }
    int32_t *values = room;
    for (int64_t i = 0; i < *count; i++) {
        int64_t value = 0;
        if (!integer_at(v->data + (uint64_t)i * scalars[v->element].bytes, v->element, &value) ||
            value < INT32_MIN || value > INT32_MAX) {
            SELLA_TRY(sella_err_set(err, SELLA_FORMAT,
                                    "%s: key '%s': element %lld does not fit in 32 bits",
                                    sella_gguf_path(file), key, (long long)i));
        }
        values[i] = (int32_t)value;
    }
    *out = values;
    room = NULL;
done:
    free(room);
    return status;
}

/* A text with control characters and broken UTF-8 as '?', cut at a character's end with "..." when
 * it does not fit. */
static void print_span(sella_span span, char *text, size_t bytes)
{
    size_t n = 0;
    bool cut = span.bytes > bytes - 1;
    size_t room = cut && bytes > 4 ? bytes - 4 : bytes - 1;
    for (size_t i = 0; i < span.bytes;) {
        unsigned char c = (unsigned char)span.data[i];
        size_t width = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
        bool good = i + width <= span.bytes && sella_utf8_valid(span.data + i, width) == width &&
                    c >= 0x20 && c != 0x7f;
        width = good ? width : 1;
        if (n + width > room) {
            break;
        }
        if (good) {
            memcpy(text + n, span.data + i, width);
        } else {
            text[n] = '?';
        }
        n += width;
        i += width;
    }
    text[n] = '\0';
    if (cut && bytes > 4) {
        memcpy(text + n, "...", 4);
    }
}

sella_span sella_gguf_key(const sella_gguf *file, int index, char *text, size_t bytes)
{
    const sella_gguf_value *v = sella_gguf_value_at(file, index);
    int64_t integer = 0;
    if (bytes == 0) {
        return v->key;
    }
    if (v->type == SELLA_GGUF_ARRAY) {
        snprintf(text, bytes, "[%llu %s]", (unsigned long long)v->count, scalars[v->element].name);
    } else if (v->type == SELLA_GGUF_STRING) {
        print_span(span_at(v->data), text, bytes);
    } else if (v->type == SELLA_GGUF_BOOL) {
        snprintf(text, bytes, "%s", v->data[0] != 0 ? "yes" : "no");
    } else if (is_integer(v->type)) {
        if (integer_at(v->data, v->type, &integer)) {
            snprintf(text, bytes, "%lld", (long long)integer);
        } else {
            snprintf(text, bytes, "%llu", (unsigned long long)sella_u64_at(v->data));
        }
    } else {
        snprintf(text, bytes, v->type == SELLA_GGUF_F32 ? "%.9g" : "%.17g",
                 real_at(v->data, v->type));
    }
    return v->key;
}
