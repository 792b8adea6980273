/* pattern.c - Oniguruma patterns of tokenizer.json as PCRE2 patterns. */
#include "tokenizer/pattern.h"

#include <stdbool.h>

#define WHITE_SPACE                                                                                \
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"    \
    "\\x{205f}\\x{3000}"

typedef struct reader {
    const char *at;
    const char *end;
    const char *where;
    sella_text *out;
    sella_err *err;
} reader;

static sella_status refuse(const reader *r, const char *what)
{
    return sella_err_set(
        r->err, SELLA_UNSUPPORTED,
        "%s: the pre-tokenizer's pattern uses %s, which this version does not read", r->where,
        what);
}

static sella_status copy(reader *r, size_t n)
{
    sella_status status = sella_text_append(r->out, r->at, n, r->err);
    r->at += n;
    return status;
}

static sella_status write_text(reader *r, const char *text)
{
    return sella_text_append(r->out, text, strlen(text), r->err);
}

static bool starts(const reader *r, const char *text)
{
    size_t n = strlen(text);
    return (size_t)(r->end - r->at) >= n && memcmp(r->at, text, n) == 0;
}

/* \p{Name} or \P{Name}. */
static sella_status property(reader *r)
{
    const char *p = r->at + 2;
    if (p < r->end && *p == '{') {
        for (p++; p < r->end && ((*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z') || *p == '_');
             p++) {
        }
        if (p < r->end && *p == '}' && p > r->at + 3) {
            return copy(r, (size_t)(p + 1 - r->at));
        }
    }
    return refuse(r, "a property other than \\p{Name}");
}

static sella_status escape(reader *r, bool in_class)
{
    if (r->end - r->at < 2) {
        return refuse(r, "a backslash at the end");
    }
    char c = r->at[1];
    char name[3] = {'\\', c, '\0'};
    switch (c) {
    case 's':
        r->at += 2;
        return write_text(r, in_class ? WHITE_SPACE : "[" WHITE_SPACE "]");
    case 'S':
        if (in_class) {
            return refuse(r, "\\S in a class");
        }
        r->at += 2;
        return write_text(r, "[^" WHITE_SPACE "]");
    case 'p':
    case 'P': return property(r);
    case 'd':
    case 'r':
    case 'n':
    case 't': return copy(r, 2);
    default: break;
    }
    bool plain = (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
                 (c >= '{' && c <= '~') || c == ' ';
    return plain ? copy(r, 2) : refuse(r, (unsigned char)c < 0x80 ? name : "an escaped letter");
}

static sella_status class(reader *r)
{
    sella_status status = SELLA_OK;
    SELLA_TRY(copy(r, starts(r, "[^") ? 2 : 1));
    if (starts(r, "]")) {
        return refuse(r, "an empty class");
    }
    while (r->at < r->end && *r->at != ']') {
        if (*r->at == '\\') {
            SELLA_TRY(escape(r, true));
        } else if (*r->at == '[') {
            return refuse(r, "a class in a class");
        } else if (starts(r, "&&")) {
            return refuse(r, "&& in a class");
        } else {
            SELLA_TRY(copy(r, 1));
        }
    }
    if (r->at == r->end) {
        return refuse(r, "a class without an end");
    }
    SELLA_TRY(copy(r, 1));
done:
    return status;
}

static sella_status group(reader *r)
{
    static const char *const known[] = {"(?:", "(?i:", "(?=", "(?!", "(?<=", "(?<!", "(?>"};
    if (!starts(r, "(?") && !starts(r, "(*")) {
        return copy(r, 1);
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (starts(r, known[i])) {
            return copy(r, strlen(known[i]));
        }
    }
    return refuse(r, "a group other than (...), (?:...), (?i:...), (?>...) and look-around");
}

/* {n}, {n,}, {n,m}; a + behind it is possessive for PCRE2 but not for Oniguruma. */
static sella_status repeat(reader *r)
{
    const char *p = r->at + 1;
    while (p < r->end && ((*p >= '0' && *p <= '9') || *p == ',')) {
        p++;
    }
    if (p == r->end || *p != '}' || p == r->at + 1 || r->at[1] == ',') {
        return refuse(r, "a brace that is no {n}, {n,} or {n,m}");
    }
    if (p + 1 < r->end && p[1] == '+') {
        return refuse(r, "a + behind {...}");
    }
    return copy(r, (size_t)(p + 1 - r->at));
}

sella_status sella_pattern_translate(const char *pattern, size_t bytes, const char *where,
                                     sella_text *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    reader r = {pattern, pattern + bytes, where, out, err};
    if (bytes == 0 || bytes > SELLA_PATTERN_BYTES_MAX) {
        return sella_err_set(err, SELLA_UNSUPPORTED,
                             "%s: the pre-tokenizer's pattern has %zu bytes; expected 1 to %d",
                             where, bytes, SELLA_PATTERN_BYTES_MAX);
    }
    while (r.at < r.end) {
        switch (*r.at) {
        case '\\': SELLA_TRY(escape(&r, false)); break;
        case '[': SELLA_TRY(class(&r)); break;
        case '(': SELLA_TRY(group(&r)); break;
        case '{': SELLA_TRY(repeat(&r)); break;
        case '^':
        case '$': SELLA_TRY(refuse(&r, "^ or $")); break;
        default: SELLA_TRY(copy(&r, 1)); break;
        }
    }
done:
    return status;
}
