/* test_tokenizer_use.c - decoding, finding, reserved ids, and what bad or huge text does to an
 * opened tokenizer. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/json.h"
#include "formats_room.h"
#include "tokenizer_fixture.h"

static void decoding_gives_the_text_back(void **state)
{
    (void)state;
    static const char text[] = "Straße 大小\r\n\t<|im_start|>user <|im_end|> 'LL 1234 "
                               "\xf0\x9f\x91\x8d\xf0\x9f\x8f\xbd x\0y";
    static const char *const files[] = {"tests/ref/tiny_tokenizer/tokenizer.json",
                                        "tests/ref/tokenizer_llama3.json",
                                        "tests/ref/tokenizer_digits.json"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        sella_tokenizer *tokenizer = open_json(files[i]);
        for (int special = 0; special < 2; special++) {
            sella_ids ids = {0};
            sella_text back = {0};
            assert_int_equal(
                sella_tokenizer_encode(tokenizer, text, sizeof text - 1, special == 1, &ids, NULL),
                SELLA_OK);
            assert_int_equal(sella_tokenizer_decode(tokenizer, ids.id, ids.count, &back, NULL),
                             SELLA_OK);
            assert_int_equal(back.size, sizeof text - 1);
            assert_memory_equal(back.data, text, sizeof text - 1);
            sella_ids_release(&ids);
            sella_text_release(&back);
        }
        sella_tokenizer_close(tokenizer);
    }
}

static void decoding_refuses_ids_that_are_not_there(void **state)
{
    (void)state;
    sella_tokenizer *tokenizer = open_json("tests/ref/tiny_tokenizer/tokenizer.json");
    static const int32_t bad[] = {-1, 512, INT32_MAX, INT32_MIN};
    sella_text text = {0};
    sella_err err = {0};
    assert_int_equal(sella_text_append(&text, "kept", 4, NULL), SELLA_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int32_t ids[2] = {264, bad[i]};
        assert_int_equal(sella_tokenizer_decode(tokenizer, ids, 2, &text, &err), SELLA_ARG);
        room_says(&err, "expected ids from 0 to 511");
        assert_string_equal(text.data, "kept");
    }
    assert_int_equal(sella_tokenizer_decode(tokenizer, NULL, 0, &text, &err), SELLA_OK);
    sella_text_release(&text);
    sella_tokenizer_close(tokenizer);
    sella_tokenizer_close(NULL);
}

/* Ids of the words as tests/ref/tokenizer_dump.py printed them when the tiny tokenizer was made. */
static void finding_by_text(void **state)
{
    (void)state;
    sella_tokenizer *tokenizer = open_json("tests/ref/tiny_tokenizer/tokenizer.json");
    assert_int_equal(sella_tokenizer_vocab(tokenizer), 512);
    assert_int_equal(sella_tokenizer_find(tokenizer, "Yes"), 264);
    assert_int_equal(sella_tokenizer_find(tokenizer, " Yes"), 268);
    assert_int_equal(sella_tokenizer_find(tokenizer, "No"), 263);
    assert_int_equal(sella_tokenizer_find(tokenizer, " No"), 267);
    assert_int_equal(sella_tokenizer_find(tokenizer, "<|im_start|>"), 507);
    assert_int_equal(sella_tokenizer_find(tokenizer, "\n"), 198);
    assert_int_equal(sella_tokenizer_find(tokenizer, "ĠYes"), -1);
    assert_int_equal(sella_tokenizer_find(tokenizer, ""), -1);
    assert_int_equal(sella_tokenizer_find(tokenizer, "no such token"), -1);
    sella_tokenizer_close(tokenizer);
}

static void reserved_ids(void **state)
{
    (void)state;
    int32_t id[6];
    sella_tokenizer *tiny = open_json("tests/ref/tiny_tokenizer/tokenizer.json");
    assert_int_equal(sella_tokenizer_reserved(tiny, id, 5), 3); /* then from the start again */
    assert_true(id[0] == 509 && id[1] == 510 && id[2] == 511 && id[3] == 509 && id[4] == 510);
    assert_int_equal(sella_tokenizer_reserved(tiny, id, 2), 2);
    assert_int_equal(sella_tokenizer_reserved(tiny, id, 0), 0);
    sella_tokenizer_close(tiny);

    sella_tokenizer *llama = open_json("tests/ref/tokenizer_llama3.json");
    assert_int_equal(sella_tokenizer_reserved(llama, id, 6), 2); /* never begin, end or turn */
    assert_int_equal(id[0], sella_tokenizer_find(llama, "<|reserved_special_token_0|>"));
    assert_int_equal(id[1], sella_tokenizer_find(llama, "<|reserved_special_token_1|>"));
    sella_tokenizer_close(llama);

    sella_tokenizer *qwen = open_json("tests/ref/tokenizer_qwen2.json");
    /* neither ChatML nor <tool_call>, which text produces */
    assert_int_equal(sella_tokenizer_reserved(qwen, id, 6), 2);
    assert_int_equal(id[0], sella_tokenizer_find(qwen, "<|box_start|>"));
    assert_int_equal(id[1], sella_tokenizer_find(qwen, "<|box_end|>"));
    sella_tokenizer_close(qwen);

    /* In the GGUF an unused token [PAD] comes last, and the chat template writes <file_sep>. */
    sella_tokenizer *digits = open_gguf("tests/ref/tokenizer_digits.gguf");
    assert_int_equal(sella_tokenizer_reserved(digits, id, 2), 1);
    assert_int_equal(id[0], sella_tokenizer_vocab(digits) - 1);
    sella_tokenizer_close(digits);
    digits = open_json("tests/ref/tokenizer_digits.json");
    assert_int_equal(sella_tokenizer_reserved(digits, id, 2), 1);
    assert_int_equal(id[0], sella_tokenizer_find(digits, "<file_sep>"));
    sella_tokenizer_close(digits);
}

