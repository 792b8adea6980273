/* test_data_line.c - streamed lines, fields of a line's object against jansson and against Python's
 * literals, titles. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <zlib.h>

#include "data/line_object.h"
#include "data/line_stream.h"
#include "data/title_text.h"
#include "fuzz/mutate.h"
#include "scratch.h"

/* ---- objects ---- */

static const char *const seeds[] = {
    "{\"asin\": \"0001048791\", \"overall\": 5.0, \"n\": -0, \"e\": 1e-05, \"f\": -12.5E+3, \"t\": "
    "true, \"u\": false, \"v\": null, \"w\": [], \"x\": {}}",
    "{\"a\":[1,[2,[{\"b\":[3]}]]],\"text\":\"quote \\\" slash \\\\ \\/ \\b\\f\\n\\r\\t \\u00e9 "
    "\\ud83d\\ude00 caf\xc3\xa9\", \"\":0 }",
    " {\t\"helpful\" : [ 0 , 10 ] , \"style\" : { \"Format:\" : \" Hardcover\" } , \"image\" : [ "
    "\"x\" , \"y\" ] } ",
    "{}",
};

/* What is one JSON object for jansson is one for us, and the other way round. */
static void same_as_jansson(const uint8_t *data, size_t bytes, void *user)
{
    (void)user;
    json_error_t why;
    sella_err err = {0};
    sella_line_value value;
    static const sella_line_name none[] = {SELLA_LINE_NAME("no such field")};
    if (memchr(data, '\n', bytes) || memchr(data, 0, bytes)) {
        return; // not one line; jansson reads over NUL bytes
    }
    json_t *json = json_loadb((const char *)data, bytes, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
    bool theirs = json_is_object(json),
         ours = sella_line_scan((const char *)data, bytes, none, 1, &value, &err) == SELLA_OK;
    bool excused = !json && (json_error_code(&why) == json_error_numeric_overflow ||
                             json_error_code(&why) == json_error_null_byte_in_key ||
                             /* halves of UTF-16 pairs */
                             json_error_code(&why) == json_error_null_character ||
                             strstr(why.text, "invalid Unicode"));
    for (size_t i = 0; i < bytes && !theirs; i++) { // our own: Python literals
        excused = excused || data[i] == '\'';
    }
    if (theirs != ours && !(ours && excused)) {
        fail_msg("jansson %d (%s), ours %d (%s): %.*s", theirs, why.text, ours, err.text,
                 (int)bytes, (const char *)data);
    }
    json_decref(json);
}

static void objects_as_jansson(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof seeds / sizeof *seeds; s++) {
        same_as_jansson((const uint8_t *)seeds[s], strlen(seeds[s]), NULL);
        mutate_run(seeds[s], strlen(seeds[s]), mutate_rounds(20000, 500000), same_as_jansson, NULL);
    }
}

static void fields(void **state)
{
    (void)state;
    static const sella_line_name names[] = {SELLA_LINE_NAME("a"), SELLA_LINE_NAME("b"),
                                            SELLA_LINE_NAME("overall")};
    sella_line_value v[3];
    sella_err err = {0};
    const char *line = "{\"overall\":4.50,\"x\":{\"a\":1,\"b\":[{\"a\":2}]},\"a\":\"q\\\"}\","
                       "\"bb\":3,\"b\":[1, \"]\"]}";
    assert_int_equal(sella_line_scan(line, strlen(line), names, 3, v, &err), SELLA_OK);
    assert_int_equal(v[0].kind, SELLA_LINE_TEXT);
    assert_true(v[0].escaped && v[0].bytes == 4 && memcmp(v[0].data, "q\\\"}", 4) == 0);
    assert_int_equal(v[1].kind, SELLA_LINE_LIST);
    assert_true(v[1].bytes == 6 && memcmp(v[1].data, "1, \"]\"", 6) == 0);
    assert_int_equal(v[2].kind, SELLA_LINE_NUMBER);
    assert_true(v[2].bytes == 4 && memcmp(v[2].data, "4.50", 4) == 0);
    assert_int_equal(sella_line_scan("{}", 2, names, 3, v, &err), SELLA_OK);
    assert_true(v[0].kind == SELLA_LINE_ABSENT && v[1].kind == SELLA_LINE_ABSENT &&
                v[2].kind == SELLA_LINE_ABSENT);
    char deep[4 * SELLA_LINE_DEPTH + 16];
    for (int depth = SELLA_LINE_DEPTH - 1; depth <= SELLA_LINE_DEPTH; depth++) {
        int n = snprintf(deep, sizeof deep, "{\"a\":");
        memset(deep + n, '[', (size_t)depth);
        memset(deep + n + depth, ']', (size_t)depth);
        deep[n + 2 * depth] = '}';
        assert_int_equal(sella_line_scan(deep, (size_t)(n + 2 * depth + 1), names, 3, v, &err),
                         depth < SELLA_LINE_DEPTH ? SELLA_OK : SELLA_FORMAT);
    }
    assert_non_null(strstr(err.text, "nested too deeply"));
}

