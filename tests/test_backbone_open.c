/* test_backbone_open.c - opening models: shapes, permuted GGUF rows, fingerprints, memory, and
 * everything that must be refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/resource.h>

#include "backbone_case.h"
#include "base/json.h"
#include "base/memory.h"
#include "formats/safetensors.h"
#include "fuzz/mutate.h"
#include "scratch.h"

static void shapes(void **state)
{
    sella_backbone *b = NULL;
    sella_backbone_config probe;
    sella_backbone_need need;
    float row[48];
    sella_err why = {0};
    CHECK(sella_backbone_open(ref_path("tiny_llama"), NULL, &b, err));
    /* per layer: (2 + 2 + 2) * 16 * 32 + 32 * 32 + 2 * 64 * 32 + 32 * 64 + 2 * 32; and the last
     * norm */
    assert_int_equal(sella_backbone_parameters(b), 2 * (3072 + 1024 + 4096 + 2048 + 64) + 32);
    assert_true(sella_backbone_bytes(b) >= 4 * (size_t)sella_backbone_parameters(b));
    CHECK(sella_backbone_probe(ref_path("tiny_llama"), &probe, &need, err));
    assert_int_equal(need.expanded, sella_backbone_bytes(b));
    assert_int_equal(probe.V, 512);
    assert_true(sella_backbone_tokenizer(b) != NULL && probe.tied && probe.rope_theta == 10000.0 &&
                probe.context == 2048);
    assert_int_equal(sella_backbone_embed(b, (const int32_t[]){512}, 1, row, &why), SELLA_ARG);
    assert_string_equal(why.text, "token id 512 is not in the vocabulary of 512");
    assert_int_equal(sella_backbone_head(b, (const int32_t[]){-1}, 1, row, &why), SELLA_ARG);
    sella_backbone_close(b);
    CHECK(sella_backbone_probe(ref_path("backbone_qwen3_bias"), &probe, &need, err));
    assert_true(strcmp(probe.family, "qwen3") == 0 && probe.layers == 3 && probe.C == 32 &&
                probe.H == 3 && probe.G == 1 && probe.D == 16 && probe.F == 64 && probe.qkv_bias &&
                probe.o_bias && probe.qk_norm && probe.tied);
    CHECK(sella_backbone_probe(ref_path("backbone_llama3"), &probe, &need, err));
    assert_true(!probe.tied && probe.rope_scaling.llama3 && probe.rope_scaling.factor == 8.0 &&
                probe.rope_scaling.original_context == 32.0);
    sella_backbone_close(NULL);
    (void)state;
}

/* A GGUF written with permuted q and k, and with factors for rope scaling, opens to the same
 * weights as the folder. */
static void gguf_equals_folder(void **state)
{
    sella_backbone *gguf = NULL, *folder = NULL;
    CHECK(sella_backbone_open(ref_path("backbone_llama3.gguf"), NULL, &gguf, err));
    CHECK(sella_backbone_open(ref_path("backbone_llama3"), NULL, &folder, err));
    const sella_backbone_config *c = sella_backbone_shape(folder);
    for (int l = 0; l < c->layers; l++) {
        const sella_layer *a = sella_backbone_layer(gguf, l), *b = sella_backbone_layer(folder, l);
        const size_t W = (size_t)(c->H + 2 * c->G) * (size_t)c->D, C = (size_t)c->C,
                     F = (size_t)c->F, f = sizeof(float);
        assert_memory_equal(a->w_qkv.expanded, b->w_qkv.expanded, W * C * f);
        assert_memory_equal(a->w_o.expanded, b->w_o.expanded, C * C * f);
        assert_memory_equal(a->w_gate_up.expanded, b->w_gate_up.expanded, 2 * F * C * f);
        assert_memory_equal(a->w_down.expanded, b->w_down.expanded, C * F * f);
        assert_memory_equal(a->norm_attention, b->norm_attention, C * f);
        assert_memory_equal(a->norm_ffn, b->norm_ffn, C * f);
    }
    for (int d = 0; d < c->D / 2; d++) {
        assert_true(fabs(sella_backbone_rope(gguf)[d] / sella_backbone_rope(folder)[d] - 1) < 1e-6);
    }
    sella_backbone_close(gguf);
    sella_backbone_close(folder);
    (void)state;
}

/* ---- changed copies of the tiny model ---- */

static const char *const tiny_files[] = {"config.json", "model.safetensors", "tokenizer.json"};

