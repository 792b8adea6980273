/* test_backbone_quantized.c - a model whose matrices stand in blocks of Q4_K, Q5_K, Q6_K, Q5_0,
 * Q5_1 and Q8_0: against transformers on the values that the gguf package reads from them
 * (tests/ref/backbone_quantized_dump.py), and what is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <unistd.h>

#include "backbone_case.h"
#include "formats/gguf.h"

#define MODEL "tests/ref/backbone_quantized.gguf"
static const double TOLERANCE = 1e-4;

static void stores_the_types(void **state)
{
    (void)state;
    static const struct {
        const char *name, *type;
        sella_dtype dtype;
        int64_t rows, cols;
    } want[] = {
        {"token_embd.weight", "Q6_K", SELLA_DTYPE_Q6_K, 512, 256},
        {"blk.0.attn_q.weight", "Q4_K", SELLA_DTYPE_Q4_K, 128, 256},
        {"blk.0.attn_k.weight", "Q8_0", SELLA_DTYPE_Q8_0, 32, 256},
        {"blk.0.attn_v.weight", "Q6_K", SELLA_DTYPE_Q6_K, 32, 256},
        {"blk.0.attn_output.weight", "Q5_0", SELLA_DTYPE_Q5_0, 256, 128},
        {"blk.0.ffn_gate.weight", "Q4_K", SELLA_DTYPE_Q4_K, 128, 256},
        {"blk.0.ffn_up.weight", "Q5_K", SELLA_DTYPE_Q5_K, 128, 256},
        {"blk.0.ffn_down.weight", "Q5_1", SELLA_DTYPE_Q5_1, 256, 128},
    };
    sella_gguf *file = NULL;
    CHECK(sella_gguf_open(MODEL, &file, err));
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const sella_tensor *t = sella_gguf_find(file, want[i].name);
        assert_non_null(t);
        assert_string_equal(t->type_name, want[i].type);
        assert_string_equal(t->type_name, sella_dtype_name(t->dtype));
        assert_true(t->readable && t->dtype == want[i].dtype && t->rank == 2 &&
                    t->shape[0] == want[i].rows && t->shape[1] == want[i].cols);
        assert_int_equal(t->bytes,
                         sella_dtype_size(t->dtype, (uint64_t)(want[i].rows * want[i].cols)));
    }
    sella_gguf_close(file);
}

static void logits(void **state)
{
    (void)state;
    ref_file ref = ref_open(ref_path("backbone_quantized.ref"));
    sella_backbone *backbone = NULL;
    CHECK(sella_backbone_open(MODEL, NULL, &backbone, err));
    const sella_backbone_config *shape = sella_backbone_shape(backbone);
    assert_true(shape->C == 256 && shape->H == 4 && shape->G == 1 && shape->D == 32 &&
                shape->F == 128 && shape->tied);
    const size_t C = (size_t)shape->C, V = (size_t)shape->V;

    size_t count;
    const float *embedding = ref_f32(&ref, "embedding", &count);
    float *row = calloc(count, sizeof *row);
    int32_t id[16];
    for (int i = 0; i < 16; i++) {
        id[i] = i;
    }
    assert_int_equal(count, 16 * C);
    CHECK(sella_backbone_embed(backbone, id, 16, row, err));
    assert_memory_equal(row, embedding, count * sizeof *row); /* bit for bit */
    free(row);

    sella_rows rows;
    sella_tree_batch batch;
    rows_of(&ref, false, &rows);
    batch_of(&rows, false, &batch);
    sella_pass *pass = NULL;
    const sella_pass_options options = {.max_tokens = batch.T};
    CHECK(sella_pass_new(backbone, NULL, &options, &pass, err));
    float *answer = calloc((size_t)batch.N * C, sizeof *answer), *logit = calloc(V, sizeof *logit);
    CHECK(sella_pass_forward(pass, &batch, NULL, 0, -1, answer, err));
    const float *hidden = ref_f32(&ref, "hidden", &count);
    assert_int_equal(count, (size_t)batch.N * C);
    close_relative("hidden", answer, hidden, count, TOLERANCE);
    for (int n = 0; n < batch.N; n++) {
        CHECK(sella_backbone_logits(backbone, answer + (size_t)n * C, logit, err));
        close_relative("logits", logit, ref_f32(&ref, "logits", NULL) + (size_t)n * V, V,
                       TOLERANCE);
    }
    free(answer);
    free(logit);
    sella_pass_free(pass);
    sella_tree_batch_release(&batch);
    sella_rows_release(&rows);
    sella_backbone_close(backbone);
    ref_close(&ref);
}

/* ---- copies with a changed byte ---- */

typedef struct copy {
    char path[64];
    uint8_t *bytes;
    size_t size;
} copy;

