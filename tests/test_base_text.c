/* UTF-8, numbers, near names, lines. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/text.h"
#include "fuzz/mutate.h"

static void growing(void **state)
{
    (void)state;
    sella_text t = {0};
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(sella_text_format(&t, NULL, "%d,", i), SELLA_OK);
        assert_int_equal(sella_text_append(&t, "x\0y", 3, NULL), SELLA_OK);
    }
    assert_int_equal(t.size, 3 * 1000 + 3890); // 10 * 2 + 90 * 3 + 900 * 4 digits and commas
    assert_int_equal(t.data[t.size], 0);
    assert_memory_equal(t.data, "0,x\0y1,x", 8);
    assert_int_equal(sella_text_append(&t, "", SIZE_MAX / 2, NULL), SELLA_MEMORY);
    sella_text_release(&t);
    assert_null(t.data);
}

static void utf8_cases(void **state)
{
    (void)state;
    const struct {
        const char *text;
        size_t bytes, valid;
    } cases[] = {
        {"", 0, 0},
        {"abc", 3, 3},
        {"a\0b", 3, 3},
        {"\x7f", 1, 1},
        {"\x80", 1, 0},
        {"\xc0\x80", 2, 0},                   // overlong NUL
        {"\xc1\xbf", 2, 0},                   // overlong
        {"\xc2\x80", 2, 2},                   // U+0080
        {"\xdf\xbf", 2, 2},                   // U+07FF
        {"\xe0\x9f\xbf", 3, 0},               // overlong
        {"\xe0\xa0\x80", 3, 3},               // U+0800
        {"\xed\x9f\xbf", 3, 3},               // U+D7FF
        {"\xed\xa0\x80", 3, 0},               // surrogate D800
        {"\xed\xbf\xbf", 3, 0},               // surrogate DFFF
        {"\xee\x80\x80", 3, 3},               // U+E000
        {"\xef\xbf\xbf", 3, 3},               // U+FFFF
        {"\xf0\x8f\xbf\xbf", 4, 0},           // overlong
        {"\xf0\x90\x80\x80", 4, 4},           // U+10000
        {"\xf4\x8f\xbf\xbf", 4, 4},           // U+10FFFF
        {"\xf4\x90\x80\x80", 4, 0},           // above
        {"\xf5\x80\x80\x80", 4, 0},           // never
        {"ab\xe2\x82", 4, 2},                 // cut
        {"ab\xe2\x82" "c", 5, 2},             // third byte missing
        {"12345678\xf0\x9f\x98\x80" "1234567\xff", 20, 19},
        {"1234567\xc3\xa9" "9012345678", 19, 19},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *copy = malloc(cases[i].bytes + 1); // its exact size, for the sanitizer
        memcpy(copy, cases[i].text, cases[i].bytes);
        assert_int_equal(sella_utf8_valid(copy, cases[i].bytes), cases[i].valid);
        free(copy);
    }
}

/* Every code point encoded by the definition is valid, except surrogates; every two-byte string
 * agrees with a plain decoder. */
static void utf8_all(void **state)
{
    (void)state;
    for (unsigned c = 0x80; c < 0x110000; c++) {
        char s[4];
        size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        for (size_t i = n - 1, rest = c; i > 0; i--, rest >>= 6) {
            s[i] = (char)(0x80 | (rest & 0x3f));
        }
        s[0] = (char)((n == 2 ? 0xc0 : n == 3 ? 0xe0 : 0xf0) | c >> (6 * (n - 1)));
        bool surrogate = c >= 0xd800 && c <= 0xdfff;
        if (sella_utf8_valid(s, n) != (surrogate ? 0 : n)) {
            fail_msg("U+%04X", c);
        }
    }
    for (unsigned a = 0; a < 256; a++) {
        for (unsigned b = 0; b < 256; b++) {
            char s[2] = {(char)a, (char)b};
            size_t want = a < 0x80                                           ? (b < 0x80 ? 2 : 1)
                          : a >= 0xc2 && a <= 0xdf && b >= 0x80 && b <= 0xbf ? 2
                                                                             : 0;
            assert_int_equal(sella_utf8_valid(s, 2), want);
        }
    }
}

static void latin1(void **state)
{
    (void)state;
    char *text = sella_latin1_to_utf8("caf\xe9 \xff\x80", 7, NULL);
    assert_string_equal(text, "caf\xc3\xa9 \xc3\xbf\xc2\x80");
    free(text);
}