static char *copy_tiny(void)
{
    char *dir = scratch_make();
    for (int i = 0; i < 3; i++) {
        char *from = sella_path_join("tests/ref/tiny_llama", tiny_files[i], NULL),
             *to = sella_path_join(dir, tiny_files[i], NULL);
        CHECK(sella_file_copy(from, to, err));
        free(from);
        free(to);
    }
    return dir;
}

static void remove_from(const char *dir, const char *name)
{
    char *path = sella_path_join(dir, name, NULL);
    CHECK(sella_path_remove(path, err));
    free(path);
}

/* Opening must fail with this status and a sentence that holds the text; status SELLA_OK: must
 * work. */
static void expect(const char *path, sella_status status, const char *text)
{
    sella_backbone *b = NULL;
    sella_err why = {0};
    const sella_status got = sella_backbone_open(path, NULL, &b, &why);
    if (got != status || (b != NULL) != (status == SELLA_OK) || strstr(why.text, text) == NULL) {
        fail_msg("%s: status %s '%s'; expected %s '%s'", path, sella_status_name(got), why.text,
                 sella_status_name(status), text);
    }
    sella_backbone_close(b);
}

static void change_config(const char *dir, const char *key, const char *value)
{
    char *path = sella_path_join(dir, "config.json", NULL);
    json_t *root = NULL, *changed = NULL;
    CHECK(sella_json_load("tests/ref/tiny_llama/config.json", 1 << 16, &root, err));
    json_object_del(root, key);
    if (value) {
        CHECK(sella_json_parse(value, strlen(value), "a value", &changed, err));
        json_object_set(root, key, json_object_get(changed, "x"));
        json_decref(changed);
    }
    CHECK(sella_json_save(path, root, err));
    json_decref(root);
    free(path);
}

static void configs(void **state)
{
    static const struct {
        const char *key, *value, *text;
        sella_status status;
    } cases[] = {
        {"rope_theta", "{\"x\": 10000}", "", SELLA_OK},
        {"num_key_value_heads", NULL, "", SELLA_OK},
        {"head_dim", NULL, "", SELLA_OK},
        {"use_sliding_window", "{\"x\": false}", "", SELLA_OK},
        {"model_type", "{\"x\": \"mistral\"}", "architecture 'mistral' is not supported",
         SELLA_UNSUPPORTED},
        {"model_type", "{\"x\": \"qwen3_moe\"}", "architecture 'qwen3_moe' is not supported",
         SELLA_UNSUPPORTED},
        {"model_type", NULL, "key 'model_type' is missing", SELLA_FORMAT},
        {"hidden_act", "{\"x\": \"gelu\"}", "hidden_act 'gelu' is not supported",
         SELLA_UNSUPPORTED},
        {"quantization_config", "{\"x\": {}}", "quantization_config is not supported",
         SELLA_UNSUPPORTED},
        {"num_local_experts", "{\"x\": 8}", "mixture of experts", SELLA_UNSUPPORTED},
        {"mlp_bias", "{\"x\": true}", "mlp_bias is not supported", SELLA_UNSUPPORTED},
        {"use_sliding_window", "{\"x\": true}", "sliding window", SELLA_UNSUPPORTED},
        {"layer_types", "{\"x\": [\"full_attention\", \"sliding_attention\"]}", "sliding window",
         SELLA_UNSUPPORTED},
        {"rope_scaling", "{\"x\": {\"type\": \"linear\", \"factor\": 2.0}}",
         "rope type 'linear' is not supported", SELLA_UNSUPPORTED},
        {"rope_parameters", "{\"x\": {\"rope_type\": \"yarn\", \"factor\": 2.0}}",
         "rope type 'yarn' is not supported", SELLA_UNSUPPORTED},
        {"rope_scaling", "{\"x\": {\"rope_type\": \"llama3\", \"factor\": 2.0}}",
         "key 'low_freq_factor' is missing", SELLA_FORMAT},
        {"rope_scaling",
         "{\"x\": {\"rope_type\": \"llama3\", \"factor\": 2.0, \"low_freq_factor\": 4, "
         "\"high_freq_factor\": 1, \"original_max_position_embeddings\": 64}}",
         "0 < low < high", SELLA_FORMAT},
        {"partial_rotary_factor", "{\"x\": 0.5}", "partial_rotary_factor 0.5 is not supported",
         SELLA_UNSUPPORTED},
        {"rope_theta", "{\"x\": 0}", "base of the rotary positions is 0", SELLA_FORMAT},
        {"rms_norm_eps", "{\"x\": 0}", "epsilon of the norms is 0", SELLA_FORMAT},
        {"rms_norm_eps", "{\"x\": \"small\"}", "key 'rms_norm_eps'", SELLA_FORMAT},
        {"num_key_value_heads", "{\"x\": 3}", "cannot share", SELLA_FORMAT},
        {"head_dim", "{\"x\": 15}", "a head width of 15 is odd", SELLA_UNSUPPORTED},
        {"hidden_size", "{\"x\": 9223372036854775807}", "key 'hidden_size'", SELLA_FORMAT},
        {"hidden_size", NULL, "key 'hidden_size' is missing", SELLA_FORMAT},
        {"num_hidden_layers", "{\"x\": 0}", "key 'num_hidden_layers' is 0", SELLA_FORMAT},
        {"num_hidden_layers", "{\"x\": 3}", "'model.layers.2.input_layernorm.weight' is missing",
         SELLA_SHAPE},
        {"vocab_size", "{\"x\": 511}",
         "'model.embed_tokens.weight' has shape [512, 32], expected [511, 32]", SELLA_SHAPE},
        {"intermediate_size", "{\"x\": 65}",
         "'model.layers.1.mlp.up_proj.weight' has shape [64, 32], expected [65, 32]", SELLA_SHAPE},
        {"attention_bias", "{\"x\": true}", "q_proj.bias' is missing", SELLA_SHAPE},
        {"tie_word_embeddings", "{\"x\": false}", "'lm_head.weight' is missing", SELLA_SHAPE},
        {"num_hidden_layers", "{\"x\": 4000}", "more", SELLA_SHAPE},
    };
    char *dir = copy_tiny();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        change_config(dir, cases[i].key, cases[i].value);
        expect(dir, cases[i].status, cases[i].text);
    }
    scratch_remove(dir);
    (void)state;
}

