/* test_tokenizer_oracle.c - ids equal those of the tokenizers package, id by id
 * (tests/ref/tokenizer_dump.py).
 *
 * The small tokenizers are committed; Qwen's needs ../shared (SELLA_SHARED), SmolLM2's the model
 * (SELLA_MODEL, or models/).
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>

#include "base/file.h"
#include "base/json.h"
#include "tokenizer_fixture.h"

static json_t *cases;

static int load_cases(void **state)
{
    (void)state;
    return sella_json_load("tests/ref/tokenizer_cases.json", 4 << 20, &cases, NULL) == SELLA_OK
               ? 0
               : -1;
}

static int free_cases(void **state)
{
    (void)state;
    json_decref(cases);
    return 0;
}

/* 0 when the ids of one text are as expected; else 1, and the first difference is printed. */
static int compare(const sella_tokenizer *tokenizer, const char *name, size_t row,
                   const json_t *text, const json_t *want, bool special)
{
    sella_ids ids = {0};
    sella_err err = {0};
    if (sella_tokenizer_encode(tokenizer, json_string_value(text), json_string_length(text),
                               special, &ids, &err) != SELLA_OK) {
        fail_msg("%s: text %zu: %s", name, row, err.text);
    }
    int wrong = (size_t)ids.count != json_array_size(want);
    for (int i = 0; i < ids.count && !wrong; i++) {
        wrong = ids.id[i] != json_integer_value(json_array_get(want, (size_t)i));
    }
    if (wrong) {
        char *shown = json_dumps(text, JSON_ENCODE_ANY | JSON_ENSURE_ASCII),
             *ids_wanted = json_dumps(want, JSON_COMPACT);
        print_message("%s, special %d, text %zu: %.300s\n  want %.300s\n  got  [", name, special,
                      row, shown, ids_wanted);
        for (int i = 0; i < ids.count && i < 60; i++) {
            print_message("%s%d", i > 0 ? "," : "", ids.id[i]);
        }
        print_message("]\n");
        free(shown);
        free(ids_wanted);
    }
    sella_ids_release(&ids);
    return wrong;
}

static int differences(const sella_tokenizer *tokenizer, const char *name)
{
    const json_t *set = json_object_get(json_object_get(cases, "sets"), name);
    size_t row;
    json_t *text;
    int wrong = 0;
    assert_non_null(set);
    assert_true(json_array_size(json_object_get(cases, "texts")) > 200);
    json_array_foreach(json_object_get(cases, "texts"), row, text) {
        const json_t *special = json_array_get(json_object_get(set, "special"), row);
        const json_t *plain = json_array_get(json_object_get(set, "plain"), row);
        assert_true(json_is_array(special));
        wrong += compare(tokenizer, name, row, text, special, true);
        wrong += compare(tokenizer, name, row, text, json_is_null(plain) ? special : plain, false);
    }
    return wrong;
}

static void small_tokenizers_from_json(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        {"tiny", "tests/ref/tiny_tokenizer/tokenizer.json"},
        {"llama3", "tests/ref/tokenizer_llama3.json"},
        {"qwen2", "tests/ref/tokenizer_qwen2.json"},
        {"digits", "tests/ref/tokenizer_digits.json"},
        {"flags", "tests/ref/tokenizer_flags.json"},
    };
    int wrong = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        sella_tokenizer *tokenizer = open_json(names[i][1]);
        wrong += differences(tokenizer, names[i][0]);
        sella_tokenizer_close(tokenizer);
    }
    assert_int_equal(wrong, 0);
}

static void small_tokenizers_from_gguf(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        {"tiny", "tests/ref/tokenizer_tiny.gguf"},   {"llama3", "tests/ref/tokenizer_llama3.gguf"},
        {"qwen2", "tests/ref/tokenizer_qwen2.gguf"}, {"digits", "tests/ref/tokenizer_digits.gguf"},
    };
    int wrong = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        sella_tokenizer *tokenizer = open_gguf(names[i][1]);
        wrong += differences(tokenizer, names[i][0]);
        sella_tokenizer_close(tokenizer);
    }
    assert_int_equal(wrong, 0);
}

/* ---- the real ones ---- */

static char *shared_path(const char *rest)
{
    const char *shared = getenv("SELLA_SHARED");
    return sella_path_join(shared != NULL ? shared : "../shared", rest, NULL);
}

static sella_tokenizer *open_qwen(void)
{
    char *path = shared_path("data/tokenizers/qwen/tokenizer.json");
    sella_tokenizer *tokenizer = sella_path_exists(path) ? open_json(path) : NULL;
    free(path);
    return tokenizer;
}

static sella_tokenizer *open_smollm2(void)
{
    const char *path = getenv("SELLA_MODEL");
    path = path != NULL ? path : "models/SmolLM2-135M-Instruct.Q4_1.gguf";
    return sella_path_exists(path) ? open_gguf(path) : NULL;
}