/* Texts as Python 3 prints them, evaluated by hand (ast.literal_eval), and JSON's. NULL:
 * refused. */
static void texts(void **state)
{
    (void)state;
    static const struct {
        const char *line, *want;
    } cases[] = {
        {"{'t': 'It\\'s \"so\"'}", "It's \"so\""},
        {"{'t': \"It's\"}", "It's"},
        {"{'t': 'a\\tb\\nc\\\\d\\x41\\u00e9\\U0001f600\\101\\0'}", "a\tb\nc\\d"
                                                                   "A\xc3\xa9\xf0\x9f\x98\x80"
                                                                   "A"},
        {"{'t': '\\q \\. \\%'}", "\\q \\. \\%"},
        {"{'t': 'caf\\xe9'}", "caf\xc3\xa9"},      /* repr of Python 3 */
        {"{'t': 'caf\\xc3\\xa9'}", "caf\xc3\xa9"}, /* repr of Python 2's bytes */
        /* no UTF-8 together: characters each */
        {"{'t': '\\xe2\\x80\\x99\\xe9'}", "\xc3\xa2\xc2\x80\xc2\x99\xc3\xa9"},
        {"{'t': '\xc3\xa9', 'x': (1, 'a',), 'y': None, 'z': True, 'l': [1,], }", "\xc3\xa9"},
        {"{'t': ''}", ""},
        {"{'x': 1, \"t\": \"both\"}", "both"},
        {"{\"t\": \"\\ud83d\\ude00\\u0041\\/\"}", "\xf0\x9f\x98\x80"
                                                  "A/"},
        {"{\"t\": \"\\ud83d \\ude00x\"}", "\xef\xbf\xbd \xef\xbf\xbdx"},
        {"{'t': '\\xff\\U00110000'}", NULL},
        {"{'t': 'open}", NULL},
        {"{'t': 'x' 'y'}", NULL},
        {"{'t': u'x'}", NULL},
        {"{'t': null}", NULL},
        {"{'t': '\\x4'}", NULL},
        {"{'t': '\\u12g4'}", NULL},
        {"{'t': 'x', ,}", NULL},
        {"{\"t\": \"x\",}", NULL},
        {"{\"t\": 'x'}", NULL},
        {"{\"t\": \"\\x41\"}", NULL},
        {"{\"t\": \"a\tb\"}", NULL},
        {"{\"t\": \"x\\", NULL},
        {"{\"t\": 01}", NULL},
        {"{\"t\": \"x\", \"t\": \"y\"}", NULL},
        {"{\"t\": (1)}", NULL},
        {"{\"t\"}", NULL},
        {"{", NULL},
        {"", NULL},
    };
    static const sella_line_name names[] = {SELLA_LINE_NAME("t")};
    sella_text text = {0};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        sella_line_value v = {0};
        sella_err err = {0};
        size_t bytes = strlen(cases[c].line);
        char *exact = malloc(bytes + 1); // a heap block of its size, for the sanitizers
        memcpy(exact, cases[c].line, bytes);
        char *shrunk = realloc(exact, bytes > 0 ? bytes : 1);
        sella_status status = sella_line_scan(shrunk, bytes, names, 1, &v, &err);
        if (status == SELLA_OK && v.kind == SELLA_LINE_TEXT) {
            status = sella_line_text(&v, &text, &err);
        }
        if ((status == SELLA_OK) != (cases[c].want != NULL)) {
            fail_msg("%s: status %d %s", cases[c].line, status, err.text);
        }
        if (cases[c].want &&
            (strncmp(text.data ? text.data : "", cases[c].want, strlen(cases[c].want)) != 0 ||
             text.size != strlen(cases[c].want) + (strstr(cases[c].line, "\\0'") != NULL))) {
            fail_msg("%s gives '%s'", cases[c].line, text.data);
        }
        free(shrunk);
    }
    // Every length of a string meets every place of a word of eight bytes.
    for (size_t length = 0; length < 40; length++) {
        for (size_t at = 0; at < 40; at++) {
            char line[64] = "{\"t\":\"";
            sella_line_value v;
            memset(line + 6, 'a' + (int)(at % 26), length);
            memcpy(line + 6 + length, "\"}", 3);
            if (at < length) {
                line[6 + at] = 0x1f;
            }
            assert_int_equal(sella_line_scan(line, 8 + length, names, 1, &v, NULL),
                             at < length ? SELLA_FORMAT : SELLA_OK);
            assert_true(at < length || v.bytes == length);
        }
    }
    sella_text_release(&text);
}

