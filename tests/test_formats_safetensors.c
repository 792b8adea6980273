/* test_formats_safetensors.c - files of the safetensors package are read, ours are read back,
 * damaged ones are refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "formats/safetensors.h"
#include "formats_room.h"
#include "fuzz/mutate.h"

static float value(int64_t k)
{
    return (float)(k * 37 % 101 - 50) / 8.0f;
}

/* Dequantize all of a tensor and compare with value(0), value(1), ... */
static void holds_the_values(const sella_tensor *t, size_t n)
{
    float y[128];
    assert_true(t->readable && n <= 128);
    assert_true(sella_dequantize(y, t->data, t->dtype, n));
    for (size_t k = 0; k < n; k++) {
        assert_true(y[k] == value((int64_t)k));
    }
}

static void reads_what_the_package_wrote(void **state)
{
    (void)state;
    sella_safetensors *file;
    sella_err err = {0};
    assert_int_equal(sella_safetensors_open("tests/ref/formats_small.safetensors", &file, &err),
                     SELLA_OK);
    assert_int_equal(sella_safetensors_count(file), 5);
    assert_string_equal(sella_safetensors_meta(file, "note"), "Größe");
    assert_string_equal(sella_safetensors_meta(file, "format"), "pt");
    assert_null(sella_safetensors_meta(file, "other"));
    const sella_tensor *a = sella_safetensors_find(file, "a.weight");
    assert_non_null(a);
    assert_int_equal(a->rank, 2);
    assert_int_equal(a->shape[0], 3);
    assert_int_equal(a->shape[1], 5);
    assert_string_equal(a->type_name, "F32");
    holds_the_values(a, 15);
    const sella_tensor *b = sella_safetensors_find(file, "b.half");
    assert_int_equal(b->rank, 3);
    assert_int_equal(b->shape[2], 3);
    assert_int_equal(b->bytes, 24);
    holds_the_values(b, 12);
    const sella_tensor *c = sella_safetensors_find(file, "c.count");
    assert_false(c->readable);
    assert_string_equal(c->type_name, "I64");
    assert_int_equal(c->bytes, 32);
    assert_int_equal(sella_safetensors_find(file, "d.scalar")->rank, 0);
    holds_the_values(sella_safetensors_find(file, "d.scalar"), 1);
    assert_int_equal(sella_safetensors_find(file, "e.empty")->bytes, 0);
    assert_null(sella_safetensors_find(file, "f"));
    assert_null(sella_safetensors_at(file, 5));
    assert_null(sella_safetensors_at(file, -1));
    sella_safetensors_close(file);
    sella_safetensors_close(NULL);
}

static void round_trips_with_equal_bytes(void **state)
{
    (void)state;
    float data[24];
    for (int k = 0; k < 24; k++) {
        data[k] = value(k);
    }
    const sella_tensor_out tensors[] = {
        {.name = "z.weight", .rank = 2, .shape = {4, 6}, .data = data},
        {.name = "a \"quoted\" name Ж", .rank = 1, .shape = {5}, .data = data},
        {.name = "none", .rank = 2, .shape = {0, 3}, .data = NULL},
        {.name = "one", .rank = 0, .data = data},
    };
    const char *const meta[] = {"rank", "8", "text", "line\nbreak", NULL};
    char first[1024];
    sella_err err = {0};
    snprintf(first, sizeof first, "%s", room_path("one.safetensors"));
    assert_int_equal(sella_safetensors_write(first, tensors, 4, meta, &err), SELLA_OK);
    const char *second = room_path("two.safetensors");
    assert_int_equal(sella_safetensors_write(second, tensors, 4, meta, &err), SELLA_OK);
    sella_map x, y;
    assert_int_equal(sella_map_open(first, &x, &err), SELLA_OK);
    assert_int_equal(sella_map_open(second, &y, &err), SELLA_OK);
    assert_int_equal(x.size, y.size);
    assert_memory_equal(x.data, y.data, x.size);
    sella_map_close(&x);
    sella_map_close(&y);

    sella_safetensors *file;
    assert_int_equal(sella_safetensors_open(first, &file, &err), SELLA_OK);
    assert_int_equal(sella_safetensors_count(file), 4);
    assert_string_equal(sella_safetensors_meta(file, "format"), "pt");
    assert_string_equal(sella_safetensors_meta(file, "text"), "line\nbreak");
    assert_string_equal(sella_safetensors_at(file, 0)->name, "z.weight");
    assert_int_equal((uintptr_t)sella_safetensors_at(file, 0)->data % 64, 0);
    holds_the_values(sella_safetensors_at(file, 0), 24);
    holds_the_values(sella_safetensors_find(file, "a \"quoted\" name Ж"), 5);
    holds_the_values(sella_safetensors_find(file, "one"), 1);
    assert_int_equal(sella_safetensors_find(file, "none")->shape[1], 3);
    sella_safetensors_close(file);
}

