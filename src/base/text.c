/* text.c - UTF-8, numbers, near names and lines of hostile text (base/text.h).
 *
 * Easy to get wrong: strtod and printf follow the locale of the program that links the library;
 * both run under "C" here.
 */
#include "base/text.h"

#include <limits.h>
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

void sella_text_release(sella_text *text)
{
    free(text->data);
    *text = (sella_text){0};
}

/* Room for `bytes` more and the NUL. */
static sella_status text_grow(sella_text *text, size_t bytes, sella_err *err)
{
    if (bytes > SIZE_MAX / 4 || text->size > SIZE_MAX / 4) {
        return sella_err_memory(err, "text", SIZE_MAX);
    }
    size_t need = text->size + bytes + 1;
    if (need <= text->capacity) {
        return SELLA_OK;
    }
    size_t capacity = need > text->capacity * 2 ? need : text->capacity * 2;
    char *data = realloc(text->data, capacity);
    if (!data) {
        return sella_err_memory(err, "text", capacity);
    }
    text->data = data;
    text->capacity = capacity;
    return SELLA_OK;
}

sella_status sella_text_append(sella_text *text, const char *data, size_t bytes, sella_err *err)
{
    sella_status status = text_grow(text, bytes, err);
    if (status == SELLA_OK) {
        if (bytes > 0) {
            memcpy(text->data + text->size, data, bytes);
        }
        text->size += bytes;
        text->data[text->size] = '\0';
    }
    return status;
}

sella_status sella_text_format(sella_text *text, sella_err *err, const char *fmt, ...)
{
    sella_status status = SELLA_OK;
    va_list args;
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0),
             before = plain ? uselocale(plain) : (locale_t)0;
    va_start(args, fmt);
    int need = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (need < 0) {
        status = sella_err_set(err, SELLA_ARG, "text could not be formatted");
    } else if ((status = text_grow(text, (size_t)need, err)) == SELLA_OK) {
        va_start(args, fmt);
        vsnprintf(text->data + text->size, (size_t)need + 1, fmt, args);
        va_end(args);
        text->size += (size_t)need;
    }
    if (plain) {
        uselocale(before);
        freelocale(plain);
    }
    return status;
}

/* Bytes of the valid UTF-8 character at s, or 0. Table 3-7 of the Unicode standard. */
static size_t utf8_character(const unsigned char *s, size_t left)
{
    unsigned char c = s[0], low = 0x80, high = 0xbf;
    size_t length;
    if (c < 0x80) {
        return 1;
    } else if (c >= 0xc2 && c <= 0xdf) {
        length = 2;
    } else if (c >= 0xe0 && c <= 0xef) {
        length = 3;
        low = c == 0xe0 ? 0xa0 : 0x80;  // overlong
        high = c == 0xed ? 0x9f : 0xbf; // surrogates
    } else if (c >= 0xf0 && c <= 0xf4) {
        length = 4;
        low = c == 0xf0 ? 0x90 : 0x80;  // overlong
        high = c == 0xf4 ? 0x8f : 0xbf; // above U+10FFFF
    } else {
        return 0;
    }
    if (left < length || s[1] < low || s[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return length;
}

size_t sella_utf8_valid(const char *data, size_t bytes)
{
    const unsigned char *s = (const unsigned char *)data;
    size_t i = 0;
    while (i < bytes) {
        uint64_t word;
        if (bytes - i >= sizeof word) { // eight ASCII bytes at once
            memcpy(&word, s + i, sizeof word);
            if (!(word & 0x8080808080808080u)) {
                i += sizeof word;
                continue;
            }
        }
        size_t length = utf8_character(s + i, bytes - i);
        if (length == 0) {
            return i;
        }
        i += length;
    }
    return bytes;
}

size_t sella_utf8_count(const char *text)
{
    size_t count = 0;
    for (; *text != '\0'; text++) {
        count += ((unsigned char)*text & 0xC0) != 0x80;
    }
    return count;
}

char *sella_latin1_to_utf8(const char *data, size_t bytes, sella_err *err)
{
    char *out = bytes < SIZE_MAX / 2 ? sella_alloc(2 * bytes + 1, 1, "text", err) : NULL;
    if (!out) {
        return NULL;
    }
    size_t n = 0;
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)data[i];
        if (c < 0x80) {
            out[n++] = (char)c;
        } else {
            out[n++] = (char)(0xc0 | c >> 6);
            out[n++] = (char)(0x80 | (c & 0x3f));
        }
    }
    out[n] = '\0';
    return out;
}

