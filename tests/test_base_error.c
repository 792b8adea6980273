/* Error sentences: cleaning, cutting, prefixes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"

static void names(void **state)
{
    (void)state;
    assert_string_equal(sella_status_name(SELLA_OK), "OK");
    assert_string_equal(sella_status_name(SELLA_FORMAT), "FORMAT");
    assert_string_equal(sella_status_text(SELLA_MEMORY), "not enough memory");
    assert_string_equal(sella_status_name((sella_status)-99), "unknown");
    assert_string_equal(sella_status_text((sella_status)7), "unknown");
}

static void sentence(void **state)
{
    (void)state;
    sella_err err = {0};
    assert_int_equal(sella_err_set(&err, SELLA_IO, "%s:%d: no", "a.csv", 3), SELLA_IO);
    assert_int_equal(err.code, SELLA_IO);
    assert_string_equal(err.text, "a.csv:3: no");
    assert_int_equal(sella_err_set(NULL, SELLA_ARG, "x"), SELLA_ARG);
    assert_int_equal(sella_err_prefix(&err, SELLA_ARG, "part %d", 1), SELLA_IO);
    assert_string_equal(err.text, "part 1: a.csv:3: no");
    assert_int_equal(sella_err_prefix(NULL, SELLA_ARG, "x"), SELLA_ARG);
    /* its own text as an argument */
    assert_int_equal(sella_err_set(&err, SELLA_FORMAT, "again: %s", err.text), SELLA_FORMAT);
    assert_string_equal(err.text, "again: part 1: a.csv:3: no");
    assert_int_equal(sella_err_errno(&err, "x/y", "opened", ENOENT), SELLA_MISSING);
    assert_string_equal(err.text, "x/y: could not be opened: No such file or directory");
    assert_int_equal(sella_err_errno(&err, "x/y", "written", ENOSPC), SELLA_IO);
    assert_string_equal(err.text, "x/y: could not be written: No space left on device");
    assert_int_equal(sella_err_memory(&err, "weights", (size_t)3 << 20), SELLA_MEMORY);
    assert_string_equal(err.text, "could not get 3.0 MiB of memory for weights");
}

static void hostile(void **state)
{
    (void)state;
    sella_err err = {0};
    sella_err_set(&err, SELLA_FORMAT, "%s", "a\x1b[31mb\n\x7f\xc3\xa9\xff\xc2\x9b" "c");
    assert_string_equal(err.text, "a?[31mb??\xc3\xa9???c");
}

static void too_long(void **state)
{
    (void)state;
    sella_err err = {0};
    for (size_t lead = 0; lead < 3; lead++) { // the cut meets each byte of a character
        char text[4000];
        memset(text, 'x', lead);
        for (size_t i = lead; i + 2 < sizeof text; i += 2) {
            memcpy(text + i, "\xc3\xa9", 3);
        }
        sella_err_set(&err, SELLA_FORMAT, "%s", text);
        size_t bytes = strlen(err.text);
        assert_true(bytes < sizeof err.text && bytes > sizeof err.text - 8);
        assert_string_equal(err.text + bytes - 3, "...");
        assert_null(strchr(err.text, '?'));
        assert_int_equal(sella_utf8_valid(err.text, bytes), bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names), cmocka_unit_test(sentence),
                                       cmocka_unit_test(hostile), cmocka_unit_test(too_long)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