static void decode_damaged(const uint8_t *data, size_t bytes, void *user)
{
    static const sella_line_name names[] = {SELLA_LINE_NAME("t")};
    sella_line_value v;
    bool cut;
    sella_text *text = user;
    if (sella_line_scan((const char *)data, bytes, names, 1, &v, NULL) == SELLA_OK &&
        v.kind == SELLA_LINE_TEXT && sella_line_text(&v, &text[0], NULL) == SELLA_OK) {
        assert_int_equal(sella_utf8_valid(text[0].data ? text[0].data : "", text[0].size),
                         text[0].size);
        assert_int_equal(
            sella_title_clean(text[0].data ? text[0].data : "", text[0].size, &text[1], &cut, NULL),
            SELLA_OK);
        assert_int_equal(sella_utf8_valid(text[1].data ? text[1].data : "", text[1].size),
                         text[1].size);
    }
}

static void damaged_texts(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "{'t': 'A &amp; B &#x27;s \\xc3\\xa9\\xe9 \\U0001f600 \\u00e9 \\101 \\' &eacute;&#8217;'}",
        "{\"t\": \"A &amp;  \\ud83d\\ude00 \\u00e9\\n &quot;&nbsp;\"}"};
    sella_text text[2] = {{0}, {0}};
    for (int l = 0; l < 2; l++) {
        mutate_run(lines[l], strlen(lines[l]), mutate_rounds(20000, 500000), decode_damaged, text);
    }
    sella_text_release(&text[0]);
    sella_text_release(&text[1]);
}

/* ---- titles ---- */

static void clean_titles(void **state)
{
    (void)state;
    static const struct {
        const char *raw, *want;
    } cases[] = {
        {"Plain", "Plain"},
        {"  a \t\r\n b  ", "a b"},
        {"Cast &amp; Crew", "Cast & Crew"},
        {"&quot;A&quot; &#39;B&#x27; &#X41; &apos;", "\"A\" 'B' A '"},
        {"&lt;b&gt;", "<b>"},
        {"&amp;amp; &amp;#39;", "&amp; &#39;"}, /* once */
        {"caf&eacute; &Agrave; &yuml; &iexcl; &szlig; &times;",
         "caf\xc3\xa9 \xc3\x80 \xc3\xbf \xc2\xa1 \xc3\x9f \xc3\x97"},
        {"a&nbsp;&nbsp;b\xc2\xa0"
         "c\xe3\x80\x80"
         "d",
         "a b c d"},
        {"It&#146;s &#150; &ndash; &trade;&#8482;",
         "It\xe2\x80\x99s \xe2\x80\x93 \xe2\x80\x93 \xe2\x84\xa2\xe2\x84\xa2"},
        {"&#128512;", "\xf0\x9f\x98\x80"},
        {"AT&T; R&D & co; &; &# &#; &#x; &#xg; &#12a; &unknown; &amp",
         "AT&T; R&D & co; &; &# &#; &#x; &#xg; &#12a; &unknown; &amp"},
        {"&#0; &#xd800; &#1114112; &#99999999999;", "&#0; &#xd800; &#1114112; &#99999999999;"},
        {"a\x01\x7f"
         "b&#7;c",
         "a b c"},
        {"&#32; &nbsp; \xef\xbb\xbf", ""},
        {"", ""},
    };
    sella_text out = {0};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        bool cut = true;
        assert_int_equal(sella_title_clean(cases[c].raw, strlen(cases[c].raw), &out, &cut, NULL),
                         SELLA_OK);
        assert_false(cut);
        if (out.size != strlen(cases[c].want) ||
            memcmp(out.data ? out.data : "", cases[c].want, out.size) != 0) {
            fail_msg("'%s' gives '%.*s', expected '%s'", cases[c].raw, (int)out.size, out.data,
                     cases[c].want);
        }
    }
    sella_text_release(&out);
}

/* ---- streams ---- */

static sella_line_stream *stream_of(const char *path, size_t limit)
{
    sella_err err = {0};
    sella_line_stream *stream = NULL;
    if (sella_line_stream_open(path, limit, &stream, &err) != SELLA_OK) {
        fail_msg("%s", err.text);
    }
    return stream;
}