/* The titles of ML-1M: how many ids, and one hash over them, as the package counts. */
static void check_titles(const sella_tokenizer *tokenizer, const char *name)
{
    char *path = shared_path("data/ml-1m/items.tsv");
    const json_t *want = json_object_get(json_object_get(cases, "titles"), name);
    sella_ids ids = {0};
    sella_map map;
    sella_lines lines;
    const char *line;
    size_t bytes;
    char hash[17];
    if (sella_path_exists(path)) {
        assert_int_equal(sella_map_open(path, &map, NULL), SELLA_OK);
        sella_lines_init(&lines, path, map.data, map.size, 4096);
        assert_int_equal(sella_lines_next(&lines, &line, &bytes, NULL), SELLA_OK);
        while (sella_lines_next(&lines, &line, &bytes, NULL) == SELLA_OK && line != NULL) {
            const char *title = (const char *)memchr(line, '\t', bytes) + 1;
            assert_int_equal(sella_tokenizer_encode(tokenizer, title,
                                                    bytes - (size_t)(title - line), false, &ids,
                                                    NULL),
                             SELLA_OK);
        }
        snprintf(
            hash, sizeof hash, "%016llx",
            (unsigned long long)sella_hash_bytes(ids.id, (size_t)ids.count * sizeof *ids.id, 0));
        assert_int_equal(ids.count, json_integer_value(json_object_get(want, "count")));
        assert_string_equal(hash, json_string_value(json_object_get(want, "xxh3")));
        sella_map_close(&map);
    }
    sella_ids_release(&ids);
    free(path);
}

static void qwen(void **state)
{
    (void)state;
    sella_tokenizer *tokenizer = open_qwen();
    if (tokenizer == NULL) {
        skip();
    }
    int32_t id[4];
    assert_int_equal(sella_tokenizer_vocab(tokenizer), 151669);
    assert_int_equal(differences(tokenizer, "qwen"), 0);
    check_titles(tokenizer, "qwen");
    assert_int_equal(sella_tokenizer_find(tokenizer, "<|im_end|>"), 151645);
    /* <|object_ref_start|>, <|object_ref_end|>, <|box_start|> */
    assert_int_equal(sella_tokenizer_reserved(tokenizer, id, 3), 3);
    assert_true(id[0] == 151646 && id[1] == 151647 && id[2] == 151648);
    sella_tokenizer_close(tokenizer);
}

static void smollm2(void **state)
{
    (void)state;
    sella_tokenizer *tokenizer = open_smollm2();
    if (tokenizer == NULL) {
        skip();
    }
    int32_t id[4];
    assert_int_equal(sella_tokenizer_vocab(tokenizer), 49152);
    assert_int_equal(differences(tokenizer, "smollm2"), 0);
    check_titles(tokenizer, "smollm2");
    assert_int_equal(sella_tokenizer_find(tokenizer, " Yes"), 9230);
    assert_int_equal(sella_tokenizer_find(tokenizer, " No"), 2838);
    assert_int_equal(sella_tokenizer_find(tokenizer, "Yes"), 10539);
    assert_int_equal(sella_tokenizer_find(tokenizer, "No"), 5230);
    /* <repo_name>, <reponame>, <file_sep> */
    assert_int_equal(sella_tokenizer_reserved(tokenizer, id, 3), 3);
    assert_true(id[0] == 3 && id[1] == 4 && id[2] == 5);
    sella_tokenizer_close(tokenizer);
}

/* ---- many threads, one handle ---- */

static void *encode_all(void *user)
{
    const sella_tokenizer *tokenizer = user;
    const json_t *set = json_object_get(json_object_get(cases, "sets"), "llama3");
    intptr_t wrong = 0;
    for (int round = 0; round < 3; round++) {
        for (size_t row = 0; row < json_array_size(json_object_get(cases, "texts")); row++) {
            const json_t *text = json_array_get(json_object_get(cases, "texts"), row);
            const json_t *want = json_array_get(json_object_get(set, "special"), row);
            sella_ids ids = {0};
            wrong += sella_tokenizer_encode(tokenizer, json_string_value(text),
                                            json_string_length(text), true, &ids, NULL) != SELLA_OK;
            wrong += (size_t)ids.count != json_array_size(want);
            for (int i = 0; i < ids.count; i++) {
                wrong += ids.id[i] != json_integer_value(json_array_get(want, (size_t)i));
            }
            sella_ids_release(&ids);
        }
    }
    return (void *)wrong;
}

static void one_handle_serves_many_threads(void **state)
{
    (void)state;
    sella_tokenizer *tokenizer = open_json("tests/ref/tokenizer_llama3.json");
    pthread_t thread[4];
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&thread[i], NULL, encode_all, tokenizer), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *wrong;
        pthread_join(thread[i], &wrong);
        assert_null(wrong);
    }
    sella_tokenizer_close(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_tokenizers_from_json),
        cmocka_unit_test(small_tokenizers_from_gguf),
        cmocka_unit_test(qwen),
        cmocka_unit_test(smollm2),
        cmocka_unit_test(one_handle_serves_many_threads),
    };
    return cmocka_run_group_tests(tests, load_cases, free_cases);
}
