/* title_text.c - HTML references and white space in titles (data/title_text.h). */
#include "data/title_text.h"

#include <stdint.h>
#include <string.h>
#include <utf8proc.h>

#include "data/dataset_write.h"

/* The named references that titles hold: markup, Latin-1 from U+00A0 on in order, and some
 * punctuation. */
static const struct {
    const char *name;
    uint16_t code;
} named[] = {
    {"amp", '&'},      {"quot", '"'},      {"apos", '\''},    {"lt", '<'},
    {"gt", '>'},       {"ndash", 0x2013},  {"mdash", 0x2014}, {"lsquo", 0x2018},
    {"rsquo", 0x2019}, {"sbquo", 0x201a},  {"ldquo", 0x201c}, {"rdquo", 0x201d},
    {"bdquo", 0x201e}, {"dagger", 0x2020}, {"bull", 0x2022},  {"hellip", 0x2026},
    {"prime", 0x2032}, {"euro", 0x20ac},   {"trade", 0x2122}, {"minus", 0x2212},
    {"OElig", 0x152},  {"oelig", 0x153},   {"Scaron", 0x160}, {"scaron", 0x161},
    {"Yuml", 0x178},   {"ensp", 0x2002},   {"emsp", 0x2003},  {"thinsp", 0x2009},
};
static const char latin1_names[] =
    "nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn "
    "sup2 sup3 acute micro para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave "
    "Aacute Acirc Atilde Auml Aring AElig Ccedil Egrave Eacute Ecirc Euml Igrave Iacute Icirc Iuml "
    "ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash Ugrave Uacute Ucirc Uuml Yacute THORN "
    "szlig agrave aacute acirc atilde auml aring aelig ccedil egrave eacute ecirc euml igrave "
    "iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide oslash ugrave uacute "
    "ucirc uuml yacute thorn yuml ";

/* What numbers 128 to 159 mean on the web: the characters of Windows-1252. 0: none. */
static const uint16_t windows_1252[32] = {
    0x20ac, 0,      0x201a, 0x192,  0x201e, 0x2026, 0x2020, 0x2021, 0x2c6,  0x2030, 0x160,
    0x2039, 0x152,  0,      0x17d,  0,      0,      0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
    0x2013, 0x2014, 0x2dc,  0x2122, 0x161,  0x203a, 0x153,  0,      0x17e,  0x178};

static int32_t find_named(const char *name, size_t bytes)
{
    for (size_t n = 0; n < sizeof named / sizeof *named; n++) {
        if (strlen(named[n].name) == bytes && memcmp(named[n].name, name, bytes) == 0) {
            return named[n].code;
        }
    }
    int32_t code = 0xa0;
    for (const char *at = latin1_names; *at; code++) {
        size_t part = strcspn(at, " ");
        if (part == bytes && memcmp(at, name, bytes) == 0) {
            return code;
        }
        at += part + 1;
    }
    return -1;
}

/* The number behind "&#" or "&#x", or -1. */
static int32_t find_number(const char *at, size_t bytes)
{
    int32_t code = 0;
    bool hex = bytes > 0 && (*at == 'x' || *at == 'X');
    if (bytes == (size_t)hex) {
        return -1;
    }
    for (size_t i = hex; i < bytes; i++) {
        int digit = at[i] >= '0' && at[i] <= '9'   ? at[i] - '0'
                    : !hex                         ? -1
                    : at[i] >= 'a' && at[i] <= 'f' ? at[i] - 'a' + 10
                    : at[i] >= 'A' && at[i] <= 'F' ? at[i] - 'A' + 10
                                                   : -1;
        if (digit < 0 || code > 0x10ffff) {
            return -1;
        }
        code = code * (hex ? 16 : 10) + digit;
    }
    if (code >= 0x80 && code < 0xa0) {
        code = windows_1252[code - 0x80];
    }
    return code == 0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ? -1 : code;
}

/* A reference at '&': its character and length, or -1. */
static int32_t take_reference(const char *at, size_t bytes, size_t *length)
{
    enum { LONGEST = 12 };
    const char *stop = memchr(at, ';', bytes < LONGEST ? bytes : LONGEST);
    if (!stop || stop - at < 2) {
        return -1;
    }
    *length = (size_t)(stop - at) + 1;
    return at[1] == '#' ? find_number(at + 2, *length - 3) : find_named(at + 1, *length - 2);
}

static bool is_blank(int32_t code)
{
    return code <= 0x20 || (code >= 0x7f && code <= 0xa0) || (code >= 0x2000 && code <= 0x200a) ||
           code == 0x2028 || code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000 ||
           code == 0xfeff;
}

sella_status sella_title_clean(const char *text, size_t bytes, sella_text *out, bool *cut,
                               sella_err *err)
{
    sella_status status = SELLA_OK;
    bool blank = false, too_long = false;
    out->size = 0;
    for (size_t at = 0; at < bytes && !too_long;) {
        utf8proc_int32_t code = (unsigned char)text[at];
        utf8proc_uint8_t utf8[5] = {' '};
        size_t length = 1;
        if (code == '&') {
            int32_t named_code = take_reference(text + at, bytes - at, &length);
            length = named_code < 0 ? 1 : length;
            code = named_code < 0 ? '&' : named_code;
        } else if (code >= 0x80) {
            utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text + at,
                                                  (utf8proc_ssize_t)(bytes - at), &code);
            length = n > 0 ? (size_t)n : 1;
        }
        at += length;
        if (is_blank(code)) {
            blank = out->size > 0;
            continue;
        }
        size_t n = blank + (size_t)utf8proc_encode_char(code, utf8 + blank);
        too_long = out->size + n > SELLA_TITLE_MAX;
        if (!too_long) {
            SELLA_TRY(sella_text_append(out, (const char *)utf8, n, err));
        }
        blank = false;
    }
done:
    if (cut) {
        *cut = too_long;
    }
    return status;
}