static void only_the_end_token_is_left(void **state)
{
    (void)state;
    json_t *tree = NULL;
    int32_t id[2];
    assert_int_equal(
        sella_json_load("tests/ref/tiny_tokenizer/tokenizer.json", 1 << 20, &tree, NULL), SELLA_OK);
    json_t *added = json_object_get(tree, "added_tokens");
    while (json_array_size(added) > 3) { /* <|endoftext|>, <|im_start|>, <|im_end|> */
        json_array_remove(added, 3);
    }
    const char *path = room_path("three.json");
    assert_int_equal(sella_json_save(path, tree, NULL), SELLA_OK);
    sella_tokenizer *tokenizer = open_json(path);
    assert_int_equal(sella_tokenizer_reserved(tokenizer, id, 2), 1);
    assert_true(id[0] == 506 && id[1] == 506);
    sella_tokenizer_close(tokenizer);
    json_array_clear(added);
    assert_int_equal(sella_json_save(path, tree, NULL), SELLA_OK);
    tokenizer = open_json(path);
    assert_int_equal(sella_tokenizer_reserved(tokenizer, id, 2), 1);
    assert_int_equal(id[0], 505);
    sella_tokenizer_close(tokenizer);
    json_decref(tree);
}

static void text_that_is_not_utf8_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"abc\xff",          "\xc0\xaf",    "\xed\xa0\x80",
                                      "\xf4\x90\x80\x80", "ok \xe4\xb8", "\x80"};
    sella_tokenizer *tokenizer = open_json("tests/ref/tokenizer_qwen2.json");
    sella_ids ids = {0};
    sella_err err = {0};
    assert_int_equal(sella_ids_push(&ids, 7, NULL), SELLA_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(
            sella_tokenizer_encode(tokenizer, bad[i], strlen(bad[i]), true, &ids, &err),
            SELLA_FORMAT);
        room_says(&err, "not valid UTF-8 at byte");
        assert_true(ids.count == 1 && ids.id[0] == 7);
    }
    assert_int_equal(sella_tokenizer_encode(tokenizer, "", 0, true, &ids, &err), SELLA_OK);
    assert_int_equal(ids.count, 1);
    /* refused before it is read */
    assert_int_equal(sella_tokenizer_encode(tokenizer, "a", (size_t)1 << 30, true, &ids, &err),
                     SELLA_ARG);
    sella_ids_release(&ids);
    sella_tokenizer_close(tokenizer);
}

/* A quadratic step anywhere would take hours here; the program's time limit is the assertion. */
static void huge_texts_take_linear_time(void **state)
{
    (void)state;
    size_t bytes = scratch_full() ? (size_t)10 << 20 : (size_t)1 << 20;
    static const char *const units[] = {"a",
                                        " ",
                                        "\n",
                                        " \n",
                                        "!",
                                        "7",
                                        "<",
                                        "\xcc\x81\xcc\x96",
                                        "\xe1\x84\x80\xe1\x85\xa1",
                                        "etaoin",
                                        "<|im_start|",
                                        "<|im_end|>"};
    static const char *const files[] = {"tests/ref/tokenizer_qwen2.json",
                                        "tests/ref/tokenizer_digits.json",
                                        "tests/ref/tokenizer_flags.json"};
    char *text = malloc(bytes);
    assert_non_null(text);
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        sella_tokenizer *tokenizer = open_json(files[f]);
        for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
            size_t unit = strlen(units[u]), n = bytes / unit * unit;
            for (size_t i = 0; i < n; i++) {
                text[i] = units[u][i % unit];
            }
            sella_ids ids = {0};
            sella_err err = {0};
            if (sella_tokenizer_encode(tokenizer, text, n, true, &ids, &err) != SELLA_OK) {
                fail_msg("%s of '%s': %s", files[f], units[u], err.text);
            }
            assert_true(ids.count > 0 && (size_t)ids.count <= n);
            sella_ids_release(&ids);
        }
        sella_tokenizer_close(tokenizer);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoding_gives_the_text_back),
        cmocka_unit_test(decoding_refuses_ids_that_are_not_there),
        cmocka_unit_test(finding_by_text),
        cmocka_unit_test(reserved_ids),
        cmocka_unit_test(only_the_end_token_is_left),
        cmocka_unit_test(text_that_is_not_utf8_is_refused),
        cmocka_unit_test(huge_texts_take_linear_time),
    };
    return cmocka_run_group_tests(tests, room_make, room_remove);
}
