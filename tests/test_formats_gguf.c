/* test_formats_gguf.c - files of the gguf package are read; damaged, huge and contradictory ones
 * are refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "formats/gguf.h"
#include "formats_room.h"
#include "fuzz/mutate.h"

static float value(int64_t k)
{
    return (float)(k * 37 % 101 - 50) / 8.0f;
}

static void holds_the_values(const sella_tensor *t, size_t n)
{
    float y[128];
    assert_non_null(t);
    assert_true(t->readable && n <= 128);
    assert_true(sella_dequantize(y, t->data, t->dtype, n));
    for (size_t k = 0; k < n; k++) {
        assert_true(y[k] == value((int64_t)k));
    }
}

static void reads_tensors_of_the_package(void **state)
{
    (void)state;
    sella_gguf *file;
    sella_err err = {0};
    assert_int_equal(sella_gguf_open("tests/ref/formats_small.gguf", &file, &err), SELLA_OK);
    assert_string_equal(sella_gguf_path(file), "tests/ref/formats_small.gguf");
    assert_int_equal(sella_gguf_count(file), 5);
    const sella_tensor *m = sella_gguf_find(file, "matrix");
    assert_int_equal(m->rank, 2);
    assert_int_equal(m->shape[0], 2);
    assert_int_equal(m->shape[1], 64);
    holds_the_values(m, 128);
    holds_the_values(sella_gguf_find(file, "half"), 12);
    holds_the_values(sella_gguf_find(file, "vector"), 7);

    const sella_tensor *q = sella_gguf_find(file, "eight");
    float y[128];
    sella_map want;
    assert_string_equal(q->type_name, "Q8_0");
    assert_int_equal(q->shape[1], 64);
    assert_int_equal(sella_map_open("tests/ref/formats_q8.f32", &want, &err), SELLA_OK);
    assert_true(sella_dequantize(y, q->data, q->dtype, 128));
    assert_int_equal(want.size, sizeof y);
    assert_memory_equal(y, want.data, sizeof y);
    sella_map_close(&want);

    const sella_tensor *five = sella_gguf_find(file, "five");
    assert_string_equal(five->type_name, "Q5_0");
    assert_int_equal(five->bytes, 2 * 2 * 22);
    assert_true(five->readable && sella_dequantize(y, five->data, five->dtype, 128));
    for (int k = 0; k < 128; k++) { /* values reach 6.25: steps of 6.25 / 16 */
        assert_true(fabs((double)y[k] - (k * 37 % 101 - 50) / 8.0) <= 6.25 / 16);
    }
    assert_null(sella_gguf_find(file, "six"));
    assert_null(sella_gguf_at(file, 5));
    sella_gguf_close(file);
    sella_gguf_close(NULL);
}

static void reads_metadata_of_the_package(void **state)
{
    (void)state;
    sella_gguf *f;
    sella_err err = {0};
    int64_t i = 0, n = 0;
    double r = 0;
    sella_span s, *spans;
    int32_t *ints;
    assert_int_equal(sella_gguf_open("tests/ref/formats_small.gguf", &f, &err), SELLA_OK);
    assert_true(sella_gguf_has(f, "test.u32"));
    assert_false(sella_gguf_has(f, "test.u3"));
    assert_int_equal(sella_gguf_int(f, "test.u32", &i, &err), SELLA_OK);
    assert_true(i == 4000000000);
    assert_int_equal(sella_gguf_int(f, "test.i8", &i, &err), SELLA_OK);
    assert_true(i == -5);
    assert_int_equal(sella_gguf_int(f, "test.i64", &i, &err), SELLA_OK);
    assert_true(i == -((int64_t)1 << 40));
    assert_int_equal(sella_gguf_int(f, "test.u64", &i, &err), SELLA_FORMAT);
    assert_int_equal(sella_gguf_int(f, "test.text", &i, &err), SELLA_FORMAT);
    assert_int_equal(sella_gguf_int(f, "test.none", &i, &err), SELLA_MISSING);
    assert_non_null(strstr(err.text, "'test.none' is missing"));
    assert_int_equal(sella_gguf_real(f, "test.f32", &r, &err), SELLA_OK);
    assert_true(r == (double)0.1f);
    assert_int_equal(sella_gguf_real(f, "test.f64", &r, &err), SELLA_OK);
    assert_true(r == 0.1);
    assert_int_equal(sella_gguf_real(f, "test.i8", &r, &err), SELLA_OK);
    assert_true(r == -5.0);
    assert_int_equal(sella_gguf_real(f, "test.yes", &r, &err), SELLA_FORMAT);
    assert_int_equal(sella_gguf_string(f, "test.text", &s, &err), SELLA_OK);
    assert_int_equal(s.bytes, strlen("Größe 大小"));
    assert_memory_equal(s.data, "Größe 大小", s.bytes);
    assert_int_equal(sella_gguf_strings(f, "test.texts", &spans, &n, &err), SELLA_OK);
    assert_int_equal(n, 3);
    assert_int_equal(spans[1].bytes, 0);
    assert_memory_equal(spans[2].data, "three", 5);
    free(spans);
    assert_int_equal(sella_gguf_ints(f, "test.ints", &ints, &n, &err), SELLA_OK);
    assert_int_equal(n, 3);
    assert_int_equal(ints[1], -2);
    free(ints);
    assert_int_equal(sella_gguf_ints(f, "test.reals", &ints, &n, &err), SELLA_FORMAT);
    assert_null(ints);
    assert_int_equal(sella_gguf_strings(f, "test.text", &spans, &n, &err), SELLA_FORMAT);
    sella_gguf_close(f);
}