static copy copy_new(void)
{
    copy c = {.path = "/tmp/sella-quantized-XXXXXX"};
    FILE *file = fopen(MODEL, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    c.size = (size_t)ftell(file);
    rewind(file);
    c.bytes = malloc(c.size);
    assert_int_equal(fread(c.bytes, 1, c.size, file), c.size);
    fclose(file);
    const int fd = mkstemp(c.path);
    assert_true(fd >= 0);
    close(fd);
    return c;
}

static void copy_write(const copy *c, size_t size)
{
    FILE *file = fopen(c->path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(c->bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void copy_free(copy *c)
{
    unlink(c->path);
    free(c->bytes);
}

/* Where a tensor's data begins in the copy. */
static uint8_t *data_of(copy *c, const char *name)
{
    sella_gguf *file = NULL;
    CHECK(sella_gguf_open(MODEL, &file, err));
    const sella_tensor *t = sella_gguf_find(file, name);
    uint8_t *at = memmem(c->bytes, c->size, t->data, (size_t)t->bytes);
    assert_non_null(at);
    sella_gguf_close(file);
    return at;
}

static void refuses(const copy *c, size_t size, sella_status status, const char *part_a,
                    const char *part_b)
{
    sella_backbone *backbone = NULL;
    sella_err err = {0};
    copy_write(c, size);
    const sella_status got = sella_backbone_open(c->path, NULL, &backbone, &err);
    if (got != status || backbone != NULL || strstr(err.text, part_a) == NULL ||
        strstr(err.text, part_b) == NULL) {
        fail_msg("status %d, expected %d with '%s' and '%s': %s", (int)got, (int)status, part_a,
                 part_b, err.text);
    }
}

static void scales_that_are_not_finite(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t at; /* a scale's upper byte */
    } places[] = {
        {"blk.0.attn_q.weight", 1},
        {"blk.0.attn_q.weight", 127 * 144 + 3},
        {"blk.0.ffn_up.weight", 5 * 176 + 1},
        {"blk.0.ffn_up.weight", 3},
        {"blk.0.attn_v.weight", 31 * 210 + 209},
        {"blk.0.attn_output.weight", 22 * 1023 + 1},
        {"blk.0.ffn_down.weight", 24 + 3},
    };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        copy c = copy_new();
        data_of(&c, places[i].name)[places[i].at] = 0x7c;
        refuses(&c, c.size, SELLA_FORMAT, places[i].name, "not finite");
        copy_free(&c);
    }
    copy c = copy_new(); /* the embedding is read by row: only its row 3 is lost */
    data_of(&c, "token_embd.weight")[3 * 210 + 209] = 0xfe;
    copy_write(&c, c.size);
    sella_backbone *backbone = NULL;
    sella_err said = {0};
    float row[256];
    CHECK(sella_backbone_open(c.path, NULL, &backbone, err));
    CHECK(sella_backbone_embed(backbone, (const int32_t[]){2}, 1, row, err));
    assert_int_equal(sella_backbone_embed(backbone, (const int32_t[]){3}, 1, row, &said),
                     SELLA_FORMAT);
    assert_non_null(strstr(said.text, "row 3 of tensor 'token_embd.weight'"));
    sella_backbone_close(backbone);
    copy_free(&c);
}

/* A tensor's rank, dimensions and type stand behind its name. */
static void type_set(copy *c, const char *name, size_t rank, uint32_t type)
{
    uint8_t *at = memmem(c->bytes, c->size, name, strlen(name));
    assert_non_null(at);
    memcpy(at + strlen(name) + 4 + 8 * rank, &type, 4);
}

static void types_that_do_not_fit(void **state)
{
    (void)state;
    copy c = copy_new();
    type_set(&c, "blk.0.attn_norm.weight", 1, 14);
    refuses(&c, c.size, SELLA_UNSUPPORTED, "'blk.0.attn_norm.weight' is a vector of type Q6_K",
            "not supported");
    copy_free(&c);
    c = copy_new();
    type_set(&c, "blk.0.attn_q.weight", 2, 10);
    refuses(&c, c.size, SELLA_UNSUPPORTED, "'blk.0.attn_q.weight' has type Q2_K", "not supported");
    copy_free(&c);
    c = copy_new(); /* rows of 128 values */
    type_set(&c, "blk.0.ffn_down.weight", 2, 12);
    refuses(&c, c.size, SELLA_FORMAT, "'blk.0.ffn_down.weight' of type Q4_K has rows of 128 values",
            "multiple of 256");
    copy_free(&c);
    c = copy_new(); /* cut short */
    refuses(&c, c.size - 64, SELLA_FORMAT, "tensor '", "bytes from");
    copy_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stores_the_types),
        cmocka_unit_test(logits),
        cmocka_unit_test(scales_that_are_not_finite),
        cmocka_unit_test(types_that_do_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
