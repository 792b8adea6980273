/* test_tokenizer_hostile.c - tokenizer.json and GGUF metadata that are contradictory, damaged, or
 * of a kind that is not supported. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/json.h"
#include "formats_room.h"
#include "fuzz/mutate.h"
#include "tokenizer/tokenizer.h"

/* ---- tokenizer.json: one change to a good file, one sentence ---- */

static json_t *tree;

static json_t *at(const char *a, const char *b)
{
    json_t *value = json_object_get(tree, a);
    return b != NULL ? json_object_get(value, b) : value;
}

static void fresh(void)
{
    json_decref(tree);
    assert_int_equal(
        sella_json_load("tests/ref/tiny_tokenizer/tokenizer.json", 1 << 20, &tree, NULL), SELLA_OK);
}

/* Save the tree as it is now, open it, and start over. */
static void refused(sella_status status, const char *part)
{
    sella_tokenizer *tokenizer;
    sella_err err = {0};
    const char *path = room_path("tokenizer.json");
    assert_int_equal(sella_json_save(path, tree, NULL), SELLA_OK);
    sella_status got = sella_tokenizer_open_json(path, &tokenizer, &err);
    if (got != status) {
        fail_msg("status %d instead of %d: %s (expected '%s')", got, status, err.text, part);
    }
    assert_null(tokenizer);
    room_says(&err, part);
    room_says(&err, "tokenizer.json");
    fresh();
}

static void opened(void)
{
    sella_tokenizer *tokenizer;
    sella_err err = {0};
    const char *path = room_path("tokenizer.json");
    assert_int_equal(sella_json_save(path, tree, NULL), SELLA_OK);
    if (sella_tokenizer_open_json(path, &tokenizer, &err) != SELLA_OK) {
        fail_msg("%s", err.text);
    }
    sella_tokenizer_close(tokenizer);
    fresh();
}

static json_t *json_of(const char *text)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(value);
    return value;
}

static void other_models_are_named(void **state)
{
    (void)state;
    static const char *const kinds[] = {"Unigram", "WordPiece", "WordLevel"};
    fresh();
    opened();
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        json_object_set_new(at("model", NULL), "type", json_string(kinds[i]));
        refused(SELLA_UNSUPPORTED, kinds[i]);
    }
    json_object_set_new(at("model", NULL), "byte_fallback", json_true());
    refused(SELLA_UNSUPPORTED, "byte_fallback");
    json_object_set_new(at("model", NULL), "dropout", json_real(0.1));
    refused(SELLA_UNSUPPORTED, "dropout");
    json_object_set_new(at("model", NULL), "continuing_subword_prefix", json_string("##"));
    refused(SELLA_UNSUPPORTED, "continuing_subword_prefix");
    json_object_set_new(at("model", NULL), "end_of_word_suffix", json_string("</w>"));
    refused(SELLA_UNSUPPORTED, "end_of_word_suffix");
    json_object_set_new(at("model", NULL), "unk_token", json_string("<nowhere>"));
    refused(SELLA_FORMAT, "<nowhere>");
    json_object_set_new(tree, "normalizer", json_of("{\"type\":\"Lowercase\"}"));
    refused(SELLA_UNSUPPORTED, "Lowercase");
    json_object_set_new(
        tree, "normalizer",
        json_of(
            "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"NFKC\"}]}"));
    refused(SELLA_UNSUPPORTED, "NFKC");
    json_object_set_new(tree, "decoder", json_of("{\"type\":\"Metaspace\"}"));
    refused(SELLA_UNSUPPORTED, "Metaspace");
    json_object_del(tree, "model");
    refused(SELLA_FORMAT, "no 'model'");
    json_object_del(at("model", NULL), "merges");
    refused(SELLA_FORMAT, "merges");
}