/* The tiny model's tensors written again, with tensor `which` changed: 0 left out, 1 a NaN, 2
 * infinite, 3 transposed shape, 4 a bias that the configuration does not have, other: as it was. */
static void change_tensor(const char *dir, const char *which, int how)
{
    sella_safetensors *file = NULL;
    char *path = sella_path_join(dir, "model.safetensors", NULL);
    CHECK(sella_safetensors_open("tests/ref/tiny_llama/model.safetensors", &file, err));
    const int count = sella_safetensors_count(file);
    sella_tensor_out *out = calloc((size_t)count + 1, sizeof *out);
    float *copy = NULL;
    int n = 0;
    for (int i = 0; i < count; i++) {
        const sella_tensor *t = sella_safetensors_at(file, i);
        const bool it = strcmp(t->name, which) == 0;
        if (it && how == 0) {
            continue;
        }
        out[n] = (sella_tensor_out){.name = t->name, .rank = t->rank, .data = t->data};
        memcpy(out[n].shape, t->shape, sizeof t->shape);
        if (it) {
            copy = malloc((size_t)t->bytes);
            memcpy(copy, t->data, (size_t)t->bytes);
            out[n].data = copy;
            if (how == 1 || how == 2) {
                copy[(size_t)t->bytes / 8 + 3] = how == 1 ? NAN : -INFINITY;
            }
            if (how == 3) {
                out[n].shape[0] = t->shape[1];
                out[n].shape[1] = t->shape[0];
            }
        }
        n++;
    }
    if (how == 4) {
        out[n++] = (sella_tensor_out){.name = which, .rank = 1, .shape = {32}, .data = out[0].data};
    }
    CHECK(sella_safetensors_write(path, out, n, NULL, err));
    free(copy);
    free(out);
    free(path);
    sella_safetensors_close(file);
}