static void bad_output_is_refused_and_leaves_nothing(void **state)
{
    (void)state;
    float data[4] = {0};
    const sella_tensor_out twice[] = {{.name = "a", .rank = 1, .shape = {4}, .data = data},
                                      {.name = "a", .rank = 1, .shape = {4}, .data = data}};
    const sella_tensor_out huge[] = {
        {.name = "a", .rank = 2, .shape = {INT64_MAX, 2}, .data = data}};
    const sella_tensor_out latin[] = {{.name = "a\xff", .rank = 1, .shape = {4}, .data = data}};
    sella_err err = {0};
    const char *path = room_path("never.safetensors");
    assert_int_not_equal(sella_safetensors_write(path, twice, 2, NULL, &err), SELLA_OK);
    assert_int_not_equal(sella_safetensors_write(path, huge, 1, NULL, &err), SELLA_OK);
    assert_int_not_equal(sella_safetensors_write(path, latin, 1, NULL, &err), SELLA_OK);
    assert_false(sella_path_exists(path));
}

/* A file of this header and data_bytes zeros; `claim` overrides the header's length when not 0. */
static void refuses(const char *header, uint64_t claim, size_t data_bytes, const char *part)
{
    uint8_t bytes[2048] = {0};
    size_t n = strlen(header);
    uint64_t length = claim != 0 ? claim : n;
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, header, n);
    sella_safetensors *file;
    sella_err err = {0};
    const char *path = room_write("bad.safetensors", bytes, 8 + n + data_bytes);
    assert_int_not_equal(sella_safetensors_open(path, &file, &err), SELLA_OK);
    assert_null(file);
    room_says(&err, part);
}

static void damaged_headers_are_named(void **state)
{
    (void)state;
    refuses("{}", UINT64_MAX, 0, "header");
    refuses("{}", (uint64_t)1 << 60, 0, "header");
    refuses("{}", 3, 0, "header");
    refuses("{}", 200000000, 0, "header");
    refuses("[]", 0, 0, "JSON object");
    refuses("{\"a\"", 0, 0, "JSON");
    refuses("{\"a\xff\":1}", 0, 0, "JSON");
    refuses("{}", 0, 4, "4 bytes at the end");
    refuses("{\"__metadata__\":{\"a\":1}}", 0, 0, "__metadata__");
    refuses("{\"__metadata__\":[]}", 0, 0, "__metadata__");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"a\":{\"dtype\":"
            "\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
            0, 8, "a");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":"
            "\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
            0, 8, "overlap");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"b\":{\"dtype\":"
            "\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}",
            0, 12, "belong to no tensor");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 0, 8,
            "belong to no tensor");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 0, 8, "at the end");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 0, 2,
            "data_offsets");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 0, 4,
            "data_offsets");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 0, 4,
            "data_offsets");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0.0,4]}}", 0, 4,
            "data_offsets");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 0, 4, "data_offsets");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 0, 4, "2 values");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 0, 4,
            "dimension 0");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}", 0, 4,
            "dimension 0");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}",
            0, 0, "impossible shape");
    refuses(
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[0,4294967296,4294967296],\"data_offsets\":[0,0]}}", 0,
        0, "impossible shape");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 0,
            0, "values of type F32");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1],\"data_offsets\":[0,4]}}", 0, 4,
            "5 dimensions");
    refuses("{\"a\":{\"dtype\":\"Q9\",\"shape\":[1],\"data_offsets\":[0,4]}}", 0, 4, "'Q9'");
    refuses("{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 0, 4, "unknown type");
    refuses("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 0, 4, "no shape");
    refuses("{\"a\":3}", 0, 4, "unknown type");
    refuses("{\"\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 0, 4, "name");
    sella_safetensors *file;
    sella_err err = {0};
    assert_int_equal(sella_safetensors_open(room_write("none", "", 0), &file, &err), SELLA_FORMAT);
    assert_int_equal(sella_safetensors_open(room_path("absent"), &file, &err), SELLA_MISSING);
}

/* How many copies were opened and how many refused. */
typedef struct tally {
    int opened, refused;
} tally;

static void open_mutant(const uint8_t *data, size_t bytes, void *user)
{
    tally *t = user;
    sella_safetensors *file;
    sella_err err = {0};
    if (sella_safetensors_open(room_write("mutant", data, bytes), &file, &err) == SELLA_OK) {
        volatile unsigned sum = 0;
        for (int k = 0; k < sella_safetensors_count(file); k++) {
            const sella_tensor *tensor = sella_safetensors_at(file, k);
            for (uint64_t b = 0; b < tensor->bytes; b++) {
                sum += ((const uint8_t *)tensor->data)[b];
            }
        }
        t->opened++;
    } else {
        room_says(&err, "");
        assert_true(err.text[0] != '\0');
        t->refused++;
    }
    sella_safetensors_close(file);
}

static void mutations_never_crash(void **state)
{
    (void)state;
    sella_map good;
    tally t = {0};
    assert_int_equal(sella_map_open("tests/ref/formats_small.safetensors", &good, NULL), SELLA_OK);
    mutate_run(good.data, good.size, mutate_rounds(4000, 300000), open_mutant, &t);
    assert_true(t.opened > 0 && t.refused > 0);
    sella_map_close(&good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_the_package_wrote),
        cmocka_unit_test(round_trips_with_equal_bytes),
        cmocka_unit_test(bad_output_is_refused_and_leaves_nothing),
        cmocka_unit_test(damaged_headers_are_named),
        cmocka_unit_test(mutations_never_crash),
    };
    return cmocka_run_group_tests(tests, room_make, room_remove);
}