/* How much of a field an error sentence shows. */
static int shown(size_t bytes)
{
    return bytes < 40 ? (int)bytes : 40;
}

sella_status sella_parse_int(const char *text, size_t bytes, int64_t min, int64_t max,
                             const char *what, int64_t *out, sella_err *err)
{
    bool negative = bytes > 0 && text[0] == '-';
    bool over = false;
    int64_t value = 0; // kept negative: INT64_MIN has no positive twin
    size_t i = negative ? 1 : 0;
    if (i == bytes) {
        return sella_err_set(err, SELLA_FORMAT, "%s '%.*s' is not a whole number", what,
                             shown(bytes), text);
    }
    for (; i < bytes; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return sella_err_set(err, SELLA_FORMAT, "%s '%.*s' is not a whole number", what,
                                 shown(bytes), text);
        }
        over = over || __builtin_mul_overflow(value, (int64_t)10, &value) ||
               __builtin_sub_overflow(value, (int64_t)(text[i] - '0'), &value);
    }
    over = over || (!negative && value == INT64_MIN);
    if (!over && !negative) {
        value = -value;
    }
    if (over || value < min || value > max) {
        return sella_err_set(err, SELLA_FORMAT, "%s %.*s is outside %lld to %lld", what,
                             shown(bytes), text, (long long)min, (long long)max);
    }
    *out = value;
    return SELLA_OK;
}

/* [-] digits [. digits] [e [+-] digits], with a digit on at least one side of the point. */
static bool real_grammar(const char *text, size_t bytes)
{
    size_t i = bytes > 0 && text[0] == '-' ? 1 : 0, digits = 0;
    for (; i < bytes && text[i] >= '0' && text[i] <= '9'; i++) {
        digits++;
    }
    if (i < bytes && text[i] == '.') {
        for (i++; i < bytes && text[i] >= '0' && text[i] <= '9'; i++) {
            digits++;
        }
    }
    if (digits == 0) {
        return false;
    }
    if (i < bytes && (text[i] == 'e' || text[i] == 'E')) {
        i++;
        i += i < bytes && (text[i] == '-' || text[i] == '+');
        size_t start = i;
        while (i < bytes && text[i] >= '0' && text[i] <= '9') {
            i++;
        }
        if (i == start) {
            return false;
        }
    }
    return i == bytes;
}

/* Exact shortcut: at most 15 digits without an exponent, and at most 22 of them behind the point
 *                 (both powers are exact doubles). */
static bool real_short(const char *text, size_t bytes, double *out)
{
    static const double power[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                   1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    bool negative = text[0] == '-';
    int64_t digits = 0;
    size_t behind = 0;
    bool point = false;
    if (bytes > 15) {
        return false;
    }
    for (size_t i = negative ? 1 : 0; i < bytes; i++) {
        if (text[i] == '.') {
            point = true;
        } else if (text[i] >= '0' && text[i] <= '9') {
            digits = digits * 10 + (text[i] - '0');
            behind += point;
        } else {
            return false;
        }
    }
    double value = (double)digits / power[behind];
    *out = negative ? -value : value;
    return true;
}

sella_status sella_parse_real(const char *text, size_t bytes, double min, double max,
                              const char *what, double *out, sella_err *err)
{
    double value = 0;
    if (!real_grammar(text, bytes)) {
        return sella_err_set(err, SELLA_FORMAT, "%s '%.*s' is not a number", what, shown(bytes),
                             text);
    }
    if (!real_short(text, bytes, &value)) {
        char field[512];
        if (bytes >= sizeof field) {
            return sella_err_set(err, SELLA_FORMAT, "%s '%.*s...' has more than %zu characters",
                                 what, shown(bytes), text, sizeof field - 1);
        }
        memcpy(field, text, bytes);
        field[bytes] = '\0';
        locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
        if (!plain) {
            return sella_err_memory(err, "a locale", 1);
        }
        value = strtod_l(field, NULL, plain);
        freelocale(plain);
    }
    if (!isfinite(value) || value < min || value > max) {
        return sella_err_set(err, SELLA_FORMAT, "%s %.*s is outside %g to %g", what, shown(bytes),
                             text, min, max);
    }
    *out = value;
    return SELLA_OK;
}

const char *sella_count_text(int64_t value, char *text, size_t room)
{
    char digits[32];
    int n = snprintf(digits, sizeof digits, "%lld", (long long)value);
    size_t at = 0;
    for (int i = 0; i < n && at + 2 < room; i++) {
        text[at++] = digits[i];
        const int left = n - 1 - i;
        if (left > 0 && left % 3 == 0 && digits[i] != '-') {
            text[at++] = ',';
        }
    }
    text[at] = '\0';
    return text;
}

void sella_real_text(double value, char *out, size_t room)
{
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0),
             before = plain ? uselocale(plain) : (locale_t)0;
    int digits = 15;
    do {
        snprintf(out, room, "%.*g", digits, value);
    } while (digits++ < 17 && strtod(out, NULL) != value);
    if (plain) {
        uselocale(before);
        freelocale(plain);
    }
}

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