static void tensors(void **state)
{
    char *dir = copy_tiny();
    change_tensor(dir, "", 9);
    expect(dir, SELLA_OK, "");
    change_tensor(dir, "model.layers.1.mlp.down_proj.weight", 0);
    expect(dir, SELLA_SHAPE, "tensor 'model.layers.1.mlp.down_proj.weight' is missing");
    change_tensor(dir, "model.layers.1.mlp.down_proj.weight", 3);
    expect(dir, SELLA_SHAPE,
           "tensor 'model.layers.1.mlp.down_proj.weight' has shape [64, 32], expected [32, 64]");
    change_tensor(dir, "model.layers.0.self_attn.k_proj.weight", 1);
    expect(dir, SELLA_FORMAT,
           "tensor 'model.layers.0.self_attn.k_proj.weight' holds a value that is not finite");
    change_tensor(dir, "model.norm.weight", 2);
    expect(dir, SELLA_FORMAT, "tensor 'model.norm.weight' holds a value that is not finite");
    change_tensor(dir, "model.layers.0.self_attn.q_proj.bias", 4);
    expect(dir, SELLA_SHAPE,
           "'model.layers.0.self_attn.q_proj.bias' is there although the configuration has none");
    /* the embedding is checked when a row is first read */
    sella_backbone *b = NULL;
    sella_err why = {0};
    float row[32];
    change_tensor(dir, "model.embed_tokens.weight", 1); // value 512 * 32 / 2 + 3: row 256
    CHECK(sella_backbone_open(dir, NULL, &b, err));
    CHECK(sella_backbone_embed(b, (const int32_t[]){255}, 1, row, err));
    assert_int_equal(sella_backbone_embed(b, (const int32_t[]){256}, 1, row, &why), SELLA_FORMAT);
    assert_non_null(strstr(why.text, "row 256 of tensor 'model.embed_tokens.weight'"));
    sella_backbone_close(b);
    scratch_remove(dir);
    (void)state;
}

/* Replace bytes in a copy of a file. */
static void patch(const char *from, const char *to, const char *old, const char *new, size_t bytes,
                  size_t skip)
{
    sella_map map;
    CHECK(sella_map_open(from, &map, err));
    uint8_t *copy = malloc(map.size);
    memcpy(copy, map.data, map.size);
    uint8_t *at = memmem(copy, map.size, old, bytes);
    assert_non_null(at);
    memcpy(at + skip, new, bytes - skip);
    CHECK(sella_write_file(to, copy, map.size, err));
    free(copy);
    sella_map_close(&map);
}

static void files(void **state)
{
    char *dir = copy_tiny(), *model = sella_path_join(dir, "model.safetensors", NULL),
         *index = sella_path_join(dir, "model.safetensors.index.json", NULL);
    char *gguf = sella_path_join(dir, "m.gguf", NULL);
    expect("tests/ref/nothing", SELLA_MISSING, "tests/ref/nothing");
    expect("tests/ref", SELLA_MISSING, "config.json");
    patch("tests/ref/tiny_llama/model.safetensors", model, "\"dtype\":\"F32\"", "\"dtype\":\"I32\"",
          13, 0);
    expect(dir, SELLA_UNSUPPORTED, "has type I32, which is not supported");
    remove_from(dir, "model.safetensors");
    expect(dir, SELLA_MISSING, "model.safetensors");
    CHECK(sella_write_file(index, "{\"weight_map\": {\"a\": \"../x.safetensors\"}}", 41, err));
    expect(dir, SELLA_FORMAT, "is not the name of a file beside it");
    CHECK(sella_write_file(index, "{\"weight_map\": {\"a\": \"x.safetensors\"}}", 38, err));
    expect(dir, SELLA_MISSING, "x.safetensors");
    CHECK(sella_write_file(index, "{\"weight_map\": {\"a\": 1}}", 24, err));
    expect(dir, SELLA_FORMAT, "is not a text");
    CHECK(sella_write_file(index, "{}", 2, err));
    expect(dir, SELLA_FORMAT, "'weight_map' is missing");
    remove_from(dir, "model.safetensors.index.json");
    change_tensor(dir, "", 9);
    remove_from(dir, "tokenizer.json");
    expect(dir, SELLA_MISSING, "tokenizer.json");
    /* GGUF: another architecture; a tensor of a type that is no weight's (BF16 30 -> I16 25); a cut
     *       file */
    patch("tests/ref/backbone_llama3.gguf", gguf, "architecture\x08\0\0\0\x05\0\0\0\0\0\0\0llama",
          "gemma", 29, 24);
    expect(gguf, SELLA_UNSUPPORTED, "architecture 'gemma' is not supported");
    static const char down[] =
        "blk.1.ffn_down.weight\x02\0\0\0\x40\0\0\0\0\0\0\0\x30\0\0\0\0\0\0\0\x1e";
    patch("tests/ref/backbone_llama3.gguf", gguf, down, "\x19", sizeof down - 1, sizeof down - 2);
    expect(gguf, SELLA_UNSUPPORTED,
           "tensor 'blk.1.ffn_down.weight' has type I16, which is not supported");
    sella_map map;
    CHECK(sella_map_open("tests/ref/backbone_llama3.gguf", &map, err));
    CHECK(sella_write_file(gguf, map.data, map.size - 1000, err));
    expect(gguf, SELLA_FORMAT, "m.gguf");
    CHECK(sella_write_file(gguf, map.data, 0, err));
    expect(gguf, SELLA_FORMAT, "m.gguf");
    sella_map_close(&map);
    free(model);
    free(index);
    free(gguf);
    scratch_remove(dir);
    (void)state;
}

