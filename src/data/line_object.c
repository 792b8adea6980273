/* line_object.c - chosen fields of a JSON object or Python dict on one line (data/line_object.h).
 *
 * Easy to get wrong: the scanner passes strings unread (escapes are checked to be escapes, not to
 * name a character); what a string means is told by sella_line_text alone, for the few that are
 * wanted.
 */
#include "data/line_object.h"

#include <stdint.h>
#include <string.h>
#include <utf8proc.h>

typedef struct scanner {
    const char *start, *at, *end;
    bool python;
    sella_err *err;
} scanner;

const char *sella_line_kind_text(sella_line_kind kind)
{
    static const char *const words[] = {"nothing", "null",   "true or false", "a number",
                                        "a text",  "a list", "an object"};
    return words[kind];
}

static sella_status broken(const scanner *s, const char *what)
{
    return sella_err_set(s->err, SELLA_FORMAT, "%s at byte %zu of the line", what,
                         (size_t)(s->at - s->start) + 1);
}

static void skip_blanks(scanner *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\r')) {
        s->at++;
    }
}

static bool next_is(scanner *s, char c)
{
    skip_blanks(s);
    if (s->at < s->end && *s->at == c) {
        s->at++;
        return true;
    }
    return false;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static bool hex_digits(const char *at, const char *end, int count, uint32_t *value)
{
    *value = 0;
    for (int i = 0; i < count; i++) {
        int digit = at + i < end ? hex_digit(at[i]) : -1;
        if (digit < 0) {
            return false;
        }
        *value = *value * 16 + (uint32_t)digit;
    }
    return true;
}

/* True when one of eight bytes is the quote, a backslash or a control character (or perhaps one of
 * 0x80 and above). */
static bool stops_in(uint64_t word, uint64_t quotes)
{
    const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
    uint64_t a = word ^ quotes, b = word ^ (ones * '\\');
    return (((a - ones) & ~a) | ((b - ones) & ~b) | (word - ones * 0x20)) & highs & ~(word & highs);
}

/* Behind a backslash: step over what it escapes. */
static sella_status skip_escape(scanner *s)
{
    uint32_t value;
    int digits = s->at < s->end && *s->at == 'u' ? 4 : 0;
    if (s->at == s->end) {
        return broken(s, "a string has no end");
    }
    if (s->python) {
        digits = *s->at == 'x' ? 2 : *s->at == 'U' ? 8 : digits;
    } else if (!memchr("\"\\/bfnrtu", *s->at, 9)) {
        return broken(s, "a string has an unknown escape");
    }
    if (digits > 0 && !hex_digits(s->at + 1, s->end, digits, &value)) {
        return broken(s, "a string has an escape without its hexadecimal digits");
    }
    s->at += 1 + digits;
    return SELLA_OK;
}

/* At an opening quote -> behind the closing one. */
static sella_status scan_string(scanner *s, sella_line_value *out)
{
    char quote = *s->at++;
    uint64_t word, quotes = 0x0101010101010101u * (unsigned char)quote;
    out->kind = SELLA_LINE_TEXT;
    out->data = s->at;
    out->escaped = false;
    out->python = s->python;
    for (;;) {
        while (s->end - s->at >= (ptrdiff_t)sizeof word &&
               (memcpy(&word, s->at, sizeof word), !stops_in(word, quotes))) {
            s->at += sizeof word;
        }
        for (int i = 0; i < 8 && s->at < s->end && *s->at != quote && *s->at != '\\' &&
                        (unsigned char)*s->at >= 0x20;
             i++) {
            s->at++;
        }
        if (s->at == s->end) {
            return broken(s, "a string has no end");
        }
        if (*s->at == quote) {
            out->bytes = (size_t)(s->at++ - out->data);
            return SELLA_OK;
        }
        if (*s->at == '\\') {
            out->escaped = true;
            s->at++;
            sella_status status = skip_escape(s);
            if (status != SELLA_OK) {
                return status;
            }
        } else if ((unsigned char)*s->at < 0x20) {
            return broken(s, "a string has a control character");
        }
    }
}

static bool skip_digits(scanner *s)
{
    const char *before = s->at;
    while (s->at < s->end && *s->at >= '0' && *s->at <= '9') {
        s->at++;
    }
    return s->at > before;
}

static sella_status scan_number(scanner *s, sella_line_value *out)
{
    out->kind = SELLA_LINE_NUMBER;
    out->data = s->at;
    s->at += *s->at == '-';
    const char *digits = s->at;
    bool good = skip_digits(s) && (*digits != '0' || s->at == digits + 1); // no "01"
    if (good && s->at < s->end && *s->at == '.') {
        s->at++;
        good = skip_digits(s);
    }
    if (good && s->at < s->end && (*s->at == 'e' || *s->at == 'E')) {
        s->at++;
        s->at += s->at < s->end && (*s->at == '+' || *s->at == '-');
        good = skip_digits(s);
    }
    out->bytes = (size_t)(s->at - out->data);
    return good ? SELLA_OK : broken(s, "a number is malformed");
}

static sella_status scan_word(scanner *s, sella_line_value *out)
{
    static const struct {
        const char *text;
        sella_line_kind kind;
        bool python;
    } words[] = {{"null", SELLA_LINE_NULL, false},  {"true", SELLA_LINE_BOOL, false},
                 {"false", SELLA_LINE_BOOL, false}, {"None", SELLA_LINE_NULL, true},
                 {"True", SELLA_LINE_BOOL, true},   {"False", SELLA_LINE_BOOL, true}};
    for (size_t w = 0; w < sizeof words / sizeof *words; w++) {
        size_t bytes = strlen(words[w].text);
        if (words[w].python == s->python && (size_t)(s->end - s->at) >= bytes &&
            memcmp(s->at, words[w].text, bytes) == 0) {
            *out = (sella_line_value){.data = s->at, .bytes = bytes, .kind = words[w].kind};
            s->at += bytes;
            return SELLA_OK;
        }
    }
    return broken(s, "there is no value");
}

static sella_status scan_members(scanner *s, const sella_line_name *name_n, int count,
                                 sella_line_value *value_n, int depth);
static sella_status scan_list(scanner *s, char close, int depth);

static sella_status scan_value(scanner *s, sella_line_value *out, int depth)
{
    skip_blanks(s);
    if (s->at == s->end) {
        return broken(s, "the line ends early");
    }
    char c = *s->at;
    if (c == '"' || (c == '\'' && s->python)) {
        return scan_string(s, out);
    }
    if (c == '-' || (c >= '0' && c <= '9')) {
        return scan_number(s, out);
    }
    if (c != '{' && c != '[' && !(c == '(' && s->python)) {
        return scan_word(s, out);
    }
    if (depth >= SELLA_LINE_DEPTH) {
        return broken(s, "values are nested too deeply");
    }
    s->at++;
    out->kind = c == '{' ? SELLA_LINE_OBJECT : SELLA_LINE_LIST;
    out->data = s->at;
    sella_status status = c == '{' ? scan_members(s, NULL, 0, NULL, depth + 1)
                                   : scan_list(s, c == '[' ? ']' : ')', depth + 1);
    out->bytes = status == SELLA_OK ? (size_t)(s->at - out->data) - 1 : 0;
    return status;
}

/* Behind the opening bracket -> behind the closing one. */
static sella_status scan_list(scanner *s, char close, int depth)
{
    sella_line_value value;
    if (next_is(s, close)) {
        return SELLA_OK;
    }
    for (;;) {
        sella_status status = scan_value(s, &value, depth);
        if (status != SELLA_OK) {
            return status;
        }
        if (next_is(s, close)) {
            return SELLA_OK;
        }
        if (!next_is(s, ',')) {
            return broken(s, "a list has neither a comma nor its end");
        }
        if (s->python && next_is(s, close)) {
            return SELLA_OK;
        }
    }
}

static int find_name(const sella_line_value *key, const sella_line_name *name_n, int count)
{
    for (int n = 0; n < count; n++) {
        if (name_n[n].bytes == key->bytes && name_n[n].text[0] == key->data[0] &&
            memcmp(name_n[n].text, key->data, key->bytes) == 0) {
            return n;
        }
    }
    return -1;
}

/* Behind '{' -> behind '}'. */
static sella_status scan_members(scanner *s, const sella_line_name *name_n, int count,
                                 sella_line_value *value_n, int depth)
{
    if (next_is(s, '}')) {
        return SELLA_OK;
    }
    for (;;) {
        sella_line_value key = {0}, value = {0};
        skip_blanks(s);
        if (s->at == s->end || !(*s->at == '"' || (*s->at == '\'' && s->python))) {
            return broken(s, "an object has no name in quotes");
        }
        sella_status status = scan_string(s, &key);
        if (status == SELLA_OK && !next_is(s, ':')) {
            status = broken(s, "a name has no colon behind it");
        }
        if (status == SELLA_OK) {
            status = scan_value(s, &value, depth);
        }
        if (status != SELLA_OK) {
            return status;
        }
        int wanted = key.bytes > 0 ? find_name(&key, name_n, count) : -1;
        if (wanted >= 0) {
            if (value_n[wanted].kind != SELLA_LINE_ABSENT) {
                return sella_err_set(s->err, SELLA_FORMAT, "the line has '%s' twice",
                                     name_n[wanted].text);
            }
            value_n[wanted] = value;
        }
        if (next_is(s, '}')) {
            return SELLA_OK;
        }
        if (!next_is(s, ',')) {
            return broken(s, "an object has neither a comma nor its end");
        }
        if (s->python && next_is(s, '}')) {
            return SELLA_OK;
        }
    }
}

sella_status sella_line_scan(const char *line, size_t bytes, const sella_line_name *name_n,
                             int count, sella_line_value *value_n, sella_err *err)
{
    scanner s = {.start = line, .at = line, .end = line + bytes, .err = err};
    for (int n = 0; n < count; n++) {
        value_n[n] = (sella_line_value){0};
    }
    size_t valid = sella_utf8_valid(line, bytes);
    if (valid != bytes) {
        return sella_err_set(err, SELLA_FORMAT, "the line is not UTF-8 at its byte %zu", valid + 1);
    }
    if (!next_is(&s, '{')) {
        return sella_err_set(err, SELLA_FORMAT, "the line is no object in braces");
    }
    skip_blanks(&s);
    s.python = s.at < s.end && *s.at == '\'';
    sella_status status = scan_members(&s, name_n, count, value_n, 1);
    skip_blanks(&s);
    return status == SELLA_OK && s.at < s.end ? broken(&s, "text follows the object") : status;
}

/* ---- strings ---- */

static sella_status append_code(sella_text *out, uint32_t code, sella_err *err)
{
    utf8proc_uint8_t utf8[4];
    if (code > 0x10ffff) {
        return sella_err_set(err, SELLA_FORMAT,
                             "a text has the escape of U+%X, which is no character", code);
    }
    utf8proc_ssize_t n = utf8proc_encode_char(
        code >= 0xd800 && code < 0xe000 ? 0xfffd : (utf8proc_int32_t)code, utf8);
    return sella_text_append(out, (const char *)utf8, (size_t)n, err);
}

/* "uXXXX" at *at, with the second half of a pair when there is one. */
static uint32_t take_utf16(const char **at, const char *end)
{
    uint32_t code, low;
    hex_digits(*at + 1, end, 4, &code);
    *at += 5;
    if (code >= 0xd800 && code < 0xdc00 && end - *at >= 6 && (*at)[0] == '\\' && (*at)[1] == 'u' &&
        hex_digits(*at + 2, end, 4, &low) && low >= 0xdc00 && low < 0xe000) {
        *at += 6;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    return code;
}

/* A run of "\xHH" at the backslash: bytes of UTF-8 when they are such (repr of Python 2), else
 * characters below U+0100 (Python 3). */
static sella_status take_bytes(sella_text *out, const char **at, const char *end, sella_err *err)
{
    sella_status status = SELLA_OK;
    size_t begin = out->size;
    const char *run = *at;
    uint32_t value;
    for (; status == SELLA_OK && end - *at >= 4 && (*at)[0] == '\\' && (*at)[1] == 'x' &&
           hex_digits(*at + 2, end, 2, &value);
         *at += 4) {
        char byte = (char)(unsigned char)value;
        status = sella_text_append(out, &byte, 1, err);
    }
    size_t n = out->size - begin;
    if (status == SELLA_OK && sella_utf8_valid(out->data + begin, n) != n) {
        out->size = begin;
        for (; run < *at && status == SELLA_OK; run += 4) {
            hex_digits(run + 2, end, 2, &value);
            status = append_code(out, value, err);
        }
    }
    return status;
}

/* At a backslash that the scanner has passed. */
static sella_status take_escape(sella_text *out, const char **at, const char *end, bool python,
                                sella_err *err)
{
    static const char from[] = "bfnrtav", to[] = "\b\f\n\r\t\a\v";
    uint32_t code = 0;
    char c = (*at)[1];
    if (python && c == 'x') {
        return take_bytes(out, at, end, err);
    }
    ++*at;
    const char *known = memchr(from, c, python ? 7 : 5);
    if (c == 'u') {
        return append_code(out, take_utf16(at, end), err);
    }
    if (python && c == 'U') {
        hex_digits(*at + 1, end, 8, &code);
        *at += 9;
        return append_code(out, code, err);
    }
    if (python && c >= '0' && c <= '7') {
        for (int i = 0; i < 3 && *at < end && **at >= '0' && **at <= '7'; i++, ++*at) {
            code = code * 8 + (uint32_t)(**at - '0');
        }
        return append_code(out, code, err);
    }
    ++*at;
    if (known) {
        return sella_text_append(out, &to[known - from], 1, err);
    }
    if (python && c != '\\' && c != '\'' && c != '"') { // not an escape there: the backslash stays
        return sella_text_append(out, *at - 2, 2, err);
    }
    return sella_text_append(out, &c, 1, err);
}

sella_status sella_line_text(const sella_line_value *value, sella_text *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    const char *at = value->data, *end = at + value->bytes;
    out->size = 0;
    while (at < end && status == SELLA_OK) {
        const char *slash = value->escaped ? memchr(at, '\\', (size_t)(end - at)) : NULL;
        size_t plain = (size_t)((slash ? slash : end) - at);
        status = sella_text_append(out, at, plain, err);
        at += plain;
        if (status == SELLA_OK && slash) {
            status = take_escape(out, &at, end, value->python, err);
        }
    }
    if (status == SELLA_OK &&
        sella_utf8_valid(out->data ? out->data : "", out->size) != out->size) {
        status = sella_err_set(err, SELLA_FORMAT, "a text is not UTF-8");
    }
    return status;
}