static void ints(void **state)
{
    (void)state;
    const struct {
        const char *text;
        int64_t min, max, want;
        const char *sentence; // NULL: accepted
    } cases[] = {
        {"0", 0, 9, 0, NULL},
        {"-0", 0, 9, 0, NULL},
        {"007", 0, 9, 7, NULL},
        {"9223372036854775807", INT64_MIN, INT64_MAX, INT64_MAX, NULL},
        {"-9223372036854775808", INT64_MIN, INT64_MAX, INT64_MIN, NULL},
        {"9223372036854775808", INT64_MIN, INT64_MAX, 0, "is outside"},
        {"-9223372036854775809", INT64_MIN, INT64_MAX, 0, "is outside"},
        {"99999999999999999999999999999999", INT64_MIN, INT64_MAX, 0, "is outside"},
        {"10", 0, 9, 0, "rating 10 is outside 0 to 9"},
        {"-1", 0, 9, 0, "rating -1 is outside 0 to 9"},
        {"", 0, 9, 0, "rating '' is not a whole number"},
        {"-", 0, 9, 0, "is not a whole number"},
        {"+1", 0, 9, 0, "is not a whole number"},
        {" 1", 0, 9, 0, "is not a whole number"},
        {"1 ", 0, 9, 0, "is not a whole number"},
        {"1.0", 0, 9, 0, "is not a whole number"},
        {"0x1", 0, 9, 0, "is not a whole number"},
        {"1e1", 0, 99, 0, "is not a whole number"},
        {"99999999999999999999x", 0, 9, 0, "is not a whole number"},
        {"--1", -9, 9, 0, "is not a whole number"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sella_err err = {0};
        int64_t value = -77;
        sella_status status = sella_parse_int(cases[i].text, strlen(cases[i].text), cases[i].min,
                                              cases[i].max, "rating", &value, &err);
        if (cases[i].sentence) {
            assert_int_equal(status, SELLA_FORMAT);
            assert_non_null(strstr(err.text, cases[i].sentence));
            assert_int_equal(value, -77);
        } else {
            assert_int_equal(status, SELLA_OK);
            assert_int_equal(value, cases[i].want);
        }
    }
    int64_t value = 0;
    /* the field ends where it says */
    assert_int_equal(sella_parse_int("12345", 2, 0, 99, "x", &value, NULL), SELLA_OK);
    assert_int_equal(value, 12);
    assert_int_equal(sella_parse_int("1\0" "2", 3, 0, 99, "x", &value, NULL), SELLA_FORMAT);
}

static void reals(void **state)
{
    (void)state;
    const char *good[] = {"0",
                          "-0",
                          "1",
                          "-1.5",
                          ".5",
                          "5.",
                          "1e3",
                          "1E-3",
                          "1e+3",
                          "0.1",
                          "0.30000000000000004",
                          "123456789012345",
                          "12345678901234.5",
                          "1234567890123456789",
                          "2.2250738585072014e-308",
                          "4.9e-324",
                          "1.7976931348623157e308",
                          "3.141592653589793",
                          "1e-400",
                          "0.000001",
                          "99999999999999.9",
                          "0.1000000000001",
                          "8.5e-7",
                          "9007199254740993"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        double value = NAN;
        assert_int_equal(
            sella_parse_real(good[i], strlen(good[i]), -DBL_MAX, DBL_MAX, "x", &value, NULL),
            SELLA_OK);
        double want = strtod(good[i], NULL); // the C library rounds correctly
        assert_memory_equal(&value, &want, sizeof value);
    }
    const char *bad[] = {"",      "-",    ".",   "-.",       "e5",   "1e",    "1e+",
                         "1.5.2", "1,5",  " 1",  "1 ",       "+1",   "0x10",  "nan",
                         "inf",   "-inf", "NaN", "infinity", "1e5x", "1_000", "--1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        sella_err err = {0};
        double value = 0;
        assert_int_equal(
            sella_parse_real(bad[i], strlen(bad[i]), -DBL_MAX, DBL_MAX, "rating", &value, &err),
            SELLA_FORMAT);
        assert_non_null(strstr(err.text, "is not a number"));
    }
    sella_err err = {0};
    double value = 0;
    /* too large to be finite */
    assert_int_equal(sella_parse_real("1e999", 5, -INFINITY, INFINITY, "lr", &value, &err),
                     SELLA_FORMAT);
    assert_int_equal(sella_parse_real("2", 1, 0, 1, "lr", &value, &err), SELLA_FORMAT);
    assert_string_equal(err.text, "lr 2 is outside 0 to 1");
    char longest[2000];
    memset(longest, '1', sizeof longest);
    assert_int_equal(sella_parse_real(longest, sizeof longest, 0, DBL_MAX, "lr", &value, &err),
                     SELLA_FORMAT);
}

static void reals_round_trip(void **state)
{
    (void)state;
    sella_rng rng = {.seed = 3, .stream = SELLA_STREAM_TEST};
    for (uint64_t i = 0; i < 20000; i++) {
        uint32_t word[4];
        double value, back = 0;
        sella_rng_block(&rng, i, word);
        memcpy(&value, word, sizeof value);
        if (i % 2) { // also short decimals, which take the quick way
            value = (double)(word[0] % 1000000) / 1000.0;
        }
        if (!isfinite(value)) {
            continue;
        }
        char text[64];
        sella_real_text(value, text, sizeof text);
        assert_int_equal(sella_parse_real(text, strlen(text), -DBL_MAX, DBL_MAX, "x", &back, NULL),
                         SELLA_OK);
        assert_memory_equal(&back, &value, sizeof value);
    }
    char text[64];
    sella_real_text(0.1, text, sizeof text);
    assert_string_equal(text, "0.1");
    sella_real_text(8e-5, text, sizeof text);
    assert_string_equal(text, "8e-05");
}

/* A program that links the library may have set a locale with a decimal comma. Skipped when the
 * machine has none. */
static void decimal_comma(void **state)
{
    (void)state;
    if (!setlocale(LC_ALL, "de_DE.UTF-8") && !setlocale(LC_ALL, "fr_FR.UTF-8")) {
        skip();
    }
    double value = 0;
    sella_text t = {0};
    assert_int_equal(sella_parse_real("0.12345678901234567", 19, 0, 1, "x", &value, NULL),
                     SELLA_OK);
    assert_true(value == 0.12345678901234567);
    assert_int_equal(sella_text_format(&t, NULL, "%.1f", 0.5), SELLA_OK);
    assert_string_equal(t.data, "0.5");
    sella_text_release(&t);
    setlocale(LC_ALL, "C");
}

/* Optimal string alignment by its recursive definition, for short strings. */
static int slow_distance(const char *a, size_t n, const char *b, size_t m)
{
    if (n == 0 || m == 0) {
        return (int)(n + m);
    }
    int d = slow_distance(a, n - 1, b, m - 1) + (a[n - 1] != b[m - 1]);
    int left = slow_distance(a, n, b, m - 1) + 1, up = slow_distance(a, n - 1, b, m) + 1;
    d = left < d ? left : d;
    d = up < d ? up : d;
    if (n > 1 && m > 1 && a[n - 1] == b[m - 2] && a[n - 2] == b[m - 1]) {
        int swap = slow_distance(a, n - 2, b, m - 2) + 1;
        d = swap < d ? swap : d;
    }
    return d;
}

static void distances(void **state)
{
    (void)state;
    sella_rng rng = {.seed = 4, .stream = SELLA_STREAM_TEST};
    for (uint64_t i = 0; i < 3000; i++) {
        char s[2][8] = {{0}};
        uint32_t word[4];
        for (uint64_t k = 0; k < 2; k++) {
            sella_rng_block(&rng, 2 * i + k, word);
            for (uint32_t j = 0; j < word[0] % 7; j++) {
                s[k][j] = (char)('a' + (word[1] >> (4 * j)) % 3);
            }
        }
        int want = slow_distance(s[0], strlen(s[0]), s[1], strlen(s[1]));
        for (int limit = 0; limit < 9; limit++) {
            assert_int_equal(sella_text_distance(s[0], s[1], limit), want < limit ? want : limit);
        }
    }
    assert_int_equal(sella_text_distance("Heat", "hEAT", 5), 0);
    assert_int_equal(sella_text_distance("kitten", "sitting", 9), 3);
    char a[1000], b[1000];
    memset(a, 'a', 999), memset(b, 'b', 999);
    a[999] = b[999] = '\0';
    assert_int_equal(sella_text_distance(a, b, 5000), 5000);
    a[500] = 'c';
    memset(b, 'a', 999);
    assert_int_equal(sella_text_distance(a, b, 50), 1); // equal ends cost nothing
}

static void nearest(void **state)
{
    (void)state;
    const char *const names[] = {"stage1.lr", "stage2.lr", "lora.rank", "history.length", "k"};
    assert_int_equal(sella_text_nearest("stage1.lrr", names, 5), 0);
    assert_int_equal(sella_text_nearest("lora.rnak", names, 5), 2);
    assert_int_equal(sella_text_nearest("histroy.lenght", names, 5), 3);
    assert_int_equal(sella_text_nearest("temperature", names, 5), -1);
    assert_int_equal(sella_text_nearest("kk", names, 5), 4);
    assert_int_equal(sella_text_nearest("x", names, 0), -1);
}

static void line_reader(void **state)
{
    (void)state;
    const char data[] = "\xef\xbb\xbf" "a\nb\r\n\n\rc\n" "d";
    const char *want[] = {"a", "b", "", "\rc", "d"};
    sella_lines lines;
    const char *text = NULL;
    size_t bytes = 0;
    sella_lines_init(&lines, "f.csv", data, sizeof data - 1, 10);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(sella_lines_next(&lines, &text, &bytes, NULL), SELLA_OK);
        assert_non_null(text);
        assert_int_equal(bytes, strlen(want[i]));
        assert_memory_equal(text, want[i], bytes);
        assert_int_equal(lines.line, i + 1);
    }
    assert_int_equal(sella_lines_next(&lines, &text, &bytes, NULL), SELLA_OK);
    assert_null(text);
    sella_err err = {0};
    sella_lines_init(&lines, "f.csv", "12\n1234\n", 8, 3);
    assert_int_equal(sella_lines_next(&lines, &text, &bytes, &err), SELLA_OK);
    assert_int_equal(sella_lines_next(&lines, &text, &bytes, &err), SELLA_FORMAT);
    assert_string_equal(err.text, "f.csv:2: the line has 4 bytes; expected at most 3");
    sella_lines_init(&lines, "f.csv", NULL, 0, 3);
    assert_int_equal(sella_lines_next(&lines, &text, &bytes, &err), SELLA_OK);
    assert_null(text);
}