static void prints_keys_in_file_order(void **state)
{
    (void)state;
    static const char *const want[][2] = {
        {"general.architecture", "llama"},
        {"test.u32", "4000000000"},
        {"test.i8", "-5"},
        {"test.u64", "9223372036854775809"},
        {"test.i64", "-1099511627776"},
        {"test.f32", "0.100000001"},
        {"test.f64", "0.10000000000000001"},
        {"test.yes", "yes"},
        {"test.text", "Größe 大小"},
        {"test.texts", "[3 strings]"},
        {"test.ints", "[3 integers]"},
        {"test.reals", "[2 reals]"},
    };
    sella_gguf *f;
    char text[64], small[9];
    assert_int_equal(sella_gguf_open("tests/ref/formats_small.gguf", &f, NULL), SELLA_OK);
    assert_int_equal(sella_gguf_key_count(f), 12);
    for (int k = 0; k < 12; k++) {
        sella_span key = sella_gguf_key(f, k, text, sizeof text);
        assert_int_equal(key.bytes, strlen(want[k][0]));
        assert_memory_equal(key.data, want[k][0], key.bytes);
        assert_string_equal(text, want[k][1]);
    }
    sella_gguf_key(f, 8, small, sizeof small);
    assert_string_equal(small, "Grö..."); /* never half a character */
    sella_gguf_close(f);
}

/* A file under construction. */
typedef struct build {
    uint8_t data[4096];
    size_t size;
} build;

static void put(build *b, uint64_t value_le, size_t bytes)
{
    memcpy(b->data + b->size, &value_le, bytes);
    b->size += bytes;
}

static void put_text(build *b, const char *text)
{
    put(b, strlen(text), 8);
    memcpy(b->data + b->size, text, strlen(text));
    b->size += strlen(text);
}

static build begin(uint64_t version, uint64_t tensors, uint64_t keys)
{
    build b = {0};
    memcpy(b.data, "GGUF", 4);
    b.size = 4;
    put(&b, version, 4);
    put(&b, tensors, 8);
    put(&b, keys, 8);
    return b;
}

static void put_tensor(build *b, const char *name, uint64_t rank, const uint64_t *shape,
                       uint64_t type, uint64_t offset)
{
    put_text(b, name);
    put(b, rank, 4);
    for (uint64_t i = 0; i < rank && i < 8; i++) {
        put(b, shape[i], 8);
    }
    put(b, type, 4);
    put(b, offset, 8);
}

static void align(build *b, size_t to, size_t data_bytes)
{
    b->size = (b->size + to - 1) / to * to + data_bytes;
}

static void refuses(const build *b, sella_status status, const char *part)
{
    sella_gguf *file;
    sella_err err = {0};
    assert_int_equal(sella_gguf_open(room_write("bad.gguf", b->data, b->size), &file, &err),
                     status);
    assert_null(file);
    room_says(&err, part);
}

static void accepts(const build *b)
{
    sella_gguf *file;
    sella_err err = {0};
    if (sella_gguf_open(room_write("good.gguf", b->data, b->size), &file, &err) != SELLA_OK) {
        fail_msg("%s", err.text);
    }
    sella_gguf_close(file);
}