static void fingerprint_of(const char *path, char *text)
{
    sella_backbone *b = NULL;
    CHECK(sella_backbone_open(path, NULL, &b, err));
    snprintf(text, 32, "%s", sella_backbone_fingerprint(b));
    assert_int_equal(strlen(text), 16);
    assert_int_equal(strspn(text, "0123456789abcdef"), 16);
    sella_backbone_close(b);
}

static void fingerprints(void **state)
{
    char *dir = copy_tiny(), original[32], copy[32], changed[32];
    fingerprint_of("tests/ref/tiny_llama", original);
    fingerprint_of(dir, copy);
    assert_string_equal(original, copy);
    change_config(dir, "rope_theta", "{\"x\": 20000}");
    fingerprint_of(dir, changed);
    assert_string_not_equal(original, changed);
    change_config(dir, "rope_theta", "{\"x\": 10000}");
    fingerprint_of(dir, copy);
    assert_string_equal(original, copy);
    char *model = sella_path_join(dir, "model.safetensors", NULL);
    sella_map map;
    CHECK(sella_map_open("tests/ref/tiny_llama/model.safetensors", &map, err));
    uint8_t *bytes = malloc(map.size);
    memcpy(bytes, map.data, map.size);
    bytes[map.size - 4] ^= 1; // the lowest bit of one weight
    CHECK(sella_write_file(model, bytes, map.size, err));
    fingerprint_of(dir, changed);
    assert_string_not_equal(original, changed);
    free(bytes);
    sella_map_close(&map);
    free(model);
    scratch_remove(dir);
    (void)state;
}

static rlim_t address_space(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu", &pages), 1);
    fclose(file);
    return (rlim_t)pages * 4096;
}

static void memory(void **state)
{
    sella_backbone *b = NULL;
    sella_pass *pass = NULL;
    sella_err why = {0};
    struct rlimit before, limit;
    const sella_pass_options options = {
        .max_tokens = 1 << 20, .backward = true, .train_soft = true};
    CHECK(sella_backbone_open(ref_path("tiny_llama"), NULL, &b, err));
    const size_t need = sella_pass_bytes(sella_backbone_shape(b), NULL, &options);
    assert_true(need > (size_t)1 << 31);
    const size_t free_bytes = sella_memory_available();
    assert_true(free_bytes > 0);
    assert_int_equal(sella_memory_check(SIZE_MAX, "all bytes", &why), SELLA_MEMORY);
    assert_non_null(strstr(why.text, "all bytes"));
    assert_int_equal(sella_memory_check(0, "no bytes", &why), SELLA_OK);
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    limit = before;
    limit.rlim_cur = address_space() + ((rlim_t)256 << 20);
    assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
    const size_t left = sella_memory_available();
    const sella_status status = sella_pass_new(b, NULL, &options, &pass, &why);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_true(left <= (size_t)256 << 20);
    assert_int_equal(status, SELLA_MEMORY);
    assert_null(pass);
    assert_non_null(strstr(why.text, "the activations of 1048576 tokens"));
    sella_pass_free(pass);
    sella_backbone_close(b);
    (void)state;
}

/* ---- mutations ---- */

typedef struct target {
    const char *dir, *file; /* what is written */
    const char *open;       /* what is opened */
} target;

static void open_mutation(const uint8_t *data, size_t bytes, void *user)
{
    const target *to = user;
    sella_backbone *b = NULL;
    sella_err why = {0};
    free(scratch_file(to->dir, to->file, data, bytes));
    const sella_status status = sella_backbone_open(to->open, NULL, &b, &why);
    assert_true((status == SELLA_OK) == (b != NULL));
    assert_true(status == SELLA_OK || why.text[0] != '\0');
    sella_backbone_close(b);
}