static void other_pre_tokenizers_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        sella_status status;
        const char *part;
    } cases[] = {
        {"null", SELLA_UNSUPPORTED, "null"},
        {"{\"type\":\"Whitespace\"}", SELLA_UNSUPPORTED, "Whitespace"},
        {"{\"type\":\"Metaspace\",\"replacement\":\"_\"}", SELLA_UNSUPPORTED, "Metaspace"},
        {"{\"type\":\"ByteLevel\",\"add_prefix_space\":true}", SELLA_UNSUPPORTED,
         "add_prefix_space"},
        {"{\"type\":\"ByteLevel\"}", SELLA_UNSUPPORTED, "add_prefix_space"},
        {"{\"type\":\"Digits\",\"individual_digits\":true}", SELLA_UNSUPPORTED, "ByteLevel"},
        {"{\"type\":\"Sequence\",\"pretokenizers\":[]}", SELLA_UNSUPPORTED, "ByteLevel"},
        {"{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"ByteLevel\",\"add_prefix_space\":"
         "false},{\"type\":\"Digits\"}]}",
         SELLA_UNSUPPORTED, "after ByteLevel"},
        {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},\"behavior\":\"Removed\",\"invert\":"
         "false}",
         SELLA_UNSUPPORTED, "Removed"},
        {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},\"behavior\":\"Isolated\",\"invert\":"
         "true}",
         SELLA_UNSUPPORTED, "invert"},
        {"{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"behavior\":\"Isolated\",\"invert\":"
         "false}",
         SELLA_UNSUPPORTED, "Regex"},
    };
    fresh();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_object_set_new(tree, "pre_tokenizer", json_of(cases[i].json));
        refused(cases[i].status, cases[i].part);
    }
    json_t *deep = json_of("{\"type\":\"ByteLevel\",\"add_prefix_space\":false}");
    for (int i = 0; i < 50; i++) {
        deep = json_pack("{s:s, s:[o]}", "type", "Sequence", "pretokenizers", deep);
    }
    json_object_set_new(tree, "pre_tokenizer", deep);
    refused(SELLA_UNSUPPORTED, "Sequence");
    json_t *many = json_of("{\"type\":\"Sequence\",\"pretokenizers\":[]}");
    for (int i = 0; i < 9; i++) {
        json_array_append_new(json_object_get(many, "pretokenizers"),
                              json_of("{\"type\":\"Digits\"}"));
    }
    json_object_set_new(tree, "pre_tokenizer", many);
    refused(SELLA_UNSUPPORTED, "in a row");
}

static void set_pattern(const char *pattern)
{
    json_object_set_new(tree, "pre_tokenizer",
                        json_pack("{s:s, s:[{s:s, s:{s:s}, s:s, s:b}, {s:s, s:b, s:b}]}", "type",
                                  "Sequence", "pretokenizers", "type", "Split", "pattern", "Regex",
                                  pattern, "behavior", "Isolated", "invert", 0, "type", "ByteLevel",
                                  "add_prefix_space", 0, "use_regex", 0));
}

static void patterns_that_mean_two_things_are_named(void **state)
{
    (void)state;
    static const char *const unknown[][2] = {
        {"\\w+", "\\w"},
        {"\\bx", "\\b"},
        {"\\h", "\\h"},
        {"\\R", "\\R"},
        {"\\X", "\\X"},
        {"\\C", "\\C"},
        {"\\x41", "\\x"},
        {"\\1", "\\1"},
        {"^a", "^ or $"},
        {"a$", "^ or $"},
        {"(?P<n>a)", "a group"},
        {"(?m:a)", "a group"},
        {"(*LIMIT_MATCH=1)a", "a group"},
        {"(?R)", "a group"},
        {"[a[b]]", "a class in a class"},
        {"[a&&b]", "&&"},
        {"[[:alpha:]]", "a class in a class"},
        {"[]a]", "an empty class"},
        {"[a", "without an end"},
        {"[\\Sa]", "\\S in a class"},
        {"a{1,2}+", "a + behind"},
        {"a{,2}", "a brace"},
        {"\\p{^L}", "\\p{Name}"},
        {"\\pL", "\\p{Name}"},
        {"a\\", "a backslash"},
        {"\\p{L", "\\p{Name}"},
    };
    fresh();
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        set_pattern(unknown[i][0]);
        refused(SELLA_UNSUPPORTED, unknown[i][1]);
    }
    set_pattern("(a");
    refused(SELLA_FORMAT, "does not compile");
    set_pattern("\\p{Nonsense}");
    refused(SELLA_FORMAT, "does not compile");
    set_pattern("");
    refused(SELLA_UNSUPPORTED, "0 bytes");
    char *huge = calloc(10001, 1);
    memset(huge, 'a', 10000);
    set_pattern(huge);
    refused(SELLA_UNSUPPORTED, "10000 bytes");
    memset(huge, '(', 10000);
    huge[8000] = '\0';
    set_pattern(huge);
    refused(SELLA_FORMAT, "does not compile");
    free(huge);
    set_pattern("(?>a+)b|[^\\s\\p{L}]++(?<=x)|\\.{2,3}");
    opened();
}

