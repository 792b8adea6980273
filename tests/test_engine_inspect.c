/* test_engine_inspect.c - what sella_inspect tells of files and folders that other programs wrote,
 * and what it refuses. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/json.h"
#include "methods_fixture.h"
#include "sella/engine.h"

static json_t *look(const char *path)
{
    sella_err err = {0};
    char *json = NULL;
    json_t *answer = NULL;
    if (sella_inspect(path, &json, &err) != SELLA_OK) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(sella_json_parse(json, strlen(json), "answer", &answer, NULL), SELLA_OK);
    free(json);
    return answer;
}

static const char *text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "(none)";
}

static json_int_t int_at(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

/* The tensor `name` in the list, or NULL. */
static const json_t *tensor(const json_t *object, const char *name)
{
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(object, "tensors"), i, entry) {
        if (strcmp(text_at(entry, "name"), name) == 0) {
            return entry;
        }
    }
    return NULL;
}

static void model_folder(void **state)
{
    (void)state;
    json_t *got = look("tests/ref/tiny_llama");
    const json_t *model = json_object_get(got, "model");
    assert_string_equal(text_at(got, "kind"), "model");
    assert_string_equal(text_at(model, "family"), "llama");
    assert_int_equal(int_at(model, "layers"), 2);
    assert_int_equal(int_at(model, "width"), 32);
    assert_int_equal(int_at(model, "ffn"), 64);
    assert_int_equal(int_at(model, "vocabulary"), 512);
    /* By hand: embedding 512*32 (tied), a layer 4*32*32 + 3*32*64 + 2*32, final norm 32. */
    assert_int_equal(int_at(model, "parameters"),
                     512 * 32 + 2 * (4 * 32 * 32 + 3 * 32 * 64 + 2 * 32) + 32);
    /* What the file holds must be what the architecture counts. */
    assert_int_equal(int_at(got, "values"), int_at(model, "parameters"));
    const json_t *down = tensor(got, "model.layers.1.mlp.down_proj.weight");
    assert_non_null(down);
    assert_string_equal(text_at(down, "type"), "F32");
    assert_int_equal(json_integer_value(json_array_get(json_object_get(down, "shape"), 0)), 32);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(down, "shape"), 1)), 64);
    json_decref(got);
}

static void parameters_of_every_family(void **state)
{
    (void)state;
    static const char *const folders[] = {"tests/ref/backbone_llama3", "tests/ref/backbone_qwen2",
                                          "tests/ref/backbone_qwen3",
                                          "tests/ref/backbone_qwen3_bias"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        json_t *got = look(folders[i]);
        assert_int_equal(int_at(got, "values"),
                         int_at(json_object_get(got, "model"), "parameters"));
        json_decref(got);
    }
}

static void gguf_file(void **state)
{
    (void)state;
    json_t *got = look("tests/ref/backbone_llama3.gguf");
    assert_string_equal(text_at(got, "kind"), "gguf");
    assert_string_equal(text_at(json_object_get(got, "metadata"), "general.architecture"), "llama");
    assert_string_equal(text_at(json_object_get(got, "model"), "family"), "llama");
    assert_non_null(tensor(got, "token_embd.weight"));
    json_decref(got);
}

static void gguf_that_is_no_model(void **state)
{
    (void)state;
    json_t *got = look("tests/ref/formats_small.gguf");
    assert_true(json_is_null(json_object_get(got, "model")));
    assert_true(strlen(text_at(got, "model_unsupported")) > 10);
    json_decref(got);
}

static void npy_file(void **state)
{
    (void)state;
    char *folder = scratch_make();
    unsigned char bytes[128 + 3 * 4];
    memset(bytes, ' ', sizeof bytes);
    memcpy(bytes, "\x93NUMPY\x01\x00\x76\x00", 10);
    const char header[] = "{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }";
    memcpy(bytes + 10, header, sizeof header - 1);
    bytes[127] = '\n';
    const int32_t values[3] = {7, -1, 1 << 30};
    memcpy(bytes + 128, values, sizeof values);
    char *path = scratch_file(folder, "x.npy", bytes, sizeof bytes);
    json_t *got = look(path);
    assert_string_equal(text_at(got, "kind"), "npy");
    assert_string_equal(text_at(got, "type"), "32-bit integers");
    assert_int_equal(json_integer_value(json_array_get(json_object_get(got, "shape"), 0)), 3);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(got, "first"), 1)), -1);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(got, "first"), 2)), 1 << 30);
    json_decref(got);
    free(path);
    scratch_remove(folder);
}