static void parse_all(const uint8_t *data, size_t bytes, void *user)
{
    sella_lines lines;
    const char *text = NULL;
    size_t size = 0;
    (void)user;
    assert_true(sella_utf8_valid((const char *)data, bytes) <= bytes);
    sella_lines_init(&lines, "fuzz", data, bytes, 200);
    while (sella_lines_next(&lines, &text, &size, NULL) == SELLA_OK && text) {
        int64_t i = 0;
        double x = 0;
        assert_true((const uint8_t *)text >= data && (const uint8_t *)text + size <= data + bytes);
        if (sella_parse_int(text, size, -1000, 1000, "x", &i, NULL) == SELLA_OK) {
            assert_true(i >= -1000 && i <= 1000);
        }
        if (sella_parse_real(text, size, -1e6, 1e6, "x", &x, NULL) == SELLA_OK) {
            assert_true(x >= -1e6 && x <= 1e6);
        }
    }
}

static void fuzz(void **state)
{
    (void)state;
    const char data[] =
        "12\n-7\r\n3.25\n1e-5\ncaf\xc3\xa9 \xe2\x82\xac\n9223372036854775807\n.5e3\n\n-0.000001\n";
    mutate_run(data, sizeof data - 1, mutate_rounds(20000, 2000000), parse_all, NULL);
}

static void counts(void **state)
{
    (void)state;
    static const struct {
        int64_t value;
        const char *want;
    } cases[] = {{0, "0"},           {999, "999"},       {1000, "1,000"},
                 {727468, "727,468"}, {-1234567, "-1,234,567"}, {-100, "-100"},
                 {INT64_MIN, "-9,223,372,036,854,775,808"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[32];
        assert_string_equal(sella_count_text(cases[i].value, text, sizeof text), cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(counts),
        cmocka_unit_test(growing),
                                       cmocka_unit_test(utf8_cases),
                                       cmocka_unit_test(utf8_all),
                                       cmocka_unit_test(latin1),
                                       cmocka_unit_test(ints),
                                       cmocka_unit_test(reals),
                                       cmocka_unit_test(reals_round_trip),
                                       cmocka_unit_test(decimal_comma),
                                       cmocka_unit_test(distances),
                                       cmocka_unit_test(nearest),
                                       cmocka_unit_test(line_reader),
                                       cmocka_unit_test(fuzz)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