static void hostile_headers_are_named(void **state)
{
    (void)state;
    build b = begin(3, 0, 0);
    accepts(&b);
    b = begin(2, 0, 0);
    accepts(&b);
    b = begin(1, 0, 0);
    refuses(&b, SELLA_UNSUPPORTED, "version 1");
    b = begin(4, 0, 0);
    refuses(&b, SELLA_UNSUPPORTED, "version 4");
    b = begin(3u << 24, 0, 0);
    refuses(&b, SELLA_UNSUPPORTED, "big-endian");
    b = begin(3, (uint64_t)1 << 60, 0);
    refuses(&b, SELLA_FORMAT, "1152921504606846976 tensors");
    b = begin(3, 0, (uint64_t)1 << 60);
    refuses(&b, SELLA_FORMAT, "1152921504606846976 metadata keys");
    b = begin(3, UINT64_MAX, UINT64_MAX);
    refuses(&b, SELLA_FORMAT, "18446744073709551615");
    b = begin(3, 0, 0);
    b.size = 20;
    refuses(&b, SELLA_FORMAT, "ends at byte 20");
    b.size = 3;
    refuses(&b, SELLA_FORMAT, "not a GGUF file");
    b.size = 0;
    refuses(&b, SELLA_FORMAT, "not a GGUF file");
    sella_gguf *file;
    sella_err err = {0};
    assert_int_equal(sella_gguf_open("tests/ref/formats_big_endian.gguf", &file, &err),
                     SELLA_UNSUPPORTED);
    assert_non_null(strstr(err.text, "big-endian"));
}

/* One key "k" with an array of `type` and `count`, followed by 64 zero bytes. */
static build with_array(uint64_t type, uint64_t count)
{
    build b = begin(3, 0, 1);
    put_text(&b, "k");
    put(&b, 9, 4);
    put(&b, type, 4);
    put(&b, count, 8);
    b.size += 64;
    return b;
}

static void hostile_metadata_is_named(void **state)
{
    (void)state;
    build b = with_array(4, 16);
    accepts(&b);
    b = with_array(4, 17);
    refuses(&b, SELLA_FORMAT, "17 values");
    b = with_array(8, (uint64_t)1 << 60);
    refuses(&b, SELLA_FORMAT, "1152921504606846976 values");
    b = with_array(0, UINT64_MAX);
    refuses(&b, SELLA_FORMAT, "18446744073709551615 values");
    b = with_array(12, ((uint64_t)1 << 61) + 1);
    refuses(&b, SELLA_FORMAT, "values");
    b = with_array(9, 1);
    refuses(&b, SELLA_UNSUPPORTED, "array of arrays");
    b = with_array(13, 1);
    refuses(&b, SELLA_FORMAT, "unknown type 13");
    b = begin(3, 0, 1);
    put(&b, (uint64_t)1 << 60, 8);
    b.size += 32;
    refuses(&b, SELLA_FORMAT, "1152921504606846976 bytes");
    b = begin(3, 0, 1);
    put_text(&b, "k");
    put(&b, 8, 4);
    put(&b, (uint64_t)1 << 60, 8);
    refuses(&b, SELLA_FORMAT, "1152921504606846976 bytes");
    b = begin(3, 0, 1);
    put_text(&b, "k\xff");
    put(&b, 4, 4);
    put(&b, 1, 4);
    refuses(&b, SELLA_FORMAT, "UTF-8");
    b = begin(3, 0, 1);
    put_text(&b, "k");
    put(&b, 77, 4);
    put(&b, 1, 4);
    refuses(&b, SELLA_FORMAT, "unknown type 77");
    b = begin(3, 0, 1);
    put_text(&b, "key");
    put(&b, 10, 4);
    put(&b, 1, 4);
    refuses(&b, SELLA_FORMAT, "ends at byte");
    b = begin(3, 0, 2);
    for (int i = 0; i < 2; i++) {
        put_text(&b, "same");
        put(&b, 4, 4);
        put(&b, 1, 4);
    }
    refuses(&b, SELLA_FORMAT, "'same' is there twice");
}

static build with_alignment(uint64_t type, uint64_t value_le, size_t bytes)
{
    build b = begin(3, 0, 1);
    put_text(&b, "general.alignment");
    put(&b, type, 4);
    put(&b, value_le, bytes);
    return b;
}

static void hostile_alignment_is_named(void **state)
{
    (void)state;
    build b = with_alignment(4, 64, 4);
    accepts(&b);
    b = with_alignment(4, 0, 4);
    refuses(&b, SELLA_FORMAT, "general.alignment is 0");
    b = with_alignment(4, 48, 4);
    refuses(&b, SELLA_FORMAT, "general.alignment is 48");
    b = with_alignment(4, 1u << 31, 4);
    refuses(&b, SELLA_FORMAT, "general.alignment is 2147483648");
    b = with_alignment(11, UINT64_MAX, 8);
    refuses(&b, SELLA_FORMAT, "general.alignment is -1");
    b = with_alignment(6, 0, 4);
    refuses(&b, SELLA_FORMAT, "expected an integer");
}