static void adapter_folder(void **state)
{
    (void)state;
    json_t *got = look("tests/ref/tiny_llama/adapter");
    assert_string_equal(text_at(got, "kind"), "adapter");
    assert_string_equal(text_at(json_object_get(got, "config"), "peft_type"), "LORA");
    assert_true(json_array_size(json_object_get(got, "tensors")) > 0);
    json_decref(got);
}

static void refuse(const char *path, const char *said)
{
    sella_err err = {0};
    char *json = NULL;
    assert_int_not_equal(sella_inspect(path, &json, &err), SELLA_OK);
    assert_null(json);
    if (strstr(err.text, said) == NULL) {
        fail_msg("'%s' lacks '%s'", err.text, said);
    }
}

static void refusals(void **state)
{
    (void)state;
    char *folder = scratch_make();
    char *text = scratch_file(folder, "notes.txt", "hello", 5);
    char *empty = scratch_file(folder, "empty", "", 0);
    char *short_gguf = scratch_file(folder, "short.gguf", "GGUF\x03\0\0\0", 8);
    char *npy = scratch_file(folder, "short.npy", "\x93NUMPY\x01\x00\xff\xff", 10);
    char *tensors = scratch_file(folder, "short.safetensors", "\x10\0\0\0\0\0\0\0{\"a\":1}", 15);
    refuse(text, "first bytes");
    refuse(empty, "first bytes");
    refuse(short_gguf, "short.gguf");
    refuse(npy, "short.npy");
    refuse(tensors, "short.safetensors");
    refuse(folder, "no run.json");
    refuse("tests/ref/no-such-file", "no-such-file");
    char *run = scratch_file(folder, "run.json", "{\"format\": 1", 12);
    refuse(folder, "run.json");
    free(run);
    free(text);
    free(empty);
    free(short_gguf);
    free(npy);
    free(tensors);
    scratch_remove(folder);
}

static void expect_parameters(const char *run, const char *component, json_int_t count)
{
    json_t *got = look(run), *entry;
    size_t i;
    bool found = false;
    json_array_foreach(json_object_get(got, "components"), i, entry) {
        if (strcmp(text_at(entry, "component"), component) == 0) {
            assert_int_equal(int_at(entry, "parameters"), count);
            found = true;
        }
    }
    assert_true(found);
    json_decref(got);
}

/* Table 1 counts what stages train or keep, and nothing else that the files hold: no vectors that
 * LightGCN derives from its tables, no rows of train by item. Counts by hand. */
static void parameters_of_a_run(void **state)
{
    (void)state;
    enum { U = 12, I = 20, C = 8, L = 32, H = 12 }; // L: width of tests/ref/tiny_llama
    static const char *const graph[] = {"collab.epochs=1", "collab.width=8", NULL};
    static const char *const stages[] = {"collab.width=8",       "collab.history=no",
                                         "proj.hidden=12",       "stage2.epochs=1",
                                         "stage3.residual=yes",  "stage3.gain_rows=4",
                                         "collab.bias=yes",      NULL};
    char *folder = scratch_make();
    char *data = sella_path_join(folder, "data", NULL), *run = sella_path_join(folder, "a", NULL),
         *other = sella_path_join(folder, "b", NULL),
         *tables = sella_path_join(other, "collab.safetensors", NULL);
    sella_threads_set(1);
    fixture_dataset(
        data, &(fixture_shape){.users = U, .items = I, .train = 240, .valid = 60, .seed = 3});
    fixture_train_ok("lightgcn", data, run, NULL, NULL, graph);
    expect_parameters(run, "collab", (U + I) * C + U + I + 1);
    fixture_train_ok("sella", data, other, NULL, NULL, stages);
    json_t *file = look(tables);
    assert_non_null(tensor(file, "item.rows")); // there, and no parameter
    json_decref(file);
    expect_parameters(other, "collab", (U + I) * C + U + I + 1);
    expect_parameters(other, "semantic", I * L);
    expect_parameters(other, "proj", H * C + H + L * H + L);
    free(tables);
    free(other);
    free(run);
    free(data);
    scratch_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(model_folder), cmocka_unit_test(parameters_of_every_family),
        cmocka_unit_test(gguf_file),    cmocka_unit_test(gguf_that_is_no_model),
        cmocka_unit_test(npy_file),     cmocka_unit_test(adapter_folder),
        cmocka_unit_test(refusals),     cmocka_unit_test(parameters_of_a_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