/* A pattern that needs 2^n steps is stopped. */
static void slow_patterns_are_stopped(void **state)
{
    (void)state;
    char text[4001];
    sella_tokenizer *tokenizer;
    sella_ids ids = {0};
    sella_err err = {0};
    fresh();
    set_pattern("(?:(?:a|aa)+)+(?:b|d)");
    const char *path = room_path("slow.json");
    assert_int_equal(sella_json_save(path, tree, NULL), SELLA_OK);
    assert_int_equal(sella_tokenizer_open_json(path, &tokenizer, &err), SELLA_OK);
    memset(text, 'a', sizeof text);
    text[4000] = 'c';
    assert_int_equal(sella_tokenizer_encode(tokenizer, text, sizeof text, false, &ids, &err),
                     SELLA_FORMAT);
    room_says(&err, "takes too long");
    assert_int_equal(ids.count, 0);
    sella_ids_release(&ids);
    sella_tokenizer_close(tokenizer);
}

static void contradictory_vocabularies_are_named(void **state)
{
    (void)state;
    fresh();
    json_object_set_new(at("model", "vocab"), "Yes", json_integer(-1));
    refused(SELLA_FORMAT, "'Yes' has no id");
    json_object_set_new(at("model", "vocab"), "Yes", json_integer(INT64_C(1) << 31));
    refused(SELLA_FORMAT, "'Yes' has no id");
    json_object_set_new(at("model", "vocab"), "Yes", json_real(3.5));
    refused(SELLA_FORMAT, "'Yes' has no id");
    json_object_set_new(at("model", "vocab"), "Yes", json_string("264"));
    refused(SELLA_FORMAT, "'Yes' has no id");
    json_object_set_new(at("model", "vocab"), "Yes", json_integer(5));
    refused(SELLA_FORMAT, "same id 5");
    json_object_set_new(at("model", NULL), "vocab", json_object());
    refused(SELLA_FORMAT, "vocabulary is empty");
    json_object_set_new(at("model", NULL), "vocab", json_array());
    refused(SELLA_FORMAT, "vocab");
    json_object_del(at("model", "vocab"), "Yes");
    refused(SELLA_FORMAT, "vocabulary lacks");
    json_object_set_new(json_array_get(at("added_tokens", NULL), 0), "id", json_integer(0));
    refused(SELLA_FORMAT, "contradicts the vocabulary");
    json_object_set_new(json_array_get(at("added_tokens", NULL), 0), "id", json_integer(507));
    refused(SELLA_FORMAT, "507");
    json_object_set_new(json_array_get(at("added_tokens", NULL), 0), "id", json_integer(INT64_MAX));
    refused(SELLA_FORMAT, "has no id");
    json_object_set_new(json_array_get(at("added_tokens", NULL), 0), "content",
                        json_string("<|im_start|>"));
    refused(SELLA_FORMAT, "there twice");
    json_object_set_new(json_array_get(at("added_tokens", NULL), 0), "content", json_string(""));
    refused(SELLA_FORMAT, "0 bytes");
    json_object_set_new(json_array_get(at("added_tokens", NULL), 0), "content", json_null());
    refused(SELLA_FORMAT, "no content");
    json_object_set_new(json_array_get(at("added_tokens", NULL), 0), "single_word", json_true());
    refused(SELLA_UNSUPPORTED, "single_word");
    json_object_set_new(json_array_get(at("added_tokens", NULL), 0), "lstrip", json_string("yes"));
    refused(SELLA_UNSUPPORTED, "lstrip");
    json_object_set_new(tree, "added_tokens", json_integer(3));
    refused(SELLA_UNSUPPORTED, "added_tokens");
    /* a hole is no contradiction */
    json_object_set_new(json_array_get(at("added_tokens", NULL), 5), "id", json_integer(600));
    opened();
}