/* Lines of all lengths around the sizes of buffers, plain and gzip, in one and in many members. */
static void streamed_lines(void **state)
{
    (void)state;
    enum { LINES = 301 };
    static const size_t lengths[] = {0,     1,     2,      7,      80,     4095,  65535,
                                     65536, 65537, 262143, 262144, 262145, 600000};
    char *folder = scratch_make(), *plain = sella_path_join(folder, "plain", NULL),
         *gzip = sella_path_join(folder, "gzip", NULL);
    sella_text all = {0};
    size_t length_n[LINES];
    gzFile packed = gzopen(gzip, "wb1");
    sella_text_append(&all, "\xef\xbb\xbf", 3, NULL);
    gzwrite(packed, "\xef\xbb\xbf", 3);
    for (int l = 0; l < LINES; l++) {
        size_t begin = all.size;
        length_n[l] = l < 250 ? (size_t)(l * 37 % 200)
                              : lengths[(size_t)l % (sizeof lengths / sizeof *lengths)];
        char *line = malloc(length_n[l] + 1);
        memset(line, 'a' + l % 26, length_n[l] + 1);
        sella_text_append(&all, line, length_n[l], NULL);
        sella_text_append(&all, l % 3 ? "\n" : "\r\n", l % 3 ? 1 : 2, NULL);
        free(line);
        if (l == LINES - 1) {
            all.size -= l % 3 ? 1 : 2; // the last line lacks its end
        }
        gzwrite(packed, all.data + begin, (unsigned)(all.size - begin));
        if (l % 50 == 49) {
            gzclose(packed);
            packed = gzopen(gzip, "ab1");
        }
    }
    gzclose(packed);
    FILE *file = fopen(plain, "wb");
    assert_int_equal(fwrite(all.data, 1, all.size, file), all.size);
    fclose(file);
    for (int kind = 0; kind < 2; kind++) {
        for (size_t limit = 262144; limit <= 1 << 20; limit *= 4) {
            sella_line_stream *stream = stream_of(kind ? gzip : plain, limit);
            for (int l = 0; l < LINES; l++) {
                const char *text;
                size_t bytes;
                sella_err err = {0};
                sella_status status = sella_line_stream_next(stream, &text, &bytes, &err);
                size_t whole = length_n[l] + (l % 3 == 0 && l < LINES - 1); // with its \r
                assert_int_equal(status, whole > limit ? SELLA_FORMAT : SELLA_OK);
                assert_int_equal(sella_line_stream_line(stream), l + 1);
                if (status == SELLA_OK) {
                    assert_non_null(text);
                    assert_int_equal(bytes, length_n[l]);
                    for (size_t k = 0; k < bytes; k++) {
                        if (text[k] != 'a' + l % 26) {
                            fail_msg("line %d, byte %zu", l, k);
                        }
                    }
                }
            }
            const char *text;
            size_t bytes;
            for (int again = 0; again < 2; again++) {
                assert_int_equal(sella_line_stream_next(stream, &text, &bytes, NULL), SELLA_OK);
                assert_null(text);
            }
            assert_true(sella_line_stream_done(stream) == sella_line_stream_size(stream));
            sella_line_stream_close(stream);
        }
    }
    sella_text_release(&all);
    free(plain);
    free(gzip);
    scratch_remove(folder);
}

static void short_files(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        const char *lines; /* joined by | */
    } cases[] = {{"", ""},
                 {"\n", "|"},
                 {"a", "a|"},
                 {"\r\n\r\n", "||"},
                 {"\xef\xbb\xbf", ""},
                 {"\xef\xbb\xbf\n", "|"},
                 {"\xef\xbb", "\xef\xbb|"},
                 {"a\n\nb\n", "a||b|"}};
    for (size_t c = 0; c < 2 * sizeof cases / sizeof *cases; c++) {
        char *folder = scratch_make(), got[64] = "", *path = sella_path_join(folder, "f", NULL);
        const char *text;
        size_t bytes, used = 0;
        gzFile file = gzopen(path, c % 2 ? "wb" : "wbT");
        gzwrite(file, cases[c / 2].bytes, (unsigned)strlen(cases[c / 2].bytes));
        gzclose(file);
        sella_line_stream *stream = stream_of(path, 100);
        while (sella_line_stream_next(stream, &text, &bytes, NULL) == SELLA_OK && text) {
            memcpy(got + used, text, bytes);
            used += bytes;
            got[used++] = '|';
        }
        if (strcmp(got, cases[c / 2].lines) != 0) {
            fail_msg("case %zu: '%s'", c, got);
        }
        sella_line_stream_close(stream);
        free(path);
        scratch_remove(folder);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_as_jansson),
        cmocka_unit_test(fields),
        cmocka_unit_test(texts),
        cmocka_unit_test(damaged_texts),
        cmocka_unit_test(clean_titles),
        cmocka_unit_test(streamed_lines),
        cmocka_unit_test(short_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