/* ---- split files ---- */

#define SPLIT(n) "tests/ref/backbone_split-0000" n "-of-00003.gguf"

/* A model that the gguf package cut into three files is the model that it was; parts that are not
 * its own are refused. */
static void split(void **state)
{
    char whole[32], parts[32], *dir = scratch_make();
    char *file[3];
    sella_map map;
    fingerprint_of("tests/ref/backbone_qwen2.gguf", whole);
    fingerprint_of(SPLIT("1"), parts);
    assert_string_equal(whole, parts);
    expect(SPLIT("2"), SELLA_ARG,
           "is part 2 of 3 of a split model; open the first, NAME-00001-of-00003.gguf");
    static const char *const from[] = {SPLIT("1"), SPLIT("2"), SPLIT("3")};
    for (int i = 0; i < 3; i++) {
        file[i] = sella_path_join(dir, strrchr(from[i], '/') + 1, NULL);
        CHECK(sella_file_copy(from[i], file[i], err));
    }
    expect(file[0], SELLA_OK, "");
    CHECK(sella_file_copy(from[1], file[2], err));
    expect(file[0], SELLA_FORMAT, "is part 2 of 3 of a split model; its name says 3 of 3");
    patch(from[1], file[2], "split.no\x02\0\0\0\x01", "split.no\x02\0\0\0\x02", 13, 0);
    expect(file[0], SELLA_FORMAT,
           "tensor 'blk.0.ffn_down.weight' is in another part of the split model, too");
    patch(from[2], file[2], "blk.1.ffn_up.weight", "blk.1.ffn_xx.weight", 19, 0);
    expect(file[0], SELLA_SHAPE, "'blk.1.ffn_up.weight' is missing");
    CHECK(sella_path_remove(file[2], err));
    expect(file[0], SELLA_MISSING, "-00003-of-00003.gguf");
    CHECK(sella_file_copy("tests/ref/backbone_qwen2.gguf", file[2], err));
    expect(file[0], SELLA_MISSING, "split.no");
    CHECK(sella_file_copy(from[2], file[2], err));
    patch(from[0], file[0], "split.tensors.count\x05\0\0\0\x1a",
          "split.tensors.count\x05\0\0\0\x1b", 24, 0);
    expect(file[0], SELLA_FORMAT, "hold 26 tensors; expected 27");
    patch(from[0], file[0], "split.count\x02\0\0\0\x03", "split.count\x02\0\0\0\0", 16, 0);
    expect(file[0], SELLA_FORMAT, "is part 1 of 0 of a split model");
    char *other = sella_path_join(dir, "m.gguf", NULL);
    CHECK(sella_file_copy(from[0], other, err));
    expect(other, SELLA_ARG, "open the first");
    CHECK(sella_map_open(from[1], &map, err));
    CHECK(sella_file_copy(from[0], file[0], err));
    mutate_run(map.data, map.size, mutate_rounds(60, 5000), open_mutation,
               &(target){dir, strrchr(from[1], '/') + 1, file[0]});
    sella_map_close(&map);
    free(other);
    for (int i = 0; i < 3; i++) {
        free(file[i]);
    }
    scratch_remove(dir);
    (void)state;
}

static void mutations(void **state)
{
    char *dir = copy_tiny(), *gguf = sella_path_join(dir, "m.gguf", NULL);
    sella_map map;
    CHECK(sella_map_open("tests/ref/tiny_llama/config.json", &map, err));
    mutate_run(map.data, map.size, mutate_rounds(200, 20000), open_mutation,
               &(target){dir, "config.json", dir});
    sella_map_close(&map);
    CHECK(sella_map_open("tests/ref/backbone_llama3.gguf", &map, err));
    mutate_run(map.data, map.size, mutate_rounds(100, 20000), open_mutation,
               &(target){dir, "m.gguf", gguf});
    sella_map_close(&map);
    free(gguf);
    scratch_remove(dir);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes),  cmocka_unit_test(gguf_equals_folder),
        cmocka_unit_test(configs), cmocka_unit_test(tensors),
        cmocka_unit_test(files),   cmocka_unit_test(fingerprints),
        cmocka_unit_test(memory),  cmocka_unit_test(split),
        cmocka_unit_test(mutations),
    };
    sella_threads_set(1); // the models are tiny: threads would mostly wait for each other
    return cmocka_run_group_tests(tests, NULL, NULL);
}