static void contradictory_merges_are_named(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"\"nowhere else\"", "vocabulary lacks"},
        {"[\"a\",\"nowhere\"]", "vocabulary lacks"},
        {"\"a\"", "pair of texts"},
        {"\"a b c\"", "pair of texts"},
        {"7", "pair of texts"},
        {"[\"a\"]", "pair of texts"},
        {"[\"a\",\"b\",\"c\"]", "pair of texts"},
        {"[1,2]", "pair of texts"},
        {"null", "pair of texts"},
        {"[\"Yes\",\"Yes\"]", "vocabulary lacks"},
        {"[\"\",\"a\"]", "vocabulary lacks"},
    };
    fresh();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_array_append_new(at("model", "merges"), json_of(bad[i][0]));
        refused(SELLA_FORMAT, bad[i][1]);
    }
    /* An empty token makes a merge that changes nothing ("" + a = a, a cycle); it must not loop. */
    json_object_set_new(at("model", "vocab"), "", json_integer(506));
    json_array_clear(at("added_tokens", NULL));
    json_array_append_new(at("model", "merges"), json_of("[\"\",\"a\"]"));
    json_array_append_new(at("model", "merges"), json_of("[\"a\",\"\"]"));
    opened();
}

static void broken_files_are_named(void **state)
{
    (void)state;
    static const char *const files[] = {
        "",
        "{",
        "[]",
        "null",
        "{}",
        "{\"model\":3}",
        "{\"model\":{}}",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]}}",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"\xff\":1},\"merges\":[]}}",
        "{\"a\":1,\"a\":2}",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"abc\":1},\"merges\":[]},\"pre_tokenizer\":{"
        "\"type\":\"ByteLevel\",\"add_prefix_space\":false}}"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        sella_tokenizer *tokenizer;
        sella_err err = {0};
        assert_int_not_equal(
            sella_tokenizer_open_json(room_write("t.json", files[i], strlen(files[i])), &tokenizer,
                                      &err),
            SELLA_OK);
        assert_null(tokenizer);
        room_says(&err, "t.json");
    }
}

/* ---- GGUF metadata ---- */

typedef struct edit {
    const char *find; /* bytes in the fixture, replaced by as many others */
    const char *replace;
    sella_status status;
    const char *part;
} edit;

/* Replace one occurrence in the fixture, from the end when `last`. */
static void refused_gguf(const edit *e)
{
    sella_map map;
    sella_gguf *file;
    sella_tokenizer *tokenizer = NULL;
    sella_err err = {0};
    size_t n = strlen(e->find);
    assert_int_equal(n, strlen(e->replace));
    assert_int_equal(sella_map_open("tests/ref/tokenizer_tiny.gguf", &map, NULL), SELLA_OK);
    uint8_t *copy = malloc(map.size);
    memcpy(copy, map.data, map.size);
    uint8_t *place = memmem(copy, map.size, e->find, n);
    assert_non_null(place);
    memcpy(place, e->replace, n);
    sella_status status = sella_gguf_open(room_write("t.gguf", copy, map.size), &file, &err);
    if (status == SELLA_OK) {
        status = sella_tokenizer_open_gguf(file, &tokenizer, &err);
    }
    if (status != e->status) {
        fail_msg("'%s': status %d, %s", e->replace, status, err.text);
    }
    assert_null(tokenizer);
    room_says(&err, e->part);
    room_says(&err, "t.gguf");
    sella_gguf_close(file);
    sella_map_close(&map);
    free(copy);
}

static void contradictory_metadata_is_named(void **state)
{
    (void)state;
    static const edit edits[] = {
        {"gpt2", "bert", SELLA_UNSUPPORTED, "'bert'"},
        {"gpt-2", "falco", SELLA_UNSUPPORTED, "'falco'"},
        {"tokenizer.ggml.model", "tokenizer.ggml.modeX", SELLA_MISSING, "tokenizer.ggml.model"},
        {"tokenizer.ggml.pre", "tokenizer.ggml.prX", SELLA_MISSING, "tokenizer.ggml.pre"},
        {"tokenizer.ggml.tokens", "tokenizer.ggml.tokenX", SELLA_MISSING, "tokenizer.ggml.tokens"},
        {"tokenizer.ggml.token_type", "tokenizer.ggml.token_typX", SELLA_MISSING,
         "tokenizer.ggml.token_type"},
        {"tokenizer.ggml.merges", "tokenizer.ggml.mergeX", SELLA_MISSING, "tokenizer.ggml.merges"},
        {"<|reserved_1|>", "<|reserved_0|>", SELLA_FORMAT, "there twice"},
        {"<|reserved_1|>", "<|reserved\xff\x31|>", SELLA_FORMAT, "UTF-8"},
        {"N o", "N x", SELLA_FORMAT, "vocabulary lacks"},
        {"N o", "N_o", SELLA_FORMAT, "space between"},
        {"N o", "  o", SELLA_FORMAT, "space between"},
    };
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        refused_gguf(&edits[i]);
    }
}