int sella_text_distance(const char *a, const char *b, int limit)
{
    enum { LONGEST = 255 };
    size_t n = strlen(a), m = strlen(b);
    while (n > 0 && m > 0 && lower(*a) == lower(*b)) { // an equal beginning and end cost nothing
        a++, b++, n--, m--;
    }
    while (n > 0 && m > 0 && lower(a[n - 1]) == lower(b[m - 1])) {
        n--, m--;
    }
    size_t apart = n > m ? n - m : m - n;
    if (limit <= 0 || apart >= (size_t)limit || n > LONGEST || m > LONGEST) {
        return limit > 0 ? limit : 0;
    }
    int rows[3][LONGEST + 1];
    for (size_t j = 0; j <= m; j++) {
        rows[0][j] = (int)j;
    }
    for (size_t i = 1; i <= n; i++) {
        int *row = rows[i % 3], *up = rows[(i + 2) % 3], *up2 = rows[(i + 1) % 3];
        int best = row[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            int same = lower(a[i - 1]) == lower(b[j - 1]);
            int d = up[j - 1] + !same;
            d = up[j] + 1 < d ? up[j] + 1 : d;
            d = row[j - 1] + 1 < d ? row[j - 1] + 1 : d;
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                lower(a[i - 2]) == lower(b[j - 1]) && up2[j - 2] + 1 < d) {
                d = up2[j - 2] + 1; // two neighbours swapped
            }
            row[j] = d;
            best = d < best ? d : best;
        }
        if (best > limit) { // one more than limit, since a swap may still reach back over one row
            return limit;
        }
    }
    int d = rows[n % 3][m];
    return d < limit ? d : limit;
}

int sella_text_nearest(const char *name, const char *const *candidates, size_t count)
{
    size_t length = strlen(name);
    int allowed = length < 6 ? 1 + (length >= 4) : length / 3 < 1000 ? (int)(length / 3) : 1000;
    int limit = allowed + 1, best = -1;
    for (size_t i = 0; i < count && i <= INT_MAX; i++) {
        int d = sella_text_distance(name, candidates[i], limit);
        if (d < limit) {
            limit = d;
            best = (int)i;
        }
    }
    return best;
}

void sella_lines_init(sella_lines *lines, const char *path, const void *data, size_t bytes,
                      size_t limit)
{
    const char *text = bytes > 0 ? data : "";
    size_t mark = bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    *lines =
        (sella_lines){.path = path, .cursor = text + mark, .end = text + bytes, .limit = limit};
}

sella_status sella_lines_next(sella_lines *lines, const char **text, size_t *bytes, sella_err *err)
{
    *text = NULL;
    *bytes = 0;
    size_t left = (size_t)(lines->end - lines->cursor);
    if (left == 0) {
        return SELLA_OK;
    }
    lines->line++;
    const char *start = lines->cursor;
    const char *stop = memchr(start, '\n', left);
    lines->cursor = stop ? stop + 1 : lines->end;
    size_t length = (size_t)((stop ? stop : lines->end) - start);
    if (stop && length > 0 && start[length - 1] == '\r') {
        length--;
    }
    if (length > lines->limit) {
        return sella_err_set(err, SELLA_FORMAT,
                             "%s:%lld: the line has %zu bytes; expected at most %zu", lines->path,
                             (long long)lines->line, length, lines->limit);
    }
    *text = start;
    *bytes = length;
    return SELLA_OK;
}
