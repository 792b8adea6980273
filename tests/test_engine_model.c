/* test_engine_model.c - one text through the bare tiny Llama: ids, logits and hidden state as
 * tokenizers and transformers have them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "base/json.h"
#include "sella/model.h"

#define MODEL "tests/ref/tiny_llama"

static json_t *ask(const char *text, const char *logits_of)
{
    sella_err err = {0};
    char *json = NULL;
    json_t *answer = NULL;
    if (sella_model_text(MODEL, text, logits_of, NULL, NULL, &json, &err) != SELLA_OK) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(sella_json_parse(json, strlen(json), "answer", &answer, NULL), SELLA_OK);
    free(json);
    return answer;
}

static double real_at(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static void near(double got, double want, const char *what, size_t i)
{
    if (!(fabs(got - want) <= 1e-4 * (1.0 + fabs(want)))) {
        fail_msg("%s[%zu]: got %.9g, want %.9g", what, i, got, want);
    }
}

static void same_as_transformers(void **state)
{
    (void)state;
    json_t *cases = NULL;
    assert_int_equal(sella_json_load("tests/ref/engine_text.json", 1 << 20, &cases, NULL),
                     SELLA_OK);
    assert_true(json_array_size(cases) >= 2);
    size_t c, i;
    json_t *want, *value;
    json_array_foreach(cases, c, want) {
        json_t *got = ask(json_string_value(json_object_get(want, "text")), "Yes, No");
        assert_true(json_equal(json_object_get(got, "ids"), json_object_get(want, "ids")));
        assert_int_equal(json_array_size(json_object_get(got, "tokens")),
                         json_array_size(json_object_get(want, "ids")));
        assert_int_equal(json_array_size(json_object_get(got, "top")), 10);
        json_array_foreach(json_object_get(want, "top"), i, value) {
            const json_t *mine = json_array_get(json_object_get(got, "top"), i);
            assert_int_equal(json_integer_value(json_object_get(mine, "id")),
                             json_integer_value(json_object_get(value, "id")));
            near(real_at(mine, "logit"), real_at(value, "logit"), "top", i);
        }
        assert_int_equal(json_array_size(json_object_get(got, "hidden")),
                         json_array_size(json_object_get(want, "hidden")));
        json_array_foreach(json_object_get(want, "hidden"), i, value) {
            near(json_number_value(json_array_get(json_object_get(got, "hidden"), i)),
                 json_number_value(value), "hidden", i);
        }
        const char *word;
        json_object_foreach(json_object_get(want, "logits_of"), word, value) {
            near(real_at(json_object_get(got, "logits_of"), word), json_number_value(value), word,
                 0);
        }
        json_decref(got);
    }
    json_decref(cases);
}

static void tokens_are_readable(void **state)
{
    (void)state;
    /* a character of three bytes, of which a token may hold one */
    json_t *got = ask("a \xE5\x8C\x97", NULL);
    size_t i;
    json_t *token;
    json_array_foreach(json_object_get(got, "tokens"), i, token) {
        assert_true(json_string_length(token) > 0);
    }
    assert_null(json_object_get(got, "logits_of"));
    json_decref(got);
}

static void refusals(void **state)
{
    (void)state;
    sella_err err = {0};
    char *json = NULL;
    assert_int_equal(sella_model_text(MODEL, "", NULL, NULL, NULL, &json, &err), SELLA_ARG);
    assert_non_null(strstr(err.text, "at least one token"));
    assert_int_equal(sella_model_text(MODEL, "x", "Yes,,No", NULL, NULL, &json, &err), SELLA_ARG);
    assert_non_null(strstr(err.text, "empty text"));
    assert_int_equal(
        sella_model_text("tests/ref/no_such_model", "x", NULL, NULL, NULL, &json, &err),
        SELLA_MISSING);
    assert_non_null(strstr(err.text, "no_such_model"));
    assert_int_not_equal(sella_model_text(MODEL, "\xff", NULL, NULL, NULL, &json, &err), SELLA_OK);
    char *text = malloc(3001);
    for (int i = 0; i < 3000; i++) {
        text[i] = i % 2 ? ' ' : 'q';
    }
    text[3000] = '\0';
    assert_int_equal(sella_model_text(MODEL, text, NULL, NULL, NULL, &json, &err), SELLA_ARG);
    assert_non_null(strstr(err.text, "2048"));
    free(text);
    assert_null(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_as_transformers),
        cmocka_unit_test(tokens_are_readable),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