/* ---- mutations ---- */

typedef struct tally {
    int opened, refused;
} tally;

static void use(sella_tokenizer *tokenizer, tally *t)
{
    static const char text[] = "Yes, No 123 don't <|im_start|>x<|reserved_1|> caf\xc3\xa9 "
                               "e\xcc\x81 \xe5\xa4\xa7\r\n\r\n  end";
    sella_ids ids = {0};
    sella_text back = {0};
    int32_t id[3];
    sella_err err = {0};
    if (sella_tokenizer_encode(tokenizer, text, sizeof text - 1, true, &ids, &err) == SELLA_OK) {
        for (int i = 0; i < ids.count; i++) {
            assert_true(ids.id[i] >= 0 && ids.id[i] < sella_tokenizer_vocab(tokenizer));
        }
        assert_int_equal(sella_tokenizer_decode(tokenizer, ids.id, ids.count, &back, &err),
                         SELLA_OK);
    }
    int distinct = sella_tokenizer_reserved(tokenizer, id, 3);
    assert_true(distinct >= 1 && distinct <= 3);
    for (int i = 0; i < 3; i++) {
        assert_true(id[i] >= 0 && id[i] < sella_tokenizer_vocab(tokenizer));
    }
    (void)sella_tokenizer_find(tokenizer, "Yes");
    sella_ids_release(&ids);
    sella_text_release(&back);
    sella_tokenizer_close(tokenizer);
    t->opened++;
}

static void open_json_mutant(const uint8_t *data, size_t bytes, void *user)
{
    sella_tokenizer *tokenizer;
    sella_err err = {0};
    if (sella_tokenizer_open_json(room_write("mutant.json", data, bytes), &tokenizer, &err) ==
        SELLA_OK) {
        use(tokenizer, user);
    } else {
        room_says(&err, "mutant.json");
        ((tally *)user)->refused++;
    }
}

static void open_gguf_mutant(const uint8_t *data, size_t bytes, void *user)
{
    sella_gguf *file;
    sella_tokenizer *tokenizer;
    sella_err err = {0};
    sella_status status = sella_gguf_open(room_write("mutant.gguf", data, bytes), &file, &err);
    if (status == SELLA_OK &&
        (status = sella_tokenizer_open_gguf(file, &tokenizer, &err)) == SELLA_OK) {
        use(tokenizer, user);
    } else {
        room_says(&err, "mutant.gguf");
        ((tally *)user)->refused++;
    }
    sella_gguf_close(file);
}

static void mutations(const char *path, uint64_t usual, mutate_call call)
{
    sella_map good;
    tally t = {0};
    assert_int_equal(sella_map_open(path, &good, NULL), SELLA_OK);
    mutate_run(good.data, good.size, mutate_rounds(usual, 20000), call, &t);
    assert_true(t.opened > 0 && t.refused > 0);
    sella_map_close(&good);
}

static void mutated_json_never_crashes(void **state)
{
    (void)state;
    mutations("tests/ref/tiny_tokenizer/tokenizer.json", 800, open_json_mutant);
    mutations("tests/ref/tokenizer_flags.json", 400, open_json_mutant);
}

static void mutated_gguf_never_crashes(void **state)
{
    (void)state;
    mutations("tests/ref/tokenizer_tiny.gguf", 1500, open_gguf_mutant);
}

static int finish(void **state)
{
    json_decref(tree);
    return room_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_models_are_named),
        cmocka_unit_test(other_pre_tokenizers_are_named),
        cmocka_unit_test(patterns_that_mean_two_things_are_named),
        cmocka_unit_test(slow_patterns_are_stopped),
        cmocka_unit_test(contradictory_vocabularies_are_named),
        cmocka_unit_test(contradictory_merges_are_named),
        cmocka_unit_test(broken_files_are_named),
        cmocka_unit_test(contradictory_metadata_is_named),
        cmocka_unit_test(mutated_json_never_crashes),
        cmocka_unit_test(mutated_gguf_never_crashes),
    };
    return cmocka_run_group_tests(tests, room_make, finish);
}