/* One tensor "t" and 64 bytes of data. */
static build with_tensor(uint64_t rank, const uint64_t *shape, uint64_t type, uint64_t offset)
{
    build b = begin(3, 1, 0);
    put_tensor(&b, "t", rank, shape, type, offset);
    align(&b, 32, 64);
    return b;
}

static void hostile_tensors_are_named(void **state)
{
    (void)state;
    build b = with_tensor(2, (uint64_t[]){4, 4}, 0, 0);
    accepts(&b);
    b = with_tensor(2, (uint64_t[]){4, 4}, 0, 32);
    refuses(&b, SELLA_FORMAT, "needs 64 bytes from 32");
    b = with_tensor(1, (uint64_t[]){1}, 0, (uint64_t)1 << 60);
    refuses(&b, SELLA_FORMAT, "from 1152921504606846976");
    b = with_tensor(1, (uint64_t[]){1}, 0, UINT64_MAX - 31);
    refuses(&b, SELLA_FORMAT, "needs 4 bytes");
    b = with_tensor(1, (uint64_t[]){1}, 0, 4);
    refuses(&b, SELLA_FORMAT, "multiple of the alignment");
    b = with_tensor(2, (uint64_t[]){(uint64_t)1 << 32, (uint64_t)1 << 32}, 0, 0);
    refuses(&b, SELLA_FORMAT, "impossible shape");
    b = with_tensor(1, (uint64_t[]){UINT64_MAX}, 0, 0);
    refuses(&b, SELLA_FORMAT, "impossible dimension");
    b = with_tensor(1, (uint64_t[]){(uint64_t)1 << 62}, 27, 0);
    refuses(&b, SELLA_FORMAT, "larger than any file");
    b = with_tensor(5, (uint64_t[]){1, 1, 1, 1, 1}, 0, 0);
    refuses(&b, SELLA_UNSUPPORTED, "5 dimensions");
    b = with_tensor(1, (uint64_t[]){1}, 4, 0);
    refuses(&b, SELLA_UNSUPPORTED, "'t' has the unknown type 4");
    b = with_tensor(1, (uint64_t[]){1}, 4000000000, 0);
    refuses(&b, SELLA_UNSUPPORTED, "unknown type 4000000000");
    b = with_tensor(1, (uint64_t[]){33}, 8, 0);
    refuses(&b, SELLA_FORMAT, "multiple of 32");
    for (uint64_t type = 12; type <= 14; type++) { /* two rows of 128 are not a row of 256 */
        b = with_tensor(2, (uint64_t[]){128, 2}, type, 0);
        refuses(&b, SELLA_FORMAT, "rows of 128 values; expected a multiple of 256");
    }
    b = begin(3, 2, 0);
    put_tensor(&b, "t", 1, (uint64_t[]){16}, 0, 0);
    put_tensor(&b, "u", 1, (uint64_t[]){1}, 0, 32);
    align(&b, 32, 64);
    refuses(&b, SELLA_FORMAT, "'t' and 'u' overlap");
    b = begin(3, 2, 0);
    put_tensor(&b, "t", 1, (uint64_t[]){1}, 0, 0);
    put_tensor(&b, "t", 1, (uint64_t[]){1}, 0, 32);
    align(&b, 32, 64);
    refuses(&b, SELLA_FORMAT, "'t' is there twice");
    b = begin(3, 1, 0);
    put_tensor(&b, "t\xc0", 1, (uint64_t[]){1}, 0, 0);
    align(&b, 32, 64);
    refuses(&b, SELLA_FORMAT, "UTF-8");
    b = begin(3, 1, 0);
    put_tensor(&b, "", 1, (uint64_t[]){1}, 0, 0);
    align(&b, 32, 64);
    refuses(&b, SELLA_FORMAT, "name has 0 bytes");
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    sella_map good;
    assert_int_equal(sella_map_open("tests/ref/formats_small.gguf", &good, NULL), SELLA_OK);
    /* the last 32 bytes may be padding after the last tensor */
    for (size_t n = 0; n + 32 < good.size; n++) {
        sella_gguf *file;
        sella_err err = {0};
        assert_int_not_equal(sella_gguf_open(room_write("cut", good.data, n), &file, &err),
                             SELLA_OK);
        assert_true(err.text[0] != '\0');
    }
    sella_map_close(&good);
}

/* Touch everything that a file offers. */
static void use(const sella_gguf *file)
{
    volatile unsigned sum = 0;
    char text[40];
    for (int k = 0; k < sella_gguf_count(file); k++) {
        const sella_tensor *t = sella_gguf_at(file, k);
        for (uint64_t b = 0; b < t->bytes; b++) {
            sum += ((const uint8_t *)t->data)[b];
        }
        assert_ptr_equal(sella_gguf_find(file, t->name), t);
    }
    for (int k = 0; k < sella_gguf_key_count(file); k++) {
        sella_span key = sella_gguf_key(file, k, text, sizeof text);
        char name[300] = {0};
        memcpy(name, key.data, key.bytes < 299 ? key.bytes : 299);
        int64_t i, n;
        double r;
        sella_span *spans = NULL;
        int32_t *ints = NULL;
        (void)sella_gguf_int(file, name, &i, NULL);
        (void)sella_gguf_real(file, name, &r, NULL);
        (void)sella_gguf_strings(file, name, &spans, &n, NULL);
        for (int64_t j = 0; spans != NULL && j < n; j++) {
            sum += spans[j].bytes > 0 ? (unsigned char)spans[j].data[spans[j].bytes - 1] : 0;
        }
        (void)sella_gguf_ints(file, name, &ints, &n, NULL);
        free(spans);
        free(ints);
    }
}

/* How many copies were opened and how many refused. */
typedef struct tally {
    int opened, refused;
} tally;

static void open_mutant(const uint8_t *data, size_t bytes, void *user)
{
    tally *t = user;
    sella_gguf *file;
    sella_err err = {0};
    if (sella_gguf_open(room_write("mutant", data, bytes), &file, &err) == SELLA_OK) {
        use(file);
        t->opened++;
    } else {
        room_says(&err, "");
        assert_true(err.text[0] != '\0');
        t->refused++;
    }
    sella_gguf_close(file);
}

static void mutations_never_crash(void **state)
{
    (void)state;
    sella_map good;
    tally t = {0};
    assert_int_equal(sella_map_open("tests/ref/formats_small.gguf", &good, NULL), SELLA_OK);
    mutate_run(good.data, good.size, mutate_rounds(4000, 300000), open_mutant, &t);
    assert_true(t.opened > 0 && t.refused > 0);
    sella_map_close(&good);
}

/* What SPEC section 4 says of the file, read off by others: 210 matrices Q4_1, one embedding Q8_0,
 * 61 norms F32. */
static void the_real_model(void **state)
{
    (void)state;
    const char *path = getenv("SELLA_MODEL");
    path = path != NULL ? path : "models/SmolLM2-135M-Instruct.Q4_1.gguf";
    if (!sella_path_exists(path) || strstr(path, "SmolLM2-135M-Instruct.Q4_1") == NULL) {
        skip();
    }
    sella_gguf *file;
    sella_err err = {0};
    int q4 = 0, q8 = 0, f32 = 0;
    int64_t blocks = 0;
    if (sella_gguf_open(path, &file, &err) != SELLA_OK) {
        fail_msg("%s", err.text);
    }
    for (int i = 0; i < sella_gguf_count(file); i++) {
        const sella_tensor *t = sella_gguf_at(file, i);
        q4 += strcmp(t->type_name, "Q4_1") == 0;
        q8 += strcmp(t->type_name, "Q8_0") == 0;
        f32 += strcmp(t->type_name, "F32") == 0;
    }
    assert_true(q4 == 210 && q8 == 1 && f32 == 61);
    const sella_tensor *embedding = sella_gguf_find(file, "token_embd.weight");
    assert_true(embedding != NULL && embedding->rank == 2 && embedding->shape[0] == 49152 &&
                embedding->shape[1] == 576);
    assert_int_equal(sella_gguf_int(file, "llama.block_count", &blocks, &err), SELLA_OK);
    assert_int_equal(blocks, 30);
    sella_gguf_close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_tensors_of_the_package),
        cmocka_unit_test(reads_metadata_of_the_package),
        cmocka_unit_test(prints_keys_in_file_order),
        cmocka_unit_test(hostile_headers_are_named),
        cmocka_unit_test(hostile_metadata_is_named),
        cmocka_unit_test(hostile_alignment_is_named),
        cmocka_unit_test(hostile_tensors_are_named),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(mutations_never_crash),
        cmocka_unit_test(the_real_model),
    };
    return cmocka_run_group_tests(tests, room_make, room_remove);
}
